//! A broadcaster's pages: the channels, and each with what it takes to go on air.

use actix_web::{HttpResponse, web};
use askama::Template;
use boot::ticket::Share;

use super::{
    Shell,
    field::Field,
    fields::Fields,
    go_to,
    moment::Moment,
    page,
    stop::Stop,
    told::Told,
    visitor::{Member, Posted},
};
use crate::{Accounts, Channel, Error, PLAY_OUT_DELAY_MS, Settings, StreamKey};

/// What stands in the place of a key that only its owner knows.
const NO_KEY: &str = "YOUR-STREAM-KEY";

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/dashboard")
            .route(web::get().to(list))
            .route(web::post().to(create)),
    )
    .service(
        web::resource("/dashboard/{name}")
            .route(web::get().to(show))
            .route(web::post().to(change)),
    )
    .route("/dashboard/{name}/keys", web::post().to(create_key))
    .route(
        "/dashboard/{name}/keys/{id}/rotate",
        web::post().to(rotate_key),
    )
    .route(
        "/dashboard/{name}/keys/{id}/revoke",
        web::post().to(revoke_key),
    )
    .route("/dashboard/{name}/delete", web::post().to(delete));
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct List<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    position: Option<i64>,
    channels: Vec<Channel>,
    name: Field,
    title: Field,
}

#[derive(Template)]
#[template(path = "channel.html")]
struct Page<'a> {
    shell: Shell<'a>,
    notice: Option<String>,
    channel: &'a Channel,
    rtmp: &'a str,
    srt: &'a str,
    key: &'a str,
    is_new_key: bool,
    keys: Vec<KeyRow>,
    title: Field,
    description: Field,
    shares: [Choice; 3],
    uploads: Vec<Choice>,
    delays: Vec<Choice>,
    key_name: Field,
    sure: Field,
}

struct Choice {
    value: String,
    text: &'static str,
    chosen: bool,
}

struct KeyRow {
    id: i64,
    name: String,
    made: Moment,
    used: Option<Moment>,
    good: bool,
}

#[derive(Default)]
struct Came {
    form: &'static str,
    told: Told,
    key: Option<String>,
}

async fn list(accounts: web::Data<Accounts>, member: Member) -> Result<HttpResponse, Stop> {
    listed(&accounts, &member, &Fields::default(), Told::nothing()).await
}

async fn create(accounts: web::Data<Accounts>, posted: Posted) -> Result<HttpResponse, Stop> {
    let Posted { member, fields } = posted;
    let settings = Settings {
        title: fields.get("title"),
        description: "",
        share: Share::Allowed,
        upload_max_bps: None,
        play_out_delay_ms: PLAY_OUT_DELAY_MS,
    };
    let name = fields.get("name").to_lowercase();
    match accounts
        .create_channel_of(member.account(), &name, &settings)
        .await
    {
        Ok(channel) => Ok(go_to(&format!("/dashboard/{}", channel.name))),
        Err(error) => listed(&accounts, &member, &fields, Told::of(error)?).await,
    }
}

async fn listed(
    accounts: &Accounts,
    member: &Member,
    fields: &Fields,
    told: Told,
) -> Result<HttpResponse, Stop> {
    let account = member.account();
    let name = Field::new("channel", "name", "Address")
        .max(40)
        .hint("2 to 40 of a-z, 0-9 and hyphens. It stays as it is.");
    let title = Field::new("channel", "title", "Title")
        .max(80)
        .optional()
        .hint("What people read. You may change it at any time.");
    let list = List {
        shell: member.shell(),
        position: accounts.position(account).await?,
        channels: accounts.channels_of(account).await?,
        name: name.typed(fields, &told),
        title: title.typed(fields, &told),
        notice: told.notice,
    };
    page(told.status, &list)
}

async fn show(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
    member: Member,
) -> Result<HttpResponse, Stop> {
    let channel = accounts.channel_of(member.account(), &name).await?;
    shown(
        &accounts,
        &member,
        &channel,
        (&Fields::default(), Came::default()),
    )
    .await
}

async fn change(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    let Posted { member, fields } = posted;
    let channel = accounts.channel_of(member.account(), &name).await?;
    let settings = Settings {
        title: fields.get("title"),
        description: fields.get("description"),
        share: share(fields.get("share")).unwrap_or(channel.share),
        upload_max_bps: upload(fields.get("upload")).unwrap_or(channel.upload_max_bps),
        play_out_delay_ms: fields
            .get("delay")
            .parse()
            .unwrap_or(channel.play_out_delay_ms),
    };
    match accounts.change_channel(&channel, &settings).await {
        Ok(_) => Ok(go_to(&format!("/dashboard/{}", channel.name))),
        Err(error) => {
            let came = Came {
                form: "settings",
                told: Told::of(error)?,
                key: None,
            };
            shown(&accounts, &member, &channel, (&fields, came)).await
        }
    }
}

async fn create_key(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    let Posted { member, fields } = posted;
    let channel = accounts.channel_of(member.account(), &name).await?;
    let made = accounts
        .create_named_key(&channel, fields.get("name"))
        .await;
    with_key(&accounts, &member, &channel, (&fields, made)).await
}

async fn rotate_key(
    accounts: web::Data<Accounts>,
    path: web::Path<(String, i64)>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    let (name, id) = path.into_inner();
    let Posted { member, fields } = posted;
    let channel = accounts.channel_of(member.account(), &name).await?;
    let made = accounts.rotate_key(&channel, id).await;
    with_key(&accounts, &member, &channel, (&fields, made)).await
}

async fn with_key(
    accounts: &Accounts,
    member: &Member,
    channel: &Channel,
    (fields, made): (&Fields, Result<(StreamKey, crate::Secret), Error>),
) -> Result<HttpResponse, Stop> {
    let came = match made {
        Ok((_, secret)) => Came {
            key: Some(secret.reveal().to_owned()),
            ..Came::default()
        },
        Err(error) => Came {
            form: "key",
            told: Told::of(error)?,
            key: None,
        },
    };
    shown(accounts, member, channel, (fields, came)).await
}

async fn revoke_key(
    accounts: web::Data<Accounts>,
    path: web::Path<(String, i64)>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    let (name, id) = path.into_inner();
    let channel = accounts.channel_of(posted.member.account(), &name).await?;
    accounts.revoke_stream_key(&channel, id).await?;
    Ok(go_to(&format!("/dashboard/{}#keys", channel.name)))
}

async fn delete(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
    posted: Posted,
) -> Result<HttpResponse, Stop> {
    let Posted { member, fields } = posted;
    let channel = accounts.channel_of(member.account(), &name).await?;
    if fields.get("sure").trim() != channel.name.as_str() {
        let fault = crate::Fault("Type the channel's address to delete it.");
        let came = Came {
            form: "delete",
            told: Told::of(Error::Form(crate::Faults::one("sure", fault)))?,
            key: None,
        };
        return shown(&accounts, &member, &channel, (&fields, came)).await;
    }
    accounts.delete_channel(&channel).await?;
    Ok(go_to("/dashboard"))
}

async fn shown(
    accounts: &Accounts,
    member: &Member,
    channel: &Channel,
    (fields, came): (&Fields, Came),
) -> Result<HttpResponse, Stop> {
    let keys = accounts.stream_keys(channel).await?;
    let nothing = (Fields::default(), Told::nothing());
    let of = |form: &str| match came.form == form {
        true => (fields, &came.told),
        false => (&nothing.0, &nothing.1),
    };
    let setting = |field: Field, now: &str| match came.form {
        "settings" => field.typed(fields, &came.told),
        _ => field.value(now),
    };
    let title = Field::new("settings", "title", "Title").max(80).optional();
    let description = Field::new("settings", "description", "About").kind("textarea", "off");
    let key_name = Field::new("key", "name", "Name of a new key")
        .max(60)
        .optional();
    let sure = Field::new("delete", "sure", "Its address").max(40);
    let shown = Page {
        shell: member.shell(),
        notice: came.told.notice.clone(),
        channel,
        rtmp: &accounts.0.push.rtmp,
        srt: &accounts.0.push.srt,
        key: came.key.as_deref().unwrap_or(NO_KEY),
        is_new_key: came.key.is_some(),
        keys: keys.into_iter().map(row).collect(),
        title: setting(title, &channel.title),
        description: setting(description.max(1000).optional(), &channel.description),
        shares: shares(channel.share),
        uploads: uploads(channel.upload_max_bps),
        delays: delays(channel.play_out_delay_ms),
        key_name: key_name
            .hint("Such as the machine that has it.")
            .typed(of("key").0, of("key").1),
        sure: sure.typed(of("delete").0, of("delete").1),
    };
    page(came.told.status, &shown)
}

fn row(key: StreamKey) -> KeyRow {
    KeyRow {
        id: key.id,
        name: key.name,
        made: Moment::of(key.created_at),
        used: key.last_used_at.map(Moment::of),
        good: key.revoked_at.is_none(),
    }
}

fn share(text: &str) -> Option<Share> {
    match text {
        "required" => Some(Share::Required),
        "allowed" => Some(Share::Allowed),
        "off" => Some(Share::Off),
        _ => None,
    }
}

fn shares(now: Share) -> [Choice; 3] {
    [
        (
            Share::Allowed,
            "allowed",
            "Each viewer chooses whether to help",
        ),
        (
            Share::Required,
            "required",
            "Viewers help, or are turned away when it gets tight",
        ),
        (Share::Off, "off", "Nobody helps; the station sends it all"),
    ]
    .map(|(share, value, text)| Choice {
        value: value.to_owned(),
        text,
        chosen: share == now,
    })
}

/// As the form says it; zero is no cap.
fn upload(text: &str) -> Option<Option<u64>> {
    let bps: u64 = text.parse().ok()?;
    Some((bps > 0).then_some(bps))
}

/// The presets, and what the channel has if it is none of them.
fn uploads(now: Option<u64>) -> Vec<Choice> {
    let presets = [
        (None, "What each chooses"),
        (Some(1_000_000), "1 Mbit/s at most"),
        (Some(2_000_000), "2 Mbit/s at most"),
        (Some(5_000_000), "5 Mbit/s at most"),
        (Some(10_000_000), "10 Mbit/s at most"),
    ];
    choices(&presets, now, |cap| cap.unwrap_or(0).to_string())
}

/// The presets, and what the channel has if it is none of them.
fn delays(now: u32) -> Vec<Choice> {
    let presets = [
        (1200, "1.2 s: close to live, for good lines"),
        (PLAY_OUT_DELAY_MS, "1.8 s: for most"),
        (3000, "3 s: steadier, for mobile viewers"),
        (6000, "6 s: for lines that lose much"),
    ];
    choices(&presets, now, |delay| delay.to_string())
}

fn choices<T: Copy + PartialEq>(
    presets: &[(T, &'static str)],
    now: T,
    value: fn(T) -> String,
) -> Vec<Choice> {
    let known = presets.iter().any(|(preset, _)| *preset == now);
    let own = (!known).then_some((now, "as it was set"));
    let all = presets.iter().copied().chain(own);
    all.map(|(preset, text)| Choice {
        value: value(preset),
        text,
        chosen: preset == now,
    })
    .collect()
}

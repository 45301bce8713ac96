//! The half of the JSON API that administers: with an API token, which is shown as
//! `Authorization: Bearer`. The one rule: each call says which of the token's scopes it takes,
//! and a member's token has to do with the member's own channels.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use boot::{http::Refusal, ticket::Share};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::operation::Operation;
use crate::{
    Account, Accounts, Caller, Channel, ChannelName, Error, PLAY_OUT_DELAY_MS, Scope, Settings,
    StreamKey,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::of::<__path_list>(web::to(list)),
        Operation::of::<__path_create>(web::to(create)),
        Operation::of::<__path_change>(web::to(change)),
        Operation::of::<__path_delete>(web::to(delete)),
        Operation::of::<__path_keys>(web::to(keys)),
        Operation::of::<__path_create_key>(web::to(create_key)),
        Operation::of::<__path_revoke_key>(web::to(revoke_key)),
    ]
}

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let accounts = request.app_data::<web::Data<Accounts>>().cloned();
        let token = bearer(request);
        Box::pin(async move {
            let refused = || {
                let message = "this needs a good API token as `Authorization: Bearer`";
                Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            };
            let (accounts, token) = accounts.zip(token).ok_or_else(refused)?;
            accounts.caller(&token).await?.ok_or_else(refused)
        })
    }
}

/// A channel as its owner sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct ChannelReply {
    /// The slug in URLs.
    name: String,
    /// What people read; empty: the slug.
    title: String,
    description: String,
    /// 16 bytes in hexadecimal.
    id: String,
    /// Ed25519, 32 bytes in hexadecimal.
    public_key: String,
    /// From ingest stamp to release.
    #[schema(minimum = 500, maximum = 30000)]
    play_out_delay_ms: u32,
    #[schema(value_type = super::description::ShareSchema)]
    share: Share,
    /// What each viewer uploads at most; null: as it likes.
    #[schema(minimum = 100_000, maximum = 1_000_000_000)]
    upload_max_bps: Option<u64>,
    /// Unix seconds.
    created_at: u64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ChannelsReply {
    channels: Vec<ChannelReply>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct KeysReply {
    keys: Vec<StreamKey>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct NewKeyReply {
    id: i64,
    /// The only time that it is told.
    stream_key: String,
}

/// A channel to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewChannel {
    #[schema(pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", min_length = 2, max_length = 40)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 80)]
    title: String,
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: String,
    #[serde(default = "default_delay")]
    #[schema(minimum = 500, maximum = 30000)]
    play_out_delay_ms: u32,
    #[serde(default = "default_share")]
    #[schema(value_type = super::description::ShareSchema)]
    share: Share,
    /// What each viewer uploads at most; null: as it likes.
    #[serde(default)]
    #[schema(minimum = 100_000, maximum = 1_000_000_000)]
    upload_max_bps: Option<u64>,
}

/// What of a channel is to be otherwise; what is not named stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedChannel {
    #[schema(max_length = 80)]
    title: Option<String>,
    #[schema(max_length = 1000)]
    description: Option<String>,
    #[schema(minimum = 500, maximum = 30000)]
    play_out_delay_ms: Option<u32>,
    #[schema(value_type = Option<super::description::ShareSchema>)]
    share: Option<Share>,
    /// What each viewer uploads at most; null: as it likes.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u64>, minimum = 100_000, maximum = 1_000_000_000)]
    upload_max_bps: Option<Option<u64>>,
}

/// What a new key is called; a body may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    #[serde(default)]
    #[schema(max_length = 60)]
    name: String,
}

#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", security(("token" = ["read"])),
    responses((status = 200, description = "Those of the token's owner, at most 500", body = ChannelsReply),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn list(
    caller: Caller,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse, Refusal> {
    caller.may(Scope::Read)?;
    let channels = match owner(&accounts, &caller).await? {
        Some(owner) => accounts.channels_of(&owner).await?,
        None => accounts.channels().await?,
    };
    let channels = channels.iter().map(ChannelReply::from).collect();
    Ok(HttpResponse::Ok().json(ChannelsReply { channels }))
}

#[utoipa::path(post, path = "/api/v1/channels", tag = "channels", security(("token" = ["channels"])),
    request_body = NewChannel,
    responses((status = 201, description = "Created", body = ChannelReply),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn create(
    caller: Caller,
    accounts: web::Data<Accounts>,
    new: web::Json<NewChannel>,
) -> Result<HttpResponse, Refusal> {
    caller.may(Scope::Channels)?;
    let settings = Settings {
        title: &new.title,
        description: &new.description,
        share: new.share,
        upload_max_bps: new.upload_max_bps,
        play_out_delay_ms: new.play_out_delay_ms,
    };
    let channel = match owner(&accounts, &caller).await? {
        Some(owner) => {
            accounts
                .create_channel_of(&owner, &new.name, &settings)
                .await?
        }
        None => {
            let name = ChannelName::parse(&new.name)?;
            let channel = accounts
                .create_channel(name, new.play_out_delay_ms, new.share)
                .await?;
            accounts.change_channel(&channel, &settings).await?
        }
    };
    Ok(HttpResponse::Created().json(ChannelReply::from(&channel)))
}

#[utoipa::path(patch, path = "/api/v1/channels/{name}", tag = "channels", security(("token" = ["channels"])),
    params(super::description::Named), request_body = ChangedChannel,
    responses((status = 200, description = "As it is now", body = ChannelReply),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn change(
    caller: Caller,
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
    changed: web::Json<ChangedChannel>,
) -> Result<HttpResponse, Refusal> {
    let channel = channel(&caller, &accounts, (&name, Scope::Channels)).await?;
    let delay = changed.play_out_delay_ms;
    let settings = Settings {
        title: changed.title.as_deref().unwrap_or(&channel.title),
        description: changed
            .description
            .as_deref()
            .unwrap_or(&channel.description),
        share: changed.share.unwrap_or(channel.share),
        upload_max_bps: changed.upload_max_bps.unwrap_or(channel.upload_max_bps),
        play_out_delay_ms: delay.unwrap_or(channel.play_out_delay_ms),
    };
    let channel = accounts.change_channel(&channel, &settings).await?;
    Ok(HttpResponse::Ok().json(ChannelReply::from(&channel)))
}

#[utoipa::path(delete, path = "/api/v1/channels/{name}", tag = "channels", security(("token" = ["channels"])),
    params(super::description::Named),
    responses((status = 204, description = "Deleted with its keys"),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn delete(
    caller: Caller,
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let channel = channel(&caller, &accounts, (&name, Scope::Channels)).await?;
    accounts.delete_channel(&channel).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(get, path = "/api/v1/channels/{name}/keys", tag = "stream keys", security(("token" = ["read"])),
    params(super::description::Named),
    responses((status = 200, description = "Newest first, without their secrets", body = KeysReply),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn keys(
    caller: Caller,
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let channel = channel(&caller, &accounts, (&name, Scope::Read)).await?;
    let keys = accounts.stream_keys(&channel).await?;
    Ok(HttpResponse::Ok().json(KeysReply { keys }))
}

#[utoipa::path(post, path = "/api/v1/channels/{name}/keys", tag = "stream keys", security(("token" = ["keys"])),
    params(super::description::Named), request_body = Option<NewKey>,
    responses((status = 201, description = "Created", body = NewKeyReply),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn create_key(
    caller: Caller,
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let channel = channel(&caller, &accounts, (&name, Scope::Keys)).await?;
    let new: Option<NewKey> = match body.is_empty() {
        true => None,
        false => serde_json::from_slice(&body).map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, "bad_json", error.to_string())
        })?,
    };
    let new = new.unwrap_or_default();
    let (key, secret) = accounts.create_named_key(&channel, &new.name).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(NewKeyReply {
            id: key.id,
            stream_key: secret.reveal().to_owned(),
        }))
}

#[utoipa::path(delete, path = "/api/v1/channels/{name}/keys/{id}", tag = "stream keys", security(("token" = ["keys"])),
    params(super::description::Named, ("id" = i64, Path, description = "As the list names it")),
    responses((status = 204, description = "Revoked"),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn revoke_key(
    caller: Caller,
    accounts: web::Data<Accounts>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Refusal> {
    let (name, id) = path.into_inner();
    let channel = channel(&caller, &accounts, (&name, Scope::Keys)).await?;
    let id = id.parse().map_err(|_| Error::NoSuchKey)?;
    accounts.revoke_stream_key(&channel, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The caller's own, for which the token has the scope.
async fn channel(
    caller: &Caller,
    accounts: &Accounts,
    (name, scope): (&str, Scope),
) -> Result<Channel, Error> {
    caller.may(scope)?;
    let channel = accounts.channel(name).await?;
    caller.owns(&channel)?;
    Ok(channel)
}

/// Whose token it is; none of the operator's.
async fn owner(accounts: &Accounts, caller: &Caller) -> Result<Option<Account>, Error> {
    match caller.owner {
        Some(id) => Ok(Some(accounts.account(id).await?)),
        None => Ok(None),
    }
}

impl From<&Channel> for ChannelReply {
    fn from(channel: &Channel) -> Self {
        Self {
            name: channel.name.to_string(),
            title: channel.title.clone(),
            description: channel.description.clone(),
            id: hex::encode(channel.id),
            public_key: hex::encode(channel.public_key()),
            play_out_delay_ms: channel.play_out_delay_ms,
            share: channel.share,
            upload_max_bps: channel.upload_max_bps,
            created_at: channel.created_at,
        }
    }
}

fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

/// What is null was named, what is not there was not.
fn named<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(field).map(Some)
}

fn default_delay() -> u32 {
    PLAY_OUT_DELAY_MS
}

fn default_share() -> Share {
    Share::Allowed
}

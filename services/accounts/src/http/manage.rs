//! The half of the JSON API that administers: with an API token, which is shown as
//! `Authorization: Bearer`.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use boot::{http::Refusal, ticket::Share};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Accounts, Channel, ChannelName, Error, PLAY_OUT_DELAY_MS};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/channels")
            .route(web::get().to(list))
            .route(web::post().to(create)),
    )
    .service(
        web::resource("/channels/{name}/keys")
            .route(web::get().to(keys))
            .route(web::post().to(create_key)),
    )
    .route("/channels/{name}/keys/{id}", web::delete().to(revoke_key));
}

/// Proof that the request came with a good API token.
struct Administrator;

impl FromRequest for Administrator {
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
            match accounts.is_api_token(&token).await? {
                true => Ok(Self),
                false => Err(refused()),
            }
        })
    }
}

#[derive(Serialize)]
struct ChannelReply {
    name: String,
    id: String,
    public_key: String,
    play_out_delay_ms: u32,
    share: Share,
    created_at: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewChannel {
    name: String,
    #[serde(default = "default_delay")]
    play_out_delay_ms: u32,
    #[serde(default = "default_share")]
    share: Share,
}

async fn list(_: Administrator, accounts: web::Data<Accounts>) -> Result<HttpResponse, Refusal> {
    let channels = accounts.channels().await?;
    let channels: Vec<ChannelReply> = channels.iter().map(ChannelReply::from).collect();
    Ok(HttpResponse::Ok().json(json!({"channels": channels})))
}

async fn create(
    _: Administrator,
    accounts: web::Data<Accounts>,
    new: web::Json<NewChannel>,
) -> Result<HttpResponse, Refusal> {
    let name = ChannelName::parse(&new.name)?;
    let channel = accounts
        .create_channel(name, new.play_out_delay_ms, new.share)
        .await?;
    Ok(HttpResponse::Created().json(ChannelReply::from(&channel)))
}

async fn keys(
    _: Administrator,
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let channel = accounts.channel(&name).await?;
    let keys = accounts.stream_keys(&channel).await?;
    Ok(HttpResponse::Ok().json(json!({"keys": keys})))
}

async fn create_key(
    _: Administrator,
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let channel = accounts.channel(&name).await?;
    let (id, key) = accounts.create_stream_key(&channel).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({"id": id, "stream_key": key.reveal()})))
}

async fn revoke_key(
    _: Administrator,
    accounts: web::Data<Accounts>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Refusal> {
    let (name, id) = path.into_inner();
    let channel = accounts.channel(&name).await?;
    let id = id.parse().map_err(|_| Error::NoSuchKey)?;
    accounts.revoke_stream_key(&channel, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl From<&Channel> for ChannelReply {
    fn from(channel: &Channel) -> Self {
        Self {
            name: channel.name.to_string(),
            id: hex::encode(channel.id),
            public_key: hex::encode(channel.public_key()),
            play_out_delay_ms: channel.play_out_delay_ms,
            share: channel.share,
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

fn default_delay() -> u32 {
    PLAY_OUT_DELAY_MS
}

fn default_share() -> Share {
    Share::Allowed
}

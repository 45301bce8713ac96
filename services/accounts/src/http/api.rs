//! The open half of the JSON API: tickets and figures.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use boot::{http::Refusal, ticket::Share};
use proto::tracker::{StatsRequest, tracker_client::TrackerClient};
use serde::Serialize;
use tonic::transport::Channel;
use utoipa::ToSchema;

use super::operation::Operation;
use crate::{Accounts, ChannelName, Error, turn::IceServer};

const HOST_MAX: usize = 255;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::of::<__path_ticket>(web::to(ticket)),
        Operation::of::<__path_stats>(web::to(stats)),
        Operation::of::<__path_swarm>(web::to(swarm)),
    ]
}

/// What a viewer needs to join.
#[derive(Serialize, ToSchema)]
pub(super) struct TicketReply {
    ticket: String,
    /// A WebSocket's URL; add `?ticket=`.
    tracker: String,
    channel: String,
    /// 16 bytes in hexadecimal.
    channel_id: String,
    /// Ed25519, 32 bytes in hexadecimal.
    channel_key: String,
    play_out_delay_ms: u32,
    /// Whether the viewer relays.
    #[schema(value_type = super::description::ShareSchema)]
    share: Share,
    /// What it uploads at most, in bits a second; null: as it likes.
    upload_max_bps: Option<u64>,
    /// TURN servers for viewers that find no other way to each other.
    ice_servers: Vec<IceServer>,
}

/// A ticket to watch, good for ten minutes. Open to all; 429 when one address asks for too many,
/// 503 while no tracker is known.
#[utoipa::path(post, path = "/api/v1/channels/{name}/ticket", tag = "watching",
    params(super::description::Named),
    responses((status = 200, description = "The ticket and where to go with it", body = TicketReply),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn ticket(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    if !accounts.0.limits.ticket(&request).await {
        return Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many tickets were asked for from this address: wait a moment",
        ));
    }
    let channel = accounts.channel(&checked(&name)?).await?;
    let reply = TicketReply {
        ticket: accounts.issue_ticket(&channel)?,
        tracker: tracker_url(&accounts, &channel, &request)?,
        channel: channel.name.to_string(),
        channel_id: hex::encode(channel.id),
        channel_key: hex::encode(channel.public_key()),
        play_out_delay_ms: channel.play_out_delay_ms,
        share: channel.share,
        upload_max_bps: channel.upload_max_bps,
        ice_servers: ice_servers(&accounts)?,
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(reply))
}

/// Named for a viewer of whom no more is known than that it asks now.
fn ice_servers(accounts: &Accounts) -> Result<Vec<IceServer>, Error> {
    let Some(turn) = &accounts.0.turn else {
        return Ok(Vec::new());
    };
    let viewer = getrandom::u64()?;
    let now = boot::ticket::now();
    Ok(vec![turn.server(now, &format!("{viewer:016x}"))])
}

#[utoipa::path(get, path = "/api/v1/channels/{name}/stats", tag = "watching",
    params(super::description::Named),
    responses((status = 200, description = "The swarm in figures, since the broadcast began", body = super::description::Stats),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn stats(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let (mut tracker, request) = figures_request(&accounts, &name).await?;
    figures(tracker.stats(request).await)
}

#[utoipa::path(get, path = "/api/v1/channels/{name}/swarm", tag = "watching",
    params(super::description::Named),
    responses((status = 200, description = "Who relays which stripe to whom, for at most 300 peers", body = super::description::Swarm),
        (status = "default", response = super::description::Refused)))]
pub(super) async fn swarm(
    accounts: web::Data<Accounts>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let (mut tracker, request) = figures_request(&accounts, &name).await?;
    figures(tracker.swarm(request).await)
}

/// A name that cannot be one names no channel, and is not asked for.
fn checked(name: &str) -> Result<String, Error> {
    match ChannelName::parse(name) {
        Ok(name) => Ok(name.to_string()),
        Err(_) => Err(Error::NoSuchChannel),
    }
}

async fn figures_request(
    accounts: &Accounts,
    name: &str,
) -> Result<(TrackerClient<Channel>, tonic::Request<StatsRequest>), Refusal> {
    let channel = accounts.channel(&checked(name)?).await?;
    let (_, tracker) = accounts.tracker(&channel).ok_or_else(tracker_away)?;
    let mut request = tonic::Request::new(StatsRequest {
        channel_name: channel.name.to_string(),
    });
    request.set_timeout(boot::grpc::CALL_DEADLINE);
    Ok((tracker, request))
}

fn figures(
    reply: Result<tonic::Response<proto::tracker::StatsReply>, tonic::Status>,
) -> Result<HttpResponse, Refusal> {
    match reply {
        Ok(reply) => Ok(HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .content_type("application/json")
            .body(reply.into_inner().json)),
        Err(status) => {
            tracing::warn!(code = ?status.code(), "the tracker gives no figures");
            Err(tracker_away())
        }
    }
}

fn tracker_away() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "the tracker does not answer",
    )
}

/// The tracker answers where this service was reached, unless the operator or the tracker
/// itself says otherwise.
fn tracker_url(
    accounts: &Accounts,
    channel: &crate::Channel,
    request: &HttpRequest,
) -> Result<String, Refusal> {
    // Where none is known it is better to come back than to be sent to where there is none.
    let (tracker, _) = accounts.tracker(channel).ok_or_else(tracker_away)?;
    let registered = Some(tracker.public_url).filter(|url| !url.is_empty());
    let named = accounts.0.tracker_public.clone().or(registered);
    if let Some(url) = named.or_else(|| accounts.0.public_url.clone()) {
        let url = url.trim_end_matches('/');
        // http becomes ws, https becomes wss.
        return Ok(format!("ws{}/ws", url.strip_prefix("http").unwrap_or(url)));
    }
    host(request)
        .map(|host| format!("ws://{host}/ws"))
        .ok_or_else(|| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "bad_host",
                "the request names no host",
            )
        })
}

fn host(request: &HttpRequest) -> Option<&str> {
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?,
        None => request.uri().authority()?.as_str(),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    (!host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(plain)).then_some(host)
}

//! The API's description, generated from the code that answers. The one rule: what programs may
//! ask is described, and what is described answers, as tests hold; pages for people are not.

use std::sync::LazyLock;

use actix_web::{HttpResponse, web};
use utoipa::{
    IntoParams, Modify, OpenApi, ToResponse, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{api, beta, manage, operation::Operation};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Livestation",
        version = "1",
        description = "Signing up, channels, stream keys, tickets and figures. Every refusal has the body of the schema Refusal. Tokens are made on the account's page, with the scopes read, channels and keys."
    ),
    paths(
        api::ticket,
        api::stats,
        api::swarm,
        beta::live,
        beta::sign_up,
        beta::confirm,
        beta::forgot,
        beta::reset,
        manage::list,
        manage::create,
        manage::change,
        manage::delete,
        manage::keys,
        manage::create_key,
        manage::revoke_key,
        openapi,
        live_mp4,
        session,
        health,
        ready,
    ),
    components(responses(Refused)),
    modifiers(&Token)
)]
struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

static TEXT: LazyLock<String> =
    LazyLock::new(|| Description::openapi().to_json().unwrap_or_default());

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::of::<__path_openapi>(web::to(openapi))]
}

/// The document, as JSON.
pub(super) fn text() -> &'static str {
    TEXT.as_str()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)))]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(text())
}

/// Refused or failed.
#[derive(ToResponse)]
#[response(description = "Refused or failed")]
#[expect(dead_code, reason = "it describes what boot::http answers")]
pub(super) struct Refused(Refusal);

#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what boot::http answers")]
struct Refusal {
    error: Reason,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what boot::http answers")]
struct Reason {
    /// For programs; stays as it is.
    code: String,
    /// For people.
    message: String,
}

/// A channel's name in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes a path")]
pub(super) struct Named {
    #[param(pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", min_length = 2, max_length = 40)]
    name: String,
}

/// Whether viewers relay.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes boot's type")]
pub(super) enum ShareSchema {
    /// A viewer that does not relay may be turned away when supply is short.
    Required,
    /// Each viewer chooses.
    Allowed,
    /// Nobody relays.
    Off,
}

/// A swarm in figures, since its broadcast began.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the tracker says")]
pub(super) struct Stats {
    live: bool,
    viewers: u64,
    bytes: Bytes,
    /// Media bytes released to all players.
    media_played: u64,
    saved_ratio: Option<f64>,
    saved_ratio_60s: Option<f64>,
    lag_ms: Spread,
    startup_ms: Spread,
    stalls: u64,
    k: u32,
    n: u32,
    rate_bps: u64,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the tracker says")]
struct Bytes {
    seeder: Kinds,
    peers: Kinds,
}

/// Each byte is of one kind.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the tracker says")]
struct Kinds {
    media: u64,
    parity: u64,
    duplicate: u64,
    control: u64,
    /// Of seeders.
    rescue: Option<u64>,
    /// Of seeders.
    http: Option<u64>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the tracker says")]
struct Spread {
    p50: Option<u64>,
    p95: Option<u64>,
}

/// Who relays which stripe to whom; no addresses.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the tracker says")]
pub(super) struct Swarm {
    live: bool,
    k: u32,
    n: u32,
    /// At most 300.
    peers: Vec<Peer>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the tracker says")]
struct Peer {
    id: String,
    /// `seeder` or `viewer`.
    role: String,
    playing: bool,
    upload_bps: u64,
    /// Pairs of a stripe and the parent's place in `peers`.
    parents: Vec<Vec<u64>>,
}

/// The broadcast for players without peers: fragmented MP4 without an end, from the latest
/// keyframe on. The header X-Codecs says what Media Source Extensions are told.
#[utoipa::path(get, path = "/live/{channel}.mp4", tag = "watching",
    params(("channel" = String, Path), ("ticket" = String, Query)),
    responses((status = 200, description = "Without an end", content_type = "video/mp4"),
        (status = "default", response = Refused)))]
#[expect(dead_code, reason = "the seeder answers")]
fn live_mp4() {}

/// A viewer's session with the tracker: a WebSocket with binary messages.
#[utoipa::path(get, path = "/ws", tag = "watching", params(("ticket" = String, Query)),
    responses((status = 101, description = "Switching protocols"),
        (status = "default", response = Refused)))]
#[expect(dead_code, reason = "the tracker answers")]
fn session() {}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "ok", content_type = "text/plain")))]
#[expect(dead_code, reason = "the pages answer")]
fn health() {}

/// Whether the process takes work: where the program serves it, 503 before it is ready and
/// while it stops.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, description = "ready", content_type = "text/plain"),
        (status = "default", response = Refused)))]
#[expect(dead_code, reason = "the program answers")]
fn ready() {}

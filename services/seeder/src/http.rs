//! The stream for players without peers: `GET /live/{channel}.mp4?ticket=…`, fMP4 from the
//! latest keyframe on. Mounted by the program beside the other services' routes.
//!
//! The one rule: every byte is counted; it is what viewers save the origin otherwise.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use boot::{http::Refusal, ticket};
use futures_util::StreamExt;
use serde::Deserialize;
use stripe::ChannelId;

use crate::Service;

#[derive(Deserialize)]
struct Query {
    ticket: Option<String>,
}

/// Adds `/live/{channel}.mp4`.
pub fn routes(service: Service) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        cfg.service(
            web::resource("/live/{channel}.mp4")
                .app_data(web::Data::new(service))
                .route(web::get().to(live)),
        );
    }
}

async fn live(
    request: HttpRequest,
    service: web::Data<Service>,
    channel: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Refusal> {
    let token = query.ticket.as_deref();
    let token = token.ok_or_else(|| Refusal::ticket(ticket::Error::Forged))?;
    let ticket = service
        .0
        .config
        .tickets
        .verify(token)
        .map_err(Refusal::ticket)?;
    if ticket.name != *channel {
        let message = "the ticket is for another channel";
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "other_channel",
            message,
        ));
    }
    let id = ChannelId(ticket.channel_id);
    let broadcast = service.0.channels.get(id).ok_or_else(not_live)?;
    let init = broadcast.hub.init().ok_or_else(not_live)?;
    // Only a server in a test has no peers.
    let address = boot::client::of(&request).map(|client| client.address);
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let place = service.0.readers.take(address).ok_or_else(|| {
        let message = "too many players read from this address: close one";
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_readers", message)
    })?;
    let parts = broadcast.hub.subscribe().ok_or_else(|| {
        let message = "too many players read from this seeder: try again later";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_readers", message)
    })?;
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("video/mp4")
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(codecs) = media::codecs(&init) {
        answer.insert_header(("X-Codecs", codecs));
    }
    let counted = native::outputs::http::body(parts).inspect(move |bytes| {
        // Kept for as long as it reads.
        let _ = &place;
        if let Ok(bytes) = bytes {
            broadcast.count_http(bytes.len());
        }
    });
    Ok(answer.streaming(counted))
}

fn not_live() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_live", "the channel is not live")
}

//! The WebSocket that viewers come by: `GET /ws?ticket=…`, or the ticket as the
//! sub-protocol `ticket.…` where a browser's log should not hold it. Each binary message is
//! one encoded `ToTracker` or `FromTracker`; a text message is the peer's fault.

use std::{pin::pin, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, MessageStream};
use boot::{
    client,
    http::Refusal,
    ticket::{self, Share, Ticket},
};
use overlay_core::{
    tracker::{Grant, Role},
    wire::MAX_TRACKER_MESSAGE_LEN,
};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Limits, Service,
    places::Full,
    session::{Ended, Entry, Session},
    swarm::Outgoing,
};

const PROTOCOL: &str = "ticket.";
/// Three to a silence, so that one lost ping closes nobody.
const PINGS_PER_SILENCE: u32 = 3;
/// How long a peer may take to read what fills the socket.
const SEND_DEADLINE: Duration = Duration::from_secs(5);

/// Adds `/ws`.
pub fn routes(service: Service) -> impl FnOnce(&mut web::ServiceConfig) {
    move |cfg| {
        cfg.service(
            web::resource("/ws")
                .app_data(web::Data::new(service))
                .route(web::get().to(open)),
        );
    }
}

async fn open(
    request: HttpRequest,
    body: web::Payload,
    service: web::Data<Service>,
) -> Result<HttpResponse, Refusal> {
    let (token, protocol) =
        token(&request).ok_or_else(|| Refusal::ticket(ticket::Error::Forged))?;
    let ticket = service.0.tickets.verify(token).map_err(Refusal::ticket)?;
    let client = client::of(&request).ok_or_else(|| full(Full::All))?;
    let place = service.0.places.take(client.address).map_err(full)?;
    // Behind a proxy that does not say for whom it asks, strangers would seem to share an address.
    let proxied = !client.named && (service.0.proxied || came_by_proxy(&request));
    let origin = place.origin();
    let protocols: &[&str] = protocol.as_slice();
    let (response, socket, stream) = actix_ws::handle_with_protocols(&request, body, protocols)
        .map_err(|_| {
            let message = "this address speaks WebSocket only";
            Refusal::new(StatusCode::BAD_REQUEST, "not_websocket", message)
        })?;
    let entry = Entry {
        channel: ticket.channel_id,
        name: &ticket.name,
        grant: grant(&ticket, origin.filter(|_| !proxied)),
    };
    let (session, queue) = Session::open(&service.0.swarms, entry, &service.0.limits)
        .await
        .map_err(|error| {
            tracing::error!(%error, "a swarm fails");
            let message = "the swarm does not answer: try again";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        })?;
    let service = service.get_ref().clone();
    actix_web::rt::spawn(async move {
        let _place = place;
        let reason = tokio::select! {
            reason = carry(session, queue, socket.clone(), stream, &service.0.limits) => reason,
            () = service.0.shutdown.cancelled() => Some("the tracker is going away".to_owned()),
        };
        let reason = reason.map(|reason| CloseReason {
            code: CloseCode::Policy,
            description: Some(reason),
        });
        let _ = timeout(SEND_DEADLINE, socket.close(reason)).await;
    });
    Ok(response)
}

/// Carries messages both ways until the session ends, and says why unless the peer ended it.
async fn carry(
    mut session: Session,
    mut queue: mpsc::Receiver<Outgoing>,
    mut socket: actix_ws::Session,
    stream: MessageStream,
    limits: &Limits,
) -> Option<String> {
    let mut stream = stream
        .max_frame_size(MAX_TRACKER_MESSAGE_LEN)
        .aggregate_continuations()
        .max_continuation_size(MAX_TRACKER_MESSAGE_LEN);
    let mut pings = tokio::time::interval(limits.silence / PINGS_PER_SILENCE);
    let mut sending = socket.clone();
    let send = async {
        loop {
            let sent = tokio::select! {
                outgoing = queue.recv() => match outgoing {
                    Some(Outgoing::Message(bytes)) => timeout(SEND_DEADLINE, sending.binary(bytes)).await,
                    Some(Outgoing::Close(reason)) => return Some(reason.to_owned()),
                    None => return Some("this session does not read".to_owned()),
                },
                _ = pings.tick() => timeout(SEND_DEADLINE, sending.ping(b"")).await,
            };
            if !matches!(sent, Ok(Ok(()))) {
                return None;
            }
        }
    };
    let receive = receive(&mut session, &mut stream, &mut socket, limits);
    let (send, receive) = (pin!(send), pin!(receive));
    tokio::select! {
        reason = send => reason,
        reason = receive => reason.map(|ended| ended.to_string()),
    }
}

async fn receive(
    session: &mut Session,
    stream: &mut AggregatedMessageStream,
    socket: &mut actix_ws::Session,
    limits: &Limits,
) -> Option<Ended> {
    let opened = tokio::time::Instant::now();
    loop {
        let (patience, late) = session.patience(limits);
        let deadline = match late {
            Ended::JoinLate => opened + patience,
            _ => tokio::time::Instant::now() + patience,
        };
        let Ok(message) = tokio::time::timeout_at(deadline, stream.recv()).await else {
            return Some(late);
        };
        let taken = match message? {
            Ok(AggregatedMessage::Binary(bytes)) => session.on_bytes(&bytes).await,
            Ok(AggregatedMessage::Ping(bytes)) => {
                timeout(SEND_DEADLINE, socket.pong(&bytes))
                    .await
                    .ok()?
                    .ok()?;
                session.on_sign()
            }
            Ok(AggregatedMessage::Pong(_)) => session.on_sign(),
            Ok(AggregatedMessage::Text(_)) => Err(Ended::Malformed),
            Ok(AggregatedMessage::Close(_)) => return None,
            Err(actix_ws::ProtocolError::Overflow) => Err(Ended::TooLong),
            Err(_) => Err(Ended::Malformed),
        };
        if let Err(ended) = taken {
            return Some(ended);
        }
    }
}

/// The token, and the sub-protocol to be agreed to where it came as one.
fn token(request: &HttpRequest) -> Option<(&str, Option<&str>)> {
    let pairs = request.query_string().split('&');
    if let Some(token) = pairs.filter_map(|pair| pair.strip_prefix("ticket=")).next() {
        return Some((token, None));
    }
    let offered = request
        .headers()
        .get(header::SEC_WEBSOCKET_PROTOCOL)?
        .to_str()
        .ok()?;
    let protocol = offered
        .split(',')
        .map(str::trim)
        .find(|word| word.starts_with(PROTOCOL))?;
    Some((&protocol[PROTOCOL.len()..], Some(protocol)))
}

/// What proxies add, unless they are told not to.
fn came_by_proxy(request: &HttpRequest) -> bool {
    let marks = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
        "via",
        "cf-ray",
    ];
    marks
        .iter()
        .any(|mark| request.headers().contains_key(*mark))
}

fn grant(ticket: &Ticket, origin: Option<u64>) -> Grant {
    Grant {
        role: Role::Viewer,
        may_share: ticket.share != Share::Off,
        origin,
    }
}

fn full(full: Full) -> Refusal {
    match full {
        Full::Address => Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_sessions",
            "too many viewers watch from this address",
        ),
        Full::All => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "full",
            "the tracker is full: try again in a moment",
        ),
    }
}

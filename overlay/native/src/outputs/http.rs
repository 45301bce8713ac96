//! A viewer's own little server: the stream for any player, figures, and a page that plays
//! it and draws the swarm around this peer. Meant for this machine; one worker.
//!
//! The one rule: it only reads. Nothing that a browser sends changes anything.

use std::{convert::Infallible, io, net::TcpListener, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    http::{StatusCode, header},
    web,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use overlay_core::PeerId;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::hub::{Hub, Part};
use crate::{host::Snapshot, stats::Figures};

/// Progressive readers of one viewer.
pub const MAX_READERS: usize = 16;
const MAX_CONNECTIONS: usize = 128;
const PAGE: &str = include_str!("../../assets/status.html");
/// The page is one file; it loads nothing and runs only what stands in it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; connect-src 'self'; media-src 'self' blob:";

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// The channel's name.
    pub channel: String,
    /// This viewer.
    pub peer: PeerId,
    /// The stream.
    pub hub: Hub,
    /// The figures.
    pub stats: watch::Receiver<Snapshot>,
}

/// Serves until the returned server is stopped. Poll it.
///
/// # Errors
/// What the operating system says.
pub fn serve(listener: TcpListener, served: Served) -> io::Result<Server> {
    let app = move || {
        App::new()
            .app_data(web::Data::new(served.clone()))
            .route("/", web::get().to(page))
            .route("/stats", web::get().to(stats))
            .route("/channel", web::get().to(channel))
            .route("/live.mp4", web::get().to(progressive))
            .route("/live.m3u8", web::get().to(playlist))
            .route("/live/init-{number}.mp4", web::get().to(init))
            .route("/live/{number}.m4s", web::get().to(segment))
            .default_service(web::to(|| async {
                refuse(StatusCode::NOT_FOUND, "not_found")
            }))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(Duration::from_secs(10))
        .shutdown_timeout(0)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

/// A progressive stream as the body of an answer.
pub fn body(parts: mpsc::Receiver<Part>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let parts = stream::unfold(parts, |mut parts| async move {
        let part = parts.recv().await?;
        Some((part, parts))
    });
    parts.flat_map(stream::iter).map(Ok)
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(PAGE)
}

async fn channel(served: web::Data<Served>) -> HttpResponse {
    fresh().json(json!({ "channel": served.channel }))
}

async fn stats(served: web::Data<Served>) -> HttpResponse {
    let figures = Figures::new(served.peer, &served.stats.borrow());
    fresh().json(figures)
}

async fn progressive(served: web::Data<Served>) -> HttpResponse {
    let Some(parts) = served.hub.subscribe() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_readers");
    };
    let mut answer = fresh();
    answer.content_type("video/mp4");
    if let Some(codecs) = served.hub.init().and_then(|init| media::codecs(&init)) {
        answer.insert_header(("X-Codecs", codecs));
    }
    answer.streaming(body(parts))
}

async fn playlist(served: web::Data<Served>) -> HttpResponse {
    match served.hub.playlist() {
        Some(playlist) => fresh()
            .content_type("application/vnd.apple.mpegurl")
            .body(playlist.text()),
        None => refuse(StatusCode::NOT_FOUND, "not_playing"),
    }
}

async fn init(served: web::Data<Served>, number: web::Path<u64>) -> HttpResponse {
    match served.hub.init_numbered(*number) {
        Some(init) => HttpResponse::Ok().content_type("video/mp4").body(init),
        None => refuse(StatusCode::NOT_FOUND, "not_found"),
    }
}

async fn segment(served: web::Data<Served>, number: web::Path<u64>) -> HttpResponse {
    match served.hub.segment(*number) {
        Some(parts) => {
            let parts = stream::iter(parts).map(Ok::<_, Infallible>);
            HttpResponse::Ok()
                .content_type("video/iso.segment")
                .streaming(parts)
        }
        None => refuse(StatusCode::NOT_FOUND, "not_found"),
    }
}

fn fresh() -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    answer
}

fn refuse(status: StatusCode, code: &'static str) -> HttpResponse {
    let message = match code {
        "not_playing" => "nothing is playing yet",
        "too_many_readers" => "too many players read from this viewer",
        _ => "nothing is here",
    };
    HttpResponse::build(status).json(json!({"error": {"code": code, "message": message}}))
}

#[cfg(test)]
mod tests {
    use stripe::Flags;

    use super::*;
    use crate::outputs::hub::Media;

    fn media(at: u64, keyframe: bool) -> Media {
        Media {
            media: Bytes::from_static(b"fragment"),
            init: keyframe.then(|| Bytes::from_static(b"init")),
            flags: if keyframe {
                Flags::KEYFRAME
            } else {
                Flags::default()
            },
            ingest_stamp_us: at,
        }
    }

    #[tokio::test]
    async fn serves_players_figures_and_the_page() {
        let hub = Hub::new(MAX_READERS);
        for at in 0..4 {
            hub.push(&media(at * 1_000_000, at % 2 == 0));
        }
        let (_figures, stats) = watch::channel(Snapshot::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let served = Served {
            channel: "demo".into(),
            peer: PeerId(5),
            hub: hub.clone(),
            stats,
        };
        let server = serve(listener, served).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        let get = |path: &str| reqwest::get(format!("{at}{path}"));
        let text = async |path: &str| get(path).await.unwrap().text().await.unwrap();
        assert!(text("/").await.contains("</html>"));
        assert!(
            text("/stats")
                .await
                .contains("\"peer\":\"0000000000000005\"")
        );
        assert!(text("/live.m3u8").await.contains("live/0.m4s"));
        assert_eq!(text("/live/0.m4s").await, "fragmentfragment");
        assert_eq!(text("/live/init-0.mp4").await, "init");
        assert_eq!(get("/live/77.m4s").await.unwrap().status(), 404);
        assert_eq!(get("/nothing").await.unwrap().status(), 404);
        let live = get("/live.mp4").await.unwrap();
        hub.push(&media(4_000_000, true));
        hub.end();
        assert_eq!(live.text().await.unwrap(), "initfragmentfragmentfragment");
        handle.stop(false).await;
    }
}

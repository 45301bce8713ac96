//! What the station says when it is up: to scripts in the ready file, to people on stdout.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use accounts::Push;
use anyhow::{Context, bail};
use serde::Serialize;

use super::{home::Keys, sockets::Addresses};

const START_DEADLINE: Duration = Duration::from_secs(10);

/// The ready file; scripts rely on its fields.
#[derive(Serialize)]
pub(super) struct Ready {
    http: String,
    rtmp: SocketAddr,
    srt: Option<SocketAddr>,
    udp: SocketAddr,
    channel: String,
    stream_key: String,
    publish_rtmp: String,
    publish_srt: Option<String>,
    watch: String,
    api_token: String,
    metrics: Option<String>,
    /// The tracker is another process, which needs us to start.
    #[serde(skip)]
    tracker_apart: bool,
}

impl Ready {
    /// Of a station, and whether its tracker is in another process.
    pub(super) fn new(addresses: &Addresses, keys: &Keys, tracker_apart: bool) -> Self {
        let http = format!("http://{}", reachable(addresses.http));
        let rtmp = reachable(addresses.rtmp);
        let srt = addresses.srt.map(reachable);
        // Keys are of letters that URLs take as they are.
        let publish_srt = |srt| format!("srt://{srt}?streamid=publish:{}", keys.stream_key);
        Self {
            rtmp,
            srt,
            udp: reachable(addresses.udp),
            channel: keys.channel.clone(),
            stream_key: keys.stream_key.clone(),
            publish_rtmp: format!("rtmp://{rtmp}/live/{}", keys.stream_key),
            publish_srt: srt.map(publish_srt),
            watch: format!("{http}/{}", keys.channel),
            api_token: keys.api_token.clone(),
            metrics: addresses.metrics.clone(),
            tracker_apart,
            http,
        }
    }

    /// Asks what takes the page, the database and, if it is here, the tracker to answer.
    pub(super) async fn wait_until_it_answers(&self) -> anyhow::Result<()> {
        let asked = match self.tracker_apart {
            true => self.watch.clone(),
            false => format!("{}/api/v1/channels/{}/stats", self.http, self.channel),
        };
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answers = async {
            loop {
                match client.get(&asked).send().await {
                    Ok(reply) if reply.status().is_success() => return,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        if tokio::time::timeout(START_DEADLINE, answers).await.is_err() {
            bail!("the services did not answer within {START_DEADLINE:?}");
        }
        Ok(())
    }

    pub(super) fn publish(&self, file: Option<&Path>) -> anyhow::Result<()> {
        if let Some(file) = file {
            boot::files::write_secret_json_atomically(file, self)
                .with_context(|| format!("--ready-json {}", file.display()))?;
        }
        // A closed stdout is no reason to stop serving.
        let _ = std::io::stdout()
            .lock()
            .write_all(self.welcome().as_bytes());
        tracing::info!("ready");
        Ok(())
    }

    fn welcome(&self) -> String {
        let Self {
            rtmp,
            stream_key: key,
            publish_rtmp: push,
            publish_srt,
            watch,
            ..
        } = self;
        let by_srt = |push: &String| {
            format!(
                "  SRT        the same, but at the end: -f mpegts '{push}'\n\
                 \x20            (OBS: the address as server, no stream key)\n"
            )
        };
        let srt = publish_srt.as_ref().map(by_srt).unwrap_or_default();
        format!(
            "\
Livestation is on. Ctrl-C ends it.

  Page       {watch}
  Broadcast  {push}

  OBS        Settings, Stream: service Custom, server rtmp://{rtmp}/live,
             stream key {key}; Output: keyframe interval 2 s
  ffmpeg     ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 \\
               -f lavfi -i sine=frequency=330:sample_rate=48000 \\
               -c:v libx264 -preset veryfast -b:v 3M -g 60 -pix_fmt yuv420p \\
               -c:a aac -f flv {push}
{srt}  Viewer     livestation watch {watch} --http 127.0.0.1:0

"
        )
    }
}

/// Where the dashboard tells broadcasters to push: on the host of the station's own URL, if it
/// has one.
pub(super) fn push(addresses: &Addresses, public_url: Option<&str>) -> Push {
    let host = public_url.and_then(|url| {
        let url: actix_web::http::Uri = url.parse().ok()?;
        url.host().map(str::to_owned)
    });
    let at = |address: SocketAddr| match &host {
        Some(host) => format!("{host}:{}", address.port()),
        None => reachable(address).to_string(),
    };
    let srt = addresses.srt.map(|srt| format!("srt://{}", at(srt)));
    Push {
        rtmp: format!("rtmp://{}/live", at(addresses.rtmp)),
        srt: srt.unwrap_or_default(),
    }
}

/// An address to connect to, where one was bound for all.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

//! `livestation watch`: joins a channel's swarm, plays it into files and players, and
//! relays what it can to other viewers.
//!
//! The one rule: a generation that has begun to be written is written whole, whatever ends
//! the program.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use boot::{
    files::write_json_atomically,
    units::{Rate, parse_duration, parse_rate},
};
use native::{
    host::{Played, Snapshot},
    outputs::{
        file::Output,
        http::{self, MAX_READERS, Served},
        hub::{Hub, Media},
    },
    signalling::Denial,
    stats::Figures,
    ticket::{self, Address, Ticket},
    viewer::{self, Viewer},
};
use overlay_core::peer::{Event, stats::State};
use serde::Serialize;
use tokio::{sync::broadcast::error::RecvError, time};
use tokio_util::sync::CancellationToken;

use crate::exit;

/// How long a write may take once the program is to end.
const LAST_WRITE: Duration = Duration::from_millis(500);
/// How long goodbyes may take.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Watch a channel, relaying parts of it to other viewers.
///
/// Running it is consent to relay, up to --upload-max or what the channel asks for, whichever is
/// less; --no-share uploads nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  livestation watch http://127.0.0.1:8080/demo --out - | mpv -
  livestation watch http://127.0.0.1:8080/demo --http 127.0.0.1:8090
  livestation watch http://127.0.0.1:8080/demo --out demo.mp4 --duration 30s --no-share")]
pub(crate) struct Args {
    /// The channel's page, as standalone prints it
    #[arg(value_name = "URL", value_parser = Address::parse)]
    pub(crate) url: Address,
    /// Write the stream here; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Serve /live.mp4, /live.m3u8, /stats and a page that plays, here
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// The UDP socket for other viewers
    #[arg(long, value_name = "ADDR")]
    pub(crate) udp: Option<SocketAddr>,
    /// Relay at most this much
    #[arg(long, value_name = "RATE", default_value = "10Mbps", value_parser = parse_rate)]
    pub(crate) upload_max: Rate,
    /// Relay nothing
    #[arg(long)]
    pub(crate) no_share: bool,
    /// End so long after the first picture
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Give up when nothing plays within this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Written when the viewer runs: {"peer","udp","http"}
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_json: Option<PathBuf>,
    /// Figures, renewed every second
    #[arg(long, value_name = "FILE")]
    pub(crate) stats_json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Ready {
    peer: String,
    udp: SocketAddr,
    http: Option<String>,
}

/// Watches until the broadcast ends, the time is up, or a signal.
///
/// # Errors
/// What the operating system refuses.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let shutdown = boot::shutdown_token()?;
    watch(args, began, shutdown).await.map(ExitCode::from)
}

async fn watch(args: Args, began: Instant, shutdown: CancellationToken) -> anyhow::Result<u8> {
    let address = args.url.clone();
    let give_up = async {
        match args.wait {
            Some(wait) => time::sleep(wait).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(give_up);
    let ticket = tokio::select! {
        ticket = fetch(&address) => match ticket {
            Ok(ticket) => ticket,
            Err(ended) => return Ok(ended),
        },
        () = &mut give_up => return Ok(never_live()),
        () = shutdown.cancelled() => return Ok(exit::DONE),
    };
    say_consent(&args, &ticket);
    let config = viewer::Config {
        address,
        udp: args.udp,
        upload_bps: if args.no_share {
            0
        } else {
            args.upload_max.bps()
        },
        began,
        line: None,
    };
    let channel = ticket.channel.clone();
    let (viewer, running) = viewer::open(config, ticket).await?;
    let leave = CancellationToken::new();
    let mut running = tokio::spawn(running.run(leave.clone()));
    let mut player = Player::open(&args, &channel, &viewer).await?;
    let ended = player.play(viewer, &mut give_up, &shutdown).await;
    leave.cancel();
    let _ = time::timeout(LAST_WORDS, &mut running).await;
    running.abort();
    player.close().await;
    ended
}

/// Asks until there is an answer that waiting would not change.
pub(crate) async fn fetch(address: &Address) -> Result<Ticket, u8> {
    let mut pause = Duration::from_millis(250);
    loop {
        match address.ticket().await {
            Ok(ticket) => return Ok(ticket),
            Err(error @ ticket::Error::Unavailable(_)) => {
                tracing::warn!("{error}; trying again");
            }
            Err(error) => {
                tracing::error!("{error}");
                return Err(match error {
                    ticket::Error::NoSuchChannel(_) => exit::NO_SUCH_CHANNEL,
                    ticket::Error::Refused(_) => exit::TICKET_REFUSED,
                    _ => exit::USAGE,
                });
            }
        }
        let jitter = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
        time::sleep(pause.mul_f64(0.5 + jitter / 2.0)).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

fn say_consent(args: &Args, ticket: &Ticket) {
    if args.no_share {
        tracing::info!("watching without sharing: nothing of the broadcast is uploaded");
    } else {
        tracing::info!(
            upload_max = %Rate::from_bps(ticket.upload_bps(args.upload_max.bps())),
            "this viewer relays parts of the broadcast to other viewers; --no-share stops that"
        );
    }
}

fn never_live() -> u8 {
    tracing::error!("nothing played within --wait");
    exit::NEVER_LIVE
}

/// The outputs of one run.
struct Player {
    out: Option<Output>,
    hub: Option<Hub>,
    http: Option<actix_web::dev::ServerHandle>,
    stats_json: Option<PathBuf>,
    duration: Option<Duration>,
    peer: overlay_core::PeerId,
    stats: tokio::sync::watch::Receiver<Snapshot>,
    joined: bool,
    said_waiting: bool,
}

impl Player {
    async fn open(args: &Args, channel: &str, viewer: &Viewer) -> anyhow::Result<Self> {
        let out = match &args.out {
            Some(path) => Some(
                Output::create(path)
                    .await
                    .with_context(|| format!("cannot write {}", path.display()))?,
            ),
            None => None,
        };
        let mut player = Self {
            out,
            hub: None,
            http: None,
            stats_json: args.stats_json.clone(),
            duration: args.duration,
            peer: viewer.peer,
            stats: viewer.stats.clone(),
            joined: false,
            said_waiting: false,
        };
        let http = match args.http {
            Some(at) => Some(player.serve(at, channel)?),
            None => None,
        };
        if let Some(path) = &args.ready_json {
            let ready = Ready {
                peer: viewer.peer.to_string(),
                udp: viewer.udp,
                http,
            };
            write_json_atomically(path, &ready)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        player.write_stats();
        Ok(player)
    }

    fn serve(&mut self, at: SocketAddr, channel: &str) -> anyhow::Result<String> {
        let listener =
            TcpListener::bind(at).with_context(|| format!("cannot serve HTTP on {at}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let hub = Hub::new(MAX_READERS);
        let server = http::serve(
            listener,
            Served {
                channel: channel.to_owned(),
                peer: self.peer,
                hub: hub.clone(),
                stats: self.stats.clone(),
            },
        )?;
        self.http = Some(server.handle());
        self.hub = Some(hub);
        tokio::spawn(server);
        tracing::info!(%url, "the stream and this viewer's page");
        Ok(url)
    }

    async fn play(
        &mut self,
        mut viewer: Viewer,
        give_up: &mut (impl Future<Output = ()> + Unpin),
        shutdown: &CancellationToken,
    ) -> anyhow::Result<u8> {
        let mut until: Option<time::Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(exit::DONE),
                () = time::sleep_until(until.unwrap_or_else(time::Instant::now)),
                    if until.is_some() => return Ok(exit::DONE),
                () = &mut *give_up, if !self.has_played() && until.is_none() => {
                    return Ok(never_live());
                }
                played = viewer.played.recv() => match played {
                    Ok(Played::Media { media, .. }) => {
                        if let (None, Some(span)) = (until, self.duration) {
                            until = Some(time::Instant::now() + span);
                        }
                        self.write(&media, shutdown).await?;
                    }
                    Ok(Played::Event(event)) => {
                        if let Some(ended) = self.on_event(event)? {
                            return Ok(ended);
                        }
                    }
                    Ok(Played::Denied(denial)) => return Ok(denied(&denial)),
                    Err(RecvError::Lagged(lost)) => {
                        tracing::warn!(lost, "the output is too slow: generations are lost");
                    }
                    Err(RecvError::Closed) => anyhow::bail!("the viewer stopped"),
                },
                changed = viewer.stats.changed() => {
                    changed.context("the viewer stopped")?;
                    self.say_waiting();
                    self.write_stats();
                }
            }
        }
    }

    fn has_played(&self) -> bool {
        self.stats.borrow().stats.startup.is_some()
    }

    async fn write(&mut self, media: &Media, shutdown: &CancellationToken) -> anyhow::Result<()> {
        if let Some(hub) = &self.hub {
            hub.push(media);
        }
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let stuck = async {
            shutdown.cancelled().await;
            time::sleep(LAST_WRITE).await;
        };
        tokio::select! {
            written = out.write(media) => written.context("cannot write the stream"),
            () = stuck => Ok(()),
        }
    }

    fn on_event(&mut self, event: Event) -> anyhow::Result<Option<u8>> {
        match event {
            Event::Started { after } => {
                tracing::info!(after_ms = after.as_millis() as u64, "playing");
            }
            Event::Waiting if !self.has_played() => self.say_waiting(),
            Event::Waiting => tracing::info!("the broadcaster is away: waiting"),
            Event::Stalled { sequence } => tracing::warn!(sequence, "stalled"),
            Event::Resumed { after } => {
                tracing::info!(after_ms = after.as_millis() as u64, "playing again");
            }
            Event::Cut(peer) => tracing::warn!(%peer, "a peer sent what was not signed: cut"),
            Event::Refused { code, retry: false } => {
                anyhow::bail!("the tracker refuses this viewer: {code:?}");
            }
            Event::Refused { code, .. } => {
                tracing::warn!(
                    ?code,
                    "the tracker refuses this viewer for now: trying again"
                );
            }
            // Who comes after the end waits for the next broadcast.
            Event::Ended if !self.has_played() => self.say_waiting(),
            Event::Ended => {
                tracing::info!("the broadcast is over");
                return Ok(Some(exit::DONE));
            }
            Event::Joined => self.joined = true,
            Event::Attached { .. } => tracing::debug!(?event, "swarm"),
        }
        Ok(None)
    }

    fn say_waiting(&mut self) {
        let state = self.stats.borrow().stats.state;
        let waiting = matches!(state, State::Waiting | State::Ended) && !self.has_played();
        // Before it has joined it does not know.
        if waiting && self.joined && !self.said_waiting {
            self.said_waiting = true;
            tracing::info!("the channel is not live: waiting for it");
        }
    }

    fn write_stats(&self) {
        if let Some(path) = &self.stats_json {
            let figures = Figures::new(self.peer, &self.stats.borrow());
            if let Err(error) = write_json_atomically(path, &figures) {
                tracing::warn!(%error, "cannot write the figures");
            }
        }
    }

    async fn close(&mut self) {
        if let Some(hub) = &self.hub {
            hub.end();
        }
        if let Some(http) = self.http.take() {
            let _ = time::timeout(LAST_WORDS, http.stop(false)).await;
        }
        self.write_stats();
    }
}

/// Says why, and answers the exit code.
pub(crate) fn denied(denial: &Denial) -> u8 {
    match denial {
        Denial::NoSuchChannel(name) => {
            tracing::error!("there is no channel {name:?}");
            exit::NO_SUCH_CHANNEL
        }
        Denial::Ticket(said) => {
            tracing::error!("the ticket is refused: {said}");
            exit::TICKET_REFUSED
        }
    }
}

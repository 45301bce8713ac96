//! `livestation swarm`: many viewers in one process, for load. Each is what `watch` is, with
//! a socket of its own and no outputs.
//!
//! The one rule: what one viewer does or fails in touches no other.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use boot::{
    files::write_json_atomically,
    units::{Rate, parse_duration, parse_rate},
};
use native::{
    host::{Played, Snapshot},
    shaper::{Inside, Line},
    stats::Figures,
    ticket::Address,
    viewer,
};
use overlay_core::{
    PeerId,
    peer::{Event, stats::State},
    wire::ByteCounts,
};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc, watch},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{exit, watch as single};

/// Two descriptors each; beyond this use several processes.
const MAX_PEERS: usize = 2000;
/// Without a terminal the figures are said this often.
const SAY: Duration = Duration::from_secs(10);
/// How long goodbyes may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Load a channel with many viewers in one process.
///
/// Each viewer has its own socket, and verifies and decodes as `watch` does.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  livestation swarm http://127.0.0.1:8080/demo --peers 50 --over 5s --stats-json swarm.json")]
pub(crate) struct Args {
    /// The channel's page, as standalone prints it
    #[arg(value_name = "URL", value_parser = Address::parse)]
    pub(crate) url: Address,
    /// How many viewers, up to 2000
    #[arg(long, value_name = "N", default_value = "20", value_parser = parse_peers)]
    pub(crate) peers: usize,
    /// Spread their arrivals over this
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub(crate) over: Duration,
    /// What each uploads at most
    #[arg(long, value_name = "RATE", default_value = "10Mbps", value_parser = parse_rate)]
    pub(crate) upload_max: Rate,
    /// This part of them uploads nothing, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_share)]
    pub(crate) no_share_ratio: f64,
    /// Delay all packets so that round trips take this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) rtt: Option<Duration>,
    /// Lose this part of all packets, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_share)]
    pub(crate) loss: f64,
    /// End so long after the last arrival
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Renewed every second: an array of each viewer's figures
    #[arg(long, value_name = "FILE")]
    pub(crate) stats_json: Option<PathBuf>,
}

fn parse_peers(text: &str) -> Result<usize, String> {
    let peers = text
        .parse()
        .ok()
        .filter(|peers| (1..=MAX_PEERS).contains(peers));
    peers.ok_or_else(|| format!("a number from 1 to {MAX_PEERS}"))
}

fn parse_share(text: &str) -> Result<f64, &'static str> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("a number from 0 to 1")
}

/// Runs the viewers until the broadcast ends, the time is up, or a signal.
///
/// # Errors
/// What the operating system refuses.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let shutdown = boot::shutdown_token()?;
    let address = args.url.clone();
    let leave = CancellationToken::new();
    let (seated, mut arrivals) = mpsc::channel(args.peers);
    let mut seats = JoinSet::new();
    let inside = Inside::default();
    for number in 0..args.peers {
        let seat = Seat::new(&args, number, &address, &inside);
        seats.spawn(seat.watch(seated.clone(), leave.clone()));
    }
    drop(seated);
    let code = oversee(&args, &mut arrivals, &mut seats, &shutdown).await;
    leave.cancel();
    let _ = time::timeout(LAST_WORDS, async {
        while seats.join_next().await.is_some() {}
    })
    .await;
    Ok(code.into())
}

/// A viewer that has its ticket and its socket.
struct Arrival {
    peer: PeerId,
    stats: watch::Receiver<Snapshot>,
}

/// Shows and writes figures each second until there is nothing left to see.
async fn oversee(
    args: &Args,
    arrivals: &mut mpsc::Receiver<Arrival>,
    seats: &mut JoinSet<u8>,
    shutdown: &CancellationToken,
) -> u8 {
    let mut viewers: Vec<Arrival> = Vec::with_capacity(args.peers);
    let mut ticks = time::interval(Duration::from_secs(1));
    let all_in = time::Instant::now() + args.over;
    let until = args.duration.map(|span| all_in + span);
    let mut said = Instant::now();
    let mut worst = exit::DONE;
    let code = loop {
        tokio::select! {
            () = shutdown.cancelled() => break exit::DONE,
            () = time::sleep_until(until.unwrap_or(all_in)), if until.is_some() => break worst,
            Some(arrival) = arrivals.recv() => viewers.push(arrival),
            _ = ticks.tick() => {
                show(args, &viewers);
                if said.elapsed() >= SAY && !std::io::stderr().is_terminal() {
                    said = Instant::now();
                    tracing::info!("{}", line(args.peers, &viewers));
                }
            }
            ended = seats.join_next() => match ended {
                Some(code) => worst = worst.max(code.unwrap_or(exit::FAILED)),
                None => break worst,
            }
        }
    };
    show(args, &viewers);
    if std::io::stderr().is_terminal() {
        eprintln!();
    } else {
        tracing::info!("{}", line(args.peers, &viewers));
    }
    let played = |viewer: &Arrival| viewer.stats.borrow().stats.startup.is_some();
    if code == exit::DONE && !shutdown.is_cancelled() && !viewers.iter().any(played) {
        tracing::error!("nothing played");
        return exit::NEVER_LIVE;
    }
    code
}

/// One viewer to be.
struct Seat {
    address: Address,
    after: Duration,
    upload_bps: u64,
    line: Option<Line>,
}

impl Seat {
    fn new(args: &Args, number: usize, address: &Address, inside: &Inside) -> Self {
        let shaped = args.rtt.is_some() || args.loss > 0.0;
        Self {
            address: address.clone(),
            after: args.over.mul_f64(number as f64 / args.peers as f64),
            upload_bps: if shares(number, args.no_share_ratio) {
                args.upload_max.bps()
            } else {
                0
            },
            line: shaped.then(|| Line {
                delay: args.rtt.unwrap_or_default() / 2,
                loss: args.loss,
                inside: inside.clone(),
                seed: getrandom::u64().unwrap_or(number as u64),
            }),
        }
    }

    /// Watches to the end of the broadcast or until `leave`; answers an exit code.
    async fn watch(self, arrived: mpsc::Sender<Arrival>, leave: CancellationToken) -> u8 {
        time::sleep(self.after).await;
        let began = Instant::now();
        let ticket = tokio::select! {
            ticket = single::fetch(&self.address) => match ticket {
                Ok(ticket) => ticket,
                Err(code) => return code,
            },
            () = leave.cancelled() => return exit::DONE,
        };
        let config = viewer::Config {
            address: self.address,
            udp: None,
            upload_bps: self.upload_bps,
            began,
            line: self.line,
        };
        let (mut viewer, running) = match viewer::open(config, ticket).await {
            Ok(opened) => opened,
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!("a viewer cannot be opened: {error:#}");
                return exit::FAILED;
            }
        };
        let arrival = Arrival {
            peer: viewer.peer,
            stats: viewer.stats.clone(),
        };
        // There is room for every seat.
        let _ = arrived.try_send(arrival);
        let end = leave.child_token();
        let running = running.run(end.clone());
        let watching = async {
            let code = loop {
                match viewer.played.recv().await {
                    Ok(Played::Event(Event::Ended)) if !has_played(&viewer) => {}
                    Ok(Played::Event(Event::Ended)) | Err(RecvError::Closed) => break exit::DONE,
                    Ok(Played::Denied(denial)) => break single::denied(&denial),
                    Ok(Played::Event(Event::Refused { retry: false, .. })) => break exit::FAILED,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                }
            };
            end.cancel();
            code
        };
        let ((), code) = tokio::join!(running, watching);
        code
    }
}

/// Who comes after the end of a broadcast waits for the next one.
fn has_played(viewer: &viewer::Viewer) -> bool {
    viewer.stats.borrow().stats.startup.is_some()
}

/// Spreads those who do not share evenly over the arrivals.
fn shares(number: usize, no_share_ratio: f64) -> bool {
    let before = (number as f64 * no_share_ratio).floor();
    let after = ((number + 1) as f64 * no_share_ratio).floor();
    before == after
}

fn show(args: &Args, viewers: &[Arrival]) {
    if let Some(path) = &args.stats_json {
        write(path, viewers);
    }
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // A terminal that is gone is no reason to stop.
        let _ = write!(terminal, "\r\x1b[2K{}", line(args.peers, viewers));
        let _ = terminal.flush();
    }
}

fn write(path: &Path, viewers: &[Arrival]) {
    let figures: Vec<Figures> = viewers
        .iter()
        .map(|viewer| Figures::new(viewer.peer, &viewer.stats.borrow()))
        .collect();
    if let Err(error) = write_json_atomically(path, &figures) {
        tracing::warn!(%error, "cannot write the figures");
    }
}

fn line(expected: usize, viewers: &[Arrival]) -> String {
    let mut playing = 0;
    let (mut stalls, mut played, mut seeder) = (0, 0, 0);
    let mut lags = Vec::with_capacity(viewers.len());
    for viewer in viewers {
        let snapshot = viewer.stats.borrow();
        let stats = &snapshot.stats;
        playing += usize::from(stats.state == State::Playing);
        stalls += stats.stalls;
        played += stats.played_bytes;
        seeder += total(&stats.received_from_seeders);
        lags.extend(stats.lag_p95.map(|lag| lag.as_millis()));
    }
    lags.sort_unstable();
    let lag = lags
        .last()
        .map_or("-".to_owned(), |lag| format!("{lag} ms"));
    let saved = if played > 0 {
        format!("{:.1} %", 100.0 * (1.0 - seeder as f64 / played as f64))
    } else {
        "-".to_owned()
    };
    format!(
        "{} of {expected} viewers, {playing} playing | stalls {stalls} | lag p95 at worst {lag} | \
         saved {saved}",
        viewers.len()
    )
}

fn total(bytes: &ByteCounts) -> u64 {
    bytes.media + bytes.parity + bytes.duplicate + bytes.rescue + bytes.control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_does_not_share_is_spread() {
        let silent = |ratio| (0..12).filter(|number| !shares(*number, ratio)).count();
        assert_eq!((silent(0.0), silent(0.25), silent(1.0)), (0, 3, 12));
        assert!((0..3).all(|number| shares(number, 0.25)) && !shares(3, 0.25));
    }
}

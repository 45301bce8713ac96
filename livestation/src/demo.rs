//! `livestation demo`: a station, a broadcast by ffmpeg and six viewers, to look at. Each is
//! a program of its own, as it would be on machines of their own, and the demo reads what
//! scripts read: ready files, viewers' figures, the channel's figures.
//!
//! The one rule: whatever ends the demo ends all it started, within [`STOP`].

mod broadcast;
mod figures;
mod program;
mod screen;
mod station;
mod viewer;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use boot::units::{Rate, parse_duration, parse_rate};
use tokio::time::{self, Instant};

use crate::exit;
use figures::{Channel, Watcher};
use program::Program;
use screen::Screen;
use station::Station;
use viewer::Viewer;

/// More would need the cores of more than one machine.
const MAX_VIEWERS: i64 = 50;
/// From ffmpeg's start until the channel is live; a slow machine takes 2 s.
const LIVE_DEADLINE: Duration = Duration::from_secs(30);
/// Viewers come one after another at this pace, and what is shown is renewed at twice it.
const TICK: Duration = Duration::from_millis(500);
/// How long the programs may take to end before they are killed.
const STOP: Duration = Duration::from_millis(1700);

/// Run a station, a sample broadcast and six viewers, and show how the viewers carry it.
///
/// Needs ffmpeg. Everything runs on this machine and is gone when it ends.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  livestation demo
  livestation demo --viewers 12 --upload-max 4Mbps
  livestation demo --http 0.0.0.0:8080 --duration 5m")]
pub(crate) struct Args {
    /// How many viewers, up to 50; the last of them uploads nothing
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=MAX_VIEWERS))]
    viewers: u16,
    /// What each viewer uploads at most
    #[arg(long, value_name = "RATE", default_value = "5Mbps", value_parser = parse_rate)]
    upload_max: Rate,
    /// End so long after the broadcast began; else by Ctrl-C
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Where the station's page is; else 127.0.0.1:8080, or a free port when that is taken
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Keeps the station's database and keys; else they go when the demo ends
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let shutdown = boot::shutdown_token()?;
    broadcast::look_for_ffmpeg().await?;
    let folder = tempfile::tempdir().context("no folder for temporary files")?;
    let mut demo = Demo::new(&args, folder.path());
    let played = tokio::select! {
        played = demo.play() => played,
        () = shutdown.cancelled() => Ok(()),
    };
    // A second Ctrl-C cannot cut this short: it has a deadline of its own.
    demo.stop().await;
    played.map(|()| exit::DONE.into())
}

/// All programs of the demo.
struct Demo<'a> {
    args: &'a Args,
    /// Logs, ready files and figures.
    folder: &'a Path,
    station: Option<Station>,
    broadcast: Option<Program>,
    viewers: Vec<Viewer>,
    screen: Screen,
}

impl<'a> Demo<'a> {
    fn new(args: &'a Args, folder: &'a Path) -> Self {
        Self {
            args,
            folder,
            station: None,
            broadcast: None,
            viewers: Vec::with_capacity(usize::from(args.viewers)),
            screen: Screen::new(usize::from(args.viewers)),
        }
    }

    /// Starts everything and shows it until the time is up; fails when something will not run.
    async fn play(&mut self) -> anyhow::Result<()> {
        self.screen.say("starting a station");
        let options = station::Options {
            http: self.args.http,
            data_dir: self.args.data_dir.as_deref(),
            folder: self.folder,
        };
        let station = self.station.insert(Station::start(&options)?);
        let ready = station.ready().await?;
        self.screen.say("starting a broadcast");
        let recipe = broadcast::recipe(&ready.publish_rtmp, self.folder).await;
        self.broadcast = Some(Program::start(recipe)?);
        let watcher = Watcher::new(&ready)?;
        let mut began = None;
        let deadline = Instant::now() + LIVE_DEADLINE;
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.keep()?;
            let channel = watcher.channel().await;
            match began {
                None if channel.as_ref().is_some_and(|channel| channel.live) => {
                    began = Some(Instant::now());
                }
                None if Instant::now() > deadline => {
                    bail!("the broadcast is not live within {LIVE_DEADLINE:?}");
                }
                None => continue,
                Some(began) if self.is_over(began) => {
                    self.show(&ready.watch, channel).await;
                    self.screen.last_words();
                    return Ok(());
                }
                Some(_) => {}
            }
            if self.viewers.len() < usize::from(self.args.viewers) {
                self.viewers.push(self.viewer(&ready.watch)?);
            }
            self.show(&ready.watch, channel).await;
        }
    }

    fn is_over(&self, began: Instant) -> bool {
        self.args
            .duration
            .is_some_and(|span| began.elapsed() >= span)
    }

    /// The next viewer; the last one does not share, to show that it may.
    fn viewer(&self, url: &str) -> anyhow::Result<Viewer> {
        let number = self.viewers.len() + 1;
        let last = number == usize::from(self.args.viewers) && number > 1;
        Viewer::start(&viewer::Options {
            number,
            url,
            upload_max: (!last).then_some(self.args.upload_max),
            folder: self.folder,
        })
    }

    /// Starts again what ended, except for the station: without it nothing is left to show.
    fn keep(&mut self) -> anyhow::Result<()> {
        if let Some(station) = &mut self.station {
            station.check()?;
        }
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.keep()?;
        }
        for viewer in &mut self.viewers {
            viewer.program.keep()?;
        }
        Ok(())
    }

    async fn show(&mut self, page: &str, channel: Option<Channel>) {
        let restarts = self.broadcast.as_ref().map_or(0, Program::restarts);
        let mut rows = Vec::with_capacity(self.viewers.len());
        for viewer in &self.viewers {
            rows.push(viewer.row().await);
        }
        self.screen.show(&screen::Picture {
            page,
            channel,
            restarts,
            rows,
        });
    }

    /// Ends the programs: all are asked at once, and killed at the deadline.
    async fn stop(&mut self) {
        self.screen.leave();
        let mut programs: Vec<Program> = self.viewers.drain(..).map(|v| v.program).collect();
        programs.extend(self.broadcast.take());
        programs.extend(self.station.take().map(Station::into_program));
        for program in &programs {
            program.ask_to_end();
        }
        let deadline = Instant::now() + STOP;
        for program in &mut programs {
            program.end_by(deadline).await;
        }
    }
}

/// Scopes a name to the demo's folder.
fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

/// This very program, to run as the others.
fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

//! A swarm of real programs in the middle of a broadcast, to which things happen: viewers
//! vanish, the tracker or a seeder dies and comes back. A scenario tells the story; what
//! became of the viewers is told a minute later.

mod aftermath;
mod parts;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    broadcast::{Broadcast, Clip, Content},
    exact::{self, Media},
    kernel::Meter,
    network::Network,
    place::Place,
    process::{self, Process},
    stalls::Stalls,
    station::Standalone,
    viewer::Viewer,
    weather::Weather,
};

pub use aftermath::{Aftermath, Survivor};
use parts::{Part, Ports};

/// From the broadcaster's end until every viewer has played all: the play-out delay twice.
const PLAYED_OUT: Duration = Duration::from_secs(4);
/// How long a viewer may take until it plays before a run is given up.
const PLAYS: Duration = Duration::from_secs(20);
/// The broadcast runs for so long before anybody comes.
const LEAD: Duration = Duration::from_secs(4);
/// The swarm is left alone for so long before anything happens to it.
const SETTLES: Duration = Duration::from_secs(8);
/// From one arrival to the next.
const SPACING: Duration = Duration::from_millis(700);
/// The station's machine is `9.0.0.1`, viewers' are from here on.
const FIRST_VIEWER: usize = 11;
/// Viewers are looked at so often; they renew their figures every second.
const LOOKS: Duration = Duration::from_millis(250);
/// A relay has at least so many children in one stripe.
const CHILDREN: usize = 3;

/// Who is on.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// Viewers, whoever means ill among them.
    pub viewers: usize,
    /// What each may upload.
    pub upload: &'static str,
    /// So many of them mean ill, in this way.
    pub ill: Option<(usize, Ill)>,
    /// The tracker is a process of its own.
    pub tracker: bool,
    /// So many seeders are processes of their own, of three stream rates each; with none
    /// the station seeds.
    pub seeders: usize,
    /// The station and each viewer are on machines of their own, with this between them.
    pub weather: Option<Weather>,
    /// The story takes so long.
    pub lasts: Duration,
}

impl Cast {
    /// A dozen of 5 Mbit/s each who all mean well, and a station in one process.
    #[must_use]
    pub fn dozen(lasts: Duration) -> Self {
        Self {
            viewers: 12,
            upload: "5Mbps",
            ill: None,
            tracker: false,
            seeders: 0,
            weather: None,
            lasts,
        }
    }
}

/// How a viewer means ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// It alters every tenth piece, and comes back under a new name when it is cut.
    Forges,
    /// It takes children and sends them nothing.
    Rides,
}

/// The running swarm.
pub struct Stage {
    /// The rest of the station.
    pub station: Standalone,
    /// All viewers, in order of arrival.
    pub viewers: Vec<Viewer>,
    tracker: Option<Part>,
    seeders: Vec<Part>,
    clip: Clip,
    broadcast: Broadcast,
    meter: Option<Meter>,
    struck: Option<Struck>,
    gone: Vec<usize>,
    upload: &'static str,
    /// Who means ill, and what it says of itself.
    ill: Vec<(Process, PathBuf)>,
    /// Of the viewers, from when each came.
    stalls: Vec<Stalls>,
    network: Option<Network>,
    _folder: tempfile::TempDir,
}

/// How it stood when the story began.
struct Struck {
    at: Instant,
    stalls: Vec<u64>,
    /// Resident memory, in bytes.
    rss: Vec<u64>,
    /// Generations played and skipped.
    generations: Vec<(u64, u64)>,
    /// How long each had stood, ms.
    stood: Vec<u64>,
    seeders_sent: Option<u64>,
}

impl Stage {
    /// Starts everything and waits until all viewers have watched for a while; in weather,
    /// until they have had time to.
    ///
    /// # Errors
    /// When something does not run.
    pub async fn set(cast: Cast) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let arriving = SPACING * u32::try_from(cast.viewers)?;
        let seconds = (LEAD + arriving + SETTLES + cast.lasts + PLAYED_OUT).as_secs();
        let clip = Clip::encode(folder.path(), Content::new(u32::try_from(seconds)?)).await?;
        let cap = format!("{}kbps", (clip.bps * 3.0 / 1000.0).round());
        let apart = cast.tracker || cast.seeders > 0;
        ensure!(
            cast.weather.is_none() || !apart,
            "all of the station is on one machine"
        );
        let mut network = cast.weather.map(Network::with_weather).transpose()?;
        let place = place(network.as_mut(), "station", 1)?;
        let ports = Ports::find(cast.seeders)?;
        let flags = ports.station(&cast, &cap);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let station = Standalone::start_at(place, &flags).await?;
        let mut tracker = None;
        if cast.tracker {
            tracker = Some(Part::start(&station, "tracker", ports.tracker(), None).await?);
        }
        let mut seeders = Vec::new();
        for at in 0..cast.seeders {
            let (args, udp) = ports.seeder(at, &cap);
            seeders.push(Part::start(&station, &format!("seeder-{at}"), args, Some(udp)).await?);
        }
        let mut meter = None;
        if network.is_none() {
            // It counts what goes over loopback.
            meter = Meter::start().await.ok();
        }
        let broadcast = Broadcast::replay(&station, &clip)?;
        sleep(LEAD).await;
        let mut stage = Self {
            station,
            viewers: Vec::new(),
            tracker,
            seeders,
            clip,
            broadcast,
            meter,
            struck: None,
            gone: Vec::new(),
            upload: cast.upload,
            ill: Vec::new(),
            stalls: Vec::new(),
            network,
            _folder: folder,
        };
        for at in 0..cast.viewers {
            match cast.ill {
                // Evenly among the others.
                Some((count, how))
                    if (at + 1) * count / cast.viewers > at * count / cast.viewers =>
                {
                    stage.enter_ill(how)?;
                }
                _ => drop(stage.enter()?),
            }
            stage.watch_for(SPACING).await;
        }
        if stage.network.is_none() {
            for viewer in &mut stage.viewers {
                viewer.plays(PLAYS).await?;
            }
        }
        stage.watch_for(SETTLES).await;
        Ok(stage)
    }

    /// Another viewer comes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn enter(&mut self) -> Result<&mut Viewer> {
        let name = format!("viewer-{}", self.viewers.len() + 1);
        let host = u8::try_from(FIRST_VIEWER + self.viewers.len())?;
        let place = place(self.network.as_mut(), &name, host)?;
        let (url, flags) = (&self.station.ready.watch, ["--upload-max", self.upload]);
        let viewer = Viewer::start_in(&place, &self.station, url, &name, &flags)?;
        self.viewers.push(viewer);
        self.viewers.last_mut().context("one has come")
    }

    fn enter_ill(&mut self, how: Ill) -> Result<()> {
        let name = format!("ill-{}", self.ill.len() + 1);
        let told = self.station.file(&format!("{name}.jsonl"));
        let mut command = tokio::process::Command::new(process::built("liar")?);
        command.arg(&self.station.ready.watch).arg(&told);
        command.args([
            self.upload,
            if how == Ill::Forges { "forge" } else { "ride" },
        ]);
        let process = Process::start(self.station.folder(), &name, &mut command)?;
        self.ill.push((process, told));
        Ok(())
    }

    /// From here on stalls count, and what seeders send.
    ///
    /// # Errors
    /// When a viewer has no figures.
    pub async fn story_begins(&mut self) -> Result<()> {
        // Who has not begun in this weather has not stood yet.
        let patient = self.network.is_some();
        let stalls = |viewer: &Viewer| match viewer.figures() {
            Err(_) if patient => Ok(0),
            figures => Ok(figures?.stalls),
        };
        let generations = self.viewers.iter().map(|viewer| {
            let of = viewer.figures().map(|figures| figures.generations);
            of.map_or((0, 0), |of| (of.played, of.skipped))
        });
        let stood = self.viewers.iter().map(|viewer| {
            let figures = viewer.figures();
            figures.map_or(0, |figures| figures.stall_ms)
        });
        self.stalls.iter_mut().for_each(Stalls::begin);
        self.struck = Some(Struck {
            at: Instant::now(),
            stood: stood.collect(),
            generations: generations.collect(),
            stalls: self.viewers.iter().map(stalls).collect::<Result<_>>()?,
            rss: self.viewers.iter().map(rss).collect(),
            seeders_sent: self.seeders_sent().await?,
        });
        Ok(())
    }

    async fn watch_for(&mut self, span: Duration) {
        let watch = watch(&self.viewers, &mut self.stalls);
        let _ = timeout_at(Instant::now() + span, watch).await;
    }

    /// Waits until so long after the beginning of the story.
    pub async fn until(&mut self, after: Duration) {
        if let Some(struck) = &self.struck {
            let watch = watch(&self.viewers, &mut self.stalls);
            let _ = timeout_at(struck.at + after, watch).await;
        }
    }

    /// So many viewers vanish, of whom each relays if that is asked for: `KILL` closes their
    /// sockets, `STOP` tells nobody anything.
    ///
    /// # Errors
    /// When there are too few such viewers.
    pub async fn vanish(&mut self, count: usize, relays: bool, signal: &str) -> Result<()> {
        let mut fit = Vec::new();
        for (at, viewer) in self.viewers.iter().enumerate() {
            if self.gone.contains(&at) {
                continue;
            }
            let children = viewer.figures()?.children;
            if !relays || children.values().any(|list| list.len() >= CHILDREN) {
                fit.push(at);
            }
        }
        ensure!(fit.len() >= count, "only {} relay", fit.len());
        // Every so many, that they are not the oldest alone.
        let step = fit.len() / count;
        for at in fit.into_iter().skip(step - 1).step_by(step).take(count) {
            self.viewers[at].process.signal(signal).await?;
            self.gone.push(at);
        }
        Ok(())
    }

    /// The tracker dies.
    ///
    /// # Errors
    /// When it is no process of its own.
    pub async fn tracker_dies(&mut self) -> Result<()> {
        self.tracker.as_mut().context("no tracker")?.die().await
    }

    /// It comes back.
    ///
    /// # Errors
    /// When it does not.
    pub async fn tracker_returns(&mut self) -> Result<()> {
        let tracker = self.tracker.as_mut().context("no tracker")?;
        tracker.come_back(&self.station).await
    }

    /// A seeder dies.
    ///
    /// # Errors
    /// When it is no process of its own.
    pub async fn seeder_dies(&mut self, at: usize) -> Result<()> {
        self.seeders.get_mut(at).context("no seeder")?.die().await
    }

    /// It comes back.
    ///
    /// # Errors
    /// When it does not.
    pub async fn seeder_returns(&mut self, at: usize) -> Result<()> {
        let seeder = self.seeders.get_mut(at).context("no seeder")?;
        seeder.come_back(&self.station).await
    }

    /// How many viewers the tracker knows; none while it does not answer.
    pub async fn registered(&self) -> Option<u64> {
        self.station.stats().await.ok()?["viewers"].as_u64()
    }

    /// Waits for the broadcaster's end, and looks at everyone.
    ///
    /// # Errors
    /// When a viewer does not end as it should; what it played is in the report.
    pub async fn ends(mut self) -> Result<Aftermath> {
        let struck = self.struck.take().context("no story")?;
        let grown: Vec<u64> = self.viewers.iter().map(rss).collect();
        let spent = struck.at.elapsed().as_secs_f64();
        let sent = self.seeders_sent().await?.zip(struck.seeders_sent);
        let broadcast = &mut self.broadcast;
        let played = async {
            broadcast.ends().await?;
            sleep(PLAYED_OUT).await;
            Ok::<_, anyhow::Error>(())
        };
        tokio::select! {
            played = played => played?,
            () = watch(&self.viewers, &mut self.stalls) => {}
        }
        let watched = struck.at.elapsed().as_secs_f64();
        let weather = self.network.take().map(Network::ends).transpose()?;
        for at in &self.gone {
            // Whoever was stopped is of no more use either; whoever was killed is gone.
            let _ = self.viewers[*at].process.signal("KILL").await;
        }
        let mut names = Vec::new();
        for (process, told) in &mut self.ill {
            process.stop(Duration::from_secs(3)).await?;
            names.extend(names_in(told)?);
        }
        let mut survivors = Vec::new();
        for (at, viewer) in self.viewers.iter_mut().enumerate() {
            if self.gone.contains(&at) {
                continue;
            }
            let figures = viewer.stop().await?;
            let before = struck.stalls.get(at).copied().unwrap_or(0);
            let seen = self.stalls.get_mut(at).context("everyone was seen")?;
            seen.see(&figures);
            let (inexact, foreign) = match figures.startup_ms {
                Some(_) => judge(viewer, &self.clip.media).await,
                None => (Some("it never played".to_owned()), None),
            };
            let (played, skipped) = struck.generations.get(at).copied().unwrap_or_default();
            let played = figures.generations.played - played;
            let skipped = figures.generations.skipped - skipped;
            let stood_before = struck.stood.get(at).copied().unwrap_or(0);
            let stood = figures.stall_ms.saturating_sub(stood_before) as f64 / 1000.0;
            // A picture that stands to the end skips nothing.
            let of_time = 1.0 - (stood / watched.max(0.001)).min(1.0);
            survivors.push(Survivor {
                name: viewer.name.clone(),
                continuity: of_time.min(played as f64 / (played + skipped).max(1) as f64),
                rejected: figures.rejected_pieces,
                wronged: figures
                    .cut
                    .into_iter()
                    .filter(|cut| !names.contains(cut))
                    .collect(),
                stalls: figures.stalls - before,
                stall_ms: figures.stall_ms,
                longest_stall_ms: seen.longest_ms,
                startup_ms: figures.startup_ms,
                lag_p95_ms: figures.lag_ms.p95,
                grew: match (grown.get(at), struck.rss.get(at)) {
                    (Some(after), Some(before)) => after.saturating_sub(*before),
                    _ => 0,
                },
                received: figures.received,
                inexact,
                foreign,
            });
        }
        let bytes = self.clip.bps / 8.0 * spent;
        drop((self.tracker, self.seeders));
        self.station.stop().await?;
        Ok(Aftermath {
            stream_bps: self.clip.bps,
            seeder_rates: sent.map(|(after, before)| (after - before) as f64 / bytes),
            weather: weather.flatten(),
            survivors,
        })
    }

    async fn seeders_sent(&self) -> Result<Option<u64>> {
        let Some(meter) = &self.meter else {
            return Ok(None);
        };
        let mut ports: Vec<u16> = self.seeders.iter().filter_map(|part| part.udp).collect();
        if ports.is_empty() {
            ports.push(self.station.ready.udp.port());
        }
        let mut sum = 0;
        for port in ports {
            sum += meter.sent(port).await.context("the counters")?;
        }
        Ok(Some(sum))
    }
}

/// What a viewer holds; nothing if it is gone.
fn rss(viewer: &Viewer) -> u64 {
    viewer.usage().map_or(0, |usage| usage.rss)
}

/// A machine of the network, if there is one.
fn place(network: Option<&mut Network>, name: &str, host: u8) -> Result<Place> {
    network.map_or(Ok(Place::Here), |network| {
        Ok(Place::On(network.open(name, host)?))
    })
}

/// Looks at all viewers again and again, as long as it is let.
async fn watch(viewers: &[Viewer], stalls: &mut Vec<Stalls>) {
    stalls.resize_with(viewers.len(), Stalls::default);
    loop {
        for (viewer, stalls) in viewers.iter().zip(stalls.iter_mut()) {
            // Who has just come has no figures yet.
            let _ = stalls.look(viewer);
        }
        sleep(LOOKS).await;
    }
}

/// What is not exact about a viewer's output, and what is foreign to the broadcast.
async fn judge(viewer: &Viewer, sent: &Media) -> (Option<String>, Option<String>) {
    let wrong = |judged: Result<()>| judged.err().map(|error| format!("{error:#}"));
    match Media::of(&viewer.out).await.context("its output") {
        Ok(came) => (
            wrong(exact::compare(sent, &came).map(drop)),
            wrong(exact::only(sent, &came)),
        ),
        Err(error) => {
            let why = format!("{error:#}");
            (Some(why.clone()), Some(why))
        }
    }
}

/// The names that one who means ill has had.
fn names_in(told: &std::path::Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(told)?;
    let names = text.lines().map(|line| {
        let life: serde_json::Value = serde_json::from_str(line)?;
        let name = life["peer"].as_str().context("a life has a name")?;
        Ok(name.to_owned())
    });
    names.collect()
}

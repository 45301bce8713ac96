//! A swarm of real programs in the middle of a broadcast, to which things happen: viewers
//! vanish, the tracker or a seeder dies and comes back. A scenario tells the story; what
//! became of the viewers is told a minute later.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    broadcast::{Broadcast, Clip, Content},
    exact::{self, Media},
    figures::Received,
    kernel::Meter,
    network::Network,
    place::Place,
    process::Process,
    scenario::Row,
    stalls::Stalls,
    station::Standalone,
    viewer::Viewer,
    weather::{Counters, Weather},
};

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
/// A service of ours is up within this.
const STARTS: Duration = Duration::from_secs(10);

/// Who is on.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// Viewers, of 5 Mbit/s each.
    pub viewers: usize,
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
    /// Of the viewers, since the story began.
    stalls: Vec<Stalls>,
    network: Option<Network>,
    _folder: tempfile::TempDir,
}

/// How it stood when the story began.
struct Struck {
    at: Instant,
    stalls: Vec<u64>,
    seeders_sent: Option<u64>,
}

/// A service in a process of its own, which can die and come back under the same addresses.
struct Part {
    name: String,
    args: Vec<String>,
    udp: Option<u16>,
    process: Process,
    starts: usize,
}

/// What became of the viewers.
#[derive(Debug, Serialize)]
pub struct Aftermath {
    /// Media bits a second.
    pub stream_bps: f64,
    /// Bytes that the seeders sent since, by the kernel, in stream rates.
    pub seeder_rates: Option<f64>,
    /// What the weather did, from the first arrival on.
    pub weather: Option<Counters>,
    /// Of each survivor.
    pub survivors: Vec<Survivor>,
}

/// One who stayed.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the contract's, or say it")]
pub struct Survivor {
    pub name: String,
    pub stalls: u64,
    pub stall_ms: u64,
    /// Of those; two that cannot be told apart count as one.
    pub longest_stall_ms: u64,
    pub startup_ms: Option<u64>,
    /// Over the last 60 s.
    pub lag_p95_ms: Option<u64>,
    pub received: Received,
    /// What is not exact about its output.
    pub inexact: Option<String>,
    /// What is in its output that was not sent, or not in this order.
    pub foreign: Option<String>,
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
            stalls: Vec::new(),
            network,
            _folder: folder,
        };
        for _ in 0..cast.viewers {
            stage.enter()?;
            sleep(SPACING).await;
        }
        if stage.network.is_none() {
            for viewer in &mut stage.viewers {
                viewer.plays(PLAYS).await?;
            }
        }
        sleep(SETTLES).await;
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
        let (url, flags) = (&self.station.ready.watch, ["--upload-max", "5Mbps"]);
        let viewer = Viewer::start_in(&place, &self.station, url, &name, &flags)?;
        self.viewers.push(viewer);
        self.viewers.last_mut().context("one has come")
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
        self.struck = Some(Struck {
            at: Instant::now(),
            stalls: self.viewers.iter().map(stalls).collect::<Result<_>>()?,
            seeders_sent: self.seeders_sent().await?,
        });
        Ok(())
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
        let weather = self.network.take().map(Network::ends).transpose()?;
        for at in &self.gone {
            // Whoever was stopped is of no more use either; whoever was killed is gone.
            let _ = self.viewers[*at].process.signal("KILL").await;
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
            survivors.push(Survivor {
                name: viewer.name.clone(),
                stalls: figures.stalls - before,
                stall_ms: figures.stall_ms,
                longest_stall_ms: seen.longest_ms,
                startup_ms: figures.startup_ms,
                lag_p95_ms: figures.lag_ms.p95,
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

impl Part {
    async fn start(
        station: &Standalone,
        name: &str,
        args: Vec<String>,
        udp: Option<u16>,
    ) -> Result<Self> {
        let process = Self::run(station, name, &args, 0).await?;
        Ok(Self {
            name: name.to_owned(),
            args,
            udp,
            process,
            starts: 1,
        })
    }

    async fn run(
        station: &Standalone,
        name: &str,
        args: &[String],
        start: usize,
    ) -> Result<Process> {
        let name = format!("{name}-{start}");
        let ready = station.file(&format!("{name}.ready.json"));
        let mut args = args.to_vec();
        args.extend(["--ready-json".to_owned(), ready.display().to_string()]);
        let mut process = Process::livestation(station.folder(), &name, &args)?;
        let _: serde_json::Value = process.json(&ready, STARTS, |_| true).await?;
        Ok(process)
    }

    async fn die(&mut self) -> Result<()> {
        self.process.signal("KILL").await?;
        self.process.wait(Duration::from_secs(2)).await.ok();
        Ok(())
    }

    async fn come_back(&mut self, station: &Standalone) -> Result<()> {
        self.process = Self::run(station, &self.name, &self.args, self.starts).await?;
        self.starts += 1;
        Ok(())
    }
}

/// Addresses of what is apart, so that it comes back where it was.
struct Ports {
    accounts: SocketAddr,
    tracker_grpc: SocketAddr,
    tracker_http: SocketAddr,
    /// gRPC, UDP, HTTP.
    seeders: Vec<[SocketAddr; 3]>,
}

impl Ports {
    fn find(seeders: usize) -> Result<Self> {
        // All are held while more are looked for, so that no two are the same.
        let mut held = Vec::new();
        let mut tcp = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            held.push(listener);
            Ok::<_, std::io::Error>(address)
        };
        let (accounts, tracker_grpc, tracker_http) = (tcp()?, tcp()?, tcp()?);
        let mut triples = Vec::new();
        for _ in 0..seeders {
            let udp = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            triples.push([tcp()?, udp, tcp()?]);
        }
        Ok(Self {
            accounts,
            tracker_grpc,
            tracker_http,
            seeders: triples,
        })
    }

    fn station(&self, cast: &Cast, cap: &str) -> Vec<String> {
        let mut flags = vec!["--seeder-upload-max".to_owned(), cap.to_owned()];
        if cast.tracker || cast.seeders > 0 {
            flags.extend(["--accounts-grpc".to_owned(), self.accounts.to_string()]);
        }
        if cast.tracker {
            let grpc = format!("http://{}", self.tracker_grpc);
            let http = format!("http://{}", self.tracker_http);
            flags.extend(["--tracker".to_owned(), grpc]);
            flags.extend(["--tracker-public".to_owned(), http]);
        } else if cast.seeders > 0 {
            flags.extend(["--tracker-grpc".to_owned(), self.tracker_grpc.to_string()]);
        }
        for [grpc, ..] in &self.seeders {
            flags.extend(["--seeder".to_owned(), format!("http://{grpc}")]);
        }
        flags
    }

    fn tracker(&self) -> Vec<String> {
        [
            "tracker".to_owned(),
            "--accounts".to_owned(),
            format!("http://{}", self.accounts),
            "--grpc".to_owned(),
            self.tracker_grpc.to_string(),
            "--http".to_owned(),
            self.tracker_http.to_string(),
        ]
        .to_vec()
    }

    fn seeder(&self, at: usize, cap: &str) -> (Vec<String>, u16) {
        let [grpc, udp, http] = self.seeders[at];
        let args = [
            "seeder".to_owned(),
            "--accounts".to_owned(),
            format!("http://{}", self.accounts),
            "--tracker".to_owned(),
            format!("http://{}", self.tracker_grpc),
            "--grpc".to_owned(),
            grpc.to_string(),
            "--udp".to_owned(),
            udp.to_string(),
            "--http".to_owned(),
            http.to_string(),
            "--upload-max".to_owned(),
            cap.to_owned(),
        ];
        (args.to_vec(), udp.port())
    }
}

impl Aftermath {
    /// The longest that any survivor stood at once.
    #[must_use]
    pub fn longest_stall_ms(&self) -> u64 {
        let stood = self.survivors.iter().map(|one| one.longest_stall_ms);
        stood.max().unwrap_or(0)
    }

    /// The figures beside what the project promises. With `stall_ms`, each may stand for so
    /// long at once, and what is played then has gaps, but nothing that was not sent.
    #[must_use]
    pub fn rows(&self, stall_ms: Option<u64>) -> Vec<Row> {
        let total =
            |of: &dyn Fn(&Survivor) -> u64| Some(self.survivors.iter().map(of).sum::<u64>() as f64);
        let lag = self.survivors.iter().filter_map(|one| one.lag_p95_ms).max();
        let lag = lag.map(|ms| ms as f64);
        let mut rows = vec![Row::only(
            "survivors",
            Some(self.survivors.len() as f64),
            "",
        )];
        match stall_ms {
            None => {
                let inexact = total(&|one| u64::from(one.inexact.is_some()));
                rows.push(Row::at_most(
                    "stalls, all survivors",
                    total(&|one| one.stalls),
                    0.0,
                    "",
                ));
                rows.push(Row::at_most("outputs that are not exact", inexact, 0.0, ""));
            }
            Some(most) => {
                let longest = Some(self.longest_stall_ms() as f64);
                rows.push(Row::only(
                    "stalls, all survivors",
                    total(&|one| one.stalls),
                    "",
                ));
                rows.push(Row::at_most(
                    "longest stall of any survivor",
                    longest,
                    most as f64,
                    "ms",
                ));
                let foreign = total(&|one| u64::from(one.foreign.is_some()));
                rows.push(Row::at_most(
                    "outputs with what was not sent",
                    foreign,
                    0.0,
                    "",
                ));
            }
        }
        rows.push(Row::at_most("lag p95, worst survivor", lag, 2000.0, "ms"));
        rows.push(Row::only(
            "seeders, since",
            self.seeder_rates,
            "stream rates",
        ));
        rows.extend(self.weather.iter().flat_map(|weather| self.under(weather)));
        rows
    }

    /// What only weather makes interesting.
    fn under(&self, weather: &Counters) -> [Row; 5] {
        let most = |of: &dyn Fn(&Survivor) -> Option<u64>| {
            let all = self.survivors.iter().filter_map(of);
            all.max().map(|most| most as f64)
        };
        let Counters {
            forwarded,
            lost,
            no_room,
        } = weather;
        let part = *lost as f64 / (lost + forwarded).max(1) as f64;
        let never = self.survivors.iter().filter(|one| one.startup_ms.is_none());
        let never = Some(never.count() as f64);
        [
            Row::at_most("viewers that never played", never, 0.0, ""),
            Row::only(
                "stood in all, worst survivor",
                most(&|one| Some(one.stall_ms)),
                "ms",
            ),
            Row::only(
                "start-up, worst survivor",
                most(&|one| one.startup_ms),
                "ms",
            ),
            Row::only("frames that the weather took", Some(part * 100.0), "%"),
            Row::only("frames without room", Some(*no_room as f64), ""),
        ]
    }
}

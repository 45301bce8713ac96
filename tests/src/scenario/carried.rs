//! A dozen viewers carry a broadcast whose seeder could serve two of them.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::{PLAYED_OUT, PLAYS, RATIO, Row};
use crate::{
    broadcast::{Broadcast, Clip, Content},
    exact::{self, Media},
    figures::quantile,
    kernel::Meter,
    station::Standalone,
    viewer::Viewer,
};

/// What each who shares may send.
pub const UPLOAD_MAX_BPS: f64 = 5e6;
/// Rates are looked at over spans of this length.
const SPAN: Duration = Duration::from_secs(5);
/// In the last of the steady state, nobody may have children in more stripes than three.
const SETTLED: u32 = 10;
/// Every so many viewers, one does not share.
const SILENT: usize = 4;

/// How long, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Viewers; a quarter of them does not share.
    pub viewers: usize,
    /// From one arrival to the next.
    pub spacing: Duration,
    /// From the last arrival to the broadcaster's end.
    pub steady: Duration,
    /// Whether each output is decoded too, which takes long; packets are compared anyway.
    pub decode: bool,
}

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Media bits a second.
    pub stream_bps: f64,
    /// From the first viewer to the end, by the kernel; none where it does not count for us.
    pub saved_ratio: Option<f64>,
    /// In the steady state, by the kernel.
    pub saved_ratio_steady: Option<f64>,
    /// As the station claims it.
    pub saved_ratio_claimed: Option<f64>,
    /// The seeder's highest rate over 5 s, by the kernel.
    pub seeder_peak_bps: Option<f64>,
    /// What the station cost in the steady state, in cores.
    pub station_cores: f64,
    /// What it held at the end, in bytes.
    pub station_rss: u64,
    /// Of each viewer.
    pub viewers: Vec<Seen>,
}

/// By one viewer.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the contract's, or say it")]
pub struct Seen {
    pub name: String,
    pub shares: bool,
    pub startup_ms: Option<u64>,
    pub lag_p50_ms: Option<u64>,
    pub lag_p95_ms: Option<u64>,
    pub stalls: u64,
    pub stall_ms: u64,
    pub skipped: u64,
    /// By the kernel, over 5 s.
    pub upload_peak_bps: Option<f64>,
    /// In how many stripes it had children at most, in the last 10 s.
    pub interior_in: usize,
    /// What is not exact about its output.
    pub inexact: Option<String>,
    /// In the steady state.
    pub cores: f64,
    /// In bytes.
    pub rss: u64,
}

/// Runs it.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn run(plan: Plan) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let arriving = plan.spacing * u32::try_from(plan.viewers)?;
    let lead = Duration::from_secs(4);
    let seconds = u32::try_from((lead + arriving + plan.steady).as_secs())?;
    let clip = Clip::encode(folder.path(), Content::new(seconds)).await?;
    let cap = format!("{}kbps", (clip.bps * 2.0 / 1000.0).round());
    let station = Standalone::start(&["--seeder-upload-max", &cap]).await?;
    let meter = Meter::start().await;
    if let Err(error) = &meter {
        eprintln!("NOT MEASURED: what was sent, since the kernel does not count for us: {error}");
    }
    let mut run = Run {
        station,
        meter: meter.ok(),
        broadcast: None,
        viewers: Vec::new(),
    };
    run.broadcast = Some(Broadcast::replay(&run.station, &clip)?);
    sleep(lead).await;
    run.arrive(plan).await?;
    run.watch(plan, &clip).await
}

struct Run {
    station: Standalone,
    meter: Option<Meter>,
    broadcast: Option<Broadcast>,
    viewers: Vec<(Viewer, bool)>,
}

/// Counters at a moment.
struct Moment {
    at: Instant,
    seeder: Option<u64>,
    played: u64,
    cpu: Vec<Duration>,
    station_cpu: Duration,
}

impl Run {
    async fn arrive(&mut self, plan: Plan) -> Result<()> {
        for number in 1..=plan.viewers {
            let shares = number % SILENT != 0;
            let mut flags = vec!["--upload-max", "5Mbps"];
            flags.extend((!shares).then_some("--no-share"));
            let name = format!("viewer-{number}");
            let viewer = Viewer::start(&self.station, &name, &flags)?;
            self.viewers.push((viewer, shares));
            sleep(plan.spacing).await;
        }
        for (viewer, _) in &mut self.viewers {
            viewer.plays(PLAYS).await?;
        }
        Ok(())
    }

    async fn watch(mut self, plan: Plan, clip: &Clip) -> Result<Report> {
        let before = self.moment().await?;
        let settled = before.at + plan.steady.saturating_sub(Duration::from_secs(12));
        sleep_until(settled).await;
        let mut interior = vec![0; self.viewers.len()];
        for _ in 0..SETTLED {
            for (most, (viewer, _)) in interior.iter_mut().zip(&self.viewers) {
                *most = viewer.figures()?.interior_in().max(*most);
            }
            sleep(Duration::from_secs(1)).await;
        }
        let after = self.moment().await?;
        let claimed = self.station.stats().await?["saved_ratio"].as_f64();
        let station_rss = self.station.usage()?.rss;
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.ends().await?;
        }
        sleep(PLAYED_OUT).await;
        let end = self.moment().await?;

        let span = (after.at - before.at).as_secs_f64();
        let mut seen = Vec::new();
        for (at, (viewer, shares)) in self.viewers.iter_mut().enumerate() {
            let (rss, port) = (viewer.usage()?.rss, viewer.port().await?);
            let figures = viewer.stop().await?;
            let inexact = judge(viewer, clip, plan.decode).await.err();
            seen.push(Seen {
                name: viewer.name.clone(),
                shares: *shares,
                startup_ms: figures.startup_ms,
                lag_p50_ms: figures.lag_ms.p50,
                lag_p95_ms: figures.lag_ms.p95,
                stalls: figures.stalls,
                stall_ms: figures.stall_ms,
                skipped: figures.generations.skipped,
                upload_peak_bps: self.meter.as_ref().map(|meter| meter.peak_bps(port, SPAN)),
                interior_in: interior[at],
                inexact: inexact.map(|error| format!("{error:#}")),
                cores: (after.cpu[at] - before.cpu[at]).as_secs_f64() / span,
                rss,
            });
        }
        let seeder = self.station.ready.udp.port();
        let report = Report {
            stream_bps: clip.bps,
            saved_ratio: saved(end.seeder, end.played),
            saved_ratio_steady: saved(
                after.seeder.zip(before.seeder).map(|(a, b)| a - b),
                after.played - before.played,
            ),
            saved_ratio_claimed: claimed,
            seeder_peak_bps: self
                .meter
                .as_ref()
                .map(|meter| meter.peak_bps(seeder, SPAN)),
            station_cores: (after.station_cpu - before.station_cpu).as_secs_f64() / span,
            station_rss,
            viewers: seen,
        };
        self.station.stop().await?;
        Ok(report)
    }

    async fn moment(&self) -> Result<Moment> {
        let seeder = match &self.meter {
            Some(meter) => Some(meter.sent(self.station.ready.udp.port()).await?),
            None => None,
        };
        let viewers = || self.viewers.iter().map(|(viewer, _)| viewer);
        Ok(Moment {
            at: Instant::now(),
            seeder,
            played: viewers().map(Viewer::played).sum(),
            cpu: viewers()
                .map(|viewer| Ok(viewer.usage()?.cpu))
                .collect::<Result<_>>()?,
            station_cpu: self.station.usage()?.cpu,
        })
    }
}

fn saved(seeder: Option<u64>, played: u64) -> Option<f64> {
    seeder.map(|sent| 1.0 - sent as f64 / played.max(1) as f64)
}

async fn judge(viewer: &Viewer, clip: &Clip, decode: bool) -> Result<()> {
    if decode {
        exact::decodes(&viewer.out).await?;
    }
    let came = Media::of(&viewer.out).await.context("its output")?;
    exact::compare(&clip.media, &came).map(drop)
}

impl Report {
    /// The figures beside what the project promises.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let each = |of: &dyn Fn(&Seen) -> Option<u64>| -> Vec<u64> {
            self.viewers.iter().filter_map(of).collect()
        };
        let startup = |part| quantile(each(&|one| one.startup_ms), part).map(|ms| ms as f64);
        let most =
            |of: &dyn Fn(&Seen) -> Option<u64>| each(of).into_iter().max().map(|most| most as f64);
        let total =
            |of: &dyn Fn(&Seen) -> u64| Some(self.viewers.iter().map(of).sum::<u64>() as f64);
        let peak = |shares: bool| {
            let mine = self.viewers.iter().filter(|one| one.shares == shares);
            mine.filter_map(|one| one.upload_peak_bps).reduce(f64::max)
        };
        let mbit = |bps: Option<f64>| bps.map(|bps| bps / 1e6);
        let cap = UPLOAD_MAX_BPS * 1.02 / 1e6;
        let seeder_cap = self.stream_bps * 2.0 * 1.02 / 1e6;
        vec![
            Row::only("stream rate", mbit(Some(self.stream_bps)), "Mbit/s"),
            Row::at_most("stalls, all viewers", total(&|one| one.stalls), 0.0, ""),
            Row::at_most(
                "lag p95, worst viewer",
                most(&|one| one.lag_p95_ms),
                2000.0,
                "ms",
            ),
            Row::at_most(
                "outputs that are not exact",
                total(&|one| u64::from(one.inexact.is_some())),
                0.0,
                "",
            ),
            Row::at_least(
                "saved_ratio by the kernel, whole run",
                self.saved_ratio,
                0.82,
                RATIO,
            ),
            Row::at_least(
                "saved_ratio by the kernel, steady state",
                self.saved_ratio_steady,
                0.82,
                RATIO,
            ),
            Row::only(
                "saved_ratio as the station claims",
                self.saved_ratio_claimed,
                RATIO,
            ),
            Row::at_most(
                "seeder, highest 5 s",
                mbit(self.seeder_peak_bps),
                seeder_cap,
                "Mbit/s",
            ),
            Row::at_most(
                "a viewer's upload, highest 5 s",
                mbit(peak(true)),
                cap,
                "Mbit/s",
            ),
            Row::only(
                "a --no-share viewer's upload, highest 5 s",
                mbit(peak(false)),
                "Mbit/s",
            ),
            Row::at_most(
                "stripes with children, most of any viewer",
                most(&|one| Some(one.interior_in as u64)),
                3.0,
                "",
            ),
            Row::at_most("start-up p50", startup(0.5), 1000.0, "ms"),
            Row::only("start-up p95", startup(0.95), "ms"),
            Row::only(
                "a viewer's memory at most",
                most(&|one| Some(one.rss >> 10)).map(|kib| kib / 1024.0),
                "MiB",
            ),
            Row::only(
                "station, share of a core",
                Some(self.station_cores * 100.0),
                "%",
            ),
            Row::only(
                "station's memory",
                Some(self.station_rss as f64 / f64::from(1 << 20)),
                "MiB",
            ),
        ]
    }
}

//! Many viewers in one process, at a low rate.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{RATIO, Row};
use crate::{
    broadcast::{Broadcast, Clip, Content},
    figures::quantile,
    kernel::Meter,
    station::Standalone,
    swarm::Swarm,
};

const STREAM_BPS: u32 = 1_000_000;
const SEEDER_MAX: &str = "2Mbps";

/// How long, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Viewers.
    pub peers: usize,
    /// Their arrivals take so long.
    pub over: Duration,
    /// What is measured, at the end.
    pub window: Duration,
    /// Between the last arrival and the window.
    pub settle: Duration,
}

/// What was seen.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the contract's, or say it")]
pub struct Report {
    pub peers: usize,
    pub stream_bps: f64,
    /// As the station claims it.
    pub saved_ratio_60s: Option<f64>,
    /// By the kernel over the window, against all that the viewers should have played.
    pub saved_ratio: Option<f64>,
    pub seeder_peak_bps: Option<f64>,
    pub startup_p50_ms: Option<u64>,
    pub startup_p95_ms: Option<u64>,
    /// Of the worst viewer.
    pub lag_p95_ms: Option<u64>,
    pub stalls: u64,
    /// How many viewers stalled.
    pub stalled: usize,
    pub skipped: u64,
    pub swarm_cores: f64,
    pub swarm_rss: u64,
}

/// Runs it.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn run(plan: Plan) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let seconds = (plan.over + plan.settle + plan.window).as_secs() + 10;
    let content = Content::new(u32::try_from(seconds)?).of_rate(STREAM_BPS);
    let clip = Clip::encode(folder.path(), content).await?;
    let station = Standalone::start(&["--seeder-upload-max", SEEDER_MAX]).await?;
    let meter = Meter::start().await;
    if let Err(error) = &meter {
        eprintln!("NOT MEASURED: what was sent, since the kernel does not count for us: {error}");
    }
    let meter = meter.ok();
    let broadcast = Broadcast::replay(&station, &clip)?;
    sleep(Duration::from_secs(3)).await;
    let peers = plan.peers.to_string();
    let over = format!("{}ms", plan.over.as_millis());
    let mut swarm = Swarm::start(&station, &["--peers", &peers, "--over", &over])?;
    swarm
        .play(plan.peers, plan.over + Duration::from_secs(30))
        .await?;
    sleep(plan.settle).await;

    let port = station.ready.udp.port();
    let (began, cpu) = (Instant::now(), swarm.usage()?.cpu);
    let before = sent(meter.as_ref(), port).await?;
    sleep(plan.window).await;
    let after = sent(meter.as_ref(), port).await?;
    let (window, usage) = (began.elapsed().as_secs_f64(), swarm.usage()?);
    let claimed = station.stats().await?["saved_ratio_60s"].as_f64();
    let figures = swarm.stop().await?;
    drop(broadcast);
    station.stop().await?;

    let played = plan.peers as f64 * clip.bps / 8.0 * window;
    let startups = || figures.iter().filter_map(|one| one.startup_ms);
    Ok(Report {
        peers: plan.peers,
        stream_bps: clip.bps,
        saved_ratio_60s: claimed,
        saved_ratio: before
            .zip(after)
            .map(|(before, after)| 1.0 - (after - before) as f64 / played),
        seeder_peak_bps: meter.map(|meter| meter.peak_bps(port, Duration::from_secs(5))),
        startup_p50_ms: quantile(startups(), 0.5),
        startup_p95_ms: quantile(startups(), 0.95),
        lag_p95_ms: figures.iter().filter_map(|one| one.lag_ms.p95).max(),
        stalls: figures.iter().map(|one| one.stalls).sum(),
        stalled: figures.iter().filter(|one| one.stalls > 0).count(),
        skipped: figures.iter().map(|one| one.generations.skipped).sum(),
        swarm_cores: (usage.cpu - cpu).as_secs_f64() / window,
        swarm_rss: usage.rss,
    })
}

async fn sent(meter: Option<&Meter>, port: u16) -> Result<Option<u64>> {
    match meter {
        Some(meter) => meter.sent(port).await.map(Some),
        None => Ok(None),
    }
}

impl Report {
    /// The figures beside what the project promises.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let of = |value: Option<u64>| value.map(|value| value as f64);
        let mbit = |bps: Option<f64>| bps.map(|bps| bps / 1e6);
        vec![
            Row::only("stream rate", mbit(Some(self.stream_bps)), "Mbit/s"),
            Row::at_least("saved_ratio_60s", self.saved_ratio_60s, 0.95, RATIO),
            Row::at_least("saved ratio by the kernel", self.saved_ratio, 0.95, RATIO),
            Row::at_most(
                "seeder, highest 5 s",
                mbit(self.seeder_peak_bps),
                2.04,
                "Mbit/s",
            ),
            Row::only("stalls, all viewers", Some(self.stalls as f64), ""),
            Row::only("viewers that stalled", Some(self.stalled as f64), ""),
            Row::only("lag p95, worst viewer", of(self.lag_p95_ms), "ms"),
            Row::only("start-up p50", of(self.startup_p50_ms), "ms"),
            Row::only("start-up p95", of(self.startup_p95_ms), "ms"),
            Row::only(
                "all viewers, share of a core",
                Some(self.swarm_cores * 100.0),
                "%",
            ),
            Row::only(
                "all viewers' memory",
                Some(self.swarm_rss as f64 / f64::from(1 << 20)),
                "MiB",
            ),
        ]
    }
}

//! What a viewer costs that relays a whole stream's worth, and a station that has nothing
//! to do.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{PLAYS, Row};
use crate::{
    broadcast::{Broadcast, Clip, Content},
    kernel::Meter,
    station::Standalone,
    viewer::Viewer,
};

const STREAM_BPS: u32 = 4_000_000;
const MIB: f64 = (1 << 20) as f64;
/// After the start, and after the arrivals.
const SETTLE: Duration = Duration::from_secs(5);

/// What was seen; shares of a core in percent, memory in MiB.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Report {
    pub stream_bps: f64,
    pub idle_cpu: f64,
    pub idle_rss: f64,
    pub relay_cpu: f64,
    pub relay_rss: f64,
    /// What it sent, by the kernel, in stream rates.
    pub relayed: Option<f64>,
    pub leaf_cpu: f64,
    pub leaf_rss: f64,
    pub station_cpu: f64,
    pub station_rss: f64,
    pub stalls: u64,
}

/// Runs it; each measurement takes so long.
///
/// # Errors
/// When something does not run.
pub async fn run(window: Duration) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let seconds = u32::try_from(window.as_secs())? + 25;
    let clip = Clip::encode(folder.path(), Content::new(seconds).of_rate(STREAM_BPS)).await?;
    // Two viewers, of whom one shares nothing: what the seeder cannot send, the other does.
    let cap = format!("{}kbps", (clip.bps * 1.2 / 1000.0).round());
    let station = Standalone::start(&["--seeder-upload-max", &cap]).await?;
    sleep(SETTLE).await;
    let idle = Watched::new(&station, None)?;
    sleep(window).await;
    let idle = idle.cost(&station, None)?;

    let meter = Meter::start().await.ok();
    let broadcast = Broadcast::replay(&station, &clip)?;
    let mut relay = Viewer::start(&station, "relay", &[])?;
    relay.plays(PLAYS).await?;
    let mut leaf = Viewer::start(&station, "leaf", &["--no-share"])?;
    leaf.plays(PLAYS).await?;
    sleep(SETTLE).await;
    let port = relay.port().await?;
    let watched = [None, Some(&relay), Some(&leaf)].map(|viewer| Watched::new(&station, viewer));
    let before = match &meter {
        Some(meter) => Some(meter.sent(port).await?),
        None => None,
    };
    let began = Instant::now();
    sleep(window).await;
    let relayed = match (&meter, before) {
        (Some(meter), Some(before)) => Some(meter.sent(port).await? - before),
        _ => None,
    };
    let elapsed = began.elapsed().as_secs_f64();
    let mut costs = Vec::new();
    for (watched, viewer) in watched.into_iter().zip([None, Some(&relay), Some(&leaf)]) {
        costs.push(watched?.cost(&station, viewer)?);
    }
    let [busy, relay_cost, leaf_cost] = costs.try_into().ok().context("three were watched")?;
    let stalls = relay.stop().await?.stalls + leaf.stop().await?.stalls;
    drop(broadcast);
    station.stop().await?;
    Ok(Report {
        stream_bps: clip.bps,
        idle_cpu: idle.cpu,
        idle_rss: idle.rss,
        relay_cpu: relay_cost.cpu,
        relay_rss: relay_cost.rss,
        relayed: relayed.map(|bytes| bytes as f64 * 8.0 / elapsed / clip.bps),
        leaf_cpu: leaf_cost.cpu,
        leaf_rss: leaf_cost.rss,
        station_cpu: busy.cpu,
        station_rss: busy.rss,
        stalls,
    })
}

/// The processor time of a viewer, or of the station, at a moment.
struct Watched {
    at: Instant,
    cpu: Duration,
}

struct Cost {
    cpu: f64,
    rss: f64,
}

impl Watched {
    fn new(station: &Standalone, viewer: Option<&Viewer>) -> Result<Self> {
        let usage = viewer.map_or_else(|| station.usage(), Viewer::usage)?;
        Ok(Self {
            at: Instant::now(),
            cpu: usage.cpu,
        })
    }

    fn cost(&self, station: &Standalone, viewer: Option<&Viewer>) -> Result<Cost> {
        let usage = viewer.map_or_else(|| station.usage(), Viewer::usage)?;
        let share = (usage.cpu - self.cpu).as_secs_f64() / self.at.elapsed().as_secs_f64();
        Ok(Cost {
            cpu: share * 100.0,
            rss: usage.rss as f64 / MIB,
        })
    }
}

impl Report {
    /// The figures beside what the project promises.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let of = Some;
        vec![
            Row::at_most("idle station, share of a core", of(self.idle_cpu), 1.0, "%"),
            Row::at_most("idle station's memory", of(self.idle_rss), 60.0, "MiB"),
            Row::only("stream rate", of(self.stream_bps / 1e6), "Mbit/s"),
            Row::only("what the relay sent", self.relayed, "stream rates"),
            Row::at_most("relay, share of a core", of(self.relay_cpu), 10.0, "%"),
            Row::at_most("relay's memory", of(self.relay_rss), 40.0, "MiB"),
            Row::only("leaf, share of a core", of(self.leaf_cpu), "%"),
            Row::only("leaf's memory", of(self.leaf_rss), "MiB"),
            Row::only(
                "station with them, share of a core",
                of(self.station_cpu),
                "%",
            ),
            Row::only("station's memory", of(self.station_rss), "MiB"),
            Row::at_most("stalls", of(self.stalls as f64), 0.0, ""),
        ]
    }
}

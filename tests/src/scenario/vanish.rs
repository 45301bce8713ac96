//! Viewers vanish in the middle of a broadcast, and the others are looked at a minute later.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::sleep;

use super::{PLAYED_OUT, PLAYS, Row, carried::judge};
use crate::{
    broadcast::{Broadcast, Clip, Content},
    kernel::Meter,
    station::Standalone,
    viewer::Viewer,
};

/// The swarm is left alone for so long before anything happens to it.
const SETTLES: Duration = Duration::from_secs(8);
/// From one arrival to the next.
const SPACING: Duration = Duration::from_millis(700);
/// A relay has at least so many children in one stripe.
const CHILDREN: usize = 3;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Viewers, of 5 Mbit/s each; the seeder has three stream rates.
    pub viewers: usize,
    /// So many of them vanish.
    pub vanish: usize,
    /// Only such as have at least three children in a stripe.
    pub relays: bool,
    /// `KILL`, which closes their sockets, or `STOP`, which tells nobody anything.
    pub signal: &'static str,
    /// How long the others are looked at.
    pub after: Duration,
}

/// What became of the others.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Media bits a second.
    pub stream_bps: f64,
    /// Bytes that the seeder sent after it, by the kernel, in stream rates.
    pub seeder_rates: Option<f64>,
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
    /// Over the last 60 s.
    pub lag_p95_ms: Option<u64>,
    /// What is not exact about its output.
    pub inexact: Option<String>,
}

/// Runs it.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn run(plan: Plan) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let lead = Duration::from_secs(4);
    let arriving = SPACING * u32::try_from(plan.viewers)?;
    let spare = Duration::from_secs(4);
    let seconds = (lead + arriving + SETTLES + plan.after + spare).as_secs();
    let clip = Clip::encode(folder.path(), Content::new(u32::try_from(seconds)?)).await?;
    let cap = format!("{}kbps", (clip.bps * 3.0 / 1000.0).round());
    let station = Standalone::start(&["--seeder-upload-max", &cap]).await?;
    let meter = Meter::start().await.ok();
    let mut broadcast = Broadcast::replay(&station, &clip)?;
    sleep(lead).await;
    let mut viewers = Vec::new();
    for number in 1..=plan.viewers {
        let name = format!("viewer-{number}");
        viewers.push(Viewer::start(&station, &name, &["--upload-max", "5Mbps"])?);
        sleep(SPACING).await;
    }
    for viewer in &mut viewers {
        viewer.plays(PLAYS).await?;
    }
    sleep(SETTLES).await;

    let gone = choose(&viewers, plan)?;
    let stalls = |viewer: &Viewer| Ok::<_, anyhow::Error>(viewer.figures()?.stalls);
    let before: Vec<u64> = viewers.iter().map(stalls).collect::<Result<_>>()?;
    let seeder = station.ready.udp.port();
    let sent = sent(meter.as_ref(), seeder).await?;
    for at in &gone {
        viewers[*at].process.signal(plan.signal).await?;
    }
    sleep(plan.after).await;
    let sent = self::sent(meter.as_ref(), seeder).await?.zip(sent);
    broadcast.ends().await?;
    sleep(PLAYED_OUT).await;
    for at in &gone {
        // Whoever was stopped is of no more use either; whoever was killed is gone.
        let _ = viewers[*at].process.signal("KILL").await;
    }
    let mut survivors = Vec::new();
    for (at, viewer) in viewers.iter_mut().enumerate() {
        if gone.contains(&at) {
            continue;
        }
        let figures = viewer.stop().await?;
        survivors.push(Survivor {
            name: viewer.name.clone(),
            stalls: figures.stalls - before[at],
            stall_ms: figures.stall_ms,
            lag_p95_ms: figures.lag_ms.p95,
            inexact: judge(viewer, &clip, false)
                .await
                .err()
                .map(|error| format!("{error:#}")),
        });
    }
    let bytes = clip.bps / 8.0 * plan.after.as_secs_f64();
    station.stop().await?;
    Ok(Report {
        stream_bps: clip.bps,
        seeder_rates: sent.map(|(after, before)| (after - before) as f64 / bytes),
        survivors,
    })
}

/// Who vanishes, by number: every so many, that they are not the oldest alone.
fn choose(viewers: &[Viewer], plan: Plan) -> Result<Vec<usize>> {
    let mut fit = Vec::new();
    for (at, viewer) in viewers.iter().enumerate() {
        let children = viewer.figures()?.children;
        let relays = children.values().any(|list| list.len() >= CHILDREN);
        if relays || !plan.relays {
            fit.push(at);
        }
    }
    ensure!(fit.len() >= plan.vanish, "only {} relay", fit.len());
    let step = fit.len() / plan.vanish;
    let chosen = fit.into_iter().skip(step - 1).step_by(step);
    Ok(chosen.take(plan.vanish).collect())
}

async fn sent(meter: Option<&Meter>, port: u16) -> Result<Option<u64>> {
    match meter {
        Some(meter) => meter.sent(port).await.map(Some).context("the counters"),
        None => Ok(None),
    }
}

impl Report {
    /// The figures beside what the project promises.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let total =
            |of: &dyn Fn(&Survivor) -> u64| Some(self.survivors.iter().map(of).sum::<u64>() as f64);
        let lag = self.survivors.iter().filter_map(|one| one.lag_p95_ms).max();
        vec![
            Row::only("survivors", Some(self.survivors.len() as f64), ""),
            Row::at_most("stalls, all survivors", total(&|one| one.stalls), 0.0, ""),
            Row::at_most(
                "lag p95, worst survivor",
                lag.map(|ms| ms as f64),
                2000.0,
                "ms",
            ),
            Row::at_most(
                "outputs that are not exact",
                total(&|one| u64::from(one.inexact.is_some())),
                0.0,
                "",
            ),
            Row::only("seeder, afterwards", self.seeder_rates, "stream rates"),
        ]
    }
}

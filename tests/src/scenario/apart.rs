//! The tracker or a seeder dies in the middle of a broadcast and comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{Aftermath, Cast, Stage};

/// Who comes while the tracker is away hears so within this.
const TOLD: Duration = Duration::from_secs(2);
/// Everyone is registered again so soon after it is back.
const REGISTERED: Duration = Duration::from_secs(10);
const TELLS: &str = "the tracker does not answer";

/// What became of it.
#[derive(Debug, Serialize)]
pub struct TrackerReport {
    /// Of the viewers.
    pub aftermath: Aftermath,
    /// From the newcomer's start to its word that the tracker is away.
    pub told_ms: Option<u64>,
    /// From the tracker's return until it knew everyone.
    pub registered_ms: Option<u64>,
    /// From the tracker's return until the newcomer played.
    pub newcomer_plays_ms: Option<u64>,
}

/// The tracker is away for so long; after a sixth of it a relay is killed, another stops
/// after a third, and somebody comes.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn tracker(away: Duration, after: Duration) -> Result<TrackerReport> {
    let mut stage = Stage::set(Cast {
        tracker: true,
        ..Cast::dozen(away + after)
    })
    .await?;
    stage.story_begins().await?;
    stage.tracker_dies().await?;
    stage.until(away / 6).await;
    stage.vanish(1, true, "KILL").await?;
    stage.until(away / 3).await;
    stage.vanish(1, true, "STOP").await?;
    stage.until(away / 2).await;
    let came = Instant::now();
    let newcomer = stage.enter()?;
    let told = timeout(TOLD * 2, async {
        while !newcomer.process.said().contains(TELLS) {
            sleep(Duration::from_millis(20)).await;
        }
        came.elapsed()
    });
    let told = told.await.ok();
    stage.until(away).await;
    stage.tracker_returns().await?;
    let back = Instant::now();
    // Ten who were there before, and the newcomer.
    let registered = timeout(REGISTERED * 2, async {
        while stage.registered().await != Some(11) {
            sleep(Duration::from_millis(50)).await;
        }
        back.elapsed()
    });
    let registered = registered.await.ok();
    let newcomer = stage.viewers.last_mut().context("one came")?;
    let plays = newcomer.plays(REGISTERED).await.is_ok();
    let plays = plays.then(|| back.elapsed());
    stage.until(away + after).await;
    let ms = |span: Duration| span.as_millis() as u64;
    Ok(TrackerReport {
        aftermath: stage.ends().await?,
        told_ms: told.map(ms),
        registered_ms: registered.map(ms),
        newcomer_plays_ms: plays.map(ms),
    })
}

/// One of so many seeders is killed, and comes back after `away`, if that is told.
///
/// # Errors
/// When something does not run; what is merely bad is in the report.
pub async fn seeder(seeders: usize, away: Option<Duration>, after: Duration) -> Result<Aftermath> {
    ensure!(seeders > 0, "no seeder to kill");
    let mut stage = Stage::set(Cast {
        seeders,
        ..Cast::dozen(after)
    })
    .await?;
    stage.story_begins().await?;
    stage.seeder_dies(0).await?;
    if let Some(away) = away {
        stage.until(away).await;
        stage.seeder_returns(0).await?;
    }
    stage.until(after).await;
    stage.ends().await
}

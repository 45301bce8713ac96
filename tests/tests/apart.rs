//! The tracker and the seeders as processes of their own: each dies, and the swarm goes on.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::scenario::apart;

#[tokio::test]
async fn the_tracker_is_away_and_viewers_die_meanwhile() -> Result<()> {
    let report = apart::tracker(Duration::from_secs(12), Duration::from_secs(6)).await?;
    for survivor in &report.aftermath.survivors {
        ensure!(survivor.stalls == 0, "{survivor:?}");
        ensure!(survivor.inexact.is_none(), "{survivor:?}");
    }
    ensure!(report.told_ms.is_some_and(|ms| ms <= 2000), "{report:?}");
    ensure!(
        report.registered_ms.is_some_and(|ms| ms <= 10_000),
        "{report:?}"
    );
    ensure!(report.newcomer_plays_ms.is_some(), "{report:?}");
    Ok(())
}

#[tokio::test]
async fn the_only_seeder_dies_and_comes_back() -> Result<()> {
    let back = Some(Duration::from_millis(1500));
    let aftermath = apart::seeder(1, back, Duration::from_secs(10)).await?;
    for survivor in &aftermath.survivors {
        ensure!(survivor.stalls <= 1, "{survivor:?}");
        ensure!(survivor.stall_ms <= 2000, "{survivor:?}");
    }
    Ok(())
}

#[tokio::test]
async fn one_of_two_seeders_dies_and_nobody_notices() -> Result<()> {
    let aftermath = apart::seeder(2, None, Duration::from_secs(10)).await?;
    for survivor in &aftermath.survivors {
        ensure!(survivor.stalls == 0, "{survivor:?}");
        ensure!(survivor.inexact.is_none(), "{survivor:?}");
    }
    Ok(())
}

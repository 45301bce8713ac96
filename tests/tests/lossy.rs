//! A broadcast on a network that loses frames: nobody notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{
    network,
    scenario::lossy::{self, Plan},
    weather::Weather,
};

#[tokio::test]
async fn four_viewers_lose_two_of_a_hundred_frames_and_nothing_else() -> Result<()> {
    nobody_notices(Duration::ZERO).await
}

#[tokio::test]
async fn nor_when_they_are_farther_apart() -> Result<()> {
    nobody_notices(Duration::from_millis(20)).await
}

async fn nobody_notices(delay: Duration) -> Result<()> {
    if !network::is_possible() {
        eprintln!("left out: a network of namespaces takes root");
        return Ok(());
    }
    let report = lossy::run(Plan {
        viewers: 4,
        weather: Weather {
            loss: 0.02,
            delay,
            ..Weather::calm()
        },
        lasts: Duration::from_secs(12),
    })
    .await?;
    ensure!(report.survivors.len() == 4, "{report:?}");
    let rows = report.rows(None);
    ensure!(rows.iter().any(|row| row.held == Some(true)), "{report:#?}");
    for row in rows {
        ensure!(row.held != Some(false), "{row:?} {report:#?}");
    }
    let weather = report.weather.context("there was weather")?;
    let part = weather.lost as f64 / (weather.lost + weather.forwarded) as f64;
    ensure!((0.015..0.025).contains(&part), "{weather:?}");
    Ok(())
}

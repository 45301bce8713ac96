//! Broadcasters who vanish, and come back or do not.

use std::time::{Duration, Instant};

use anyhow::Result;
use stripe::Flags;

use crate::stage::{
    Generation, KEY, Stage, USUAL, assert_decodes, ffmpeg, in_real_time, write_out,
};

fn ended_with(flag: Flags) -> impl Fn(&[Generation]) -> bool {
    move |generations| generations.last().is_some_and(|last| last.has(flag))
}

#[tokio::test]
async fn a_killed_broadcaster_returns_within_the_window() -> Result<()> {
    let stage = Stage::new(Duration::from_secs(60)).await?;
    let url = stage.publish_url(KEY);
    let push = || in_real_time(30.0, USUAL, &["-f", "flv", &url]).spawn();

    let mut first = push()?;
    stage.until("ten generations", |g| g.len() >= 10).await?;
    first.kill().await?;
    let killed = Instant::now();
    let before = stage.until("the pause", ended_with(Flags::PAUSE)).await?;
    assert!(killed.elapsed() < Duration::from_secs(1));

    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = push()?;
    let more = before.len() + 10;
    let all = stage.until("ten more", move |g| g.len() >= more).await?;
    second.kill().await?;

    let resumed = &all[before.len()];
    assert!(resumed.has(Flags::RESUME.with(Flags::KEYFRAME)));
    assert_eq!(resumed.epoch, before[0].epoch);
    for (index, generation) in all.iter().enumerate() {
        assert_eq!(generation.meta.sequence, index as u64);
        assert_eq!(generation.has(Flags::RESUME), index == before.len());
    }
    let times: Vec<u64> = all.iter().map(|g| g.meta.media_time_us).collect();
    assert!(times.is_sorted(), "{times:?}");
    let folder = tempfile::tempdir()?;
    let came = folder.path().join("came.mp4");
    write_out(&all, &came)?;
    assert_decodes(&came).await
}

#[tokio::test]
async fn a_broadcast_ends_when_nobody_returns_and_the_next_is_a_new_epoch() -> Result<()> {
    let window = Duration::from_secs(2);
    let stage = Stage::new(window).await?;
    let url = stage.publish_url(KEY);
    let push = || ffmpeg(1.0, USUAL, &["-f", "flv", &url]);
    assert!(push().status().await?.success());
    let paused = stage.until("the pause", ended_with(Flags::PAUSE)).await?;
    let since = Instant::now();
    let all = stage.until("the end", ended_with(Flags::END)).await?;
    assert!(since.elapsed() + Duration::from_millis(300) > window);
    assert_eq!(all.len(), paused.len() + 1);
    assert_eq!(all[paused.len()].body, stripe::Body::default());

    assert!(push().status().await?.success());
    let all = stage
        .until("the next pause", ended_with(Flags::PAUSE))
        .await?;
    let next = &all[paused.len() + 1];
    assert!(next.epoch > all[0].epoch);
    assert_eq!((next.meta.sequence, next.meta.media_time_us), (0, 0));
    assert!(!next.has(Flags::RESUME));
    Ok(())
}

#[tokio::test]
async fn stamps_are_of_this_clock_and_generations_come_promptly() -> Result<()> {
    let stage = Stage::new(Duration::from_secs(60)).await?;
    let url = stage.publish_url(KEY);
    let mut pushing = in_real_time(30.0, USUAL, &["-f", "flv", &url]).spawn()?;
    stage.until("five generations", |g| g.len() >= 5).await?;
    let all = stage.until("five more", |g| g.len() >= 10).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    pushing.kill().await?;
    let age_us = now.as_micros() as u64 - all[all.len() - 1].meta.ingest_stamp_us;
    assert!(age_us < 1_000_000, "{age_us}");
    Ok(())
}

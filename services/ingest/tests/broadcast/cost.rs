//! What a publisher costs. Takes its time, so it runs when asked for:
//! `cargo test -p ingest --test broadcast -- --ignored --nocapture`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process;

use crate::stage::{KEY, Stage, USUAL, ffmpeg};

const SECONDS: u64 = 20;

#[tokio::test]
#[ignore = "measures for 20 s"]
async fn a_publisher_of_3_mbit_costs_ingest_less_than_1_percent_of_a_core() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clip = folder.path().join("clip.flv");
    let clip = clip.to_str().context("a path")?;
    let cbr = ["-minrate", "3M", "-maxrate", "3M", "-bufsize", "3M"];
    let codecs = [USUAL, &cbr, &["-x264-params", "nal-hrd=cbr"]].concat();
    let made = ffmpeg(SECONDS as f32, &codecs, &["-f", "flv", clip])
        .status()
        .await?;
    ensure!(made.success());

    let (stage, thread) = Stage::with_ingest_on_a_thread().await?;
    let before = on_cpu(&thread)?;
    let pushed = process::Command::new("ffmpeg")
        .args([
            "-v", "error", "-nostdin", "-re", "-i", clip, "-c", "copy", "-f", "flv",
        ])
        .arg(stage.publish_url(KEY))
        .status()
        .await?;
    ensure!(pushed.success());
    let share = (on_cpu(&thread)? - before).as_secs_f64() / SECONDS as f64;
    let bytes = std::fs::metadata(clip)?.len();
    let mbit = bytes as f64 * 8.0 / SECONDS as f64 / 1e6;
    eprintln!(
        "{mbit:.2} Mbit/s cost ingest {:.2} % of a core",
        share * 100.0
    );
    ensure!(share < 0.01, "{share}");
    Ok(())
}

/// How long a thread of ours has run; `/proc` counts it in nanoseconds.
fn on_cpu(thread: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{thread}/schedstat"))?;
    let ns = stat.split(' ').next().context("no time")?;
    Ok(Duration::from_nanos(ns.parse()?))
}

//! What comes out is what went in.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stripe::Flags;
use tokio::process;

use crate::stage::{Generation, Stage, USUAL, assert_decodes, ffmpeg, write_out};

/// A packet as ffprobe sees it.
#[derive(Debug)]
struct Packet {
    hash: String,
    pts: f64,
    dts: f64,
}

#[tokio::test]
async fn a_broadcast_in_real_time_arrives_exactly() -> Result<()> {
    push_and_compare(10.0, &["-re"], USUAL).await
}

#[tokio::test]
async fn a_broadcast_pushed_as_fast_as_it_goes_arrives_exactly() -> Result<()> {
    push_and_compare(6.0, &[], USUAL).await
}

#[tokio::test]
async fn a_broadcast_without_b_frames_at_48_khz_arrives_exactly() -> Result<()> {
    let codecs = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-pix_fmt",
        "yuv420p",
        "-r",
        "25",
        "-g",
        "50",
        "-c:a",
        "aac",
        "-ar",
        "48000",
        "-flags",
        "+global_header",
    ];
    push_and_compare(4.0, &[], &codecs).await
}

#[tokio::test]
async fn a_broadcast_without_sound_arrives_exactly() -> Result<()> {
    let codecs = [
        "-an",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-flags",
        "+global_header",
    ];
    push_and_compare(3.0, &[], &codecs).await
}

#[tokio::test]
async fn a_broadcast_without_pictures_arrives_exactly() -> Result<()> {
    let codecs = ["-vn", "-c:a", "aac", "-flags", "+global_header"];
    push_and_compare(6.0, &[], &codecs).await
}

async fn push_and_compare(seconds: f32, pace: &[&str], codecs: &[&str]) -> Result<()> {
    let stage = Stage::new(Duration::from_secs(60)).await?;
    let folder = tempfile::tempdir()?;
    let sent = folder.path().join("sent.flv");
    let came = folder.path().join("came.mp4");
    let tee = format!(
        "[f=flv]{}|[f=flv]{}",
        stage.publish_url(crate::stage::KEY),
        sent.display()
    );
    let codecs: Vec<&str> = ["-map", "0:v", "-map", "1:a"]
        .iter()
        .chain(codecs)
        .copied()
        .collect();
    let mut pushing = ffmpeg(seconds, &codecs, &["-f", "tee", &tee]);
    if !pace.is_empty() {
        // Reading at native speed is an option of the inputs.
        pushing = paced(seconds, &codecs, &tee);
    }
    let output = pushing.output().await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let paused = |generations: &[Generation]| {
        generations
            .last()
            .is_some_and(|last| last.has(Flags::PAUSE))
    };
    let generations = stage.until("the pause", paused).await?;
    assert_in_order(&generations)?;
    write_out(&generations, &came)?;
    assert_decodes(&came).await?;
    for kind in ["v", "a"] {
        compare(&packets(&sent, kind).await?, &packets(&came, kind).await?)
            .with_context(|| format!("stream {kind}"))?;
    }
    compare_sync(&sent, &came).await
}

fn paced(seconds: f32, codecs: &[&str], tee: &str) -> process::Command {
    let mut command = process::Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-y"])
        .args(["-re", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"])
        .args([
            "-re",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=44100",
        ])
        .args(["-t", &seconds.to_string()])
        .args(codecs)
        .args(["-f", "tee", tee])
        .kill_on_drop(true);
    command
}

fn assert_in_order(generations: &[Generation]) -> Result<()> {
    let first = generations.first().context("no generations")?;
    ensure!(first.has(Flags::KEYFRAME) && !first.has(Flags::RESUME));
    for (index, generation) in generations.iter().enumerate() {
        ensure!(generation.meta.sequence == index as u64, "a gap at {index}");
        ensure!(generation.has(Flags::KEYFRAME) == generation.body.init.is_some());
    }
    Ok(())
}

fn compare(sent: &[Packet], came: &[Packet]) -> Result<()> {
    ensure!(
        sent.len() == came.len(),
        "{} sent, {} came",
        sent.len(),
        came.len()
    );
    let Some((first_sent, first_came)) = sent.first().zip(came.first()) else {
        return Ok(());
    };
    let offset = first_came.dts - first_sent.dts;
    for (index, (sent, came)) in sent.iter().zip(came).enumerate() {
        ensure!(sent.hash == came.hash, "packet {index} differs");
        let near = |a: f64, b: f64| (a + offset - b).abs() <= 0.002;
        ensure!(near(sent.pts, came.pts), "pts {index}: {sent:?} {came:?}");
        ensure!(near(sent.dts, came.dts), "dts {index}: {sent:?} {came:?}");
    }
    Ok(())
}

/// Sound against picture: both streams moved by the same offset.
async fn compare_sync(sent: &Path, came: &Path) -> Result<()> {
    let mut offsets = Vec::new();
    for kind in ["v", "a"] {
        let (sent, came) = (packets(sent, kind).await?, packets(came, kind).await?);
        offsets.extend(sent.first().zip(came.first()).map(|(s, c)| c.dts - s.dts));
    }
    let apart = offsets
        .iter()
        .fold(0.0, |apart: f64, o| apart.max((o - offsets[0]).abs()));
    ensure!(apart <= 0.002, "sound and picture moved apart: {offsets:?}");
    Ok(())
}

async fn packets(path: &Path, kind: &str) -> Result<Vec<Packet>> {
    let output = process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", kind, "-show_packets"])
        .args(["-show_data_hash", "md5", "-of", "json"])
        .arg(path)
        .output()
        .await?;
    let probed: Value = serde_json::from_slice(&output.stdout)?;
    let packets = probed["packets"].as_array().cloned().unwrap_or_default();
    let time = |packet: &Value, field: &str| -> Result<f64> {
        Ok(packet[field].as_str().context("no time")?.parse()?)
    };
    packets
        .iter()
        .map(|packet| {
            Ok(Packet {
                hash: packet["data_hash"].as_str().context("no hash")?.to_owned(),
                pts: time(packet, "pts_time")?,
                dts: time(packet, "dts_time")?,
            })
        })
        .collect()
}

//! What comes out is what went in.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stripe::Flags;
use tokio::process;

use crate::stage::{
    Generation, KEY, Stage, USUAL, assert_decodes, ffmpeg, in_real_time, write_out,
};

/// A packet as ffprobe sees it.
#[derive(Debug)]
struct Packet {
    hash: String,
    pts: f64,
    dts: f64,
}

#[tokio::test]
async fn a_broadcast_in_real_time_arrives_exactly() -> Result<()> {
    push_and_compare(&in_real_time, 10.0, USUAL).await
}

#[tokio::test]
async fn a_broadcast_pushed_as_fast_as_it_goes_arrives_exactly() -> Result<()> {
    push_and_compare(&ffmpeg, 6.0, USUAL).await
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
    push_and_compare(&ffmpeg, 4.0, &codecs).await
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
    push_and_compare(&ffmpeg, 3.0, &codecs).await
}

#[tokio::test]
async fn a_broadcast_without_pictures_arrives_exactly() -> Result<()> {
    let codecs = ["-vn", "-c:a", "aac", "-flags", "+global_header"];
    push_and_compare(&ffmpeg, 6.0, &codecs).await
}

type Push = dyn Fn(f32, &[&str], &[&str]) -> process::Command;

async fn push_and_compare(push: &Push, seconds: f32, codecs: &[&str]) -> Result<()> {
    let stage = Stage::new(Duration::from_secs(60)).await?;
    let folder = tempfile::tempdir()?;
    let sent = folder.path().join("sent.flv");
    let came = folder.path().join("came.mp4");
    let url = stage.publish_url(KEY);
    let tee = format!("[f=flv]{url}|[f=flv]{}", sent.display());
    let codecs: Vec<&str> = ["-map", "0:v", "-map", "1:a"]
        .iter()
        .chain(codecs)
        .copied()
        .collect();
    let pushed = push(seconds, &codecs, &["-f", "tee", &tee])
        .output()
        .await?;
    ensure!(
        pushed.status.success(),
        "{}",
        String::from_utf8_lossy(&pushed.stderr)
    );

    let paused = |all: &[Generation]| all.last().is_some_and(|last| last.has(Flags::PAUSE));
    let generations = stage.until("the pause", paused).await?;
    assert_in_order(&generations)?;
    write_out(&generations, &came)?;
    assert_decodes(&came).await?;
    let mut offsets = Vec::new();
    for kind in ["v", "a"] {
        let (sent, came) = (packets(&sent, kind).await?, packets(&came, kind).await?);
        compare(&sent, &came).with_context(|| format!("stream {kind}"))?;
        offsets.extend(sent.first().zip(came.first()).map(|(s, c)| c.dts - s.dts));
    }
    let first = offsets.first().context("nothing was sent")?;
    let together = offsets.iter().all(|offset| (offset - first).abs() <= 0.002);
    ensure!(together, "sound and picture moved apart: {offsets:?}");
    Ok(())
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

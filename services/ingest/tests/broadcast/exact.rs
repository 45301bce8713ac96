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
pub(crate) struct Packet {
    hash: String,
    pts: f64,
    pub(crate) dts: f64,
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
async fn a_broadcast_whose_stamps_outgrow_24_bits_arrives_exactly() -> Result<()> {
    // 16,777.216 s is where RTMP's timestamps become extended.
    let codecs = [USUAL, &["-output_ts_offset", "16775"]].concat();
    push_and_compare(&ffmpeg, 5.0, &codecs).await
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

#[tokio::test]
async fn the_comparison_notices_damage() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sent = folder.path().join("sent.flv");
    let generations = push(&ffmpeg, 2.0, USUAL, &sent).await?;
    let whole = [
        without_the_end(&generations),
        with_a_bit_flipped(&generations),
        with_sound_late(&generations),
    ];
    for (kind, damaged) in whole.iter().enumerate() {
        let came = folder.path().join("came.mp4");
        write_out(damaged, &came)?;
        ensure!(
            compare_files(&sent, &came).await.is_err(),
            "damage {kind} went unnoticed"
        );
    }
    let came = folder.path().join("came.mp4");
    write_out(&generations, &came)?;
    compare_files(&sent, &came).await
}

fn without_the_end(generations: &[Generation]) -> Vec<Generation> {
    let end = generations.iter().rposition(|g| !g.body.media.is_empty());
    generations[..end.unwrap_or_default()].to_vec()
}

fn with_a_bit_flipped(generations: &[Generation]) -> Vec<Generation> {
    let mut damaged = generations.to_vec();
    let mut media = damaged[3].body.media.to_vec();
    if let Some(last) = media.last_mut() {
        *last ^= 1;
    }
    damaged[3].body.media = media.into();
    damaged
}

/// Moves all sound by 5 ms.
fn with_sound_late(generations: &[Generation]) -> Vec<Generation> {
    let mut damaged = generations.to_vec();
    for generation in &mut damaged {
        let mut media = generation.body.media.to_vec();
        for at in 8..media.len().saturating_sub(16) {
            // The track's number ends where the box of its decode time begins.
            if &media[at..at + 4] == b"tfdt" && media[at - 8..at - 4] == [0, 0, 0, 2] {
                let time = &mut media[at + 8..at + 16];
                let later = u64::from_be_bytes(time.try_into().expect("8 bytes")) + 221;
                time.copy_from_slice(&later.to_be_bytes());
            }
        }
        generation.body.media = media.into();
    }
    damaged
}

type Push = dyn Fn(f32, &[&str], &[&str]) -> process::Command;

async fn push_and_compare(command: &Push, seconds: f32, codecs: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sent = folder.path().join("sent.flv");
    let came = folder.path().join("came.mp4");
    let generations = push(command, seconds, codecs, &sent).await?;
    assert_in_order(&generations)?;
    write_out(&generations, &came)?;
    assert_decodes(&came).await?;
    compare_files(&sent, &came).await
}

/// Pushes to a stage and, in the same breath, to a file.
async fn push(
    command: &Push,
    seconds: f32,
    codecs: &[&str],
    sent: &Path,
) -> Result<Vec<Generation>> {
    let stage = Stage::new(Duration::from_secs(60)).await?;
    let url = stage.publish_url(KEY);
    let tee = format!("[f=flv]{url}|[f=flv]{}", sent.display());
    let inputs = ["-map", "0:v", "-map", "1:a"];
    let codecs: Vec<&str> = inputs.iter().chain(codecs).copied().collect();
    let pushed = command(seconds, &codecs, &["-f", "tee", &tee])
        .output()
        .await?;
    ensure!(
        pushed.status.success(),
        "{}",
        String::from_utf8_lossy(&pushed.stderr)
    );
    let paused = |all: &[Generation]| all.last().is_some_and(|last| last.has(Flags::PAUSE));
    stage.until("the pause", paused).await
}

async fn compare_files(sent: &Path, came: &Path) -> Result<()> {
    let mut offsets = Vec::new();
    for kind in ["v", "a"] {
        let (sent, came) = (packets(sent, kind).await?, packets(came, kind).await?);
        compare(&sent, &came).with_context(|| format!("stream {kind}"))?;
        offsets.extend(sent.first().zip(came.first()).map(|(s, c)| c.dts - s.dts));
    }
    let first = offsets.first().context("nothing was sent")?;
    let together = offsets.iter().all(|offset| (offset - first).abs() <= 0.002);
    ensure!(together, "sound and picture moved apart: {offsets:?}");
    Ok(())
}

/// As [`compare_files`], where of so much at the end some may be missing.
pub(crate) async fn compare_beginnings(sent: &Path, came: &Path, end: Duration) -> Result<()> {
    let mut offsets = Vec::new();
    for kind in ["v", "a"] {
        let (sent, came) = (packets(sent, kind).await?, packets(came, kind).await?);
        let (first, last) = sent.first().zip(sent.last()).context("nothing was sent")?;
        let sure_until = last.dts - end.as_secs_f64();
        let sure = sent.iter().take_while(|p| p.dts < sure_until).count();
        let beginning = came.get(..sure).context("too little came")?;
        compare(&sent[..sure], beginning).with_context(|| format!("stream {kind}"))?;
        let mut rest = sent[sure..].iter();
        let was_sent = |packet: &Packet| rest.any(|sent| sent.hash == packet.hash);
        ensure!(came[sure..].iter().all(was_sent), "stream {kind}: the end");
        offsets.push(beginning.first().map_or(0.0, |came| came.dts) - first.dts);
    }
    let apart = (offsets[0] - offsets[1]).abs();
    ensure!(apart <= 0.002, "sound and picture moved apart: {offsets:?}");
    Ok(())
}

pub(crate) fn assert_in_order(generations: &[Generation]) -> Result<()> {
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

pub(crate) async fn packets(path: &Path, kind: &str) -> Result<Vec<Packet>> {
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

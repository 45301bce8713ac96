//! What comes by SRT is what was sent, but for what the caller itself keeps back at its end:
//! libsrt gives up what it has not sent yet when it is closed.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use ingest::srt::{Options, Passphrase};
use stripe::Flags;
use tokio::process;

use crate::{
    exact::{assert_in_order, compare_beginnings, packets},
    stage::{
        Generation, KEY, Stage, USUAL, assert_decodes, in_real_time,
        relay::{Line, Relay},
        write_out,
    },
};

/// The most that may be missing at the end.
const WITHHELD: Duration = Duration::from_millis(700);

/// ffmpeg takes the stream id as it stands, without decoding anything.
fn url(listener: SocketAddr, stream_id: &str) -> String {
    format!("srt://{listener}?streamid={stream_id}")
}

/// Pushes to a listener and, in the same breath, to a file.
fn push(seconds: f32, codecs: &[&str], url: &str, sent: &Path) -> process::Command {
    let tee = format!("[f=mpegts]{url}|[f=flv]{}", sent.display());
    let inputs = ["-map", "0:v", "-map", "1:a"];
    let codecs: Vec<&str> = inputs.iter().chain(codecs).copied().collect();
    in_real_time(seconds, &codecs, &["-f", "tee", &tee])
}

fn paused(generations: &[Generation]) -> bool {
    generations
        .last()
        .is_some_and(|last| last.has(Flags::PAUSE))
}

async fn stage(options: Options) -> Result<Stage> {
    Stage::with_srt(Duration::from_secs(60), ingest::Limits::default(), options).await
}

async fn push_and_compare(
    codecs: &[&str],
    options: Options,
    query: &str,
    line: Line,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sent = folder.path().join("sent.flv");
    let came = folder.path().join("came.mp4");
    let stage = stage(options).await?;
    let relay = Relay::new(stage.srt, line).await?;
    let url = url(relay.address, &format!("publish:{KEY}")) + query;
    ensure!(push(6.0, codecs, &url, &sent).status().await?.success());
    let generations = stage.until("the pause", paused).await?;
    assert_in_order(&generations)?;
    write_out(&generations, &came)?;
    assert_decodes(&came).await?;
    compare_beginnings(&sent, &came, WITHHELD).await
}

#[tokio::test]
async fn a_broadcast_by_srt_arrives_exactly() -> Result<()> {
    push_and_compare(USUAL, Options::default(), "", Line::GOOD).await
}

#[tokio::test]
async fn an_encrypted_broadcast_arrives_exactly() -> Result<()> {
    let passphrase = "a secret of some words".to_owned();
    let options = Options {
        passphrase: Some(Passphrase::new(passphrase)?),
        ..Options::default()
    };
    let query = "&passphrase=a+secret+of+some+words&pbkeylen=32";
    push_and_compare(USUAL, options, query, Line::GOOD).await
}

#[tokio::test]
async fn what_5_percent_of_loss_at_40_ms_take_is_sent_again() -> Result<()> {
    let line = Line {
        delay: Duration::from_millis(20),
        loss_one_in: 20,
        ..Line::GOOD
    };
    // Time for a packet to be asked for again and again, also where the machine is busy.
    let options = Options {
        latency: Duration::from_secs(4),
        ..Options::default()
    };
    push_and_compare(USUAL, options, "", line).await
}

#[tokio::test]
async fn each_form_of_stream_id_is_taken() -> Result<()> {
    for form in ["#!::r=live/KEY,m=publish", "publish:KEY", "KEY"] {
        let stage = stage(Options::default()).await?;
        let url = url(stage.srt, &form.replace("KEY", KEY));
        let mut pushing = in_real_time(20.0, USUAL, &["-f", "mpegts", &url]).spawn()?;
        stage.until(form, |g| g.len() > 2).await?;
        pushing.kill().await?;
    }
    Ok(())
}

#[tokio::test]
async fn after_what_is_lost_for_good_it_goes_on_with_a_keyframe() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let came = folder.path().join("came.mp4");
    let stage = stage(Options::default()).await?;
    // Of the second GOP, since a second has some 300 packets.
    let line = Line {
        never: 750..753,
        ..Line::GOOD
    };
    let relay = Relay::new(stage.srt, line).await?;
    let url = url(relay.address, KEY);
    let pushed = in_real_time(8.0, USUAL, &["-f", "mpegts", &url]).status();
    ensure!(pushed.await?.success());
    let generations = stage.until("the pause", paused).await?;
    write_out(&generations, &came)?;
    assert_decodes(&came).await?;
    let times: Vec<f64> = packets(&came, "v").await?.iter().map(|p| p.dts).collect();
    let gap = times.windows(2).find(|pair| pair[1] - pair[0] > 0.1);
    let resumed = gap.map(|pair| pair[1]);
    // There is a keyframe every two seconds.
    let at_keyframe = resumed.is_some_and(|at| (at - 4.0).abs() < 0.05);
    ensure!(at_keyframe, "it went on at {resumed:?}");
    let last = times.last().copied().unwrap_or_default();
    ensure!(last > 6.5, "it ended at {last} s");
    Ok(())
}

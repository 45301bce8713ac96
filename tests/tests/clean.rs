//! A liar among honest viewers: nothing it altered is played, and each time it is cut.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tests::{
    broadcast::{Broadcast, Content},
    exact::{self, Media},
    process::Process,
    station::Standalone,
    viewer::Viewer,
};
use tokio::{process::Command, time::sleep};

const HONEST: usize = 6;
/// Every cut must come this soon after the first altered piece was sent.
const SOON_MS: u64 = 1000;
const PLAYS: Duration = Duration::from_secs(20);
/// The play-out delay twice.
const PLAYED_OUT: Duration = Duration::from_secs(4);

/// What the liar did under one name.
#[derive(Debug, Deserialize)]
struct Life {
    peer: String,
    children: Vec<Child>,
}

#[derive(Debug, Deserialize)]
struct Child {
    child: String,
    altered: u64,
    cut_ms: Option<u64>,
}

/// `LIVESTATION_SECONDS=60` is the run that has to alter a hundred pieces.
#[tokio::test]
async fn nothing_altered_is_played_and_the_liar_is_cut() -> Result<()> {
    let seconds: u32 = match std::env::var("LIVESTATION_SECONDS") {
        Ok(seconds) => seconds.parse()?,
        Err(_) => 25,
    };
    // The rates leave the liar enough to carry, and the others enough to do without it.
    let station = Standalone::start(&["--seeder-upload-max", "2.5Mbps"]).await?;
    let mut broadcast = Broadcast::push(&station, Content::new(seconds).of_rate(1_000_000))?;
    let mut honest = Vec::new();
    for number in 1..=HONEST {
        let name = format!("honest-{number}");
        honest.push(Viewer::start(
            &station,
            &name,
            &["--upload-max", "1.2Mbps"],
        )?);
    }
    for viewer in &mut honest {
        viewer.plays(PLAYS).await?;
    }
    let (mut liar, lives) = start_liar(&station)?;
    broadcast.ends().await?;
    liar.stop(Duration::from_secs(2)).await?;
    sleep(PLAYED_OUT).await;

    let lives = read(&lives)?;
    let sent = Media::of(&broadcast.sent).await?;
    let liars: BTreeSet<String> = lives.iter().map(|life| life.peer.clone()).collect();
    let mut rejected = 0;
    for viewer in &mut honest {
        let figures = viewer.stop().await?;
        let clean = judge(viewer, &sent, figures.stalls);
        clean.await.with_context(|| viewer.name.clone())?;
        rejected += figures.rejected_pieces;
        let others = figures.cut.iter().find(|cut| !liars.contains(*cut));
        ensure!(others.is_none(), "{} cut {others:?}", viewer.name);
    }
    station.stop().await?;
    judge_lives(&lives, rejected, seconds)
}

fn start_liar(station: &Standalone) -> Result<(Process, PathBuf)> {
    let lives = station.file("lives.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_liar"));
    command.arg(&station.ready.watch).arg(&lives);
    let process = Process::start(station.folder(), "liar", &mut command)?;
    Ok((process, lives))
}

fn read(lives: &Path) -> Result<Vec<Life>> {
    let text = std::fs::read_to_string(lives).context("the liar did nothing")?;
    let lives = text.lines().map(serde_json::from_str);
    Ok(lives.collect::<Result<_, _>>()?)
}

/// All that a viewer wrote is the broadcaster's, in order; and if it never stood, nothing is
/// missing.
async fn judge(viewer: &Viewer, sent: &Media, stalls: u64) -> Result<()> {
    let came = Media::of(&viewer.out).await?;
    exact::only(sent, &came)?;
    exact::decodes(&viewer.out).await?;
    if stalls == 0 {
        exact::compare(sent, &came)?;
    }
    Ok(())
}

fn judge_lives(lives: &[Life], rejected: u64, seconds: u32) -> Result<()> {
    let children = || lives.iter().flat_map(|life| &life.children);
    let altered: u64 = children().map(|child| child.altered).sum();
    let slowest = children().filter_map(|child| child.cut_ms).max();
    let many = lives.iter().filter(|life| life.children.len() >= 3).count();
    eprintln!(
        "{} names, {many} of them with three children or more; {altered} pieces altered, \
         {rejected} rejected; the slowest cut after {slowest:?} ms",
        lives.len()
    );
    for child in children() {
        let soon = child.cut_ms.is_some_and(|ms| ms <= SOON_MS);
        ensure!(soon, "{} was cut late or never: {child:?}", child.child);
    }
    ensure!(rejected >= 1, "nobody noticed anything");
    ensure!(many >= 1, "the liar never had three children");
    let enough = u64::from(seconds * 2).min(100);
    ensure!(altered >= enough, "the liar altered {altered} pieces");
    Ok(())
}

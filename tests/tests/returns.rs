//! Broadcasters that go and come back, and those who are turned away.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{
    broadcast::{Broadcast, Content},
    http,
    station::Standalone,
    viewer::Viewer,
};
use tokio::time::sleep;

const PLAYS: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn viewers_outlast_a_broadcaster_that_returns() -> Result<()> {
    let station = Standalone::start(&[]).await?;
    let killed = Broadcast::push(&station, Content::new(60))?;
    let mut viewers = ["one", "two"]
        .map(|name| Viewer::start(&station, name, &[]))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for viewer in &mut viewers {
        viewer.plays(PLAYS).await?;
    }
    sleep(Duration::from_secs(3)).await;
    killed.process.signal("KILL").await?;
    let away = sleep(Duration::from_secs(5));
    let mut played = Vec::new();
    for viewer in &mut viewers {
        let waiting = viewer.until(SOON, |now| now.state == "waiting").await?;
        played.push(waiting.generations.played);
    }
    away.await;

    let mut back = Broadcast::push(&station, Content::new(6))?;
    for (viewer, before) in viewers.iter_mut().zip(played) {
        let goes_on = |now: &tests::figures::Figures| {
            now.state == "playing" && now.generations.played > before + 10
        };
        let now = viewer.until(SOON, goes_on).await?;
        ensure!(now.stalls == 0, "{}: {now:?}", viewer.name);
    }
    back.ends().await?;
    for viewer in &mut viewers {
        viewer.until(SOON, |now| now.state == "waiting").await?;
        viewer.stop().await?;
    }
    station.stop().await
}

#[tokio::test]
async fn a_viewer_that_is_told_to_end_leaves_a_whole_file() -> Result<()> {
    let station = Standalone::start(&[]).await?;
    let mut waits = Viewer::start(&station, "waits", &[])?;
    waits.until(SOON, |now| now.state == "waiting").await?;
    waits.stop().await?;

    let broadcast = Broadcast::push(&station, Content::new(60))?;
    let mut plays = Viewer::start(&station, "plays", &[])?;
    plays.plays(PLAYS).await?;
    sleep(Duration::from_secs(2)).await;
    plays.stop().await?;
    tests::exact::decodes(&plays.out).await?;
    drop(broadcast);
    station.stop().await
}

#[tokio::test]
async fn who_may_not_or_cannot_watch_is_told_by_the_exit_code() -> Result<()> {
    let station = Standalone::start(&[]).await?;
    let nobody = format!("{}/nobody", station.ready.http);
    let forged = format!("{}?ticket={}", station.ready.watch, forged(&station).await?);
    let cases = [
        (nobody.as_str(), "3s", 3, "no channel \"nobody\""),
        (&forged, "3s", 4, "ticket is refused"),
        (
            &station.ready.watch,
            "3s",
            5,
            "nothing played within --wait",
        ),
    ];
    for (url, wait, code, said) in cases {
        let name = format!("exits-{code}");
        let mut viewer = Viewer::start_at(&station, url, &name, &["--wait", wait])?;
        let ended = viewer.process.wait(SOON).await?;
        let log = viewer.process.said();
        ensure!(ended == code, "{url}: {ended}\n{log}");
        ensure!(log.contains(said), "{log}");
    }
    station.stop().await
}

/// A ticket with one letter of its signature changed.
async fn forged(station: &Standalone) -> Result<String> {
    let url = format!("{}/api/v1/channels/demo/ticket", station.ready.http);
    let reply = http::json("POST", &url).await?;
    let mut ticket = reply["ticket"].as_str().context("no ticket")?.to_owned();
    let place = ticket.len() - 10;
    let other = if &ticket[place..=place] == "A" {
        "B"
    } else {
        "A"
    };
    ticket.replace_range(place..=place, other);
    Ok(ticket)
}

#[tokio::test]
async fn a_wrong_key_and_a_second_publisher_are_refused() -> Result<()> {
    let station = Standalone::start(&[]).await?;
    let key = station.ready.stream_key.clone();
    let wrong = "0".repeat(key.len());
    let mut wrong = Broadcast::try_key(&station, &wrong, Content::new(30))?;
    let code = wrong.process.wait(SOON).await?;
    let (log, ffmpeg) = (station.said(), wrong.process.said());
    ensure!(
        code != 0 && ffmpeg.contains("not valid"),
        "{code}: {ffmpeg}"
    );
    ensure!(log.matches("wrong stream key").count() == 1, "{log}");

    let mut first = Broadcast::push(&station, Content::new(8))?;
    let mut viewer = Viewer::start(&station, "viewer", &[])?;
    viewer.plays(PLAYS).await?;
    let mut second = Broadcast::try_key(&station, &key, Content::new(30))?;
    let code = second.process.wait(SOON).await?;
    let ffmpeg = second.process.said();
    ensure!(code != 0 && ffmpeg.contains("live"), "{code}: {ffmpeg}");
    first.ends().await?;
    ensure!(viewer.stop().await?.stalls == 0);
    station.stop().await
}

//! A station whose services are all processes of their own, which find each other by accounts
//! and know each other by certificates; real broadcasters, a real viewer, and services that die
//! in between.

mod broadcaster;
mod collector;
#[path = "../tls/programs.rs"]
mod programs;
#[path = "../../../services/accounts/tests/accounts/server.rs"]
#[expect(dead_code, reason = "this test uses a part")]
mod server;
mod station;
mod viewer;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{broadcaster::Broadcaster, station::Station, viewer::Viewer};

const PLAYS: Duration = Duration::from_secs(20);
/// A drain at its longest.
const DRAINS: Duration = Duration::from_secs(20);
/// Five generations a second.
const FIVE_SECONDS: u64 = 25;

#[tokio::test]
async fn by_rtmp_a_broadcast_outlives_its_encoders() -> Result<()> {
    let mut station = Station::start().await?;
    let mut broadcaster = Broadcaster::by_rtmp(&station)?;
    let mut viewer = Viewer::start(&station)?;
    viewer.plays(FIVE_SECONDS, PLAYS).await?;
    station.counts("tracker", "livestation_viewers 1").await?;
    let on_air = "livestation_ingest_broadcasts{protocol=\"rtmp\"} 1";
    station.counts("ingest", on_air).await?;
    station.tells_viewers_no_figures().await?;
    // From the broadcaster's coming to the first pieces at the seeder.
    let beginning = [
        ("livestation-ingest", "begin broadcast"),
        ("livestation-accounts", "authorize"),
        ("livestation-encoder", "open session"),
        ("livestation-accounts", "certify epoch"),
        ("livestation-encoder", "first generation"),
        ("livestation-seeder", "take first generation"),
    ];
    station.collector.has_one_trace_of(&beginning).await?;

    // Killed, and started anew at another address.
    station.kill("encoder");
    station.run("encoder").await?;
    viewer.plays(FIVE_SECONDS, PLAYS).await?;
    ensure!(broadcaster.pushes()?, "the broadcaster noticed");
    station
        .counts("ingest", "livestation_ingest_encoder_changes_total 1")
        .await?;

    // Told to end, with another one there.
    station.run("encoder-2").await?;
    station.settles().await;
    let mut leaving = station.tell("encoder").await?;
    let took = leaving.ends(DRAINS).await?;
    viewer.plays(FIVE_SECONDS, PLAYS).await?;
    ensure!(broadcaster.pushes()?, "the broadcaster noticed");
    ensure!(took < DRAINS, "{took:?}");
    station.kept_its_secrets()
}

#[tokio::test]
async fn by_srt_a_broadcast_outlives_accounts_and_its_database() -> Result<()> {
    let mut station = Station::start().await?;
    let mut broadcaster = Broadcaster::by_srt(&station)?;
    let mut viewer = Viewer::start(&station)?;
    viewer.plays(FIVE_SECONDS, PLAYS).await?;

    station.kill("accounts");
    station.database_dies()?;
    // Longer than a lease.
    viewer.plays(2 * FIVE_SECONDS, PLAYS).await?;
    ensure!(broadcaster.pushes()?, "the broadcaster noticed");
    station.database_returns()?;
    station.run("accounts").await?;
    let mut newcomer = Viewer::start(&station)?;
    newcomer.plays(FIVE_SECONDS, PLAYS).await?;

    // A second seeder is found and fed while the broadcast is on.
    station.run("seeder-2").await?;
    station
        .counts("encoder", "livestation_encoder_feeds 2")
        .await?;
    station.kill("seeder");
    viewer.plays(FIVE_SECONDS, PLAYS).await?;
    station.kept_its_secrets()
}

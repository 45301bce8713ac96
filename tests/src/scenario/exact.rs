//! One viewer from the start, one through others' relaying, one that joins late: what each
//! has of the broadcast.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::{PLAYED_OUT, PLAYS};
use crate::{
    broadcast::{Broadcast, Content},
    exact::{self, Media},
    station::Standalone,
    viewer::Viewer,
};

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How long the broadcast was.
    pub seconds: u32,
    /// How many pictures it had.
    pub pictures: usize,
    /// What each viewer had.
    pub viewers: Vec<Seen>,
}

/// By one viewer.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// `first`, `second` or `late`.
    pub name: String,
    /// The first picture it had; all that follow were exact.
    pub first_picture: usize,
    /// Times it stalled.
    pub stalls: u64,
    /// The part of its media that came from other viewers.
    pub from_peers: f64,
}

/// Runs it; the late viewer joins after two thirds.
///
/// # Errors
/// Whatever is not exact.
pub async fn run(seconds: u32) -> Result<Report> {
    // Two of three can be served in full: the third has to be helped.
    let station = Standalone::start(&["--seeder-upload-max", "6.3Mbps"]).await?;
    let mut viewers = Vec::new();
    for name in ["first", "second"] {
        viewers.push(Viewer::start(&station, name, &[])?);
    }
    let mut waiting = Vec::new();
    for viewer in &mut viewers {
        waiting.push(viewer.until(PLAYS, |now| now.state == "waiting").await?);
    }
    let mut broadcast = Broadcast::push(&station, Content::new(seconds))?;
    sleep(Duration::from_secs(u64::from(seconds) * 2 / 3)).await;
    viewers.push(Viewer::start(&station, "late", &[])?);
    for viewer in &mut viewers {
        viewer.plays(PLAYS).await?;
    }
    broadcast.ends().await?;
    sleep(PLAYED_OUT).await;
    let sent = Media::of(&broadcast.sent).await?;
    let mut seen = Vec::new();
    for mut viewer in viewers {
        seen.push(
            judge(&mut viewer, &sent)
                .await
                .with_context(|| viewer.name.clone())?,
        );
    }
    station.stop().await?;
    Ok(Report {
        seconds,
        pictures: sent.video.len(),
        viewers: seen,
    })
}

async fn judge(viewer: &mut Viewer, sent: &Media) -> Result<Seen> {
    let figures = viewer.stop().await?;
    exact::decodes(&viewer.out).await?;
    let had = exact::compare(sent, &Media::of(&viewer.out).await?)?;
    let (peers, seeder) = (&figures.received.peers, &figures.received.seeder);
    let from_peers = peers.media + peers.parity;
    let all = from_peers + seeder.media + seeder.parity + seeder.rescue;
    Ok(Seen {
        name: viewer.name.clone(),
        first_picture: had.start,
        stalls: figures.stalls,
        from_peers: from_peers as f64 / all.max(1) as f64,
    })
}

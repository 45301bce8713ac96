//! What viewers wrote is what the broadcaster sent.

use anyhow::{Result, ensure};
use tests::scenario::exact;

/// Pictures from one keyframe to the next.
const GOP: usize = 60;

#[tokio::test]
async fn every_viewer_has_the_broadcast_exactly() -> Result<()> {
    let seconds = match std::env::var("LIVESTATION_SECONDS") {
        Ok(seconds) => seconds.parse()?,
        Err(_) => 12,
    };
    let report = exact::run(seconds).await?;
    eprintln!("{report:#?}");
    ensure!(report.pictures == seconds as usize * 30);
    for viewer in &report.viewers {
        ensure!(viewer.stalls == 0, "{viewer:?}");
        // Who waited for the broadcast may begin with its second keyframe when the first
        // was out before the links were up.
        let late = viewer.name == "late";
        ensure!(late || viewer.first_picture <= GOP, "{viewer:?}");
    }
    let helped = report.viewers.iter().filter(|one| one.from_peers > 0.0);
    ensure!(helped.count() >= 1, "nobody relayed");
    Ok(())
}

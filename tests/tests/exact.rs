//! What viewers wrote is what the broadcaster sent.

use anyhow::{Result, ensure};
use tests::scenario::exact;

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
        let whole = viewer.first_picture == 0;
        ensure!(whole == (viewer.name != "late"), "{viewer:?}");
    }
    let helped = report.viewers.iter().filter(|one| one.from_peers > 0.0);
    ensure!(helped.count() >= 1, "nobody relayed");
    Ok(())
}

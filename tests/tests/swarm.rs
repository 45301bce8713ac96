//! Many viewers in one process.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::scenario::load::{self, Plan};

#[tokio::test]
async fn sixteen_viewers_in_one_process_carry_a_broadcast() -> Result<()> {
    let report = load::run(Plan {
        peers: 16,
        over: Duration::from_secs(3),
        settle: Duration::from_secs(4),
        window: Duration::from_secs(15),
    })
    .await?;
    eprintln!("{report:#?}");
    ensure!(report.stalls == 0 && report.skipped == 0, "stalls");
    ensure!(report.saved_ratio_60s.is_some_and(|ratio| ratio >= 0.8));
    match report.saved_ratio {
        Some(saved_ratio) => ensure!(saved_ratio >= 0.8, "saved {saved_ratio}"),
        None => eprintln!("SKIPPED: the kernel's figures, since it does not count for us"),
    }
    Ok(())
}

//! Relays are stopped without a word: the others lose no packet.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::scenario::vanish::{self, Plan};

#[tokio::test]
async fn three_relays_of_twelve_stop_and_nobody_notices() -> Result<()> {
    let report = vanish::run(Plan {
        viewers: 12,
        vanish: 3,
        relays: true,
        signal: "STOP",
        after: Duration::from_secs(15),
    })
    .await?;
    ensure!(report.survivors.len() == 9, "{report:?}");
    for survivor in &report.survivors {
        ensure!(survivor.stalls == 0, "{survivor:?}");
        ensure!(survivor.inexact.is_none(), "{survivor:?}");
        ensure!(
            survivor.lag_p95_ms.is_some_and(|ms| ms <= 2000),
            "{survivor:?}"
        );
        // Whose child reads nothing from then on.
        ensure!(survivor.grew <= 2 << 20, "{survivor:?}");
    }
    Ok(())
}

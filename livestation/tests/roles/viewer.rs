//! `livestation watch`.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{programs::LOOK_AGAIN, station::Station};

/// Plays until it is dropped.
pub(crate) struct Viewer {
    child: Child,
    stats: PathBuf,
}

impl Viewer {
    pub(crate) fn start(station: &Station) -> Result<Self> {
        let name = format!("viewer-{}", getrandom::u32()?);
        let file = |kind: &str| station.folder().join(format!("{name}.{kind}"));
        let stats = file("stats");
        let child = Command::new(env!("CARGO_BIN_EXE_livestation"))
            .arg("watch")
            .arg(format!("{}/demo", station.http))
            .arg("--out")
            .arg(file("mp4"))
            .arg("--stats-json")
            .arg(&stats)
            .env("LIVESTATION_LOG", "info")
            .stdout(Stdio::null())
            .stderr(File::create(file("log"))?)
            .spawn()?;
        Ok(Self { child, stats })
    }

    /// Waits until it has played so many generations more.
    pub(crate) async fn plays(&mut self, more: u64, within: Duration) -> Result<()> {
        let (began, first) = (Instant::now(), self.played());
        while self.played() < first + more {
            ensure!(self.child.try_wait()?.is_none(), "it has ended");
            let figures = fs::read_to_string(&self.stats).unwrap_or_default();
            ensure!(began.elapsed() < within, "it does not play on: {figures}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    fn played(&self) -> u64 {
        let figures = fs::read(&self.stats).unwrap_or_default();
        let figures: Value = serde_json::from_slice(&figures).unwrap_or_default();
        figures["generations"]["played"].as_u64().unwrap_or(0)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

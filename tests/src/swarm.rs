//! Many viewers in one process: `livestation swarm`.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;

use crate::{
    figures::Figures,
    process::{Process, Usage},
    station::Standalone,
};

/// Running.
pub struct Swarm {
    process: Process,
    stats: PathBuf,
}

impl Swarm {
    /// Starts viewers of the station's channel with these flags.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn start(station: &Standalone, flags: &[&str]) -> Result<Self> {
        let stats = station.file("swarm.json");
        let file = stats.display().to_string();
        let mut args = vec!["swarm", &station.ready.watch, "--stats-json", &file];
        args.extend(flags);
        let process = Process::livestation(station.folder(), "swarm", &args)?;
        Ok(Self { process, stats })
    }

    /// Waits until so many viewers play.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn play(&mut self, count: usize, within: Duration) -> Result<Vec<Figures>> {
        let playing = |all: &Vec<Figures>| {
            let playing = all.iter().filter(|one| one.startup_ms.is_some());
            playing.count() >= count
        };
        self.process.json(&self.stats, within, playing).await
    }

    /// Their latest figures.
    ///
    /// # Errors
    /// When there are none.
    pub fn figures(&self) -> Result<Vec<Figures>> {
        Ok(serde_json::from_slice(&std::fs::read(&self.stats)?)?)
    }

    /// What it costs.
    ///
    /// # Errors
    /// When it is gone.
    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// Ends them.
    ///
    /// # Errors
    /// When they do not end in time with exit code 0.
    pub async fn stop(mut self) -> Result<Vec<Figures>> {
        self.process.stop(Duration::from_secs(5)).await?;
        self.figures()
    }
}

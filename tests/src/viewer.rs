//! A viewer: `livestation watch` into a file, with its figures.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::{
    figures::Figures,
    place::Place,
    process::{self, Process, Usage},
    station::Standalone,
};

/// The contract's bound for a viewer that is told to end.
const STOP: Duration = Duration::from_secs(1);
/// For a machine where other programs run too.
const GRACE: Duration = Duration::from_secs(4);

/// Running, or ended.
pub struct Viewer {
    /// Its name in this run.
    pub name: String,
    /// The stream as it was played.
    pub out: PathBuf,
    /// The process.
    pub process: Process,
    stats: PathBuf,
    ready: PathBuf,
}

#[derive(Deserialize)]
struct Ready {
    udp: SocketAddr,
}

impl Viewer {
    /// Starts a viewer of the station's channel with these flags besides its files.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(station: &Standalone, name: &str, flags: &[&str]) -> Result<Self> {
        Self::start_at(station, &station.ready.watch, name, flags)
    }

    /// As [`Viewer::start`], at an address of choice.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_at(station: &Standalone, url: &str, name: &str, flags: &[&str]) -> Result<Self> {
        Self::start_in(&Place::Here, station, url, name, flags)
    }

    /// As [`Viewer::start_at`], somewhere else.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_in(
        place: &Place,
        station: &Standalone,
        url: &str,
        name: &str,
        flags: &[&str],
    ) -> Result<Self> {
        let [out, stats, ready] =
            ["mp4", "stats.json", "ready.json"].map(|end| station.file(&format!("{name}.{end}")));
        let files = [
            ("--out", &out),
            ("--stats-json", &stats),
            ("--ready-json", &ready),
        ];
        let mut command = place.command(process::program()?);
        command.args(["watch", url]);
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        command.args(flags);
        Ok(Self {
            process: Process::start(station.folder(), name, &mut command)?,
            name: name.to_owned(),
            out,
            stats,
            ready,
        })
    }

    /// Waits until its figures satisfy the condition.
    ///
    /// # Errors
    /// When the viewer ends first, or the time is up.
    pub async fn until(
        &mut self,
        within: Duration,
        condition: impl Fn(&Figures) -> bool,
    ) -> Result<Figures> {
        self.process.json(&self.stats, within, condition).await
    }

    /// Waits until it plays.
    ///
    /// # Errors
    /// As [`Viewer::until`].
    pub async fn plays(&mut self, within: Duration) -> Result<Figures> {
        self.until(within, |figures| figures.startup_ms.is_some())
            .await
    }

    /// Its latest figures.
    ///
    /// # Errors
    /// When there are none.
    pub fn figures(&self) -> Result<Figures> {
        Ok(serde_json::from_slice(&std::fs::read(&self.stats)?)?)
    }

    /// When it last wrote them.
    ///
    /// # Errors
    /// When there are none.
    pub fn renewed(&self) -> Result<SystemTime> {
        Ok(std::fs::metadata(&self.stats)?.modified()?)
    }

    /// The port it sends from.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn port(&mut self) -> Result<u16> {
        let within = Duration::from_secs(10);
        let ready: Ready = self.process.json(&self.ready, within, |_| true).await?;
        Ok(ready.udp.port())
    }

    /// What it costs.
    ///
    /// # Errors
    /// When it is gone.
    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// How much it has played, in bytes of its file.
    #[must_use]
    pub fn played(&self) -> u64 {
        std::fs::metadata(&self.out).map_or(0, |file| file.len())
    }

    /// What its log and files are called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes its recording away.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn forget(self) -> Result<()> {
        match std::fs::remove_file(&self.out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Ends it as the person who watches would.
    ///
    /// # Errors
    /// When it takes longer than the contract allows, or says anything but 0.
    pub async fn stop(&mut self) -> Result<Figures> {
        let took = self.process.stop(GRACE).await?;
        ensure!(took <= STOP, "{} took {took:?} to end", self.name);
        let said = self.process.said();
        ensure!(!said.contains("panicked"), "{}: {said}", self.name);
        self.figures()
    }
}

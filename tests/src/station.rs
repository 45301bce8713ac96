//! A whole station: `livestation standalone` with a folder of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http,
    place::Place,
    process::{self, Process, Usage},
};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);

/// Running, on free ports of 127.0.0.1 or on a machine of its own.
pub struct Standalone {
    /// Where it is.
    pub place: Place,
    /// What it said when it was ready.
    pub ready: Ready,
    process: Process,
    folder: TempDir,
}

/// The fields of `--ready-json` that are used here.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract's")]
pub struct Ready {
    pub http: String,
    pub udp: SocketAddr,
    pub publish_rtmp: String,
    pub stream_key: String,
    pub watch: String,
}

impl Standalone {
    /// Starts one with these flags besides its addresses, and waits until it serves.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start(flags: &[&str]) -> Result<Self> {
        Self::start_at(Place::Here, flags).await
    }

    /// As [`Standalone::start`], somewhere else.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start_at(place: Place, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (data, ready) = (file("data"), file("ready.json"));
        let mut command = place.command(process::program()?);
        command.args(["standalone", "--data-dir", &data, "--ready-json", &ready]);
        let sockets = [
            ("--http", 8080),
            ("--rtmp", 1935),
            ("--srt", 8890),
            ("--udp", 4433),
        ];
        for (socket, port) in sockets {
            command.args([socket, &place.listen(port)]);
        }
        if let Place::On(machine) = &place {
            // Else it would name the address that is reached from everywhere on one machine.
            command.args(["--public-url", &format!("http://{}:8080", machine.address)]);
        }
        command.args(flags);
        let mut process = Process::start(folder.path(), "standalone", &mut command)?;
        let ready = process.json(Path::new(&ready), START, |_| true).await?;
        Ok(Self {
            place,
            ready,
            process,
            folder,
        })
    }

    /// Where everything of this run may keep files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file in that folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The channel's figures, as the station claims them.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn stats(&self) -> Result<Value> {
        let url = format!("{}/api/v1/channels/demo/stats", self.ready.http);
        http::json("GET", &url).await
    }

    /// What it has said.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// What it costs.
    ///
    /// # Errors
    /// When it is gone.
    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// Ends it as an operator would.
    ///
    /// # Errors
    /// When it does not end in time with exit code 0, or has panicked meanwhile.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop(STOP).await?;
        let said = self.said();
        ensure!(!said.contains("panicked"), "{said}");
        Ok(())
    }
}

//! The demo's station: `livestation standalone` on the usual ports, or on free ones when
//! those are taken.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::time::{self, Instant};

use super::{
    file,
    program::{Program, Recipe},
    this_program,
};

/// A slow disk takes a second to make the database.
const START_DEADLINE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How it is started.
pub(super) struct Options<'a> {
    pub(super) http: Option<SocketAddr>,
    pub(super) data_dir: Option<&'a Path>,
    pub(super) folder: &'a Path,
}

/// What the ready file says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) http: String,
    pub(super) channel: String,
    pub(super) publish_rtmp: String,
    pub(super) watch: String,
}

/// It, running.
pub(super) struct Station {
    program: Program,
    ready_file: PathBuf,
}

impl Station {
    pub(super) fn start(options: &Options<'_>) -> anyhow::Result<Self> {
        let ready_file = file(options.folder, "station.json");
        let data_dir = match options.data_dir {
            Some(folder) => folder.to_owned(),
            None => file(options.folder, "station"),
        };
        let http = options
            .http
            .unwrap_or_else(|| usual_or_free(8080, |at| TcpListener::bind(at).is_ok()));
        let rtmp = usual_or_free(1935, |at| TcpListener::bind(at).is_ok());
        let udp = usual_or_free(4433, |at| UdpSocket::bind(at).is_ok());
        let recipe = Recipe::new(this_program()?, file(options.folder, "station.log"))
            .args(["standalone", "--data-dir"])
            .args([&data_dir])
            .args(["--http", &http.to_string(), "--rtmp", &rtmp.to_string()])
            .args(["--no-srt", "--udp", &udp.to_string(), "--ready-json"])
            .args([&ready_file]);
        Ok(Self {
            program: Program::start(recipe)?,
            ready_file,
        })
    }

    /// Waits until all of it serves.
    pub(super) async fn ready(&mut self) -> anyhow::Result<Ready> {
        let deadline = Instant::now() + START_DEADLINE;
        while !self.ready_file.exists() {
            self.check()?;
            if Instant::now() > deadline {
                bail!("the station is not ready within {START_DEADLINE:?}");
            }
            time::sleep(LOOK_AGAIN).await;
        }
        let ready = fs::read(&self.ready_file)?;
        serde_json::from_slice(&ready).context("the station's ready file")
    }

    /// Fails if it ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.program.check().context("the station")
    }

    pub(super) fn into_program(self) -> Program {
        self.program
    }
}

fn usual_or_free(port: u16, is_free: impl Fn(SocketAddr) -> bool) -> SocketAddr {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match is_free(at(port)) {
        true => at(port),
        false => at(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_gives_way_to_any() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let found = usual_or_free(port, |at| TcpListener::bind(at).is_ok());
        assert_eq!(found.port(), 0);
        drop(taken);
        let found = usual_or_free(port, |at| TcpListener::bind(at).is_ok());
        assert_eq!(found.port(), port);
    }
}

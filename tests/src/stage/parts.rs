//! What of the station runs in processes of its own: addresses that stay, and processes that
//! die and come back.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use anyhow::Result;

use super::Cast;
use crate::{process::Process, station::Standalone};

/// A service of ours is up within this.
const STARTS: Duration = Duration::from_secs(10);

/// A service in a process of its own, which can die and come back under the same addresses.
pub(super) struct Part {
    name: String,
    args: Vec<String>,
    pub(super) udp: Option<u16>,
    process: Process,
    starts: usize,
}

impl Part {
    pub(super) async fn start(
        station: &Standalone,
        name: &str,
        args: Vec<String>,
        udp: Option<u16>,
    ) -> Result<Self> {
        let process = Self::run(station, name, &args, 0).await?;
        Ok(Self {
            name: name.to_owned(),
            args,
            udp,
            process,
            starts: 1,
        })
    }

    pub(super) async fn run(
        station: &Standalone,
        name: &str,
        args: &[String],
        start: usize,
    ) -> Result<Process> {
        let name = format!("{name}-{start}");
        let ready = station.file(&format!("{name}.ready.json"));
        let mut args = args.to_vec();
        args.extend(["--ready-json".to_owned(), ready.display().to_string()]);
        let mut process = Process::livestation(station.folder(), &name, &args)?;
        let _: serde_json::Value = process.json(&ready, STARTS, |_| true).await?;
        Ok(process)
    }

    pub(super) async fn die(&mut self) -> Result<()> {
        self.process.signal("KILL").await?;
        self.process.wait(Duration::from_secs(2)).await.ok();
        Ok(())
    }

    pub(super) async fn come_back(&mut self, station: &Standalone) -> Result<()> {
        self.process = Self::run(station, &self.name, &self.args, self.starts).await?;
        self.starts += 1;
        Ok(())
    }
}

/// Addresses of what is apart, so that it comes back where it was.
pub(super) struct Ports {
    accounts: SocketAddr,
    tracker_grpc: SocketAddr,
    tracker_http: SocketAddr,
    /// gRPC, UDP, HTTP.
    seeders: Vec<[SocketAddr; 3]>,
}

impl Ports {
    pub(super) fn find(seeders: usize) -> Result<Self> {
        // All are held while more are looked for, so that no two are the same.
        let mut held = Vec::new();
        let mut tcp = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            held.push(listener);
            Ok::<_, std::io::Error>(address)
        };
        let (accounts, tracker_grpc, tracker_http) = (tcp()?, tcp()?, tcp()?);
        let mut triples = Vec::new();
        for _ in 0..seeders {
            let udp = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            triples.push([tcp()?, udp, tcp()?]);
        }
        Ok(Self {
            accounts,
            tracker_grpc,
            tracker_http,
            seeders: triples,
        })
    }

    pub(super) fn station(&self, cast: &Cast, cap: &str) -> Vec<String> {
        let mut flags = vec!["--seeder-upload-max".to_owned(), cap.to_owned()];
        if cast.tracker || cast.seeders > 0 {
            flags.extend(["--accounts-grpc".to_owned(), self.accounts.to_string()]);
        }
        if cast.tracker {
            let grpc = format!("http://{}", self.tracker_grpc);
            let http = format!("http://{}", self.tracker_http);
            flags.extend(["--tracker".to_owned(), grpc]);
            flags.extend(["--tracker-public".to_owned(), http]);
        } else if cast.seeders > 0 {
            flags.extend(["--tracker-grpc".to_owned(), self.tracker_grpc.to_string()]);
        }
        for [grpc, ..] in &self.seeders {
            flags.extend(["--seeder".to_owned(), format!("http://{grpc}")]);
        }
        flags
    }

    pub(super) fn tracker(&self) -> Vec<String> {
        [
            "tracker".to_owned(),
            "--accounts".to_owned(),
            format!("http://{}", self.accounts),
            "--grpc".to_owned(),
            self.tracker_grpc.to_string(),
            "--http".to_owned(),
            self.tracker_http.to_string(),
        ]
        .to_vec()
    }

    pub(super) fn seeder(&self, at: usize, cap: &str) -> (Vec<String>, u16) {
        let [grpc, udp, http] = self.seeders[at];
        let args = [
            "seeder".to_owned(),
            "--accounts".to_owned(),
            format!("http://{}", self.accounts),
            "--tracker".to_owned(),
            format!("http://{}", self.tracker_grpc),
            "--grpc".to_owned(),
            grpc.to_string(),
            "--udp".to_owned(),
            udp.to_string(),
            "--http".to_owned(),
            http.to_string(),
            "--upload-max".to_owned(),
            cap.to_owned(),
        ];
        (args.to_vec(), udp.port())
    }
}

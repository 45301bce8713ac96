//! The flags of the SRT listener.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use boot::units::parse_duration;
use ingest::srt::{Options, Passphrase};
use tokio::net::UdpSocket;

/// Whether broadcasters may come by SRT, and how.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct Args {
    /// Where broadcasters push SRT
    #[arg(
        long,
        env = "LIVESTATION_SRT",
        value_name = "ADDR",
        default_value = "127.0.0.1:8890"
    )]
    srt: SocketAddr,
    /// Take no SRT
    #[arg(long, env = "LIVESTATION_NO_SRT")]
    no_srt: bool,
    /// How long lost packets are waited for, 20ms to 8s; a broadcaster may ask for more
    #[arg(
        long,
        env = "LIVESTATION_SRT_LATENCY",
        value_name = "DURATION",
        default_value = "400ms",
        value_parser = parse_latency
    )]
    srt_latency: Duration,
    /// Holds what SRT must be encrypted with, 10 to 79 bytes; else it comes in the clear
    #[arg(long, env = "LIVESTATION_SRT_PASSPHRASE_FILE", value_name = "FILE")]
    srt_passphrase_file: Option<PathBuf>,
}

impl Args {
    /// Binds where to listen, if at all.
    pub(crate) async fn bind(&self) -> anyhow::Result<Option<UdpSocket>> {
        if self.no_srt {
            return Ok(None);
        }
        let socket = UdpSocket::bind(self.srt).await;
        Ok(Some(socket.with_context(|| format!("--srt {}", self.srt))?))
    }

    /// Reads the passphrase.
    pub(crate) fn open(&self) -> anyhow::Result<Options> {
        let passphrase = match &self.srt_passphrase_file {
            Some(path) => {
                let named = || format!("--srt-passphrase-file {}", path.display());
                let text = fs::read_to_string(path).with_context(named)?;
                let line = text.trim_end_matches(['\r', '\n']).to_owned();
                Some(Passphrase::new(line).with_context(named)?)
            }
            None => None,
        };
        Ok(Options {
            latency: self.srt_latency,
            passphrase,
        })
    }
}

/// From what SRT's own tick needs to what its packets may cost.
fn parse_latency(text: &str) -> Result<Duration, String> {
    let latency = parse_duration(text).map_err(|error| error.to_string())?;
    let fits = (Duration::from_millis(20)..=Duration::from_secs(8)).contains(&latency);
    match fits {
        true => Ok(latency),
        false => Err("it is from 20ms to 8s".to_owned()),
    }
}

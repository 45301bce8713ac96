//! `livestation swarm`: many viewers in one process, for load.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use boot::units::{Rate, parse_duration, parse_rate};

/// Load a channel with many viewers in one process.
///
/// Each viewer has its own socket, and verifies and decodes as `watch` does.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  livestation swarm http://127.0.0.1:8080/demo --peers 50 --over 5s --stats-json swarm.json")]
pub(crate) struct Args {
    /// The channel's page, as standalone prints it
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// How many viewers
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) peers: usize,
    /// Spread their arrivals over this
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub(crate) over: Duration,
    /// What each uploads at most
    #[arg(long, value_name = "RATE", default_value = "10Mbps", value_parser = parse_rate)]
    pub(crate) upload_max: Rate,
    /// This part of them uploads nothing, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) no_share_ratio: f64,
    /// Delay all packets so that round trips take this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) rtt: Option<Duration>,
    /// Lose this part of all packets, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) loss: f64,
    /// End so long after the last arrival
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Renewed every second: an array of each viewer's figures
    #[arg(long, value_name = "FILE")]
    pub(crate) stats_json: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot load {}", args.url)
}

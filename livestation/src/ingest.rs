//! `livestation ingest`: takes broadcasters in a process of its own; there may be several.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use boot::{registry::Instance, units::parse_service_url};
use proto::access::Role;
use tokio::net::{TcpListener, UdpSocket};

use crate::{
    apart::{self, Life, Operators, Ready},
    standalone::srt,
    tls::TlsFlags,
};

/// Run an ingest alone: it takes broadcasts by RTMP and SRT and gives them to an encoder.
///
/// It finds encoders by accounts. When a broadcast's encoder dies it goes on with another
/// from the next keyframe on, and the broadcaster notices nothing. On SIGTERM broadcasters are
/// told to come back: one that does within 60 s, here or at another ingest, goes on where it was.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example, beside accounts and an encoder on this machine:
  livestation accounts --database sqlite:accounts.sqlite --api-token-file api-token
  livestation encoder --accounts http://127.0.0.1:7700
  livestation ingest --accounts http://127.0.0.1:7700
Broadcasters of several machines, by certificates of `livestation pki init pki`:
  livestation ingest --accounts https://accounts.internal:7700 --rtmp 0.0.0.0:1935 \\
    --srt 0.0.0.0:8890 --tls-ca pki/ca.pem --tls-cert pki/ingest.pem --tls-key pki/ingest.key")]
pub(crate) struct Args {
    /// Where accounts answers other services
    #[arg(long, env = "LIVESTATION_ACCOUNTS", value_name = "URL", value_parser = parse_service_url)]
    accounts: String,
    /// The encoder; else whoever registers as one
    #[arg(long, env = "LIVESTATION_ENCODER", value_name = "URL", value_parser = parse_service_url)]
    encoder: Option<String>,
    /// Where broadcasters push RTMP
    #[arg(
        long,
        env = "LIVESTATION_RTMP",
        value_name = "ADDR",
        default_value = "127.0.0.1:1935"
    )]
    rtmp: SocketAddr,
    #[command(flatten)]
    srt: srt::Args,
    #[command(flatten)]
    operators: Operators,
    #[command(flatten)]
    tls: TlsFlags,
    /// Written when it serves
    #[arg(long, value_name = "FILE")]
    ready_json: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let signal = boot::shutdown_token()?;
    let encoder = args.encoder.as_deref().map(|url| ("--encoder", url));
    let calls = [("--accounts", &*args.accounts)].into_iter().chain(encoder);
    let tls = args
        .tls
        .open(&[Role::Ingest], &[], &Vec::from_iter(calls))?;
    let srt = args.srt.open()?;
    let rtmp = TcpListener::bind(args.rtmp)
        .await
        .with_context(|| format!("--rtmp {}", args.rtmp))?;
    let sockets = ingest::Sockets {
        rtmp,
        srt: args.srt.bind().await?,
    };
    let operators = args.operators.bind()?;
    let ready = Ready {
        rtmp: Some(sockets.rtmp.local_addr()?),
        srt: sockets
            .srt
            .as_ref()
            .map(UdpSocket::local_addr)
            .transpose()?,
        metrics: operators.url()?,
        ..Ready::default()
    };
    let life = Life::new(signal);
    operators.serve(life.readiness())?;
    let mut config = ingest::Config::new(args.accounts.clone(), args.encoder);
    config.tls = tls.clone();
    config.srt = srt;
    // Nobody calls it.
    let mut instance = Instance::new(Role::Ingest.name(), "")?;
    instance.capacity = config.limits.broadcasters as u64;
    let accounts = apart::accounts(&args.accounts, &tls)?;
    let stop = life.stop();
    let serving = async { Ok(ingest::serve(config, sockets, stop).await?) };
    ready.publish(args.ready_json.as_deref())?;
    life.lead(Some((accounts, instance)), serving).await
}

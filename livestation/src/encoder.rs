//! `livestation encoder`: the stripe encoder in a process of its own; there may be several.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use boot::{registry::Instance, units::parse_service_url};
use proto::access::Role;
use tokio::net::TcpListener;

use crate::{
    apart::{self, GrpcPublic, Life, Operators, Ready},
    exit,
    tls::TlsFlags,
};

/// Channels that one core encodes, of 3 Mbit/s.
const CHANNELS: u64 = 200;

/// Run an encoder alone: it makes signed pieces of broadcasts and gives them to every seeder.
///
/// It registers with accounts, where ingests find it, and finds the seeders there as they come
/// and go. Several share the channels. On SIGTERM its broadcasts go on at another one.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example, two of them beside accounts on this machine:
  livestation encoder --accounts http://127.0.0.1:7700
  livestation encoder --accounts http://127.0.0.1:7700 --grpc 127.0.0.1:7714
On a machine of its own, by certificates of `livestation pki init pki`:
  livestation encoder --accounts https://accounts.internal:7700 --grpc 0.0.0.0:7704 \\
    --tls-ca pki/ca.pem --tls-cert pki/encoder.pem --tls-key pki/encoder.key")]
pub(crate) struct Args {
    /// Where accounts answers other services
    #[arg(long, env = "LIVESTATION_ACCOUNTS", value_name = "URL", value_parser = parse_service_url)]
    accounts: String,
    /// A seeder, and no others than those named; may repeat. Else whoever registers as one
    #[arg(
        long = "seeder",
        env = "LIVESTATION_SEEDER",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = parse_service_url
    )]
    seeders: Vec<String>,
    /// Where ingests give fragments; must not be open to strangers
    #[arg(
        long,
        env = "LIVESTATION_GRPC",
        value_name = "ADDR",
        default_value = "127.0.0.1:7704"
    )]
    grpc: SocketAddr,
    #[command(flatten)]
    grpc_public: GrpcPublic,
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
    let seeders = args.seeders.iter().map(|url| ("--seeder", url.as_str()));
    let calls = [("--accounts", &*args.accounts)].into_iter().chain(seeders);
    let listens = [("--grpc", args.grpc)];
    let tls = args
        .tls
        .open(&[Role::Encoder], &listens, &Vec::from_iter(calls))?;
    let grpc = TcpListener::bind(args.grpc)
        .await
        .with_context(|| format!("--grpc {}", args.grpc))?;
    let operators = args.operators.bind()?;
    let ready = Ready {
        grpc: Some(format!("{}://{}", tls.scheme(), grpc.local_addr()?)),
        metrics: operators.url()?,
        ..Ready::default()
    };
    let life = Life::new(signal.clone());
    operators.serve(life.readiness())?;
    let own = args
        .grpc_public
        .url(grpc.local_addr()?, &args.accounts, &tls, &signal);
    let Some(own) = own.await? else {
        return Ok(exit::DONE.into());
    };
    let instance = Instance {
        capacity: CHANNELS,
        ..Instance::new(Role::Encoder.name(), &own)?
    };
    let accounts = apart::accounts(&args.accounts, &tls)?;
    let mut config = encoder::Config::new(args.accounts, args.seeders);
    config.tls = tls;
    let stop = life.stop();
    let serving = async { Ok(encoder::serve(config, grpc, stop).await?) };
    ready.publish(args.ready_json.as_deref())?;
    life.lead(Some((accounts, instance)), serving).await
}

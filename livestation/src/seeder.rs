//! `livestation seeder`: an origin seeder in a process of its own; there may be several.

use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use boot::units::{Rate, parse_rate, parse_service_url};
use proto::access::Role;
use tokio::net::TcpListener;

use crate::{
    apart::{self, Ready},
    exit,
    tls::TlsFlags,
    web,
};

/// Run a seeder alone: it roots the stripes of every channel; several share the work.
///
/// The station's encoder gives each seeder named by --seeder every generation. A seeder
/// that comes back is fed and announced again within a second; viewers need not rejoin.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example, two seeders beside a station that serves accounts to other processes:
  livestation standalone --accounts-grpc 127.0.0.1:7700 --tracker-grpc 127.0.0.1:7701 \\
    --seeder http://127.0.0.1:7702 --seeder http://127.0.0.1:7703
  livestation seeder --accounts http://127.0.0.1:7700 --tracker http://127.0.0.1:7701 \\
    --grpc 127.0.0.1:7702 --udp 127.0.0.1:4434 --http 127.0.0.1:8082
  livestation seeder --accounts http://127.0.0.1:7700 --tracker http://127.0.0.1:7701 \\
    --grpc 127.0.0.1:7703 --udp 127.0.0.1:4435 --http 127.0.0.1:8083")]
pub(crate) struct Args {
    /// Where accounts answers other services
    #[arg(long, env = "LIVESTATION_ACCOUNTS", value_name = "URL", value_parser = parse_service_url)]
    accounts: String,
    /// Where the tracker answers other services
    #[arg(long, env = "LIVESTATION_TRACKER", value_name = "URL", value_parser = parse_service_url)]
    tracker: String,
    /// Where the encoder gives generations; must not be open to strangers
    #[arg(
        long,
        env = "LIVESTATION_GRPC",
        value_name = "ADDR",
        default_value = "127.0.0.1:7702"
    )]
    grpc: SocketAddr,
    /// /live/CHANNEL.mp4, for players without peers
    #[arg(
        long,
        env = "LIVESTATION_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8082"
    )]
    http: SocketAddr,
    /// Where viewers fetch
    #[arg(
        long,
        env = "LIVESTATION_UDP",
        value_name = "ADDR",
        default_value = "127.0.0.1:4433"
    )]
    udp: SocketAddr,
    /// Where viewers reach that socket, when not at an address of this machine; may repeat
    #[arg(
        long,
        env = "LIVESTATION_UDP_PUBLIC",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    udp_public: Vec<SocketAddr>,
    /// What it sends at most, to all viewers of a channel together
    #[arg(long, env = "LIVESTATION_UPLOAD_MAX", value_name = "RATE", default_value = "100Mbps", value_parser = parse_rate)]
    upload_max: Rate,
    #[command(flatten)]
    tls: TlsFlags,
    /// Written when it serves
    #[arg(long, value_name = "FILE")]
    ready_json: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stop = boot::shutdown_token()?;
    let calls = [
        ("--accounts", &*args.accounts),
        ("--tracker", &*args.tracker),
    ];
    let listens = [("--grpc", args.grpc)];
    let tls = args.tls.open(&[Role::Seeder], &listens, &calls)?;
    let http = web::bind(args.http).with_context(|| format!("--http {}", args.http))?;
    let grpc = TcpListener::bind(args.grpc)
        .await
        .with_context(|| format!("--grpc {}", args.grpc))?;
    let udp = UdpSocket::bind(args.udp).with_context(|| format!("--udp {}", args.udp))?;
    let ready = Ready {
        http: format!("http://{}", http.local_addr()?),
        grpc: format!("{}://{}", tls.scheme(), grpc.local_addr()?),
        udp: Some(udp.local_addr()?),
    };
    let Some(tickets) = apart::tickets(&args.accounts, &tls, &stop).await? else {
        return Ok(exit::DONE.into());
    };
    let config = seeder::Config {
        tracker: args.tracker,
        tls,
        upload_max: args.upload_max,
        tickets,
        public: args.udp_public,
    };
    let (service, driver) = seeder::Service::new(config, stop.clone()).context("--tracker")?;
    let routed = service.clone();
    let routes = move |cfg: &mut actix_web::web::ServiceConfig| {
        cfg.configure(seeder::http::routes(routed.clone()));
    };
    let web = web::serve(http, routes, stop.clone())?;
    ready.publish(args.ready_json.as_deref())?;
    tokio::select! {
        served = seeder::serve(service, driver, grpc, udp) => served?,
        served = web => served?,
    }
    anyhow::ensure!(stop.is_cancelled(), "a server ended by itself");
    Ok(exit::DONE.into())
}

//! `livestation seeder`: an origin seeder in a process of its own; there may be several.

use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use boot::{
    registry::{Instance, Services},
    units::{Rate, parse_rate, parse_service_url},
};
use proto::access::Role;
use tokio::net::TcpListener;

use crate::{
    apart::{self, GrpcPublic, Life, Operators, Ready},
    exit,
    standalone::parse_public_url,
    tls::TlsFlags,
    web,
};

/// Run a seeder alone: it roots the stripes of every channel; several share the work.
///
/// It registers with accounts, where encoders find it; a station's encoder gives each seeder
/// named by --seeder every generation. A seeder that comes back is fed and announced again
/// within a second; viewers need not rejoin.
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
    /// Where the tracker answers other services; else whoever registers as one
    #[arg(long, env = "LIVESTATION_TRACKER", value_name = "URL", value_parser = parse_service_url)]
    tracker: Option<String>,
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
    /// Where viewers reach --http, such as https://seeder.live.example
    #[arg(long, env = "LIVESTATION_PUBLIC_URL", value_name = "URL", value_parser = parse_public_url)]
    public_url: Option<String>,
    #[command(flatten)]
    grpc_public: GrpcPublic,
    #[command(flatten)]
    trusted: web::TrustedProxies,
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
    let tracker = args.tracker.as_deref().map(|url| ("--tracker", url));
    let calls = [("--accounts", &*args.accounts)].into_iter().chain(tracker);
    let listens = [("--grpc", args.grpc)];
    let tls = args
        .tls
        .open(&[Role::Seeder], &listens, &Vec::from_iter(calls))?;
    let http = web::bind(args.http).with_context(|| format!("--http {}", args.http))?;
    let grpc = TcpListener::bind(args.grpc)
        .await
        .with_context(|| format!("--grpc {}", args.grpc))?;
    let udp = UdpSocket::bind(args.udp).with_context(|| format!("--udp {}", args.udp))?;
    let operators = args.operators.bind()?;
    let ready = Ready {
        http: Some(format!("http://{}", http.local_addr()?)),
        grpc: Some(format!("{}://{}", tls.scheme(), grpc.local_addr()?)),
        udp: Some(udp.local_addr()?),
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
        public_url: args.public_url.unwrap_or_default(),
        udp: shown(&args.udp_public, udp.local_addr()?),
        capacity: args.upload_max.bps(),
        ..Instance::new(Role::Seeder.name(), &own)?
    };
    let accounts = apart::accounts(&args.accounts, &tls)?;
    let channel = accounts.connect_lazy();
    let Some(tickets) = apart::tickets(channel.clone(), &signal).await? else {
        return Ok(exit::DONE.into());
    };
    let named = Vec::from_iter(args.tracker);
    let trackers = Services::find(&named, Role::Tracker, &tls, channel);
    let config = seeder::Config {
        trackers: trackers.context("--tracker")?,
        tls,
        upload_max: args.upload_max,
        tickets,
        public: args.udp_public,
    };
    let (service, driver) = seeder::Service::new(config, life.stop());
    let (routed, readiness) = (service.clone(), life.readiness());
    let proxies = args.trusted.open();
    let routes = move |cfg: &mut actix_web::web::ServiceConfig| {
        cfg.app_data(proxies.clone());
        cfg.configure(boot::health::routes(readiness.clone()));
        cfg.configure(seeder::http::routes(routed.clone()));
    };
    let stop = life.stop();
    let web = web::serve(http, routes, stop.clone())?;
    let calls = seeder::serve(service, driver, grpc, udp);
    ready.publish(args.ready_json.as_deref())?;
    let serving = apart::all(stop, web, calls);
    life.lead(Some((accounts, instance)), serving).await
}

/// Where viewers reach the socket, as far as it is known here.
fn shown(public: &[SocketAddr], bound: SocketAddr) -> Vec<SocketAddr> {
    match public {
        [] if bound.ip().is_unspecified() => Vec::new(),
        [] => vec![bound],
        // As many as the registry takes.
        public => public.iter().copied().take(8).collect(),
    }
}

//! `livestation tracker`: the tracker in a process of its own.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use boot::{
    registry::{Instance, Services},
    units::parse_service_url,
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

/// Run a tracker alone: it places viewers, and the rest of the station outlives it.
///
/// Viewers reach /ws at --http, or where --public-url here or --tracker-public of the station
/// says; the station and its seeders reach --grpc, which must not be open to strangers. It
/// registers with accounts, where seeders find it that are told of no other. Several share the
/// channels.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example, beside a station that serves accounts to other processes:
  livestation standalone --accounts-grpc 127.0.0.1:7700 \\
    --tracker http://127.0.0.1:7701 --tracker-public http://127.0.0.1:8081
  livestation tracker --accounts http://127.0.0.1:7700 \\
    --grpc 127.0.0.1:7701 --http 127.0.0.1:8081")]
pub(crate) struct Args {
    /// Where accounts answers other services
    #[arg(long, env = "LIVESTATION_ACCOUNTS", value_name = "URL", value_parser = parse_service_url)]
    accounts: String,
    /// Where viewers hold their sessions, by WebSocket
    #[arg(
        long,
        env = "LIVESTATION_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8081"
    )]
    http: SocketAddr,
    /// Where seeders announce and accounts asks for figures
    #[arg(
        long,
        env = "LIVESTATION_GRPC",
        value_name = "ADDR",
        default_value = "127.0.0.1:7701"
    )]
    grpc: SocketAddr,
    /// How many viewers may watch from one address
    #[arg(
        long,
        env = "LIVESTATION_VIEWERS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 512
    )]
    viewers_per_address: usize,
    /// Where viewers reach --http, such as https://tracker.live.example; else where they reach
    /// accounts
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
    let (listens, calls) = ([("--grpc", args.grpc)], [("--accounts", &*args.accounts)]);
    let tls = args.tls.open(&[Role::Tracker], &listens, &calls)?;
    let http = web::bind(args.http).with_context(|| format!("--http {}", args.http))?;
    let grpc = TcpListener::bind(args.grpc)
        .await
        .with_context(|| format!("--grpc {}", args.grpc))?;
    let operators = args.operators.bind()?;
    let ready = Ready {
        http: Some(format!("http://{}", http.local_addr()?)),
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
    let mut instance = Instance::new(Role::Tracker.name(), &own)?;
    instance.public_url = args.public_url.clone().unwrap_or_default();
    let accounts = apart::accounts(&args.accounts, &tls)?;
    let channel = accounts.connect_lazy();
    let Some(tickets) = apart::tickets(channel.clone(), &signal).await? else {
        return Ok(exit::DONE.into());
    };
    let limits = tracker::Limits {
        sessions_per_address: args.viewers_per_address,
        ..tracker::Limits::default()
    };
    instance.capacity = limits.sessions as u64;
    let config = tracker::Config {
        tickets,
        limits,
        swarm: overlay_core::tracker::Config::default(),
        proxied: args.public_url.is_some_and(|url| url.starts_with("https")),
        share: Some(tracker::Share {
            trackers: Services::find(&[], Role::Tracker, &tls, channel)?,
            own: instance.grpc.clone(),
        }),
        tls,
    };
    let service = tracker::Service::new(config, life.stop())?;
    let (routed, readiness) = (service.clone(), life.readiness());
    let proxies = args.trusted.open();
    let routes = move |cfg: &mut actix_web::web::ServiceConfig| {
        cfg.app_data(proxies.clone());
        cfg.configure(boot::health::routes(readiness.clone()));
        cfg.configure(tracker::http::routes(routed.clone()));
    };
    let stop = life.stop();
    let web = web::serve(http, routes, stop.clone())?;
    let calls = tracker::serve(service, grpc, stop.clone());
    ready.publish(args.ready_json.as_deref())?;
    let serving = apart::all(stop, web, calls);
    life.lead(Some((accounts, instance)), serving).await
}

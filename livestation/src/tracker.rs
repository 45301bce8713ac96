//! `livestation tracker`: the tracker in a process of its own.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use boot::units::parse_service_url;
use proto::access::Role;
use tokio::net::TcpListener;

use crate::{
    apart::{self, Ready},
    exit,
    tls::TlsFlags,
    web,
};

/// Run a tracker alone: it places viewers, and the rest of the station outlives it.
///
/// Viewers reach /ws at --http, or where --tracker-public of the station says; the station
/// and its seeders reach --grpc, which must not be open to strangers.
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
    #[command(flatten)]
    tls: TlsFlags,
    /// Written when it serves
    #[arg(long, value_name = "FILE")]
    ready_json: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stop = boot::shutdown_token()?;
    let (listens, calls) = ([("--grpc", args.grpc)], [("--accounts", &*args.accounts)]);
    let tls = args.tls.open(&[Role::Tracker], &listens, &calls)?;
    let http = web::bind(args.http).with_context(|| format!("--http {}", args.http))?;
    let grpc = TcpListener::bind(args.grpc)
        .await
        .with_context(|| format!("--grpc {}", args.grpc))?;
    let ready = Ready {
        http: format!("http://{}", http.local_addr()?),
        grpc: format!("{}://{}", tls.scheme(), grpc.local_addr()?),
        udp: None,
    };
    let Some(tickets) = apart::tickets(&args.accounts, &tls, &stop).await? else {
        return Ok(exit::DONE.into());
    };
    let config = tracker::Config {
        tickets,
        limits: tracker::Limits {
            sessions_per_address: args.viewers_per_address,
            ..tracker::Limits::default()
        },
        swarm: overlay_core::tracker::Config::default(),
        proxied: false,
        tls,
    };
    let service = tracker::Service::new(config, stop.clone())?;
    let routed = service.clone();
    let routes = move |cfg: &mut actix_web::web::ServiceConfig| {
        cfg.configure(tracker::http::routes(routed.clone()));
    };
    let web = web::serve(http, routes, stop.clone())?;
    ready.publish(args.ready_json.as_deref())?;
    tokio::select! {
        served = tracker::serve(service, grpc, stop.clone()) => served?,
        served = web => served?,
    }
    anyhow::ensure!(stop.is_cancelled(), "a server ended by itself");
    Ok(exit::DONE.into())
}

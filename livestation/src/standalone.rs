//! `livestation standalone`: all services in one process, with SQLite and nothing else to
//! install. They speak gRPC to each other over loopback, as they do in a cluster; outside
//! there is one HTTP address, one for RTMP, one for SRT and one UDP socket. The tracker and the
//! seeders may be processes of their own instead, so that each can end and come back alone.

mod home;
mod sockets;
pub(crate) mod srt;
mod stages;
mod tls;
pub(crate) mod turn;
mod welcome;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use accounts::Accounts;
use anyhow::Context;
use boot::{
    health::Readiness,
    registry::Services,
    tls::Tls,
    units::{Rate, parse_rate, parse_service_url},
};

use presence::Presence;
use proto::access::Role;

use crate::{apart::Operators, exit, mail, tls::TlsFlags, web};
use home::Home;
use sockets::Sockets;
use stages::{Stage, Stages};
use welcome::Ready;

/// Run a whole station: take a broadcast, serve its page, seed its swarm.
///
/// The first start makes a channel called demo, a stream key and an API token, kept in
/// --data-dir; every start shows the key, and writes both to --ready-json.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  livestation standalone
  livestation standalone --http 0.0.0.0:8080 --rtmp 0.0.0.0:1935 --srt 0.0.0.0:8890 \\
    --udp 0.0.0.0:4433
  livestation standalone --data-dir /var/lib/livestation --seeder-upload-max 20Mbps

Tracker and seeder as processes of their own, each of which may die and come back:
  livestation standalone --accounts-grpc 127.0.0.1:7700 --seeder http://127.0.0.1:7702 \\
    --tracker http://127.0.0.1:7701 --tracker-public http://127.0.0.1:8081
  livestation tracker --accounts http://127.0.0.1:7700
  livestation seeder --accounts http://127.0.0.1:7700 --tracker http://127.0.0.1:7701
The page's picture is then at the seeder's --http: a proxy in front sends /live there.")]
pub(crate) struct Args {
    /// Holds the database and the keys; made when it is not there
    #[arg(
        long,
        env = "LIVESTATION_DATA_DIR",
        value_name = "DIR",
        default_value = "livestation-data"
    )]
    data_dir: PathBuf,
    /// Pages, API, viewers' tickets and sessions, /live/CHANNEL.mp4
    #[arg(
        long,
        env = "LIVESTATION_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    http: SocketAddr,
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
    /// The seeder's socket, where viewers fetch
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
    /// What the seeder sends at most, to all viewers of a channel together
    #[arg(long, env = "LIVESTATION_SEEDER_UPLOAD_MAX", value_name = "RATE", default_value = "100Mbps", value_parser = parse_rate)]
    seeder_upload_max: Rate,
    /// How many viewers may watch from one address
    #[arg(
        long,
        env = "LIVESTATION_VIEWERS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 512
    )]
    viewers_per_address: usize,
    /// The station as viewers reach it, such as https://live.example; else as they asked
    #[arg(long, env = "LIVESTATION_PUBLIC_URL", value_name = "URL", value_parser = parse_public_url)]
    public_url: Option<String>,
    /// Where accounts answers services in other processes; must not be open to strangers
    #[arg(long, env = "LIVESTATION_ACCOUNTS_GRPC", value_name = "ADDR")]
    accounts_grpc: Option<SocketAddr>,
    /// Where the tracker here answers seeders in other processes; likewise
    #[arg(
        long,
        env = "LIVESTATION_TRACKER_GRPC",
        value_name = "ADDR",
        conflicts_with = "tracker"
    )]
    tracker_grpc: Option<SocketAddr>,
    /// A tracker in another process, instead of the one here
    #[arg(
        long,
        env = "LIVESTATION_TRACKER",
        value_name = "URL",
        requires_all = ["tracker_public", "accounts_grpc"],
        value_parser = parse_service_url
    )]
    tracker: Option<String>,
    /// Where viewers reach that tracker, such as https://tracker.live.example
    #[arg(long, env = "LIVESTATION_TRACKER_PUBLIC", value_name = "URL", requires = "tracker", value_parser = parse_public_url)]
    tracker_public: Option<String>,
    /// A seeder in another process, instead of the one here; may repeat
    #[arg(
        long = "seeder",
        env = "LIVESTATION_SEEDER",
        value_name = "URL",
        value_delimiter = ',',
        requires = "accounts_grpc",
        value_parser = parse_service_url
    )]
    seeders: Vec<String>,
    #[command(flatten)]
    mail: mail::Args,
    #[command(flatten)]
    turn: turn::Args,
    #[command(flatten)]
    trusted: web::TrustedProxies,
    #[command(flatten)]
    operators: Operators,
    #[command(flatten)]
    tls: TlsFlags,
    /// Written when all of it serves: addresses, stream key, API token
    #[arg(long, value_name = "FILE")]
    ready_json: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let shutdown = boot::shutdown_token()?;
    let turn = args.turn.open()?;
    let tls = tls::open(&args)?;
    let srt = args.srt.open()?;
    let home = Home::open(&args.data_dir)?;
    let sockets = Sockets::bind(&args).await?;
    let readiness = Readiness::default();
    let accounts = Accounts::open(accounts::Config {
        database: home.database()?,
        tracker: Some(tracker_url(&args, &sockets)),
        tls: tls.clone(),
        public_url: args.public_url.clone(),
        tracker_public: args.tracker_public.clone(),
        turn,
        site: site(&args, &sockets),
        mail: args.mail.open(Some(&home.mail()))?,
        push: welcome::push(&sockets.addresses, args.public_url.as_deref()),
        attempts_per_address: args.mail.attempts_per_address,
        presence: Presence::in_process(),
    })
    .await
    .context("cannot open the database in --data-dir")?;
    let keys = home.keys(&accounts).await?;
    let ready = Ready::new(&sockets.addresses, &keys, args.tracker.is_some());
    let given = Given {
        accounts: &accounts,
        srt,
        tls: &tls,
        readiness: &readiness,
    };
    let mut stages = serve(&args, sockets, given)?;

    let ended = tokio::select! {
        name = stages.first_end() => Some(name),
        () = shutdown.cancelled() => None,
        answers = ready.wait_until_it_answers() => match answers {
            Ok(()) => {
                readiness.begin();
                ready.publish(args.ready_json.as_deref())?;
                tokio::select! {
                    name = stages.first_end() => Some(name),
                    () = shutdown.cancelled() => None,
                }
            }
            Err(error) => Some(Err(error)),
        },
    };
    tracing::info!("stopping");
    readiness.end();
    stages.stop().await;
    accounts.close().await;
    match ended {
        None => Ok(exit::DONE.into()),
        Some(Err(error)) => Err(error),
        Some(Ok(name)) => anyhow::bail!("{name} ended by itself"),
    }
}

/// What the services are given besides their flags and sockets.
struct Given<'a> {
    accounts: &'a Accounts,
    srt: ingest::srt::Options,
    tls: &'a Tls,
    readiness: &'a Readiness,
}

/// Starts every service. What feeds stops before what is fed, so that the last of a
/// broadcast still reaches its viewers.
fn serve(args: &Args, sockets: Sockets, given: Given<'_>) -> anyhow::Result<Stages> {
    let Given {
        accounts,
        srt,
        tls,
        readiness,
    } = given;
    sockets.operators.serve(readiness.clone())?;
    let mut feed = Stage::new("ingest", Duration::from_secs(5));
    let mut ingest = ingest::Config::new(sockets.accounts.url.clone(), sockets.encoder.url.clone());
    ingest.tls = tls.clone();
    ingest.srt = srt;
    feed.spawn("ingest", ingest::serve(ingest, sockets.ingest, feed.stop()));

    let mut code = Stage::new("encoder", Duration::from_secs(5));
    let seeders = match args.seeders.is_empty() {
        true => vec![sockets.seeder.url.clone()],
        false => args.seeders.clone(),
    };
    let mut encoder = encoder::Config::new(sockets.accounts.url.clone(), seeders);
    encoder.tls = tls.clone();
    code.spawn(
        "encoder",
        encoder::serve(encoder, sockets.encoder.listener, code.stop()),
    );

    let mut hosts = Stage::new("hosts", Duration::from_secs(8));
    let mut seeding = None;
    if args.seeders.is_empty() {
        let tracker = args.tracker.clone().unwrap_or(sockets.tracker.url);
        let config = seeder::Config {
            trackers: Services::named(&[tracker], Role::Tracker, tls)?,
            tls: tls.clone(),
            upload_max: args.seeder_upload_max,
            tickets: accounts.ticket_verifier(),
            public: args.udp_public.clone(),
        };
        let (seeder, driver) = seeder::Service::new(config, hosts.stop());
        let serving = seeder::serve(seeder.clone(), driver, sockets.seeder.listener, sockets.udp);
        hosts.spawn("seeder", serving);
        seeding = Some(seeder);
    }
    let mut tracking = None;
    if args.tracker.is_none() {
        let config = tracker::Config {
            tickets: accounts.ticket_verifier(),
            limits: tracker::Limits {
                sessions_per_address: args.viewers_per_address,
                ..tracker::Limits::default()
            },
            swarm: overlay_core::tracker::Config::default(),
            // Pages and sessions have no TLS of their own.
            proxied: args
                .public_url
                .as_ref()
                .is_some_and(|url| url.starts_with("https")),
            tls: tls.clone(),
            share: None,
        };
        let tracker = tracker::Service::new(config, hosts.stop())?;
        let serving = tracker::serve(tracker.clone(), sockets.tracker.listener, hosts.stop());
        hosts.spawn("tracker", serving);
        tracking = Some(tracker);
    }
    hosts.spawn(
        "accounts",
        accounts::serve(accounts.clone(), sockets.accounts.listener, hosts.stop()),
    );
    let letters = accounts::deliver(accounts.clone(), hosts.stop());
    hosts.spawn("letters", letters);
    let (accounts, readiness) = (accounts.clone(), readiness.clone());
    let proxies = args.trusted.open();
    let routes = move |cfg: &mut actix_web::web::ServiceConfig| {
        cfg.app_data(proxies.clone());
        cfg.configure(boot::health::routes(readiness.clone()));
        if let Some(tracker) = &tracking {
            cfg.configure(tracker::http::routes(tracker.clone()));
        }
        if let Some(seeder) = &seeding {
            cfg.configure(seeder::http::routes(seeder.clone()));
        }
        // The site answers every address that is left, so it comes last.
        cfg.configure(accounts::http::routes(accounts.clone()));
    };
    let http = web::serve(sockets.http, routes, hosts.stop()).context("--http")?;
    hosts.spawn("http", http);
    Ok(Stages::new([feed, code, hosts]))
}

/// Where letters say that we are.
fn site(args: &Args, sockets: &Sockets) -> String {
    let here = || format!("http://{}", welcome::reachable(sockets.addresses.http));
    args.public_url.clone().unwrap_or_else(here)
}

/// Where the tracker answers our own services.
fn tracker_url(args: &Args, sockets: &Sockets) -> String {
    let elsewhere = args.tracker.clone();
    elsewhere.unwrap_or_else(|| sockets.tracker.url.clone())
}

/// Tickets name the tracker by it: `ws` where it says `http`.
pub(crate) fn parse_public_url(text: &str) -> Result<String, &'static str> {
    let url: actix_web::http::Uri = text.parse().map_err(|_| "not a URL")?;
    let web = matches!(url.scheme_str(), Some("http" | "https"));
    let bare = url.path() == "/" && url.query().is_none();
    match web && bare && url.authority().is_some() {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("it looks like https://live.example, without a path"),
    }
}

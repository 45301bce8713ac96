//! `livestation accounts`: accounts in a process of its own: the site, the API, tickets, and
//! the gRPC that the other services ask.
//!
//! The one rule: what it keeps is in the database; any number may run on one Postgres.

use std::{
    fs,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use accounts::{Accounts, Config, Database, Error, Push};
use anyhow::Context;
use boot::units::parse_service_url;
use presence::Presence;
use proto::access::Role;
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use crate::{
    apart::{self, Life, Operators, Ready},
    exit, mail,
    standalone::{parse_public_url, turn},
    tls::TlsFlags,
    web,
};

const PAUSE: Duration = Duration::from_millis(250);
/// While the database is away, it is said this often.
const REMIND: Duration = Duration::from_secs(10);

/// Run accounts alone, on Postgres or on a SQLite file.
///
/// Postgres is brought to this version by `livestation migrate` first; a SQLite file is by
/// itself, and may be used by one process only. While Postgres is away it answers that one may
/// try again in a moment, and goes on when it is back.
#[derive(clap::Args)]
#[command(after_help = "\
Example, with the URL in the environment, where nobody else on the machine sees it:
  export LIVESTATION_DATABASE=postgres://livestation:PASSWORD@db.example/livestation
  livestation migrate
  livestation accounts --api-token-file api-token
  livestation tracker --accounts http://127.0.0.1:7700")]
pub(crate) struct Args {
    /// postgres://user:password@host/name or sqlite:FILE
    #[arg(
        long,
        env = "LIVESTATION_DATABASE",
        hide_env_values = true,
        value_name = "URL"
    )]
    database: String,
    /// Pages, API, viewers' tickets
    #[arg(
        long,
        env = "LIVESTATION_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    http: SocketAddr,
    /// Where other services ask; must not be open to strangers
    #[arg(
        long,
        env = "LIVESTATION_GRPC",
        value_name = "ADDR",
        default_value = "127.0.0.1:7700"
    )]
    grpc: SocketAddr,
    /// Where the tracker answers other services; else whoever registers as one
    #[arg(long, env = "LIVESTATION_TRACKER", value_name = "URL", value_parser = parse_service_url)]
    tracker: Option<String>,
    /// Where viewers reach that tracker, such as https://tracker.live.example; else where it
    /// says itself, at --public-url, or where they asked
    #[arg(long, env = "LIVESTATION_TRACKER_PUBLIC", value_name = "URL", value_parser = parse_public_url)]
    tracker_public: Option<String>,
    /// The station as viewers reach it, such as https://live.example; else as they asked
    #[arg(long, env = "LIVESTATION_PUBLIC_URL", value_name = "URL", value_parser = parse_public_url)]
    public_url: Option<String>,
    #[command(flatten)]
    mail: mail::Args,
    /// Where letters go without a mail server, one file each; without both nobody can sign up
    #[arg(long, env = "LIVESTATION_MAIL_DIR", value_name = "DIR")]
    mail_dir: Option<PathBuf>,
    /// Where broadcasters push RTMP, as the dashboard says it: rtmp://live.example/live
    #[arg(
        long,
        env = "LIVESTATION_RTMP_PUBLIC",
        value_name = "URL",
        default_value = ""
    )]
    rtmp_public: String,
    /// The same by SRT: srt://live.example:8890
    #[arg(
        long,
        env = "LIVESTATION_SRT_PUBLIC",
        value_name = "URL",
        default_value = ""
    )]
    srt_public: String,
    /// Where several instances count attempts and tickets together: redis://host:6379, or
    /// rediss:// by TLS; else each counts for itself
    #[arg(
        long,
        env = "LIVESTATION_REDIS",
        hide_env_values = true,
        value_name = "URL"
    )]
    redis: Option<String>,
    #[command(flatten)]
    turn: turn::Args,
    #[command(flatten)]
    trusted: web::TrustedProxies,
    #[command(flatten)]
    operators: Operators,
    #[command(flatten)]
    tls: TlsFlags,
    /// Holds an API token, to make channels and stream keys with; made when it is not there
    #[arg(long, env = "LIVESTATION_API_TOKEN_FILE", value_name = "FILE")]
    api_token_file: Option<PathBuf>,
    /// Written when it serves
    #[arg(long, value_name = "FILE")]
    ready_json: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let database: Database = args.database.parse().context("--database")?;
    let signal = boot::shutdown_token()?;
    let listens = [("--grpc", args.grpc)];
    let calls = args.tracker.as_deref().map(|url| ("--tracker", url));
    let tls = args
        .tls
        .open(&[Role::Accounts], &listens, &Vec::from_iter(calls))?;
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
    let mail = args.mail.open(args.mail_dir.as_deref())?;
    let presence = match &args.redis {
        Some(url) => Presence::shared(url).context("--redis")?,
        None => Presence::in_process(),
    };
    let config = Config {
        site: args
            .public_url
            .clone()
            .or_else(|| ready.http.clone())
            .unwrap_or_default(),
        mail,
        push: Push {
            rtmp: args.rtmp_public,
            srt: args.srt_public,
        },
        attempts_per_address: args.mail.attempts_per_address,
        presence,
        database,
        tracker: args.tracker,
        tls,
        public_url: args.public_url,
        tracker_public: args.tracker_public,
        turn: args.turn.open()?,
    };
    let Some(accounts) = open(config, &signal).await? else {
        return Ok(exit::DONE.into());
    };
    if let Some(file) = &args.api_token_file {
        let shown = || format!("--api-token-file {}", file.display());
        keep_api_token(&accounts, file).await.with_context(shown)?;
    }
    let (served, readiness) = (accounts.clone(), life.readiness());
    let proxies = args.trusted.open();
    let routes = move |cfg: &mut actix_web::web::ServiceConfig| {
        cfg.app_data(proxies.clone());
        cfg.configure(boot::health::routes(readiness.clone()));
        cfg.configure(accounts::http::routes(served.clone()));
    };
    let stop = life.stop();
    let pages = web::serve(http, routes, stop.clone())?;
    let calls = accounts::serve(accounts.clone(), grpc, stop.clone());
    let letters = accounts::deliver(accounts.clone(), stop.clone());
    ready.publish(args.ready_json.as_deref())?;
    // Who ends takes the others along, and all drain.
    let served = apart::all(stop.clone(), pages, calls);
    let served = life.lead(None, apart::all(stop, served, letters)).await;
    accounts.close().await;
    served
}

/// Waits for a server that is away, as one may that starts at the same time as we; `None` when
/// `stop` comes first. What waiting cannot mend is an error at once.
async fn open(config: Config, stop: &CancellationToken) -> anyhow::Result<Option<Accounts>> {
    let shown = config.database.to_string();
    let a_file = config.database.migrates_itself();
    let opening = async {
        let mut reminded: Option<time::Instant> = None;
        loop {
            match Accounts::open(config.clone()).await {
                Err(Error::Database(why)) if !a_file => {
                    if reminded.is_none_or(|at| at.elapsed() >= REMIND) {
                        reminded = Some(time::Instant::now());
                        tracing::warn!(%why, database = shown, "it does not answer: trying again");
                    }
                }
                opened => return opened,
            }
            time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        opened = opening => Ok(Some(opened.with_context(|| shown.clone())?)),
        () = stop.cancelled() => Ok(None),
    }
}

/// The token on file as long as it is good; else a new one.
async fn keep_api_token(accounts: &Accounts, file: &Path) -> anyhow::Result<()> {
    match fs::read_to_string(file) {
        Ok(token) if accounts.is_api_token(token.trim()).await? => return Ok(()),
        Ok(_) => tracing::warn!("the API token on file is not good any more: making another"),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let token = accounts.create_api_token().await?;
    Ok(boot::files::write_secret_atomically(
        file,
        token.reveal().as_bytes(),
    )?)
}

//! The stripe encoder: fragments of a publish session become generations, coded into
//! signed pieces, which every seeder is given. Called by ingest through gRPC; asks accounts
//! to certify its epoch keys.
//!
//! The one rule: a channel is one task that owns everything of it, so that there is one
//! publisher, one epoch and one sequence.

mod channel;
mod epoch;
mod feed;
mod feeds;
mod generation;
mod grpc;
mod metrics;
mod registry;

use std::time::Duration;

use boot::tls::Tls;
use proto::encoder::encoder_server::EncoderServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use registry::Registry;

/// What an encoder must be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// accounts' gRPC URL.
    pub accounts: String,
    /// gRPC URLs of all seeders; without any, whoever registers as one.
    pub seeders: Vec<String>,
    /// How it speaks to other services; plain text on loopback, unless told otherwise.
    pub tls: Tls,
    /// How long a channel waits for its broadcaster to come back.
    pub return_window: Duration,
    /// How much is coded together.
    pub generation: Duration,
}

impl Config {
    /// With the return window of 60 s (the contract's) and generations of 200 ms (the
    /// swarm's arithmetic).
    #[must_use]
    pub fn new(accounts: String, seeders: Vec<String>) -> Self {
        Self {
            accounts,
            seeders,
            tls: Tls::default(),
            return_window: Duration::from_secs(60),
            generation: Duration::from_millis(200),
        }
    }
}

/// Why the service, or a call to it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another session is publishing on the channel.
    #[error("the channel is already live")]
    AlreadyLive,
    /// A request that breaks the contract.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// accounts did not certify the epoch key.
    #[error("accounts does not certify: {0}")]
    Accounts(String),
    /// The operating system gave no randomness.
    #[error("no randomness")]
    Randomness,
    /// Another encoder has begun a later epoch of the channel.
    #[error("another encoder has taken over")]
    Superseded,
    /// Stopping, or too busy to take the session.
    #[error("not taking sessions")]
    Unavailable,
    /// An address that is no URL, or a listener that does not serve.
    #[error("transport: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        match error {
            Error::AlreadyLive => Self::already_exists("the channel is already live"),
            Error::BadRequest(what) => Self::invalid_argument(what),
            Error::Superseded => Self::aborted("another encoder has taken over"),
            Error::Accounts(_) => Self::unavailable("accounts does not answer"),
            Error::Randomness | Error::Transport(_) => Self::internal("internal error"),
            Error::Unavailable => Self::unavailable("not taking sessions"),
        }
    }
}

/// How long stopping waits for the channels' last generations to be delivered.
const DRAIN: Duration = Duration::from_secs(8);

/// Serves until `shutdown`; then pauses every channel and gives the seeders what is left.
///
/// # Errors
/// When a configured address is no URL, or the listener fails.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let tls = config.tls.clone();
    metrics::announce();
    let registry = Registry::new(config, shutdown.clone())?;
    let service = EncoderServer::new(grpc::Service::new(registry.clone()))
        .max_decoding_message_size(boot::grpc::MESSAGE_MAX)
        .max_encoding_message_size(boot::grpc::MESSAGE_MAX);
    let served = boot::grpc::serve(Routes::new(service), listener, &tls, shutdown.clone()).await;
    shutdown.cancel();
    if tokio::time::timeout(DRAIN, registry.drained())
        .await
        .is_err()
    {
        tracing::warn!("stopped before every seeder had its last generations");
    }
    Ok(served?)
}

//! Takes broadcasters' RTMP and SRT, asks accounts whether they may, and gives the encoder CMAF
//! fragments. Demuxes and muxes; never transcodes.
//!
//! The one rule: a stranger costs next to nothing and not for long; a broadcaster's media
//! are never dropped here: when the encoder is slow, the socket waits; when it dies, another
//! takes over at the next keyframe.

mod authorize;
mod connection;
mod encoders;
mod gate;
mod keys;
mod metrics;
mod publication;
mod refusal;
pub mod srt;

use std::{sync::Arc, time::Duration};

use boot::{registry::Services, tls::Tls};
use proto::access::Role;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;
use tracing::Instrument;

use authorize::authorize;
use connection::Connection;
use encoders::Encoders;
use gate::{Gate, Visitor};
use keys::Keys;
use publication::Publication;
use refusal::Refusal;

/// What an ingest must be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// accounts' gRPC URL.
    pub accounts: String,
    /// The encoder's gRPC URL; without it, whoever registers as one.
    pub encoder: Option<String>,
    /// How it speaks to other services; plain text on loopback, unless told otherwise.
    pub tls: Tls,
    /// What a broadcaster, and a stranger, may cost.
    pub limits: Limits,
    /// How SRT is taken, where there is a socket for it.
    pub srt: srt::Options,
}

/// Where broadcasters come.
#[derive(Debug)]
pub struct Sockets {
    /// For RTMP.
    pub rtmp: TcpListener,
    /// For SRT, unless it is off.
    pub srt: Option<UdpSocket>,
}

impl From<TcpListener> for Sockets {
    fn from(rtmp: TcpListener) -> Self {
        Self { rtmp, srt: None }
    }
}

impl Config {
    /// With the usual limits.
    #[must_use]
    pub fn new(accounts: String, encoder: impl Into<Option<String>>) -> Self {
        Self {
            accounts,
            encoder: encoder.into(),
            tls: Tls::default(),
            limits: Limits::default(),
            srt: srt::Options::default(),
        }
    }
}

/// What a broadcaster, and a stranger, may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Broadcasters at once; one core serves some 500 of 600 kbit/s.
    pub broadcasters: usize,
    /// Connections that have not shown a key yet, of all addresses. Each costs some 10 KiB,
    /// so that a flood of them keeps no broadcaster out.
    pub strangers: usize,
    /// Connections of one address that have not shown a key yet.
    pub strangers_per_address: usize,
    /// From accepting a socket to its asking to publish; accounts and the encoder have
    /// deadlines of their own.
    pub publish_deadline: Duration,
    /// How long a broadcaster may send nothing.
    pub idle: Duration,
    /// After so many in a minute, an address is refused without asking accounts.
    pub wrong_keys_per_minute: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            broadcasters: 1024,
            strangers: 12_000,
            strangers_per_address: 32,
            publish_deadline: Duration::from_secs(5),
            idle: Duration::from_secs(15),
            wrong_keys_per_minute: 5,
        }
    }
}

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured address that is no URL.
    #[error("address of a service: {0}")]
    Address(#[from] tonic::transport::Error),
}

/// What every connection needs.
struct Shared {
    limits: Limits,
    gate: Gate,
    keys: Keys,
    accounts: Channel,
    encoders: Encoders,
    shutdown: CancellationToken,
}

impl Shared {
    /// From a key to an open session with the encoder.
    async fn admit(
        &self,
        visitor: &mut Visitor,
        key: String,
        protocol: &'static str,
    ) -> Result<Publication, Refusal> {
        let beginning = tracing::info_span!("begin broadcast", protocol);
        let admitting = self.admit_within(visitor, key, protocol);
        let mut publication = admitting.instrument(beginning.clone()).await?;
        publication.begins_with(beginning);
        Ok(publication)
    }

    async fn admit_within(
        &self,
        visitor: &mut Visitor,
        key: String,
        protocol: &'static str,
    ) -> Result<Publication, Refusal> {
        let authorized = authorize(self.accounts.clone(), key, protocol).await;
        if let Err(Refusal::WrongKey(_)) = &authorized {
            self.on_wrong_key(visitor);
        }
        let (channel, key_id) = authorized?;
        if !self.gate.admit(visitor) {
            return Err(Refusal::Full);
        }
        let key = self.keys.hold(&channel, key_id);
        Publication::open(self.encoders.clone(), channel, key, protocol).await
    }

    fn on_wrong_key(&self, visitor: &Visitor) {
        if let Some(count) = self.gate.on_wrong_key(visitor) {
            tracing::warn!(count, "wrong stream keys");
        }
    }
}

/// How long stopping waits for broadcasters to be told.
const DRAIN: Duration = Duration::from_secs(8);
/// After the operating system refuses a socket (out of descriptors), let some close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Who was refused may read why, and who is done may say so, before the socket goes.
const LINGER: Duration = Duration::from_secs(1);
/// After so long without media, what the fragmenter holds back goes.
const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// Serves RTMP, and SRT where there is a socket for it, until `shutdown`; broadcasters are then
/// told and closed, and may return to another ingest within the encoder's window.
///
/// # Errors
/// When a configured address is no URL.
pub async fn serve(
    config: Config,
    sockets: impl Into<Sockets>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let tls = &config.tls;
    let accounts = boot::grpc::connect_lazy(&config.accounts, Role::Accounts, tls)?;
    let named = Vec::from_iter(config.encoder);
    let encoders = Services::find(&named, Role::Encoder, tls, accounts.clone())?;
    metrics::announce();
    let shared = Arc::new(Shared {
        limits: config.limits,
        gate: Gate::new(config.limits),
        keys: Keys::default(),
        accounts: accounts.clone(),
        encoders: Encoders::new(encoders, shutdown.clone()),
        shutdown,
    });
    let Sockets { rtmp, srt } = sockets.into();
    let by_srt = async {
        if let Some(socket) = srt {
            srt::serve(shared.clone(), config.srt, socket).await;
        }
    };
    let taking = async { tokio::join!(serve_rtmp(shared.clone(), rtmp), by_srt) };
    tokio::select! {
        _ = taking => {}
        () = shared.keys.watch(accounts) => {}
    }
    Ok(())
}

async fn serve_rtmp(shared: Arc<Shared>, listener: TcpListener) {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, address)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(stranger) = shared.gate.enter(address.ip()) else {
            tracing::debug!("connection turned away");
            continue;
        };
        let connection = Connection::new(socket, shared.clone(), stranger);
        tasks.spawn(connection.run());
    }
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("stopped before every broadcaster was told");
    }
}

//! Hosts the swarms' trackers: sockets outside, the pure `overlay_core::Tracker` inside.
//! Viewers come by WebSocket with a ticket, seeders by gRPC as services of ours, accounts
//! asks for figures. The rule: whatever a peer does, it costs its own session and a bounded
//! amount of memory, nothing else.

mod figures;
mod grpc;
pub mod http;
mod metrics;
mod places;
mod registry;
mod session;
mod share;
mod swarm;

use std::{sync::Arc, time::Duration};

use boot::{registry::Services, ticket::Verifier, tls::Tls};
use tokio_util::sync::CancellationToken;

pub use grpc::serve;

/// What the tracker needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Checks viewers' tickets.
    pub tickets: Verifier,
    /// What strangers may take.
    pub limits: Limits,
    /// How swarms are laid out.
    pub swarm: overlay_core::tracker::Config,
    /// Viewers come through a proxy, so that their addresses are the proxy's unless it is one
    /// that names them (`boot::client`).
    pub proxied: bool,
    /// How it speaks to other services.
    pub tls: Tls,
    /// Which channels are its own, where there may be other trackers.
    pub share: Option<Share>,
}

/// A tracker among others: each has the channels that it is the first for, and sends the
/// viewers of others away, who then ask for another ticket.
#[derive(Clone, Debug)]
pub struct Share {
    /// All of them, this one too.
    pub trackers: Services,
    /// Where this one is registered.
    pub own: String,
}

/// What strangers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions of viewers, in all.
    pub sessions: usize,
    /// Sessions of viewers from one address, a household or a load test.
    pub sessions_per_address: usize,
    /// From the opening of a session to its `Join`.
    pub join_within: Duration,
    /// From one sign of life to the next; pongs count.
    pub silence: Duration,
    /// Messages a second, over a burst of twice as many.
    pub messages_per_second: u32,
    /// Messages waiting for a slow reader; a session that exceeds it is closed.
    pub queue: usize,
    /// How long a swarm without sessions is remembered.
    pub swarm_empty: Duration,
}

impl Default for Limits {
    /// A session costs some 20 KiB here; 20,000 of them 400 MiB. A peer says one status a
    /// second and a few signals while it joins. A queue holds what placing a peer anew in
    /// all stripes says, several times.
    fn default() -> Self {
        Self {
            sessions: 20_000,
            sessions_per_address: 512,
            join_within: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            messages_per_second: 200,
            queue: 512,
            swarm_empty: Duration::from_secs(300),
        }
    }
}

/// The service's state, cheap to clone; WebSocket and gRPC share one.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    tickets: Verifier,
    limits: Limits,
    swarms: Arc<registry::Registry>,
    places: Arc<places::Places>,
    proxied: bool,
    tls: Tls,
    shutdown: CancellationToken,
}

/// Why the tracker cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Swarms are actors, and there is no thread for them.
    #[error(transparent)]
    Actors(#[from] boot::actors::Error),
    /// The operating system gave no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
    /// The swarm's actor died or does not answer.
    #[error("the swarm does not answer")]
    SwarmGone,
}

impl Service {
    /// A tracker without swarms; `shutdown` closes every session. With a share it needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`Error::Actors`].
    pub fn new(config: Config, shutdown: CancellationToken) -> Result<Self, Error> {
        let arbiter = boot::actors::arbiter()?;
        metrics::announce();
        let swarms = registry::Registry::new(arbiter, config.swarm, config.limits.swarm_empty);
        if let Some(share) = config.share {
            tokio::spawn(share::keep(share, swarms.clone(), shutdown.clone()));
        }
        Ok(Self(Arc::new(Inner {
            swarms,
            places: places::Places::new(config.limits),
            tickets: config.tickets,
            proxied: config.proxied,
            tls: config.tls,
            limits: config.limits,
            shutdown,
        })))
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        tracing::error!(%error, "a swarm fails");
        Self::unavailable("the tracker cannot answer now")
    }
}

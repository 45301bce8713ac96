//! The origin seeder: takes each channel's coded generations from the encoder, roots the
//! stripes' trees, helps where a deadline is near, and serves players without peers over
//! HTTP. Hosted by the program; the encoder calls it through gRPC, it announces itself to
//! the tracker.
//!
//! The one rule: a seeder is a peer. What it does in a swarm the core decides; here it is
//! only fed, announced and counted.

mod announce;
mod broadcast;
mod channels;
mod grpc;
pub mod http;
mod metrics;
mod readers;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};

use boot::{registry::Services, ticket::Verifier, tls::Tls, units::Rate};
use native::{
    host::{self, Clock, Command, Host},
    link::{self, address::Policy},
    shaper::Wire,
    socket::Socket,
};
use proto::seeder::seeder_server::SeederServer;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use channels::Channels;
use readers::Readers;

/// Viewers a seeder has links to at once, over all channels.
const MAX_LINKS: usize = 1024;
/// Of those, links that are being set up.
const MAX_PENDING: usize = 256;

/// What a seeder must be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The trackers: the operator's, or those that register.
    pub trackers: Services,
    /// How it speaks to other services.
    pub tls: Tls,
    /// What each channel may send to viewers.
    pub upload_max: Rate,
    /// Believes the tickets of players over HTTP.
    pub tickets: Verifier,
    /// Addresses at which viewers reach the UDP socket beyond those of its interfaces.
    pub public: Vec<SocketAddr>,
}

/// Why the service, or a call to it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request that breaks the contract.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// An epoch that is older than the one in force, or a generation of another.
    #[error("not the epoch in force")]
    Stale,
    /// A certificate that the channel's key did not make.
    #[error("the epoch is not certified: {0}")]
    Uncertified(#[from] stripe::Error),
    /// As many channels as a seeder takes.
    #[error("too many channels")]
    Full,
    /// Stopping.
    #[error("not taking broadcasts")]
    Unavailable,
    /// The system gives no random numbers.
    #[error("no randomness")]
    Randomness,
    /// The UDP socket cannot be used.
    #[error("udp: {0}")]
    Udp(#[from] std::io::Error),
    /// The links cannot be set up.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// A listener that does not serve.
    #[error("transport: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        match error {
            Error::BadRequest(what) => Self::invalid_argument(what),
            Error::Stale => Self::failed_precondition("not the epoch in force"),
            Error::Uncertified(_) => Self::permission_denied("the epoch is not certified"),
            Error::Full => Self::resource_exhausted("too many channels"),
            Error::Unavailable => Self::unavailable("not taking broadcasts"),
            Error::Randomness | Error::Udp(_) | Error::Link(_) | Error::Transport(_) => {
                tracing::error!(%error, "a call fails");
                Self::internal("internal error")
            }
        }
    }
}

/// The seeder. Clones are the same one; HTTP servers hold them.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    config: Config,
    clock: Clock,
    channels: Channels,
    readers: Readers,
    commands: mpsc::Sender<Command>,
    /// Ends every broadcast's tasks.
    shutdown: CancellationToken,
}

/// What [`serve`] drives; made with its service.
pub struct Driver(mpsc::Receiver<Command>);

impl Service {
    /// A seeder without channels. Give the second part to [`serve`].
    ///
    #[must_use]
    pub fn new(config: Config, shutdown: CancellationToken) -> (Self, Driver) {
        let (commands, receiver) = host::commands();
        metrics::announce();
        let inner = Inner {
            config,
            clock: Clock::new(Instant::now()),
            channels: Channels::default(),
            readers: Readers::default(),
            commands,
            shutdown,
        };
        (Self(Arc::new(inner)), Driver(receiver))
    }
}

/// Serves until the service's shutdown: gRPC on the listener, the swarm on the socket.
///
/// # Errors
/// [`Error`].
pub async fn serve(
    service: Service,
    driver: Driver,
    listener: TcpListener,
    udp: UdpSocket,
) -> Result<(), Error> {
    let shutdown = service.0.shutdown.clone();
    let socket = Socket::new(udp)?;
    let links = links(&service.0.config, &socket);
    let seed = getrandom::u64().map_err(|_| Error::Randomness)?;
    let host = Host::new(service.0.clock, Wire::plain(socket), links, seed)?;
    let tls = service.0.config.tls.clone();
    let grpc = SeederServer::new(service).max_decoding_message_size(boot::grpc::MESSAGE_MAX);
    let (served, ()) = tokio::join!(
        boot::grpc::serve(Routes::new(grpc), listener, &tls, shutdown.clone()),
        host.run(driver.0, shutdown),
    );
    Ok(served?)
}

/// A viewer may be on this machine, on this network, or anywhere.
fn links(config: &Config, socket: &Socket) -> link::Config {
    // Nothing is sent there; the routing table names the interface that leads out.
    let outward = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let mut local = config.public.clone();
    local.extend(socket.reachable(outward));
    let policy = policy(socket.local().ip(), &local);
    if socket.local().ip().is_unspecified() {
        local.push((IpAddr::from(Ipv4Addr::LOCALHOST), socket.local().port()).into());
    }
    local.sort_unstable();
    local.dedup();
    link::Config {
        max_links: MAX_LINKS,
        max_pending: MAX_PENDING,
        answers_stun: true,
        ..link::Config::new(local, policy)
    }
}

/// Which of the addresses that viewers name the seeder probes. Bound to loopback, as a demo
/// is, everybody is on this machine. Reached at private addresses alone, as a station on a
/// LAN is, viewers are there too. Who is reached at a public one serves strangers, and they
/// must not make it knock at doors behind it. Local viewers need none of this: they knock
/// first, and an ICE check that names the link is answered wherever it comes from.
fn policy(bound: IpAddr, reached: &[SocketAddr]) -> Policy {
    if bound.is_loopback() {
        return Policy::for_tracker(bound);
    }
    let private = |at: &SocketAddr| Policy::for_tracker(at.ip()).private;
    Policy {
        loopback: false,
        private: reached.iter().all(private),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_local_seeder_probes_local_addresses() {
        let any = IpAddr::from([0, 0, 0, 0]);
        let here = IpAddr::from([127, 0, 0, 1]);
        let lan = SocketAddr::from(([192, 168, 1, 4], 4433));
        let public = SocketAddr::from(([9, 9, 9, 9], 4433));
        let kinds = |bound, reached: &[SocketAddr]| {
            let policy = policy(bound, reached);
            (policy.loopback, policy.private)
        };
        assert_eq!(kinds(here, &[(here, 4433).into()]), (true, true));
        assert_eq!(kinds(any, &[lan]), (false, true));
        assert_eq!(kinds(lan.ip(), &[lan]), (false, true));
        assert_eq!(kinds(any, &[public, lan]), (false, false));
        assert_eq!(kinds(any, &[public]), (false, false));
    }
}

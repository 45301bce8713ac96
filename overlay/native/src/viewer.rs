//! A viewer: ticket, socket, tracker session and driver put together. `livestation watch`
//! opens one, `livestation swarm` many.
//!
//! The one rule: nothing runs until its owner polls [`Running::run`], and everything ends
//! when the owner says so.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use overlay_core::{PeerId, Signed, tracker::Role};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    host::{self, Clock, Command, Host, Join, Played, Session, Snapshot, SwarmId},
    link::{self, address::Policy, turn},
    shaper::{Line, Wire},
    signalling::{self, Notices},
    socket::Socket,
    ticket::{Address, Ticket},
};

/// A viewer is in one swarm.
const SWARM: SwarmId = SwarmId(0);
/// How long a TURN server's name may take; a picture waits for it.
const LOOKS_UP: Duration = Duration::from_secs(1);

/// What a viewer is to be.
pub struct Config {
    /// Of the channel.
    pub address: Address,
    /// Where its socket is bound; none: any port, on whatever leads to the tracker.
    pub udp: Option<SocketAddr>,
    /// Bits a second it sends at most, or less where the ticket says so; 0: shares nothing.
    pub upload_bps: u64,
    /// When it began, for its start-up time.
    pub began: Instant,
    /// A line to put before its socket, for tests.
    pub line: Option<Line>,
}

/// Why there is no viewer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tracker's address does not resolve.
    #[error("the tracker's name has no address")]
    Tracker,
    /// The socket cannot be had.
    #[error("cannot open a UDP socket")]
    Socket(#[from] io::Error),
    /// No certificate.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// What its owner has of it.
pub struct Viewer {
    /// Its name.
    pub peer: PeerId,
    /// Its socket.
    pub udp: SocketAddr,
    /// Media and events.
    pub played: broadcast::Receiver<Played>,
    /// Figures, renewed each second and at the end.
    pub stats: watch::Receiver<Snapshot>,
}

/// Its running part.
pub struct Running {
    host: Host,
    commands: mpsc::Sender<Command>,
    receiver: mpsc::Receiver<Command>,
    tracker: mpsc::Receiver<overlay_core::wire::ToTracker>,
    join: Box<Join>,
    address: Address,
    ticket: Ticket,
}

/// Opens the socket and makes ready; poll [`Running::run`] to join.
///
/// # Errors
/// [`Error`].
pub async fn open(config: Config, ticket: Ticket) -> Result<(Viewer, Running), Error> {
    let at = resolve(&ticket).await.ok_or(Error::Tracker)?;
    let socket = Socket::bind(config.udp.unwrap_or_else(|| any(at)))?;
    let udp = socket.local();
    let links = link::Config {
        turn: find_turn(&ticket).await,
        ..link::Config::new(socket.reachable(at), Policy::for_tracker(at.ip()))
    };
    let wire = match config.line {
        Some(line) => Wire::shaped(socket, line),
        None => Wire::plain(socket),
    };
    let random = || getrandom::u64().map_err(|_| Error::Random);
    let clock = Clock::new(config.began);
    let host = Host::new(clock, wire, links, random()?)?;
    let (commands, receiver) = host::commands();
    let (tracker, from_core) = mpsc::channel(signalling::QUEUE_LEN);
    let (played, heard) = host::played();
    let (stats, figures) = watch::channel(Snapshot::default());
    let peer = PeerId(random()?);
    let join = Box::new(Join {
        peer,
        role: Role::Viewer,
        upload_bps: ticket.upload_bps(config.upload_bps),
        seed: random()?,
        started: clock.started(),
        scheme: Signed::new(ticket.channel_id, ticket.channel_key),
        session: Session {
            tracker,
            played,
            stats,
        },
    });
    let viewer = Viewer {
        peer,
        udp,
        played: heard,
        stats: figures,
    };
    let running = Running {
        host,
        commands,
        receiver,
        tracker: from_core,
        join,
        address: config.address,
        ticket,
    };
    Ok((viewer, running))
}

impl Running {
    /// With a tap on all its links.
    #[must_use]
    pub fn tapped(self, tap: Box<dyn host::Tap>) -> Self {
        let host = self.host.tapped(tap);
        Self { host, ..self }
    }

    /// Joins, and watches until `shutdown`; then takes its leave of everybody.
    pub async fn run(self, shutdown: CancellationToken) {
        let commands = self.commands;
        let join = Command::Join(SWARM, self.join);
        // The driver is not polled yet; its queue has room for one.
        if commands.try_send(join).is_err() {
            return;
        }
        let notices = Notices::new(SWARM, commands);
        let host = self.host.run(self.receiver, shutdown.clone());
        let session = signalling::run(self.address, self.ticket, self.tracker, notices, shutdown);
        tokio::join!(host, session);
    }
}

/// The TURN servers that have an address; without one, links have one way less.
async fn find_turn(ticket: &Ticket) -> Vec<turn::Server> {
    let mut servers = Vec::new();
    for server in &ticket.turn {
        let found = tokio::time::timeout(LOOKS_UP, tokio::net::lookup_host(&server.host));
        let Ok(Ok(mut found)) = found.await else {
            tracing::warn!("a TURN server's name has no address");
            continue;
        };
        servers.extend(found.next().map(|address| turn::Server {
            address,
            over: server.over,
            username: server.username.clone(),
            password: server.password.clone(),
        }));
    }
    servers
}

async fn resolve(ticket: &Ticket) -> Option<SocketAddr> {
    let host = ticket.tracker.host_str()?;
    let port = ticket.tracker.port_or_known_default()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = tokio::net::lookup_host((host, port)).await.ok()?;
    found.next()
}

fn any(toward: SocketAddr) -> SocketAddr {
    if toward.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    }
}

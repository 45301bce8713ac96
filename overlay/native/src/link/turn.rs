//! An address on a TURN server that stands for our own (RFC 8656), for links that find no
//! other way: [`super::Links`] asks for it when one has waited long enough, wraps what goes
//! out by it and unwraps what comes in.
//!
//! The one rule: nothing is allocated before a link needs it, since whoever runs the server
//! pays for every byte twice.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use turn_client_proto::{
    api::{Transmit, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet},
    client::TurnClient,
    prelude::*,
    stun::Instant as StunInstant,
    tcp::TurnClientTcp,
    types::{TransportType, TurnCredentials},
    udp::TurnClientUdp,
};

/// Servers that are tried in turn; a ticket that names more names too many.
pub const MAX_SERVERS: usize = 4;
/// Addresses that may send to ours, each permission a request every five minutes.
const MAX_PERMITTED: usize = 128;
/// Peers' addresses with a channel of their own, which saves 32 bytes a datagram.
const MAX_CHANNELS: usize = 128;
/// After every server failed, none is asked for so long.
const REST: Duration = Duration::from_secs(30);
/// From the first to the last of a request's transmissions, and its end: 2.2 s in all. Who
/// waits for a picture does not wait for the forty seconds of RFC 8489.
const RETRANSMIT: Duration = Duration::from_millis(200);
const RETRANSMIT_MAX: Duration = Duration::from_millis(800);
const TRANSMISSIONS: u32 = 4;
const LAST_WAIT: Duration = Duration::from_millis(800);
/// A TCP connection is there within this.
const CONNECT: Duration = Duration::from_secs(3);

/// What an address there sends and receives.
const UDP: TransportType = TransportType::Udp;

/// How the server is reached; what it sends on is UDP always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// By the socket that links have.
    Udp,
    /// By a connection that the owner makes.
    Tcp,
}

/// A server that may be used.
#[derive(Clone)]
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// How it is reached.
    pub over: Over,
    /// Told by accounts, for some hours.
    pub username: String,
    /// Likewise.
    pub password: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("over", &self.over).finish()
    }
}

/// What the server's datagrams were.
pub(super) enum Received {
    /// Not the server's.
    Foreign,
    /// Between the server and us.
    Own,
    /// A peer's, sent to our address there.
    Peer(SocketAddr, Vec<u8>),
}

/// Our address there, or none yet.
pub(super) struct Turn {
    servers: Vec<Server>,
    state: State,
    /// Where stun-proto's clock begins.
    epoch: Option<Instant>,
    permitted: HashMap<IpAddr, Permission>,
    channels: HashSet<SocketAddr>,
}

enum Permission {
    Asked,
    Given,
}

enum State {
    Unused,
    /// The owner connects to this server, and has so long.
    Dialling(usize, Instant),
    Open(Open),
    /// Until then.
    Failed(Instant),
}

/// A server that is asked, or has given us an address.
struct Open {
    at: usize,
    client: Box<TurnClient>,
    address: Option<SocketAddr>,
}

impl Turn {
    pub(super) fn new(mut servers: Vec<Server>) -> Self {
        servers.truncate(MAX_SERVERS);
        Self {
            servers,
            state: State::Unused,
            epoch: None,
            permitted: HashMap::new(),
            channels: HashSet::new(),
        }
    }

    /// A link finds no way: asks for an address unless that was done. `local` is our socket's.
    pub(super) fn want(&mut self, now: Instant, local: SocketAddr) {
        match self.state {
            State::Unused => self.ask(now, 0, local),
            State::Failed(until) if now >= until => self.ask(now, 0, local),
            _ => {}
        }
    }

    /// Our address there.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.open()?.address
    }

    /// The server that the owner is to be connected to.
    pub(super) fn stream(&self) -> Option<SocketAddr> {
        let server = self.servers.get(self.at()?)?;
        (server.over == Over::Tcp).then_some(server.address)
    }

    /// The owner is connected.
    pub(super) fn on_stream_up(&mut self, local: SocketAddr) {
        let State::Dialling(at, _) = self.state else {
            return;
        };
        if let Some(server) = self.servers.get(at) {
            let client = TurnClientTcp::allocate(local, server.address, config(server));
            self.state = State::Open(Open::new(at, client.into()));
        }
    }

    /// The owner could not connect, or the connection broke.
    pub(super) fn on_stream_down(&mut self, now: Instant, local: SocketAddr) {
        if let Some(at) = self.at() {
            self.ask(now, at + 1, local);
        }
    }

    /// Takes what came from `source`, over the socket or the connection.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        over: Over,
        source: SocketAddr,
        bytes: &[u8],
    ) -> Received {
        let now = self.stun(now);
        let Some(open) = self.open_mut() else {
            return Received::Foreign;
        };
        let client = &mut open.client;
        if client.remote_addr() != source || client.transport() != over.transport() {
            return Received::Foreign;
        }
        let came = Transmit::new(bytes, over.transport(), source, client.local_addr());
        match client.recv(came, now) {
            TurnRecvRet::Handled | TurnRecvRet::PeerIcmp { .. } => Received::Own,
            TurnRecvRet::Ignored(_) => Received::Foreign,
            TurnRecvRet::PeerData(data) => Received::Peer(data.peer, data.data().to_vec()),
        }
    }

    /// A further datagram in what came over the connection.
    pub(super) fn receive_more(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let now = self.stun(now);
        let data = self.open_mut()?.client.poll_recv(now)?;
        Some((data.peer, data.data().to_vec()))
    }

    /// What the server is to be sent so that the peer gets this from our address there. None
    /// while the server has not let us: the datagram is lost, and who cares sends it again.
    pub(super) fn wrap(&mut self, now: Instant, to: SocketAddr, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let now = self.stun(now);
        let State::Open(open) = &mut self.state else {
            return None;
        };
        match self.permitted.get(&to.ip()) {
            Some(Permission::Given) => {}
            Some(Permission::Asked) => return None,
            None => {
                let room = self.permitted.len() < MAX_PERMITTED;
                let asked = room.then(|| open.client.create_permission(UDP, to.ip(), now));
                if let Some(Ok(())) = asked {
                    self.permitted.insert(to.ip(), Permission::Asked);
                }
                return None;
            }
        }
        // A check is no reason for a channel; whoever is sent anything else is linked. Over TCP
        // channels would have to be padded (RFC 8656, section 12.5), which turn-client-proto
        // does not do.
        let fits = !super::stun::is_stun(&bytes) && open.client.transport() == UDP;
        if fits && self.channels.len() < MAX_CHANNELS && self.channels.insert(to) {
            // Without one it goes as well, in longer datagrams.
            let _ = open.client.bind_channel(UDP, to, now);
        }
        let sent = open.client.send_to(UDP, to, bytes, now).ok()??;
        Some(sent.build().data)
    }

    /// Moves on; true when our address there is new, or there is none any more.
    pub(super) fn poll(&mut self, now: Instant, local: SocketAddr) -> bool {
        let before = self.address();
        let at = self.stun(now);
        match &mut self.state {
            State::Dialling(server, until) if now >= *until => {
                let next = *server + 1;
                self.ask(now, next, local);
            }
            State::Open(open) => {
                let mut failed = matches!(open.client.poll(at), TurnPollRet::Closed);
                while let Some(event) = open.client.poll_event() {
                    match event {
                        TurnEvent::AllocationCreateFailed(_) => failed = true,
                        TurnEvent::PermissionCreated(_, ip) => {
                            self.permitted.insert(ip, Permission::Given);
                        }
                        TurnEvent::PermissionCreateFailed(_, ip) => {
                            // Asked for again when there is something to send.
                            self.permitted.remove(&ip);
                        }
                        _ => {}
                    }
                }
                open.address = open.client.relayed_addresses().next().map(|(_, at)| at);
                if failed {
                    let next = open.at + 1;
                    self.ask(now, next, local);
                }
            }
            _ => {}
        }
        before != self.address()
    }

    /// What the server is to be sent next.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let now = self.stun(now);
        let out = self.open_mut()?.client.poll_transmit(now)?;
        Some(out.data.to_vec())
    }

    /// How the server in use is reached, and where.
    pub(super) fn server(&self) -> Option<(Over, SocketAddr)> {
        let server = self.servers.get(self.at()?)?;
        Some((server.over, server.address))
    }

    /// When to [`Self::poll`] without being asked.
    pub(super) fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let at = self.stun(now);
        match &mut self.state {
            State::Dialling(_, until) => Some(*until),
            State::Open(open) => match open.client.poll(at) {
                // It may say that there is something to do already.
                TurnPollRet::WaitUntil(until) => {
                    let wait = until.saturating_duration_since(at);
                    Some(now + wait.max(Duration::from_millis(1)))
                }
                _ => Some(now),
            },
            State::Unused | State::Failed(_) => None,
        }
    }

    /// Begins anew when it is next wanted.
    pub(super) fn reset(&mut self) {
        self.state = State::Unused;
    }

    /// Gives the address back.
    pub(super) fn close(&mut self, now: Instant) {
        let now = self.stun(now);
        if let Some(open) = self.open_mut() {
            let _ = open.client.delete(now);
        }
    }

    fn ask(&mut self, now: Instant, at: usize, local: SocketAddr) {
        self.permitted.clear();
        self.channels.clear();
        self.state = match self.servers.get(at) {
            None => State::Failed(now + REST),
            Some(server) if server.over == Over::Tcp => State::Dialling(at, now + CONNECT),
            Some(server) => {
                let client = TurnClientUdp::allocate(local, server.address, config(server));
                State::Open(Open::new(at, client.into()))
            }
        };
    }

    fn at(&self) -> Option<usize> {
        match &self.state {
            State::Dialling(at, _) => Some(*at),
            State::Open(open) => Some(open.at),
            State::Unused | State::Failed(_) => None,
        }
    }

    fn open(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    fn stun(&mut self, now: Instant) -> StunInstant {
        let epoch = *self.epoch.get_or_insert(now);
        let nanos = now.saturating_duration_since(epoch).as_nanos();
        StunInstant::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

impl Open {
    fn new(at: usize, client: TurnClient) -> Self {
        Self {
            at,
            client: Box::new(client),
            address: None,
        }
    }
}

impl Over {
    fn transport(self) -> TransportType {
        match self {
            Self::Udp => TransportType::Udp,
            Self::Tcp => TransportType::Tcp,
        }
    }
}

fn config(server: &Server) -> TurnConfig {
    let mut config = TurnConfig::new(TurnCredentials::new(&server.username, &server.password));
    config.set_request_retransmits(RETRANSMIT, RETRANSMIT_MAX, TRANSMISSIONS, LAST_WAIT);
    config
}

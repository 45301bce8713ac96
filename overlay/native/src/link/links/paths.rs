//! By which way a link goes: the addresses that both ends name, the one under which others
//! see us, and when all that leads nowhere the one at a TURN server.
//!
//! The one rule: what costs the operator is offered last.

use std::{
    fmt::Debug,
    hash::Hash,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    super::{
        blob::{self, Blob},
        turn::{Over, Received},
    },
    Entry, Error, Event, Links, MAX_EVENTS, MAX_OUT, Transmit,
};

/// Addresses under which we are seen that are told to others.
pub(super) const MAX_REFLEXIVE: usize = 3;
/// Peers whose word is believed for where our datagrams come from.
const MAX_TRUSTED: usize = 1024;
/// A link that is not up so long after both ends were described takes the way over TURN as
/// well. Checks that succeed at all have done so by then: three round trips across the world.
const TURN_AFTER: Duration = Duration::from_secs(1);

/// An address from which nothing has come gets so many checks: it may be a victim's whom a
/// peer would have flooded. One that arrives is enough, and at 20 % of loss one in 125 times
/// none does.
const PROBES: u8 = 3;
/// From one of them to the next, by whichever of our addresses: so long apart that what they
/// open at a router is there for the other end's.
const PROBE_GAP: Duration = Duration::from_millis(150);

/// Where a peer says that it can be reached.
pub(super) struct Remote {
    at: SocketAddr,
    /// A TURN server's address.
    turn: bool,
    tried: bool,
    /// Sent to it by our socket, and over our TURN server: another way, with as many.
    probes: [Probes; 2],
}

/// Checks that were sent to an address before anything came from it.
#[derive(Clone, Copy, Default)]
struct Probes {
    count: u8,
    last: Option<Instant>,
}

impl Probes {
    /// Whether one more may go.
    fn may(&self, now: Instant) -> bool {
        let soon = self.last.is_some_and(|last| now < last + PROBE_GAP);
        !soon && self.count < PROBES
    }

    /// One more went.
    fn count(&mut self, now: Instant) {
        self.count += 1;
        self.last = Some(now);
    }
}

impl Remote {
    pub(super) fn of(blob: &Blob) -> impl Iterator<Item = Self> {
        blob.candidates.iter().map(|at| Self {
            at: *at,
            turn: blob.turn,
            tried: false,
            probes: [Probes::default(); 2],
        })
    }
}

impl<K: Copy + Eq + Hash + Debug> Links<K> {
    /// Believes these peers where they see us, and nobody else.
    pub fn trust(&mut self, keys: impl Iterator<Item = K>) {
        self.trusted = keys.take(MAX_TRUSTED).collect();
    }

    /// The network may be another one now.
    pub fn forget_where_seen(&mut self) {
        self.reflexive.clear();
        self.heard_directly = false;
        if self.turned().next().is_none() {
            // Its server may see us elsewhere, and refuse us.
            self.turn.reset();
        }
    }

    /// The links whose bytes go over a TURN server.
    pub fn turned(&self) -> impl Iterator<Item = K> {
        let up = self.slots.iter().flatten();
        up.filter(|entry| entry.up && entry.by_turn)
            .map(|entry| entry.key)
    }

    /// The TURN server that the owner is to be connected to by TCP.
    #[must_use]
    pub fn turn_stream(&self) -> Option<SocketAddr> {
        self.turn.stream()
    }

    /// The owner is, and has this address.
    pub fn on_stream_up(&mut self, now: Instant, local: SocketAddr) {
        self.turn.on_stream_up(local);
        self.poll_turn(now);
    }

    /// That connection brought this.
    pub fn on_stream(&mut self, now: Instant, bytes: &[u8]) {
        let Some(server) = self.turn.stream() else {
            return;
        };
        self.is_turned(now, Over::Tcp, server, bytes);
        while let Some((from, bytes)) = self.turn.receive_more(now) {
            self.receive_turned(now, from, &bytes);
        }
    }

    /// That connection could not be made, or is gone.
    pub fn on_stream_down(&mut self, now: Instant) {
        let local = self.socket();
        self.turn.on_stream_down(now, local);
        self.poll_turn(now);
    }

    /// Gives up what servers keep for us. [`Self::poll_transmit`] has the words for them.
    pub fn close_turn(&mut self, now: Instant) {
        self.turn.close(now);
    }

    /// The peer has found out where else it can be reached.
    pub(super) fn add_candidates(
        &mut self,
        now: Instant,
        from: K,
        blob: &Blob,
    ) -> Result<(), Error> {
        let Some(slot) = self.by_key.get(&from).copied() else {
            return Ok(());
        };
        let entry = self.slots[slot].as_mut();
        let Some(entry) = entry.filter(|entry| {
            entry.described.is_some() && !entry.up && entry.remote_attempt == blob.attempt
        }) else {
            return Ok(());
        };
        for new in Remote::of(blob) {
            let known = entry.remote.iter().any(|old| old.at == new.at);
            if !known && entry.remote.len() < blob::MAX_CANDIDATES {
                entry.remote.push(new);
            }
        }
        self.probe(now, slot)
    }

    /// Tries the peer's addresses that may be tried and have not been.
    pub(super) fn probe(&mut self, now: Instant, slot: usize) -> Result<(), Error> {
        let mut policy = self.config.policy;
        let Some(entry) = self.slots[slot].as_mut() else {
            return Ok(());
        };
        // Behind one address there may be one private network, if the peer says so too.
        let seen_at = |ip| self.reflexive.iter().any(|at| at.ip() == ip);
        let same = |remote: &Remote| !remote.turn && seen_at(remote.at.ip());
        policy.private |= entry.near && entry.remote.iter().any(same);
        for remote in &mut entry.remote {
            if !remote.tried && policy.admits(remote.at) {
                remote.tried = true;
                entry.transport.add_remote(remote.at, remote.turn);
                self.routes.claim(remote.at, slot);
            }
        }
        if entry.transport.timeout(now).is_err() {
            self.remove(slot);
            return Err(Error::Setup);
        }
        if !self.heard_directly && self.turn.address().is_some() {
            // Nothing has ever come by our own socket: no use in waiting.
            self.offer_turn(slot);
        }
        self.drain(now, slot);
        Ok(())
    }

    /// One that is trusted sees us at this address: those who try to reach us are told.
    pub(super) fn on_seen(&mut self, now: Instant, at: SocketAddr) {
        let at = SocketAddr::new(at.ip().to_canonical(), at.port());
        let known = self.config.local.contains(&at) || self.reflexive.contains(&at);
        // More would be those of a router that gives each destination another port.
        let full = self.reflexive.len() == MAX_REFLEXIVE;
        if known || full || !self.config.policy.admits(at) {
            return;
        }
        self.reflexive.push(at);
        for slot in 0..self.slots.len() {
            let Some(entry) = self.slots[slot].as_ref().filter(|entry| !entry.up) else {
                continue;
            };
            let payload = Blob::more(entry.attempt, vec![at]).to_bytes().into();
            let to = entry.key;
            let described = entry.described.is_some();
            self.events.push_back(Event::Signal { to, payload });
            if described {
                // It may have become clear that the peer is on our own network.
                let _ = self.probe(now, slot);
            }
        }
    }

    /// When a link that is not up should look for another way.
    pub(super) fn looks_at(&self, entry: &Entry<K>) -> Option<Instant> {
        let described = entry.described.filter(|_| !entry.wants_turn)?;
        Some(described + TURN_AFTER)
    }

    /// Nothing has led to the peer in time: over a TURN server it may be reached.
    pub(super) fn look_for_a_way(&mut self, now: Instant, slot: usize) {
        let Some(entry) = self.slots[slot].as_ref().filter(|entry| !entry.up) else {
            return;
        };
        if self.looks_at(entry).is_none_or(|at| now < at) {
            return;
        }
        if let Some(entry) = self.slots[slot].as_mut() {
            entry.wants_turn = true;
        }
        let local = self.socket();
        self.turn.want(now, local);
        self.offer_turn(slot);
    }

    /// Tells the peer our address at the server, if there is one.
    fn offer_turn(&mut self, slot: usize) {
        let local = self.socket();
        let Some((address, entry)) = self.turn.address().zip(self.slots[slot].as_mut()) else {
            return;
        };
        if entry.up || std::mem::replace(&mut entry.offers_turn, true) {
            return;
        }
        entry.transport.add_turn(address, local);
        let payload = Blob::turn(entry.attempt, address).to_bytes().into();
        let to = entry.key;
        self.events.push_back(Event::Signal { to, payload });
    }

    /// Lets the server's client move on, and tells who waits for what came of it.
    pub(super) fn poll_turn(&mut self, now: Instant) {
        let local = self.socket();
        if !self.turn.poll(now, local) {
            return;
        }
        for entry in self.slots.iter_mut().flatten() {
            entry.offers_turn = false;
        }
        for slot in 0..self.slots.len() {
            let waits = |entry: &&Entry<K>| !entry.up && entry.wants_turn;
            if self.slots[slot].as_ref().filter(waits).is_none() {
                continue;
            }
            self.offer_turn(slot);
            let entry = self.slots[slot].as_mut();
            if entry.is_some_and(|entry| entry.transport.timeout(now).is_err()) {
                self.remove(slot);
            } else {
                self.drain(now, slot);
            }
        }
    }

    /// Whether a datagram is the TURN server's; if so it is dealt with.
    pub(super) fn is_turned(
        &mut self,
        now: Instant,
        over: Over,
        source: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        match self.turn.receive(now, over, source, bytes) {
            Received::Foreign => return false,
            Received::Own => self.poll_turn(now),
            Received::Peer(from, bytes) => self.receive_turned(now, from, &bytes),
        }
        true
    }

    fn receive_turned(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if let Some(local) = self.turn.address()
            && self.events.len() < MAX_EVENTS
        {
            self.receive(now, from, local, bytes);
        }
    }

    /// What the TURN server is to hear of us.
    pub(super) fn turn_transmit(&mut self, now: Instant) -> Option<Transmit> {
        let bytes = self.turn.poll_transmit(now)?;
        let (over, to) = self.turn.server()?;
        self.traffic.sent += bytes.len() as u64;
        Some(Transmit { to, bytes, over })
    }

    /// A link's datagram leaves by the address that the link chose.
    pub(super) fn transmit(
        &mut self,
        now: Instant,
        slot: usize,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let turned = self.turn.address() == Some(from);
        if !turned && !self.config.local.contains(&from) {
            // By an address at a server that is gone.
            return;
        }
        let Some(entry) = self.slots[slot].as_mut() else {
            return;
        };
        let probes = super::super::stun::is_stun(&bytes) && !self.routes.is_proved(to, slot);
        let way = usize::from(turned);
        let probed = entry.remote.iter().position(|remote| remote.at == to);
        let probed = probed.filter(|_| probes);
        if probed.is_some_and(|at| !entry.remote[at].probes[way].may(now)) {
            return;
        }
        if !super::super::stun::is_stun(&bytes) {
            let theirs = entry.remote.iter().any(|at| at.turn && at.at == to);
            entry.by_turn = turned || theirs;
        }
        let mut out = Transmit {
            to,
            bytes,
            over: Over::Udp,
        };
        if turned {
            let server = self.turn.server();
            // A server has no business on our inner networks, nor we on its.
            let admitted = self.config.policy.admits(to);
            let bytes = admitted
                .then(|| self.turn.wrap(now, to, out.bytes))
                .flatten();
            let Some((bytes, (over, to))) = bytes.zip(server) else {
                return;
            };
            out = Transmit { to, bytes, over };
        }
        // What waited for the server's permission has not gone.
        if let Some(at) = probed {
            entry.remote[at].probes[way].count(now);
        }
        entry.traffic.sent += out.bytes.len() as u64;
        self.traffic.sent += out.bytes.len() as u64;
        self.out.push_back(out);
    }

    pub(super) fn answer_stun(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        if !self.config.answers_stun || self.out.len() >= MAX_OUT {
            return;
        }
        if let Some(bytes) = self.answers.to(now, source, bytes) {
            self.traffic.sent += bytes.len() as u64;
            self.out.push_back(Transmit {
                to: source,
                bytes,
                over: Over::Udp,
            });
        }
    }

    /// The address under which the link knows our socket. The socket does not say which one
    /// a datagram came to; a loopback source can only have come to a loopback address.
    pub(super) fn local_for(&self, source: SocketAddr) -> SocketAddr {
        let fits = |at: &&SocketAddr| {
            at.is_ipv4() == source.is_ipv4() && at.ip().is_loopback() == source.ip().is_loopback()
        };
        let local = &self.config.local;
        let found = local.iter().find(fits).or_else(|| local.first());
        found.copied().unwrap_or(source)
    }

    /// Our socket's own address.
    fn socket(&self) -> SocketAddr {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        self.config.local.first().copied().unwrap_or(any)
    }
}

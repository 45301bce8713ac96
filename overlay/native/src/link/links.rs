//! The links themselves: each datagram, deadline and signal goes to the one it is for, and
//! everything a link has to say is collected. Owned by the driver.
//!
//! The one rule: whatever changes a link, [`Links::drain`] follows, at once or, when the
//! socket is behind, as soon as it is not.

mod paths;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::Debug,
    hash::Hash,
    net::SocketAddr,
    time::Instant,
};

use super::{
    Channel, Config, Error, Event, Role, Traffic, Transmit,
    blob::{self, Blob},
    route::Routes,
    stun::Answers,
    timers::Timers,
    turn::{Over, Turn},
    webrtc::{Identity, Step, Webrtc},
};

/// Datagrams that wait for the socket; beyond this links are not asked for more.
const MAX_OUT: usize = 512;
/// Events that wait for the owner; beyond this datagrams are dropped unread, as a full
/// socket buffer would.
const MAX_EVENTS: usize = 4096;

/// All links of a program.
pub struct Links<K> {
    config: Config,
    identity: Identity,
    slots: Vec<Option<Entry<K>>>,
    free: Vec<usize>,
    by_key: HashMap<K, usize>,
    pending: usize,
    routes: Routes,
    timers: Timers,
    dirty: VecDeque<usize>,
    out: VecDeque<Transmit>,
    events: VecDeque<Event<K>>,
    next_attempt: u64,
    traffic: Traffic,
    trusted: HashSet<K>,
    /// Where our datagrams come from, as those that are trusted see it.
    reflexive: Vec<SocketAddr>,
    answers: Answers,
    turn: Turn,
    /// A link's datagram has come without a server between.
    heard_directly: bool,
}

struct Entry<K> {
    key: K,
    transport: Webrtc,
    attempt: u64,
    ufrag: String,
    /// Since when the other end has described itself.
    described: Option<Instant>,
    /// The attempt it described.
    remote_attempt: u64,
    /// Where it says that it can be reached.
    remote: Vec<paths::Remote>,
    /// The tracker sees it where it sees us.
    near: bool,
    /// No way was found in time; and the one over our TURN server is offered.
    wants_turn: bool,
    offers_turn: bool,
    /// What it carries goes over a TURN server, ours or the peer's.
    by_turn: bool,
    up: bool,
    began: Instant,
    last_received: Instant,
    /// Written since the last report.
    wrote: bool,
    buffered: usize,
    dirty: bool,
    /// The owner has closed it and wants no event.
    closed: bool,
    traffic: Traffic,
    /// Of `traffic`, what [`Links::take_traffic`] has told.
    told: Traffic,
}

impl<K: Copy + Eq + Hash + Debug> Links<K> {
    /// No links yet. `seed` starts the numbering of attempts and should be random.
    ///
    /// # Errors
    /// [`Error::Setup`] when no certificate can be made.
    pub fn new(mut config: Config, seed: u64) -> Result<Self, Error> {
        // Others are found out later.
        config
            .local
            .truncate(blob::MAX_CANDIDATES - paths::MAX_REFLEXIVE - 1);
        let servers = std::mem::take(&mut config.turn);
        Ok(Self {
            config,
            identity: Identity::generate().ok_or(Error::Setup)?,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            pending: 0,
            routes: Routes::default(),
            timers: Timers::default(),
            dirty: VecDeque::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            next_attempt: seed,
            traffic: Traffic::default(),
            trusted: HashSet::new(),
            reflexive: Vec::new(),
            answers: Answers::default(),
            turn: Turn::new(servers),
            heard_directly: false,
        })
    }

    /// Offers a link to a peer. Does nothing if there is one, in whatever state.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub fn connect(&mut self, now: Instant, to: K, role: Role) -> Result<(), Error> {
        if !self.by_key.contains_key(&to) {
            let slot = self.insert(now, to, role)?;
            self.describe(slot, None);
            self.schedule(slot, None);
        }
        Ok(())
    }

    /// Takes a payload that the peer signalled. Two offers that cross answer each other; an
    /// offer for a link that is already described replaces it. `near`: the tracker sees the
    /// peer at our own address.
    ///
    /// # Errors
    /// [`Error`]; an existing link stays as it is.
    pub fn signal(
        &mut self,
        now: Instant,
        from: K,
        role: Role,
        payload: &[u8],
        near: bool,
    ) -> Result<(), Error> {
        let blob = Blob::from_bytes(payload)?;
        if blob.more {
            return self.add_candidates(now, from, &blob);
        }
        let waiting = self.by_key.get(&from).copied().filter(|slot| {
            self.slots[*slot]
                .as_ref()
                .is_some_and(|entry| entry.described.is_none())
        });
        match (waiting, blob.answers) {
            (Some(slot), Some(attempt)) if self.attempt(slot) == Some(attempt) => {
                if blob.refused {
                    self.remove(slot);
                    return Ok(());
                }
                self.accept(now, slot, &blob, near)
            }
            (_, Some(_)) => Ok(()),
            (Some(slot), None) => self.accept(now, slot, &blob, near),
            (None, None) => self.answer(now, from, role, &blob, near),
        }
    }

    /// Writes a message. False if the link is not up or has no room: the caller keeps or
    /// drops the message.
    pub fn send(&mut self, to: K, channel: Channel, bytes: &[u8]) -> bool {
        let Some(slot) = self.by_key.get(&to).copied() else {
            return false;
        };
        let Some(entry) = self.slots[slot].as_mut().filter(|entry| entry.up) else {
            return false;
        };
        let written = matches!(entry.transport.write(channel, bytes), Ok(true));
        entry.wrote = true;
        self.mark_dirty(slot);
        written
    }

    /// Ends a link with a goodbye and without an event.
    pub fn close(&mut self, now: Instant, to: K) {
        let Some(slot) = self.by_key.get(&to).copied() else {
            return;
        };
        if let Some(entry) = self.slots[slot].as_mut() {
            entry.closed = true;
            entry.transport.close();
        }
        self.drain(now, slot);
        self.remove(slot);
    }

    /// Whether the link's channels are open.
    #[must_use]
    pub fn is_up(&self, to: K) -> bool {
        self.by_key
            .get(&to)
            .and_then(|slot| self.slots[*slot].as_ref())
            .is_some_and(|entry| entry.up)
    }

    /// The peers there are links with, in whatever state.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.slots.iter().flatten().map(|entry| entry.key)
    }

    /// How many links there are, in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is no link.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// All links' bytes, those that are gone included.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What each link sent and received since this was last asked, where that is anything.
    pub fn take_traffic(&mut self) -> impl Iterator<Item = (K, Traffic)> {
        self.slots.iter_mut().flatten().filter_map(|entry| {
            let fresh = Traffic {
                sent: entry.traffic.sent - entry.told.sent,
                received: entry.traffic.received - entry.told.received,
            };
            entry.told = entry.traffic;
            (fresh != Traffic::default()).then_some((entry.key, fresh))
        })
    }

    /// One link's bytes.
    #[must_use]
    pub fn traffic_of(&self, to: K) -> Option<Traffic> {
        let slot = self.by_key.get(&to)?;
        Some(self.slots[*slot].as_ref()?.traffic)
    }

    /// A datagram from the socket. What is not the peer's changes nothing: source addresses
    /// can be forged, so nonsense neither ends a link nor keeps one alive.
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        if self.events.len() >= MAX_EVENTS {
            return;
        }
        if !self.is_turned(now, Over::Udp, source, bytes) {
            let local = self.local_for(source);
            self.receive(now, source, local, bytes);
        }
    }

    /// Takes a datagram that came to this address of ours.
    fn receive(&mut self, now: Instant, source: SocketAddr, local: SocketAddr, bytes: &[u8]) {
        let direct = self.turn.address() != Some(local);
        let Some(slot) = self.route(now, source, local, bytes) else {
            if direct {
                self.answer_stun(now, source, bytes);
            }
            return;
        };
        let Some(entry) = self.slots[slot].as_mut() else {
            return;
        };
        self.heard_directly |= direct;
        self.traffic.received += bytes.len() as u64;
        entry.traffic.received += bytes.len() as u64;
        let key = entry.key;
        let heard = entry.transport.receive(now, source, local, bytes);
        if heard.lives {
            entry.last_received = now;
        }
        let seen = heard.sees_us_at.filter(|_| direct);
        if let Some(at) = seen.filter(|_| self.trusted.contains(&key)) {
            self.on_seen(now, at);
        }
        if self.out.len() < MAX_OUT {
            self.drain(now, slot);
        } else {
            self.mark_dirty(slot);
        }
    }

    /// Drives the links whose time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(slot) = self.timers.pop_due(now) {
            let (handshake, silence) = (self.config.handshake, self.config.silence);
            let Some(entry) = self.slots[slot].as_mut() else {
                continue;
            };
            let late = !entry.up && now >= entry.began + handshake;
            let silent = entry.up && now >= entry.last_received + silence;
            if late || silent || entry.transport.timeout(now).is_err() {
                self.remove(slot);
            } else {
                self.look_for_a_way(now, slot);
                self.drain(now, slot);
            }
        }
        self.poll_turn(now);
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let links = self.timers.next();
        links.into_iter().chain(self.turn.next_timeout(now)).min()
    }

    /// The next datagram for the socket.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            if let Some(out) = self.out.pop_front().or_else(|| self.turn_transmit(now)) {
                return Some(out);
            }
            let slot = self.dirty.pop_front()?;
            self.drain(now, slot);
        }
    }

    /// Whether [`Self::poll_event`] has something.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next event. Ask after every call that changes something.
    pub fn poll_event(&mut self) -> Option<Event<K>> {
        self.events.pop_front()
    }

    fn insert(&mut self, now: Instant, key: K, role: Role) -> Result<usize, Error> {
        if self.by_key.len() >= self.config.max_links || self.pending >= self.config.max_pending {
            return Err(Error::TooMany);
        }
        let mut transport = Webrtc::new(&self.identity, role, &self.config.local, now);
        let ufrag = transport.ufrag();
        self.next_attempt = self.next_attempt.wrapping_add(1);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.routes.add_ufrag(&ufrag, slot);
        self.by_key.insert(key, slot);
        self.pending += 1;
        self.slots[slot] = Some(Entry {
            key,
            transport,
            attempt: self.next_attempt,
            ufrag,
            described: None,
            remote_attempt: 0,
            remote: Vec::new(),
            near: false,
            wants_turn: false,
            offers_turn: false,
            by_turn: false,
            up: false,
            began: now,
            last_received: now,
            wrote: false,
            buffered: 0,
            dirty: false,
            closed: false,
            traffic: Traffic::default(),
            told: Traffic::default(),
        });
        Ok(slot)
    }

    fn describe(&mut self, slot: usize, answers: Option<u64>) {
        let mut local = self.config.local.clone();
        local.extend(&self.reflexive);
        if let Some(entry) = self.slots[slot].as_mut() {
            let blob = entry.transport.describe(entry.attempt, answers, &local);
            self.events.push_back(Event::Signal {
                to: entry.key,
                payload: blob.to_bytes().into(),
            });
        }
    }

    /// Who is told no at once looks elsewhere at once.
    fn refuse(&mut self, to: K, attempt: u64) {
        let payload = Blob::refusal(attempt).to_bytes().into();
        self.events.push_back(Event::Signal { to, payload });
    }

    fn answer(
        &mut self,
        now: Instant,
        from: K,
        role: Role,
        blob: &Blob,
        near: bool,
    ) -> Result<(), Error> {
        if let Some(old) = self.by_key.get(&from).copied() {
            self.remove(old);
        }
        let slot = match self.insert(now, from, role) {
            Ok(slot) => slot,
            Err(error) => {
                self.refuse(from, blob.attempt);
                return Err(error);
            }
        };
        self.describe(slot, Some(blob.attempt));
        self.accept(now, slot, blob, near)
    }

    fn accept(&mut self, now: Instant, slot: usize, blob: &Blob, near: bool) -> Result<(), Error> {
        let Some(entry) = self.slots[slot].as_mut() else {
            return Ok(());
        };
        entry.described = Some(now);
        entry.remote_attempt = blob.attempt;
        entry.remote = paths::Remote::of(blob).collect();
        entry.near = near;
        if entry.transport.accept(blob).is_err() {
            self.remove(slot);
            return Err(Error::Setup);
        }
        self.probe(now, slot)
    }

    fn attempt(&self, slot: usize) -> Option<u64> {
        self.slots[slot].as_ref().map(|entry| entry.attempt)
    }

    fn route(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) -> Option<usize> {
        let slots = &self.slots;
        self.routes.find(source, local, bytes, |slot, receive| {
            slots[slot]
                .as_ref()
                .is_some_and(|entry| entry.transport.accepts(now, receive))
        })
    }

    fn mark_dirty(&mut self, slot: usize) {
        if let Some(entry) = self.slots[slot].as_mut().filter(|entry| !entry.dirty) {
            entry.dirty = true;
            self.dirty.push_back(slot);
        }
    }

    /// Takes everything out of a link.
    fn drain(&mut self, now: Instant, slot: usize) {
        loop {
            let Some(entry) = self.slots[slot].as_mut() else {
                return;
            };
            entry.dirty = false;
            match entry.transport.poll() {
                Ok(Step::Transmit { from, to, bytes }) => self.transmit(now, slot, from, to, bytes),
                Ok(Step::Up) => {
                    entry.up = true;
                    entry.last_received = now;
                    self.pending -= 1;
                    self.events.push_back(Event::Up(entry.key));
                }
                Ok(Step::Received(channel, bytes)) => {
                    entry.last_received = now;
                    self.events.push_back(Event::Received {
                        from: entry.key,
                        channel,
                        bytes,
                    });
                }
                Ok(Step::Wait(at)) => {
                    self.report_buffered(slot);
                    self.schedule(slot, Some(at));
                    return;
                }
                Ok(Step::Closed) | Err(_) => {
                    self.remove(slot);
                    return;
                }
            }
        }
    }

    fn report_buffered(&mut self, slot: usize) {
        let Some(entry) = self.slots[slot].as_mut() else {
            return;
        };
        if !entry.wrote && entry.buffered == 0 {
            return;
        }
        let wrote = std::mem::take(&mut entry.wrote);
        let bytes = entry.transport.buffered();
        if wrote || bytes != entry.buffered {
            entry.buffered = bytes;
            self.events.push_back(Event::Buffered {
                to: entry.key,
                bytes,
            });
        }
    }

    fn schedule(&mut self, slot: usize, wanted: Option<Instant>) {
        if let Some(entry) = &self.slots[slot] {
            let limit = if entry.up {
                entry.last_received + self.config.silence
            } else {
                let late = entry.began + self.config.handshake;
                late.min(self.looks_at(entry).unwrap_or(late))
            };
            self.timers
                .set(slot, wanted.map_or(limit, |at| at.min(limit)));
        }
    }

    fn remove(&mut self, slot: usize) {
        let Some(entry) = self.slots[slot].take() else {
            return;
        };
        self.pending -= usize::from(!entry.up);
        self.by_key.remove(&entry.key);
        self.routes.forget(&entry.ufrag, slot);
        self.timers.clear(slot);
        self.dirty.retain(|other| *other != slot);
        self.free.push(slot);
        if !entry.closed {
            self.events.push_back(Event::Down(entry.key));
        }
    }
}

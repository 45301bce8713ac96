//! A virtual link between a tracker and a handful of real peers: [`World::progress`] always
//! takes the earliest event, and every message crosses as bytes.
//!
//! The one rule, held in every story: no honest peer ever sends a piece that the encoder
//! did not make, and no player ever gets a generation that it did not make.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use bytes::Bytes;
use overlay_core::{
    Instant, Peer, PeerId, Signed, Tracker,
    peer::{Config, Event, Input, Output, Release, stats::Stats},
    tracker::{self, Grant, Role, SessionId},
    wire::{self, Channel, FromTracker, Message, ToTracker},
};
use stripe::Flags;

use crate::broadcast::{Broadcast, DELAY_MS, altered};

/// One way, to everybody.
const LATENCY: Duration = Duration::from_millis(10);
/// Bytes of an acknowledgement.
const ACK: usize = 60;
const HANDSHAKE: Duration = Duration::from_millis(80);
const TRAFFIC: Duration = Duration::from_millis(250);
pub(crate) const GENERATION: Duration = Duration::from_millis(200);
/// Generations from one keyframe to the next.
pub(crate) const GOP: u64 = 10;
/// Unix time at the virtual clock's zero.
const WALL_AT_ZERO_US: u64 = 1_700_000_000_000_000;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) broadcast: Broadcast,
    queue: BTreeMap<(Instant, u64), Step>,
    serial: u64,
    hosts: BTreeMap<PeerId, Host>,
    strangers: BTreeMap<PeerId, Vec<Message<Signed>>>,
    links: BTreeSet<(PeerId, PeerId)>,
    tracker: Tracker,
    tracker_wakes: Instant,
    next_sequence: u64,
    /// Peers that alter every tenth piece they send, and how many they have sent.
    liars: BTreeMap<PeerId, u64>,
    /// Who hears no acceptance in stripes from this one on.
    unaccepted: BTreeMap<PeerId, u32>,
    /// To whom pieces take so much longer.
    slow: BTreeMap<PeerId, Duration>,
    /// When the first altered piece arrived, by liar and receiver, and when the last did.
    pub(crate) altered: BTreeMap<(PeerId, PeerId), (Instant, Instant)>,
}

struct Host {
    peer: Peer<Signed>,
    role: Role,
    wakes: Instant,
    released: Vec<Release<Signed>>,
    events: Vec<(Instant, Event)>,
    traffic: BTreeMap<PeerId, (u64, u64)>,
}

enum Step {
    Publish(u64, Flags),
    Wake(PeerId),
    WakeTracker,
    Open(PeerId, PeerId),
    Down(PeerId, PeerId),
    Bytes(PeerId, PeerId, Channel, Bytes),
    ToTracker(PeerId, ToTracker),
    FromTracker(PeerId, FromTracker),
    Traffic,
}

fn pair(a: PeerId, b: PeerId) -> (PeerId, PeerId) {
    (a.min(b), a.max(b))
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        let config = tracker::Config {
            seed: 7,
            wall_at_zero_us: WALL_AT_ZERO_US,
            ..tracker::Config::default()
        };
        let mut world = Self {
            now,
            broadcast: Broadcast::new(7, 5),
            queue: BTreeMap::new(),
            serial: 0,
            hosts: BTreeMap::new(),
            strangers: BTreeMap::new(),
            links: BTreeSet::new(),
            tracker: Tracker::new(now, config),
            tracker_wakes: Instant::default(),
            next_sequence: 0,
            liars: BTreeMap::new(),
            unaccepted: BTreeMap::new(),
            slow: BTreeMap::new(),
            altered: BTreeMap::new(),
        };
        world.after(TRAFFIC, Step::Traffic);
        world
    }

    /// Peers come in the order of their names.
    pub(crate) fn seeder(&mut self, upload_bps: u64) -> PeerId {
        let seeder = self.host(Role::Seeder, upload_bps);
        let epoch = self.broadcast.epoch();
        self.feed(seeder, Input::Epoch(epoch));
        seeder
    }

    pub(crate) fn viewer(&mut self, upload_bps: u64) -> PeerId {
        self.host(Role::Viewer, upload_bps)
    }

    /// A viewer that alters every tenth piece it relays.
    pub(crate) fn liar(&mut self, upload_bps: u64) -> PeerId {
        let liar = self.host(Role::Viewer, upload_bps);
        self.liars.insert(liar, 0);
        liar
    }

    /// A viewer that gets parents in the first stripes alone.
    pub(crate) fn viewer_with_parents_in(&mut self, stripes: u32) -> PeerId {
        let viewer = self.viewer(0);
        self.unaccepted.insert(viewer, stripes);
        viewer
    }

    /// A viewer to whom pieces take so much longer.
    pub(crate) fn viewer_behind(&mut self, span: Duration) -> PeerId {
        let viewer = self.viewer(0);
        self.slow.insert(viewer, span);
        viewer
    }

    /// Somebody with a link to a peer and nothing but what the story makes him say.
    pub(crate) fn stranger(&mut self, to: PeerId) -> PeerId {
        let stranger = PeerId(1000 + self.strangers.len() as u64);
        self.stranger_named(stranger, to);
        stranger
    }

    /// The same, under a name of his choice.
    pub(crate) fn stranger_named(&mut self, name: PeerId, to: PeerId) {
        self.strangers.entry(name).or_default();
        self.open(name, to);
    }

    /// Publishes generations from now on, with a keyframe every [`GOP`].
    pub(crate) fn air(&mut self, count: u64) {
        for index in 0..count {
            let sequence = self.next_sequence;
            let flags = if sequence.is_multiple_of(GOP) {
                Flags::KEYFRAME
            } else {
                Flags::default()
            };
            let at = GENERATION * index as u32;
            self.next_sequence += 1;
            self.after(at, Step::Publish(sequence, flags));
        }
    }

    /// Publishes one generation now.
    pub(crate) fn air_one(&mut self, flags: Flags) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.publish(sequence, flags);
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self
            .queue
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= end)
        {
            self.progress();
        }
        self.now = end;
    }

    /// The earliest event.
    fn progress(&mut self) {
        let Some(((at, _), step)) = self.queue.pop_first() else {
            return;
        };
        self.now = self.now.max(at);
        match step {
            Step::Publish(sequence, flags) => self.publish(sequence, flags),
            Step::Wake(peer) => self.feed(peer, Input::Timeout),
            Step::WakeTracker => self.feed_tracker(tracker::Input::Timeout),
            Step::Open(a, b) => self.open(a, b),
            Step::Down(peer, other) => self.feed(peer, Input::LinkDown(other)),
            Step::Bytes(from, to, channel, bytes) => self.deliver(from, to, channel, &bytes),
            Step::ToTracker(from, message) => {
                let session = SessionId(from.0);
                self.feed_tracker(tracker::Input::Message { session, message });
            }
            Step::FromTracker(to, message) => self.feed(to, Input::Tracker(message)),
            Step::Traffic => self.tell_traffic(),
        }
    }

    /// A stranger says something, and it arrives at once.
    pub(crate) fn say(&mut self, from: PeerId, to: PeerId, message: &Message<Signed>) {
        let bytes = wire::encode(message);
        self.deliver(from, to, message.channel(), &bytes);
    }

    /// A stranger says a control message.
    pub(crate) fn control(&mut self, from: PeerId, to: PeerId, kind: wire::control::Kind) {
        self.say(from, to, &Message::Control(kind.into()));
    }

    /// Bytes arrive, as from a link.
    pub(crate) fn deliver(&mut self, from: PeerId, to: PeerId, channel: Channel, bytes: &Bytes) {
        if !self.links.contains(&pair(from, to)) {
            return;
        }
        match wire::decode(&self.broadcast.scheme(), channel, bytes) {
            Ok(message) => {
                self.note_altered(from, to, &message);
                if let Some(heard) = self.strangers.get_mut(&to) {
                    heard.push(message);
                } else {
                    self.feed(to, Input::Received { from, message });
                }
            }
            Err(_) => self.feed(to, Input::Malformed(from)),
        }
    }

    /// What a stranger has heard since this was last asked.
    pub(crate) fn heard(&mut self, stranger: PeerId) -> Vec<Message<Signed>> {
        self.strangers
            .get_mut(&stranger)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    pub(crate) fn linked(&self, a: PeerId, b: PeerId) -> bool {
        self.links.contains(&pair(a, b))
    }

    pub(crate) fn stats(&self, peer: PeerId) -> Stats {
        self.hosts[&peer].peer.stats()
    }

    /// Each release: the generation and how long after its ingest stamp it was.
    pub(crate) fn lags(&self, peer: PeerId) -> Vec<(u64, Duration)> {
        let releases = self.hosts[&peer].released.iter();
        releases
            .filter_map(|release| Some((release.facts.sequence, release.lag?)))
            .collect()
    }

    pub(crate) fn events(&self, peer: PeerId) -> &[(Instant, Event)] {
        &self.hosts[&peer].events
    }

    pub(crate) fn has(&self, peer: PeerId, event: Event) -> bool {
        self.events(peer).iter().any(|(_, other)| *other == event)
    }

    /// What was released, in order.
    pub(crate) fn released(&self, peer: PeerId) -> Vec<u64> {
        let released = self.hosts[&peer].released.iter();
        released.map(|release| release.facts.sequence).collect()
    }

    /// Everything released so far: from a keyframe on, without a gap, each generation's
    /// bytes the encoder's, none before the one before it and none later than it was due.
    pub(crate) fn played(&self, peer: PeerId) -> Range<u64> {
        let released = &self.hosts[&peer].released;
        let first = released.first().expect("something is played");
        assert!(first.facts.flags.has(Flags::KEYFRAME));
        assert!(first.discontinuity);
        let start = first.facts.sequence;
        let delay = Duration::from_millis(DELAY_MS.into());
        let mut before = Duration::ZERO;
        for (release, sequence) in released.iter().zip(start..) {
            assert_eq!(release.facts.sequence, sequence);
            if let Some(lag) = release.lag {
                assert!(
                    lag + Duration::from_millis(20) >= before,
                    "{sequence} played after {lag:?}"
                );
                before = lag;
                assert!(
                    lag <= delay + Duration::from_millis(60),
                    "{sequence} played after {lag:?}"
                );
            }
        }
        start..start + released.len() as u64
    }

    fn host(&mut self, role: Role, upload_bps: u64) -> PeerId {
        let id = PeerId(self.hosts.len() as u64 + 1);
        let config = Config {
            peer: id,
            role,
            upload_bps,
            seed: id.0,
            started: self.now,
        };
        let host = Host {
            peer: Peer::new(self.now, self.broadcast.scheme(), config),
            role,
            wakes: Instant::default(),
            released: Vec::new(),
            events: Vec::new(),
            traffic: BTreeMap::new(),
        };
        self.hosts.insert(id, host);
        let grant = Grant {
            role,
            may_share: true,
            origin: None,
        };
        let session = SessionId(id.0);
        self.feed_tracker(tracker::Input::Opened { session, grant });
        self.feed(id, Input::TrackerUp);
        id
    }

    fn after(&mut self, span: Duration, step: Step) {
        self.serial += 1;
        self.queue.insert((self.now + span, self.serial), step);
    }

    fn publish(&mut self, sequence: u64, flags: Flags) {
        let stamp = WALL_AT_ZERO_US + self.now.as_micros();
        let generation = self.broadcast.make(sequence, flags, stamp);
        let (header, pieces) = (generation.header.clone(), generation.pieces.clone());
        let seeders: Vec<PeerId> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.role == Role::Seeder)
            .map(|(id, _)| *id)
            .collect();
        for seeder in seeders {
            let input = Input::Publish {
                header: header.clone(),
                pieces: pieces.clone(),
            };
            self.feed(seeder, input);
        }
    }

    pub(crate) fn feed(&mut self, id: PeerId, input: Input<Signed>) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        host.peer.handle(self.now, input);
        loop {
            let Some(host) = self.hosts.get_mut(&id) else {
                return;
            };
            match host.peer.poll() {
                Output::Timeout(at) => {
                    // An earlier timer that fires in vain is harmless.
                    if host.wakes <= self.now || at < host.wakes {
                        host.wakes = at;
                        self.after(at.since(self.now), Step::Wake(id));
                    }
                    return;
                }
                output => self.on_output(id, output),
            }
        }
    }

    fn on_output(&mut self, id: PeerId, output: Output<Signed>) {
        match output {
            Output::Send { to, message } => self.send(id, to, message),
            Output::Tracker(message) => self.after(LATENCY, Step::ToTracker(id, message)),
            Output::Connect(other) => self.after(HANDSHAKE, Step::Open(id, other)),
            Output::Disconnect(other) => {
                if self.links.remove(&pair(id, other)) {
                    self.after(LATENCY, Step::Down(other, id));
                }
            }
            Output::Release(release) => {
                let sequence = release.facts.sequence;
                let truth = self.broadcast.generation(sequence);
                assert!(release.body == truth.body, "{id} plays a false {sequence}");
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.released.push(release);
                }
            }
            Output::Event(event) => {
                let now = self.now;
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.events.push((now, event));
                }
            }
            Output::Signal { .. } | Output::Timeout(_) => {}
        }
    }

    fn send(&mut self, from: PeerId, to: PeerId, mut message: Message<Signed>) {
        if let (Some(first), Message::Control(control)) = (self.unaccepted.get(&to), &message)
            && let Some(wire::control::Kind::Accept(accept)) = &control.kind
            && accept.stripe >= *first
        {
            return;
        }
        if let Message::Piece(piece) = &mut message {
            assert!(self.broadcast.made(piece), "{from} relays a false piece");
            if let Some(sent) = self.liars.get_mut(&from) {
                *sent += 1;
                if sent.is_multiple_of(10) {
                    piece.piece = altered(&piece.piece);
                }
            }
            if let Some(host) = self.hosts.get_mut(&from) {
                let input = Input::Buffered { peer: to, bytes: 0 };
                host.peer.handle(self.now, input);
            }
        }
        let bytes = wire::encode(&message);
        // What arrives is acknowledged, by strangers too.
        let len = bytes.len();
        for (id, other, sent, received) in [(from, to, len, ACK), (to, from, ACK, len)] {
            if let Some(host) = self.hosts.get_mut(&id) {
                let traffic = host.traffic.entry(other).or_default();
                traffic.0 += sent as u64;
                traffic.1 += received as u64;
            }
        }
        let slow = self
            .slow
            .get(&to)
            .filter(|_| matches!(message, Message::Piece(_)));
        let latency = LATENCY + slow.copied().unwrap_or_default();
        self.after(latency, Step::Bytes(from, to, message.channel(), bytes));
    }

    fn note_altered(&mut self, from: PeerId, to: PeerId, message: &Message<Signed>) {
        if let Message::Piece(piece) = message
            && self.liars.contains_key(&from)
            && !self.broadcast.made(piece)
        {
            let noted = self.altered.entry((from, to));
            noted.or_insert((self.now, self.now)).1 = self.now;
        }
    }

    fn open(&mut self, a: PeerId, b: PeerId) {
        if self.links.insert(pair(a, b)) {
            self.feed(a, Input::LinkUp(b));
            self.feed(b, Input::LinkUp(a));
        }
    }

    fn tell_traffic(&mut self) {
        let ids: Vec<PeerId> = self.hosts.keys().copied().collect();
        for id in ids {
            let Some(host) = self.hosts.get_mut(&id) else {
                continue;
            };
            for (peer, (sent, received)) in std::mem::take(&mut host.traffic) {
                let input = Input::Traffic {
                    peer,
                    sent,
                    received,
                };
                self.feed(id, input);
            }
        }
        self.after(TRAFFIC, Step::Traffic);
    }

    fn feed_tracker(&mut self, input: tracker::Input) {
        self.tracker.handle(self.now, input);
        loop {
            match self.tracker.poll() {
                tracker::Output::Send { session, message } => {
                    self.after(LATENCY, Step::FromTracker(PeerId(session.0), message));
                }
                tracker::Output::Close { reason, .. } => panic!("a session was closed: {reason}"),
                tracker::Output::Timeout(at) => {
                    if self.tracker_wakes <= self.now || at < self.tracker_wakes {
                        self.tracker_wakes = at;
                        self.after(at.since(self.now), Step::WakeTracker);
                    }
                    return;
                }
            }
        }
    }
}

//! The event loop: everything that happens, in order of time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use overlay_core::{
    Facts, Instant, Peer, PeerId, Random, StripeId, Tracker,
    peer::{self, Input, Output, stats::Stats},
    tracker::{self, Grant, Role, SessionId},
    wire::{Channel, FromTracker, Message, ToTracker},
};
use stripe::Flags;

use crate::{
    Light, LightHeader, LightPiece, Scenario,
    fault::{How, What},
    network::Network,
    scenario::FIRST_COMES,
};

mod faults;
mod measure;
mod report;

pub use measure::Measures;
use measure::{Counts, Mark, Measure};

pub use report::{FaultReport, Report};

/// Signalling to and from the tracker, one way.
const TRACKER_LATENCY: Duration = Duration::from_millis(15);
/// Round trips until a link is open, signalling aside (measured between two native peers:
/// 241 ms at a round trip of 80 ms, for connectivity checks, DTLS and SCTP).
const HANDSHAKE_ROUND_TRIPS: u32 = 3;
/// What a link holds unsent and unacknowledged.
const SEND_BUFFER: usize = 384 * 1024;
/// A link that is not up by then is given up.
const GIVES_UP: Duration = Duration::from_secs(5);
/// What two ends say before they can talk; what it says really is of no matter here.
const OFFER: &[u8] = b"offer";
const ANSWER: &[u8] = b"answer";
/// What the transport carried is told this often.
const TRAFFIC: Duration = Duration::from_millis(200);
/// So many of them are a second.
const SECOND: usize = 5;
/// A session is closed by the tracker's service after so much silence.
const SESSION_SILENCE: Duration = Duration::from_secs(25);
/// ICE checks of a link: once a second each way, in so many times of [`TRAFFIC`], each of
/// so many bytes with its answer.
const KEEPALIVE: u64 = 5;
const CHECK: usize = 150;
/// Generations that an encoder keeps for a seeder.
const KEPT: usize = 32;
/// A polluter alters every so many pieces.
const ALTERED: u64 = 10;
/// Unix time at the virtual clock's zero.
const WALL_AT_ZERO_US: u64 = 1_700_000_000_000_000;
/// The seeder's index; viewers follow.
const SEEDER: u32 = 0;

/// Runs a scenario to its end.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    let mut world = World::new(scenario.clone(), seed);
    let end = Instant::default() + scenario.duration;
    while let Some(Reverse(next)) = world.queue.pop() {
        if next.at > end {
            world.now = end;
            break;
        }
        world.now = next.at;
        world.events += 1;
        world.on_event(next.serial);
    }
    world.report()
}

enum Event {
    Publish(u64),
    Arrive(u32),
    Wake(u32),
    WakeTracker,
    ToPeer(u32, Input<Light>),
    ToTracker(u32, ToTracker),
    FromTracker(u32, FromTracker),
    LinkOpen(u32, u32),
    /// Some of what waits on a way is through.
    Drained(u32, u32),
    /// A link that was to be made by way of neighbours.
    GiveUp(u32, u32),
    Traffic,
    Leave(u32),
    /// What is left of a viewer that is gone.
    Forget(u32),
    /// The warm-up is over.
    Measure,
    /// A viewer has had time to begin.
    MeasureOf(u32),
    Strike(What),
    Watched,
    Silence(u32, u32, u64),
    SessionLost(u32),
    TrackerBack,
    SeederBack,
    Return(u32),
    Apart,
    Healed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Not come yet.
    Away,
    Alive,
    /// Killed or stopped.
    Gone,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    serial: u64,
}

struct Host {
    peer: Peer<Light>,
    life: Life,
    session: Option<u64>,
    started: Instant,
    upload_bps: u64,
    wakes: Instant,
    traffic: BTreeMap<u32, (u64, u64)>,
    /// What it had sent in all by each of the last beats, a second's, and the most there was
    /// between the first and the last of them.
    beats: VecDeque<u64>,
    second_max: u64,
    /// Alters pieces.
    lies: bool,
    /// Takes children and sends them nothing.
    rides: bool,
    pieces_sent: u64,
    /// Where it stood when the last fault struck, and a minute later.
    marked: Option<Stats>,
    ended: Option<Stats>,
    /// Where it stood when it was first measured.
    measured: Option<Mark>,
    /// What it had when the warm-up was over.
    counted: Counts,
}

impl Host {
    fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }

    /// Takes down what it has sent so far.
    fn beat(&mut self, sent: u64) {
        self.beats.push_back(sent);
        if self.beats.len() > SECOND {
            let before = self.beats.pop_front().unwrap_or(sent);
            self.second_max = self.second_max.max(sent - before);
        }
    }
}

struct World {
    scenario: Scenario,
    now: Instant,
    random: Random,
    queue: BinaryHeap<Reverse<Entry>>,
    pending: BTreeMap<u64, Event>,
    serial: u64,
    network: Network,
    hosts: BTreeMap<u32, Host>,
    /// The next to come has this number.
    hosts_ever: u32,
    measure: Measure,
    /// Open links; no two have the same number.
    links: BTreeMap<(u32, u32), u64>,
    tracker: Tracker,
    tracker_up: bool,
    tracker_wakes: Instant,
    tracker_seed: u64,
    /// Whose sessions the tracker has.
    sessions: BTreeMap<u64, u32>,
    next_session: u64,
    /// Who is cut off from all others.
    cut_off: BTreeSet<u32>,
    /// When the last fault struck, and what the seeder had sent by then.
    struck: Option<(Instant, u64)>,
    seeder_minute: Option<u64>,
    bad_relayed: u64,
    false_played: u64,
    /// What the encoder keeps for a seeder that is away.
    kept: Vec<(LightHeader, Vec<LightPiece>)>,
    hash: u64,
    events: u64,
    /// Times that traffic was told.
    beats: u64,
}

fn peer_id(index: u32) -> PeerId {
    PeerId(u64::from(index) + 1)
}

fn index(peer: PeerId) -> u32 {
    (peer.0 - 1) as u32
}

fn role(number: u32) -> Role {
    if number == SEEDER {
        Role::Seeder
    } else {
        Role::Viewer
    }
}

fn tracker_config(seed: u64) -> tracker::Config {
    tracker::Config {
        seed,
        wall_at_zero_us: WALL_AT_ZERO_US,
        ..tracker::Config::default()
    }
}

fn pair(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

impl World {
    fn new(scenario: Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut network = Network::new(&scenario, random.next());
        network.add(scenario.seeder_bps);
        let uplinks = draw_uplinks(&scenario, &mut random);
        for (at, upload) in uplinks.iter().enumerate() {
            // Evenly among all, whatever they offer.
            let worse = |count: usize| (count as f64 * scenario.overstated) as usize;
            if worse(at + 1) > worse(at) {
                network.add_line(*upload as f64 / 8.0 * scenario.carries);
            } else {
                network.add(*upload);
            }
        }
        let tracker_seed = random.next();
        let mut world = Self {
            now: Instant::default(),
            random,
            queue: BinaryHeap::new(),
            pending: BTreeMap::new(),
            serial: 0,
            network,
            hosts: BTreeMap::new(),
            hosts_ever: SEEDER + 1,
            measure: Measure::default(),
            links: BTreeMap::new(),
            tracker: Tracker::new(Instant::default(), tracker_config(tracker_seed)),
            tracker_up: true,
            tracker_wakes: Instant::default(),
            tracker_seed,
            sessions: BTreeMap::new(),
            next_session: 0,
            cut_off: BTreeSet::new(),
            struck: None,
            seeder_minute: None,
            bad_relayed: 0,
            false_played: 0,
            kept: Vec::new(),
            hash: seed,
            events: 0,
            beats: 0,
            scenario,
        };
        world.begin(&uplinks);
        world
    }

    fn tracker_config(&self) -> tracker::Config {
        tracker_config(self.tracker_seed)
    }

    fn begin(&mut self, uplinks: &[u64]) {
        let zero = Instant::default();
        self.add_host(SEEDER, self.scenario.seeder_bps, zero);
        self.at(zero, Event::Arrive(SEEDER));
        let times = self.scenario.arrival_times(uplinks.len(), &mut self.random);
        for (upload, after) in uplinks.iter().zip(times) {
            self.expect(*upload, zero + FIRST_COMES + after);
        }
        let attack = self.scenario.attack;
        for number in faults::draw(attack.polluters, uplinks.len(), &mut self.random) {
            if let Some(host) = self.hosts.get_mut(&number) {
                host.lies = true;
            }
        }
        for number in faults::draw(attack.free_riders, uplinks.len(), &mut self.random) {
            if let Some(host) = self.hosts.get_mut(&number) {
                host.rides = true;
            }
        }
        self.at(zero + Duration::from_millis(100), Event::Publish(0));
        self.at(zero + TRAFFIC, Event::Traffic);
        self.at(zero + self.scenario.warmup, Event::Measure);
        for fault in self.scenario.faults.clone() {
            self.at(zero + fault.at, Event::Strike(fault.what));
        }
    }

    /// A viewer is to come.
    fn expect(&mut self, upload_bps: u64, at: Instant) -> u32 {
        let number = self.hosts_ever;
        self.hosts_ever += 1;
        self.add_host(number, upload_bps, at);
        self.at(at, Event::Arrive(number));
        number
    }

    /// A viewer has seen enough; its system closes what it had open, and says no goodbye.
    /// Another comes for it.
    fn leave(&mut self, number: u32) {
        let Some(host) = self.hosts.get(&number).filter(|host| host.is_alive()) else {
            return;
        };
        let (upload, lies, rides) = (host.upload_bps, host.lies, host.rides);
        self.note(5, number, 0);
        self.measure_leaves(number);
        self.vanish(number, How::Killed);
        self.network.add(upload);
        let next = self.expect(upload, self.now);
        if let Some(host) = self.hosts.get_mut(&next) {
            (host.lies, host.rides) = (lies, rides);
        }
        let forgets = self.now + Duration::from_secs(10);
        self.at(forgets, Event::Forget(number));
    }

    fn config_of(&mut self, number: u32) -> peer::Config {
        let (upload_bps, started) = self
            .hosts
            .get(&number)
            .map_or((0, self.now), |host| (host.upload_bps, host.started));
        self.config(number, upload_bps, started)
    }

    fn config(&mut self, number: u32, upload_bps: u64, started: Instant) -> peer::Config {
        peer::Config {
            peer: peer_id(number),
            role: role(number),
            upload_bps,
            seed: self.random.next(),
            started,
        }
    }

    fn add_host(&mut self, number: u32, upload_bps: u64, started: Instant) {
        let config = self.config(number, upload_bps, started);
        let host = Host {
            peer: Peer::new(started, Light, config),
            life: Life::Away,
            session: None,
            started,
            upload_bps,
            wakes: Instant::default(),
            traffic: BTreeMap::new(),
            beats: VecDeque::new(),
            second_max: 0,
            lies: false,
            rides: false,
            pieces_sent: 0,
            marked: None,
            ended: None,
            measured: None,
            counted: Counts::default(),
        };
        self.hosts.insert(number, host);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.pending.insert(self.serial, event);
        self.queue.push(Reverse(Entry {
            at: at.max(self.now),
            serial: self.serial,
        }));
    }

    fn on_event(&mut self, serial: u64) {
        let Some(event) = self.pending.remove(&serial) else {
            return;
        };
        match event {
            Event::Publish(sequence) => self.publish(sequence),
            Event::Arrive(number) => self.arrive(number),
            Event::Wake(number) => self.feed(number, Input::Timeout),
            Event::ToPeer(number, input) => self.feed(number, input),
            Event::WakeTracker => self.feed_tracker(tracker::Input::Timeout),
            Event::ToTracker(from, message) => {
                let session = self.hosts.get(&from).and_then(|host| host.session);
                if let Some(session) = session.filter(|_| !self.is_cut_off(from)) {
                    let session = SessionId(session);
                    self.feed_tracker(tracker::Input::Message { session, message });
                }
            }
            Event::FromTracker(number, message) => {
                if !self.is_cut_off(number) {
                    self.feed(number, Input::Tracker(message));
                }
            }
            Event::LinkOpen(a, b) => self.open(a, b),
            Event::Drained(from, to) => self.drained(from, to),
            Event::GiveUp(a, b) => self.give_up(a, b),
            Event::Traffic => self.tell_traffic(),
            Event::Leave(number) => self.leave(number),
            Event::Forget(number) => drop(self.hosts.remove(&number)),
            Event::Measure => self.measure_begins(),
            Event::MeasureOf(number) => self.measure_of(number),
            Event::Strike(what) => self.strike(what),
            Event::Watched => self.watched(),
            Event::Silence(number, other, link) => {
                if self.links.get(&pair(number, other)) == Some(&link) {
                    self.silence(number, other);
                }
            }
            Event::SessionLost(number) => self.end_session(number),
            Event::TrackerBack => self.tracker_back(),
            Event::SeederBack => self.seeder_back(),
            Event::Return(number) => self.join(number),
            Event::Apart => self.apart(),
            Event::Healed => self.healed(),
        }
    }

    fn arrive(&mut self, number: u32) {
        let Some(host) = self.hosts.get_mut(&number) else {
            return;
        };
        host.life = Life::Alive;
        if number == SEEDER {
            self.feed(number, Input::Epoch(1));
        } else {
            self.at(self.now + measure::BEGINS, Event::MeasureOf(number));
            let stay = self.scenario.session(&mut self.random);
            if let Some(stay) = stay {
                self.at(self.now + stay, Event::Leave(number));
            }
        }
        self.join(number);
    }

    /// Opens a session with the tracker, or tries again when that is not there.
    fn join(&mut self, number: u32) {
        if self.is_cut_off(number) {
            return self.at(self.now + Duration::from_secs(1), Event::Return(number));
        }
        let session = self.next_session;
        self.next_session += 1;
        let Some(host) = self.hosts.get_mut(&number).filter(|host| host.is_alive()) else {
            return;
        };
        host.session = Some(session);
        self.sessions.insert(session, number);
        let grant = Grant {
            role: role(number),
            may_share: true,
            origin: None,
        };
        let session = SessionId(session);
        self.feed_tracker(tracker::Input::Opened { session, grant });
        self.feed(number, Input::TrackerUp);
    }

    fn publish(&mut self, sequence: u64) {
        let scenario = &self.scenario;
        let per_gop = (scenario.gop.as_micros() / scenario.generation.as_micros()).max(1) as u64;
        let keyframe = sequence.is_multiple_of(per_gop);
        let mean = scenario.bitrate_bps as f64 / 8.0 * scenario.generation.as_secs_f64();
        // A keyframe's generation is about three times the mean; the others make up for it.
        let rest = (per_gop as f64 - 3.0).max(1.0) / (per_gop as f64 - 1.0).max(1.0);
        let body_len = (mean * if keyframe { 3.0 } else { rest }) as u32;
        let facts = Facts {
            epoch: 1,
            sequence,
            k: 16,
            n: 20,
            body_len,
            piece_len: body_len.div_ceil(16),
            ingest_stamp_us: WALL_AT_ZERO_US + self.now.as_micros(),
            delay_ms: scenario.delay.as_millis() as u32,
            flags: if keyframe {
                Flags::KEYFRAME
            } else {
                Flags::default()
            },
        };
        let pieces = StripeId::first(facts.n).map(|stripe| LightPiece {
            sequence,
            stripe,
            len: facts.piece_len,
            forged: false,
        });
        let header = LightHeader {
            facts,
            forged: false,
        };
        let pieces = pieces.collect();
        self.at(self.now + scenario.generation, Event::Publish(sequence + 1));
        if self.is_present(SEEDER) {
            self.feed(SEEDER, Input::Publish { header, pieces });
        } else if self.kept.len() < KEPT {
            self.kept.push((header, pieces));
        }
    }

    fn feed(&mut self, number: u32, input: Input<Light>) {
        let Some(host) = self.hosts.get_mut(&number).filter(|host| host.is_alive()) else {
            return;
        };
        host.peer.handle(self.now, input);
        loop {
            let Some(host) = self.hosts.get_mut(&number) else {
                return;
            };
            match host.peer.poll() {
                Output::Timeout(at) => {
                    // One timer a peer: an earlier one that fires in vain is harmless.
                    if host.wakes <= self.now || at < host.wakes {
                        host.wakes = at;
                        self.at(at, Event::Wake(number));
                    }
                    return;
                }
                output => self.on_output(number, output),
            }
        }
    }

    fn on_output(&mut self, number: u32, output: Output<Light>) {
        match output {
            Output::Send { to, message } => self.send(number, index(to), message),
            Output::Tracker(message) => {
                self.note(3, number, 0);
                let at = self.now + TRACKER_LATENCY;
                self.at(at, Event::ToTracker(number, message));
            }
            Output::Connect(peer) => self.connect(number, index(peer)),
            Output::Disconnect(peer) => {
                let other = index(peer);
                if self.links.remove(&pair(number, other)).is_some() {
                    let at = self.now + self.network.latency(number, other);
                    self.at(at, Event::ToPeer(other, Input::LinkDown(peer_id(number))));
                }
            }
            Output::Release(release) => {
                self.false_played += u64::from(!release.body);
                self.note(4, number, release.facts.sequence);
            }
            Output::Signal { from, payload, .. } => self.signalled(number, from, &payload),
            Output::Event(_) | Output::Timeout(_) => {}
        }
    }

    /// What two tell each other before they can talk goes by the tracker, at a constant
    /// latency; or if that is away by way of the peers themselves.
    fn connect(&mut self, number: u32, other: u32) {
        let by_tracker = self
            .hosts
            .get(&number)
            .is_some_and(|host| host.session.is_some());
        if self.tracker_up && by_tracker {
            let at = self.now + TRACKER_LATENCY * 4 + self.handshake(number, other);
            return self.at(at, Event::LinkOpen(number, other));
        }
        self.at(self.now + GIVES_UP, Event::GiveUp(number, other));
        self.signal(number, other, OFFER);
    }

    fn signal(&mut self, number: u32, other: u32, said: &'static [u8]) {
        let to = peer_id(other);
        let payload = said.into();
        self.feed(number, Input::Signal { to, payload });
    }

    fn signalled(&mut self, number: u32, from: PeerId, payload: &[u8]) {
        let other = index(from);
        if payload == OFFER {
            return self.signal(number, other, ANSWER);
        }
        let at = self.now + self.handshake(number, other);
        self.at(at, Event::LinkOpen(number, other));
    }

    fn handshake(&self, number: u32, other: u32) -> Duration {
        self.network.latency(number, other) * 2 * HANDSHAKE_ROUND_TRIPS
    }

    fn give_up(&mut self, a: u32, b: u32) {
        if !self.links.contains_key(&pair(a, b)) {
            self.feed(a, Input::LinkDown(peer_id(b)));
        }
    }

    fn send(&mut self, from: u32, to: u32, mut message: Message<Light>) {
        if !self.links.contains_key(&pair(from, to)) {
            return;
        }
        let len = message.wire_len();
        let reliable = message.channel() == Channel::Reliable;
        self.note(1, from, u64::from(to) << 32 | len as u64);
        if let Message::Piece(piece) = &mut message {
            let Some(host) = self.hosts.get_mut(&from) else {
                return;
            };
            host.pieces_sent += 1;
            if host.lies && host.pieces_sent.is_multiple_of(ALTERED) {
                piece.piece.forged = true;
            } else if piece.piece.forged {
                self.bad_relayed += 1;
            }
            let rides = host.rides;
            if rides || !self.has_room(from, to, len) {
                return self.tell_buffered(from, to);
            }
        }
        let arrival = self
            .network
            .send(self.now, (from, to), len, reliable, &mut self.random);
        if !reliable {
            self.tell_buffered(from, to);
        }
        let heard = !self.is_apart(from, to) && self.is_present(to);
        let (wire, ack) = Network::wire_len(len);
        self.count(from, to, wire, if heard { ack } else { 0 });
        if !heard {
            return;
        }
        self.network.acknowledge(to, ack);
        self.count(to, from, ack, wire);
        let input = Input::Received {
            from: peer_id(from),
            message,
        };
        if let Some(arrival) = arrival {
            self.at(arrival, Event::ToPeer(to, input));
        }
    }

    /// Whether a link's send buffer takes a piece.
    fn has_room(&mut self, from: u32, to: u32, len: usize) -> bool {
        self.network.buffered(self.now, (from, to)) + len <= SEND_BUFFER
    }

    /// Tells a link's owner how full its send buffer is; on a line that is faster than what
    /// is offered it is nearly empty.
    fn tell_buffered(&mut self, from: u32, to: u32) {
        let bytes = self.network.buffered(self.now, (from, to));
        let peer = peer_id(to);
        if let Some(host) = self.hosts.get_mut(&from) {
            host.peer.handle(self.now, Input::Buffered { peer, bytes });
        }
        if let Some(at) = self.network.watch((from, to), bytes >= SEND_BUFFER / 12) {
            self.at(at, Event::Drained(from, to));
        }
    }

    fn drained(&mut self, from: u32, to: u32) {
        self.network.watched((from, to));
        if self.is_present(from) {
            self.tell_buffered(from, to);
            self.feed(from, Input::Timeout);
        }
    }

    fn is_present(&self, number: u32) -> bool {
        self.hosts.get(&number).is_some_and(Host::is_alive)
    }

    fn count(&mut self, number: u32, other: u32, sent: usize, received: usize) {
        if let Some(host) = self.hosts.get_mut(&number) {
            let entry = host.traffic.entry(other).or_default();
            entry.0 += sent as u64;
            entry.1 += received as u64;
        }
    }

    fn open(&mut self, a: u32, b: u32) {
        let alive = |number: u32| self.hosts.get(&number).is_some_and(Host::is_alive);
        if !alive(a) || !alive(b) || self.is_apart(a, b) {
            self.feed(a, Input::LinkDown(peer_id(b)));
            return;
        }
        if !self.links.contains_key(&pair(a, b)) {
            self.links.insert(pair(a, b), self.serial);
            self.note(2, a, u64::from(b));
            self.feed(a, Input::LinkUp(peer_id(b)));
            self.feed(b, Input::LinkUp(peer_id(a)));
        }
    }

    fn tell_traffic(&mut self) {
        self.beats += 1;
        if self.beats.is_multiple_of(KEEPALIVE) {
            let links: Vec<(u32, u32)> = self.links.keys().copied().collect();
            for (a, b) in links {
                let both = self.is_present(a) && self.is_present(b) && !self.is_apart(a, b);
                let heard = if both { CHECK } else { 0 };
                self.count(a, b, CHECK, heard);
                self.count(b, a, CHECK, heard);
            }
        }
        let numbers: Vec<u32> = self.hosts.keys().copied().collect();
        for number in numbers {
            let Some(host) = self.hosts.get_mut(&number) else {
                continue;
            };
            host.beat(self.network.sent(number));
            for (other, (sent, received)) in std::mem::take(&mut host.traffic) {
                let traffic = Input::Traffic {
                    peer: peer_id(other),
                    sent,
                    received,
                };
                self.feed(number, traffic);
            }
        }
        self.at(self.now + TRAFFIC, Event::Traffic);
    }

    fn tracker_stats(&self) -> tracker::stats::Stats {
        self.tracker.stats()
    }

    fn feed_tracker(&mut self, input: tracker::Input) {
        if !self.tracker_up {
            return;
        }
        self.tracker.handle(self.now, input);
        loop {
            match self.tracker.poll() {
                tracker::Output::Send { session, message } => {
                    if let Some(number) = self.sessions.get(&session.0).copied() {
                        let at = self.now + TRACKER_LATENCY;
                        self.at(at, Event::FromTracker(number, message));
                    }
                }
                tracker::Output::Close { .. } => {}
                tracker::Output::Timeout(at) => {
                    if self.tracker_wakes <= self.now || at < self.tracker_wakes {
                        self.tracker_wakes = at;
                        self.at(at, Event::WakeTracker);
                    }
                    return;
                }
            }
        }
    }

    /// Folds what happened into the trace hash (FNV-1a over words).
    fn note(&mut self, kind: u64, who: u32, what: u64) {
        for word in [self.now.as_micros(), kind, u64::from(who), what] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Uplinks in exactly their shares, in random order.
fn draw_uplinks(scenario: &Scenario, random: &mut Random) -> Vec<u64> {
    let (shares, peers) = (&scenario.uplinks, scenario.peers);
    if !scenario.uplinks_in_turn.is_empty() {
        let in_turn = scenario.uplinks_in_turn.iter().cycle();
        return in_turn.take(peers).copied().collect();
    }
    let at = |index: usize| {
        let mut left = (index as f64 + 0.5) / peers as f64;
        let found = shares.iter().find(|(share, _)| {
            left -= share;
            left < 0.0
        });
        found.or(shares.last()).map_or(0, |(_, rate)| *rate)
    };
    let mut uplinks: Vec<u64> = (0..peers).map(at).collect();
    for last in (1..peers).rev() {
        uplinks.swap(last, random.below(last as u64 + 1) as usize);
    }
    uplinks
}

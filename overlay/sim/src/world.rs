//! The event loop: everything that happens, in order of time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use overlay_core::{
    Facts, Instant, Peer, PeerId, Random, StripeId, Tracker,
    peer::{self, Input, Output, stats::State},
    tracker::{self, Grant, Role, SessionId},
    wire::{Channel, FromTracker, Message, ToTracker},
};
use stripe::Flags;

use crate::{Light, LightHeader, LightPiece, Scenario, network::Network};

/// Signalling to and from the tracker, one way.
const TRACKER_LATENCY: Duration = Duration::from_millis(15);
/// Round trips until a link is open, signalling aside (measured between two native peers:
/// 241 ms at a round trip of 80 ms, for connectivity checks, DTLS and SCTP).
const HANDSHAKE_ROUND_TRIPS: u32 = 3;
/// What the transport carried is told this often.
const TRAFFIC: Duration = Duration::from_millis(500);
/// Unix time at the virtual clock's zero.
const WALL_AT_ZERO_US: u64 = 1_700_000_000_000_000;
/// The seeder's index; viewers follow.
const SEEDER: u32 = 0;

/// What came of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Same scenario, same seed, same hash.
    pub trace_hash: String,
    /// Viewers alive at the end.
    pub viewers: usize,
    /// Of them, those whose player runs.
    pub playing: usize,
    /// 1 − bytes sent by the seeder / media bytes played.
    pub saved_ratio: f64,
    /// Stalls of those alive at the end.
    pub stalls: u64,
    /// Share of those alive at the end that never stalled.
    pub lossless_share: f64,
    /// Median over viewers of the median lag.
    pub lag_p50_ms: f64,
    /// 95th percentile over viewers of the 95th percentile of lag.
    pub lag_p95_ms: f64,
    /// Median of process start to first release.
    pub startup_p50_ms: f64,
    /// 95th percentile of it.
    pub startup_p95_ms: f64,
    /// Duplicates / all bytes received.
    pub duplicate_share: f64,
    /// Parity / all bytes received.
    pub redundancy_share: f64,
    /// The worst ratio, over peers, of what was sent to what was allowed.
    pub upload_over_cap: f64,
    /// The most stripes in which one viewer has children at the end.
    pub relayed_stripes_max: usize,
    /// Events handled.
    pub events: u64,
}

/// Runs a scenario to its end.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    let mut world = World::new(scenario.clone(), seed);
    let end = Instant::default() + scenario.duration;
    while let Some(Reverse(next)) = world.queue.pop() {
        if next.at > end {
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
    Traffic,
    Kill(f64),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    serial: u64,
}

struct Host {
    peer: Peer<Light>,
    alive: bool,
    started: Instant,
    upload_bps: u64,
    wakes: Instant,
    traffic: BTreeMap<u32, (u64, u64)>,
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
    links: BTreeSet<(u32, u32)>,
    tracker: Tracker,
    tracker_wakes: Instant,
    hash: u64,
    events: u64,
}

fn peer_id(index: u32) -> PeerId {
    PeerId(u64::from(index) + 1)
}

fn index(peer: PeerId) -> u32 {
    (peer.0 - 1) as u32
}

fn pair(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

impl World {
    fn new(scenario: Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut network = Network::new(scenario.rtt, scenario.loss, random.next());
        network.add(scenario.seeder_bps);
        let uplinks = draw_uplinks(&scenario.uplinks, scenario.peers, &mut random);
        uplinks.iter().for_each(|upload| network.add(*upload));
        let config = tracker::Config {
            seed: random.next(),
            wall_at_zero_us: WALL_AT_ZERO_US,
            ..tracker::Config::default()
        };
        let mut world = Self {
            now: Instant::default(),
            random,
            queue: BinaryHeap::new(),
            pending: BTreeMap::new(),
            serial: 0,
            network,
            hosts: BTreeMap::new(),
            links: BTreeSet::new(),
            tracker: Tracker::new(Instant::default(), config),
            tracker_wakes: Instant::default(),
            hash: seed,
            events: 0,
            scenario,
        };
        world.begin(&uplinks);
        world
    }

    fn begin(&mut self, uplinks: &[u64]) {
        let zero = Instant::default();
        self.add_host(SEEDER, Role::Seeder, self.scenario.seeder_bps, zero);
        self.at(zero, Event::Arrive(SEEDER));
        // The broadcast runs for a moment before the first viewer comes.
        let first = zero + Duration::from_secs(3);
        let count = uplinks.len().max(1) as u32;
        for (number, upload) in uplinks.iter().enumerate() {
            let number = number as u32;
            let at = first + self.scenario.arrivals / count * number;
            self.add_host(number + 1, Role::Viewer, *upload, at);
            self.at(at, Event::Arrive(number + 1));
        }
        self.at(zero + Duration::from_millis(100), Event::Publish(0));
        self.at(zero + TRAFFIC, Event::Traffic);
        for (at, share) in self.scenario.kills.clone() {
            self.at(zero + at, Event::Kill(share));
        }
    }

    fn add_host(&mut self, number: u32, role: Role, upload_bps: u64, started: Instant) {
        let config = peer::Config {
            peer: peer_id(number),
            role,
            upload_bps,
            seed: self.random.next(),
            started,
        };
        let host = Host {
            peer: Peer::new(started, Light, config),
            alive: false,
            started,
            upload_bps,
            wakes: Instant::default(),
            traffic: BTreeMap::new(),
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
                let session = SessionId(u64::from(from));
                self.feed_tracker(tracker::Input::Message { session, message });
            }
            Event::FromTracker(number, message) => self.feed(number, Input::Tracker(message)),
            Event::LinkOpen(a, b) => self.open(a, b),
            Event::Traffic => self.tell_traffic(),
            Event::Kill(share) => self.kill(share),
        }
    }

    fn arrive(&mut self, number: u32) {
        let Some(host) = self.hosts.get_mut(&number) else {
            return;
        };
        host.alive = true;
        let grant = Grant {
            role: if number == SEEDER {
                Role::Seeder
            } else {
                Role::Viewer
            },
            may_share: true,
        };
        let session = SessionId(u64::from(number));
        self.feed_tracker(tracker::Input::Opened { session, grant });
        if number == SEEDER {
            self.feed(number, Input::Epoch(1));
        }
        self.feed(number, Input::TrackerUp);
    }

    fn kill(&mut self, share: f64) {
        let viewers: Vec<u32> = self
            .hosts
            .iter()
            .filter(|(number, host)| **number != SEEDER && host.alive)
            .map(|(number, _)| *number)
            .collect();
        for number in viewers {
            if self.random.unit() >= share {
                continue;
            }
            if let Some(host) = self.hosts.get_mut(&number) {
                host.alive = false;
            }
            let session = SessionId(u64::from(number));
            self.feed_tracker(tracker::Input::Closed { session });
            let gone: Vec<(u32, u32)> = self
                .links
                .iter()
                .filter(|(a, b)| *a == number || *b == number)
                .copied()
                .collect();
            for (a, b) in gone {
                self.links.remove(&(a, b));
                let other = if a == number { b } else { a };
                // No goodbye: the other end notices when the link's liveness runs out.
                let at = self.now + Duration::from_secs(3);
                self.at(at, Event::ToPeer(other, Input::LinkDown(peer_id(number))));
            }
        }
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
        self.feed(SEEDER, Input::Publish { header, pieces });
    }

    fn feed(&mut self, number: u32, input: Input<Light>) {
        let Some(host) = self.hosts.get_mut(&number).filter(|host| host.alive) else {
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
            Output::Connect(peer) => {
                let other = index(peer);
                let latency = self.network.latency(number, other);
                let at = self.now + TRACKER_LATENCY * 4 + latency * 2 * HANDSHAKE_ROUND_TRIPS;
                self.at(at, Event::LinkOpen(number, other));
            }
            Output::Disconnect(peer) => {
                let other = index(peer);
                if self.links.remove(&pair(number, other)) {
                    let at = self.now + self.network.latency(number, other);
                    self.at(at, Event::ToPeer(other, Input::LinkDown(peer_id(number))));
                }
            }
            Output::Release(release) => self.note(4, number, release.facts.sequence),
            Output::Signal { .. } | Output::Event(_) | Output::Timeout(_) => {}
        }
    }

    fn send(&mut self, from: u32, to: u32, message: Message<Light>) {
        if !self.links.contains(&pair(from, to)) {
            return;
        }
        let len = message.wire_len();
        let reliable = message.channel() == Channel::Reliable;
        self.note(1, from, u64::from(to) << 32 | len as u64);
        if let Some(host) = self.hosts.get_mut(&from).filter(|_| !reliable) {
            // The line is faster than what the peer offers: its send buffer stays empty.
            let peer = peer_id(to);
            host.peer
                .handle(self.now, Input::Buffered { peer, bytes: 0 });
        }
        let arrival = self
            .network
            .send(self.now, (from, to), len, reliable, &mut self.random);
        let wire = Network::wire_len(len) as u64;
        for (host, other, sent, received) in [(from, to, wire, 0), (to, from, 0, wire)] {
            if let Some(host) = self.hosts.get_mut(&host) {
                let entry = host.traffic.entry(other).or_default();
                entry.0 += sent;
                entry.1 += received;
            }
        }
        let input = Input::Received {
            from: peer_id(from),
            message,
        };
        self.at(arrival, Event::ToPeer(to, input));
    }

    fn open(&mut self, a: u32, b: u32) {
        let alive = |number: u32| self.hosts.get(&number).is_some_and(|host| host.alive);
        if !alive(a) || !alive(b) {
            self.feed(a, Input::LinkDown(peer_id(b)));
            return;
        }
        if self.links.insert(pair(a, b)) {
            self.note(2, a, u64::from(b));
            self.feed(a, Input::LinkUp(peer_id(b)));
            self.feed(b, Input::LinkUp(peer_id(a)));
        }
    }

    fn tell_traffic(&mut self) {
        let numbers: Vec<u32> = self.hosts.keys().copied().collect();
        for number in numbers {
            let Some(host) = self.hosts.get_mut(&number) else {
                continue;
            };
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

    fn feed_tracker(&mut self, input: tracker::Input) {
        self.tracker.handle(self.now, input);
        loop {
            match self.tracker.poll() {
                tracker::Output::Send { session, message } => {
                    let at = self.now + TRACKER_LATENCY;
                    self.at(at, Event::FromTracker(session.0 as u32, message));
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

    fn report(&self) -> Report {
        let alive: Vec<(u32, &Host)> = self
            .hosts
            .iter()
            .filter(|(number, host)| **number != SEEDER && host.alive)
            .map(|(number, host)| (*number, host))
            .collect();
        let stats: Vec<_> = alive.iter().map(|(_, host)| host.peer.stats()).collect();
        let swarm = self.tracker.stats();
        let ms = |span: Option<Duration>| span.map(|span| span.as_secs_f64() * 1000.0);
        let sum = |pick: fn(&peer::stats::Stats) -> u64| stats.iter().map(pick).sum::<u64>();
        let received = sum(|s| total(&s.received_from_peers) + total(&s.received_from_seeders));
        let duplicate =
            sum(|s| s.received_from_peers.duplicate + s.received_from_seeders.duplicate);
        let parity = sum(|s| s.received_from_peers.parity + s.received_from_seeders.parity);
        let over_cap =
            alive
                .iter()
                .filter(|(_, host)| host.upload_bps > 0)
                .map(|(number, host)| {
                    let allowed =
                        host.upload_bps as f64 / 8.0 * self.now.since(host.started).as_secs_f64();
                    self.network.sent(*number) as f64 / allowed.max(1.0)
                });
        Report {
            trace_hash: format!("{:016x}", self.hash),
            viewers: alive.len(),
            playing: stats.iter().filter(|s| s.state == State::Playing).count(),
            saved_ratio: swarm.saved_ratio.unwrap_or(0.0),
            stalls: sum(|s| s.stalls),
            lossless_share: stats.iter().filter(|s| s.stalls == 0).count() as f64
                / stats.len().max(1) as f64,
            lag_p50_ms: percentile(stats.iter().filter_map(|s| ms(s.lag_p50)).collect(), 0.5),
            lag_p95_ms: percentile(stats.iter().filter_map(|s| ms(s.lag_p95)).collect(), 0.95),
            startup_p50_ms: percentile(stats.iter().filter_map(|s| ms(s.startup)).collect(), 0.5),
            startup_p95_ms: percentile(stats.iter().filter_map(|s| ms(s.startup)).collect(), 0.95),
            duplicate_share: duplicate as f64 / received.max(1) as f64,
            redundancy_share: parity as f64 / received.max(1) as f64,
            upload_over_cap: over_cap.fold(0.0, f64::max),
            relayed_stripes_max: stats.iter().map(|s| s.children.len()).max().unwrap_or(0),
            events: self.events,
        }
    }
}

fn total(bytes: &overlay_core::wire::ByteCounts) -> u64 {
    bytes.media + bytes.parity + bytes.duplicate + bytes.rescue + bytes.control
}

/// Uplinks in exactly their shares, in random order.
fn draw_uplinks(shares: &[(f64, u64)], peers: usize, random: &mut Random) -> Vec<u64> {
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

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 * share).ceil() as usize).max(1) - 1;
    values.get(index).copied().unwrap_or(f64::NAN)
}

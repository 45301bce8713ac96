//! The event loop: everything that happens, in order of time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use overlay_core::{
    Instant, PeerId, Random, Tracker,
    peer::Input,
    tracker::{self, Role, SessionId},
    wire::{FromTracker, ToTracker},
};

use crate::{
    Light, LightHeader, LightPiece, Scenario,
    fault::What,
    nat::Nat,
    network::Network,
    pairs::Pairs,
    rivals::{Said, Way, Why},
    scenario::FIRST_COMES,
};

mod check;
mod curves;
mod faults;
mod host;
mod links;
mod measure;
mod peers;
mod queue;
mod repair;
mod report;
mod rival;
mod viewers;

pub use check::Findings;
pub use curves::Curves;
use host::Hosts;
use measure::Measure;
pub use measure::Measures;
use queue::Queue;
pub use report::{FaultReport, Report};

/// Signalling to and from the tracker, one way.
const TRACKER_LATENCY: Duration = Duration::from_millis(15);
/// Unix time at the virtual clock's zero.
const WALL_AT_ZERO_US: u64 = 1_700_000_000_000_000;
/// The first generation comes then, and each other one its time after the one before.
const FIRST_PUBLISHED: Duration = Duration::from_millis(100);
/// The seeder's index; viewers follow.
const SEEDER: u32 = 0;

/// Runs a scenario to its end.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    let mut world = World::new(scenario.clone(), seed);
    let end = Instant::default() + scenario.duration;
    while let Some((at, event)) = world.queue.pop() {
        if at > end {
            world.now = end;
            break;
        }
        world.now = at;
        world.events += 1;
        world.on_event(event);
        if world.scenario.check {
            world.look_after();
        }
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
    /// Another second is to be drawn.
    Second,
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
    /// Of rivals: a message arrives,
    Hears(Way, Said),
    /// somebody wanted to be woken,
    Wakes(u32, Why),
    /// a generation is to be shown.
    Due(u64),
}

struct World {
    scenario: Scenario,
    now: Instant,
    random: Random,
    queue: Queue<Event>,
    network: Network,
    nat: Nat,
    hosts: Hosts,
    /// The next to come has this number.
    hosts_ever: u32,
    measure: Measure,
    times: repair::Times,
    drawn: curves::Drawn,
    check: check::Check,
    /// Those who altered pieces, and whom well-meaning viewers cut that have left since.
    liars: BTreeSet<u32>,
    cut: BTreeSet<u32>,
    /// Open links, each from both of its ends; no two have the same number.
    links: Pairs<u64>,
    /// Who carries it instead of our peers.
    rival: Option<rival::Rivals>,
    tracker: Tracker,
    tracker_up: bool,
    tracker_wakes: Instant,
    tracker_seed: u64,
    /// Whose sessions the tracker has.
    sessions: BTreeMap<u64, u32>,
    next_session: u64,
    /// Who is cut off from all others.
    cut_off: BTreeSet<u32>,
    /// When the first fault struck, and what the seeder had sent by then.
    struck: Option<(Instant, u64)>,
    /// Faults are watched until then.
    watched_until: Instant,
    /// What came of the minute after it, once that is over.
    minute: Option<report::Minute>,
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

impl World {
    fn new(scenario: Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut network = Network::new(&scenario, random.next());
        let rival = rival::Rivals::new(&scenario, seed);
        match &rival {
            Some(rival) => network.add_line(rival.server_line(&scenario)),
            None => network.add(scenario.seeder_bps),
        }
        let uplinks = viewers::draw_uplinks(&scenario, &mut random);
        for (at, upload) in uplinks.iter().enumerate() {
            // Evenly among all, whatever they offer.
            let worse = |count: usize| (count as f64 * scenario.overstated) as usize;
            if worse(at + 1) > worse(at) {
                network.add_line(*upload as f64 / 8.0 * scenario.carries);
            } else {
                viewers::add_line(&mut network, &scenario, *upload);
            }
        }
        let tracker_seed = random.next();
        let mut world = Self {
            now: Instant::default(),
            random,
            queue: Queue::default(),
            network,
            nat: Nat::new(scenario.nat, seed),
            hosts: Hosts::default(),
            hosts_ever: SEEDER + 1,
            measure: Measure::default(),
            times: repair::Times::default(),
            drawn: curves::Drawn::default(),
            check: check::Check::default(),
            liars: BTreeSet::new(),
            cut: BTreeSet::new(),
            links: Pairs::default(),
            rival,
            tracker: Tracker::new(Instant::default(), tracker_config(tracker_seed)),
            tracker_up: true,
            tracker_wakes: Instant::default(),
            tracker_seed,
            sessions: BTreeMap::new(),
            next_session: 0,
            cut_off: BTreeSet::new(),
            struck: None,
            watched_until: Instant::default(),
            minute: None,
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
        self.expect_sybils(uplinks.len());
        let attack = self.scenario.attack;
        for number in faults::draw(attack.polluters, uplinks.len(), &mut self.random) {
            if let Some(host) = self.hosts.get_mut(&number) {
                host.lies = true;
                self.liars.insert(number);
            }
        }
        for number in faults::draw(attack.free_riders, uplinks.len(), &mut self.random) {
            if let Some(host) = self.hosts.get_mut(&number) {
                host.rides = true;
            }
        }
        for number in faults::draw(attack.slow_drip, uplinks.len(), &mut self.random) {
            if let Some(host) = self.hosts.get_mut(&number) {
                host.drips = true;
            }
        }
        self.at(zero + FIRST_PUBLISHED, Event::Publish(0));
        self.at(zero + links::TRAFFIC, Event::Traffic);
        self.at(zero + self.scenario.warmup, Event::Measure);
        for fault in self.scenario.faults.clone() {
            self.at(zero + fault.at, Event::Strike(fault.what));
        }
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.queue.push(at.max(self.now), event);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Publish(sequence) => self.publish(sequence),
            Event::Arrive(number) => self.arrive(number),
            Event::Wake(number) => self.feed(number, Input::Timeout),
            Event::ToPeer(number, input) => {
                self.watch_input(number, &input);
                self.feed(number, input);
            }
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
            Event::Forget(number) => self.forget(number),
            Event::Measure => {
                self.measure_begins();
                self.draw_begins();
            }
            Event::Second => self.draw_second(),
            Event::MeasureOf(number) => self.measure_of(number),
            Event::Strike(what) => self.strike(what),
            Event::Watched => self.watched(),
            Event::Silence(number, other, link) => {
                if self.links.get((number, other)) == Some(&link) {
                    self.silence(number, other);
                }
            }
            Event::SessionLost(number) => self.end_session(number),
            Event::TrackerBack => self.tracker_back(),
            Event::SeederBack => self.seeder_back(),
            Event::Return(number) => self.join(number),
            Event::Apart => self.apart(),
            Event::Healed => self.healed(),
            Event::Hears(way, said) => self.rival_hears(way, said),
            Event::Wakes(number, why) => self.rival_wakes(number, why),
            Event::Due(sequence) => self.rival_due(sequence),
        }
    }

    /// Folds what happened into the trace hash (FNV-1a over words).
    fn note(&mut self, kind: u64, who: u32, what: u64) {
        for word in [self.now.as_micros(), kind, u64::from(who), what] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

//! Whole segments exchanged between browsers, with a server that has them all: what Peer5 did
//! and p2p-media-loader does (Novage, version 2; PeerTube uses it). A viewer reads the
//! playlist, takes a segment from a neighbour that has it, and from the server when its time to
//! play is near; one or two in a neighbourhood, by lot, do not wait so long, since somebody
//! must have it first.
//!
//! Not faithful: waits and limits are in that spirit and not in its code's numbers; the server
//! is a CDN, whose line is as wide as it needs to be; one play-out delay for everyone, from
//! ingest: four segments, which is three behind the newest as hls.js has it, unless the
//! scenario says otherwise. Browsers behind a NAT reach each other where the scenario lets
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use overlay_core::Instant;

use super::{Format, Part, Rival, Said, Swarm, Way, Why, swarm::SERVER};
use crate::Scenario;

/// As many as a tracker of WebTorrent names at once.
const NEIGHBOURS: usize = 10;
const MOST: usize = 20;
/// From viewers at once; another one is asked when it does not begin to come.
const AT_ONCE: usize = 2;
/// How often a viewer looks what to do next.
const BEAT: Duration = Duration::from_millis(250);
/// What is nearer to its time than this comes from the server, and takes as long in the worst
/// case.
const NEAR: Duration = Duration::from_millis(1000);
/// What is on its way from a viewer is waited for until then,
const NEARER: Duration = Duration::from_millis(600);
/// and viewers are asked for nothing that is nearer than this.
const TOO_NEAR: Duration = Duration::from_millis(1500);
/// What a line has to send already before it takes on more.
const BUSY: Duration = Duration::from_millis(800);
const ANSWERS: Duration = Duration::from_secs(5);
/// Of a neighbourhood so many go to the server as soon as a segment is there, in the mean,
/// within this.
const FIRST: f64 = 2.0;
const SOON: Duration = Duration::from_millis(500);
/// Segments that are kept for others.
const KEPT: u64 = 12;

pub(super) struct Segments {
    delay: Duration,
    /// Generations in a segment.
    per_segment: u64,
    segment: Duration,
    /// The newest that is whole.
    newest: Option<u64>,
    members: BTreeMap<u32, Member>,
    known: BTreeSet<u32>,
}

#[derive(Default)]
struct Member {
    /// What it has in store of what neighbours said to have.
    neighbours: BTreeMap<u32, BTreeSet<u64>>,
    have: BTreeSet<u64>,
    /// From whom, and since when.
    asked: BTreeMap<u64, (u32, Instant)>,
    /// The newest in its playlist, and when it is read next.
    newest: Option<u64>,
    reads: Instant,
    /// When a segment is fetched from the server if nobody else has it.
    fetches: BTreeMap<u64, Instant>,
}

impl Segments {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let segment = scenario.rival.segment;
        let generation = scenario.generation;
        let per_segment = (segment.as_secs_f64() / generation.as_secs_f64()).round();
        Self {
            delay: scenario.rival.delay.unwrap_or(segment * 4),
            per_segment: (per_segment as u64).max(1),
            segment,
            newest: None,
            members: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    fn find(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        let Some(answer) = swarm.tracker(viewer) else {
            return;
        };
        let has = self
            .members
            .get(&viewer)
            .map_or(0, |member| member.neighbours.len());
        let others: Vec<u32> = self
            .known
            .iter()
            .copied()
            .filter(|at| *at != viewer)
            .collect();
        for _ in has..NEIGHBOURS {
            if let Some(other) = swarm.one_of(&others) {
                let connects = swarm.handshake(viewer, other);
                swarm.wake(answer + connects, viewer, Why::Ask(0, other));
            }
        }
    }

    fn look(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        swarm.wake(BEAT, viewer, Why::Look);
        let (now, segment) = (swarm.now, self.segment);
        let Some(member) = self.members.get_mut(&viewer) else {
            return;
        };
        if member.reads <= now {
            // hls.js waits for half a segment where the last look brought nothing new.
            member.reads = now + segment / 2;
            swarm.tell(viewer, SERVER, Said::Poll);
        }
        let silent: Vec<u32> = (member.asked.values())
            .filter(|(from, at)| *from != SERVER && now.since(*at) > ANSWERS)
            .map(|(from, _)| *from)
            .collect();
        member.neighbours.retain(|other, _| !silent.contains(other));
        member
            .asked
            .retain(|_, (from, at)| !silent.contains(from) && now.since(*at) <= ANSWERS);
        let fewer = member.neighbours.len() < NEIGHBOURS / 2;
        if let Some(newest) = member.newest {
            self.fetch(swarm, viewer, newest);
        }
        if fewer {
            self.find(swarm, viewer);
        }
    }

    /// Asks for what is missing, in order of time.
    fn fetch(&mut self, swarm: &mut Swarm<'_>, viewer: u32, newest: u64) {
        let (now, per_segment) = (swarm.now, self.per_segment);
        let Some(member) = self.members.get_mut(&viewer) else {
            return;
        };
        let oldest = newest.saturating_sub(KEPT);
        member.have = member.have.split_off(&oldest);
        member.fetches = member.fetches.split_off(&oldest);
        for at in oldest..=newest {
            let due = swarm.viewers.due_at(at * per_segment);
            // The last generation in it counts: a newcomer begins in the middle of one.
            let last = swarm.viewers.due_at((at + 1) * per_segment - 1);
            if member.have.contains(&at) || last.is_none_or(|last| last <= now) {
                continue;
            }
            let left = due.map_or(Duration::ZERO, |due| due.since(now));
            let calm = left.saturating_sub(NEAR);
            let first = swarm.random.unit() * (1.0 + member.neighbours.len() as f64) < FIRST;
            let wait = if first {
                calm.min(SOON).mul_f64(swarm.random.unit())
            } else {
                calm
            };
            let fetch = *member.fetches.entry(at).or_insert(now + wait);
            let from_viewer = member.asked.get(&at).map(|(from, _)| *from != SERVER);
            let near = if from_viewer.is_some() { NEARER } else { NEAR };
            if left <= near && from_viewer != Some(false) {
                member.asked.insert(at, (SERVER, now));
                swarm.tell(viewer, SERVER, Said::Ask(vec![at]));
                continue;
            }
            let has = |(other, has): (&u32, &BTreeSet<u64>)| has.contains(&at).then_some(*other);
            let holders: Vec<u32> = member.neighbours.iter().filter_map(has).collect();
            let others = member
                .asked
                .values()
                .filter(|(from, _)| *from != SERVER)
                .count();
            if from_viewer.is_some() {
                continue;
            }
            let from = match swarm.one_of(&holders) {
                Some(one) if others < AT_ONCE && left > TOO_NEAR => one,
                None if fetch <= now => SERVER,
                _ => continue,
            };
            member.asked.insert(at, (from, now));
            swarm.tell(viewer, from, Said::Ask(vec![at]));
        }
    }

    fn on_ask(&self, swarm: &mut Swarm<'_>, way: Way, at: u64) {
        let there = match way.to {
            SERVER => self.newest.is_some_and(|newest| at <= newest),
            viewer => {
                let member = self.members.get(&viewer);
                let has = member.is_some_and(|member| member.have.contains(&at));
                has && swarm.backlog(viewer) < BUSY
            }
        };
        let part = swarm
            .viewers
            .part_of(way.to, at * self.per_segment, self.per_segment);
        match part.filter(|_| there) {
            Some(part) => swarm.say(way.to, way.from, Said::Part(part), self.delay),
            None => swarm.tell(way.to, way.from, Said::Busy(at)),
        }
    }

    fn on_part(&mut self, swarm: &mut Swarm<'_>, way: Way, part: &Part) {
        swarm.viewers.take(way.to, way.from == SERVER, part);
        let at = part.first / self.per_segment;
        let Some(member) = self.members.get_mut(&way.to) else {
            return;
        };
        member.asked.remove(&at);
        member.fetches.remove(&at);
        // Who offers nothing does not say what it has.
        if member.have.insert(at) && swarm.viewers.can_send(way.to) {
            for other in member.neighbours.keys() {
                swarm.tell(way.to, *other, Said::Have(at, 1));
            }
        }
    }

    fn greet(&mut self, swarm: &mut Swarm<'_>, number: u32, other: u32) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        member.neighbours.entry(other).or_default();
        if let Some(first) = member
            .have
            .first()
            .copied()
            .filter(|_| swarm.viewers.can_send(number))
        {
            let bits = member
                .have
                .iter()
                .fold(0, |bits, at| bits | 1 << (at - first).min(127));
            swarm.tell(number, other, Said::Have(first, bits));
        }
    }
}

impl Rival for Segments {
    fn format(&self) -> Format {
        Format {
            parts: 1,
            enough: 1,
            delay: self.delay,
            server_unbounded: true,
        }
    }

    fn begins(&mut self, _: &mut Swarm<'_>) {}

    fn arrives(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        self.members.insert(viewer, Member::default());
        self.find(swarm, viewer);
        self.known.insert(viewer);
        let connects = swarm.handshake(viewer, SERVER);
        swarm.wake(connects, viewer, Why::Look);
    }

    fn publishes(&mut self, _: &mut Swarm<'_>, sequence: u64) {
        if (sequence + 1).is_multiple_of(self.per_segment) {
            self.newest = Some(sequence / self.per_segment);
        }
    }

    fn hears(&mut self, swarm: &mut Swarm<'_>, way: Way, said: Said) {
        match said {
            Said::Poll => {
                if let Some(newest) = self.newest {
                    swarm.tell(way.to, way.from, Said::Newest(newest));
                }
            }
            Said::Newest(newest) => {
                if let Some(member) = self.members.get_mut(&way.to) {
                    member.newest = member.newest.max(Some(newest));
                }
                self.fetch(swarm, way.to, newest);
            }
            Said::Join(_) => {
                let member = self.members.get(&way.to);
                if member.is_some_and(|member| member.neighbours.len() < MOST) {
                    swarm.tell(way.to, way.from, Said::Accept(0));
                    self.greet(swarm, way.to, way.from);
                }
            }
            Said::Accept(_) => self.greet(swarm, way.to, way.from),
            Said::Have(first, bits) => {
                let member = self.members.get_mut(&way.to);
                let store = member.and_then(|member| member.neighbours.get_mut(&way.from));
                if let Some(store) = store {
                    let bits = (0..u128::BITS).filter(|at| bits & (1 << at) != 0);
                    store.extend(bits.map(|at| first + u64::from(at)));
                    while store.len() > KEPT as usize {
                        store.pop_first();
                    }
                }
            }
            Said::Ask(which) => {
                for at in which {
                    self.on_ask(swarm, way, at);
                }
            }
            Said::Busy(at) => {
                let member = self.members.get_mut(&way.to);
                let Some(member) = member else { return };
                if member
                    .asked
                    .get(&at)
                    .is_some_and(|(from, _)| *from == way.from)
                {
                    member.asked.remove(&at);
                }
            }
            Said::Part(part) => self.on_part(swarm, way, &part),
            Said::Alive | Said::Refuse(_) => {}
        }
    }

    fn wakes(&mut self, swarm: &mut Swarm<'_>, viewer: u32, why: Why) {
        match why {
            Why::Ask(_, other) => swarm.tell(viewer, other, Said::Join(0)),
            Why::Look => self.look(swarm, viewer),
            _ => {}
        }
    }

    fn loses(&mut self, viewer: u32) {
        self.known.remove(&viewer);
    }

    fn forgets(&mut self, viewer: u32) {
        self.known.remove(&viewer);
        self.members.remove(&viewer);
    }
}

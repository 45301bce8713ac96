//! A rival in the world: what it is told, and what it asks for.

use std::time::Duration;

use overlay_core::{Random, peer::stats::Stats};

use super::{Event, SEEDER, World, links::ALTERED};
use crate::{
    Scenario,
    network::Delivery,
    rivals::{self, Act, Due, Rival, Said, Swarm, Viewers, Way, Why},
};

/// Of our own pieces.
const K: u32 = 16;
/// A line that is never full, bytes a second.
const UNBOUNDED: f64 = 1e12;

/// A rival and its viewers.
pub(super) struct Rivals {
    rules: Box<dyn Rival>,
    viewers: Viewers,
    random: Random,
}

impl Rivals {
    /// None where our own peers carry the broadcast.
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Option<Self> {
        let rules = rivals::rival(scenario)?;
        Some(Self {
            viewers: Viewers::new(rules.format(), scenario.generation),
            rules,
            random: Random::new(!seed),
        })
    }

    /// What the server's line carries, bytes a second.
    pub(super) fn server_line(&self, scenario: &Scenario) -> f64 {
        match self.viewers.format.server_unbounded {
            true => UNBOUNDED,
            false => scenario.seeder_bps as f64 / 8.0,
        }
    }

    pub(super) fn loses(&mut self, number: u32) {
        self.rules.loses(number);
    }

    pub(super) fn forgets(&mut self, number: u32) {
        self.rules.forgets(number);
        self.viewers.forget(number);
    }

    pub(super) fn count_received(&mut self, number: u32, from: u32, wire: u64) {
        self.viewers.count_received(number, from == SEEDER, wire);
    }

    fn stats(&self, number: u32) -> Stats {
        self.viewers.stats(&*self.rules, number)
    }
}

impl World {
    /// A viewer in figures, whoever serves it.
    pub(super) fn stats(&self, number: u32) -> Stats {
        if let Some(rival) = &self.rival {
            return rival.stats(number);
        }
        let host = self.hosts.get(&number);
        let peer = host.and_then(|host| host.peer.as_ref());
        peer.map(|peer| peer.stats()).unwrap_or_default()
    }

    /// Parts with which a generation can be shown.
    pub(super) fn enough(&self) -> u32 {
        let rival = self.rival.as_ref();
        rival.map_or(K, |rival| u32::from(rival.viewers.format.enough))
    }

    pub(super) fn rival_arrives(&mut self, number: u32) {
        let host = self.hosts.get(&number);
        let (upload, started) = host.map_or((0, self.now), |host| (host.upload_bps, host.started));
        self.tell_rival(|rules, swarm| {
            if number == SEEDER {
                return rules.begins(swarm);
            }
            swarm.viewers.add(number, upload, started);
            rules.arrives(swarm, number);
        });
    }

    pub(super) fn rival_publishes(&mut self, sequence: u64, len: u32) {
        let (now, serves) = (self.now, self.is_present(SEEDER));
        let mut due = None;
        self.tell_rival(|rules, swarm| {
            swarm.viewers.published(sequence, now, len);
            due = swarm.viewers.due_at(sequence);
            if serves {
                rules.publishes(swarm, sequence);
            }
        });
        if let Some(due) = due {
            self.at(due, Event::Due(sequence));
        }
    }

    pub(super) fn rival_hears(&mut self, way: Way, said: Said) {
        if self.is_present(way.to) && !self.is_apart(way.from, way.to) {
            if let Said::Part(part) = &said {
                self.watch_part(way.to, way.from, part);
            }
            self.tell_rival(|rules, swarm| rules.hears(swarm, way, said));
        }
    }

    pub(super) fn rival_wakes(&mut self, number: u32, why: Why) {
        if self.is_present(number) {
            self.tell_rival(|rules, swarm| rules.wakes(swarm, number, why));
        }
    }

    /// Everybody shows a generation, or has it not.
    pub(super) fn rival_due(&mut self, sequence: u64) {
        let Some(mut rival) = self.rival.take() else {
            return;
        };
        let there = self.hosts.iter().filter(|(_, host)| host.is_alive());
        let numbers: Vec<u32> = there.map(|(number, _)| number).collect();
        for number in numbers.into_iter().filter(|number| *number != SEEDER) {
            if let Due::Played { forged } = rival.viewers.due(self.now, number, sequence) {
                self.false_played += u64::from(forged);
                self.note(4, number, sequence);
            }
        }
        self.rival = Some(rival);
    }

    /// Lets the rival handle something, and does what it asks for.
    fn tell_rival(&mut self, tell: impl FnOnce(&mut dyn Rival, &mut Swarm<'_>)) {
        let Some(mut rival) = self.rival.take() else {
            return;
        };
        let mut swarm = Swarm {
            now: self.now,
            random: &mut rival.random,
            network: &self.network,
            viewers: &mut rival.viewers,
            tracker_up: self.tracker_up,
            cut_off: &self.cut_off,
            acts: Vec::new(),
        };
        tell(&mut *rival.rules, &mut swarm);
        for act in swarm.acts {
            match act {
                Act::Wake(at, number, why) => self.at(at, Event::Wakes(number, why)),
                Act::Say(way, said, bound) => self.say(&mut rival.viewers, way, said, bound),
            }
        }
        self.rival = Some(rival);
    }

    fn say(&mut self, viewers: &mut Viewers, way: Way, mut said: Said, bound: Duration) {
        if !self.nat.reaches(way.from, way.to) {
            return;
        }
        let len = said.wire_len();
        let mut how = Delivery::Ahead;
        self.note(1, way.from, u64::from(way.to) << 32 | len as u64);
        if let Said::Join(stripe) = &said {
            self.notices(way.from, u32::from(*stripe));
        }
        if let Said::Part(part) = &mut said {
            how = Delivery::Reliable;
            let waits = self.network.backlog(self.now, way.from) > bound;
            let Some(host) = self.hosts.get_mut(&way.from) else {
                return;
            };
            host.pieces_sent += 1;
            if host.withholds() || waits {
                return;
            }
            if host.lies && host.pieces_sent.is_multiple_of(ALTERED) {
                part.forged = true;
            } else if part.forged {
                self.bad_relayed += 1;
            }
            viewers.count_sent(way.from, part);
        }
        let ends = (way.from, way.to);
        let arrival = self
            .network
            .send(self.now, ends, len, how, &mut self.random);
        if self.is_heard(way.from, way.to, len)
            && let Some(at) = arrival
        {
            self.at(at, Event::Hears(way, said));
        }
    }
}

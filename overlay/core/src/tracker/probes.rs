//! Whether members are there: they are asked when somebody whom they feed misses them, and
//! taken out of the plan when they do not answer.
//!
//! The one rule: nobody is taken out on others' word; whoever is asked and speaks is there.

use std::{collections::VecDeque, time::Duration};

use super::{PeerId, Tracker};
use crate::{
    Instant,
    wire::{Probe, from_tracker},
};

/// Who has spoken so lately need not be asked,
const FRESH: Duration = Duration::from_millis(200);
/// and who has been asked has so long to speak: a long round trip (overlay design, "RTT", 180 ms
/// in the mean world-wide) and once lost.
const PATIENCE: Duration = Duration::from_millis(400);
/// When so much later than that is looked, we were held up, and answers may be unread.
const HELD_UP: Duration = Duration::from_millis(100);
/// When so many have not answered yet, and such a part of all, it is no accident: everyone who
/// relays is asked, before others are placed below them.
const MANY: usize = 3;
const MANY_PART: usize = 50;
/// All are asked so often at most.
const ALL_EVERY: Duration = Duration::from_secs(2);

/// Who was asked.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// By when they are to speak; the earliest first.
    asked: VecDeque<(Instant, PeerId)>,
    /// When everyone was last asked.
    all: Option<Instant>,
}

impl Probes {
    /// When it is to be looked who spoke.
    pub(super) fn next(&self) -> Option<Instant> {
        self.asked.front().map(|(due, _)| *due)
    }
}

impl Tracker {
    /// Somebody misses a parent: it is asked, if it was one.
    pub(super) fn on_suspect(&mut self, by: PeerId, of: PeerId) {
        if !self.placement.feeds(of, by) {
            return;
        }
        self.probe(of);
        let missing = self.probes.asked.len();
        let many = missing >= MANY && missing * MANY_PART >= self.members.len();
        let lately = self
            .probes
            .all
            .is_some_and(|at| self.now.since(at) < ALL_EVERY);
        if many && !lately {
            self.probes.all = Some(self.now);
            let relays = self.placement.relays_anything();
            for peer in relays {
                self.probe(peer);
            }
        }
    }

    fn probe(&mut self, peer: PeerId) {
        let now = self.now;
        let Some(member) = self.members.get_mut(peer) else {
            return;
        };
        let answers = member.answers_probes && !member.is_seeder() && !member.quiet;
        if !answers || member.probed.is_some() || now.since(member.heard) < FRESH {
            return;
        }
        member.probed = Some(now);
        // Until it speaks, nobody is placed below it.
        self.placement.forest.set_suspect(peer, true);
        self.probes.asked.push_back((now + PATIENCE, peer));
        self.send_to(peer, from_tracker::Kind::Probe(Probe {}));
    }

    /// A member speaks.
    pub(super) fn on_answer(&mut self, peer: PeerId) {
        let probed = self
            .members
            .get_mut(peer)
            .and_then(|member| member.probed.take());
        if probed.is_some() {
            self.placement.forest.set_suspect(peer, false);
            self.probes.asked.retain(|(_, asked)| *asked != peer);
        }
    }

    /// Takes out who was asked and has not spoken.
    pub(super) fn look_for_answers(&mut self) {
        let now = self.now;
        while let Some((due, peer)) = self.probes.asked.front().copied() {
            if due > now {
                return;
            }
            if now.since(due) > HELD_UP {
                for (due, _) in &mut self.probes.asked {
                    *due = now + PATIENCE;
                }
                return;
            }
            self.probes.asked.pop_front();
            let member = self.members.get_mut(peer);
            if member.is_some_and(|member| member.probed.take().is_some()) {
                self.take_out(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether members are there: they are asked when somebody whom they feed misses them, and
//! taken out of the plan when they do not answer.
//!
//! The one rule: nobody is taken out on others' word; whoever is asked and speaks is there.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{PeerId, Tracker};
use crate::{
    Instant,
    wire::{Probe, from_tracker},
};

/// Who has spoken so lately need not be asked,
const FRESH: Duration = Duration::from_millis(200);
/// and who has been asked has so long to speak: a long round trip (180 ms in the mean world-wide)
/// and once lost.
const PATIENCE: Duration = Duration::from_millis(400);
/// Where a fifth of all packets is lost that is too short for one of ten. When somebody who was
/// taken out speaks within this after all, it is doubled, up to so much, and halved again when
/// that has not happened for a while.
const ERROR: Duration = Duration::from_secs(3);
const MAX_PATIENCE: Duration = Duration::from_millis(1600);
const ERRORS_FADE: Duration = Duration::from_secs(30);
/// One who feeds several is asked when a second of them misses it within this: what one line
/// loses is heard of on the others.
const SECONDED: Duration = Duration::from_millis(600);
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
    /// Who missed whom last, and when.
    missed: BTreeMap<PeerId, (PeerId, Instant)>,
    /// When everyone was last asked.
    all: Option<Instant>,
    /// How often what may pass without an answer has been doubled, and when that last changed.
    doubled: u32,
    changed: Instant,
}

impl Probes {
    /// For how long an answer is waited for now.
    fn patience(&mut self, now: Instant) -> Duration {
        if self.doubled > 0 && now.since(self.changed) >= ERRORS_FADE {
            self.doubled -= 1;
            self.changed = now;
        }
        (PATIENCE * 2_u32.pow(self.doubled)).min(MAX_PATIENCE)
    }

    /// Somebody was taken out who was there.
    fn on_error(&mut self, now: Instant) {
        if PATIENCE * 2_u32.pow(self.doubled) < MAX_PATIENCE {
            self.doubled += 1;
        }
        self.changed = now;
    }

    /// When it is to be looked who spoke.
    pub(super) fn next(&self) -> Option<Instant> {
        self.asked.front().map(|(due, _)| *due)
    }
}

impl Tracker {
    /// Somebody misses a parent: it is asked, if it was one.
    pub(super) fn on_suspect(&mut self, by: PeerId, of: PeerId) {
        if !self.placement.feeds(of, by) || !self.is_seconded(by, of) {
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

    /// Whether somebody else misses it too, if it feeds anybody else.
    fn is_seconded(&mut self, by: PeerId, of: PeerId) -> bool {
        let now = self.now;
        let missed = &mut self.probes.missed;
        missed.retain(|_, (_, at)| now.since(*at) < SECONDED);
        let seconded = missed
            .insert(of, (by, now))
            .is_some_and(|(other, _)| other != by);
        let node = self.placement.forest.get(of);
        let mut others = node.into_iter().flat_map(|node| node.edges());
        seconded || others.all(|(_, child)| child == by)
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
        // One after the other, though the patience may have become less.
        let due = now + self.probes.patience(now);
        let due = self
            .probes
            .asked
            .back()
            .map_or(due, |(last, _)| due.max(*last));
        // Until it speaks, nobody is placed below it.
        self.placement.forest.set_suspect(peer, true);
        self.probes.asked.push_back((due, peer));
        self.send_to(peer, from_tracker::Kind::Probe(Probe {}));
    }

    /// A member speaks.
    pub(super) fn on_answer(&mut self, peer: PeerId) {
        let now = self.now;
        let Some(member) = self.members.get_mut(peer) else {
            return;
        };
        if member.missed.take().is_some_and(|at| now.since(at) < ERROR) {
            self.probes.on_error(now);
        }
        if member.probed.take().is_some() {
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
                let again = now + self.probes.patience(now);
                for (due, _) in &mut self.probes.asked {
                    *due = again;
                }
                return;
            }
            self.probes.asked.pop_front();
            let member = self.members.get_mut(peer);
            if let Some(member) = member.filter(|member| member.probed.is_some()) {
                member.probed = None;
                member.missed = Some(now);
                self.take_out(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;

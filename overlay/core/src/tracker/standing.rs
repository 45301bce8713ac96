//! What members say of each other, and what the tracker makes of it.
//!
//! The one rule: nobody is put out on others' word. Who complains is kept apart from whom it
//! complains of; who is blamed by several loses its children, and plays on. Two who lie
//! together can make a leaf of a relay they were named to, and no more.

use std::time::Duration;

use super::{PeerId, Tracker};
use crate::{Instant, StripeId, wire};

/// A member is taken out of the plan after so much silence: it should speak every second.
const SILENT: Duration = Duration::from_millis(2500);
/// A little more than the second after which a member speaks again.
const OVERDUE: Duration = Duration::from_millis(1200);
/// What somebody said of another is remembered for so long, and so many such words.
const REMEMBERED: Duration = Duration::from_secs(10);
const MAX_WORDS: usize = 4096;
/// So many different children have to blame a parent before it loses them all.
const BLAMES: usize = 2;
/// Who sent forged pieces relays nothing for so long, who sent none for so long.
const FORGED: Duration = Duration::from_secs(3600);
const STARVED: Duration = Duration::from_secs(60);
/// Two of whom one complained are kept apart for so long.
const APART: Duration = Duration::from_secs(3600);

/// What members said of each other of late.
#[derive(Debug, Default)]
pub(super) struct Standing {
    words: Vec<Word>,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    by: PeerId,
    of: PeerId,
    fault: Fault,
    at: Instant,
}

/// What one can be blamed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is dead.
    Dead,
    /// It lives and brings nothing.
    Starves,
    /// It sent what was not signed.
    Forges,
}

impl Standing {
    /// Notes a word. How many different members have said the same of late.
    fn note(&mut self, word: Word) -> usize {
        self.words
            .retain(|old| word.at.since(old.at) <= REMEMBERED || old.fault == Fault::Forges);
        let same = |old: &&Word| (old.of, old.fault) == (word.of, word.fault);
        let known = self.words.iter().filter(same).any(|old| old.by == word.by);
        if !known {
            if self.words.len() == MAX_WORDS {
                self.words.remove(0);
            }
            self.words.push(word);
        }
        self.words.iter().filter(same).count()
    }

    /// A member left: what it said, and what was said of it, no longer counts.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.words.retain(|word| word.by != peer && word.of != peer);
    }
}

impl Tracker {
    /// A member speaks: it is planned with again if it was silent.
    pub(super) fn on_heard(&mut self, peer: PeerId) {
        let now = self.now;
        let Some(member) = self.members.get_mut(peer) else {
            return;
        };
        member.heard = now;
        self.on_answer(peer);
        let Some(member) = self.members.get_mut(peer) else {
            return;
        };
        if std::mem::take(&mut member.quiet) {
            let slots = self.stream.map_or(0, |stream| member.slots(&stream));
            let seeder = member.is_seeder();
            let parents = super::session::edges(&member.status.parents);
            self.placement.add(peer, seeder, slots);
            self.placement.on_return(peer, parents);
            self.unsettled = true;
        }
    }

    /// Somebody says that its parent is dead, or brings nothing. Call before the plan is
    /// changed: only a parent that was planned can be blamed.
    ///
    /// A dead one is believed dead when a second says so and it has not spoken since it last
    /// should have: those who live speak every second.
    pub(super) fn on_blamed(
        &mut self,
        by: PeerId,
        stripe: StripeId,
        parent: PeerId,
        reason: wire::DetachReason,
    ) {
        let now = self.now;
        if self.placement.parent(by, stripe) != Some(parent) {
            return;
        }
        let fault = match reason {
            // A silent parent may itself have lost its own: that is not its fault.
            wire::DetachReason::Refused
            | wire::DetachReason::Silent
            | wire::DetachReason::Unreachable => return,
            wire::DetachReason::Dead => Fault::Dead,
            wire::DetachReason::Idle => Fault::Starves,
        };
        let of = parent;
        let blames = self.standing.note(Word {
            by,
            of,
            fault,
            at: now,
        });
        let Some(member) = self
            .members
            .get(parent)
            .filter(|member| !member.is_seeder())
        else {
            return;
        };
        let overdue = !member.quiet && now.since(member.heard) >= OVERDUE;
        match fault {
            Fault::Dead if blames >= BLAMES && overdue => self.take_out(parent),
            Fault::Starves if blames >= BLAMES && blames > self.fed_by(parent) => {
                self.distrust(parent, now + STARVED);
            }
            _ => {}
        }
    }

    /// How many members say that this one feeds them.
    fn fed_by(&self, parent: PeerId) -> usize {
        let says_so = |(_, member): &(PeerId, &super::Member)| {
            let edges = &member.status.parents;
            edges.iter().any(|edge| edge.parent == parent.0)
        };
        let partners = self.members.get(parent).map(|member| &member.partners);
        let partners = partners.into_iter().flatten();
        let partners = partners.filter_map(|peer| Some((*peer, self.members.get(*peer)?)));
        partners.filter(says_so).count()
    }

    /// Somebody was sent what was not signed, and has cut the sender: the two are kept
    /// apart. Only a peer that was named to the other can be complained of.
    pub(super) fn on_complaint(&mut self, by: PeerId, complaint: &wire::Complaint) {
        self.tally.on_complaint();
        let of = PeerId(complaint.peer);
        let accused = self.members.get(of).filter(|member| !member.is_seeder());
        if accused.is_none() || !self.members.have_met(by, of) {
            return;
        }
        let at = self.now;
        self.placement.keep_apart(by, of, at + APART);
        let blames = self.standing.note(Word {
            by,
            of,
            fault: Fault::Forges,
            at,
        });
        if blames >= BLAMES {
            self.distrust(of, at + FORGED);
        }
        self.unsettled = true;
    }

    /// Members that have said nothing for long are taken out of the plan until they speak.
    pub(super) fn notice_silence(&mut self) {
        let now = self.now;
        if now.since(self.settled) >= SILENT / 2 {
            // We ourselves were held up, and what members said meanwhile is still unread.
            self.members.hear_all(now);
        }
        let silent: Vec<PeerId> = self
            .members
            .viewers()
            .filter(|(_, member)| !member.quiet && now.since(member.heard) >= SILENT)
            .map(|(peer, _)| peer)
            .collect();
        for peer in silent {
            self.take_out(peer);
        }
        let forgiven: Vec<PeerId> = self
            .members
            .iter()
            .filter(|(_, member)| member.distrusted.is_some_and(|until| until <= now))
            .map(|(peer, _)| peer)
            .collect();
        for peer in forgiven {
            self.set_distrusted(peer, None);
        }
    }

    pub(super) fn take_out(&mut self, peer: PeerId) {
        if let Some(member) = self.members.get_mut(peer) {
            member.quiet = true;
            self.placement.remove(peer);
            self.unsettled = true;
        }
    }

    /// Takes a peer's children away; it is a leaf until then.
    fn distrust(&mut self, peer: PeerId, until: Instant) {
        self.set_distrusted(peer, Some(until));
        self.placement.strip(peer);
    }

    fn set_distrusted(&mut self, peer: PeerId, until: Option<Instant>) {
        let Some(member) = self.members.get_mut(peer) else {
            return;
        };
        member.distrusted = until;
        let slots = self.stream.map_or(0, |stream| member.slots(&stream));
        self.placement.forest.set_slots(peer, slots);
        self.unsettled = true;
    }
}

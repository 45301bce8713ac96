//! Whose child the peer is: one slot per stripe it holds, each with the parent in place,
//! the one being tried, and the backups that are left (`parents/slot.rs`).
//!
//! The one rule: a parent is doubted when it is silent, not when a piece is late; and a
//! doubted one stays until another delivers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::liveness::Liveness;
use crate::{
    Instant, PeerId, StripeId, StripeSet,
    wire::{self, DetachReason},
};

mod slot;

use slot::Slot;

/// A stripe without a parent is told to the tracker again after this.
const REMIND: Duration = Duration::from_secs(2);

/// The parents, by stripe.
#[derive(Debug, Default)]
pub(super) struct Parents {
    slots: BTreeMap<StripeId, Slot>,
}

/// What is to be done about a parent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Open a link to it.
    Connect(PeerId),
    /// Ask it.
    Subscribe {
        parent: PeerId,
        stripe: StripeId,
        interior: bool,
        planned: bool,
    },
    /// Leave it.
    Unsubscribe { parent: PeerId, stripe: StripeId },
    /// Tell the tracker that a parent is silent.
    Suspect(PeerId),
    /// Tell the tracker that it is in place.
    Attached { parent: PeerId, stripe: StripeId },
    /// Tell the tracker that the stripe has none, and who failed.
    Detached {
        parent: PeerId,
        stripe: StripeId,
        reason: DetachReason,
    },
}

/// What the decisions need to see.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) now: Instant,
    /// The newest generation of the broadcast.
    pub(super) newest: Option<u64>,
    /// From one generation to the next.
    pub(super) interval: Duration,
    pub(super) liveness: &'a Liveness,
    /// Peers with a link that say they relay this stripe and have room, the best first.
    pub(super) relays: &'a dyn Fn(StripeId) -> Vec<PeerId>,
}

impl View<'_> {
    fn linked(&self, peer: PeerId) -> bool {
        self.liveness.is_fresh(self.now, peer)
    }
}

impl Parents {
    /// The tracker placed a stripe.
    pub(super) fn place(
        &mut self,
        now: Instant,
        place: &wire::Place,
        linked: impl Fn(PeerId) -> bool,
    ) -> Vec<Action> {
        let Some(stripe) = wire::stripe_of(place.stripe) else {
            return Vec::new();
        };
        let slot = self
            .slots
            .entry(stripe)
            .or_insert_with(|| Slot::new(now, stripe));
        slot.interior = place.interior;
        slot.backups = place.backups.iter().take(2).copied().map(PeerId).collect();
        let parent = PeerId(place.parent);
        slot.try_parent(now, parent, linked(parent), true)
    }

    /// The tracker took a stripe away.
    pub(super) fn unplace(&mut self, stripe: StripeId) -> Vec<Action> {
        self.slots
            .remove(&stripe)
            .map_or_else(Vec::new, Slot::leave)
    }

    /// Whether a peer is a parent, is tried as one or may be.
    pub(super) fn counts_on(&self, peer: PeerId) -> bool {
        self.slots.values().any(|slot| slot.counts_on(peer))
    }

    /// A link opened: ask whoever waited for it.
    pub(super) fn on_link_up(&mut self, now: Instant, peer: PeerId) -> Vec<Action> {
        self.slots
            .values_mut()
            .filter_map(|slot| slot.on_link_up(now, peer))
            .collect()
    }

    /// A link closed, or did not open.
    pub(super) fn on_link_down(&mut self, view: View<'_>, peer: PeerId) -> Vec<Action> {
        let mut actions = Vec::new();
        for slot in self.slots.values_mut() {
            actions.extend(slot.on_link_down(view, peer));
        }
        actions
    }

    /// A parent accepted.
    pub(super) fn on_accept(
        &mut self,
        view: View<'_>,
        peer: PeerId,
        stripe: StripeId,
    ) -> Vec<Action> {
        let Some(slot) = self.slots.get_mut(&stripe) else {
            return vec![Action::Unsubscribe {
                parent: peer,
                stripe,
            }];
        };
        slot.on_accept(view, peer)
    }

    /// A parent refused, or will be one no longer.
    pub(super) fn on_reject(
        &mut self,
        view: View<'_>,
        peer: PeerId,
        stripe: StripeId,
    ) -> Vec<Action> {
        self.slots.get_mut(&stripe).map_or_else(Vec::new, |slot| {
            slot.on_gone(view, peer, DetachReason::Refused)
        })
    }

    /// A parent brought a piece.
    pub(super) fn on_piece(
        &mut self,
        peer: PeerId,
        stripe: StripeId,
        sequence: u64,
    ) -> Vec<Action> {
        self.slots
            .get_mut(&stripe)
            .map_or_else(Vec::new, |slot| slot.on_piece(peer, sequence))
    }

    /// A parent says that it lives and waits for its own.
    pub(super) fn on_late(&mut self, now: Instant, peer: PeerId, stripe: StripeId) {
        if let Some(slot) = self.slots.get_mut(&stripe) {
            slot.on_late(now, peer);
        }
    }

    /// Sequences begin anew.
    pub(super) fn on_epoch(&mut self) {
        self.slots.values_mut().for_each(Slot::on_epoch);
    }

    /// Deadlines and silence.
    pub(super) fn tick(&mut self, view: View<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut suspects = BTreeSet::new();
        for (stripe, slot) in &mut self.slots {
            // One that is silent is so in all its stripes.
            let fresh = slot.tick(view).into_iter().filter(|action| match action {
                Action::Suspect(peer) => suspects.insert(*peer),
                _ => true,
            });
            actions.extend(fresh);
            if slot.is_orphan() && view.now.since(slot.reminded) >= REMIND {
                slot.reminded = view.now;
                actions.push(Action::Detached {
                    parent: PeerId(0),
                    stripe: *stripe,
                    reason: DetachReason::Silent,
                });
            }
        }
        actions
    }

    /// The stripes that nobody is asked for.
    pub(super) fn orphans(&self) -> impl Iterator<Item = StripeId> {
        let orphans = self.slots.iter().filter(|(_, slot)| slot.is_orphan());
        orphans.map(|(stripe, _)| *stripe)
    }

    /// The parent in place.
    pub(super) fn of(&self, stripe: StripeId) -> Option<PeerId> {
        self.slots.get(&stripe)?.parent()
    }

    /// All parents in place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StripeId, PeerId)> {
        self.slots
            .iter()
            .filter_map(|(stripe, slot)| Some((*stripe, slot.parent()?)))
    }

    /// The parents that have brought anything.
    pub(super) fn delivering(&self) -> impl Iterator<Item = (StripeId, PeerId)> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.delivers())
            .filter_map(|(stripe, slot)| Some((*stripe, slot.parent()?)))
    }

    /// Whether others may be taken on in a stripe: its pieces come, or are about to.
    pub(super) fn feeds(&self, stripe: StripeId) -> bool {
        self.slots.get(&stripe).is_some_and(Slot::feeds)
    }

    /// The stripes that are likely to go on.
    pub(super) fn healthy(&self) -> StripeSet {
        let healthy = self.slots.iter().filter(|(_, slot)| slot.is_healthy());
        healthy.map(|(stripe, _)| *stripe).collect()
    }

    /// The stripes whose pieces are overdue, whatever the reason.
    pub(super) fn overdue(&self, view: View<'_>) -> impl Iterator<Item = StripeId> {
        self.slots
            .iter()
            .filter(move |(_, slot)| slot.is_overdue(view))
            .map(|(stripe, _)| *stripe)
    }
}

#[cfg(test)]
mod tests;

//! Whose child the peer is: one slot per stripe it holds, each with the parent in place,
//! the one being tried, and the backups that are left.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Instant, PeerId, StripeId,
    wire::{self, DetachReason},
};

/// A link to a parent must open within this, handshakes included.
const LINK_DEADLINE: Duration = Duration::from_secs(4);
/// A parent must answer a subscription within this.
const ANSWER_DEADLINE: Duration = Duration::from_millis(1000);
/// A parent that is to replace another must bring its first piece within this.
const FIRST_PIECE: Duration = Duration::from_millis(2000);
/// A stripe without a parent is told to the tracker again after this.
const REMIND: Duration = Duration::from_secs(2);
/// A stripe is given up that has brought nothing for so long,
const SILENT: Duration = Duration::from_millis(2500);
/// while the broadcast went on by so many generations.
const BEHIND: u64 = 4;

/// The parents, by stripe.
#[derive(Debug, Default)]
pub(super) struct Parents {
    slots: BTreeMap<StripeId, Slot>,
}

#[derive(Debug)]
struct Slot {
    interior: bool,
    current: Option<Current>,
    attempt: Option<Attempt>,
    backups: Vec<PeerId>,
    reminded: Instant,
}

#[derive(Debug)]
struct Current {
    peer: PeerId,
    /// The newest generation it brought, and when.
    newest: u64,
    at: Instant,
}

#[derive(Debug)]
struct Attempt {
    peer: PeerId,
    asked: bool,
    accepted: bool,
    deadline: Instant,
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
    },
    /// Leave it.
    Unsubscribe { parent: PeerId, stripe: StripeId },
    /// Tell the tracker that it is in place.
    Attached { parent: PeerId, stripe: StripeId },
    /// Tell the tracker that the stripe has none, and who failed.
    Detached {
        parent: PeerId,
        stripe: StripeId,
        reason: DetachReason,
    },
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
        let slot = self.slots.entry(stripe).or_insert_with(|| Slot::new(now));
        slot.interior = place.interior;
        slot.backups = place.backups.iter().take(2).copied().map(PeerId).collect();
        slot.try_parent(now, stripe, PeerId(place.parent), linked)
    }

    /// The tracker took a stripe away.
    pub(super) fn unplace(&mut self, stripe: StripeId) -> Vec<Action> {
        let Some(slot) = self.slots.remove(&stripe) else {
            return Vec::new();
        };
        let asked = slot.attempt.filter(|attempt| attempt.asked);
        slot.current
            .map(|current| current.peer)
            .into_iter()
            .chain(asked.map(|attempt| attempt.peer))
            .map(|parent| Action::Unsubscribe { parent, stripe })
            .collect()
    }

    /// A link opened: ask whoever waited for it.
    pub(super) fn on_link_up(&mut self, now: Instant, peer: PeerId) -> Vec<Action> {
        let mut actions = Vec::new();
        for (stripe, slot) in &mut self.slots {
            let interior = slot.interior;
            if let Some(attempt) = slot.attempt.as_mut().filter(|a| a.peer == peer && !a.asked) {
                attempt.asked = true;
                attempt.deadline = now + ANSWER_DEADLINE;
                actions.push(Action::Subscribe {
                    parent: peer,
                    stripe: *stripe,
                    interior,
                });
            }
        }
        actions
    }

    /// A link closed, or did not open.
    pub(super) fn on_link_down(
        &mut self,
        now: Instant,
        peer: PeerId,
        linked: impl Fn(PeerId) -> bool + Copy,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for (stripe, slot) in &mut self.slots {
            if slot
                .current
                .as_ref()
                .is_some_and(|current| current.peer == peer)
            {
                slot.current = None;
                if slot.attempt.is_none() {
                    actions.extend(slot.fail(
                        now,
                        *stripe,
                        peer,
                        DetachReason::Unreachable,
                        linked,
                    ));
                }
            }
            if slot
                .attempt
                .as_ref()
                .is_some_and(|attempt| attempt.peer == peer)
            {
                actions.extend(slot.fail(now, *stripe, peer, DetachReason::Unreachable, linked));
            }
        }
        actions
    }

    /// A parent accepted.
    pub(super) fn on_accept(
        &mut self,
        now: Instant,
        peer: PeerId,
        stripe: StripeId,
    ) -> Vec<Action> {
        let Some(slot) = self.slots.get_mut(&stripe) else {
            return vec![Action::Unsubscribe {
                parent: peer,
                stripe,
            }];
        };
        if slot
            .current
            .as_ref()
            .is_some_and(|current| current.peer == peer)
        {
            return Vec::new();
        }
        if slot
            .attempt
            .as_ref()
            .is_none_or(|attempt| attempt.peer != peer)
        {
            return vec![Action::Unsubscribe {
                parent: peer,
                stripe,
            }];
        }
        // With a parent in place the move waits for the new one's first piece.
        if let Some(attempt) = slot.attempt.as_mut().filter(|_| slot.current.is_some()) {
            attempt.accepted = true;
            attempt.deadline = now + FIRST_PIECE;
            return Vec::new();
        }
        slot.switch(now, stripe, peer, 0)
    }

    /// A parent refused, or will be one no longer.
    pub(super) fn on_reject(
        &mut self,
        now: Instant,
        peer: PeerId,
        stripe: StripeId,
        linked: impl Fn(PeerId) -> bool + Copy,
    ) -> Vec<Action> {
        let Some(slot) = self.slots.get_mut(&stripe) else {
            return Vec::new();
        };
        let mut failed = false;
        if slot
            .current
            .as_ref()
            .is_some_and(|current| current.peer == peer)
        {
            slot.current = None;
            failed = slot.attempt.is_none();
        }
        if slot
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.peer == peer)
        {
            failed = true;
        }
        if failed {
            slot.fail(now, stripe, peer, DetachReason::Refused, linked)
        } else {
            Vec::new()
        }
    }

    /// A parent brought a piece.
    pub(super) fn on_piece(
        &mut self,
        now: Instant,
        peer: PeerId,
        stripe: StripeId,
        sequence: u64,
    ) -> Vec<Action> {
        let Some(slot) = self.slots.get_mut(&stripe) else {
            return Vec::new();
        };
        if let Some(current) = slot.current.as_mut().filter(|current| current.peer == peer) {
            current.at = now;
            current.newest = current.newest.max(sequence);
        }
        let new = slot.attempt.as_ref();
        if new.is_some_and(|attempt| attempt.peer == peer && attempt.accepted) {
            return slot.switch(now, stripe, peer, sequence);
        }
        Vec::new()
    }

    /// Sequences begin anew.
    pub(super) fn on_epoch(&mut self) {
        for current in self
            .slots
            .values_mut()
            .filter_map(|slot| slot.current.as_mut())
        {
            current.newest = 0;
        }
    }

    /// Deadlines and silence. `newest` is the newest generation of the broadcast.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        newest: Option<u64>,
        linked: impl Fn(PeerId) -> bool + Copy,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for (stripe, slot) in &mut self.slots {
            let late = slot
                .attempt
                .as_ref()
                .filter(|attempt| attempt.deadline <= now);
            if let Some((peer, asked)) = late.map(|attempt| (attempt.peer, attempt.asked)) {
                if asked {
                    actions.push(Action::Unsubscribe {
                        parent: peer,
                        stripe: *stripe,
                    });
                }
                actions.extend(slot.fail(now, *stripe, peer, DetachReason::Unreachable, linked));
            }
            if let Some(peer) = slot.silent(now, newest) {
                slot.current = None;
                actions.push(Action::Unsubscribe {
                    parent: peer,
                    stripe: *stripe,
                });
                actions.extend(slot.fail(now, *stripe, peer, DetachReason::Silent, linked));
            }
            if slot.is_orphan() && now.since(slot.reminded) >= REMIND {
                slot.reminded = now;
                actions.push(Action::Detached {
                    parent: PeerId(0),
                    stripe: *stripe,
                    reason: DetachReason::Silent,
                });
            }
        }
        actions
    }

    /// The parent in place.
    pub(super) fn of(&self, stripe: StripeId) -> Option<PeerId> {
        self.slots
            .get(&stripe)?
            .current
            .as_ref()
            .map(|current| current.peer)
    }

    /// All parents in place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StripeId, PeerId)> {
        self.slots
            .iter()
            .filter_map(|(stripe, slot)| Some((*stripe, slot.current.as_ref()?.peer)))
    }
}

impl Slot {
    fn new(now: Instant) -> Self {
        Self {
            interior: false,
            current: None,
            attempt: None,
            backups: Vec::new(),
            reminded: now,
        }
    }

    fn is_orphan(&self) -> bool {
        self.current.is_none() && self.attempt.is_none()
    }

    fn silent(&self, now: Instant, newest: Option<u64>) -> Option<PeerId> {
        let current = self.current.as_ref().filter(|_| self.attempt.is_none())?;
        let behind = newest.is_some_and(|newest| newest >= current.newest + BEHIND);
        (behind && now.since(current.at) >= SILENT).then_some(current.peer)
    }

    /// The parent that was tried is in place now.
    fn switch(
        &mut self,
        now: Instant,
        stripe: StripeId,
        parent: PeerId,
        newest: u64,
    ) -> Vec<Action> {
        self.attempt = None;
        let newest = newest.max(self.current.as_ref().map_or(0, |current| current.newest));
        let current = Current {
            peer: parent,
            newest,
            at: now,
        };
        let old = self.current.replace(current);
        let mut actions = vec![Action::Attached { parent, stripe }];
        actions.extend(old.map(|old| Action::Unsubscribe {
            parent: old.peer,
            stripe,
        }));
        actions
    }

    fn try_parent(
        &mut self,
        now: Instant,
        stripe: StripeId,
        parent: PeerId,
        linked: impl Fn(PeerId) -> bool,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(attempt) = self.attempt.take()
            && attempt.peer != parent
            && attempt.asked
        {
            actions.push(Action::Unsubscribe {
                parent: attempt.peer,
                stripe,
            });
        }
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.peer == parent)
        {
            actions.push(Action::Attached { parent, stripe });
            return actions;
        }
        let asked = linked(parent);
        let wait = if asked {
            ANSWER_DEADLINE
        } else {
            LINK_DEADLINE
        };
        self.attempt = Some(Attempt {
            peer: parent,
            asked,
            accepted: false,
            deadline: now + wait,
        });
        actions.push(if asked {
            Action::Subscribe {
                parent,
                stripe,
                interior: self.interior,
            }
        } else {
            Action::Connect(parent)
        });
        actions
    }

    /// `parent` will not do: try a backup, or tell the tracker.
    fn fail(
        &mut self,
        now: Instant,
        stripe: StripeId,
        parent: PeerId,
        reason: DetachReason,
        linked: impl Fn(PeerId) -> bool,
    ) -> Vec<Action> {
        self.attempt = None;
        self.reminded = now;
        let mut actions = vec![Action::Detached {
            parent,
            stripe,
            reason,
        }];
        let open = self.backups.iter().position(|backup| linked(*backup));
        if let Some(index) = open
            && self.current.is_none()
        {
            let backup = self.backups.remove(index);
            actions.extend(self.try_parent(now, stripe, backup, linked));
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn stripe() -> StripeId {
        StripeId::new(5).unwrap()
    }

    fn place(parent: PeerId, backups: &[PeerId]) -> wire::Place {
        wire::Place {
            stripe: 5,
            parent: parent.0,
            backups: backups.iter().map(|backup| backup.0).collect(),
            interior: false,
        }
    }

    #[test]
    fn a_move_keeps_the_old_parent_until_the_new_one_delivers() {
        let mut parents = Parents::default();
        let actions = parents.place(at(0), &place(A, &[]), |_| false);
        assert_eq!(actions, [Action::Connect(A)]);
        assert_eq!(parents.on_link_up(at(10), A).len(), 1);
        parents.on_accept(at(20), A, stripe());
        parents.place(at(30), &place(B, &[]), |_| true);
        assert_eq!(parents.of(stripe()), Some(A));
        assert!(parents.on_accept(at(40), B, stripe()).is_empty());
        assert_eq!(parents.of(stripe()), Some(A));
        let actions = parents.on_piece(at(50), B, stripe(), 3);
        assert!(actions.contains(&Action::Unsubscribe {
            parent: A,
            stripe: stripe()
        }));
        assert_eq!(parents.of(stripe()), Some(B));
    }

    #[test]
    fn a_lost_parent_is_followed_by_its_backup() {
        let mut parents = Parents::default();
        parents.place(at(0), &place(A, &[B]), |_| true);
        parents.on_accept(at(1), A, stripe());
        let actions = parents.on_link_down(at(2), A, |peer| peer == B);
        assert!(matches!(actions[0], Action::Detached { parent: A, .. }));
        assert!(matches!(actions[1], Action::Subscribe { parent: B, .. }));
    }

    #[test]
    fn a_silent_parent_is_given_up_only_while_the_broadcast_goes_on() {
        let mut parents = Parents::default();
        parents.place(at(0), &place(A, &[]), |_| true);
        parents.on_accept(at(1), A, stripe());
        parents.on_piece(at(100), A, stripe(), 7);
        assert!(parents.tick(at(9000), Some(8), |_| true).is_empty());
        assert!(parents.tick(at(2500), Some(20), |_| true).is_empty());
        let actions = parents.tick(at(2700), Some(20), |_| true);
        assert!(matches!(actions[0], Action::Unsubscribe { parent: A, .. }));
        assert_eq!(parents.of(stripe()), None);
    }
}

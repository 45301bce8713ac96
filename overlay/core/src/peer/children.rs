//! Whose parent the peer is: which stripes go to whom, and how many more it can take.

use std::collections::BTreeMap;

use crate::{PeerId, StripeId, StripeSet};

/// Edges above its slots that a parent takes on, at least and as a part of them: so that a
/// make-before-break move finds room while the old child is still there, and because the
/// tracker plans with rates that are steadier than what one peer measures.
const SLACK: usize = 2;
const SLACK_PART: usize = 4;

/// The children, by stripe and by peer.
#[derive(Debug, Default)]
pub(super) struct Children {
    by_peer: BTreeMap<PeerId, Child>,
    by_stripe: BTreeMap<StripeId, Vec<PeerId>>,
    edges: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Child {
    stripes: StripeSet,
    interior: StripeSet,
}

impl Children {
    /// Takes a child on, unless all `slots` are taken. Whether it is a child now. Interior
    /// children stand first, so that they are served first.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        stripe: StripeId,
        interior: bool,
        slots: usize,
    ) -> bool {
        let held = self.serves(peer, stripe);
        if !held && self.edges >= slots + SLACK.max(slots / SLACK_PART) {
            return false;
        }
        self.remove(peer, stripe);
        let child = self.by_peer.entry(peer).or_default();
        child.stripes.insert(stripe);
        let list = self.by_stripe.entry(stripe).or_default();
        if interior {
            child.interior.insert(stripe);
            list.insert(0, peer);
        } else {
            list.push(peer);
        }
        self.edges += 1;
        true
    }

    /// Lets a child go in one stripe.
    pub(super) fn remove(&mut self, peer: PeerId, stripe: StripeId) {
        let Some(child) = self.by_peer.get_mut(&peer) else {
            return;
        };
        if !child.stripes.remove(stripe) {
            return;
        }
        child.interior.remove(stripe);
        self.edges -= 1;
        if child.stripes.is_empty() {
            self.by_peer.remove(&peer);
        }
        if let Some(list) = self.by_stripe.get_mut(&stripe) {
            list.retain(|other| *other != peer);
            if list.is_empty() {
                self.by_stripe.remove(&stripe);
            }
        }
    }

    /// Lets a child go in all stripes.
    pub(super) fn remove_peer(&mut self, peer: PeerId) {
        let stripes = self.by_peer.get(&peer).map(|child| child.stripes);
        for stripe in stripes.unwrap_or_default().iter() {
            self.remove(peer, stripe);
        }
    }

    /// Whether this peer is a child in this stripe.
    pub(super) fn serves(&self, peer: PeerId, stripe: StripeId) -> bool {
        self.by_peer
            .get(&peer)
            .is_some_and(|child| child.stripes.contains(stripe))
    }

    /// Whether this child relays this stripe.
    pub(super) fn is_interior(&self, peer: PeerId, stripe: StripeId) -> bool {
        self.by_peer
            .get(&peer)
            .is_some_and(|child| child.interior.contains(stripe))
    }

    /// The children in a stripe, interior ones first.
    pub(super) fn of(&self, stripe: StripeId) -> &[PeerId] {
        self.by_stripe.get(&stripe).map_or(&[], Vec::as_slice)
    }

    /// Children who take any of these stripes, each once.
    pub(super) fn of_any(&self, stripes: StripeSet) -> impl Iterator<Item = PeerId> {
        self.by_peer
            .iter()
            .filter(move |(_, child)| !child.stripes.and(stripes).is_empty())
            .map(|(peer, _)| *peer)
    }

    /// The stripes that a peer takes.
    pub(super) fn stripes_of(&self, peer: PeerId) -> StripeSet {
        let child = self.by_peer.get(&peer);
        child.map_or(StripeSet::EMPTY, |child| child.stripes)
    }

    /// Children over all stripes.
    pub(super) fn edges(&self) -> usize {
        self.edges
    }

    /// Stripes with their children.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StripeId, &[PeerId])> {
        self.by_stripe
            .iter()
            .map(|(stripe, peers)| (*stripe, peers.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interior_children_stand_first_and_slots_bind() {
        let mut children = Children::default();
        let stripe = StripeId::new(3).unwrap();
        assert!(children.add(PeerId(1), stripe, false, 1));
        assert!(children.add(PeerId(2), stripe, true, 1));
        assert!(children.add(PeerId(3), stripe, false, 1));
        assert!(
            !children.add(PeerId(4), stripe, true, 1),
            "slots and slack are taken"
        );
        assert!(
            children.add(PeerId(3), stripe, true, 1),
            "a child may ask again"
        );
        assert_eq!(children.of(stripe), [PeerId(3), PeerId(2), PeerId(1)]);
        children.remove_peer(PeerId(2));
        assert!(children.add(PeerId(4), stripe, false, 1));
        assert_eq!(children.of(stripe), [PeerId(3), PeerId(1), PeerId(4)]);
    }
}

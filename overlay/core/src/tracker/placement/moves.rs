//! Moving edges: to make room for somebody who lacks a stripe, to relieve who carries too
//! much, and back to where an edge belongs.

use super::{MAX_SCAN, Node, Order, Placement, after, around};
use crate::{PeerId, StripeId, StripeSet};

/// Moves in one round, so that a swarm is never turned over at once.
const MAX_MOVES: usize = 16;

impl Placement {
    /// Moves leaves from peers that are into their reserve to others that are not.
    pub(super) fn balance(&mut self, orders: &mut Vec<Order>) {
        let crowded = around(&self.forest.index().crowded, self.cursors.crowded);
        let crowded: Vec<PeerId> = crowded.take(MAX_MOVES).copied().collect();
        self.cursors.crowded = crowded.last().map_or(PeerId(0), |last| after(*last));
        for above in crowded {
            if let Some((stripe, child, to)) = self.find_relief(above) {
                self.place(child, stripe, to, orders);
            }
        }
    }

    /// A leaf of `above` that a peer with room could feed.
    pub(super) fn find_relief(&self, above: PeerId) -> Option<(StripeId, PeerId, PeerId)> {
        let node = self.forest.get(above)?;
        node.relayed().iter().find_map(|stripe| {
            let leaves = node.children(stripe).iter().copied();
            leaves
                .filter(|child| !self.relays(*child, stripe))
                .find_map(|child| {
                    let to = self.parent_for(child, stripe, false)?;
                    let node = self.forest.get(to)?;
                    (!node.seeder && !self.is_full(node)).then_some((stripe, child, to))
                })
        })
    }

    /// Everyone who relays what `peer` lacks is full: one of them hands a child of another
    /// stripe to somebody with room, and takes `peer` instead.
    pub(super) fn shift(
        &mut self,
        peer: PeerId,
        lacks: StripeSet,
        orders: &mut Vec<Order>,
    ) -> bool {
        let Some((stripe, parent, other, child, to)) = self.find_shift(peer, lacks) else {
            return false;
        };
        self.place(child, other, to, orders);
        self.place(peer, stripe, parent, orders);
        true
    }

    /// The shift to make: (stripe, parent) for `peer`, after moving (stripe, child) to
    /// another parent.
    pub(super) fn find_shift(
        &self,
        peer: PeerId,
        lacks: StripeSet,
    ) -> Option<(StripeId, PeerId, StripeId, PeerId, PeerId)> {
        let node = self.forest.get(peer)?;
        // Of several stripes, some of each; from one's own name on, so that not everyone looks at
        // the same.
        let each = MAX_SCAN.div_ceil(lacks.len().max(1));
        let relays = lacks.iter().flat_map(|stripe| {
            let relays = &self.forest.index().stripe(stripe).relays;
            let from = (usize::MAX, peer);
            let around = relays.range(from..).chain(relays.range(..from));
            around.take(each).map(|(_, parent)| *parent)
        });
        let relays = relays.filter_map(|parent| Some((parent, self.forest.get(parent)?)));
        for (parent, above) in relays {
            if parent == peer || node.has_failed(parent) {
                continue;
            }
            let stripe = above.interior().and(lacks).iter().find(|stripe| {
                self.forest.depth(parent, *stripe).is_some()
                    && !self.forest.is_below(parent, peer, *stripe)
            });
            let Some(stripe) = stripe else {
                continue;
            };
            for other in above.interior().iter().filter(|other| *other != stripe) {
                for child in above.children(other) {
                    let to = self.parent_for(*child, other, false).filter(|to| {
                        *to != parent && self.forest.get(*to).is_some_and(|node| !node.seeder)
                    });
                    if let Some(to) = to {
                        return Some((stripe, parent, other, *child, to));
                    }
                }
            }
        }
        None
    }

    /// The stripes with room left are all held already: another leaf takes one of them and
    /// gives up one that `peer` lacks.
    pub(super) fn swap(&mut self, peer: PeerId, lacks: StripeSet, orders: &mut Vec<Order>) -> bool {
        let others = self.forest.viewers_from(after(peer)).take(MAX_SCAN);
        let others: Vec<PeerId> = others.map(|(other, _)| other).collect();
        for other in others.into_iter().filter(|other| *other != peer) {
            let Some(found) = self.exchange_with(peer, lacks, other) else {
                continue;
            };
            let (gives, above, takes, parent) = found;
            self.forest.unlink(other, gives);
            self.place(other, takes, parent, orders);
            self.exchanges.insert((other, takes), gives);
            self.place(peer, gives, above, orders);
            return true;
        }
        false
    }

    pub(super) fn exchange_with(
        &self,
        peer: PeerId,
        lacks: StripeSet,
        other: PeerId,
    ) -> Option<(StripeId, PeerId, StripeId, PeerId)> {
        let node = self.forest.get(other)?;
        let mine = self.forest.get(peer)?;
        let gives = lacks.and(node.held()).without(node.interior());
        let takes = StripeSet::all(self.n).without(lacks).without(node.held());
        let (takes, parent) = takes
            .iter()
            .find_map(|stripe| Some((stripe, self.parent_for(other, stripe, false)?)))?;
        let (gives, above) = gives.iter().find_map(|stripe| {
            let above = node.parent(stripe)?;
            let fits = above != peer && !mine.has_failed(above) && !self.is_leaving(other, stripe);
            fits.then_some((stripe, above))
        })?;
        Some((gives, above, takes, parent))
    }

    /// Moves children to where they belong: leaves away from the seeders, and everyone
    /// away from peers that no longer relay the stripe.
    pub(super) fn move_misplaced(&mut self, orders: &mut Vec<Order>) {
        let misplaced = self.forest.misplaced();
        let from = (self.cursors.misplaced, StripeId::FIRST, PeerId(0));
        let around = misplaced.range(from..).chain(misplaced.range(..from));
        let some: Vec<(PeerId, StripeId, PeerId)> = around.take(MAX_SCAN).copied().collect();
        self.cursors.misplaced = some.last().map_or(PeerId(0), |(above, ..)| *above);
        let mut moves = 0;
        for (above, stripe, child) in some {
            if moves == MAX_MOVES {
                return;
            }
            let still = self.forest.get(child).and_then(|node| node.parent(stripe));
            if still != Some(above) {
                continue;
            }
            let from_seeder = self.forest.get(above).is_some_and(|node| node.seeder);
            let relays = self.relays(child, stripe);
            let parent = self.parent_for(child, stripe, relays).filter(|parent| {
                let to_seeder = self.forest.get(*parent).is_some_and(|node| node.seeder);
                !(from_seeder && to_seeder)
            });
            if let Some(parent) = parent {
                self.place(child, stripe, parent, orders);
                moves += 1;
            } else if !from_seeder
                && (self.shift(child, StripeSet::from_iter([stripe]), orders)
                    || self.step_aside(above, stripe, child, orders)
                    || self.change_stripe(stripe, child, orders))
            {
                moves += 1;
            }
        }
    }

    /// A peer that no longer relays a stripe gives its place in it to its only child there,
    /// which does, and holds another stripe instead. Nobody needs a free slot for that.
    fn step_aside(
        &mut self,
        peer: PeerId,
        stripe: StripeId,
        child: PeerId,
        orders: &mut Vec<Order>,
    ) -> bool {
        let Some(node) = self.forest.get(peer) else {
            return false;
        };
        let (above, held) = (node.parent(stripe), node.held());
        let only_child = node.children(stripe).len() == 1 && self.relays(child, stripe);
        let Some(above) = above.filter(|_| only_child) else {
            return false;
        };
        self.forest.unlink(peer, stripe);
        self.place(child, stripe, above, orders);
        self.fill(peer, held.len(), orders);
        let now = self.forest.get(peer).map_or(held, Node::held);
        let other = now.without(held).iter().next();
        if let Some(other) = other {
            self.exchanges.insert((peer, other), stripe);
        } else if !now.contains(stripe) {
            orders.push(Order::Unplace { peer, stripe });
        }
        true
    }

    /// A leaf below a peer that no longer relays its stripe takes another stripe, of which
    /// somebody has room.
    fn change_stripe(&mut self, stripe: StripeId, child: PeerId, orders: &mut Vec<Order>) -> bool {
        let Some(node) = self.forest.get(child) else {
            return false;
        };
        if self.relays(child, stripe) {
            return false;
        }
        let open = StripeSet::all(self.n).without(node.held());
        let found = open.iter().find_map(|other| {
            let parent = self.parent_for(child, other, false)?;
            let seeder = self.forest.get(parent)?.seeder;
            (!seeder).then_some((other, parent))
        });
        let Some((other, parent)) = found else {
            return false;
        };
        self.forest.unlink(child, stripe);
        self.place(child, other, parent, orders);
        self.exchanges.insert((child, other), stripe);
        true
    }

    /// Edges below a peer that should be elsewhere.
    pub(super) fn misplaced_below(
        &self,
        above: PeerId,
    ) -> impl Iterator<Item = (PeerId, StripeId, PeerId)> {
        let from = self
            .forest
            .misplaced()
            .range((above, StripeId::FIRST, PeerId(0))..);
        from.copied().take_while(move |(peer, ..)| *peer == above)
    }
}

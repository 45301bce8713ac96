//! Who relays which stripe, and where in its tree.

use super::super::forest::index::MAX_INTERIOR;
use super::{MAX_SCAN, MIN_SLOTS, Order, Placement};
use crate::{PeerId, StripeId, StripeSet};

impl Placement {
    /// Gives newcomers with slots the stripes with the least supply to relay.
    pub(super) fn choose_interiors(&mut self) {
        let index = self.forest.index();
        let each = usize::from(self.n)
            .div_ceil(index.sharers.max(1))
            .clamp(1, MAX_INTERIOR);
        let idle: Vec<PeerId> = index.idle.iter().copied().collect();
        for peer in idle {
            let mut by_supply: Vec<StripeId> = StripeId::first(self.n).collect();
            by_supply.sort_by_key(|stripe| self.forest.index().stripe(*stripe).supply);
            let chosen = by_supply.into_iter().take(each).collect();
            self.forest.set_interior(peer, chosen);
        }
    }

    /// While few relay, some relay more stripes than they should in the long run. One of
    /// them gives up a stripe that others relay too, its children there being moved; or, if
    /// it has none such, somebody else begins to relay one of its.
    pub(super) fn shed_interior(&mut self) {
        let surplus = self.forest.index().overloaded.first().copied();
        let Some((peer, node)) = surplus.and_then(|peer| Some((peer, self.forest.get(peer)?)))
        else {
            return;
        };
        let interior = node.interior();
        let children = |peer: PeerId, stripe: StripeId| {
            let node = self.forest.get(peer);
            node.map_or(0, |node| node.children(stripe).len())
        };
        let shared = |stripe: &StripeId| self.forest.index().stripe(*stripe).relays.len() > 1;
        let by_children = |stripe: &StripeId| children(peer, *stripe);
        if let Some(stripe) = interior.iter().filter(shared).min_by_key(by_children) {
            self.forest.set_relays(peer, stripe, false);
            return;
        }
        let Some(stripe) = interior.iter().min_by_key(by_children) else {
            return;
        };
        let heir = self
            .forest
            .viewers_from(peer)
            .take(MAX_SCAN)
            .filter(|(other, node)| {
                *other != peer && node.slots() >= MIN_SLOTS && node.interior().len() <= MAX_INTERIOR
            })
            .filter_map(|(other, node)| {
                if node.interior().len() < MAX_INTERIOR {
                    return Some((0, other, None));
                }
                let fewest = |stripe: &StripeId| children(other, *stripe);
                let gives = node.interior().iter().filter(shared).min_by_key(fewest)?;
                Some((1 + children(other, gives), other, Some(gives)))
            })
            .min();
        let Some((_, heir, gives)) = heir else {
            return;
        };
        self.forest.set_relays(heir, stripe, true);
        if let Some(gives) = gives {
            self.forest.set_relays(heir, gives, false);
        }
    }

    /// A peer with much room left, where others are full, relays another stripe instead of
    /// one that has room.
    pub(super) fn reassign_idle(&mut self) {
        let least = StripeId::first(self.n).min_by_key(|stripe| self.room(*stripe));
        let Some(least) = least.filter(|stripe| self.room(*stripe) == 0) else {
            return;
        };
        let spare = self.forest.index().spare.iter().take(MAX_SCAN);
        let idle = spare.into_iter().find_map(|(_, _, peer)| {
            let node = self.forest.get(*peer)?;
            let roomy = node.free() * 2 > node.slots() && !node.interior().contains(least);
            let interior = node.interior();
            let mut held = interior.iter().filter(|stripe| {
                node.children(*stripe).is_empty() || self.room(*stripe) > node.free()
            });
            let gives = held.next().filter(|_| roomy)?;
            Some((*peer, gives))
        });
        let Some((peer, gives)) = idle else {
            return;
        };
        self.forest.set_relays(peer, gives, false);
        self.forest.set_relays(peer, least, true);
    }

    /// Nobody with room relays what `peer` lacks: somebody who holds one of these stripes
    /// begins to relay it.
    pub(super) fn extend(
        &mut self,
        peer: PeerId,
        lacks: StripeSet,
        orders: &mut Vec<Order>,
    ) -> bool {
        let Some(node) = self.forest.get(peer) else {
            return false;
        };
        let spare = self.forest.index().spare.iter().take(MAX_SCAN);
        let found = spare.into_iter().find_map(|(_, _, other)| {
            let relay = self.forest.get(*other)?;
            let fits = |stripe: &StripeId| {
                self.forest.depth(*other, *stripe).is_some()
                    && !self.forest.is_below(*other, peer, *stripe)
            };
            let known = *other != peer && !node.has_failed(*other);
            let mut held = relay.held().and(lacks).iter().filter(|_| known);
            held.find(fits).map(|stripe| (*other, stripe))
        });
        let Some((relay, stripe)) = found else {
            return false;
        };
        self.forest.set_relays(relay, stripe, true);
        self.place(peer, stripe, relay, orders);
        true
    }

    /// Attaches a peer in the stripes it relays, as near to the root as can be.
    pub(super) fn root_interiors(&mut self, peer: PeerId, orders: &mut Vec<Order>) {
        let Some(node) = self.forest.get(peer) else {
            return;
        };
        for stripe in node.interior().without(node.held()).iter() {
            let parent = self.parent_for(peer, stripe, true);
            let depth = parent.and_then(|parent| self.forest.depth(parent, stripe));
            let leaf = self.leaf_to_displace(peer, stripe);
            match (parent, leaf) {
                (parent, Some((above, leaf)))
                    if parent.is_none() || self.forest.depth(above, stripe) < depth =>
                {
                    self.displace(peer, stripe, above, leaf, orders);
                }
                (Some(parent), _) => self.place(peer, stripe, parent, orders),
                (None, _) => self.make_room(peer, stripe, orders),
            }
        }
    }

    /// A newcomer that relays takes the place of a leaf, which becomes its child.
    pub(super) fn displace(
        &mut self,
        peer: PeerId,
        stripe: StripeId,
        above: PeerId,
        leaf: PeerId,
        orders: &mut Vec<Order>,
    ) {
        self.forest.unlink(leaf, stripe);
        self.place(peer, stripe, above, orders);
        let room = self.forest.get(peer).is_some_and(|node| node.free() > 0);
        if room
            && !self
                .forest
                .get(leaf)
                .is_some_and(|node| node.has_failed(peer))
        {
            self.place(leaf, stripe, peer, orders);
        } else if let Some(parent) = self.parent_for(leaf, stripe, false) {
            self.place(leaf, stripe, parent, orders);
        } else {
            orders.push(Order::Unplace { peer: leaf, stripe });
        }
    }

    /// A stripe has no place at all for a peer that relays it: a seeder gives up a leaf of
    /// another stripe.
    pub(super) fn make_room(&mut self, peer: PeerId, stripe: StripeId, orders: &mut Vec<Order>) {
        let leaves: Vec<(PeerId, StripeId, PeerId)> = self
            .forest
            .seeders()
            .flat_map(|(seeder, _)| self.misplaced_below(seeder))
            .take(MAX_SCAN)
            .collect();
        let movable = leaves.into_iter().find_map(|(seeder, other, leaf)| {
            let free = self
                .forest
                .get(leaf)
                .is_some_and(|node| !node.has_failed(seeder));
            let parent = self.parent_for(leaf, other, false);
            (free && !self.forest.get(peer)?.has_failed(seeder))
                .then_some((seeder, other, leaf, parent))
        });
        let Some((seeder, other, leaf, parent)) = movable else {
            return;
        };
        match parent.filter(|parent| *parent != seeder) {
            Some(parent) => self.place(leaf, other, parent, orders),
            None => {
                self.forest.unlink(leaf, other);
                orders.push(Order::Unplace {
                    peer: leaf,
                    stripe: other,
                });
            }
        }
        self.place(peer, stripe, seeder, orders);
    }
}

//! Who relays which stripe, and where in its tree.

use super::{MIN_SLOTS, Order, Placement};
use crate::{PeerId, StripeId, StripeSet};

/// Stripes a peer relays at most in the long run: its departure costs its descendants no
/// more than these (overlay design, "children in one stripe, a strong one in two or three").
const MAX_INTERIOR: usize = 3;

impl Placement {
    /// Gives newcomers with slots the stripes with the least supply to relay.
    pub(super) fn choose_interiors(&mut self) {
        let sharers = self.viewers().filter(|(_, node)| node.slots >= MIN_SLOTS);
        let each = usize::from(self.n)
            .div_ceil(sharers.count().max(1))
            .clamp(1, MAX_INTERIOR);
        let mut supply = vec![0usize; usize::from(self.n)];
        for (_, node) in self.viewers() {
            for stripe in node.interior.iter() {
                supply[stripe.index()] += node.slots / node.interior.len().max(1);
            }
        }
        let idle: Vec<(PeerId, usize)> = self
            .viewers()
            .filter(|(_, node)| node.interior.is_empty() && node.slots >= MIN_SLOTS)
            .map(|(peer, node)| (peer, node.slots))
            .collect();
        for (peer, slots) in idle {
            let mut by_supply: Vec<StripeId> = StripeId::first(self.n).collect();
            by_supply.sort_by_key(|stripe| supply[stripe.index()]);
            let chosen: StripeSet = by_supply.into_iter().take(each).collect();
            for stripe in chosen.iter() {
                supply[stripe.index()] += slots / each;
            }
            if let Some(node) = self.forest.get_mut(peer) {
                node.interior = chosen;
            }
        }
    }

    /// While few relay, some relay more stripes than they should in the long run. One of
    /// them gives up a stripe that others relay too, its children there being moved; or, if
    /// it has none such, somebody else begins to relay one of its.
    pub(super) fn shed_interior(&mut self) {
        let surplus = self
            .viewers()
            .find(|(_, node)| node.interior.len() > MAX_INTERIOR)
            .map(|(peer, node)| (peer, node.interior));
        let Some((peer, interior)) = surplus else {
            return;
        };
        let mut relays = vec![0usize; usize::from(self.n)];
        for (_, node) in self.viewers() {
            for stripe in node.interior.iter() {
                relays[stripe.index()] += 1;
            }
        }
        let children = |peer: PeerId, stripe: StripeId| {
            let node = self.forest.get(peer);
            node.map_or(0, |node| node.children(stripe).len())
        };
        let shared = |stripe: &StripeId| relays[stripe.index()] > 1;
        let by_children = |stripe: &StripeId| children(peer, *stripe);
        if let Some(stripe) = interior.iter().filter(shared).min_by_key(by_children) {
            if let Some(node) = self.forest.get_mut(peer) {
                node.interior.remove(stripe);
            }
            return;
        }
        let Some(stripe) = interior.iter().min_by_key(by_children) else {
            return;
        };
        let heir = self
            .viewers()
            .filter(|(other, node)| {
                *other != peer && node.slots >= MIN_SLOTS && node.interior.len() <= MAX_INTERIOR
            })
            .filter_map(|(other, node)| {
                if node.interior.len() < MAX_INTERIOR {
                    return Some((0, other, None));
                }
                let fewest = |stripe: &StripeId| children(other, *stripe);
                let gives = node.interior.iter().filter(shared).min_by_key(fewest)?;
                Some((1 + children(other, gives), other, Some(gives)))
            })
            .min();
        let Some((_, heir, gives)) = heir else {
            return;
        };
        if let Some(node) = self.forest.get_mut(heir) {
            node.interior.insert(stripe);
            if let Some(gives) = gives {
                node.interior.remove(gives);
            }
        }
    }

    /// A peer with much room left, where others are full, relays another stripe instead of
    /// one that has room.
    pub(super) fn reassign_idle(&mut self) {
        let room: Vec<usize> = StripeId::first(self.n)
            .map(|stripe| self.room(stripe))
            .collect();
        let least = StripeId::first(self.n).min_by_key(|stripe| room[stripe.index()]);
        let Some(least) = least.filter(|stripe| room[stripe.index()] == 0) else {
            return;
        };
        let idle = self.viewers().find_map(|(peer, node)| {
            let roomy = node.free() * 2 > node.slots && !node.interior.contains(least);
            let mut held = node.interior.iter().filter(|stripe| {
                node.children(*stripe).is_empty() || room[stripe.index()] > node.free()
            });
            let gives = held.next().filter(|_| roomy)?;
            Some((peer, gives))
        });
        let Some((peer, gives)) = idle else {
            return;
        };
        if let Some(node) = self.forest.get_mut(peer) {
            node.interior.remove(gives);
            node.interior.insert(least);
        }
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
        let found = self
            .viewers()
            .filter(|(other, relay)| *other != peer && relay.free() > 0 && !node.has_failed(*other))
            .filter_map(|(other, relay)| {
                let fits = |stripe: &StripeId| {
                    self.forest.depth(other, *stripe).is_some()
                        && !self.forest.is_below(other, peer, *stripe)
                };
                let stripe = relay.held().and(lacks).iter().find(fits)?;
                Some((
                    relay.interior.len(),
                    usize::MAX - relay.free(),
                    other,
                    stripe,
                ))
            })
            .min();
        let Some((_, _, relay, stripe)) = found else {
            return false;
        };
        if let Some(node) = self.forest.get_mut(relay) {
            node.interior.insert(stripe);
        }
        self.place(peer, stripe, relay, orders);
        true
    }

    /// Attaches a peer in the stripes it relays, as near to the root as can be.
    pub(super) fn root_interiors(&mut self, peer: PeerId, orders: &mut Vec<Order>) {
        let Some(node) = self.forest.get(peer) else {
            return;
        };
        for stripe in node.interior.without(node.held()).iter() {
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
        let leaves = self
            .misplaced()
            .into_iter()
            .filter(|(above, ..)| self.forest.get(*above).is_some_and(|node| node.seeder));
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

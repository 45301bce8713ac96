//! Who gets which stripe from whom: supply against demand per stripe, newcomers with slots
//! towards the root, and make-before-break moves that relieve the seeders.
//!
//! The one rule: a stripe's tree has no cycle, and nobody is planned more edges than its
//! uplink carries.

use std::collections::BTreeMap;

use super::forest::{Forest, Node};
use crate::{PeerId, StripeId, StripeSet};

/// Stripes a peer relays at most: a departure costs its descendants no more than these
/// (overlay design, "children in one stripe, a strong one in two or three").
const MAX_INTERIOR: usize = 3;
/// Children per stripe and seeder that are kept as roots, at most (overlay design, "Roots").
const MAX_ROOTS: usize = 5;
/// Slots beside which a peer is a leaf everywhere.
const MIN_SLOTS: usize = 2;
/// Peers looked at for an exchange of stripes.
const MAX_SWAP_SCAN: usize = 256;
/// Moves in one round, so that a swarm is never turned over at once.
const MAX_MOVES: usize = 16;

/// What peers are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Place {
        peer: PeerId,
        stripe: StripeId,
        parent: PeerId,
        backups: Vec<PeerId>,
        interior: bool,
    },
    Unplace {
        peer: PeerId,
        stripe: StripeId,
    },
}

/// The planner of one swarm.
#[derive(Debug, Default)]
pub(super) struct Placement {
    pub(super) forest: Forest,
    k: usize,
    n: u8,
    margin: usize,
    /// (peer, stripe to come) → the stripe that goes when it has come.
    exchanges: BTreeMap<(PeerId, StripeId), StripeId>,
}

impl Placement {
    /// The broadcast's shape. Nothing is placed before it is known.
    pub(super) fn set_shape(&mut self, k: u8, n: u8) {
        self.k = usize::from(k);
        self.n = n;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.n > 0
    }

    /// Stripes that a viewer is to hold.
    pub(super) fn target(&self) -> usize {
        (self.k + self.margin).min(usize::from(self.n))
    }

    /// A peer came. It is placed by the next [`Self::settle`].
    pub(super) fn add(&mut self, peer: PeerId, seeder: bool, slots: usize) {
        self.forest.insert(peer, seeder, slots);
    }

    /// A peer went; those it fed are placed by the next [`Self::settle`].
    pub(super) fn remove(&mut self, peer: PeerId) {
        self.forest.remove(peer);
        self.exchanges.retain(|(who, _), _| *who != peer);
    }

    /// A peer lost a parent, or never got it.
    pub(super) fn on_detached(&mut self, peer: PeerId, stripe: StripeId, parent: PeerId) {
        let planned = self.forest.get(peer).and_then(|node| node.parent(stripe));
        if planned == Some(parent) || parent == PeerId(0) {
            self.forest.unlink(peer, stripe);
        }
        if parent != PeerId(0) {
            self.forest.note_failure(peer, parent);
        }
    }

    /// A peer has this parent now. Corrects the plan when a backup took over.
    pub(super) fn on_attached(
        &mut self,
        peer: PeerId,
        stripe: StripeId,
        parent: PeerId,
    ) -> Vec<Order> {
        let Some(node) = self.forest.get(peer) else {
            return Vec::new();
        };
        let planned = node.parent(stripe);
        if planned.is_none()
            && self.forest.get(parent).is_some()
            && !self.forest.is_below(parent, peer, stripe)
        {
            self.forest.link(peer, stripe, parent);
        }
        self.exchanges
            .remove(&(peer, stripe))
            .map(|stripe| Order::Unplace { peer, stripe })
            .into_iter()
            .collect()
    }

    /// Whether a peer still awaits something in place of this stripe.
    pub(super) fn is_leaving(&self, peer: PeerId, stripe: StripeId) -> bool {
        self.exchanges
            .iter()
            .any(|((who, _), leaving)| *who == peer && *leaving == stripe)
    }

    /// Brings everyone what they miss, relieves the seeders, and trims what is too much.
    pub(super) fn settle(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        if !self.is_ready() || self.forest.seeders().next().is_none() {
            return orders;
        }
        self.weigh();
        self.choose_interiors();
        let viewers: Vec<PeerId> = self.viewers().map(|(peer, _)| peer).collect();
        for peer in &viewers {
            self.root_interiors(*peer, &mut orders);
        }
        for peer in &viewers {
            self.fill(*peer, &mut orders);
        }
        self.relieve_seeders(&mut orders);
        for peer in &viewers {
            self.trim(*peer, &mut orders);
        }
        orders
    }

    fn viewers(&self) -> impl Iterator<Item = (PeerId, &Node)> {
        self.forest.iter().filter(|(_, node)| !node.seeder)
    }

    /// Decides how many stripes above k everyone holds (overlay design, "Margin"; supply is
    /// counted in slots, which have framing and control taken off already).
    fn weigh(&mut self) {
        let supply: usize = self.forest.iter().map(|(_, node)| node.slots).sum();
        let demand = self.viewers().count() * self.k;
        let index = supply as f64 / demand.max(1) as f64;
        // A little harder to rise than to stay, so that it does not flutter.
        let rise = |margin: usize| if self.margin < margin { 0.05 } else { 0.0 };
        self.margin = if index > 1.5 + rise(2) {
            2
        } else if index > 1.15 + rise(1) {
            1
        } else {
            0
        };
    }

    /// Gives peers with slots the stripes with the least supply to relay.
    fn choose_interiors(&mut self) {
        let sharers = self.viewers().filter(|(_, node)| node.slots >= MIN_SLOTS);
        let sharers = sharers.count();
        if sharers == 0 {
            return;
        }
        let each = usize::from(self.n).div_ceil(sharers).clamp(1, MAX_INTERIOR);
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
            let mut chosen = StripeSet::EMPTY;
            for _ in 0..each {
                let least = StripeId::first(self.n)
                    .filter(|stripe| !chosen.contains(*stripe))
                    .min_by_key(|stripe| supply[stripe.index()]);
                let Some(stripe) = least else {
                    break;
                };
                chosen.insert(stripe);
                supply[stripe.index()] += slots / each;
            }
            if let Some(node) = self.forest.get_mut(peer) {
                node.interior = chosen;
            }
        }
    }

    /// Attaches a peer in the stripes it relays, as near to the root as can be.
    fn root_interiors(&mut self, peer: PeerId, orders: &mut Vec<Order>) {
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
    fn displace(
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
    fn make_room(&mut self, peer: PeerId, stripe: StripeId, orders: &mut Vec<Order>) {
        let leaves: Vec<(PeerId, StripeId, PeerId)> = self.seeder_leaves();
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

    /// Gives a peer as many stripes as it is to hold, those with the most room first.
    fn fill(&mut self, peer: PeerId, orders: &mut Vec<Order>) {
        let Some(node) = self.forest.get(peer) else {
            return;
        };
        let mut missing = self.target().saturating_sub(node.held().len());
        while missing > 0 {
            let Some(node) = self.forest.get(peer) else {
                return;
            };
            let open = StripeSet::all(self.n).without(node.held());
            let best = open
                .iter()
                .filter_map(|stripe| {
                    let parent = self.parent_for(peer, stripe, false)?;
                    let seeder = self.forest.get(parent)?.seeder;
                    Some(((seeder, usize::MAX - self.room(stripe)), stripe, parent))
                })
                .min_by_key(|(rank, stripe, _)| (*rank, *stripe));
            let placed = match best {
                Some((_, stripe, parent)) => {
                    self.place(peer, stripe, parent, orders);
                    true
                }
                None => self.swap(peer, orders),
            };
            if !placed {
                return;
            }
            missing -= 1;
        }
    }

    /// Free slots of those who relay a stripe.
    fn room(&self, stripe: StripeId) -> usize {
        self.viewers()
            .filter(|(_, node)| node.interior.contains(stripe))
            .map(|(_, node)| node.free())
            .sum()
    }

    /// The stripes with room left are all held already: another leaf takes one of them and
    /// gives up one that `peer` lacks.
    fn swap(&mut self, peer: PeerId, orders: &mut Vec<Order>) -> bool {
        let Some(node) = self.forest.get(peer) else {
            return false;
        };
        let lacks = StripeSet::all(self.n).without(node.held());
        let others: Vec<PeerId> = self
            .viewers()
            .map(|(other, _)| other)
            .filter(|other| *other != peer)
            .take(MAX_SWAP_SCAN)
            .collect();
        for other in others {
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

    fn exchange_with(
        &self,
        peer: PeerId,
        lacks: StripeSet,
        other: PeerId,
    ) -> Option<(StripeId, PeerId, StripeId, PeerId)> {
        let node = self.forest.get(other)?;
        let mine = self.forest.get(peer)?;
        let gives = lacks.and(node.held()).without(node.interior);
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

    /// Moves leaves from the seeders to peers with room.
    fn relieve_seeders(&mut self, orders: &mut Vec<Order>) {
        let mut moves = 0;
        for (_, stripe, leaf) in self.seeder_leaves() {
            if moves == MAX_MOVES {
                return;
            }
            let parent = self.parent_for(leaf, stripe, false);
            let peer =
                parent.filter(|parent| self.forest.get(*parent).is_some_and(|node| !node.seeder));
            if let Some(parent) = peer {
                self.place(leaf, stripe, parent, orders);
                moves += 1;
            }
        }
    }

    /// Seeders' children that relay nothing in their stripe, or stand beyond the roots.
    fn seeder_leaves(&self) -> Vec<(PeerId, StripeId, PeerId)> {
        let mut leaves = Vec::new();
        for (seeder, node) in self.forest.seeders() {
            let roots = self.roots(node);
            for stripe in StripeId::first(self.n) {
                let mut kept = 0;
                for child in node.children(stripe) {
                    let relays = self
                        .forest
                        .get(*child)
                        .is_some_and(|node| node.interior.contains(stripe));
                    if relays && kept < roots {
                        kept += 1;
                    } else if !relays {
                        leaves.push((seeder, stripe, *child));
                    }
                }
            }
        }
        leaves
    }

    /// Children per stripe that a seeder keeps as roots.
    fn roots(&self, seeder: &Node) -> usize {
        (seeder.slots / usize::from(self.n.max(1))).clamp(1, MAX_ROOTS)
    }

    /// Takes away what a peer holds beyond its number.
    fn trim(&mut self, peer: PeerId, orders: &mut Vec<Order>) {
        let Some(node) = self.forest.get(peer) else {
            return;
        };
        let surplus = node.held().len().saturating_sub(self.target());
        let leaves: Vec<StripeId> = node
            .held()
            .without(node.interior)
            .iter()
            .filter(|stripe| node.children(*stripe).is_empty())
            .collect();
        for stripe in leaves.into_iter().rev().take(surplus) {
            self.forest.unlink(peer, stripe);
            orders.push(Order::Unplace { peer, stripe });
        }
    }

    /// The best parent with a free slot: near the root, then with the most room. Seeders
    /// are for those who relay, and for what nobody else can carry.
    fn parent_for(&self, peer: PeerId, stripe: StripeId, relays: bool) -> Option<PeerId> {
        let child = self.forest.get(peer)?;
        let current = child.parent(stripe);
        let mut best: Option<((bool, usize, usize), PeerId)> = None;
        for (candidate, node) in self.forest.iter() {
            let fits = candidate != peer
                && Some(candidate) != current
                && (node.seeder || node.interior.contains(stripe))
                && node.free() > 0
                && !child.has_failed(candidate);
            if !fits {
                continue;
            }
            let Some(depth) = self.forest.depth(candidate, stripe) else {
                continue;
            };
            if self.forest.is_below(candidate, peer, stripe) {
                continue;
            }
            let as_root = relays && node.children(stripe).len() < self.roots(node);
            let last_resort = node.seeder && !as_root;
            let rank = (last_resort, depth, usize::MAX - node.free());
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, candidate));
            }
        }
        best.map(|(_, parent)| parent)
    }

    /// The leaf nearest to the root in a stripe, with its parent.
    fn leaf_to_displace(&self, peer: PeerId, stripe: StripeId) -> Option<(PeerId, PeerId)> {
        let newcomer = self.forest.get(peer)?;
        let mut best: Option<(usize, PeerId, PeerId)> = None;
        for (above, node) in self.forest.iter() {
            if above == peer || newcomer.has_failed(above) || node.children(stripe).is_empty() {
                continue;
            }
            let is_leaf = |child: &PeerId| {
                *child != peer
                    && self
                        .forest
                        .get(*child)
                        .is_some_and(|node| !node.interior.contains(stripe))
            };
            let Some(leaf) = node.children(stripe).iter().copied().find(is_leaf) else {
                continue;
            };
            let Some(depth) = self.forest.depth(above, stripe) else {
                continue;
            };
            if self.forest.is_below(above, peer, stripe) {
                continue;
            }
            if best.is_none_or(|(other, ..)| depth < other) {
                best = Some((depth, above, leaf));
            }
        }
        best.map(|(_, above, leaf)| (above, leaf))
    }

    fn place(&mut self, peer: PeerId, stripe: StripeId, parent: PeerId, orders: &mut Vec<Order>) {
        self.forest.link(peer, stripe, parent);
        let interior = self
            .forest
            .get(peer)
            .is_some_and(|node| node.interior.contains(stripe));
        orders.push(Order::Place {
            peer,
            stripe,
            parent,
            backups: self.backups(peer, stripe, parent),
            interior,
        });
    }

    /// The order to repeat for an edge that is planned but not reported.
    pub(super) fn again(&self, peer: PeerId, stripe: StripeId) -> Option<Order> {
        let node = self.forest.get(peer)?;
        let parent = node.parent(stripe)?;
        Some(Order::Place {
            peer,
            stripe,
            parent,
            backups: self.backups(peer, stripe, parent),
            interior: node.interior.contains(stripe),
        })
    }

    /// Two others that relay the stripe, the roomiest first.
    fn backups(&self, peer: PeerId, stripe: StripeId, parent: PeerId) -> Vec<PeerId> {
        let mut fit: Vec<(usize, PeerId)> = self
            .viewers()
            .filter(|(other, node)| {
                *other != peer && *other != parent && node.interior.contains(stripe)
            })
            .filter(|(other, _)| !self.forest.is_below(*other, peer, stripe))
            .map(|(other, node)| (usize::MAX - node.free(), other))
            .collect();
        fit.sort_unstable();
        fit.into_iter().take(2).map(|(_, other)| other).collect()
    }
}

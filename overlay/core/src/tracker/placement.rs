//! Who gets which stripe from whom: supply against demand per stripe, newcomers with slots
//! towards the root, and make-before-break moves to where an edge belongs.
//!
//! The one rule: a stripe's tree has no cycle, and nobody is planned more edges than its
//! uplink carries.

use std::{collections::BTreeMap, time::Duration};

use super::forest::{Forest, Node};

use crate::{Instant, PeerId, StripeId, StripeSet, wire::DetachReason};

/// Stripes a peer relays at most in the long run: its departure costs its descendants no
/// more than these (overlay design, "children in one stripe, a strong one in two or three").
const MAX_INTERIOR: usize = 3;
/// Children per stripe and seeder that are kept as roots, at most (overlay design, "Roots").
const MAX_ROOTS: usize = 5;
/// Slots beside which a peer is a leaf everywhere.
const MIN_SLOTS: usize = 2;
/// A parent that refused is full for a moment; one that cannot be reached stays so longer.
const REFUSED: Duration = Duration::from_secs(1);
const UNREACHABLE: Duration = Duration::from_secs(30);
/// Peers looked at for an exchange of stripes.
const MAX_SWAP_SCAN: usize = 256;
/// Share of slots kept free, for repair and newcomers, where supply allows (overlay design,
/// "12.5 % spare slots beyond demand"), and which part of what there is beyond demand.
const RESERVE: f64 = 0.125;
const RESERVE_PART: f64 = 0.8;
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
    now: Instant,
    k: usize,
    n: u8,
    margin: usize,
    /// Share of everyone's slots that is kept free while others have room.
    reserve: f64,
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
    pub(super) fn on_detached(
        &mut self,
        now: Instant,
        peer: PeerId,
        stripe: StripeId,
        parent: PeerId,
        reason: DetachReason,
    ) {
        let planned = self.forest.get(peer).and_then(|node| node.parent(stripe));
        if planned == Some(parent) {
            self.forest.unlink(peer, stripe);
        }
        let rest = match reason {
            DetachReason::Refused => REFUSED,
            DetachReason::Unreachable => UNREACHABLE,
            // A silent parent may itself have lost its own: that is not its fault.
            DetachReason::Silent => return,
        };
        self.forest.note_failure(peer, parent, now + rest);
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

    /// Brings everyone what they miss; in a `calm` moment, when nobody came or went, also moves what is misplaced, and trims what is too much.
    pub(super) fn settle(&mut self, now: Instant, calm: bool) -> Vec<Order> {
        self.now = now;
        self.forest.forgive(now);
        let mut orders = Vec::new();
        if !self.is_ready() || self.forest.seeders().next().is_none() {
            return orders;
        }
        self.weigh();
        self.choose_interiors();
        if calm {
            self.reassign_idle();
            self.shed_interior();
        }
        let viewers: Vec<PeerId> = self.viewers().map(|(peer, _)| peer).collect();
        for peer in &viewers {
            self.root_interiors(*peer, &mut orders);
        }
        self.move_misplaced(&mut orders);
        // First everyone gets what decodes, then what makes it safe.
        let mut short = 0;
        for peer in &viewers {
            short += self.fill(*peer, self.k, &mut orders);
        }
        if short > 0 {
            self.margin = 0;
        }
        for peer in &viewers {
            self.fill(*peer, self.target(), &mut orders);
        }
        for peer in &viewers {
            self.trim(*peer, &mut orders);
        }
        if calm {
            self.balance(&mut orders);
        }
        orders
    }

    /// Whether a peer has only its reserve left.
    fn is_full(&self, node: &Node) -> bool {
        node.free() as f64 <= node.slots as f64 * self.reserve
    }

    /// Moves leaves from peers that are into their reserve to others that are not.
    fn balance(&mut self, orders: &mut Vec<Order>) {
        let over = |node: &Node| (node.free() as f64) < (node.slots as f64 * self.reserve).floor();
        let full: Vec<PeerId> = self
            .viewers()
            .filter(|(_, node)| over(node))
            .map(|(peer, _)| peer)
            .collect();
        for above in full.into_iter().take(MAX_MOVES) {
            if let Some((stripe, child, to)) = self.find_relief(above) {
                self.place(child, stripe, to, orders);
            }
        }
    }

    /// A leaf of `above` that a peer with room could feed.
    fn find_relief(&self, above: PeerId) -> Option<(StripeId, PeerId, PeerId)> {
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

    /// A peer with much room left, where others are full, relays another stripe instead of
    /// one that has room.
    fn reassign_idle(&mut self) {
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

    fn viewers(&self) -> impl Iterator<Item = (PeerId, &Node)> {
        self.forest.iter().filter(|(_, node)| !node.seeder)
    }

    /// Decides how many stripes above k everyone holds (overlay design, "Margin"; supply is
    /// counted in slots, which have framing and control taken off already).
    fn weigh(&mut self) {
        let supply: usize = self.forest.iter().map(|(_, node)| node.slots).sum();
        let demand = self.viewers().count() * self.k;
        let index = supply as f64 / demand.max(1) as f64;
        self.reserve = ((1.0 - 1.0 / index.max(1.0)) * RESERVE_PART).min(RESERVE);
        // A little harder to rise than to stay, so that it does not flutter.
        let rise = |margin: usize| if self.margin < margin { 0.05 } else { 0.0 };
        self.margin = if index > 1.5 + rise(2) {
            2
        } else if index > 1.2 + rise(1) {
            1
        } else {
            0
        };
    }

    /// Gives newcomers with slots the stripes with the least supply to relay.
    fn choose_interiors(&mut self) {
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
    fn shed_interior(&mut self) {
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

    /// Nobody with room relays what `peer` lacks: somebody who holds one of these stripes
    /// begins to relay it.
    fn extend(&mut self, peer: PeerId, lacks: StripeSet, orders: &mut Vec<Order>) -> bool {
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

    /// Gives a peer `target` stripes, those with the most room first. How many it is short.
    fn fill(&mut self, peer: PeerId, target: usize, orders: &mut Vec<Order>) -> usize {
        let held = self
            .forest
            .get(peer)
            .map_or(target, |node| node.held().len());
        let mut missing = target.saturating_sub(held);
        while missing > 0 {
            let Some(node) = self.forest.get(peer) else {
                break;
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
                Some(((false, _), stripe, parent)) => {
                    self.place(peer, stripe, parent, orders);
                    true
                }
                Some((_, stripe, seeder)) => {
                    if !self.shift(peer, open, orders) && !self.extend(peer, open, orders) {
                        self.place(peer, stripe, seeder, orders);
                    }
                    true
                }
                None => {
                    self.shift(peer, open, orders)
                        || self.swap(peer, orders)
                        || self.extend(peer, open, orders)
                }
            };
            if !placed {
                break;
            }
            missing -= 1;
        }
        missing
    }

    /// Everyone who relays what `peer` lacks is full: one of them hands a child of another
    /// stripe to somebody with room, and takes `peer` instead.
    fn shift(&mut self, peer: PeerId, lacks: StripeSet, orders: &mut Vec<Order>) -> bool {
        let Some((stripe, parent, other, child, to)) = self.find_shift(peer, lacks) else {
            return false;
        };
        self.place(child, other, to, orders);
        self.place(peer, stripe, parent, orders);
        true
    }

    /// The shift to make: (stripe, parent) for `peer`, after moving (stripe, child) to
    /// another parent.
    fn find_shift(
        &self,
        peer: PeerId,
        lacks: StripeSet,
    ) -> Option<(StripeId, PeerId, StripeId, PeerId, PeerId)> {
        let node = self.forest.get(peer)?;
        let relays = self
            .viewers()
            .filter(|(parent, above)| {
                *parent != peer && !node.has_failed(*parent) && !above.interior.is_empty()
            })
            .take(MAX_SWAP_SCAN);
        for (parent, above) in relays {
            let stripe = above.interior.and(lacks).iter().find(|stripe| {
                self.forest.depth(parent, *stripe).is_some()
                    && !self.forest.is_below(parent, peer, *stripe)
            });
            let Some(stripe) = stripe else {
                continue;
            };
            for other in above.interior.iter().filter(|other| *other != stripe) {
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

    /// Moves children to where they belong: leaves away from the seeders, and everyone
    /// away from peers that no longer relay the stripe.
    fn move_misplaced(&mut self, orders: &mut Vec<Order>) {
        let mut moves = 0;
        for (above, stripe, child) in self.misplaced() {
            if moves == MAX_MOVES {
                return;
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
            } else if !from_seeder && self.shift(child, StripeSet::from_iter([stripe]), orders) {
                moves += 1;
            }
        }
    }

    fn relays(&self, peer: PeerId, stripe: StripeId) -> bool {
        let node = self.forest.get(peer);
        node.is_some_and(|node| node.interior.contains(stripe))
    }

    /// Edges that should be elsewhere: seeders' children that relay nothing in their
    /// stripe, and children of peers that do not relay it.
    fn misplaced(&self) -> Vec<(PeerId, StripeId, PeerId)> {
        let mut edges = Vec::new();
        for (above, node) in self.forest.iter() {
            for stripe in node.relayed().iter() {
                let wrong = !node.seeder && !node.interior.contains(stripe);
                let children = node.children(stripe).iter().copied();
                let misplaced =
                    children.filter(|child| wrong || (node.seeder && !self.relays(*child, stripe)));
                edges.extend(misplaced.map(|child| (above, stripe, child)));
            }
        }
        edges
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
        let mut best: Option<((u8, usize, usize), PeerId)> = None;
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
            let reserved = self.is_full(node);
            let last_resort = match (node.seeder && !as_root, reserved && !as_root) {
                (true, _) => 2,
                (false, reserved) => u8::from(reserved),
            };
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
        self.exchanges
            .retain(|(who, _), leaving| *who != peer || *leaving != stripe);
        let interior = self.relays(peer, stripe);
        if let Some(node) = self.forest.get_mut(peer) {
            node.told.insert(stripe, self.now);
        }
        orders.push(Order::Place {
            peer,
            stripe,
            parent,
            backups: self.backups(peer, stripe, parent),
            interior,
        });
    }

    /// The order to repeat for an edge that is planned but not reported.
    pub(super) fn again(&mut self, now: Instant, peer: PeerId, stripe: StripeId) -> Option<Order> {
        let node = self.forest.get_mut(peer)?;
        node.told.insert(stripe, now);
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

//! Who gets which stripe from whom: supply against demand per stripe, newcomers with slots
//! towards the root (`placement/interiors.rs`), and make-before-break moves to where an edge
//! belongs (`placement/moves.rs`); what peers bring along is taken over
//! (`placement/returns.rs`).
//!
//! The one rule: a stripe's tree has no cycle, and nobody is planned more edges than its
//! uplink carries.

use std::{collections::BTreeMap, time::Duration};

use super::forest::{Forest, Node};
use crate::{Instant, PeerId, StripeId, StripeSet, wire::DetachReason};

mod interiors;
mod moves;
mod returns;

/// Children per stripe and seeder that are kept as roots, at most (overlay design, "Roots").
const MAX_ROOTS: usize = 5;
/// Slots beside which a peer is a leaf everywhere.
const MIN_SLOTS: usize = 2;
/// A parent that refused is full for a moment; one that cannot be reached stays so longer.
const REFUSED: Duration = Duration::from_secs(1);
const UNREACHABLE: Duration = Duration::from_secs(30);
/// Within this a peer has the parent it was told of, or says that it failed.
const ATTACHES: Duration = Duration::from_millis(1000);
/// One whose link fell silent may come back.
const DEAD: Duration = Duration::from_secs(3);
/// One that brought nothing is not tried again for a while.
const STARVED: Duration = Duration::from_secs(10);
/// Share of slots kept free, for repair and newcomers, where supply allows (overlay design,
/// "12.5 % spare slots beyond demand"), and which part of what there is beyond demand.
const RESERVE: f64 = 0.125;
const RESERVE_PART: f64 = 0.8;

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
    returns: returns::Returns,
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
        self.returns.forget(peer);
        self.exchanges.retain(|(who, _), _| *who != peer);
        if self.viewers().next().is_none() {
            // Whoever comes next may be a swarm whose sessions all broke at once.
            self.returns = returns::Returns::default();
        }
    }

    /// Whom a peer is to have as its parent.
    pub(super) fn parent(&self, peer: PeerId, stripe: StripeId) -> Option<PeerId> {
        self.forest.get(peer)?.parent(stripe)
    }

    /// Whether a peer is to hold a stripe, or to relay it as soon as it can be placed.
    pub(super) fn plans(&self, peer: PeerId, stripe: StripeId) -> bool {
        let node = self.forest.get(peer);
        node.is_some_and(|node| node.parent(stripe).is_some() || node.interior.contains(stripe))
    }

    /// These two are nothing to each other until then.
    pub(super) fn keep_apart(&mut self, one: PeerId, other: PeerId, until: Instant) {
        for (child, parent) in [(one, other), (other, one)] {
            self.forest.note_failure(child, parent, until);
            let edges: Vec<StripeId> = self.forest.get(child).map_or_else(Vec::new, |node| {
                let edges = node.parents().filter(|(_, above)| *above == parent);
                edges.map(|(stripe, _)| stripe).collect()
            });
            for stripe in edges {
                self.forest.unlink(child, stripe);
            }
        }
    }

    /// A peer is to relay nothing: its children are placed by the next [`Self::settle`].
    pub(super) fn strip(&mut self, peer: PeerId) {
        let Some(node) = self.forest.get_mut(peer) else {
            return;
        };
        node.interior = StripeSet::EMPTY;
        let edges: Vec<(StripeId, PeerId)> = StripeId::first(self.n)
            .flat_map(|stripe| {
                node.children(stripe)
                    .iter()
                    .map(move |child| (stripe, *child))
            })
            .collect();
        for (stripe, child) in edges {
            self.forest.unlink(child, stripe);
        }
    }

    /// A peer carries so many edges; what it has beyond them is placed by the next
    /// [`Self::settle`], leaves first, since others wait for those who relay.
    pub(super) fn resize(&mut self, peer: PeerId, slots: usize) {
        let Some(node) = self.forest.get_mut(peer) else {
            return;
        };
        node.slots = slots;
        let mut edges: Vec<(bool, StripeId, PeerId)> = Vec::new();
        let node = &*node;
        let children = StripeId::first(self.n).flat_map(|stripe| {
            node.children(stripe)
                .iter()
                .map(move |child| (stripe, *child))
        });
        let children: Vec<(StripeId, PeerId)> = children.collect();
        for (stripe, child) in children {
            edges.push((self.relays(child, stripe), stripe, child));
        }
        let surplus = edges.len().saturating_sub(slots);
        edges.sort_unstable();
        for (_, stripe, child) in edges.into_iter().take(surplus) {
            self.forest.unlink(child, stripe);
        }
    }

    /// A peer lost a parent, or never got it. Whether that changes the plan.
    pub(super) fn on_detached(
        &mut self,
        now: Instant,
        peer: PeerId,
        stripe: StripeId,
        parent: PeerId,
        reason: DetachReason,
    ) -> bool {
        let node = self.forest.get(peer);
        let planned = node.and_then(|node| node.parent(stripe));
        if parent == PeerId(0) {
            return self.on_orphan(now, peer, stripe);
        }
        if planned != Some(parent) {
            return self.returns.drop_claim(peer, stripe, parent);
        }
        self.forest.unlink(peer, stripe);
        let rest = match reason {
            DetachReason::Refused => REFUSED,
            DetachReason::Unreachable => UNREACHABLE,
            DetachReason::Idle => STARVED,
            DetachReason::Dead => DEAD,
            DetachReason::Silent => return true,
        };
        self.forest.note_failure(peer, parent, now + rest);
        true
    }

    /// A peer has been without a parent for a while, though one may be planned.
    fn on_orphan(&mut self, now: Instant, peer: PeerId, stripe: StripeId) -> bool {
        let Some(node) = self.forest.get(peer) else {
            return false;
        };
        let lately = node.told.get(&stripe);
        if lately.is_some_and(|told| now.since(*told) < ATTACHES) {
            return false;
        }
        if let Some(planned) = self.forest.unlink(peer, stripe) {
            self.forest.note_failure(peer, planned, now + DEAD);
        }
        self.returns.drop_claims(peer, stripe);
        true
    }

    /// A peer has this parent now. Corrects the plan when a backup took over.
    pub(super) fn on_attached(
        &mut self,
        now: Instant,
        peer: PeerId,
        stripe: StripeId,
        parent: PeerId,
    ) -> Vec<Order> {
        if self.forest.get(peer).is_none() {
            return Vec::new();
        }
        // What a peer claims is believed as far as it could have been planned.
        self.returns.drop_claims(peer, stripe);
        let relays = self.returns.are_expected(now);
        self.adopt(peer, stripe, parent, relays);
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
        // An exchange whose new stripe is planned no longer would never be over.
        let forest = &self.forest;
        self.exchanges.retain(|(peer, coming), _| {
            let node = forest.get(*peer);
            node.is_some_and(|node| node.parent(*coming).is_some())
        });
        let mut orders = Vec::new();
        if !self.is_ready() || self.forest.seeders().next().is_none() {
            return orders;
        }
        if self.take_over(&mut orders) {
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

    /// Gives a peer `target` stripes, those with the most room first. How many it is short.
    fn fill(&mut self, peer: PeerId, target: usize, orders: &mut Vec<Order>) -> usize {
        let claimed = self.returns.claimed(peer);
        let held = self
            .forest
            .get(peer)
            .map_or(target, |node| node.held().or(claimed).len());
        let mut missing = target.saturating_sub(held);
        while missing > 0 {
            let Some(node) = self.forest.get(peer) else {
                break;
            };
            let open = StripeSet::all(self.n).without(node.held().or(claimed));
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
                        || self.swap(peer, open, orders)
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

    /// Free slots of those who relay a stripe.
    fn room(&self, stripe: StripeId) -> usize {
        self.viewers()
            .filter(|(_, node)| node.interior.contains(stripe))
            .map(|(_, node)| node.free())
            .sum()
    }

    fn relays(&self, peer: PeerId, stripe: StripeId) -> bool {
        let node = self.forest.get(peer);
        node.is_some_and(|node| node.interior.contains(stripe))
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
            .filter(|(other, node)| {
                let mine = self.forest.get(peer);
                !node.has_failed(peer) && !mine.is_some_and(|mine| mine.has_failed(*other))
            })
            .filter(|(other, _)| !self.forest.is_below(*other, peer, stripe))
            .map(|(other, node)| (usize::MAX - node.free(), other))
            .collect();
        fit.sort_unstable();
        fit.into_iter().take(2).map(|(_, other)| other).collect()
    }
}

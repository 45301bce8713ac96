//! Who gets which stripe from whom: supply against demand per stripe, newcomers with slots
//! towards the root (`placement/interiors.rs`), and make-before-break moves to where an edge
//! belongs (`placement/moves.rs`); what peers bring along is taken over
//! (`placement/returns.rs`).
//!
//! The one rule: a stripe's tree has no cycle, and nobody is planned more edges than its
//! uplink carries.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::forest::{Forest, Node, index::MIN_SLOTS};
use crate::{Instant, PeerId, StripeId, StripeSet, wire::DetachReason};

mod interiors;
mod moves;
mod returns;

/// Children per stripe and seeder that are kept as roots, at most (overlay design, "Roots").
const MAX_ROOTS: usize = 5;
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
/// In steps of so much: at each, everyone is looked at.
const RESERVE_STEP: f64 = RESERVE / 8.0;
/// Viewers whose place is looked at in one round although nothing happened to them, at least,
/// and which part of all: the whole swarm within 8 s.
const SWEEP: usize = 512;
const SWEEP_PART: usize = 16;
/// Viewers looked at in one round because something did.
const MAX_DUE: usize = 4096;
/// Viewers looked at for one that would do.
const MAX_SCAN: usize = 256;
/// Backups that a viewer has in a stripe, links to them being kept open.
const BACKUPS: u64 = 2;
/// Odd, and half of its bits set: multiplied by it, names that are near are so no longer
/// (Knuth, The Art of Computer Programming, vol. 3, 6.4: the golden ratio of the word).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

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

/// Where rounds go on that look at some of many.
#[derive(Debug)]
struct Cursors {
    sweep: PeerId,
    short: PeerId,
    misplaced: PeerId,
    crowded: PeerId,
}

/// The planner of one swarm.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) forest: Forest,
    now: Instant,
    k: usize,
    n: u8,
    margin: usize,
    /// Viewers that decode nothing, since nobody had room.
    short: BTreeSet<PeerId>,
    cursors: Cursors,
    /// (peer, stripe to come) → the stripe that goes when it has come.
    exchanges: BTreeMap<(PeerId, StripeId), StripeId>,
    returns: returns::Returns,
}

impl Default for Placement {
    fn default() -> Self {
        let first = PeerId(0);
        Self {
            forest: Forest::default(),
            now: Instant::default(),
            k: 0,
            n: 0,
            margin: 0,
            short: BTreeSet::new(),
            cursors: Cursors {
                sweep: first,
                short: first,
                misplaced: first,
                crowded: first,
            },
            exchanges: BTreeMap::new(),
            returns: returns::Returns::default(),
        }
    }
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
        self.short.remove(&peer);
        if self.forest.index().viewers == 0 {
            // Whoever comes next may be a swarm whose sessions all broke at once.
            self.returns = returns::Returns::default();
        }
    }

    /// Whom a peer is to have as its parent.
    pub(super) fn parent(&self, peer: PeerId, stripe: StripeId) -> Option<PeerId> {
        self.forest.get(peer)?.parent(stripe)
    }

    /// Whether one is to feed another.
    pub(super) fn feeds(&self, parent: PeerId, child: PeerId) -> bool {
        let node = self.forest.get(child);
        node.is_some_and(|node| node.parents().any(|(_, above)| above == parent))
    }

    /// Everyone who is to relay something.
    pub(super) fn relays_anything(&self) -> Vec<PeerId> {
        let relays = self.forest.viewers();
        let relays = relays.filter(|(_, node)| !node.interior().is_empty());
        relays.map(|(peer, _)| peer).collect()
    }

    /// Whether a peer is to hold a stripe, or to relay it as soon as it can be placed.
    pub(super) fn plans(&self, peer: PeerId, stripe: StripeId) -> bool {
        let node = self.forest.get(peer);
        node.is_some_and(|node| node.parent(stripe).is_some() || node.interior().contains(stripe))
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
        self.forest.set_interior(peer, StripeSet::EMPTY);
        let node = self.forest.get(peer);
        let edges: Vec<(StripeId, PeerId)> = node.into_iter().flat_map(Node::edges).collect();
        for (stripe, child) in edges {
            self.forest.unlink(child, stripe);
        }
    }

    /// A peer carries so many edges; what it has beyond them is placed by the next
    /// [`Self::settle`], leaves first, since others wait for those who relay.
    pub(super) fn resize(&mut self, peer: PeerId, slots: usize) {
        self.forest.set_slots(peer, slots);
        let Some(node) = self.forest.get(peer) else {
            return;
        };
        let edges = node.edges();
        let mut edges: Vec<(bool, StripeId, PeerId)> = edges
            .map(|(stripe, child)| (self.relays(child, stripe), stripe, child))
            .collect();
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

    /// Brings what they miss to all who lost something and to some others, in turn; in a `calm`
    /// moment, when nobody came or went, also moves what is misplaced, and trims what is too
    /// much. Of a small swarm everyone is looked at each time.
    pub(super) fn settle(&mut self, now: Instant, calm: bool) -> Vec<Order> {
        self.now = now;
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
        let mut due = self.due();
        for peer in &due {
            self.root_interiors(*peer, &mut orders);
        }
        self.move_misplaced(&mut orders);
        due.extend(self.forest.take_touched(MAX_DUE));
        // First everyone gets what decodes, then what makes it safe.
        for peer in &due {
            if self.fill(*peer, self.k, &mut orders) > 0 {
                self.short.insert(*peer);
            } else {
                self.short.remove(peer);
            }
        }
        if !self.short.is_empty() {
            self.margin = 0;
        }
        for peer in &due {
            self.fill(*peer, self.target(), &mut orders);
        }
        for peer in &due {
            self.trim(*peer, &mut orders);
        }
        if calm {
            self.balance(&mut orders);
        }
        orders
    }

    /// Whose place is to be looked at now. What failed for them long ago is forgiven.
    fn due(&mut self) -> BTreeSet<PeerId> {
        let mut due: BTreeSet<PeerId> = self.forest.take_touched(MAX_DUE).into_iter().collect();
        let sweep = sweep(self.forest.index().viewers);
        let swept = self.forest.viewers_from(self.cursors.sweep).take(sweep);
        let swept: Vec<PeerId> = swept.map(|(peer, _)| peer).collect();
        self.cursors.sweep = swept.last().map_or(PeerId(0), |last| after(*last));
        due.extend(swept);
        let around = around(&self.short, self.cursors.short).take(MAX_SCAN);
        let short: Vec<PeerId> = around.copied().collect();
        self.cursors.short = short.last().map_or(PeerId(0), |last| after(*last));
        due.extend(short);
        for peer in &due {
            self.forest.forgive(*peer, self.now);
        }
        due
    }

    /// Whether a peer has only its reserve left.
    fn is_full(&self, node: &Node) -> bool {
        node.is_full(self.forest.reserve())
    }

    /// Decides how many stripes above k everyone holds (overlay design, "Margin"; supply is
    /// counted in slots, which have framing and control taken off already).
    fn weigh(&mut self) {
        let index = self.forest.index();
        let demand = index.viewers * self.k;
        let index = index.supply as f64 / demand.max(1) as f64;
        let reserve = ((1.0 - 1.0 / index.max(1.0)) * RESERVE_PART).min(RESERVE);
        self.forest
            .set_reserve((reserve / RESERVE_STEP).floor() * RESERVE_STEP);
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
        self.forest.index().stripe(stripe).room
    }

    fn relays(&self, peer: PeerId, stripe: StripeId) -> bool {
        let node = self.forest.get(peer);
        node.is_some_and(|node| node.interior().contains(stripe))
    }

    /// Children per stripe that a seeder keeps as roots.
    fn roots(&self, seeder: &Node) -> usize {
        (seeder.slots() / usize::from(self.n.max(1))).clamp(1, MAX_ROOTS)
    }

    /// Takes away what a peer holds beyond its number.
    fn trim(&mut self, peer: PeerId, orders: &mut Vec<Order>) {
        let Some(node) = self.forest.get(peer) else {
            return;
        };
        let surplus = node.held().len().saturating_sub(self.target());
        let leaves: Vec<StripeId> = node
            .held()
            .without(node.interior())
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
        let fits = |candidate: &PeerId| {
            *candidate != peer
                && Some(*candidate) != current
                && !child.has_failed(*candidate)
                && !self.forest.is_below(*candidate, peer, stripe)
        };
        let seeder = |as_root: bool| {
            let seeders = self.forest.seeders().filter(|(seeder, node)| {
                let roots = node.children(stripe).len() < self.roots(node);
                node.free() > 0 && (roots || !as_root) && fits(seeder)
            });
            let roomiest = seeders.max_by_key(|(seeder, node)| (node.free(), Reverse(*seeder)));
            roomiest.map(|(seeder, _)| seeder)
        };
        let root = if relays { seeder(true) } else { None };
        root.or_else(|| {
            let open = &self.forest.index().stripe(stripe).open;
            open.iter().map(|(.., peer)| *peer).find(fits)
        })
        .or_else(|| seeder(false))
    }

    /// The leaf nearest to the root in a stripe, with its parent.
    fn leaf_to_displace(&self, peer: PeerId, stripe: StripeId) -> Option<(PeerId, PeerId)> {
        let newcomer = self.forest.get(peer)?;
        let leaves = &self.forest.index().stripe(stripe).leaves;
        leaves.iter().find_map(|(_, above)| {
            if *above == peer
                || newcomer.has_failed(*above)
                || self.forest.is_below(*above, peer, stripe)
            {
                return None;
            }
            let children = self.forest.get(*above)?.children(stripe).iter();
            let mut leaves = children.filter(|child| !self.relays(**child, stripe));
            let leaf = leaves.find(|child| **child != peer)?;
            Some((*above, *leaf))
        })
    }

    fn place(&mut self, peer: PeerId, stripe: StripeId, parent: PeerId, orders: &mut Vec<Order>) {
        self.forest.link(peer, stripe, parent);
        self.exchanges
            .retain(|(who, _), leaving| *who != peer || *leaving != stripe);
        let interior = self.relays(peer, stripe);
        self.forest.set_told(peer, stripe, self.now);
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
        self.forest.set_told(peer, stripe, now);
        let node = self.forest.get(peer)?;
        let parent = node.parent(stripe)?;
        Some(Order::Place {
            peer,
            stripe,
            parent,
            backups: self.backups(peer, stripe, parent),
            interior: node.interior().contains(stripe),
        })
    }

    /// Two others that relay the stripe, with room if there are such. Each child draws its own
    /// of them all: who is a backup has a link to everyone that counts on it.
    fn backups(&self, peer: PeerId, stripe: StripeId, parent: PeerId) -> Vec<PeerId> {
        let mine = self.forest.get(peer);
        let fits = |other: &PeerId| {
            *other != peer
                && *other != parent
                && !self
                    .forest
                    .get(*other)
                    .is_some_and(|node| node.is_suspect() || node.has_failed(peer))
                && !mine.is_some_and(|mine| mine.has_failed(*other))
                && !self.forest.is_below(*other, peer, stripe)
        };
        let index = self.forest.index().stripe(stripe);
        let drawn = (1..=BACKUPS).filter_map(|draw| {
            let salt = u64::from(stripe.get()) << 8 | draw;
            let from = PeerId((peer.0 ^ salt).wrapping_mul(SPREAD));
            around(&index.roomy, from)
                .take(MAX_SCAN)
                .find(|other| fits(other))
        });
        let full = index.relays.iter().map(|(_, other)| other);
        let full = full.take(MAX_SCAN).filter(|other| fits(other));
        let mut backups = Vec::new();
        for backup in drawn.chain(full) {
            if backups.len() < BACKUPS as usize && !backups.contains(backup) {
                backups.push(*backup);
            }
        }
        backups
    }
}

/// How many of so many viewers are looked at in one round although nothing happened to them.
pub(super) fn sweep(viewers: usize) -> usize {
    SWEEP.max(viewers / SWEEP_PART)
}

/// A set in order from one element on and around.
fn around(set: &BTreeSet<PeerId>, from: PeerId) -> impl Iterator<Item = &PeerId> {
    set.range(from..).chain(set.range(..from))
}

/// The name that follows.
fn after(peer: PeerId) -> PeerId {
    PeerId(peer.0.wrapping_add(1))
}

#[cfg(test)]
mod tests;

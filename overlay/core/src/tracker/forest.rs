//! The forest: one tree per stripe, rooted at the seeders. Only what is planned stands
//! here; the peers report whether it came true. What is asked at every step is kept at hand
//! (`forest/index.rs`), so that a plan costs as much as changes, however many there are.
//!
//! The one rule: no tree has a cycle.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Instant, PeerId, StripeId, StripeSet};

pub(super) mod index;

use index::Index;

/// Pairs that failed are remembered per child, so many.
const MAX_FAILED: usize = 16;

/// The trees of all stripes.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: BTreeMap<PeerId, Node>,
    index: Index,
    /// Share of everyone's slots that is kept free while others have room.
    reserve: f64,
    /// Edges that should be elsewhere, as (parent, stripe, child): seeders' children that relay
    /// nothing in their stripe, and children of peers that do not relay it.
    misplaced: BTreeSet<(PeerId, StripeId, PeerId)>,
    /// Viewers whose place has changed since that was last asked.
    touched: BTreeSet<PeerId>,
}

/// A peer's place in all trees.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Ours: the root of every tree.
    pub(super) seeder: bool,
    slots: usize,
    interior: StripeSet,
    /// It may be gone: nobody is to be placed below it.
    suspect: bool,
    held: StripeSet,
    parents: BTreeMap<StripeId, PeerId>,
    children: BTreeMap<StripeId, Children>,
    used: usize,
    /// Hops from a seeder, in the stripes it relays or has children in, if its way up ends at
    /// one.
    depths: BTreeMap<StripeId, usize>,
    /// Peers that could not be its parents, and until when not to try them; the latest last.
    failed: Vec<(PeerId, Instant)>,
    /// When it was last told where to get each stripe.
    pub(super) told: BTreeMap<StripeId, Instant>,
}

#[derive(Debug, Default)]
struct Children {
    peers: Vec<PeerId>,
    /// How many of them do not relay the stripe.
    leaves: usize,
}

impl Node {
    /// Edges its uplink carries.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// The stripes it is to relay.
    pub(super) fn interior(&self) -> StripeSet {
        self.interior
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    pub(super) fn free(&self) -> usize {
        if self.suspect {
            return 0;
        }
        self.slots.saturating_sub(self.used)
    }

    pub(super) fn held(&self) -> StripeSet {
        self.held
    }

    pub(super) fn parent(&self, stripe: StripeId) -> Option<PeerId> {
        self.parents.get(&stripe).copied()
    }

    pub(super) fn parents(&self) -> impl Iterator<Item = (StripeId, PeerId)> {
        self.parents.iter().map(|(stripe, peer)| (*stripe, *peer))
    }

    pub(super) fn children(&self, stripe: StripeId) -> &[PeerId] {
        self.children
            .get(&stripe)
            .map_or(&[], |children| children.peers.as_slice())
    }

    /// All edges below it.
    pub(super) fn edges(&self) -> impl Iterator<Item = (StripeId, PeerId)> {
        self.children.iter().flat_map(|(stripe, children)| {
            children.peers.iter().map(move |child| (*stripe, *child))
        })
    }

    /// The stripes in which it has children.
    pub(super) fn relayed(&self) -> StripeSet {
        self.children.keys().copied().collect()
    }

    pub(super) fn has_failed(&self, peer: PeerId) -> bool {
        self.failed.iter().any(|(other, _)| *other == peer)
    }

    /// Whether it has only its reserve left.
    pub(super) fn is_full(&self, reserve: f64) -> bool {
        self.free() as f64 <= self.slots as f64 * reserve
    }

    /// The stripes in which it has children that relay nothing of them.
    fn leafy(&self) -> impl Iterator<Item = StripeId> {
        let leafy = self.children.iter().filter(|(_, below)| below.leaves > 0);
        leafy.map(|(stripe, _)| *stripe)
    }

    /// Hops from a seeder in a stripe that it relays or has children in.
    fn depth(&self, stripe: StripeId) -> Option<usize> {
        if self.seeder {
            return Some(0);
        }
        self.depths.get(&stripe).copied()
    }

    fn carries(&self, stripe: StripeId) -> bool {
        self.interior.contains(stripe) || self.children.contains_key(&stripe)
    }
}

impl Forest {
    pub(super) fn insert(&mut self, peer: PeerId, seeder: bool, slots: usize) {
        self.remove(peer);
        let node = Node {
            seeder,
            slots,
            ..Node::default()
        };
        self.index.put(peer, &node, self.reserve);
        self.nodes.insert(peer, node);
        self.touch(peer);
    }

    /// Takes a peer out. Those it fed lack a parent then.
    pub(super) fn remove(&mut self, peer: PeerId) {
        let Some(node) = self.nodes.get(&peer) else {
            return;
        };
        let above: Vec<StripeId> = node.parents.keys().copied().collect();
        let below: Vec<(StripeId, PeerId)> = node.edges().collect();
        for stripe in above {
            self.unlink(peer, stripe);
        }
        for (stripe, child) in below {
            self.unlink(child, stripe);
        }
        if let Some(node) = self.nodes.remove(&peer) {
            self.index.take(peer, &node, self.reserve);
        }
        self.touched.remove(&peer);
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<&Node> {
        self.nodes.get(&peer)
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn viewers(&self) -> impl Iterator<Item = (PeerId, &Node)> {
        let nodes = self.nodes.iter().filter(|(_, node)| !node.seeder);
        nodes.map(|(peer, node)| (*peer, node))
    }

    /// Viewers in order of names, from this one on and around.
    pub(super) fn viewers_from(&self, from: PeerId) -> impl Iterator<Item = (PeerId, &Node)> {
        let around = self.nodes.range(from..).chain(self.nodes.range(..from));
        around
            .filter(|(_, node)| !node.seeder)
            .map(|(peer, node)| (*peer, node))
    }

    pub(super) fn seeders(&self) -> impl Iterator<Item = (PeerId, &Node)> {
        let seeders = self.index.seeders.iter();
        seeders.filter_map(|peer| Some((*peer, self.nodes.get(peer)?)))
    }

    pub(super) fn misplaced(&self) -> &BTreeSet<(PeerId, StripeId, PeerId)> {
        &self.misplaced
    }

    pub(super) fn reserve(&self) -> f64 {
        self.reserve
    }

    /// What share of everyone's slots is kept free while others have room.
    pub(super) fn set_reserve(&mut self, reserve: f64) {
        if reserve == self.reserve {
            return;
        }
        self.reserve = reserve;
        self.index = Index::default();
        for (peer, node) in &self.nodes {
            self.index.put(*peer, node, reserve);
        }
    }

    /// Takes up to so many viewers whose place has changed, in order of names.
    pub(super) fn take_touched(&mut self, most: usize) -> Vec<PeerId> {
        let some: Vec<PeerId> = self.touched.iter().take(most).copied().collect();
        for peer in &some {
            self.touched.remove(peer);
        }
        some
    }

    /// A viewer's place is to be looked at.
    pub(super) fn touch(&mut self, peer: PeerId) {
        if self.nodes.get(&peer).is_some_and(|node| !node.seeder) {
            self.touched.insert(peer);
        }
    }

    pub(super) fn set_slots(&mut self, peer: PeerId, slots: usize) {
        self.change(peer, |node| node.slots = slots);
        self.touch(peer);
    }

    /// A peer may be gone, or is there after all.
    pub(super) fn set_suspect(&mut self, peer: PeerId, suspect: bool) {
        self.change(peer, |node| node.suspect = suspect);
    }

    /// Notes when a peer was told where to get a stripe.
    pub(super) fn set_told(&mut self, peer: PeerId, stripe: StripeId, at: Instant) {
        if let Some(node) = self.nodes.get_mut(&peer) {
            node.told.insert(stripe, at);
        }
    }

    /// Which stripes a peer is to relay.
    pub(super) fn set_interior(&mut self, peer: PeerId, interior: StripeSet) {
        let Some(node) = self.nodes.get(&peer) else {
            return;
        };
        let was = node.interior;
        self.change(peer, |node| node.interior = interior);
        for stripe in was.or(interior).without(was.and(interior)).iter() {
            let relays = interior.contains(stripe);
            let node = self.nodes.get(&peer);
            let parent = node.and_then(|node| node.parent(stripe));
            if let Some(parent) = parent {
                self.change(parent, |above| {
                    if let Some(children) = above.children.get_mut(&stripe) {
                        children.leaves = if relays {
                            children.leaves.saturating_sub(1)
                        } else {
                            children.leaves + 1
                        };
                    }
                });
                self.judge(parent, stripe, peer);
            }
            let node = self.nodes.get(&peer);
            let children = node.map_or_else(Vec::new, |node| node.children(stripe).to_vec());
            for child in children {
                self.judge(peer, stripe, child);
            }
            self.refresh_depth(peer, stripe);
        }
        self.touch(peer);
    }

    /// A peer is to relay a stripe besides, or no longer.
    pub(super) fn set_relays(&mut self, peer: PeerId, stripe: StripeId, relays: bool) {
        let Some(mut interior) = self.nodes.get(&peer).map(|node| node.interior) else {
            return;
        };
        let news = if relays {
            interior.insert(stripe)
        } else {
            interior.remove(stripe)
        };
        if news {
            self.set_interior(peer, interior);
        }
    }

    /// Plans an edge, in the place of the one before; none where it would close a cycle.
    pub(super) fn link(&mut self, child: PeerId, stripe: StripeId, parent: PeerId) {
        self.unlink(child, stripe);
        let Some(node) = self.nodes.get(&child) else {
            return;
        };
        if !self.nodes.contains_key(&parent) || self.is_below(parent, child, stripe) {
            return;
        }
        let leaf = !node.interior.contains(stripe);
        self.change(parent, |above| {
            let children = above.children.entry(stripe).or_default();
            children.peers.push(child);
            children.leaves += usize::from(leaf);
            above.used += 1;
        });
        if let Some(node) = self.nodes.get_mut(&child) {
            node.parents.insert(stripe, parent);
            node.held.insert(stripe);
        }
        self.refresh_depth(parent, stripe);
        self.refresh_depth(child, stripe);
        self.judge(parent, stripe, child);
    }

    /// Takes an edge out; whose it was.
    pub(super) fn unlink(&mut self, child: PeerId, stripe: StripeId) -> Option<PeerId> {
        let node = self.nodes.get_mut(&child)?;
        let parent = node.parents.remove(&stripe)?;
        node.held.remove(stripe);
        let leaf = !node.interior.contains(stripe);
        self.misplaced.remove(&(parent, stripe, child));
        self.change(parent, |above| {
            let Some(children) = above.children.get_mut(&stripe) else {
                return;
            };
            let Some(index) = children.peers.iter().position(|other| *other == child) else {
                return;
            };
            children.peers.remove(index);
            children.leaves -= usize::from(leaf);
            above.used -= 1;
            if children.peers.is_empty() {
                above.children.remove(&stripe);
            }
        });
        self.refresh_depth(child, stripe);
        self.refresh_depth(parent, stripe);
        self.touch(child);
        Some(parent)
    }

    /// Remembers that this did not work, for a while.
    pub(super) fn note_failure(&mut self, child: PeerId, parent: PeerId, until: Instant) {
        let Some(node) = self.nodes.get_mut(&child) else {
            return;
        };
        if let Some((_, known)) = node.failed.iter_mut().find(|(peer, _)| *peer == parent) {
            *known = until.max(*known);
            return;
        }
        if node.failed.len() == MAX_FAILED {
            node.failed.remove(0);
        }
        node.failed.push((parent, until));
    }

    /// Forgets a peer's failures that are long enough ago.
    pub(super) fn forgive(&mut self, peer: PeerId, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&peer) {
            node.failed.retain(|(_, until)| *until > now);
        }
    }

    /// Hops from a seeder; `None` when the way up ends elsewhere.
    pub(super) fn depth(&self, peer: PeerId, stripe: StripeId) -> Option<usize> {
        let node = self.nodes.get(&peer)?;
        if node.seeder || node.carries(stripe) {
            return node.depth(stripe);
        }
        let above = self.nodes.get(&node.parent(stripe)?)?;
        above.depth(stripe).map(|depth| depth + 1)
    }

    /// Whether `peer` is `ancestor` or below it in a stripe.
    pub(super) fn is_below(&self, peer: PeerId, ancestor: PeerId, stripe: StripeId) -> bool {
        let mut at = Some(peer);
        while let Some(found) = at {
            if found == ancestor {
                return true;
            }
            at = self.nodes.get(&found).and_then(|node| node.parent(stripe));
        }
        false
    }

    /// Brings up to date how far a peer is from a seeder, and all that is below it.
    fn refresh_depth(&mut self, peer: PeerId, stripe: StripeId) {
        let mut waiting = vec![peer];
        while let Some(peer) = waiting.pop() {
            let Some(node) = self.nodes.get(&peer).filter(|node| !node.seeder) else {
                continue;
            };
            let above = node.parent(stripe).filter(|_| node.carries(stripe));
            let above = above.and_then(|above| self.nodes.get(&above)?.depth(stripe));
            let depth = above.map(|above| above + 1);
            if node.depth(stripe) == depth {
                continue;
            }
            waiting.extend(node.children(stripe));
            self.change(peer, |node| {
                match depth {
                    Some(depth) => node.depths.insert(stripe, depth),
                    None => node.depths.remove(&stripe),
                };
            });
        }
    }

    /// Notes whether an edge is where it belongs.
    fn judge(&mut self, parent: PeerId, stripe: StripeId, child: PeerId) {
        let (Some(above), Some(below)) = (self.nodes.get(&parent), self.nodes.get(&child)) else {
            return;
        };
        let relays = if above.seeder { below } else { above };
        let edge = (parent, stripe, child);
        if relays.interior.contains(stripe) {
            self.misplaced.remove(&edge);
        } else {
            self.misplaced.insert(edge);
        }
    }

    /// Changes a node, and what is kept at hand of it.
    fn change(&mut self, peer: PeerId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&peer) {
            self.index.take(peer, node, self.reserve);
            change(node);
            self.index.put(peer, node, self.reserve);
        }
    }
}

#[cfg(test)]
mod tests;

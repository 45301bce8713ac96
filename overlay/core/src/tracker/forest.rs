//! The forest: one tree per stripe, rooted at the seeders. Only what is planned stands
//! here; the peers report whether it came true.

use std::collections::BTreeMap;

use crate::{Instant, PeerId, StripeId, StripeSet};

/// Pairs that failed are remembered per child, so many.
const MAX_FAILED: usize = 16;

/// The trees of all stripes.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: BTreeMap<PeerId, Node>,
}

/// A peer's place in all trees.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Ours: the root of every tree.
    pub(super) seeder: bool,
    /// Edges its uplink carries.
    pub(super) slots: usize,
    /// The stripes it is to relay.
    pub(super) interior: StripeSet,
    parents: BTreeMap<StripeId, PeerId>,
    children: BTreeMap<StripeId, Vec<PeerId>>,
    used: usize,
    /// Peers that could not be its parents, and until when not to try them; the latest last.
    failed: Vec<(PeerId, Instant)>,
    /// When it was last told where to get each stripe.
    pub(super) told: BTreeMap<StripeId, Instant>,
}

impl Node {
    pub(super) fn free(&self) -> usize {
        self.slots.saturating_sub(self.used)
    }

    pub(super) fn held(&self) -> StripeSet {
        self.parents.keys().copied().collect()
    }

    pub(super) fn parent(&self, stripe: StripeId) -> Option<PeerId> {
        self.parents.get(&stripe).copied()
    }

    pub(super) fn parents(&self) -> impl Iterator<Item = (StripeId, PeerId)> {
        self.parents.iter().map(|(stripe, peer)| (*stripe, *peer))
    }

    pub(super) fn children(&self, stripe: StripeId) -> &[PeerId] {
        self.children.get(&stripe).map_or(&[], Vec::as_slice)
    }

    /// The stripes in which it has children.
    pub(super) fn relayed(&self) -> StripeSet {
        self.children.keys().copied().collect()
    }

    pub(super) fn has_failed(&self, peer: PeerId) -> bool {
        self.failed.iter().any(|(other, _)| *other == peer)
    }
}

impl Forest {
    pub(super) fn insert(&mut self, peer: PeerId, seeder: bool, slots: usize) {
        let node = Node {
            seeder,
            slots,
            ..Node::default()
        };
        self.nodes.insert(peer, node);
    }

    /// Takes a peer out. Returns who lost a parent, by stripe.
    pub(super) fn remove(&mut self, peer: PeerId) -> Vec<(StripeId, PeerId)> {
        let Some(node) = self.nodes.remove(&peer) else {
            return Vec::new();
        };
        for (stripe, parent) in node.parents {
            self.forget_child(parent, peer, stripe);
        }
        let mut orphans = Vec::new();
        for (stripe, children) in node.children {
            for child in children {
                if let Some(child) = self.nodes.get_mut(&child) {
                    child.parents.remove(&stripe);
                }
                orphans.push((stripe, child));
            }
        }
        orphans
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<&Node> {
        self.nodes.get(&peer)
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Node> {
        self.nodes.get_mut(&peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Node)> {
        self.nodes.iter().map(|(peer, node)| (*peer, node))
    }

    pub(super) fn seeders(&self) -> impl Iterator<Item = (PeerId, &Node)> {
        self.iter().filter(|(_, node)| node.seeder)
    }

    /// Plans an edge, in the place of the one before.
    pub(super) fn link(&mut self, child: PeerId, stripe: StripeId, parent: PeerId) {
        self.unlink(child, stripe);
        if !self.nodes.contains_key(&child) {
            return;
        }
        let Some(above) = self.nodes.get_mut(&parent) else {
            return;
        };
        above.children.entry(stripe).or_default().push(child);
        above.used += 1;
        if let Some(node) = self.nodes.get_mut(&child) {
            node.parents.insert(stripe, parent);
        }
    }

    /// Takes an edge out; whose it was.
    pub(super) fn unlink(&mut self, child: PeerId, stripe: StripeId) -> Option<PeerId> {
        let parent = self.nodes.get_mut(&child)?.parents.remove(&stripe)?;
        self.forget_child(parent, child, stripe);
        Some(parent)
    }

    /// Remembers that this did not work, for a while.
    pub(super) fn note_failure(&mut self, child: PeerId, parent: PeerId, until: Instant) {
        if let Some(node) = self.nodes.get_mut(&child) {
            if let Some((_, known)) = node.failed.iter_mut().find(|(peer, _)| *peer == parent) {
                *known = until.max(*known);
                return;
            }
            if node.failed.len() == MAX_FAILED {
                node.failed.remove(0);
            }
            node.failed.push((parent, until));
        }
    }

    /// Forgets failures that are long enough ago.
    pub(super) fn forgive(&mut self, now: Instant) {
        for node in self.nodes.values_mut() {
            node.failed.retain(|(_, until)| *until > now);
        }
    }

    /// Hops from a seeder; `None` when the way up ends elsewhere.
    pub(super) fn depth(&self, peer: PeerId, stripe: StripeId) -> Option<usize> {
        let mut depth = 0;
        let mut at = peer;
        while !self.nodes.get(&at)?.seeder {
            at = self.nodes.get(&at)?.parent(stripe)?;
            depth += 1;
            // More hops than peers: a cycle, which `is_below` keeps out.
            if depth > self.nodes.len() {
                return None;
            }
        }
        Some(depth)
    }

    /// Whether `peer` is `ancestor` or below it in a stripe.
    pub(super) fn is_below(&self, peer: PeerId, ancestor: PeerId, stripe: StripeId) -> bool {
        let mut at = Some(peer);
        for _ in 0..=self.nodes.len() {
            match at {
                Some(found) if found == ancestor => return true,
                Some(found) => at = self.nodes.get(&found).and_then(|node| node.parent(stripe)),
                None => return false,
            }
        }
        false
    }

    fn forget_child(&mut self, parent: PeerId, child: PeerId, stripe: StripeId) {
        let Some(above) = self.nodes.get_mut(&parent) else {
            return;
        };
        if let Some(list) = above.children.get_mut(&stripe)
            && let Some(index) = list.iter().position(|other| *other == child)
        {
            list.remove(index);
            above.used -= 1;
            if list.is_empty() {
                above.children.remove(&stripe);
            }
        }
    }
}

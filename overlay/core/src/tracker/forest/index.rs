//! What is asked of the forest at every step, kept at hand: who has room in a stripe, nearest
//! to the root first; how much room there is; who does what it should not.
//!
//! The one rule: a node is taken out as it was put in, so that nothing is ever left behind.

use std::collections::BTreeSet;

use super::Node;
use crate::{PeerId, StripeId};

/// Slots beside which a peer is a leaf everywhere.
pub(in crate::tracker) const MIN_SLOTS: usize = 2;
/// Stripes a peer relays at most in the long run: its departure costs its descendants no
/// more than these (overlay design, "children in one stripe, a strong one in two or three").
pub(in crate::tracker) const MAX_INTERIOR: usize = 3;

/// All that is kept at hand.
#[derive(Debug, PartialEq)]
pub(in crate::tracker) struct Index {
    stripes: Vec<Stripe>,
    pub(in crate::tracker) seeders: BTreeSet<PeerId>,
    pub(in crate::tracker) viewers: usize,
    /// Slots of all, seeders included.
    pub(in crate::tracker) supply: usize,
    /// Viewers with slots enough to relay anything,
    pub(in crate::tracker) sharers: usize,
    /// and those among them that are to relay nothing yet.
    pub(in crate::tracker) idle: BTreeSet<PeerId>,
    /// Viewers that have less left than they are to keep.
    pub(in crate::tracker) crowded: BTreeSet<PeerId>,
    /// Viewers that relay more stripes than they should.
    pub(in crate::tracker) overloaded: BTreeSet<PeerId>,
    /// Viewers with room: stripes they relay, free slots from [`most_first`], name.
    pub(in crate::tracker) spare: BTreeSet<(usize, usize, PeerId)>,
}

/// One stripe's.
#[derive(Debug, Default, PartialEq)]
pub(in crate::tracker) struct Stripe {
    /// Relays with a way up and room: whether only their reserve is left, hops from a seeder,
    /// free slots from [`most_first`], name.
    pub(in crate::tracker) open: BTreeSet<(bool, usize, usize, PeerId)>,
    /// The same by name.
    pub(in crate::tracker) roomy: BTreeSet<PeerId>,
    /// All relays: free slots from [`most_first`], name.
    pub(in crate::tracker) relays: BTreeSet<(usize, PeerId)>,
    /// Who feeds somebody that relays it not: hops from a seeder, name.
    pub(in crate::tracker) leaves: BTreeSet<(usize, PeerId)>,
    /// Free slots of all relays.
    pub(in crate::tracker) room: usize,
    /// Their slots, those of who relays several shared out evenly.
    pub(in crate::tracker) supply: usize,
}

/// Turns a number of free slots into one that sorts the largest first.
pub(in crate::tracker) fn most_first(free: usize) -> usize {
    usize::MAX - free
}

impl Default for Index {
    fn default() -> Self {
        let stripes = (0..StripeId::MAX).map(|_| Stripe::default());
        Self {
            stripes: stripes.collect(),
            seeders: BTreeSet::new(),
            viewers: 0,
            supply: 0,
            sharers: 0,
            idle: BTreeSet::new(),
            crowded: BTreeSet::new(),
            overloaded: BTreeSet::new(),
            spare: BTreeSet::new(),
        }
    }
}

impl Index {
    pub(in crate::tracker) fn stripe(&self, stripe: StripeId) -> &Stripe {
        &self.stripes[stripe.index()]
    }

    pub(super) fn put(&mut self, peer: PeerId, node: &Node, reserve: f64) {
        self.apply::<true>(peer, node, reserve);
    }

    pub(super) fn take(&mut self, peer: PeerId, node: &Node, reserve: f64) {
        self.apply::<false>(peer, node, reserve);
    }

    fn apply<const THERE: bool>(&mut self, peer: PeerId, node: &Node, reserve: f64) {
        let (slots, free) = (node.slots, node.free());
        count::<THERE>(&mut self.supply, slots);
        for stripe in node.leafy() {
            if let Some(depth) = node.depth(stripe) {
                set::<THERE, _>(&mut self.stripes[stripe.index()].leaves, (depth, peer));
            }
        }
        if node.seeder {
            set::<THERE, _>(&mut self.seeders, peer);
            return;
        }
        count::<THERE>(&mut self.viewers, 1);
        let relayed = node.interior.len();
        if slots >= MIN_SLOTS {
            count::<THERE>(&mut self.sharers, 1);
            if relayed == 0 {
                set::<THERE, _>(&mut self.idle, peer);
            }
        }
        if relayed > MAX_INTERIOR {
            set::<THERE, _>(&mut self.overloaded, peer);
        }
        // One free slot at least, since without any at a stripe's relays nothing can be moved to
        // where it belongs. Who may be gone is not relieved: it is gone, or has room after all.
        let keeps = (slots as f64 * reserve).floor().max(1.0);
        if !node.suspect && slots > 0 && (free as f64) < keeps {
            set::<THERE, _>(&mut self.crowded, peer);
        }
        if free > 0 {
            set::<THERE, _>(&mut self.spare, (relayed, most_first(free), peer));
        }
        for stripe in node.interior.iter() {
            let at = &mut self.stripes[stripe.index()];
            count::<THERE>(&mut at.room, free);
            count::<THERE>(&mut at.supply, slots / relayed);
            set::<THERE, _>(&mut at.relays, (most_first(free), peer));
            if let Some(depth) = node.depth(stripe).filter(|_| free > 0) {
                let full = node.is_full(reserve);
                set::<THERE, _>(&mut at.roomy, peer);
                set::<THERE, _>(&mut at.open, (full, depth, most_first(free), peer));
            }
        }
    }
}

fn set<const THERE: bool, T: Ord>(of: &mut BTreeSet<T>, value: T) {
    if THERE {
        of.insert(value);
    } else {
        of.remove(&value);
    }
}

fn count<const THERE: bool>(to: &mut usize, more: usize) {
    if THERE {
        *to += more;
    } else {
        *to -= more;
    }
}

//! What peers already have when they come to a tracker that does not know them, because it
//! began anew or because the session of everybody broke: it is planned as it is.
//!
//! The one rule: a swarm that feeds itself is not planned anew because its tracker forgot it.

use std::{collections::BTreeMap, time::Duration};

use super::{Order, Placement};
use crate::{Instant, PeerId, StripeId, StripeSet};

/// Peers try again every 7 s at most, and connect within 2 s.
const WINDOW: Duration = Duration::from_secs(10);

/// Parents that peers brought along and that are not planned yet.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// When there was first anything to plan.
    began: Option<Instant>,
    /// The swarm was there before its tracker.
    expected: bool,
    claims: BTreeMap<PeerId, BTreeMap<StripeId, PeerId>>,
    /// Child and parent of what was taken over, until the tracker asks.
    met: Vec<(PeerId, PeerId)>,
}

impl Returns {
    /// Whether more peers are to be expected to return.
    pub(super) fn are_expected(&self, now: Instant) -> bool {
        let open = |began| now.since(began) < WINDOW;
        self.expected && self.began.is_none_or(open)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.claims.remove(&peer);
    }

    /// A peer lost what it claimed, if it was that.
    pub(super) fn drop_claim(&mut self, peer: PeerId, stripe: StripeId, parent: PeerId) -> bool {
        let claims = self.claims.get_mut(&peer);
        claims.is_some_and(|claims| {
            claims.get(&stripe) == Some(&parent) && claims.remove(&stripe).is_some()
        })
    }

    /// Whatever a peer claimed in a stripe is no more.
    pub(super) fn drop_claims(&mut self, peer: PeerId, stripe: StripeId) {
        if let Some(claims) = self.claims.get_mut(&peer) {
            claims.remove(&stripe);
        }
    }

    /// The stripes that a peer brought along and that are not planned yet.
    pub(super) fn claimed(&self, peer: PeerId) -> StripeSet {
        let claims = self.claims.get(&peer);
        claims.map_or(StripeSet::EMPTY, |claims| claims.keys().copied().collect())
    }
}

impl Placement {
    /// The swarm is older than what is known of it.
    pub(in crate::tracker) fn expect_returns(&mut self) {
        self.returns.expected = true;
    }

    /// A peer came, and has these parents.
    pub(in crate::tracker) fn on_return(
        &mut self,
        peer: PeerId,
        parents: BTreeMap<StripeId, PeerId>,
    ) {
        if !parents.is_empty() {
            self.returns.expected = true;
            self.returns.claims.insert(peer, parents);
        }
    }

    /// Whether a peer brought a parent in this stripe who is yet to return.
    pub(in crate::tracker) fn is_claimed(&self, peer: PeerId, stripe: StripeId) -> bool {
        self.returns.claimed(peer).contains(stripe)
    }

    /// Child and parent of every edge that was taken over since this was last asked: the
    /// tracker never named one to the other, and they know each other all the same.
    pub(in crate::tracker) fn take_met(&mut self) -> Vec<(PeerId, PeerId)> {
        std::mem::take(&mut self.returns.met)
    }

    /// Takes over what peers brought; while others are to be expected, only brings what
    /// decodes to those who lack it. Whether that is all for now.
    pub(super) fn take_over(&mut self, orders: &mut Vec<Order>) -> bool {
        self.returns.began.get_or_insert(self.now);
        let expected = self.returns.are_expected(self.now);
        for (peer, claims) in std::mem::take(&mut self.returns.claims) {
            let mut open = BTreeMap::new();
            for (stripe, parent) in claims {
                let failed = self
                    .forest
                    .get(peer)
                    .is_some_and(|node| node.has_failed(parent));
                if self.forest.get(parent).is_none() {
                    open.insert(stripe, parent);
                } else if !failed {
                    self.adopt(peer, stripe, parent, expected);
                }
            }
            if expected && !open.is_empty() {
                self.returns.claims.insert(peer, open);
            }
        }
        if expected {
            for peer in self.due() {
                self.fill(peer, self.k, orders);
            }
        }
        expected
    }

    /// Plans an edge that there is. `relays`: the parent's own word that it relays may be
    /// lost, so that its children's is taken for it, and that they know each other.
    pub(super) fn adopt(&mut self, peer: PeerId, stripe: StripeId, parent: PeerId, relays: bool) {
        let planned = self.parent(peer, stripe);
        if self.forest.get(peer).is_none() || planned == Some(parent) {
            return;
        }
        let carries = self.forest.get(parent).is_some_and(|above| {
            above.free() > 0 && (above.seeder || relays || above.interior().contains(stripe))
        });
        if stripe.get() >= self.n || !carries || self.forest.is_below(parent, peer, stripe) {
            return;
        }
        self.forest.link(peer, stripe, parent);
        if relays {
            self.returns.met.push((peer, parent));
        }
        if self.forest.get(parent).is_some_and(|above| !above.seeder) {
            self.forest.set_relays(parent, stripe, true);
        }
    }
}

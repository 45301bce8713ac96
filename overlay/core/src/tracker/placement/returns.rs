//! What peers already have when they come to a tracker that does not know them, because it
//! began anew or because their session broke: it is taken over as it is.
//!
//! The one rule: a swarm that feeds itself is not planned anew because its tracker forgot it.

use std::{collections::BTreeMap, time::Duration};

use super::{Order, Placement};
use crate::{Instant, PeerId, StripeId, StripeSet};

/// After a tracker's return everyone is there within this: peers try again every 7 s at most.
const RETURN: Duration = Duration::from_secs(8);

/// Parents that peers brought along and that are not planned yet.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// When the first peer of all came.
    began: Option<Instant>,
    /// Somebody had parents then already.
    returning: bool,
    claims: BTreeMap<PeerId, BTreeMap<StripeId, PeerId>>,
}

impl Returns {
    /// Whether others with parents of their own are still to be expected.
    fn last(&self, now: Instant) -> bool {
        self.returning && self.began.is_some_and(|began| now.since(began) < RETURN)
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
    /// A peer came, and has these parents.
    pub(in crate::tracker) fn on_return(
        &mut self,
        now: Instant,
        peer: PeerId,
        parents: BTreeMap<StripeId, PeerId>,
    ) {
        self.returns.began.get_or_insert(now);
        if !parents.is_empty() {
            let began = self.returns.began;
            self.returns.returning |= began.is_some_and(|began| now.since(began) < RETURN);
            self.returns.claims.insert(peer, parents);
        }
    }

    /// Whether a peer brought a parent in this stripe who is yet to return.
    pub(in crate::tracker) fn is_claimed(&self, peer: PeerId, stripe: StripeId) -> bool {
        self.returns.claimed(peer).contains(stripe)
    }

    /// Takes over what came true; while others are to be expected, only brings what decodes
    /// to those who lack it. Whether that is all for now.
    pub(super) fn take_over(&mut self, orders: &mut Vec<Order>) -> bool {
        let returning = self.returns.last(self.now);
        for (peer, claims) in std::mem::take(&mut self.returns.claims) {
            let mut open = BTreeMap::new();
            for (stripe, parent) in claims {
                if self.forest.get(parent).is_none() {
                    open.insert(stripe, parent);
                } else {
                    self.adopt(peer, stripe, parent, returning);
                }
            }
            if returning && !open.is_empty() {
                self.returns.claims.insert(peer, open);
            }
        }
        if returning {
            let viewers: Vec<PeerId> = self.viewers().map(|(peer, _)| peer).collect();
            for peer in viewers {
                self.fill(peer, self.k, orders);
            }
        }
        returning
    }

    /// Plans an edge that there is. `returning`: the parent's own claim to relay may be lost,
    /// so that its children's word is taken for it.
    pub(super) fn adopt(
        &mut self,
        peer: PeerId,
        stripe: StripeId,
        parent: PeerId,
        returning: bool,
    ) {
        let Some(node) = self.forest.get(peer) else {
            return;
        };
        if node.parent(stripe).is_some_and(|planned| planned == parent) || node.has_failed(parent) {
            return;
        }
        let carries = self.forest.get(parent).is_some_and(|above| {
            above.free() > 0 && (above.seeder || returning || above.interior.contains(stripe))
        });
        if stripe.get() >= self.n || !carries || self.forest.is_below(parent, peer, stripe) {
            return;
        }
        self.forest.link(peer, stripe, parent);
        if let Some(above) = self.forest.get_mut(parent).filter(|above| !above.seeder) {
            above.interior.insert(stripe);
        }
    }
}

//! Links between peers that the tracker does not bring together: neighbours tell of each
//! other, and carry what two who have no link yet must say to make one.
//!
//! The one rule: what neighbours say is no more than that. It is heard only while the tracker
//! is away, never of a peer that we know otherwise; and who was met so is not complained of,
//! since it may have had another's name.

use std::time::Duration;

use bytes::Bytes;

use super::{Output, Peer, hearsay};
use crate::{
    PeerId, Scheme, StripeSet,
    tracker::Role,
    wire::{self, control},
};

/// While the tracker is away, one peer more is tried so often.
const SEEKS: Duration = Duration::from_secs(1);
/// So many neighbours are told of others each time: at 24, 2 kbit/s however many there are.
const MAX_HEARERS: usize = 24;
/// With fewer viewers linked, others are looked for even while nothing is missing.
const ENOUGH: usize = 12;

impl<S: Scheme> Peer<S> {
    /// What a link of ours has to say to a peer that there is no link to yet.
    pub(super) fn on_signal(&mut self, to: PeerId, payload: Bytes) {
        if self.tracker_up {
            self.tell(wire::to_tracker::Kind::Signal(wire::Signal {
                peer: to.0,
                payload,
                near: false,
            }));
            return;
        }
        let links = &self.links;
        let via = self.hearsay.via(to).find(|via| links.is_up(*via));
        if let Some(via) = via {
            self.hearsay.on_met(self.now, to, via);
        }
        if let Some(via) = via.filter(|_| payload.len() <= wire::MAX_CARRIED_LEN) {
            let carry = control::Carry {
                peer: to.0,
                payload,
            };
            self.send_control(via, control::Kind::Carry(carry));
        }
    }

    /// A neighbour has something for another neighbour.
    pub(super) fn on_carry(&mut self, from: PeerId, carry: control::Carry) {
        let now = self.now;
        let to = PeerId(carry.peer);
        let allowed = self
            .links
            .get_mut(from)
            .is_some_and(|link| link.may_carry(now));
        // However many bring something, nobody is sent more than one of them could bring.
        let welcome = |link: &mut super::links::Link| link.up && link.may_bring(now);
        if allowed && to != from && self.links.get_mut(to).is_some_and(welcome) {
            let carried = control::Carried {
                peer: from.0,
                payload: carry.payload,
            };
            self.send_control(to, control::Kind::Carried(carried));
        }
    }

    /// A neighbour brings something of a peer that it knows. Names of seeders, and of those
    /// whom we know ourselves, are not taken from others.
    pub(super) fn on_carried(&mut self, via: PeerId, carried: control::Carried) {
        let now = self.now;
        let from = PeerId(carried.peer);
        let ours = from == self.config.peer
            || (self.links.is_known(from) && !self.hearsay.has_met(from))
            || self.links.is_up(from)
            || self.links.is_seeder(from)
            || self.links.is_banned(from);
        if self.tracker_up || self.no_sharing || !self.hearsay.may_meet(now, from, via) {
            return;
        }
        let allowed = self
            .links
            .get_mut(via)
            .is_some_and(|link| link.may_carry(now));
        if ours || !allowed {
            return;
        }
        self.hearsay.on_carried(now, from, via);
        self.hearsay.on_met(now, from, via);
        self.outputs.push_back(Output::Signal {
            from,
            payload: carried.payload,
            near: false,
        });
    }

    pub(super) fn on_know(&mut self, from: PeerId, know: &control::Know) {
        let now = self.now;
        if self
            .links
            .get_mut(from)
            .is_some_and(|link| link.may_tell_of_others(now, hearsay::TELLS / 2))
        {
            self.hearsay.on_know(now, from, know);
        }
    }

    /// The tracker is back and names who is who: of those who were met without it, only links
    /// that carry something are kept. Another may have come by such a name.
    pub(super) fn part_from_the_met(&mut self) {
        let feeding: Vec<PeerId> = self.parents.delivering().map(|(_, peer)| peer).collect();
        let useless =
            |peer: &PeerId| !feeding.contains(peer) && self.children.stripes_of(*peer).is_empty();
        let useless: Vec<PeerId> = self.hearsay.met().filter(useless).collect();
        for peer in useless {
            if self.links.is_known(peer) {
                self.outputs.push_back(Output::Disconnect(peer));
            }
            self.on_link_down(peer);
        }
    }

    /// Tells neighbours of each other now and then, and looks for others when the tracker
    /// does not bring them.
    pub(super) fn look_around(&mut self) {
        if self.now >= self.next_know {
            let spread = hearsay::TELLS.mul_f64(0.75 + self.random.unit() / 2.0);
            self.next_know = self.now + spread;
            self.tell_whom_we_know();
        }
        let links = &self.links;
        self.hearsay
            .forget_unopened(self.now, |peer| links.is_known(peer));
        let alone = !self.tracker_up && !self.no_sharing && self.config.role == Role::Viewer;
        if alone && self.now >= self.next_seek {
            self.next_seek = self.now + SEEKS.mul_f64(0.75 + self.random.unit() / 2.0);
            self.seek();
        }
    }

    fn tell_whom_we_know(&mut self) {
        // Who shares nothing is no use, and may not want to be known.
        let shares = |link: &super::links::Link| {
            let have = link.have.as_ref();
            have.is_some_and(|(_, have)| have.spare_kbps > 0)
        };
        let viewers = self
            .links
            .up()
            .filter(|(peer, link)| !self.links.is_seeder(*peer) && shares(link));
        let known = viewers.map(|(peer, link)| control::Known {
            peer: peer.0,
            relays: link.have.as_ref().map_or(0, |(_, have)| have.relays),
            spare: link.have.as_ref().map_or(0, |(_, have)| have.spare),
        });
        let known: Vec<control::Known> = known.collect();
        if known.len() < 2 {
            return;
        }
        // Some of them each time: whoever is left out hears it from others.
        let first = self.random.below(known.len() as u64) as usize;
        let told = known.iter().cycle().skip(first).take(known.len());
        for to in told.take(MAX_HEARERS).map(|known| PeerId(known.peer)) {
            // Some of them in a row, from anywhere in it.
            let begin = self.random.below(known.len() as u64) as usize;
            let others = known.iter().cycle().skip(begin).take(known.len());
            let others = others.filter(|other| other.peer != to.0);
            let peers = others.take(hearsay::MAX_TOLD).copied().collect();
            self.send_control(to, control::Kind::Know(control::Know { peers }));
        }
    }

    fn seek(&mut self) {
        let links = &self.links;
        let missing = |stripe: &crate::StripeId| {
            let below = self.children.of(*stripe);
            links.relays(*stripe, below, links.seeders()).is_empty()
        };
        let wanted: StripeSet = self.parents.orphans().filter(missing).collect();
        let few = links
            .up()
            .filter(|(peer, _)| !links.is_seeder(*peer))
            .count()
            < ENOUGH;
        if !few && wanted == StripeSet::default() {
            return;
        }
        let own = self.config.peer;
        let not_new = |peer| peer == own || links.is_known(peer) || links.is_banned(peer);
        if let Some(peer) = self.hearsay.next(self.now, wanted, not_new) {
            self.connect(peer);
        }
    }
}

//! Who is in a swarm.

use std::collections::{BTreeMap, BTreeSet};

use super::{Role, SessionId};
use crate::{Instant, PeerId, Random, wire};

/// Share of an uplink that pieces may fill: the rest is control, repair and what the
/// estimate misses.
const USE: f64 = 0.92;
/// The same for a seeder, which rescues and begins everything besides.
const SEEDER_USE: f64 = 0.89;
/// The same where it would otherwise be too little for one copy.
const SEEDER_MOST: f64 = 0.96;
/// What framing adds to a piece (measured on loopback: 8 to 12 % with DTLS, SCTP and UDP).
const FRAMING: f64 = 1.11;
/// Bits a second of control that every edge costs its parent, headers included.
const EDGE_CONTROL_BPS: f64 = 2_000.0;

/// Edges that one viewer carries at most, however little they cost: each child has a link to it,
/// and so has everyone who counts on it if another fails (`peer/links.rs`).
const MAX_EDGES: usize = 64;

/// A line that turns out so much better or worse is planned with anew.
const CAPACITY_CHANGE: f64 = 0.1;

/// All members.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<PeerId, Member>,
    seeders: BTreeSet<PeerId>,
    /// Viewers that may exchange pieces with others, in any order, and where each stands.
    sharing: Vec<PeerId>,
    places: BTreeMap<PeerId, usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) session: SessionId,
    /// When it last said anything.
    pub(super) heard: Instant,
    /// Taken out of the plan, since it is silent.
    pub(super) quiet: bool,
    /// Others blamed it: it relays nothing until then.
    pub(super) distrusted: Option<Instant>,
    pub(super) role: Role,
    /// What it offers, or what its line has turned out to carry.
    pub(super) upload_bps: u64,
    /// What it offers.
    pub(super) offered_bps: u64,
    /// The channel's policy lets it exchange pieces with other viewers.
    pub(super) may_share: bool,
    /// From where it comes.
    pub(super) origin: Option<u64>,
    /// It speaks when it is asked whether it is there,
    pub(super) answers_probes: bool,
    /// and was asked then, and has not spoken since.
    pub(super) probed: Option<Instant>,
    /// It did not, and was taken out of the plan for it then.
    pub(super) missed: Option<Instant>,
    /// Viewers that were named to it, as partners, parents or backups, or it to them.
    pub(super) partners: BTreeSet<PeerId>,
    /// It has reported.
    pub(super) reported: bool,
    /// Its start-up time is in the tally.
    pub(super) counted_startup: bool,
    /// Its last report.
    pub(super) status: wire::Status,
}

impl Member {
    pub(super) fn is_seeder(&self) -> bool {
        self.role == Role::Seeder
    }

    /// Edges its uplink carries in a broadcast.
    pub(super) fn slots(&self, stream: &wire::Stream) -> usize {
        if self.distrusted.is_some() {
            return 0;
        }
        let stripe_bps = stream.rate_bps as f64 / f64::from(stream.k.max(1));
        let edge_bps = stripe_bps * FRAMING + EDGE_CONTROL_BPS;
        let slots = |share: f64| (self.upload_bps as f64 * share / edge_bps.max(1.0)) as usize;
        match self.role {
            // Whoever cannot root k stripes roots no broadcast: then the reserve serves too.
            Role::Seeder => slots(SEEDER_USE).max(slots(SEEDER_MOST).min(stream.k as usize)),
            Role::Viewer => slots(USE).min(MAX_EDGES),
        }
    }
}

impl Member {
    /// It says what it can send. Whether that is news: it is never more than was offered.
    pub(super) fn on_capacity(&mut self, capacity_bps: u64) -> bool {
        let capacity = capacity_bps.min(self.offered_bps);
        let change = capacity.abs_diff(self.upload_bps) as f64;
        let news = capacity_bps > 0 && change > self.upload_bps as f64 * CAPACITY_CHANGE;
        if news {
            self.upload_bps = capacity;
        }
        news
    }
}

impl Members {
    pub(super) fn insert(&mut self, peer: PeerId, member: Member) {
        if member.is_seeder() {
            self.seeders.insert(peer);
        } else if member.may_share && !self.places.contains_key(&peer) {
            self.places.insert(peer, self.sharing.len());
            self.sharing.push(peer);
        }
        self.members.insert(peer, member);
    }

    pub(super) fn remove(&mut self, peer: PeerId) -> Option<Member> {
        let member = self.members.remove(&peer)?;
        for partner in &member.partners {
            if let Some(partner) = self.members.get_mut(partner) {
                partner.partners.remove(&peer);
            }
        }
        self.seeders.remove(&peer);
        if let Some(place) = self.places.remove(&peer) {
            self.sharing.swap_remove(place);
            if let Some(moved) = self.sharing.get(place) {
                self.places.insert(*moved, place);
            }
        }
        Some(member)
    }

    /// One viewer was named to another. Seeders are known to all.
    pub(super) fn note_met(&mut self, one: PeerId, other: PeerId) {
        let viewers = |peer| self.get(peer).is_some_and(|member| !member.is_seeder());
        if one == other || !viewers(one) || !viewers(other) {
            return;
        }
        for (peer, met) in [(one, other), (other, one)] {
            if let Some(member) = self.members.get_mut(&peer) {
                member.partners.insert(met);
            }
        }
    }

    /// Whether one was named to the other: a stranger's offer would make a peer show its
    /// addresses.
    pub(super) fn have_met(&self, one: PeerId, other: PeerId) -> bool {
        let (Some(a), Some(b)) = (self.get(one), self.get(other)) else {
            return false;
        };
        a.is_seeder() || b.is_seeder() || a.partners.contains(&other)
    }

    /// Some viewers that may exchange pieces, drawn at random, none twice and `but` not.
    pub(super) fn draw(&self, most: usize, but: PeerId, random: &mut Random) -> Vec<PeerId> {
        let mut drawn: Vec<PeerId> = Vec::new();
        let others = self.sharing.len() - usize::from(self.places.contains_key(&but));
        while drawn.len() < most.min(others) {
            let index = random.below(self.sharing.len() as u64) as usize;
            let peer = self.sharing[index];
            if peer != but && !drawn.contains(&peer) {
                drawn.push(peer);
            }
        }
        drawn
    }

    /// Up to so many viewers in order of names, from this one on and around.
    pub(super) fn viewers_from(
        &self,
        from: PeerId,
        most: usize,
    ) -> impl Iterator<Item = (PeerId, &Member)> {
        let around = self.members.range(from..).chain(self.members.range(..from));
        let around = around.map(|(peer, member)| (*peer, member));
        around.filter(|(_, member)| !member.is_seeder()).take(most)
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<&Member> {
        self.members.get(&peer)
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Member> {
        self.members.get_mut(&peer)
    }

    /// Takes everyone as just heard.
    pub(super) fn hear_all(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            member.heard = now;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Member)> {
        self.members.iter().map(|(peer, member)| (*peer, member))
    }

    pub(super) fn viewers(&self) -> impl Iterator<Item = (PeerId, &Member)> {
        self.iter().filter(|(_, member)| !member.is_seeder())
    }

    pub(super) fn seeders(&self) -> Vec<u64> {
        self.seeders.iter().map(|peer| peer.0).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

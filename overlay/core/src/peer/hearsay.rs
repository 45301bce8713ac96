//! Peers that neighbours tell of: with whom links are made while the tracker is away.
//!
//! The one rule: hearsay opens links and nothing more. A name that a neighbour gives may be
//! false; what a peer brings is checked as everybody's is.

use std::{collections::BTreeMap, time::Duration};

use crate::{Instant, PeerId, StripeSet, wire::control};

/// Peers remembered; the longest unheard of gives way.
const MAX_KNOWN: usize = 64;
/// Of them, so many that one neighbour alone told of: beyond, its own give way.
const MAX_KNOWN_BY_ONE: usize = 16;
/// Neighbours remembered that lead to one.
const MAX_VIA: usize = 3;
/// Told of so many at once, and no more are read: with thirty neighbours, 3 kbit/s.
pub(super) const MAX_TOLD: usize = 8;
/// Neighbours tell each other so often.
pub(super) const TELLS: Duration = Duration::from_secs(10);
/// What nobody has told again for so long is forgotten: four times missed.
const FORGOTTEN: Duration = Duration::from_secs(45);
/// A peer that was tried is not tried again for so long.
const TRIED: Duration = Duration::from_secs(30);
/// Links that one neighbour may bring, and all of them together.
const MAX_MET: usize = 4;
const MAX_MET_ALL: usize = 24;
/// A link is there by then, or does not come about.
const OPENS: Duration = Duration::from_secs(10);
/// A neighbour by way of whom a liar came brings nobody for so long.
const SHUNNED: Duration = Duration::from_secs(60);

/// Whom neighbours know.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    known: BTreeMap<PeerId, Known>,
    /// Links that were made, or are being made, by way of a neighbour, and since when.
    met: BTreeMap<PeerId, (PeerId, Instant)>,
    /// Neighbours that bring nobody until then.
    shunned: BTreeMap<PeerId, Instant>,
}

#[derive(Debug, Default)]
struct Known {
    relays: StripeSet,
    spare: u32,
    /// The neighbour that last told first.
    via: Vec<PeerId>,
    heard: Instant,
    tried: Option<Instant>,
}

impl Hearsay {
    /// A neighbour knows these.
    pub(super) fn on_know(&mut self, now: Instant, from: PeerId, know: &control::Know) {
        for peer in know.peers.iter().take(MAX_TOLD) {
            let known = self.note(now, PeerId(peer.peer), from);
            known.relays = StripeSet::from_bits(peer.relays);
            known.spare = peer.spare;
        }
    }

    /// A peer speaks by way of this neighbour.
    pub(super) fn on_carried(&mut self, now: Instant, from: PeerId, via: PeerId) {
        self.note(now, from, via);
    }

    /// A link is made by way of a neighbour.
    pub(super) fn on_met(&mut self, now: Instant, peer: PeerId, via: PeerId) {
        if self.may_meet(now, peer, via) {
            self.met.entry(peer).or_insert((via, now)).0 = via;
        }
    }

    /// Whether a neighbour may bring this peer.
    pub(super) fn may_meet(&self, now: Instant, peer: PeerId, via: PeerId) -> bool {
        if self.shunned.get(&via).is_some_and(|until| *until > now) {
            return false;
        }
        let brought = self.met.values().filter(|(by, _)| *by == via).count();
        self.has_met(peer) || (brought < MAX_MET && self.met.len() < MAX_MET_ALL)
    }

    /// Who was met so has lied. The name may be another's, and is not held against it; the
    /// neighbour that brought it brings nobody for a while.
    pub(super) fn on_lie(&mut self, now: Instant, peer: PeerId) {
        self.shunned.retain(|_, until| *until > now);
        if let Some((via, _)) = self.met.get(&peer) {
            self.shunned.insert(*via, now + SHUNNED);
        }
    }

    /// Forgets of whom no link came about.
    pub(super) fn forget_unopened(&mut self, now: Instant, linked: impl Fn(PeerId) -> bool) {
        self.met
            .retain(|peer, (_, since)| linked(*peer) || now.since(*since) < OPENS);
    }

    /// All that are known by neighbours' word only.
    pub(super) fn met(&self) -> impl Iterator<Item = PeerId> {
        self.met.keys().copied()
    }

    /// Whether the peer is known by a neighbour's word only.
    pub(super) fn has_met(&self, peer: PeerId) -> bool {
        self.met.contains_key(&peer)
    }

    /// A neighbour is gone: it leads nowhere.
    pub(super) fn on_link_down(&mut self, neighbour: PeerId) {
        self.met.remove(&neighbour);
        self.known.retain(|_, known| {
            known.via.retain(|via| *via != neighbour);
            !known.via.is_empty()
        });
    }

    /// The neighbours that know the peer, the likeliest first.
    pub(super) fn via(&self, peer: PeerId) -> impl Iterator<Item = PeerId> {
        let known = self.known.get(&peer);
        known
            .into_iter()
            .flat_map(|known| known.via.iter().copied())
    }

    /// The next to try: one that relays most of what is wanted and has room, if any does;
    /// else anybody, so that the view of the swarm goes on. None of the `linked`.
    pub(super) fn next(
        &mut self,
        now: Instant,
        wanted: StripeSet,
        linked: impl Fn(PeerId) -> bool,
    ) -> Option<PeerId> {
        self.known
            .retain(|_, known| now.since(known.heard) < FORGOTTEN);
        let fresh = |known: &Known| known.tried.is_none_or(|at| now.since(at) >= TRIED);
        let use_of = |known: &Known| match known.spare {
            0 => 0,
            _ => known.relays.and(wanted).len(),
        };
        let untried = self.known.iter_mut().filter(|(_, known)| fresh(known));
        let (peer, known) = untried
            .filter(|(peer, _)| !linked(**peer))
            .max_by_key(|(peer, known)| (use_of(known), **peer))?;
        known.tried = Some(now);
        Some(*peer)
    }

    fn note(&mut self, now: Instant, peer: PeerId, via: PeerId) -> &mut Known {
        if !self.known.contains_key(&peer) {
            let its_own = |known: &Known| known.via == [via];
            let many = self.known.values().filter(|known| its_own(known)).count();
            let many = many >= MAX_KNOWN_BY_ONE;
            let give_way = self
                .known
                .iter()
                .filter(|(_, known)| !many || its_own(known));
            let oldest = give_way.min_by_key(|(_, known)| known.heard);
            let full = many || self.known.len() == MAX_KNOWN;
            if let Some(oldest) = oldest.map(|(peer, _)| *peer).filter(|_| full) {
                self.known.remove(&oldest);
            }
        }
        let known = self.known.entry(peer).or_default();
        known.heard = now;
        known.via.retain(|other| *other != via);
        known.via.insert(0, via);
        known.via.truncate(MAX_VIA);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: PeerId = PeerId(1);
    const OTHER: PeerId = PeerId(2);

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    fn know(peers: &[(u64, u32, u32)]) -> control::Know {
        let peers = peers.iter().map(|(peer, relays, spare)| control::Known {
            peer: *peer,
            relays: *relays,
            spare: *spare,
        });
        control::Know {
            peers: peers.collect(),
        }
    }

    #[test]
    fn who_relays_what_is_wanted_is_tried_first_and_once() {
        let mut hearsay = Hearsay::default();
        hearsay.on_know(
            at(0),
            NEAR,
            &know(&[(7, 0b011, 0), (8, 0b001, 2), (9, 0b011, 1)]),
        );
        let wanted = StripeSet::from_bits(0b011);
        let mut next = |now| hearsay.next(at(now), wanted, |peer| peer == PeerId(7));
        assert_eq!(next(0), Some(PeerId(9)));
        assert_eq!(next(1), Some(PeerId(8)));
        assert_eq!(next(2), None);
        assert_eq!(next(30), Some(PeerId(9)));
        assert_eq!(next(50), None, "nobody has told of them again");
    }

    #[test]
    fn a_neighbour_that_is_gone_leads_nowhere() {
        let mut hearsay = Hearsay::default();
        hearsay.on_know(at(0), NEAR, &know(&[(7, 1, 1), (8, 1, 1)]));
        hearsay.on_carried(at(1), PeerId(7), OTHER);
        assert_eq!(hearsay.via(PeerId(7)).collect::<Vec<_>>(), [OTHER, NEAR]);
        hearsay.on_link_down(NEAR);
        assert_eq!(hearsay.via(PeerId(7)).collect::<Vec<_>>(), [OTHER]);
        assert_eq!(hearsay.via(PeerId(8)).count(), 0);
        assert_eq!(hearsay.known.len(), 1);
    }

    #[test]
    fn one_neighbour_brings_a_few_and_no_more() {
        let mut hearsay = Hearsay::default();
        for peer in 10..20 {
            hearsay.on_met(at(0), PeerId(peer), NEAR);
        }
        let may = |hearsay: &Hearsay, peer, via| hearsay.may_meet(at(1), PeerId(peer), via);
        assert_eq!(hearsay.met.len(), MAX_MET);
        assert!(may(&hearsay, 10, NEAR), "it was met already");
        assert!(!may(&hearsay, 19, NEAR));
        assert!(may(&hearsay, 19, OTHER));
        hearsay.on_link_down(PeerId(10));
        assert!(may(&hearsay, 19, NEAR));
    }

    #[test]
    fn of_whom_no_link_comes_about_nothing_is_kept() {
        let mut hearsay = Hearsay::default();
        for peer in 10..14 {
            hearsay.on_met(at(0), PeerId(peer), NEAR);
        }
        hearsay.forget_unopened(at(9), |_| false);
        assert_eq!(hearsay.met.len(), MAX_MET);
        hearsay.forget_unopened(at(10), |peer| peer == PeerId(11));
        assert_eq!(hearsay.met().collect::<Vec<_>>(), [PeerId(11)]);
    }

    #[test]
    fn who_brings_a_liar_brings_nobody_for_a_while() {
        let mut hearsay = Hearsay::default();
        hearsay.on_met(at(0), PeerId(10), NEAR);
        hearsay.on_lie(at(1), PeerId(10));
        hearsay.on_link_down(PeerId(10));
        assert!(!hearsay.may_meet(at(2), PeerId(11), NEAR));
        assert!(hearsay.may_meet(at(2), PeerId(11), OTHER));
        assert!(hearsay.may_meet(at(61), PeerId(11), NEAR));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut hearsay = Hearsay::default();
        for peer in 0..1000 {
            for via in 0..5 {
                hearsay.on_carried(at(peer), PeerId(peer), PeerId(via));
            }
        }
        assert_eq!(hearsay.known.len(), MAX_KNOWN);
        assert_eq!(hearsay.via(PeerId(999)).count(), MAX_VIA);
        assert_eq!(hearsay.via(PeerId(0)).count(), 0);
        let many: Vec<_> = (0..1000).map(|peer| (peer, 1, 1)).collect();
        let mut hearsay = Hearsay::default();
        hearsay.on_know(at(0), NEAR, &know(&many));
        assert_eq!(hearsay.known.len(), MAX_TOLD);
    }

    #[test]
    fn one_neighbour_does_not_make_what_others_told_forgotten() {
        let mut hearsay = Hearsay::default();
        hearsay.on_know(at(0), OTHER, &know(&[(7, 1, 1)]));
        for name in 0..20_u64 {
            let names = |index: u64| (100 + name * 8 + index, 1, 1);
            let invented: Vec<_> = (0..8).map(names).collect();
            hearsay.on_know(at(1), NEAR, &know(&invented));
        }
        assert_eq!(hearsay.known.len(), 1 + MAX_KNOWN_BY_ONE);
        assert!(hearsay.known.contains_key(&PeerId(7)));
    }
}

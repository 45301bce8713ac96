//! What the peer asks of others: headers it waits for, pieces that push did not bring, and
//! where playing can begin.

use std::time::Duration;

use super::{Peer, Phase, pull::View, window::Generation};
use crate::{
    PeerId, Scheme, StripeSet,
    tracker::Role,
    wire::control::{self, Kind},
};

/// A header is missed when a piece has waited for it so long.
const HEADER_PATIENCE: Duration = Duration::from_millis(40);
/// A newcomer lets its parents resend the newest generation for so long before it pulls.
const BACKFILL_PATIENCE: Duration = Duration::from_millis(400);
/// What a partner has is asked again after this, while the player waits to begin.
const HAVE_LIFE: Duration = Duration::from_millis(800);
/// What one has is told to all neighbours this often.
const HAVE_INTERVAL: Duration = Duration::from_secs(3);
/// Neighbours heard so lately need not be asked whether they are there.
const THERE: Duration = Duration::from_millis(200);
/// All of them are asked so often at most for the sake of parents that are often silent.
const ROUND: Duration = Duration::from_secs(1);
/// A header is asked for again after this.
const HEADER_REPEAT: Duration = Duration::from_millis(150);

impl<S: Scheme> Peer<S> {
    /// Asks the senders of pieces that wait for their header.
    pub(super) fn ask_for_headers(&mut self) {
        let now = self.now;
        let waiting: Vec<(u64, PeerId)> = self
            .window
            .range(..)
            .filter(|(_, generation)| {
                generation.header().is_none()
                    && now.since(generation.seen) >= HEADER_PATIENCE
                    && generation
                        .asked
                        .is_none_or(|at| now.since(at) >= HEADER_REPEAT)
            })
            .filter_map(|(sequence, generation)| {
                let senders: Vec<PeerId> = generation.held_from().collect();
                let index = (now.as_micros() / 50_000) as usize % senders.len().max(1);
                Some((sequence, *senders.get(index)?))
            })
            .collect();
        for (sequence, from) in waiting {
            if let Some(generation) = self.window.get_mut(sequence) {
                generation.asked = Some(now);
            }
            let request = control::HeaderRequest { sequence };
            self.send_control(from, Kind::HeaderRequest(request));
        }
    }

    /// Pulls what push did not bring.
    pub(super) fn ask_for_pieces(&mut self, starting: bool) {
        let from = self.playout.needs_from(self.now, &self.window, &self.clock);
        let newcomer = starting && self.playout.phase() == Phase::Starting;
        if newcomer {
            self.ask_what_partners_have();
        }
        let from = if newcomer {
            self.entry_of_partners(from)
        } else {
            from
        };
        let Some(from) = from else {
            return;
        };
        let view = View {
            window: &self.window,
            clock: &self.clock,
            links: &self.links,
            liveness: &self.liveness,
            from: from.max(self.window.floor()),
            starting,
            joined: self.playout.joined(),
            patient_until: self.backfilled_by(),
            healthy: self.parents.healthy(),
            n: self.rate.shape().map_or(20, |(_, n)| n),
            interval: self.rate.interval(),
            piece_len: self.rate.piece_len(),
        };
        let asks = self.pull.tick(self.now, &view, &mut self.random);
        for ask in asks {
            let pull = control::Pull {
                sequence: ask.sequence,
                stripes: ask.stripes.bits(),
                count: ask.count as u32,
                within_ms: ask.within.as_millis() as u32,
                header: ask.header,
                catch_up: ask.catch_up,
            };
            self.send_control(ask.to, Kind::Pull(pull));
        }
    }

    /// Until when the parents' backfill is waited for.
    pub(super) fn backfilled_by(&self) -> crate::Instant {
        let first = self
            .window
            .range(..)
            .map(|(_, generation)| generation.seen)
            .min();
        first.map_or(self.now, |first| first + BACKFILL_PATIENCE)
    }

    /// Where a newcomer begins: at the latest keyframe that its partners have, unless a
    /// later one is known here.
    pub(super) fn entry_of_partners(&self, own: Option<u64>) -> Option<u64> {
        let facts = |sequence: u64| self.window.get(sequence)?.facts();
        let known = |(_, generation): &(u64, &Generation<S>)| generation.header().is_some();
        let (newest, _) = self.window.range(..).rev().find(known)?;
        let keyframes = self
            .links
            .up()
            .filter_map(|(_, link)| link.have.as_ref())
            .flat_map(|(_, have)| have.keyframes.iter().copied());
        keyframes
            .filter(|keyframe| *keyframe <= newest)
            .filter(|keyframe| {
                facts(*keyframe).is_none_or(|facts| facts.flags.has(stripe::Flags::KEYFRAME))
            })
            .chain(own)
            .max()
    }

    pub(super) fn ask_what_partners_have(&mut self) {
        let now = self.now;
        let peers: Vec<PeerId> = self.links.up().map(|(peer, _)| peer).collect();
        for peer in peers {
            let link = self.links.get_mut(peer);
            if link.is_some_and(|link| link.may_ask(now, HAVE_LIFE)) {
                self.send_control(peer, Kind::Ask(control::Ask {}));
            }
        }
    }

    /// A parent is silent, and others may be too: those who answer are there, and will do in its
    /// stead. Of a parent that has been silent before that says little: then now and then only,
    /// since a line that loses much has nothing to spare for it.
    pub(super) fn ask_who_is_there(&mut self, parent: PeerId) {
        let now = self.now;
        if !self.liveness.is_steady(parent) && now < self.next_round {
            return;
        }
        self.next_round = now + ROUND;
        let silent = |peer: &PeerId| self.liveness.silence(now, *peer) >= THERE;
        let peers = self.links.up().map(|(peer, _)| peer);
        let peers: Vec<PeerId> = peers.filter(silent).collect();
        for peer in peers {
            let link = self.links.get_mut(peer);
            if link.is_some_and(|link| link.may_ask(now, THERE)) {
                self.send_control(peer, Kind::Ask(control::Ask {}));
            }
        }
    }

    pub(super) fn tell_have(&mut self, to: PeerId) {
        let run = self.window.whole_run();
        let keyframes = self
            .window
            .range(run.clone())
            .filter(|(_, generation)| {
                generation
                    .facts()
                    .is_some_and(|facts| facts.flags.has(stripe::Flags::KEYFRAME))
            })
            .map(|(sequence, _)| sequence);
        let mut keyframes: Vec<u64> = keyframes.collect();
        let surplus = keyframes.len().saturating_sub(32);
        keyframes.drain(..surplus);
        let have = control::Have {
            from: run.start,
            until: run.end,
            keyframes,
            newest: self.window.newest().unwrap_or(0),
            relays: self.relayed().bits(),
            spare: self.spare() as u32,
            stripes: self.received_stripes().bits(),
            spare_kbps: (self.uplink.spare() * 8.0 / 1000.0).ceil() as u32,
        };
        self.send_control(to, Kind::Have(have));
    }

    /// The stripes whose pieces come here.
    fn received_stripes(&self) -> StripeSet {
        if self.config.role == Role::Seeder {
            return StripeSet::all(self.rate.shape().map_or(0, |(_, n)| n));
        }
        self.parents.healthy()
    }

    /// The stripes in which others may become children without the tracker's word.
    fn relayed(&self) -> StripeSet {
        if self.config.role == Role::Seeder {
            return StripeSet::all(self.rate.shape().map_or(0, |(_, n)| n));
        }
        if !self.tracker_up && self.uplink.shares() {
            // Nobody makes new relays of a stripe whose own die out: whoever has it may.
            return self.parents.healthy();
        }
        let relayed: StripeSet = self.children.iter().map(|(stripe, _)| stripe).collect();
        relayed.and(self.parents.healthy())
    }

    /// Neighbours know of each other's room, so that they find parents without the tracker.
    pub(super) fn tell_have_now_and_then(&mut self) {
        if self.now < self.next_have {
            return;
        }
        // Not all in the same moment.
        let spread = HAVE_INTERVAL.mul_f64(0.75 + self.random.unit() / 2.0);
        self.next_have = self.now + spread;
        let peers: Vec<PeerId> = self.links.up().map(|(peer, _)| peer).collect();
        for peer in peers {
            self.tell_have(peer);
        }
    }
}

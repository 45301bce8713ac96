//! What the peer passes on: to its children down the trees, to new children what they
//! missed, to partners what they ask for.

use std::time::Duration;

use super::{
    Parcel, Peer, header_stripes,
    uplink::{Class, Item},
};
use crate::{
    Facts, PeerId, Scheme, StripeId, StripeSet,
    tracker::Role,
    wire::{
        self, Message, PieceKind, PieceMessage,
        control::{self, Kind},
    },
};

/// A piece waits so long at least before it is dropped,
const PUSH_LIFE: Duration = Duration::from_millis(1000);
/// and until so long after its generation was due here: a descendant may begin with it.
const DUE_GRACE: Duration = Duration::from_millis(200);
/// What a new child is sent again waits while what waits already takes so long: those who
/// watch come first.
const BACKFILL_WAIT: Duration = Duration::from_millis(100);
/// Pieces that are lent in one answer, at most.
const MAX_LENT: usize = 4;
/// Newcomers are lent nothing while all that waits takes so long.
const LEND_WAIT: Duration = Duration::from_millis(400);
/// A seeder that took up a broadcast so lately has what nobody else has heard of,
const RETURNED: Duration = Duration::from_secs(5);
/// and sends no more of it again than this: it would be behind by as much for long, since
/// little of its uplink is spare. In simulation, with a seeder away for 1.5 s, a stall took
/// at most 1.8 s with this, 1.9 s with 0.4 s, 4.5 s with 0.9 s.
const BACKFILL_MOST: Duration = Duration::from_millis(600);
/// A resend is given up after this: the child pulls what it still lacks.
const BACKFILL_LIFE: Duration = Duration::from_millis(2500);
/// Part of its slots that a peer fills with children nobody planned: the tracker leaves as
/// much for what rates do not show.
const UNPLANNED: f64 = 0.85;
/// Nobody unplanned is taken on while what waits takes so long.
const BUSY: Duration = Duration::from_millis(300);
/// Children are told this often that a stripe is late.
const LATE_INTERVAL: Duration = Duration::from_millis(200);
/// Children being sent something again, at most, by stripe.
const MAX_BACKFILLS: usize = 256;
/// A GOP is kept for so long after the next one could be begun with.
const KEPT: Duration = Duration::from_millis(1500);
/// No pull is queued while those that wait already take so long.
const PULL_WAIT: Duration = Duration::from_millis(200);
/// A pull with so little time left is urgent.
const URGENT: Duration = Duration::from_millis(700);
/// Longest time a pulled piece may wait.
const MAX_WITHIN: Duration = Duration::from_millis(2000);
/// Share of a seeder's cap that rescue may take in the long run, and how many seconds of
/// it may gather.
const RESCUE_SHARE: f64 = 0.5;
const RESCUE_BURST_S: f64 = 4.0;

/// What of a stripe a child is still to be sent again.
#[derive(Debug)]
pub(super) struct Backfill {
    pub(super) to: PeerId,
    stripe: StripeId,
    sequences: std::ops::Range<u64>,
    expires: crate::Instant,
}

impl<S: Scheme> Peer<S> {
    /// Queues a piece for the children of its stripe.
    pub(super) fn push(
        &mut self,
        sequence: u64,
        stripe: StripeId,
        from: Option<PeerId>,
        facts: &Facts,
    ) {
        let expires = self.expiry(facts);
        for child in self.children.of(stripe) {
            if Some(*child) == from {
                continue;
            }
            let interior = self.children.is_interior(*child, stripe);
            self.uplink.push(Item {
                to: *child,
                sequence,
                class: if interior {
                    Class::Interior
                } else {
                    Class::Leaf
                },
                len: facts.piece_len as usize,
                expires,
                what: Parcel {
                    stripe,
                    kind: PieceKind::Push,
                },
            });
        }
    }

    /// Sends what the uplink lets through.
    pub(super) fn send_queued(&mut self) {
        self.continue_backfills();
        while let Some(item) = self.uplink.pop(self.now) {
            self.continue_backfills();
            if !self.links.is_up(item.to) {
                self.uplink.forget(item.to);
                continue;
            }
            let generation = self.window.get(item.sequence);
            let piece = generation.and_then(|generation| generation.piece(item.what.stripe));
            let Some(piece) = piece.cloned() else {
                self.uplink.on_unsent(self.now, &item);
                continue;
            };
            let message = PieceMessage {
                kind: item.what.kind,
                stripe: item.what.stripe,
                epoch: self
                    .epoch
                    .as_ref()
                    .map_or(0, |epoch| S::epoch_number(epoch) as u32),
                sequence: item.sequence,
                piece,
            };
            let count = self.piece_count(&message, false);
            self.counters.on_sent(count);
            self.send(item.to, Message::Piece(message));
        }
    }

    pub(super) fn on_subscribe(&mut self, from: PeerId, subscribe: control::Subscribe) {
        let Some(stripe) = wire::stripe_of(subscribe.stripe) else {
            return;
        };
        let slots = self.slots();
        let n = self.rate.shape().map_or(StripeId::MAX, |(_, n)| n);
        // Whoever feeds us in this stripe cannot be fed by us in it.
        let circular = self.parents.of(stripe) == Some(from);
        let taken = !circular
            && (subscribe.planned || self.has_room(stripe))
            && stripe.get() < n
            && self.uplink.shares()
            && self.children.add(from, stripe, subscribe.interior, slots);
        if !taken {
            let reject = control::Reject {
                stripe: subscribe.stripe,
            };
            self.send_control(from, Kind::Reject(reject));
            return;
        }
        let accept = control::Accept {
            stripe: subscribe.stripe,
        };
        self.send_control(from, Kind::Accept(accept));
        let now = self.now;
        if self
            .links
            .get_mut(from)
            .is_some_and(|link| link.resend(now))
        {
            self.backfill(from, stripe, subscribe.from_sequence);
        }
    }

    /// Whether a child may be taken on that nobody planned: not where it would wait with us
    /// for what we lack ourselves.
    fn has_room(&self, stripe: StripeId) -> bool {
        let fed = self.config.role == Role::Seeder || self.parents.feeds(stripe);
        fed && self.spare() > 0 && self.uplink.backlog() <= BUSY
    }

    /// Children that may be taken on without a plan.
    pub(super) fn spare(&self) -> usize {
        let most = (self.slots() as f64 * UNPLANNED) as usize;
        most.saturating_sub(self.children.edges())
    }

    /// A child that acknowledges nothing makes way, until it asks again.
    pub(super) fn let_mute_children_go(&mut self) {
        let mute: Vec<PeerId> = self.liveness.mute(self.now).collect();
        for peer in mute {
            let stripes = self.children.stripes_of(peer);
            if stripes.is_empty() {
                continue;
            }
            self.children.remove_peer(peer);
            self.backfills.retain(|backfill| backfill.to != peer);
            self.uplink.forget(peer);
            for stripe in stripes.iter() {
                let stripe = u32::from(stripe.get());
                self.send_control(peer, Kind::Dropped(control::Dropped { stripe }));
            }
        }
    }

    /// Tells children that wait for a stripe that we wait for it too.
    pub(super) fn tell_late(&mut self) {
        if self.now < self.next_late {
            return;
        }
        self.next_late = self.now + LATE_INTERVAL;
        let overdue: Vec<StripeId> =
            self.with_parents(|parents, view| parents.overdue(view).collect());
        for stripe in overdue {
            let children = self.children.of(stripe).to_vec();
            for child in children {
                let stripe = u32::from(stripe.get());
                self.send_control(child, Kind::Late(control::Late { stripe }));
            }
        }
    }

    /// Notes what of a stripe a new child is to be sent again.
    fn backfill(&mut self, to: PeerId, stripe: StripeId, from_sequence: u64) {
        let from_sequence = if from_sequence == 0 {
            self.window.newest().unwrap_or(u64::MAX)
        } else {
            from_sequence
        };
        // What was forgotten cannot be sent, and must not be looked for one by one.
        let from_sequence = self.worth_resending(from_sequence.max(self.window.floor()));
        let Some(newest) = self
            .window
            .newest()
            .filter(|newest| *newest >= from_sequence)
        else {
            return;
        };
        self.backfills
            .retain(|backfill| (backfill.to, backfill.stripe) != (to, stripe));
        if self.backfills.len() == MAX_BACKFILLS {
            self.backfills.remove(0);
        }
        self.backfills.push(Backfill {
            to,
            stripe,
            sequences: from_sequence..newest + 1,
            expires: self.now + BACKFILL_LIFE,
        });
    }

    /// Where a resend begins: where it is asked to, or, after an outage that was too long, with
    /// the next keyframe. What comes before it would be played by nobody.
    fn worth_resending(&self, from: u64) -> u64 {
        let age = self.resumed.map(|first| self.now.since(first));
        if age.is_none_or(|age| age > RETURNED) {
            return from;
        }
        let oldest = self.now - BACKFILL_MOST;
        let recent = |stamp: &crate::Instant| *stamp >= oldest;
        let past = || {
            let past = self.window.range(from..);
            past.filter_map(|(sequence, generation)| {
                let facts = generation.facts()?;
                let stamp = self.clock.local(facts.ingest_stamp_us)?;
                Some((sequence, facts.flags.has(stripe::Flags::KEYFRAME), stamp))
            })
        };
        if past().next().is_none_or(|(.., stamp)| recent(&stamp)) {
            return from;
        }
        let mut keyframes = past().filter(|(_, keyframe, _)| *keyframe);
        let keyframe = keyframes.find(|(.., stamp)| recent(stamp));
        keyframe.map_or(u64::MAX, |(sequence, ..)| sequence)
    }

    /// Queues what is to be sent again, oldest first, as long as little waits.
    pub(super) fn continue_backfills(&mut self) {
        let now = self.now;
        while !self.backfills.is_empty() && self.uplink.backlog() <= BACKFILL_WAIT {
            self.backfills
                .retain(|backfill| backfill.expires > now && !backfill.sequences.is_empty());
            let oldest = self
                .backfills
                .iter_mut()
                .min_by_key(|backfill| backfill.sequences.start);
            let Some(backfill) = oldest else {
                return;
            };
            let (to, stripe, sequence) = (backfill.to, backfill.stripe, backfill.sequences.start);
            backfill.sequences.start += 1;
            self.resend(to, stripe, sequence);
        }
    }

    pub(super) fn resend(&mut self, to: PeerId, stripe: StripeId, sequence: u64) {
        let Some(generation) = self.window.get(sequence) else {
            return;
        };
        let Some(facts) = generation.facts().copied() else {
            return;
        };
        if generation.piece(stripe).is_none() || !self.children.serves(to, stripe) {
            return;
        }
        if header_stripes(sequence, facts.n).contains(stripe) {
            self.send_header(to, sequence);
        }
        self.uplink.push(Item {
            to,
            sequence,
            class: Class::Backfill,
            len: facts.piece_len as usize,
            expires: self.expiry(&facts),
            what: Parcel {
                stripe,
                kind: PieceKind::Backfill,
            },
        });
    }

    /// The latest keyframe that is due by then, or else the first there is.
    pub(super) fn latest_keyframe(&self, by: crate::Instant) -> Option<u64> {
        let mut latest = None;
        for (sequence, generation) in self.window.range(..) {
            let Some(facts) = generation.facts() else {
                continue;
            };
            if !facts.flags.has(stripe::Flags::KEYFRAME) {
                continue;
            }
            let due = super::playout::due(facts, &self.clock);
            if latest.is_some() && due.is_none_or(|due| due > by) {
                break;
            }
            latest = Some(sequence);
        }
        latest
    }

    /// Forgets what neither the player nor a newcomer can need any more.
    pub(super) fn forget_old(&mut self) {
        let long_ago = self.now - KEPT;
        if let Some(keyframe) = self.latest_keyframe(long_ago) {
            let playing = self.playout.needs_from(self.now, &self.window, &self.clock);
            self.window
                .forget_before(playing.map_or(keyframe, |next| next.min(keyframe)));
        }
    }

    /// When a piece is worth nothing any more: a little after its generation is due, or
    /// when somebody who begins with it has waited too long.
    pub(super) fn expiry(&self, facts: &Facts) -> crate::Instant {
        let due = super::playout::due(facts, &self.clock);
        let late = due.map_or(self.now, |due| due + DUE_GRACE);
        late.max(self.now + PUSH_LIFE)
    }

    /// Edges the uplink can carry; many while that is unknown.
    pub(super) fn slots(&self) -> usize {
        let stripe_bytes = self.rate.stripe_bytes().filter(|bytes| *bytes > 0);
        match stripe_bytes {
            _ if !self.uplink.shares() => 0,
            Some(bytes) => (self.uplink.fill() / bytes as f64) as usize,
            None => 64,
        }
    }

    pub(super) fn on_pull(&mut self, from: PeerId, pull: &control::Pull) {
        let asked = StripeSet::from_bits(pull.stripes);
        let generation = self.window.get(pull.sequence);
        let held = generation.map_or(StripeSet::EMPTY, |generation| generation.have());
        let len = generation
            .and_then(|generation| generation.facts())
            .map_or(0, |facts| facts.piece_len as usize);
        let count = (pull.count as usize).min(32);
        let serve: Vec<StripeId> = asked.and(held).iter().take(count).collect();
        let seeder = self.config.role == Role::Seeder;
        let bytes = serve.len() * len;
        let within = Duration::from_millis(u64::from(pull.within_ms)).min(MAX_WITHIN);
        let class = self.class_of(from, pull, within, serve.len(), bytes);
        let rescues = seeder && !pull.catch_up;
        let affordable = class.is_some() && (!rescues || self.spend_rescue(from, bytes));
        if !self.uplink.shares() || serve.len() < count || !affordable {
            let busy = control::Busy {
                sequence: pull.sequence,
            };
            self.send_control(from, Kind::Busy(busy));
        }
        let Some(class) = class.filter(|_| self.uplink.shares() && affordable) else {
            return;
        };
        if pull.header && !serve.is_empty() {
            self.send_header(from, pull.sequence);
        }
        for stripe in serve {
            self.uplink.push(Item {
                to: from,
                sequence: pull.sequence,
                class,
                len,
                expires: self.now + within,
                what: Parcel {
                    stripe,
                    kind: match class {
                        Class::Backfill => PieceKind::Backfill,
                        _ if seeder => PieceKind::Rescue,
                        _ => PieceKind::Pull,
                    },
                },
            });
        }
    }

    /// In which class a pull of so many bytes is answered; `None` when it is not.
    fn class_of(
        &mut self,
        from: PeerId,
        pull: &control::Pull,
        within: Duration,
        pieces: usize,
        bytes: usize,
    ) -> Option<Class> {
        if pull.catch_up {
            let link = self.links.get_mut(from)?;
            let lent = pieces <= MAX_LENT
                && self.uplink.backlog() <= LEND_WAIT
                && link.lend(self.now, pieces)
                && self.uplink.lend(self.now, from, bytes);
            return lent.then_some(Class::Backfill);
        }
        if within <= URGENT && self.uplink.spend_urgent(self.now, bytes) {
            return Some(Class::Urgent);
        }
        (self.uplink.pull_wait() <= PULL_WAIT).then_some(Class::Pull)
    }

    /// Takes bytes out of the seeder's rescue budget, and of the part of it that one peer may
    /// have. Whether they were there.
    fn spend_rescue(&mut self, to: PeerId, bytes: usize) -> bool {
        let cap = self.config.upload_bps as f64 / 8.0 * RESCUE_SHARE;
        let burst = cap * RESCUE_BURST_S;
        let full = self.now.as_micros() as f64 / 1e6 * cap;
        // `rescue` is the point on the ever rising line of allowance that is spent up to.
        self.rescue = self.rescue.max(full - burst);
        let now = self.now;
        let fair = |link: &mut super::links::Link| link.rescue(now, bytes, cap, burst);
        if self.rescue + bytes as f64 > full || !self.links.get_mut(to).is_some_and(fair) {
            return false;
        }
        self.rescue += bytes as f64;
        true
    }
}

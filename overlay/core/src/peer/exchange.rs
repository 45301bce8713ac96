//! What peers say to each other: pieces and headers, checked before anything else is done
//! with them, and who is whose child.

use std::time::Duration;

use super::{
    Event, Output, Parcel, Peer, Phase, PieceCount, header_stripes,
    pull::View,
    uplink::{Class, Item},
    window::{Held, Stored},
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
/// It is given up after this: the child pulls what it still lacks.
const BACKFILL_LIFE: Duration = Duration::from_millis(2500);
/// Children being sent something again, at most, by stripe.
const MAX_BACKFILLS: usize = 256;
/// A GOP is kept for so long after the next one could be begun with.
const KEPT: Duration = Duration::from_millis(1500);
/// A keyframe that is due so soon is a better beginning than the one before: to begin
/// earlier, a newcomer would have to fetch up to a whole GOP in less than this.
pub(super) const SOON: Duration = Duration::from_millis(1000);
/// No pull is queued while those that wait already take so long.
const PULL_WAIT: Duration = Duration::from_millis(200);
/// A pull with so little time left is urgent.
const URGENT: Duration = Duration::from_millis(700);
/// Longest time a pulled piece may wait.
const MAX_WITHIN: Duration = Duration::from_millis(2000);
/// A header is missed when a piece has waited for it so long.
const HEADER_PATIENCE: Duration = Duration::from_millis(40);
/// A newcomer lets its parents resend their stripes for so long before it pulls.
const BACKFILL_PATIENCE: Duration = Duration::from_millis(400);
/// What a partner has is asked again after this, while the player waits to begin.
const HAVE_LIFE: Duration = Duration::from_millis(800);
/// A header is asked for again after this.
const HEADER_REPEAT: Duration = Duration::from_millis(150);
/// Share of a seeder's cap that rescue may take in the long run, and how many seconds of
/// it may gather.
const RESCUE_SHARE: f64 = 0.5;
const RESCUE_BURST_S: f64 = 4.0;

/// What of a stripe a child is still to be sent again.
#[derive(Debug)]
pub(super) struct Backfill {
    to: PeerId,
    stripe: StripeId,
    sequences: std::ops::Range<u64>,
    expires: crate::Instant,
}

impl<S: Scheme> Peer<S> {
    pub(super) fn on_link_up(&mut self, peer: PeerId) {
        if !self.links.on_up(peer) {
            self.outputs.push_back(Output::Disconnect(peer));
            return;
        }
        if let Some(epoch) = self.epoch.clone() {
            self.send(peer, Message::Epoch(epoch));
        }
        self.tell_have(peer);
        let actions = self.parents.on_link_up(self.now, peer);
        self.act(actions);
    }

    pub(super) fn on_link_down(&mut self, peer: PeerId) {
        self.links.remove(peer);
        self.children.remove_peer(peer);
        self.backfills.retain(|backfill| backfill.to != peer);
        self.uplink.forget(peer);
        self.pull.on_link_down(peer);
        let links = &self.links;
        let actions = self
            .parents
            .on_link_down(self.now, peer, |other| links.is_up(other));
        self.act(actions);
    }

    pub(super) fn on_message(&mut self, from: PeerId, message: Message<S>) {
        if !self.links.is_up(from) {
            return;
        }
        match message {
            Message::Piece(piece) => self.on_piece(from, piece),
            Message::Header(header) => self.on_header(from, header),
            Message::Epoch(epoch) => {
                if self.scheme.check_epoch(&epoch) {
                    self.on_epoch(epoch);
                } else {
                    self.cut(from);
                }
            }
            Message::Control(control) => {
                if let Some(kind) = control.kind {
                    self.on_control(from, kind);
                }
            }
        }
    }

    /// A checked epoch. A later one than that in force replaces it, and is told on.
    pub(super) fn on_epoch(&mut self, epoch: S::Epoch) {
        let number = S::epoch_number(&epoch);
        if self
            .epoch
            .as_ref()
            .is_some_and(|held| S::epoch_number(held) >= number)
        {
            return;
        }
        let first = self.epoch.is_none();
        self.epoch = Some(epoch.clone());
        if !first {
            // Sequences may begin anew, so that nothing counted by them holds any longer.
            self.window = super::Window::default();
            self.playout = super::Playout::default();
            self.rate = super::StreamRate::default();
            self.pull = super::Pull::default();
            self.parents.on_epoch();
            self.backfills.clear();
        }
        let others: Vec<PeerId> = self.links.up().map(|(peer, _)| peer).collect();
        for other in others {
            self.send(other, Message::Epoch(epoch.clone()));
        }
    }

    fn on_header(&mut self, from: PeerId, header: S::Header) {
        let facts = S::facts(&header);
        let Some(epoch) = &self.epoch else {
            return;
        };
        let known = |facts: &Facts| {
            let generation = self.window.get(facts.sequence);
            generation.is_some_and(|generation| generation.header().is_some())
        };
        if facts.epoch != S::epoch_number(epoch) || known(&facts) {
            self.on_stale(from);
            return;
        }
        if !self.scheme.check_header(epoch, &header) {
            self.complain(from, facts.sequence, None);
            self.cut(from);
            return;
        }
        self.take_header(header, facts, Some(from));
    }

    /// A header known to be true: hands it on, then looks at the pieces that waited for it.
    fn take_header(&mut self, header: S::Header, facts: Facts, from: Option<PeerId>) {
        self.rate.on_header(facts);
        let Some(held) = self.window.insert_header(self.now, header.clone(), facts) else {
            return;
        };
        let carriers = header_stripes(facts.sequence, facts.n);
        let children: Vec<PeerId> = self
            .children
            .of_any(carriers)
            .filter(|child| Some(*child) != from)
            .collect();
        for child in children {
            self.send(child, Message::Header(header.clone()));
        }
        for Held { from, message } in held {
            self.check_piece(from, message);
        }
    }

    fn on_piece(&mut self, from: PeerId, message: PieceMessage<S::Piece>) {
        let epoch = self
            .epoch
            .as_ref()
            .map(|epoch| S::epoch_number(epoch) as u32);
        let foreign = epoch != Some(message.epoch);
        if foreign || message.sequence < self.window.floor() {
            self.count_received(from, &message, true);
            self.on_stale(from);
            return;
        }
        let generation = self.window.get(message.sequence);
        if generation.is_some_and(|generation| generation.header().is_some()) {
            self.check_piece(from, message);
            return;
        }
        let count = self.piece_count(&message, false);
        if !self.window.hold(self.now, Held { from, message }) {
            let seeder = self.links.is_seeder(from);
            let duplicate = PieceCount {
                duplicate: true,
                ..count
            };
            self.counters.on_received(seeder, duplicate);
            self.on_stale(from);
        }
    }

    /// A piece whose header is known: cut the sender, or keep it and hand it on.
    fn check_piece(&mut self, from: PeerId, message: PieceMessage<S::Piece>) {
        let PieceMessage {
            stripe, sequence, ..
        } = message;
        let Some(generation) = self.window.get(sequence) else {
            return;
        };
        let (Some(header), Some(facts)) = (generation.header(), generation.facts().copied()) else {
            return;
        };
        // Checked even when it is there already: a liar shows itself all the same.
        if !self.scheme.check_piece(header, stripe, &message.piece) {
            self.counters.stats.rejected_pieces += 1;
            self.complain(from, sequence, Some(stripe));
            self.cut(from);
            return;
        }
        self.pull.on_piece(from, sequence, stripe);
        let actions = self.parents.on_piece(self.now, from, stripe, sequence);
        self.act(actions);
        let piece = message.piece.clone();
        let stored = self.window.store(self.now, sequence, stripe, piece);
        let duplicate = !matches!(stored, Some(Stored::Fresh { .. }));
        self.count_received(from, &message, duplicate);
        if duplicate {
            self.on_stale(from);
            return;
        }
        self.push(sequence, stripe, Some(from), &facts);
        if let Some(Stored::Fresh { completes: true }) = stored {
            self.on_whole(sequence, &facts);
        }
    }

    fn on_whole(&mut self, _sequence: u64, facts: &Facts) {
        if let Some(stamp) = self.clock.local(facts.ingest_stamp_us)
            && matches!(self.playout.phase(), Phase::Playing(_))
        {
            self.pull.on_arrival(self.now.since(stamp));
        }
    }

    /// The encoder's generation enters the swarm here.
    pub(super) fn publish(&mut self, header: S::Header, pieces: Vec<S::Piece>) {
        let facts = S::facts(&header);
        let current = self.epoch.as_ref().map(S::epoch_number);
        if current != Some(facts.epoch) || pieces.len() != usize::from(facts.n) {
            return;
        }
        self.take_header(header, facts, None);
        for (stripe, piece) in StripeId::first(facts.n).zip(pieces) {
            let stored = self.window.store(self.now, facts.sequence, stripe, piece);
            if matches!(stored, Some(Stored::Fresh { .. })) {
                self.push(facts.sequence, stripe, None, &facts);
            }
        }
    }

    /// Queues a piece for the children of its stripe.
    fn push(&mut self, sequence: u64, stripe: StripeId, from: Option<PeerId>, facts: &Facts) {
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
            let generation = self.window.get(item.sequence);
            let piece = generation.and_then(|generation| generation.piece(item.what.stripe));
            let Some(piece) = piece.cloned() else {
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

    fn on_control(&mut self, from: PeerId, kind: Kind) {
        match kind {
            Kind::Subscribe(subscribe) => self.on_subscribe(from, subscribe),
            Kind::Accept(accept) => {
                if let Some(stripe) = wire::stripe_of(accept.stripe) {
                    let actions = self.parents.on_accept(self.now, from, stripe);
                    self.act(actions);
                }
            }
            Kind::Reject(control::Reject { stripe })
            | Kind::Dropped(control::Dropped { stripe }) => {
                if let Some(stripe) = wire::stripe_of(stripe) {
                    let links = &self.links;
                    let actions = self
                        .parents
                        .on_reject(self.now, from, stripe, |peer| links.is_up(peer));
                    self.act(actions);
                }
            }
            Kind::Unsubscribe(unsubscribe) => {
                // What waits for the child is sent all the same: its new parent may have
                // come to the stripe after these pieces.
                if let Some(stripe) = wire::stripe_of(unsubscribe.stripe) {
                    self.children.remove(from, stripe);
                }
            }
            Kind::Have(have) => {
                let now = self.now;
                if let Some(link) = self.links.get_mut(from) {
                    link.have = Some((now, have));
                }
            }
            Kind::Ask(_) => {
                let now = self.now;
                if self
                    .links
                    .get_mut(from)
                    .is_some_and(|link| link.may_tell(now))
                {
                    self.tell_have(from);
                }
            }
            Kind::Pull(pull) => self.on_pull(from, &pull),
            Kind::Busy(busy) => self.pull.on_busy(self.now, from, busy.sequence),
            Kind::HeaderRequest(request) => self.send_header(from, request.sequence),
        }
    }

    fn on_subscribe(&mut self, from: PeerId, subscribe: control::Subscribe) {
        let Some(stripe) = wire::stripe_of(subscribe.stripe) else {
            return;
        };
        let slots = self.slots();
        // Whoever feeds us in this stripe cannot be fed by us in it.
        let circular = self.parents.of(stripe) == Some(from);
        if circular || !self.children.add(from, stripe, subscribe.interior, slots) {
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
        self.backfill(from, stripe, subscribe.from_sequence);
    }

    /// Notes what of a stripe a new child is to be sent again.
    fn backfill(&mut self, to: PeerId, stripe: StripeId, from_sequence: u64) {
        let from_sequence = if from_sequence == 0 {
            self.newcomer_entry()
        } else {
            from_sequence
        };
        let Some(newest) = self
            .window
            .newest()
            .filter(|newest| *newest >= from_sequence)
        else {
            return;
        };
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

    /// Queues what is to be sent again, oldest first, as long as little waits.
    fn continue_backfills(&mut self) {
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

    fn resend(&mut self, to: PeerId, stripe: StripeId, sequence: u64) {
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

    /// The keyframe a newcomer will begin with: the latest that is due, or will be soon.
    fn newcomer_entry(&self) -> u64 {
        self.latest_keyframe(self.now + SOON).unwrap_or(u64::MAX)
    }

    /// The latest keyframe that is due by then, or else the first there is.
    fn latest_keyframe(&self, by: crate::Instant) -> Option<u64> {
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
    fn expiry(&self, facts: &Facts) -> crate::Instant {
        let due = super::playout::due(facts, &self.clock);
        let late = due.map_or(self.now, |due| due + DUE_GRACE);
        late.max(self.now + PUSH_LIFE)
    }

    /// Edges the uplink can carry; many while that is unknown.
    fn slots(&self) -> usize {
        let stripe_bytes = self.rate.stripe_bytes().filter(|bytes| *bytes > 0);
        match stripe_bytes {
            _ if !self.uplink.shares() => 0,
            Some(bytes) => (self.uplink.fill() / bytes as f64) as usize,
            None => 64,
        }
    }

    fn on_pull(&mut self, from: PeerId, pull: &control::Pull) {
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
        let urgent = within <= URGENT && self.uplink.spend_urgent(self.now, bytes);
        let affordable = (urgent || self.uplink.pull_wait() <= PULL_WAIT)
            && (!seeder || self.spend_rescue(bytes));
        if !self.uplink.shares() || serve.len() < count || !affordable {
            let busy = control::Busy {
                sequence: pull.sequence,
            };
            self.send_control(from, Kind::Busy(busy));
        }
        if !self.uplink.shares() || !affordable {
            return;
        }
        if pull.header && !serve.is_empty() {
            self.send_header(from, pull.sequence);
        }
        for stripe in serve {
            self.uplink.push(Item {
                to: from,
                sequence: pull.sequence,
                class: if urgent { Class::Urgent } else { Class::Pull },
                len,
                expires: self.now + within,
                what: Parcel {
                    stripe,
                    kind: if seeder {
                        PieceKind::Rescue
                    } else {
                        PieceKind::Pull
                    },
                },
            });
        }
    }

    /// Takes bytes out of the seeder's rescue budget. Whether they were there.
    fn spend_rescue(&mut self, bytes: usize) -> bool {
        let cap = self.config.upload_bps as f64 / 8.0 * RESCUE_SHARE;
        let full = self.now.as_micros() as f64 / 1e6 * cap;
        // `rescue` is the point on the ever rising line of allowance that is spent up to.
        self.rescue = self.rescue.max(full - cap * RESCUE_BURST_S);
        if self.rescue + bytes as f64 > full {
            return false;
        }
        self.rescue += bytes as f64;
        true
    }

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
            from: from.max(self.window.floor()),
            starting,
            patient_until: self.backfilled_by(),
            n: self.rate.shape().map_or(20, |(_, n)| n),
        };
        let asks = self.pull.tick(self.now, &view, &mut self.random);
        for ask in asks {
            let pull = control::Pull {
                sequence: ask.sequence,
                stripes: ask.stripes.bits(),
                count: ask.count as u32,
                within_ms: ask.within.as_millis() as u32,
                header: ask.header,
            };
            self.send_control(ask.to, Kind::Pull(pull));
        }
    }

    /// Until when the parents' backfill is waited for.
    fn backfilled_by(&self) -> crate::Instant {
        let first = self
            .window
            .range(..)
            .map(|(_, generation)| generation.seen)
            .min();
        first.map_or(self.now, |first| first + BACKFILL_PATIENCE)
    }

    /// Where a newcomer begins: at the latest keyframe that is due, as its partners know it,
    /// unless the headers it has tell already.
    fn entry_of_partners(&mut self, own: Option<u64>) -> Option<u64> {
        let soon = self.now + SOON;
        let due_of = |sequence: u64| {
            let facts = self.window.get(sequence)?.facts()?;
            super::playout::due(facts, &self.clock)
        };
        if own.and_then(due_of).is_some_and(|due| due <= soon) {
            return own;
        }
        let known =
            |(_, generation): &(u64, &super::window::Generation<S>)| generation.header().is_some();
        let (first, _) = self.window.range(..).find(known)?;
        let first_due = due_of(first)?;
        let interval = self.rate.interval();
        let due_by_then = |keyframe: &u64| {
            let before = u32::try_from(first - *keyframe).unwrap_or(u32::MAX);
            first_due - interval.saturating_mul(before) <= soon
        };
        let keyframes = self
            .links
            .up()
            .filter_map(|(_, link)| link.have.as_ref())
            .flat_map(|(_, have)| have.keyframes.iter().copied());
        keyframes
            .filter(|keyframe| *keyframe <= first)
            .filter(due_by_then)
            .max()
            .or(own)
    }

    fn ask_what_partners_have(&mut self) {
        let now = self.now;
        let peers: Vec<PeerId> = self.links.up().map(|(peer, _)| peer).collect();
        for peer in peers {
            let link = self.links.get_mut(peer);
            if link.is_some_and(|link| link.may_ask(now, HAVE_LIFE)) {
                self.send_control(peer, Kind::Ask(control::Ask {}));
            }
        }
    }

    fn tell_have(&mut self, to: PeerId) {
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
        };
        self.send_control(to, Kind::Have(have));
    }

    fn send_header(&mut self, to: PeerId, sequence: u64) {
        let generation = self.window.get(sequence);
        if let Some(header) = generation
            .and_then(|generation| generation.header())
            .cloned()
        {
            self.send(to, Message::Header(header));
        }
    }

    /// Ends everything with a peer that lied, for good.
    pub(super) fn cut(&mut self, peer: PeerId) {
        if self.links.is_banned(peer) {
            return;
        }
        self.on_link_down(peer);
        self.links.ban(peer);
        self.counters.on_cut(peer);
        self.outputs.push_back(Output::Disconnect(peer));
        self.event(Event::Cut(peer));
    }

    fn complain(&mut self, peer: PeerId, sequence: u64, stripe: Option<StripeId>) {
        let complaint = wire::Complaint {
            peer: peer.0,
            sequence,
            stripe: stripe.map_or(u32::MAX, |stripe| u32::from(stripe.get())),
        };
        self.tell(wire::to_tracker::Kind::Complaint(complaint));
    }

    fn on_stale(&mut self, from: PeerId) {
        self.counters.stats.stale_pieces += 1;
        let now = self.now;
        if self
            .links
            .get_mut(from)
            .is_some_and(|link| link.on_stale(now))
        {
            self.cut(from);
        }
    }

    fn count_received(&mut self, from: PeerId, message: &PieceMessage<S::Piece>, duplicate: bool) {
        let count = self.piece_count(message, duplicate);
        let seeder = self.links.is_seeder(from);
        self.counters.on_received(seeder, count);
    }

    fn piece_count(&self, message: &PieceMessage<S::Piece>, duplicate: bool) -> PieceCount {
        let k = self.rate.shape().map_or(16, |(k, _)| k);
        PieceCount {
            kind: message.kind,
            parity: message.stripe.get() >= k,
            duplicate,
            len: Message::<S>::PIECE_PREFIX_LEN + S::piece_len(&message.piece),
        }
    }

    pub(super) fn send_control(&mut self, to: PeerId, kind: Kind) {
        self.send(to, Message::Control(kind.into()));
    }

    fn send(&mut self, to: PeerId, message: Message<S>) {
        if self.links.is_up(to) {
            self.outputs.push_back(Output::Send { to, message });
        }
    }
}

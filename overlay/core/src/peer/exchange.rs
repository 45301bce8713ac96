//! What peers say to each other: pieces and headers, checked before anything else is done
//! with them, and who is whose child.

use super::{
    Event, Output, Peer, Phase, PieceCount, header_stripes,
    window::{Held, Hold, Stored},
};
use crate::{
    Facts, PeerId, Scheme, StripeId,
    wire::{
        self, Message, PieceMessage,
        control::{self, Kind},
    },
};

impl<S: Scheme> Peer<S> {
    pub(super) fn on_link_up(&mut self, peer: PeerId) {
        self.make_way_for(peer);
        if !self.links.on_up(self.now, peer) {
            self.outputs.push_back(Output::Disconnect(peer));
            return;
        }
        self.liveness.on_heard(self.now, peer);
        if let Some(epoch) = self.epoch.clone() {
            self.send(peer, Message::Epoch(epoch));
        }
        self.tell_have(peer);
        if let Some(newest) = self.window.newest() {
            // With it a newcomer knows the time and the shape of the broadcast.
            self.send_header(peer, newest);
        }
        let actions = self.parents.on_link_up(self.now, peer);
        self.act(actions);
    }

    pub(super) fn on_link_down(&mut self, peer: PeerId) {
        self.links.remove(peer);
        self.liveness.forget(peer);
        self.children.remove_peer(peer);
        self.backfills.retain(|backfill| backfill.to != peer);
        self.uplink.forget(peer);
        self.pull.on_link_down(peer);
        let actions = self.with_parents(|parents, view| parents.on_link_down(view, peer));
        self.act(actions);
        self.hearsay.on_link_down(peer);
    }

    pub(super) fn on_message(&mut self, from: PeerId, message: Message<S>) {
        if !self.links.is_up(from) {
            return;
        }
        self.liveness.on_heard(self.now, from);
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
            self.counters.stats.stall_time += self.standing();
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
        if facts.epoch != S::epoch_number(epoch) {
            self.on_stale(from);
            return;
        }
        if known(&facts) {
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
            // A parent whose line is slow is late with everything, and means well.
            let parent = !foreign && self.parents.of(message.stripe) == Some(from);
            self.on_stale_from(from, parent);
            return;
        }
        let generation = self.window.get(message.sequence);
        if generation.is_some_and(|generation| generation.header().is_some()) {
            self.check_piece(from, message);
            return;
        }
        let count = self.piece_count(&message, false);
        let hold = self.window.hold(self.now, Held { from, message });
        if hold != Hold::Kept {
            let seeder = self.links.is_seeder(from);
            let duplicate = PieceCount {
                duplicate: true,
                ..count
            };
            self.counters.on_received(seeder, duplicate);
        }
        if hold == Hold::TooMany {
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
        self.pull.on_piece(self.now, from, sequence, stripe);
        let actions = self.parents.on_piece(from, stripe, sequence);
        self.act(actions);
        let piece = message.piece.clone();
        let stored = self.window.store(self.now, sequence, stripe, piece);
        let duplicate = !matches!(stored, Some(Stored::Fresh { .. }));
        self.count_received(from, &message, duplicate);
        if duplicate {
            // True, and somebody else was faster: no offence, since whoever brings pieces
            // unasked could otherwise make offenders of honest parents.
            return;
        }
        self.push(sequence, stripe, Some(from), &facts);
        if let Some(Stored::Fresh { completes: true }) = stored {
            self.on_whole(&facts);
        }
    }

    fn on_whole(&mut self, facts: &Facts) {
        let Some(stamp) = self.clock.local(facts.ingest_stamp_us) else {
            return;
        };
        let after = self.now.since(stamp);
        // What there was before the peer came is fetched, and in no hurry.
        if self.playout.joined() < Some(facts.sequence) {
            self.playout.on_arrival(after);
        }
        if matches!(self.playout.phase(), Phase::Playing(_)) {
            self.pull.on_arrival(after);
        }
    }

    /// The encoder's generation enters the swarm here.
    pub(super) fn publish(&mut self, header: S::Header, pieces: Vec<S::Piece>) {
        let facts = S::facts(&header);
        let current = self.epoch.as_ref().map(S::epoch_number);
        if current != Some(facts.epoch) || pieces.len() != usize::from(facts.n) {
            return;
        }
        if !std::mem::replace(&mut self.fed, true) && facts.sequence > 0 {
            self.resumed = Some(self.now);
        }
        self.take_header(header, facts, None);
        for (stripe, piece) in StripeId::first(facts.n).zip(pieces) {
            let stored = self.window.store(self.now, facts.sequence, stripe, piece);
            if matches!(stored, Some(Stored::Fresh { .. })) {
                self.push(facts.sequence, stripe, None, &facts);
            }
        }
    }

    pub(super) fn on_control(&mut self, from: PeerId, kind: Kind) {
        match kind {
            Kind::Subscribe(subscribe) => self.on_subscribe(from, subscribe),
            Kind::Accept(accept) => {
                if let Some(stripe) = wire::stripe_of(accept.stripe) {
                    let actions =
                        self.with_parents(|parents, view| parents.on_accept(view, from, stripe));
                    self.act(actions);
                }
            }
            Kind::Reject(control::Reject { stripe })
            | Kind::Dropped(control::Dropped { stripe }) => {
                if let Some(stripe) = wire::stripe_of(stripe) {
                    let actions =
                        self.with_parents(|parents, view| parents.on_reject(view, from, stripe));
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
            Kind::Late(late) => {
                if let Some(stripe) = wire::stripe_of(late.stripe) {
                    self.parents.on_late(self.now, from, stripe);
                }
            }
            Kind::Pull(pull) => self.on_pull(from, &pull),
            Kind::Know(know) => self.on_know(from, &know),
            Kind::Carry(carry) => self.on_carry(from, carry),
            Kind::Carried(carried) => self.on_carried(from, carried),
            Kind::Busy(busy) => self.pull.on_busy(self.now, from, busy.sequence),
            Kind::HeaderRequest(request) => {
                let now = self.now;
                let link = self.links.get_mut(from);
                if link.is_some_and(|link| link.may_request_header(now)) {
                    self.send_header(from, request.sequence);
                }
            }
        }
    }

    pub(super) fn send_header(&mut self, to: PeerId, sequence: u64) {
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
        // The name of who was met without the tracker may be another's.
        let met = self.hearsay.has_met(peer);
        if met {
            self.hearsay.on_lie(self.now, peer);
        }
        self.on_link_down(peer);
        if !met {
            self.links.ban(peer);
        }
        self.counters.on_cut(peer);
        self.outputs.push_back(Output::Disconnect(peer));
        self.event(Event::Cut(peer));
    }

    fn complain(&mut self, peer: PeerId, sequence: u64, stripe: Option<StripeId>) {
        if self.hearsay.has_met(peer) {
            return;
        }
        let complaint = wire::Complaint {
            peer: peer.0,
            sequence,
            stripe: stripe.map_or(u32::MAX, |stripe| u32::from(stripe.get())),
        };
        self.tell(wire::to_tracker::Kind::Complaint(complaint));
    }

    fn on_stale(&mut self, from: PeerId) {
        self.on_stale_from(from, false);
    }

    fn on_stale_from(&mut self, from: PeerId, parent: bool) {
        self.counters.stats.stale_pieces += 1;
        let now = self.now;
        if self
            .links
            .get_mut(from)
            .is_some_and(|link| link.on_stale(now, parent))
        {
            self.cut(from);
        }
    }

    fn count_received(&mut self, from: PeerId, message: &PieceMessage<S::Piece>, duplicate: bool) {
        let count = self.piece_count(message, duplicate);
        let seeder = self.links.is_seeder(from);
        self.counters.on_received(seeder, count);
    }

    pub(super) fn piece_count(
        &self,
        message: &PieceMessage<S::Piece>,
        duplicate: bool,
    ) -> PieceCount {
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

    pub(super) fn send(&mut self, to: PeerId, message: Message<S>) {
        if self.links.is_up(to) {
            self.outputs.push_back(Output::Send { to, message });
        }
    }
}

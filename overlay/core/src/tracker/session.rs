//! What peers and the tracker say to each other.

use super::{
    Duration, Member, Order, PeerId, RefusedCode, Role, SessionId, Tracker, from_tracker,
    placement, to_tracker,
};
use crate::{Instant, StripeId, wire};

/// Parents that a peer can have, one per stripe.
const MAX_EDGES: usize = StripeId::MAX as usize;
/// Partners a newcomer is introduced to. Links serve both sides, so that a peer has twice as
/// many in the mean, more than the 12 that pulling wants (overlay design, "Pull").
const PARTNERS: usize = 8;
/// Swarms up to this size have everyone linked to the seeders, for rescue.
const RESCUED: usize = 200;
/// A plan is repeated when it was not reported to have come true within this.
const PATIENCE: Duration = Duration::from_millis(2500);
/// More than this nobody is believed to offer: it would spoil what is planned for others.
const MAX_UPLOAD_BPS: u64 = 1_000_000_000;
/// The rate changed so much that slots are counted anew.
const RATE_CHANGE: f64 = 0.04;
/// A broadcast is planned for at least this rate, until it was measured.
const MIN_RATE_BPS: u64 = 64_000;

impl Tracker {
    pub(super) fn on_message(&mut self, session: SessionId, message: wire::ToTracker) {
        let Some(state) = self.sessions.get(&session) else {
            return;
        };
        let (peer, kind) = match (state.peer, message.kind) {
            (_, None) => return,
            (None, Some(to_tracker::Kind::Join(join))) => return self.on_join(session, &join),
            (None, Some(_)) => return self.close(session, "spoke before joining"),
            (Some(_), Some(to_tracker::Kind::Join(_))) => {
                return self.close(session, "joined twice");
            }
            (Some(peer), Some(kind)) => (peer, kind),
        };
        self.on_heard(peer);
        match kind {
            to_tracker::Kind::Status(status) if status.parents.len() > MAX_EDGES => {
                self.close(session, "too many parents");
            }
            to_tracker::Kind::Status(status) => self.on_status(peer, status),
            to_tracker::Kind::Signal(signal) => self.on_signal(session, peer, signal),
            to_tracker::Kind::Detached(detached) => {
                if let Some(stripe) = wire::stripe_of(detached.stripe) {
                    let parent = PeerId(detached.parent);
                    let reason = detached.reason();
                    self.on_blamed(peer, stripe, parent, reason);
                    if parent == PeerId(0) && !self.placement.plans(peer, stripe) {
                        // Left from a plan that has changed since.
                        self.tell(vec![Order::Unplace { peer, stripe }]);
                    }
                    self.unsettled |= self
                        .placement
                        .on_detached(self.now, peer, stripe, parent, reason);
                }
            }
            to_tracker::Kind::Attached(edge) => {
                if let Some(stripe) = wire::stripe_of(edge.stripe) {
                    let parent = PeerId(edge.parent);
                    let orders = self.placement.on_attached(self.now, peer, stripe, parent);
                    self.note_met();
                    self.tell(orders);
                }
            }
            to_tracker::Kind::Ping(ping) => {
                let pong = wire::Pong {
                    stamp_us: ping.stamp_us,
                    wall_us: self.wall_us(),
                };
                self.send(session, from_tracker::Kind::Pong(pong));
            }
            to_tracker::Kind::Suspect(suspect) => self.on_suspect(peer, PeerId(suspect.peer)),
            to_tracker::Kind::Complaint(complaint) => self.on_complaint(peer, &complaint),
            to_tracker::Kind::Join(_) => {}
        }
    }

    pub(super) fn on_closed(&mut self, session: SessionId) {
        let Some(peer) = self.sessions.remove(&session).and_then(|state| state.peer) else {
            return;
        };
        self.placement.remove(peer);
        self.standing.forget(peer);
        if let Some(member) = self.members.remove(peer) {
            self.tally.on_gone(&member);
        }
        self.unsettled = true;
    }

    fn on_join(&mut self, session: SessionId, join: &wire::Join) {
        let peer = PeerId(join.peer);
        self.make_way_for_seeder(session, peer);
        if peer == PeerId(0) || self.members.get(peer).is_some() {
            return self.refuse(session, RefusedCode::Name, "this peer name is taken");
        }
        if self.members.len() >= self.config.max_members {
            return self.refuse(session, RefusedCode::Full, "the swarm is full");
        }
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        state.peer = Some(peer);
        let grant = state.grant;
        let offered = join.upload_bps.min(MAX_UPLOAD_BPS);
        let upload_bps = if grant.may_share { offered } else { 0 };
        let member = Member {
            session,
            heard: self.now,
            quiet: false,
            distrusted: None,
            role: grant.role,
            upload_bps,
            offered_bps: upload_bps,
            may_share: grant.may_share,
            origin: grant.origin,
            reported: false,
            counted_startup: false,
            answers_probes: join.answers_probes,
            probed: None,
            missed: None,
            partners: std::collections::BTreeSet::new(),
            status: wire::Status::default(),
        };
        let slots = self.stream.map_or(0, |stream| member.slots(&stream));
        self.members.insert(peer, member);
        self.placement.add(peer, grant.role == Role::Seeder, slots);
        self.placement.on_return(peer, edges(&join.parents));
        let welcome = wire::Welcome {
            wall_us: self.wall_us(),
            seeders: self.members.seeders(),
            stream: self.stream,
            no_sharing: !grant.may_share,
        };
        self.send(session, from_tracker::Kind::Welcome(welcome));
        match grant.role {
            Role::Viewer => self.introduce(peer),
            Role::Seeder => self.introduce_seeder(peer),
        }
        self.unsettled = true;
    }

    /// A seeder's name is known to all: a viewer that took it first has to go.
    fn make_way_for_seeder(&mut self, session: SessionId, peer: PeerId) {
        let seeder = self
            .sessions
            .get(&session)
            .is_some_and(|state| state.grant.role == Role::Seeder);
        let squatter = self.members.get(peer).filter(|member| !member.is_seeder());
        if let Some(squatter) = squatter.map(|member| member.session).filter(|_| seeder) {
            self.close(squatter, "has a seeder's name");
        }
    }

    /// Names partners to a newcomer; the links serve both sides. Where viewers are not to
    /// share, only seeders are named.
    fn introduce(&mut self, peer: PeerId) {
        let shares = self
            .members
            .get(peer)
            .is_some_and(|member| member.may_share);
        let most = if shares { PARTNERS } else { 0 };
        let partners = self.members.draw(most, peer, &mut self.random);
        for partner in &partners {
            self.members.note_met(peer, *partner);
        }
        let small = self.members.len() <= RESCUED;
        let seeders = self.members.seeders();
        let mut named: Vec<u64> = partners.iter().map(|partner| partner.0).collect();
        named.extend(seeders.iter().filter(|_| small));
        let introduce = wire::Introduce {
            partners: named,
            seeders,
        };
        self.send_to(peer, from_tracker::Kind::Introduce(introduce));
    }

    /// Names a new seeder to everyone.
    fn introduce_seeder(&mut self, seeder: PeerId) {
        let viewers: Vec<PeerId> = self.members.viewers().map(|(peer, _)| peer).collect();
        let small = self.members.len() <= RESCUED;
        let introduce = wire::Introduce {
            partners: if small { vec![seeder.0] } else { Vec::new() },
            seeders: self.members.seeders(),
        };
        for viewer in viewers {
            self.send_to(viewer, from_tracker::Kind::Introduce(introduce.clone()));
        }
    }

    fn on_status(&mut self, peer: PeerId, status: wire::Status) {
        let Some(member) = self.members.get_mut(peer) else {
            return;
        };
        let seeder = member.is_seeder();
        let stream = status.stream;
        let status_capacity = status.capacity_bps;
        let first = !member.reported;
        member.status = status;
        self.tally.on_status(member);
        if !seeder {
            if member.on_capacity(status_capacity) {
                self.on_capacity(peer);
            }
            return;
        }
        let sent = |member: &Member| member.status.sent?.bytes.map(|bytes| bytes.media);
        if first && self.members.get(peer).and_then(sent) > Some(0) {
            self.placement.expect_returns();
        }
        // One that has just begun says nothing of the broadcast, which others may be fed.
        let told = self.members.iter().any(|(other, member)| {
            other != peer && member.is_seeder() && member.status.stream.is_some()
        });
        if stream.is_some() || !told {
            self.on_stream(stream);
        }
    }

    /// A viewer's line carries more or less than was thought: children beyond it are placed
    /// elsewhere.
    fn on_capacity(&mut self, peer: PeerId) {
        let member = self.members.get(peer);
        let slots = member.zip(self.stream).map(|(member, s)| member.slots(&s));
        if let Some(slots) = slots {
            self.placement.resize(peer, slots);
            self.unsettled = true;
        }
    }

    /// Who feeds whom knows each other, whoever named one to the other.
    fn note_met(&mut self) {
        for (child, parent) in self.placement.take_met() {
            self.members.note_met(child, parent);
        }
    }

    /// A seeder told how the broadcast is.
    fn on_stream(&mut self, stream: Option<wire::Stream>) {
        let stream = stream.filter(|stream| {
            (1..=stream.n).contains(&stream.k) && stream.n <= u32::from(StripeId::MAX)
        });
        let was = self.stream;
        let Some(mut stream) = stream else {
            if self.stream.take().is_some() {
                self.tell_live();
            }
            return;
        };
        stream.rate_bps = stream.rate_bps.max(MIN_RATE_BPS);
        let planned = was.map_or(0.0, |was| was.rate_bps as f64);
        let changed = (stream.rate_bps as f64 - planned).abs() > planned * RATE_CHANGE;
        let reshaped = was.is_none_or(|was| (was.k, was.n) != (stream.k, stream.n));
        if was.is_none() {
            self.tally.on_broadcast();
        }
        if changed || reshaped {
            self.placement.set_shape(stream.k as u8, stream.n as u8);
            self.stream = Some(stream);
            self.recount_slots(&stream);
        } else if let Some(held) = &mut self.stream {
            held.live = stream.live;
        }
        if was.is_none_or(|was| was.live != stream.live) {
            self.tell_live();
        }
    }

    fn recount_slots(&mut self, stream: &wire::Stream) {
        for (peer, member) in self.members.iter() {
            self.placement.forest.set_slots(peer, member.slots(stream));
        }
        self.unsettled = true;
    }

    fn tell_live(&mut self) {
        let viewers: Vec<PeerId> = self.members.viewers().map(|(peer, _)| peer).collect();
        let live = wire::Live {
            stream: self.stream,
        };
        for viewer in viewers {
            self.send_to(viewer, from_tracker::Kind::Live(live));
        }
    }

    fn on_signal(&mut self, session: SessionId, from: PeerId, signal: wire::Signal) {
        if signal.payload.len() > wire::MAX_SIGNAL_LEN {
            return self.close(session, "signal too long");
        }
        let to = PeerId(signal.peer);
        if !self.members.have_met(from, to) {
            return;
        }
        let onward = wire::Signal {
            peer: from.0,
            payload: signal.payload,
            near: self.are_near(from, to),
        };
        self.send_to(to, from_tracker::Kind::Signal(onward));
    }

    /// Whether both come from one address.
    fn are_near(&self, a: PeerId, b: PeerId) -> bool {
        let origin = |peer| self.members.get(peer)?.origin;
        origin(a).is_some() && origin(a) == origin(b)
    }

    /// Compares plans with reports, and repeats what did not come true; of a large swarm, some
    /// viewers' in turn.
    pub(super) fn reconcile(&mut self) {
        if !self.placement.is_ready() {
            return;
        }
        let mut missing = Vec::new();
        let mut orders = Vec::new();
        let most = placement::sweep(self.members.len());
        let mut seen = PeerId(0);
        for (peer, member) in self.members.viewers_from(self.reconciled, most) {
            seen = peer;
            let Some(node) = self.placement.forest.get(peer) else {
                continue;
            };
            let told_lately = |stripe: StripeId| {
                let told = node.told.get(&stripe);
                told.is_some_and(|told| self.now.since(*told) < PATIENCE)
            };
            let edges = &member.status.parents;
            for (stripe, parent) in node.parents().filter(|(stripe, _)| !told_lately(*stripe)) {
                let true_now = |edge: &wire::Edge| {
                    edge.stripe == u32::from(stripe.get()) && edge.parent == parent.0
                };
                if !edges.iter().any(true_now) {
                    missing.push((peer, stripe));
                }
            }
            let reported = edges.iter().filter_map(|edge| wire::stripe_of(edge.stripe));
            for stripe in reported.filter(|stripe| !told_lately(*stripe)) {
                let leaving = self.placement.is_leaving(peer, stripe);
                let claimed = self.placement.is_claimed(peer, stripe);
                if node.parent(stripe).is_none() && !leaving && !claimed {
                    orders.push(Order::Unplace { peer, stripe });
                }
            }
        }
        self.reconciled = PeerId(seen.0.wrapping_add(1));
        for (peer, stripe) in missing {
            orders.extend(self.placement.again(self.now, peer, stripe));
        }
        self.tell(orders);
    }

    /// Plans anew and tells who is concerned.
    pub(super) fn settle(&mut self, calm: bool) {
        let orders = self.placement.settle(self.now, calm);
        self.note_met();
        self.tell(orders);
    }

    /// Tells orders, of several about one stripe only the last.
    fn tell(&mut self, orders: Vec<Order>) {
        let mut last = std::collections::BTreeMap::new();
        for (index, order) in orders.iter().enumerate() {
            let (Order::Place { peer, stripe, .. } | Order::Unplace { peer, stripe }) = order;
            last.insert((*peer, *stripe), index);
        }
        for (index, order) in orders.into_iter().enumerate() {
            let (Order::Place { peer, stripe, .. } | Order::Unplace { peer, stripe }) = &order;
            if last.get(&(*peer, *stripe)) == Some(&index) {
                self.tell_one(order);
            }
        }
    }

    fn tell_one(&mut self, order: Order) {
        let (peer, kind) = match order {
            Order::Place {
                peer,
                stripe,
                parent,
                backups,
                interior,
            } => {
                for named in backups.iter().chain([&parent]) {
                    self.members.note_met(peer, *named);
                }
                let place = wire::Place {
                    stripe: u32::from(stripe.get()),
                    parent: parent.0,
                    backups: backups.into_iter().map(|backup| backup.0).collect(),
                    interior,
                };
                (peer, from_tracker::Kind::Place(place))
            }
            Order::Unplace { peer, stripe } => {
                let stripe = u32::from(stripe.get());
                (peer, from_tracker::Kind::Unplace(wire::Unplace { stripe }))
            }
        };
        self.send_to(peer, kind);
    }

    fn refuse(&mut self, session: SessionId, code: RefusedCode, message: &str) {
        let refused = wire::Refused {
            code: code.into(),
            message: message.to_owned(),
        };
        self.send(session, from_tracker::Kind::Refused(refused));
        self.close(session, "refused");
    }

    fn close(&mut self, session: SessionId, reason: &'static str) {
        self.outputs
            .push_back(super::Output::Close { session, reason });
        self.on_closed(session);
    }

    fn wall_us(&self) -> u64 {
        self.config
            .wall_at_zero_us
            .saturating_add(Instant::as_micros(self.now))
    }
}

/// Edges as a peer tells of them, by stripe.
pub(super) fn edges(told: &[wire::Edge]) -> std::collections::BTreeMap<StripeId, PeerId> {
    let told = told.iter().take(MAX_EDGES);
    told.filter_map(|edge| Some((wire::stripe_of(edge.stripe)?, PeerId(edge.parent))))
        .collect()
}

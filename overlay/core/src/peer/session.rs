//! The peer and the tracker: joining, being placed, reporting.

use super::{Event, Output, Peer, parents::Action, playout::Phase};
use crate::{
    Instant, PeerId, Scheme,
    tracker::Role,
    wire::{self, DetachReason, control, from_tracker, to_tracker},
};

/// Partners the tracker may name.
const MAX_PARTNERS: usize = 64;
/// A stripe's new parent resends so much of it (overlay design, "Detection and repair").
const BACKFILL: std::time::Duration = std::time::Duration::from_millis(1200);

impl<S: Scheme> Peer<S> {
    pub(super) fn on_tracker_up(&mut self) {
        self.tracker_up = true;
        self.part_from_the_met();
        let join = wire::Join {
            peer: self.config.peer.0,
            upload_bps: self.config.upload_bps,
            parents: self.edges(),
            answers_probes: true,
        };
        self.tell(to_tracker::Kind::Join(join));
    }

    pub(super) fn on_tracker_down(&mut self) {
        self.tracker_up = false;
        self.joined = false;
        self.clock.stop();
    }

    pub(super) fn on_tracker(&mut self, message: wire::FromTracker) {
        match message.kind {
            Some(from_tracker::Kind::Welcome(welcome)) => self.on_welcome(&welcome),
            Some(from_tracker::Kind::Refused(refused)) => {
                let code = refused.code();
                self.event(Event::Refused {
                    code,
                    retry: code != wire::RefusedCode::Cut,
                });
            }
            Some(from_tracker::Kind::Place(place)) => self.on_place(&place),
            Some(from_tracker::Kind::Unplace(unplace)) => {
                if let Some(stripe) = wire::stripe_of(unplace.stripe) {
                    let actions = self.parents.unplace(stripe);
                    self.act(actions);
                }
            }
            Some(from_tracker::Kind::Introduce(introduce)) => {
                self.links.set_seeders(&introduce.seeders);
                for partner in introduce.partners.iter().take(MAX_PARTNERS) {
                    self.connect(PeerId(*partner));
                }
            }
            Some(from_tracker::Kind::Signal(signal)) => {
                let from = PeerId(signal.peer);
                if !self.links.is_banned(from) && signal.payload.len() <= wire::MAX_SIGNAL_LEN {
                    self.outputs.push_back(Output::Signal {
                        from,
                        payload: signal.payload,
                        near: signal.near,
                    });
                }
            }
            Some(from_tracker::Kind::Pong(pong)) => {
                let sent = Instant::from_micros(pong.stamp_us);
                self.clock.on_pong(self.now, sent, pong.wall_us);
            }
            Some(from_tracker::Kind::Probe(_)) => self.report(),
            Some(from_tracker::Kind::Live(_)) | None => {}
        }
    }

    fn on_welcome(&mut self, welcome: &wire::Welcome) {
        self.joined = true;
        self.no_sharing = welcome.no_sharing;
        if welcome.no_sharing {
            self.uplink.close();
        }
        self.clock.on_welcome(self.now, welcome.wall_us);
        self.links.set_seeders(&welcome.seeders);
        self.event(Event::Joined);
        if self.playout.phase() == Phase::Starting && !welcome.stream.is_some_and(|s| s.live) {
            self.event(Event::Waiting);
        }
        self.report();
    }

    fn on_place(&mut self, place: &wire::Place) {
        let links = &self.links;
        let actions = self
            .parents
            .place(self.now, place, |peer| links.is_up(peer));
        self.act(actions);
        for backup in place.backups.iter().take(2) {
            self.connect(PeerId(*backup));
        }
    }

    /// Opens a link unless there is one.
    pub(super) fn connect(&mut self, peer: PeerId) {
        if peer == self.config.peer {
            return;
        }
        self.make_way_for(peer);
        if self.links.begin(self.now, peer) {
            self.outputs.push_back(Output::Connect(peer));
        }
    }

    /// Gives up a link that is of no use, if there is no room for one to this peer.
    pub(super) fn make_way_for(&mut self, peer: PeerId) {
        if self.links.is_known(peer) || self.links.is_banned(peer) {
            return;
        }
        let needed =
            |peer| self.parents.counts_on(peer) || !self.children.stripes_of(peer).is_empty();
        if let Some(other) = self.links.dispensable(needed) {
            self.outputs.push_back(Output::Disconnect(other));
            self.on_link_down(other);
        }
    }

    /// Does what the parents' machine decided.
    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect(peer) => self.connect(peer),
                Action::Subscribe {
                    parent,
                    stripe,
                    interior,
                    planned,
                } => {
                    let subscribe = control::Subscribe {
                        stripe: u32::from(stripe.get()),
                        from_sequence: self.backfill_from(stripe),
                        interior,
                        planned,
                    };
                    self.send_control(parent, control::Kind::Subscribe(subscribe));
                }
                Action::Unsubscribe { parent, stripe } => {
                    let stripe = u32::from(stripe.get());
                    let unsubscribe = control::Unsubscribe { stripe };
                    self.send_control(parent, control::Kind::Unsubscribe(unsubscribe));
                }
                Action::Suspect(parent) => {
                    let suspect = wire::Suspect { peer: parent.0 };
                    self.tell(to_tracker::Kind::Suspect(suspect));
                    self.ask_who_is_there(parent);
                }
                Action::Attached { parent, stripe } => {
                    self.tell(to_tracker::Kind::Attached(wire::Edge {
                        stripe: u32::from(stripe.get()),
                        parent: parent.0,
                    }));
                    self.event(Event::Attached { stripe, parent });
                }
                Action::Detached {
                    parent,
                    stripe,
                    reason,
                } => {
                    // Who was met without the tracker is not blamed: the name may be another's.
                    let met = self.hearsay.has_met(parent);
                    let reason = if met { DetachReason::Refused } else { reason };
                    self.tell(to_tracker::Kind::Detached(wire::Detached {
                        stripe: u32::from(stripe.get()),
                        parent: parent.0,
                        reason: reason.into(),
                    }));
                }
            }
        }
    }

    /// From which generation on a new parent is to resend its stripe: for who has just come
    /// from the newest there was, since it fetches the past itself; for who stands, from the
    /// first generation that lacks the piece; for who plays, the same within the last 1.2 s.
    /// What nobody here has heard of may be there too, and in time.
    fn backfill_from(&self, stripe: crate::StripeId) -> u64 {
        let now = self.now;
        if self.playout.phase() == Phase::Starting {
            // 0 would mean that it knows none.
            return self.playout.joined().map_or(0, |joined| joined.max(1));
        }
        let from = self.playout.needs_from(now, &self.window, &self.clock);
        let unknown = self.playout.first_in_time(now, self.rate.interval());
        let newest = self.window.newest();
        let unknown = unknown.map_or(u64::MAX, |first| {
            first.max(newest.map_or(0, |newest| newest + 1))
        });
        let Some(from) = from else {
            return unknown;
        };
        let playing = matches!(self.playout.phase(), Phase::Playing(_));
        let oldest = if playing {
            now - BACKFILL
        } else {
            Instant::default()
        };
        self.window
            .range(from..)
            .filter(|(_, generation)| generation.seen >= oldest)
            .filter(|(_, generation)| generation.complete.is_none())
            .find(|(_, generation)| !generation.have().contains(stripe))
            .map_or(unknown, |(sequence, _)| sequence)
    }

    /// Tells the tracker how the peer is doing.
    pub(super) fn report(&mut self) {
        if !self.joined {
            return;
        }
        let age = self.now.since(self.config.started);
        let mut status = self.counters.status(self.now, age);
        status.parents = self.edges();
        status.capacity_bps = self.uplink.capacity_bps();
        if self.config.role == Role::Seeder {
            status.stream = self.stream();
        }
        self.tell(to_tracker::Kind::Status(status));
    }

    /// The broadcast as a seeder sees it.
    fn stream(&self) -> Option<wire::Stream> {
        let (k, n) = self.rate.shape()?;
        let newest = self.window.newest()?;
        let facts = self.window.get(newest)?.facts()?;
        let over = facts.flags.has(stripe::Flags::END);
        (!over).then(|| wire::Stream {
            k: u32::from(k),
            n: u32::from(n),
            rate_bps: self.rate.media_bps().unwrap_or(0),
            live: !facts.flags.has(stripe::Flags::PAUSE),
        })
    }

    fn edges(&self) -> Vec<wire::Edge> {
        self.parents
            .delivering()
            .map(|(stripe, parent)| wire::Edge {
                stripe: u32::from(stripe.get()),
                parent: parent.0,
            })
            .collect()
    }

    pub(super) fn tell(&mut self, kind: to_tracker::Kind) {
        if self.tracker_up {
            self.outputs.push_back(Output::Tracker(kind.into()));
        }
    }
}

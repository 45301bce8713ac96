//! One swarm the program is in: its core, its words to the tracker, and who gets its media.

use std::time::Duration;

use bytes::Bytes;
use overlay_core::{
    Instant, Peer, PeerId, Signed,
    peer::{self, Input, Output, Release, stats::Stats},
    tracker::Role,
    wire::{self, FromTracker, ToTracker, from_tracker},
};
use tokio::sync::{broadcast, mpsc, watch};

use crate::{link::Channel, outputs::hub::Media, signalling::Denial};

/// Seeders that are remembered for the figures.
const MAX_SEEDERS: usize = 64;

/// A peer to be.
pub struct Join {
    /// Its name, chosen at random.
    pub peer: PeerId,
    /// What it is.
    pub role: Role,
    /// Bits a second it sends at most; 0: shares nothing.
    pub upload_bps: u64,
    /// Random.
    pub seed: u64,
    /// When the program, or this viewer of it, began.
    pub started: Instant,
    /// What its channel's epochs must be signed with.
    pub scheme: Signed,
    /// Its channels to the rest of the program.
    pub session: Session,
}

/// A member's channels to the rest of the program.
pub struct Session {
    /// To the tracker. What does not fit is refused.
    pub tracker: mpsc::Sender<ToTracker>,
    /// Media and events. The oldest give way.
    pub played: broadcast::Sender<Played>,
    /// Figures, renewed each second.
    pub stats: watch::Sender<Snapshot>,
}

/// A peer in figures, as it was within the last second.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What the core counts.
    pub stats: Stats,
    /// Which peers are seeders, as the tracker last said.
    pub seeders: Vec<PeerId>,
    /// Peers whose link goes over a TURN server.
    pub turned: Vec<PeerId>,
}

/// What comes out of a swarm.
#[derive(Clone)]
pub enum Played {
    /// A generation, now.
    Media {
        /// For players.
        media: Media,
        /// Release − ingest stamp; `None` for pre-roll.
        lag: Option<Duration>,
    },
    /// Something to tell people.
    Event(peer::Event),
    /// There is no use in going on.
    Denied(Denial),
}

/// The peer that is.
pub(super) struct Member {
    pub(super) id: PeerId,
    role: Role,
    peer: Peer<Signed>,
    scheme: Signed,
    session: Session,
    seeders: Vec<PeerId>,
    /// Peers whose link goes over a TURN server.
    pub(super) turned: Vec<PeerId>,
    pub(super) timeout: Instant,
    /// Its core has to be polled.
    pub(super) touched: bool,
}

impl Member {
    pub(super) fn new(join: Join, now: Instant) -> Self {
        let config = peer::Config {
            peer: join.peer,
            role: join.role,
            upload_bps: join.upload_bps,
            seed: join.seed,
            started: join.started,
        };
        Self {
            id: join.peer,
            role: join.role,
            peer: Peer::new(now, join.scheme.clone(), config),
            scheme: join.scheme,
            session: join.session,
            seeders: Vec::new(),
            turned: Vec::new(),
            timeout: now,
            touched: true,
        }
    }

    pub(super) fn handle(&mut self, now: Instant, input: Input<Signed>) {
        self.peer.handle(now, input);
        self.touched = true;
    }

    /// The tracker says something. Whether a viewer heard who the seeders are.
    pub(super) fn on_tracker(&mut self, now: Instant, message: FromTracker) -> bool {
        let named = matches!(
            &message.kind,
            Some(from_tracker::Kind::Welcome(_) | from_tracker::Kind::Introduce(_))
        );
        match &message.kind {
            Some(from_tracker::Kind::Welcome(welcome)) => self.note_seeders(&welcome.seeders),
            Some(from_tracker::Kind::Introduce(list)) => self.note_seeders(&list.seeders),
            _ => {}
        }
        self.handle(now, Input::Tracker(message));
        named && self.role == Role::Viewer
    }

    pub(super) fn seeders(&self) -> &[PeerId] {
        &self.seeders
    }

    fn note_seeders(&mut self, seeders: &[u64]) {
        self.seeders = seeders
            .iter()
            .copied()
            .map(PeerId)
            .take(MAX_SEEDERS)
            .collect();
    }

    pub(super) fn poll(&mut self) -> Output<Signed> {
        self.peer.poll()
    }

    pub(super) fn receive(&mut self, now: Instant, from: PeerId, channel: Channel, bytes: &Bytes) {
        let channel = match channel {
            Channel::Control => wire::Channel::Reliable,
            Channel::Pieces => wire::Channel::Pieces,
        };
        let input = match wire::decode(&self.scheme, channel, bytes) {
            Ok(message) => Input::Received { from, message },
            Err(_) => Input::Malformed(from),
        };
        self.handle(now, input);
    }

    pub(super) fn tell_tracker(&self, message: ToTracker) {
        if self.session.tracker.try_send(message).is_err() {
            tracing::debug!("a word to the tracker is lost");
        }
    }

    /// Nobody may be listening, which is theirs to know.
    pub(super) fn play(&self, release: Release<Signed>) {
        let media = Media {
            media: release.body.media,
            init: release.body.init,
            flags: release.facts.flags,
            ingest_stamp_us: release.facts.ingest_stamp_us,
        };
        let _ = self.session.played.send(Played::Media {
            media,
            lag: release.lag,
        });
    }

    pub(super) fn tell(&self, event: peer::Event) {
        if event == peer::Event::Ended {
            self.publish_stats();
        }
        let _ = self.session.played.send(Played::Event(event));
    }

    pub(super) fn deny(&self, denial: Denial) {
        let _ = self.session.played.send(Played::Denied(denial));
    }

    pub(super) fn publish_stats(&self) {
        self.session.stats.send_replace(Snapshot {
            stats: self.peer.stats(),
            seeders: self.seeders.clone(),
            turned: self.turned.clone(),
        });
    }
}

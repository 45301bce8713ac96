//! One swarm as its tracker sees it: who is in, who gets which stripe from whom, and the
//! figures of all of them together. The tracker's service hosts one per channel.
//!
//! The one rule: the tracker proposes and the peers report; what peers report is what is.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    Instant, PeerId, Random,
    wire::{self, RefusedCode, from_tracker, to_tracker},
};

mod forest;
mod membership;
mod placement;
mod probes;
mod session;
mod standing;
pub mod stats;
mod tally;

use membership::{Member, Members};
use placement::{Order, Placement};
use probes::Probes;
use standing::Standing;
use stats::{Picture, PicturePeer, Stats};
use tally::Tally;

/// Plans follow each other no faster: what comes meanwhile is planned for together.
const PAUSE: Duration = Duration::from_millis(5);
/// How often deficits, surpluses and reports are compared.
const SETTLE: Duration = Duration::from_millis(500);

/// What a tracker is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// For choices where any answer is right.
    pub seed: u64,
    /// Unix microseconds at the host's zero: what peers are told is this plus the host's
    /// clock.
    pub wall_at_zero_us: u64,
    /// Members it takes at most.
    pub max_members: usize,
}

impl Default for Config {
    /// A hundred thousand members: beyond, a swarm is split into cells.
    fn default() -> Self {
        Self {
            seed: 0,
            wall_at_zero_us: 0,
            max_members: 100_000,
        }
    }
}

/// One swarm's tracker. `membership` knows who is in, `placement` who feeds whom,
/// `session` what they say, `tally` what it comes to.
pub struct Tracker {
    config: Config,
    now: Instant,
    random: Random,
    sessions: BTreeMap<SessionId, Session>,
    members: Members,
    placement: Placement,
    stream: Option<wire::Stream>,
    tally: Tally,
    standing: Standing,
    probes: Probes,
    unsettled: bool,
    settled: Instant,
    next_settle: Instant,
    /// Where comparing plans with reports goes on.
    reconciled: PeerId,
    outputs: VecDeque<Output>,
}

struct Session {
    grant: Grant,
    peer: Option<PeerId>,
}

impl Tracker {
    /// A tracker of an empty swarm.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            now,
            random: Random::new(config.seed),
            sessions: BTreeMap::new(),
            members: Members::default(),
            placement: Placement::default(),
            stream: None,
            tally: Tally::default(),
            standing: Standing::default(),
            probes: Probes::default(),
            unsettled: false,
            settled: now,
            next_settle: now + SETTLE,
            reconciled: PeerId(0),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Takes an input in. Afterwards call [`Self::poll`] until it answers `Timeout`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Opened { session, grant } => {
                self.sessions.insert(session, Session { grant, peer: None });
            }
            Input::Message { session, message } => self.on_message(session, message),
            Input::Closed { session } => self.on_closed(session),
            Input::Timeout => {}
        }
        self.look_for_answers();
        if self.now >= self.next_settle {
            self.next_settle = self.now + SETTLE;
            self.notice_silence();
            self.reconcile();
            self.settle(!self.unsettled);
            self.unsettled = false;
            self.settled = self.now;
        } else if self.unsettled && self.now >= self.settled + PAUSE {
            self.settle(false);
            self.unsettled = false;
            self.settled = self.now;
        }
        self.tally.tick(self.now, &self.members);
    }

    /// The next thing for the host to do.
    pub fn poll(&mut self) -> Output {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| Output::Timeout(self.next_timeout()))
    }

    fn next_timeout(&self) -> Instant {
        let mut next = self.next_settle;
        if self.unsettled {
            next = next.min(self.settled + PAUSE);
        }
        self.probes.next().map_or(next, |due| next.min(due))
    }

    /// Whether nobody is in the swarm.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The swarm in figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.tally.stats(self.stream, &self.members)
    }

    /// The swarm as a picture.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let peers = self.members.iter().take(Picture::MAX_PEERS);
        let peers = peers.map(|(peer, member)| PicturePeer {
            peer,
            seeder: member.is_seeder(),
            upload_bps: member.upload_bps,
            playing: member.status.played > 0,
            parents: member
                .status
                .parents
                .iter()
                .filter_map(|edge| Some((u8::try_from(edge.stripe).ok()?, PeerId(edge.parent))))
                .collect(),
        });
        Picture {
            peers: peers.collect(),
        }
    }

    fn send(&mut self, session: SessionId, kind: from_tracker::Kind) {
        let message = kind.into();
        self.outputs.push_back(Output::Send { session, message });
    }

    fn send_to(&mut self, peer: PeerId, kind: from_tracker::Kind) {
        if let Some(session) = self.members.get(peer).map(|member| member.session) {
            self.send(session, kind);
        }
    }
}

/// Names a peer's connection to the tracker. The host never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// What a ticket, or being one of ours, allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Which role the peer has.
    pub role: Role,
    /// Whether it may send to other peers at all.
    pub may_share: bool,
    /// From where it comes: the same number for all at one address, if that is known.
    pub origin: Option<u64>,
}

/// What a peer is in its swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Plays, and relays what it can.
    Viewer,
    /// Ours: has every piece from the encoder.
    Seeder,
}

/// What happens to a swarm.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an input is handed over once and never kept"
)]
pub enum Input {
    /// A peer connected and showed what allows it.
    Opened {
        /// Its connection.
        session: SessionId,
        /// What it may.
        grant: Grant,
    },
    /// It said something.
    Message {
        /// By which connection.
        session: SessionId,
        /// What.
        message: wire::ToTracker,
    },
    /// Its connection ended.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// The time of the last [`Output::Timeout`] has come.
    Timeout,
}

/// What the host is to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this.
    Send {
        /// By which connection.
        session: SessionId,
        /// What.
        message: wire::FromTracker,
    },
    /// Close this connection, after what was sent.
    Close {
        /// Which.
        session: SessionId,
        /// Why, for the log.
        reason: &'static str,
    },
    /// Nothing until then, unless something happens.
    Timeout(Instant),
}

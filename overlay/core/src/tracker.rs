//! One swarm as its tracker sees it: who is in, who gets which stripe from whom, and the
//! figures of all of them together. The tracker's service hosts one per channel.
//!
//! The one rule: the tracker proposes and the peers report; what peers report is what is.

use std::collections::VecDeque;

use crate::{Instant, wire};

pub mod stats;

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

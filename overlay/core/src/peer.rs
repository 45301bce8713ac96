//! What every viewer and every seeder runs.
//!
//! The one rule for hosts: after every `handle`, call `poll` until it answers `Timeout`.

use std::time::Duration;

use crate::{Facts, Instant, PeerId, Scheme, StripeId, tracker::Role, wire};

pub mod stats;

/// What a peer is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, chosen at random.
    pub peer: PeerId,
    /// What it is.
    pub role: Role,
    /// Bits a second it may send at most, all of it counted; 0: shares nothing.
    pub upload_bps: u64,
    /// For choices where any answer is right.
    pub seed: u64,
    /// When the program began, for the start-up time.
    pub started: Instant,
}

/// What happens to a peer.
pub enum Input<S: Scheme> {
    /// The time of the last [`Output::Timeout`] has come.
    Timeout,
    /// The session with the tracker is open; the peer joins.
    TrackerUp,
    /// It is closed.
    TrackerDown,
    /// The tracker said something.
    Tracker(wire::FromTracker),
    /// A link is open, whoever began it.
    LinkUp(PeerId),
    /// It is closed, or could not be opened.
    LinkDown(PeerId),
    /// A peer said something.
    Received {
        /// Who.
        from: PeerId,
        /// What.
        message: wire::Message<S>,
    },
    /// A peer sent bytes that are no message.
    Malformed(PeerId),
    /// So many bytes wait in a link's send buffer.
    Buffered {
        /// Whose.
        peer: PeerId,
        /// How many.
        bytes: usize,
    },
    /// So many bytes of UDP payload passed since the last such input, with what the
    /// transport adds and repeats.
    Traffic {
        /// With whom.
        peer: PeerId,
        /// Sent.
        sent: u64,
        /// Received.
        received: u64,
    },
    /// Bytes sent to players over HTTP since the last such input (seeders only).
    Http(u64),
    /// An epoch begins (seeders only).
    Epoch(S::Epoch),
    /// A generation is complete (seeders only): the header and n pieces in stripe order.
    Publish {
        /// Its header.
        header: S::Header,
        /// Its pieces.
        pieces: Vec<S::Piece>,
    },
}

/// What the host is to do.
pub enum Output<S: Scheme> {
    /// Send to a peer, on `message.channel()`.
    Send {
        /// Whom.
        to: PeerId,
        /// What.
        message: wire::Message<S>,
    },
    /// Send to the tracker.
    Tracker(wire::ToTracker),
    /// Open a link; answer `LinkUp` or, within a few seconds, `LinkDown`. Signals are
    /// handed to the link by [`Output::Signal`] and from it by `Input::Tracker`'s
    /// counterpart [`crate::wire::Signal`] in [`Output::Tracker`], made by the host.
    Connect(PeerId),
    /// Close a link. No `LinkDown` is owed.
    Disconnect(PeerId),
    /// The tracker brought this signal for the link to a peer.
    Signal {
        /// From whom.
        from: PeerId,
        /// What.
        payload: bytes::Bytes,
    },
    /// Give this to the player.
    Release(Release<S>),
    /// Something to tell or log.
    Event(Event),
    /// Nothing until then, unless something happens.
    Timeout(Instant),
}

/// A generation for the player.
pub struct Release<S: Scheme> {
    /// What it is.
    pub facts: Facts,
    /// Its media.
    pub body: S::Body,
    /// Release − ingest stamp; `None` for pre-roll.
    pub lag: Option<Duration>,
    /// The first one, or one after a skip: does not continue the one before.
    pub discontinuity: bool,
}

/// What people may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The tracker let the peer in.
    Joined,
    /// It did not; there is no use in asking again unless `retry`.
    Refused {
        /// Why.
        code: wire::RefusedCode,
        /// Later, or under another name, it may work.
        retry: bool,
    },
    /// Nothing to play yet, or the broadcaster is away.
    Waiting,
    /// The first generation is out.
    Started {
        /// Process start to first release.
        after: Duration,
    },
    /// A generation was not there when due.
    Stalled {
        /// Which.
        sequence: u64,
    },
    /// Playing goes on after a stall.
    Resumed {
        /// For how long it stood.
        after: Duration,
    },
    /// The broadcast is over and played to its end.
    Ended,
    /// A stripe has a new parent.
    Attached {
        /// Which stripe.
        stripe: StripeId,
        /// Whose child the peer is in it now.
        parent: PeerId,
    },
    /// A peer sent what was not signed and is cut.
    Cut(PeerId),
}

//! Messages between a peer and the tracker. Viewers send them over a WebSocket, one per
//! binary message; seeders in gRPC envelopes.
//!
//! The peer speaks first, with `Join`. Everything may repeat; the later word holds.

/// The longest message either way.
pub const MAX_TRACKER_MESSAGE_LEN: usize = 64 * 1024;
/// The longest signalling payload.
pub const MAX_SIGNAL_LEN: usize = 4096;

/// From a peer to the tracker.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToTracker {
    /// Which.
    #[prost(oneof = "to_tracker::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub kind: Option<to_tracker::Kind>,
}

/// What a peer says.
pub mod to_tracker {
    /// Envelope's content.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// First of all.
        #[prost(message, tag = "1")]
        Join(super::Join),
        /// Each second.
        #[prost(message, tag = "2")]
        Status(super::Status),
        /// To be handed on.
        #[prost(message, tag = "3")]
        Signal(super::Signal),
        /// A stripe lost its parent, or never got it.
        #[prost(message, tag = "4")]
        Detached(super::Detached),
        /// Somebody sent a bad piece.
        #[prost(message, tag = "5")]
        Complaint(super::Complaint),
        /// What time is it?
        #[prost(message, tag = "6")]
        Ping(super::Ping),
        /// A stripe has this parent now (a backup took over, or a placement worked).
        #[prost(message, tag = "7")]
        Attached(super::Edge),
        /// A parent is silent.
        #[prost(message, tag = "8")]
        Suspect(super::Suspect),
    }
}

/// From the tracker to a peer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FromTracker {
    /// Which.
    #[prost(oneof = "from_tracker::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<from_tracker::Kind>,
}

/// What the tracker says.
pub mod from_tracker {
    /// Envelope's content.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// The answer to `Join`.
        #[prost(message, tag = "1")]
        Welcome(super::Welcome),
        /// The other answer; the session ends.
        #[prost(message, tag = "2")]
        Refused(super::Refused),
        /// Where to get a stripe.
        #[prost(message, tag = "3")]
        Place(super::Place),
        /// A stripe no longer to be held.
        #[prost(message, tag = "4")]
        Unplace(super::Unplace),
        /// Whom to ask for what push missed.
        #[prost(message, tag = "5")]
        Introduce(super::Introduce),
        /// From another peer.
        #[prost(message, tag = "6")]
        Signal(super::Signal),
        /// The answer to `Ping`.
        #[prost(message, tag = "7")]
        Pong(super::Pong),
        /// The broadcast began, paused or ended.
        #[prost(message, tag = "8")]
        Live(super::Live),
        /// Are you there? Answered at once with `Status`.
        #[prost(message, tag = "9")]
        Probe(super::Probe),
    }
}

impl From<to_tracker::Kind> for ToTracker {
    fn from(kind: to_tracker::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl From<from_tracker::Kind> for FromTracker {
    fn from(kind: from_tracker::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// Enters a swarm. Answered by `Welcome` or `Refused`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Join {
    /// The peer's own name. A name in use is refused.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
    /// Bits a second it is willing to send; 0: shares nothing.
    #[prost(uint64, tag = "2")]
    pub upload_bps: u64,
    /// What it already holds, after the tracker or the session was lost.
    #[prost(message, repeated, tag = "3")]
    pub parents: Vec<Edge>,
    /// It answers `Probe`.
    #[prost(bool, tag = "4")]
    pub answers_probes: bool,
}

/// A parent in a stripe.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Edge {
    /// Which stripe.
    #[prost(uint32, tag = "1")]
    pub stripe: u32,
    /// The parent.
    #[prost(uint64, tag = "2")]
    pub parent: u64,
}

/// Bytes by kind; the kinds are disjoint.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Bytes {
    /// Pieces of stripes below k, with their prefix.
    #[prost(uint64, tag = "1")]
    pub media: u64,
    /// Pieces of the other stripes.
    #[prost(uint64, tag = "2")]
    pub parity: u64,
    /// Pieces that were there already. Only receivers know.
    #[prost(uint64, tag = "3")]
    pub duplicate: u64,
    /// Pieces a seeder sent because a deadline was near.
    #[prost(uint64, tag = "4")]
    pub rescue: u64,
    /// Headers, messages, and what the transport adds.
    #[prost(uint64, tag = "5")]
    pub control: u64,
}

/// What a peer sent since it started.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Sent {
    /// To other peers. `duplicate` stays 0: the receivers report it.
    #[prost(message, optional, tag = "1")]
    pub bytes: Option<Bytes>,
    /// To players over HTTP; seeders only.
    #[prost(uint64, tag = "2")]
    pub http: u64,
}

/// How a peer is doing. All counts are since it started, so that a lost one costs nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// Sent.
    #[prost(message, optional, tag = "1")]
    pub sent: Option<Sent>,
    /// Received from seeders.
    #[prost(message, optional, tag = "2")]
    pub from_seeders: Option<Bytes>,
    /// Received from other peers.
    #[prost(message, optional, tag = "3")]
    pub from_peers: Option<Bytes>,
    /// Media bytes released to the player.
    #[prost(uint64, tag = "4")]
    pub played_bytes: u64,
    /// Generations released.
    #[prost(uint64, tag = "5")]
    pub played: u64,
    /// Stalls.
    #[prost(uint64, tag = "6")]
    pub stalls: u64,
    /// Process start to first release; 0: not yet.
    #[prost(uint32, tag = "7")]
    pub startup_ms: u32,
    /// Median lag of the last 60 s.
    #[prost(uint32, tag = "8")]
    pub lag_p50_ms: u32,
    /// 95th percentile of it.
    #[prost(uint32, tag = "9")]
    pub lag_p95_ms: u32,
    /// Its parents now, as far as they have brought anything.
    #[prost(message, repeated, tag = "10")]
    pub parents: Vec<Edge>,
    /// The broadcast as it is; seeders only.
    #[prost(message, optional, tag = "11")]
    pub stream: Option<Stream>,
    /// Seconds since the peer's start.
    #[prost(uint32, tag = "12")]
    pub age_s: u32,
    /// Bits a second that it can send: what it offered, or what its line carries if that has
    /// turned out to be less. 0: not told.
    #[prost(uint64, tag = "13")]
    pub capacity_bps: u64,
}

/// A broadcast's measure.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Stream {
    /// Pieces that rebuild a generation.
    #[prost(uint32, tag = "1")]
    pub k: u32,
    /// Stripes.
    #[prost(uint32, tag = "2")]
    pub n: u32,
    /// Media bits a second, over the last 10 s.
    #[prost(uint64, tag = "3")]
    pub rate_bps: u64,
    /// Generations come in.
    #[prost(bool, tag = "4")]
    pub live: bool,
}

/// Signalling between two peers; opaque, at most [`MAX_SIGNAL_LEN`] bytes. Towards the
/// tracker `peer` is whom it is for, from it whom it is from.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Signal {
    /// The other.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
    /// What it says.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: bytes::Bytes,
    /// From the tracker: it sees both at one address, so that they may be on one private
    /// network.
    #[prost(bool, tag = "3")]
    pub near: bool,
}

/// A stripe is without a parent: place it again.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Detached {
    /// Which stripe.
    #[prost(uint32, tag = "1")]
    pub stripe: u32,
    /// Who was, or should have become, the parent.
    #[prost(uint64, tag = "2")]
    pub parent: u64,
    /// Why.
    #[prost(enumeration = "DetachReason", tag = "3")]
    pub reason: i32,
}

/// Why a stripe is without a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DetachReason {
    /// It refused, or let the child go.
    Refused = 0,
    /// A link to it could not be opened.
    Unreachable = 1,
    /// It brought nothing more while the broadcast went on.
    Silent = 2,
    /// It took the child on and never brought it anything.
    Idle = 3,
    /// Its link fell silent, or is gone.
    Dead = 4,
}

/// A peer sent what its header does not list.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Complaint {
    /// Who.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
    /// Of which generation.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// Of which stripe.
    #[prost(uint32, tag = "3")]
    pub stripe: u32,
}

/// A parent has been silent for longer than it used to be. The tracker asks it whether it is
/// there, so that nobody's word is enough to take somebody out.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Suspect {
    /// Who.
    #[prost(uint64, tag = "1")]
    pub peer: u64,
}

/// Asks a peer whether it is there.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Probe {}

/// Asks for the time.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Ping {
    /// To be repeated in the answer.
    #[prost(uint64, tag = "1")]
    pub stamp_us: u64,
}

/// Tells it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Pong {
    /// The ping's.
    #[prost(uint64, tag = "1")]
    pub stamp_us: u64,
    /// The tracker's wall clock, unix microseconds.
    #[prost(uint64, tag = "2")]
    pub wall_us: u64,
}

/// The peer is in.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Welcome {
    /// The tracker's wall clock, unix microseconds.
    #[prost(uint64, tag = "1")]
    pub wall_us: u64,
    /// Which peers are seeders.
    #[prost(uint64, repeated, tag = "2")]
    pub seeders: Vec<u64>,
    /// The broadcast, where there is one.
    #[prost(message, optional, tag = "3")]
    pub stream: Option<Stream>,
    /// The channel's policy is that viewers send nothing to each other.
    #[prost(bool, tag = "4")]
    pub no_sharing: bool,
}

/// The peer is not in.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refused {
    /// Why, for programs.
    #[prost(enumeration = "RefusedCode", tag = "1")]
    pub code: i32,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Why a peer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum RefusedCode {
    /// No reason given.
    Unspecified = 0,
    /// The name is taken or impossible: choose another and try again.
    Name = 1,
    /// The swarm is full: try again later.
    Full = 2,
    /// Cut for sending what was not signed.
    Cut = 3,
}

/// Get this stripe from this parent: connect, subscribe, and answer `Attached` or
/// `Detached`. A parent in place stays until the new one has brought its first piece.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Place {
    /// Which stripe.
    #[prost(uint32, tag = "1")]
    pub stripe: u32,
    /// From whom.
    #[prost(uint64, tag = "2")]
    pub parent: u64,
    /// Whom to try when that fails, links to be kept open; at most 2.
    #[prost(uint64, repeated, tag = "3")]
    pub backups: Vec<u64>,
    /// The peer is to relay this stripe.
    #[prost(bool, tag = "4")]
    pub interior: bool,
}

/// Drop this stripe.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Unplace {
    /// Which.
    #[prost(uint32, tag = "1")]
    pub stripe: u32,
}

/// Peers to open links to, for pulling, beside those there are.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Introduce {
    /// Who; at most 64.
    #[prost(uint64, repeated, tag = "1")]
    pub partners: Vec<u64>,
    /// Which peers are seeders.
    #[prost(uint64, repeated, tag = "2")]
    pub seeders: Vec<u64>,
}

/// The state of the broadcast.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Live {
    /// The broadcast; absent: it is over, or has not begun.
    #[prost(message, optional, tag = "1")]
    pub stream: Option<Stream>,
}

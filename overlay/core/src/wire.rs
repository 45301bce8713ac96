//! What peers say to each other and to the tracker, and its bytes.
//!
//! The one rule: a message that does not decode is the sender's fault, costs no more memory
//! than its own length, and ends the link or session it came by.

mod message;
mod swarm;

pub(crate) use message::stripe_of;

pub use message::{
    Channel, Control, MAX_CARRIED_LEN, MAX_MESSAGE_LEN, Message, PieceKind, PieceMessage, control,
    decode, encode,
};
pub use swarm::{
    Bytes as ByteCounts, Complaint, DetachReason, Detached, Edge, FromTracker, Introduce, Join,
    Live, MAX_SIGNAL_LEN, MAX_TRACKER_MESSAGE_LEN, Ping, Place, Pong, Probe, Refused, RefusedCode,
    Sent, Signal, Status, Stream, Suspect, ToTracker, Unplace, Welcome, from_tracker, to_tracker,
};

/// Why bytes from somebody else are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than a message may be.
    #[error("message of {0} bytes is too long")]
    TooLong(usize),
    /// Shorter than its fixed part, or protobuf that does not parse.
    #[error("message does not parse")]
    Malformed,
    /// A message on a channel where it has no place.
    #[error("message on the wrong channel")]
    WrongChannel,
    /// A header, certificate or field outside its bounds.
    #[error("message holds impossible values")]
    Bounds,
}

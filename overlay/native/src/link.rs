//! All links of one program over its one UDP socket, without touching the socket: the host
//! hands in datagrams and time and takes out datagrams and events. Links know nothing of
//! stripes; peers are named by a key that the owner chooses (a viewer's peer id, a seeder's
//! channel and peer id).
//!
//! The one rule: a datagram from an address that belongs to no link costs a look-up and
//! nothing else.

pub mod address;
pub mod blob;
mod links;
mod route;
mod stun;
mod timers;
pub mod turn;
mod webrtc;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;

use self::{address::Policy, blob::BlobError};
pub use self::{links::Links, webrtc::MAX_MESSAGE_LEN};

/// Limits and waits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the program's socket can be reached; at most [`blob::MAX_CANDIDATES`].
    pub local: Vec<SocketAddr>,
    /// Which addresses of others may be probed.
    pub policy: Policy,
    /// Links at once, whatever their state.
    pub max_links: usize,
    /// Links that are not yet up.
    pub max_pending: usize,
    /// From the first signal to both channels open.
    pub handshake: Duration,
    /// Silence after which a link is dead. ICE checks come once a second from either end.
    pub silence: Duration,
    /// Tell whoever asks by STUN where its datagrams come from.
    pub answers_stun: bool,
    /// For links that find no other way; the first that answers is used.
    pub turn: Vec<turn::Server>,
}

impl Config {
    /// The limits of a viewer whose socket is reached at these addresses.
    #[must_use]
    pub fn new(local: Vec<SocketAddr>, policy: Policy) -> Self {
        Self {
            local,
            policy,
            max_links: 256,
            max_pending: 128,
            handshake: Duration::from_secs(5),
            silence: Duration::from_secs(3),
            answers_stun: false,
            turn: Vec::new(),
        }
    }
}

/// Which end takes the first step in ICE, DTLS and SCTP. The ends must differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// ICE controlling, DTLS client.
    Active,
    /// ICE controlled, DTLS server.
    Passive,
}

impl Role {
    /// The peer with the lower id is active.
    #[must_use]
    pub fn of<Id: Ord>(own: Id, other: Id) -> Self {
        if own < other {
            Self::Active
        } else {
            Self::Passive
        }
    }
}

/// The two data channels of a link; the values are their SCTP stream numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Reliable, ordered.
    Control = 0,
    /// Unordered; a message is given up after a second.
    Pieces = 1,
}

/// What the owner must know.
#[derive(Debug)]
pub enum Event<K> {
    /// Carry this payload to the peer, through the tracker or a common neighbour.
    Signal {
        /// Whose.
        to: K,
        /// An encoded [`blob::Blob`].
        payload: Bytes,
    },
    /// Both channels are open.
    Up(K),
    /// The link is gone, or never came up.
    Down(K),
    /// A message.
    Received {
        /// Whose.
        from: K,
        /// On which channel.
        channel: Channel,
        /// At most [`MAX_MESSAGE_LEN`].
        bytes: Bytes,
    },
    /// The bytes written to a link and not yet acknowledged; after every write, whether it
    /// found room or not, and whenever they change.
    Buffered {
        /// Whose.
        to: K,
        /// How many.
        bytes: usize,
    },
}

/// A datagram for the socket.
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// UDP payload, or a whole message for the TURN server's connection.
    pub bytes: Vec<u8>,
    /// By the socket, or by that connection.
    pub over: turn::Over,
}

/// UDP payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Handed to the socket.
    pub sent: u64,
    /// Taken from the socket, by links.
    pub received: u64,
}

/// Why a link cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// [`Config::max_links`] or [`Config::max_pending`] is reached.
    #[error("too many links")]
    TooMany,
    /// The other end's blob is refused.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The crypto library refuses what the blob says.
    #[error("link cannot be set up")]
    Setup,
}

#[cfg(test)]
mod tests;

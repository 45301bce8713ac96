//! Generations, the pieces they are coded into, and the signatures that bind both to a
//! broadcast. Pure: no I/O, no clock, no randomness; the encoder, the native peer and the
//! browser all call it.
//!
//! The one rule: nothing is decoded or relayed that has not been checked here first, the
//! header once per generation and each piece when it arrives.

mod body;
mod code;
mod epoch;
mod header;

pub use body::Body;
pub use code::{CodeError, MAX_BODY_LEN, code, decode, piece_len};
pub use epoch::{EpochCertificate, EpochKey, EpochSigner};
pub use header::{Flags, HashList, Header, Meta, SignedHeader, piece_hash};

/// What can be wrong with bytes that came from somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer or more bytes than the layout says.
    #[error("{0} has the wrong length")]
    Length(&'static str),
    /// A field holds a value outside its bounds.
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
    /// The signature does not verify, or the key is no key.
    #[error("signature does not verify")]
    Signature,
    /// Signed for another channel or epoch.
    #[error("belongs to another {0}")]
    Foreign(&'static str),
}

/// Names a channel in everything that is signed. 16 bytes, chosen by accounts at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub [u8; 16]);

impl ChannelId {
    /// From the bytes of a message.
    ///
    /// # Errors
    /// When there are not exactly 16.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| Error::Length("channel id"))
    }
}

impl std::fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// How many pieces a generation is coded into: any `k` of the `n` rebuild it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Data pieces; stripes 0 to k − 1 carry them.
    pub k: u8,
    /// All pieces; stripes k to n − 1 carry parity.
    pub n: u8,
}

impl Shape {
    /// k = 16, n = 20: what the swarm's arithmetic is argued from (README, "The swarm").
    pub const DEFAULT: Self = Self { k: 16, n: 20 };

    /// A shape within the bounds 1 ≤ k ≤ n ≤ 32.
    ///
    /// # Errors
    /// [`Error::Bounds`] outside of them. 32 is what one bit mask holds.
    pub fn new(k: u8, n: u8) -> Result<Self, Error> {
        if k >= 1 && k <= n && n <= 32 {
            Ok(Self { k, n })
        } else {
            Err(Error::Bounds("shape"))
        }
    }
}

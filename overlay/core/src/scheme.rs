//! What a broadcast's pieces are, how they are checked and how they are decoded: the seam
//! between the swarm's logic and the bytes. Programs use [`Signed`]; a simulator puts
//! lengths in the place of bytes, so that a hundred thousand peers fit one machine.

use bytes::Bytes;
use stripe::{Body, ChannelId, EpochCertificate, EpochKey, Flags, SignedHeader};

use crate::StripeId;

/// Everything the core asks of payloads.
pub trait Scheme {
    /// An epoch key with its certificate, checked.
    type Epoch: Clone;
    /// A generation's signed header, checked or not.
    type Header: Clone;
    /// One coded part of a generation.
    type Piece: Clone;
    /// A decoded generation.
    type Body;

    /// Which epoch this is; a later one replaces an earlier one.
    fn epoch_number(epoch: &Self::Epoch) -> u64;
    /// What a header says.
    fn facts(header: &Self::Header) -> Facts;
    /// Bytes on the wire.
    fn header_len(header: &Self::Header) -> usize;
    /// Bytes on the wire.
    fn piece_len(piece: &Self::Piece) -> usize;

    /// Whether the channel's key vouches for this epoch.
    fn check_epoch(&self, epoch: &Self::Epoch) -> bool;
    /// Whether the epoch's key signed this header.
    fn check_header(&self, epoch: &Self::Epoch, header: &Self::Header) -> bool;
    /// Whether this is the piece the header lists for the stripe.
    fn check_piece(&self, header: &Self::Header, stripe: StripeId, piece: &Self::Piece) -> bool;
    /// The generation from any k of its pieces, each of which was checked before.
    /// `None`: what the encoder signed does not decode.
    fn decode(&self, header: &Self::Header, pieces: &[Option<Self::Piece>]) -> Option<Self::Body>;
}

/// What the core needs to know of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which epoch it belongs to.
    pub epoch: u64,
    /// Its place in the broadcast.
    pub sequence: u64,
    /// Pieces that rebuild it.
    pub k: u8,
    /// Pieces there are, ≤ 32.
    pub n: u8,
    /// Bytes of the decoded generation.
    pub body_len: u32,
    /// Bytes of each piece.
    pub piece_len: u32,
    /// Ingest's wall clock when it was complete there, in unix microseconds.
    pub ingest_stamp_us: u64,
    /// The play-out delay D.
    pub delay_ms: u32,
    /// Keyframe, pause, resume, end.
    pub flags: Flags,
}

/// The scheme of the programs: BLAKE3 hash lists under Ed25519, Reed-Solomon.
#[derive(Clone, Debug)]
pub struct Signed {
    channel: ChannelId,
    channel_key: [u8; 32],
}

/// A certificate and the key in it. Made by [`Signed::epoch`] only, hence always checked.
#[derive(Clone, Debug)]
pub struct SignedEpoch {
    certificate: EpochCertificate,
    key: EpochKey,
}

impl SignedEpoch {
    /// For the wire.
    #[must_use]
    pub fn certificate(&self) -> &EpochCertificate {
        &self.certificate
    }
}

impl Signed {
    /// For the channel and the channel key that a ticket names.
    #[must_use]
    pub fn new(channel: ChannelId, channel_key: [u8; 32]) -> Self {
        Self {
            channel,
            channel_key,
        }
    }

    /// Checks an epoch certificate.
    ///
    /// # Errors
    /// As [`EpochCertificate::verify`].
    pub fn epoch(&self, certificate: EpochCertificate) -> Result<SignedEpoch, stripe::Error> {
        let key = certificate.verify(self.channel, &self.channel_key)?;
        Ok(SignedEpoch { certificate, key })
    }
}

impl Scheme for Signed {
    type Epoch = SignedEpoch;
    type Header = SignedHeader;
    type Piece = Bytes;
    type Body = Body;

    fn epoch_number(epoch: &SignedEpoch) -> u64 {
        epoch.key.epoch()
    }

    fn facts(header: &SignedHeader) -> Facts {
        let header = &header.header;
        Facts {
            epoch: header.epoch,
            sequence: header.meta.sequence,
            k: header.shape.k,
            n: header.shape.n,
            body_len: header.body_len,
            piece_len: header.piece_len() as u32,
            ingest_stamp_us: header.meta.ingest_stamp_us,
            delay_ms: header.meta.delay_ms,
            flags: header.meta.flags,
        }
    }

    fn header_len(header: &SignedHeader) -> usize {
        header.encoded_len()
    }

    fn piece_len(piece: &Bytes) -> usize {
        piece.len()
    }

    fn check_epoch(&self, epoch: &SignedEpoch) -> bool {
        epoch.key.channel() == self.channel
    }

    fn check_header(&self, epoch: &SignedEpoch, header: &SignedHeader) -> bool {
        header.verify(&epoch.key).is_ok()
    }

    fn check_piece(&self, header: &SignedHeader, stripe: StripeId, piece: &Bytes) -> bool {
        header.header.matches(stripe.get(), piece)
    }

    fn decode(&self, header: &SignedHeader, pieces: &[Option<Bytes>]) -> Option<Body> {
        let header = &header.header;
        let (bytes, _) = stripe::decode(header.shape, header.body_len as usize, pieces).ok()?;
        Body::from_bytes(&bytes).ok()
    }
}

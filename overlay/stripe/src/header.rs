//! The signed header of a generation: what it is, when it is due, and the hash of each of
//! its pieces.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ed25519_dalek::{SIGNATURE_LENGTH, Signature};

use crate::{ChannelId, EpochKey, Error, MAX_BODY_LEN, Shape, code::piece_len};

/// Bytes of a piece's hash. 128 bits: a polluter needs a second preimage, not a collision,
/// since only the encoder chooses what is signed.
const HASH_LEN: usize = 16;
/// Bytes before the hashes.
const FIXED_LEN: usize = 16 + 8 + 8 + 8 + 8 + 4 + 1 + 1 + 1 + 4;
/// Precedes what is signed, so that no signature made for one purpose serves another.
const DOMAIN: &[u8] = b"livestation generation v1";

/// What the encoder says about a generation beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Counts generations of an epoch, from 0, without gaps.
    pub sequence: u64,
    /// Decode time of its first frame since the broadcast's zero.
    pub media_time_us: u64,
    /// Ingest's wall clock (unix) when its last frame arrived.
    pub ingest_stamp_us: u64,
    /// The play-out delay D.
    pub delay_ms: u32,
    /// What is special about it.
    pub flags: Flags,
}

/// What is special about a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Starts with a keyframe and carries the init segment: playing can begin here.
    pub const KEYFRAME: Self = Self(1);
    /// The last of its publish session: nothing is due until the broadcaster is back.
    pub const PAUSE: Self = Self(2);
    /// The first of a publish session that continues a broadcast.
    pub const RESUME: Self = Self(4);
    /// The broadcast is over. Its body is empty.
    pub const END: Self = Self(8);

    /// Whether all of `other`'s flags are set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The hashes of a generation's n pieces, in stripe order.
pub type HashList = Vec<[u8; HASH_LEN]>;

/// A piece's hash: BLAKE3 cut to 16 bytes.
#[must_use]
pub fn piece_hash(piece: &[u8]) -> [u8; HASH_LEN] {
    let mut cut = [0; HASH_LEN];
    cut.copy_from_slice(&blake3::hash(piece).as_bytes()[..HASH_LEN]);
    cut
}

/// A generation's header, not yet known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose.
    pub channel: ChannelId,
    /// Which run of which encoder.
    pub epoch: u64,
    /// What and when.
    pub meta: Meta,
    /// How it was coded.
    pub shape: Shape,
    /// Bytes of the body, ≤ [`MAX_BODY_LEN`].
    pub body_len: u32,
    /// n of them.
    pub hashes: HashList,
}

impl Header {
    /// The length of each piece.
    #[must_use]
    pub fn piece_len(&self) -> usize {
        piece_len(self.shape, self.body_len as usize)
    }

    /// Whether `piece` is the one that stripe `stripe` carries in this generation.
    #[must_use]
    pub fn matches(&self, stripe: u8, piece: &[u8]) -> bool {
        piece.len() == self.piece_len()
            && self
                .hashes
                .get(usize::from(stripe))
                .is_some_and(|hash| *hash == piece_hash(piece))
    }

    fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.channel.0);
        out.put_u64(self.epoch);
        out.put_u64(self.meta.sequence);
        out.put_u64(self.meta.media_time_us);
        out.put_u64(self.meta.ingest_stamp_us);
        out.put_u32(self.meta.delay_ms);
        out.put_u8(self.meta.flags.0);
        out.put_u8(self.shape.k);
        out.put_u8(self.shape.n);
        out.put_u32(self.body_len);
        for hash in &self.hashes {
            out.put_slice(hash);
        }
    }

    /// What the epoch key signs.
    #[must_use]
    pub fn signed_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(DOMAIN.len() + self.len());
        out.put_slice(DOMAIN);
        self.put(&mut out);
        out.freeze()
    }

    fn len(&self) -> usize {
        FIXED_LEN + self.hashes.len() * HASH_LEN
    }
}

/// A header with the epoch key's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// What is claimed.
    pub header: Header,
    /// By whom; checked by [`SignedHeader::verify`].
    pub signature: [u8; SIGNATURE_LENGTH],
}

impl SignedHeader {
    /// Bytes on the wire: 443 with n = 20.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.header.len() + SIGNATURE_LENGTH
    }

    /// The fixed fields, the hashes, the signature.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.header.put(&mut out);
        out.put_slice(&self.signature);
        out.freeze()
    }

    /// Reads what [`Self::to_bytes`] wrote. Nothing is allocated before the length is known
    /// to be right.
    ///
    /// # Errors
    /// Wrong length, or a field outside its bounds.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() < FIXED_LEN + SIGNATURE_LENGTH {
            return Err(Error::Length("header"));
        }
        let mut channel = [0; 16];
        bytes.copy_to_slice(&mut channel);
        let epoch = bytes.get_u64();
        let meta = Meta {
            sequence: bytes.get_u64(),
            media_time_us: bytes.get_u64(),
            ingest_stamp_us: bytes.get_u64(),
            delay_ms: bytes.get_u32(),
            flags: Flags(bytes.get_u8()),
        };
        let shape = Shape::new(bytes.get_u8(), bytes.get_u8())?;
        let body_len = bytes.get_u32();
        if body_len as usize > MAX_BODY_LEN {
            return Err(Error::Bounds("body length"));
        }
        if meta.delay_ms > 60_000 || meta.sequence > u64::MAX / 4 {
            return Err(Error::Bounds("play-out delay or sequence"));
        }
        if meta.ingest_stamp_us > i64::MAX as u64 / 4 || meta.media_time_us > i64::MAX as u64 / 4 {
            return Err(Error::Bounds("time"));
        }
        if bytes.len() != usize::from(shape.n) * HASH_LEN + SIGNATURE_LENGTH {
            return Err(Error::Length("hash list"));
        }
        let mut hashes = vec![[0; HASH_LEN]; usize::from(shape.n)];
        for hash in &mut hashes {
            bytes.copy_to_slice(hash);
        }
        let mut signature = [0; SIGNATURE_LENGTH];
        bytes.copy_to_slice(&mut signature);
        Ok(Self {
            header: Header {
                channel: ChannelId(channel),
                epoch,
                meta,
                shape,
                body_len,
                hashes,
            },
            signature,
        })
    }

    /// Whether the epoch's key signed this.
    ///
    /// # Errors
    /// [`Error::Foreign`] for another channel's or epoch's header, [`Error::Signature`]
    /// for an untrue one.
    pub fn verify(&self, key: &EpochKey) -> Result<(), Error> {
        if self.header.channel != key.channel() {
            return Err(Error::Foreign("channel"));
        }
        if self.header.epoch != key.epoch() {
            return Err(Error::Foreign("epoch"));
        }
        key.verify(
            &self.header.signed_bytes(),
            &Signature::from_bytes(&self.signature),
        )
    }
}

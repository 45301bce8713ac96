//! Keys: the channel's key, which the viewer's ticket names, certifies an epoch key, with
//! which one encoder signs the generations of one run.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ed25519_dalek::{
    PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH, Signature, Signer, SigningKey, VerifyingKey,
};

use crate::{
    ChannelId, CodeError, Error, Header, Meta, Shape, SignedHeader, code::code, header::piece_hash,
};

const DOMAIN: &[u8] = b"livestation epoch v1";

/// The channel key's word that an epoch key is the channel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochCertificate {
    /// Whose.
    pub channel: ChannelId,
    /// Rises with every encoder run; unix microseconds when it began.
    pub epoch: u64,
    /// Ed25519.
    pub public_key: [u8; PUBLIC_KEY_LENGTH],
    /// The channel key's, over [`Self::signed_bytes`].
    pub signature: [u8; SIGNATURE_LENGTH],
}

impl EpochCertificate {
    /// Bytes on the wire.
    pub const LEN: usize = 16 + 8 + PUBLIC_KEY_LENGTH + SIGNATURE_LENGTH;

    /// What the channel key signs for an epoch key.
    #[must_use]
    pub fn signed_bytes(channel: ChannelId, epoch: u64, public_key: &[u8; 32]) -> Bytes {
        let mut out = BytesMut::with_capacity(DOMAIN.len() + 16 + 8 + PUBLIC_KEY_LENGTH);
        out.put_slice(DOMAIN);
        out.put_slice(&channel.0);
        out.put_u64(epoch);
        out.put_slice(public_key);
        out.freeze()
    }

    /// Channel, epoch, key, signature.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(Self::LEN);
        out.put_slice(&self.channel.0);
        out.put_u64(self.epoch);
        out.put_slice(&self.public_key);
        out.put_slice(&self.signature);
        out.freeze()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != Self::LEN {
            return Err(Error::Length("epoch certificate"));
        }
        let mut channel = [0; 16];
        bytes.copy_to_slice(&mut channel);
        let epoch = bytes.get_u64();
        let mut public_key = [0; PUBLIC_KEY_LENGTH];
        bytes.copy_to_slice(&mut public_key);
        let mut signature = [0; SIGNATURE_LENGTH];
        bytes.copy_to_slice(&mut signature);
        Ok(Self {
            channel: ChannelId(channel),
            epoch,
            public_key,
            signature,
        })
    }

    /// The epoch key, if the channel key that the ticket names vouches for it.
    ///
    /// # Errors
    /// [`Error::Foreign`] for another channel, [`Error::Signature`] otherwise.
    pub fn verify(&self, channel: ChannelId, channel_key: &[u8; 32]) -> Result<EpochKey, Error> {
        if self.channel != channel {
            return Err(Error::Foreign("channel"));
        }
        let channel_key = VerifyingKey::from_bytes(channel_key).map_err(|_| Error::Signature)?;
        let signed = Self::signed_bytes(self.channel, self.epoch, &self.public_key);
        channel_key
            .verify_strict(&signed, &Signature::from_bytes(&self.signature))
            .map_err(|_| Error::Signature)?;
        Ok(EpochKey {
            channel,
            epoch: self.epoch,
            key: VerifyingKey::from_bytes(&self.public_key).map_err(|_| Error::Signature)?,
        })
    }
}

/// A certified epoch key: what headers are checked with.
#[derive(Clone, Debug)]
pub struct EpochKey {
    channel: ChannelId,
    epoch: u64,
    key: VerifyingKey,
}

impl EpochKey {
    /// Whose.
    #[must_use]
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Which.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), Error> {
        self.key
            .verify_strict(message, signature)
            .map_err(|_| Error::Signature)
    }
}

/// The encoder's half of an epoch: codes and signs.
pub struct EpochSigner {
    channel: ChannelId,
    epoch: u64,
    key: SigningKey,
}

impl EpochSigner {
    /// A signer from 32 bytes of randomness, which the caller owes.
    #[must_use]
    pub fn new(channel: ChannelId, epoch: u64, secret: &[u8; 32]) -> Self {
        Self {
            channel,
            epoch,
            key: SigningKey::from_bytes(secret),
        }
    }

    /// What accounts is asked to certify.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Which epoch this signs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Codes a body into n pieces and signs the list of their hashes.
    ///
    /// # Errors
    /// [`CodeError::TooLong`].
    pub fn seal(
        &self,
        meta: Meta,
        shape: Shape,
        body: &Bytes,
    ) -> Result<(SignedHeader, Vec<Bytes>), CodeError> {
        let pieces = code(shape, body)?;
        let header = Header {
            channel: self.channel,
            epoch: self.epoch,
            meta,
            shape,
            body_len: body.len() as u32,
            hashes: pieces.iter().map(|piece| piece_hash(piece)).collect(),
        };
        let signature = self.key.sign(&header.signed_bytes()).to_bytes();
        Ok((SignedHeader { header, signature }, pieces))
    }
}

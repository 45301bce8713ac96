//! A broadcast with real keys, coding and signatures, and the truth about each of its
//! generations.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use overlay_core::{Signed, SignedEpoch, StripeId, wire};
use stripe::{Body, ChannelId, EpochCertificate, EpochSigner, Flags, Meta, Shape, SignedHeader};

/// Bytes of media in each generation: 800 kbit/s at five a second.
const MEDIA_LEN: u64 = 20_000;
/// The play-out delay.
pub(crate) const DELAY_MS: u32 = 1500;

pub(crate) struct Broadcast {
    pub(crate) channel: ChannelId,
    key: SigningKey,
    epoch: u64,
    signer: EpochSigner,
    generations: BTreeMap<u64, Generation>,
    /// Signed, and of no use to anybody.
    pub(crate) spoilt: Option<u64>,
}

/// One generation as the encoder made it.
pub(crate) struct Generation {
    pub(crate) header: SignedHeader,
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) body: Body,
}

impl Broadcast {
    pub(crate) fn new(channel: u8, epoch: u64) -> Self {
        let channel = ChannelId([channel; 16]);
        Self {
            channel,
            key: SigningKey::from_bytes(&[1; 32]),
            epoch,
            signer: EpochSigner::new(channel, epoch, &[2; 32]),
            generations: BTreeMap::new(),
            spoilt: None,
        }
    }

    pub(crate) fn scheme(&self) -> Signed {
        Signed::new(self.channel, self.key.verifying_key().to_bytes())
    }

    pub(crate) fn epoch(&self) -> SignedEpoch {
        let public_key = self.signer.public_key();
        let signed = EpochCertificate::signed_bytes(self.channel, self.epoch, &public_key);
        let certificate = EpochCertificate {
            channel: self.channel,
            epoch: self.epoch,
            public_key,
            signature: self.key.sign(&signed).to_bytes(),
        };
        self.scheme().epoch(certificate).unwrap()
    }

    pub(crate) fn make(
        &mut self,
        sequence: u64,
        flags: Flags,
        ingest_stamp_us: u64,
    ) -> &Generation {
        let over = flags.has(Flags::END);
        let media = (0..MEDIA_LEN).map(|at| (at * 31 + sequence * 7) as u8);
        let body = Body {
            init: flags
                .has(Flags::KEYFRAME)
                .then(|| Bytes::from_static(b"init")),
            media: if over { Bytes::new() } else { media.collect() },
        };
        let bytes = match () {
            () if over => Bytes::new(),
            () if self.spoilt == Some(sequence) => vec![0xff; MEDIA_LEN as usize].into(),
            () => body.to_bytes(),
        };
        let meta = Meta {
            sequence,
            media_time_us: sequence * 200_000,
            ingest_stamp_us,
            delay_ms: DELAY_MS,
            flags,
        };
        let (header, pieces) = self.signer.seal(meta, Shape::DEFAULT, &bytes).unwrap();
        let generation = Generation {
            header,
            pieces,
            body,
        };
        self.generations.entry(sequence).or_insert(generation)
    }

    pub(crate) fn generation(&self, sequence: u64) -> &Generation {
        &self.generations[&sequence]
    }

    /// Whether the encoder made this piece.
    pub(crate) fn made(&self, piece: &wire::PieceMessage<Bytes>) -> bool {
        piece.epoch == self.epoch as u32
            && self
                .generations
                .get(&piece.sequence)
                .is_some_and(|generation| {
                    generation.pieces.get(piece.stripe.index()) == Some(&piece.piece)
                })
    }

    /// A piece as it is pushed.
    pub(crate) fn piece(&self, sequence: u64, stripe: u8) -> wire::Message<Signed> {
        let piece = self.generation(sequence).pieces[usize::from(stripe)].clone();
        self.claim(sequence, stripe, piece)
    }

    /// A piece that claims to be of this broadcast.
    pub(crate) fn claim(&self, sequence: u64, stripe: u8, piece: Bytes) -> wire::Message<Signed> {
        wire::Message::Piece(wire::PieceMessage {
            kind: wire::PieceKind::Push,
            stripe: StripeId::new(stripe).unwrap(),
            epoch: self.epoch as u32,
            sequence,
            piece,
        })
    }
}

/// With one bit changed.
pub(crate) fn altered(piece: &Bytes) -> Bytes {
    let mut bytes = piece.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.into()
}

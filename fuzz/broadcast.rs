//! One small broadcast, the same each time: what the targets know is true, and what the
//! seeds are made of.

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use overlay_core::{Signed, SignedEpoch};
use stripe::{Body, ChannelId, EpochCertificate, EpochSigner, Flags, Meta, Shape, SignedHeader};

const CHANNEL: ChannelId = ChannelId([7; 16]);
const EPOCH: u64 = 5;

/// What its peers check against.
pub fn scheme() -> Signed {
    Signed::new(CHANNEL, key().verifying_key().to_bytes())
}

/// Its only epoch.
pub fn epoch() -> SignedEpoch {
    let public_key = signer().public_key();
    let signed = EpochCertificate::signed_bytes(CHANNEL, EPOCH, &public_key);
    scheme()
        .epoch(EpochCertificate {
            channel: CHANNEL,
            epoch: EPOCH,
            public_key,
            signature: key().sign(&signed).to_bytes(),
        })
        .expect("the certificate was just signed")
}

/// Its generation of this number, small enough for short inputs.
pub fn generation(sequence: u64) -> (SignedHeader, Vec<Bytes>) {
    let meta = Meta {
        sequence,
        media_time_us: sequence * 200_000,
        ingest_stamp_us: 1_000_000 + sequence * 200_000,
        delay_ms: 1000,
        flags: if sequence.is_multiple_of(5) {
            Flags::KEYFRAME
        } else {
            Flags::default()
        },
    };
    let body = Body {
        init: None,
        media: vec![sequence as u8; 60].into(),
    };
    signer()
        .seal(meta, Shape { k: 3, n: 5 }, &body.to_bytes())
        .expect("the body is short")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn signer() -> EpochSigner {
    EpochSigner::new(CHANNEL, EPOCH, &[2; 32])
}

//! Nothing but what the channel's key vouches for passes: every field, every bit.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use stripe::{
    ChannelId, EpochCertificate, EpochKey, EpochSigner, Error, Flags, Meta, Shape, SignedHeader,
};

const CHANNEL: ChannelId = ChannelId([7; 16]);
const EPOCH: u64 = 41;

fn channel_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn certificate(channel: ChannelId, epoch: u64, signer: &EpochSigner) -> EpochCertificate {
    let public_key = signer.public_key();
    let signed = EpochCertificate::signed_bytes(channel, epoch, &public_key);
    EpochCertificate {
        channel,
        epoch,
        public_key,
        signature: channel_key().sign(&signed).to_bytes(),
    }
}

/// A signer of the channel's and the key that viewers check it with.
fn epoch(channel: ChannelId, epoch: u64, secret: u8) -> (EpochSigner, EpochKey) {
    let signer = EpochSigner::new(channel, epoch, &[secret; 32]);
    let vouched = channel_key().verifying_key().to_bytes();
    let key = certificate(channel, epoch, &signer)
        .verify(channel, &vouched)
        .unwrap();
    (signer, key)
}

fn meta(sequence: u64) -> Meta {
    Meta {
        sequence,
        media_time_us: sequence * 200_000,
        ingest_stamp_us: 1_700_000_000_000_000,
        delay_ms: 1500,
        flags: Flags::KEYFRAME,
    }
}

fn seal(signer: &EpochSigner, len: usize) -> (SignedHeader, Vec<Bytes>) {
    let body: Bytes = (0..len).map(|at| at as u8).collect();
    signer.seal(meta(9), Shape::DEFAULT, &body).unwrap()
}

/// All copies of `bytes` that differ in one bit.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

#[test]
fn a_header_passes_and_each_flipped_bit_does_not() {
    let (signer, key) = epoch(CHANNEL, EPOCH, 2);
    let (header, _) = seal(&signer, 3000);
    let bytes = header.to_bytes();
    assert_eq!(bytes.len(), 443);
    let read = SignedHeader::from_bytes(&bytes).unwrap();
    assert_eq!(read, header);
    assert_eq!(read.verify(&key), Ok(()));
    for flipped in flips(&bytes) {
        let refused = SignedHeader::from_bytes(&flipped).and_then(|header| header.verify(&key));
        assert!(refused.is_err());
    }
}

#[test]
fn a_certificate_passes_and_each_flipped_bit_does_not() {
    let (signer, _) = epoch(CHANNEL, EPOCH, 2);
    let vouched = channel_key().verifying_key().to_bytes();
    let bytes = certificate(CHANNEL, EPOCH, &signer).to_bytes();
    assert_eq!(bytes.len(), EpochCertificate::LEN);
    let check = |bytes: &[u8]| {
        EpochCertificate::from_bytes(bytes)
            .and_then(|certificate| certificate.verify(CHANNEL, &vouched))
    };
    let key = check(&bytes).unwrap();
    assert_eq!((key.channel(), key.epoch()), (CHANNEL, EPOCH));
    for flipped in flips(&bytes) {
        assert!(check(&flipped).is_err());
    }
    for wrong in flips(&vouched) {
        let wrong: [u8; 32] = wrong.try_into().unwrap();
        let certificate = EpochCertificate::from_bytes(&bytes).unwrap();
        assert!(certificate.verify(CHANNEL, &wrong).is_err());
    }
}

#[test]
fn a_piece_matches_its_place_and_each_flipped_bit_does_not() {
    let (signer, _) = epoch(CHANNEL, EPOCH, 2);
    let (SignedHeader { header, .. }, pieces) = seal(&signer, 3000);
    for (stripe, piece) in (0..).zip(&pieces) {
        assert!(header.matches(stripe, piece));
        assert!(
            !header.matches((stripe + 1) % 20, piece),
            "another stripe's"
        );
        assert!(
            !header.matches(stripe, &piece[..piece.len() - 1]),
            "shorter"
        );
        assert!(
            !header.matches(stripe, &[piece, &[0][..]].concat()),
            "longer"
        );
    }
    assert!(!header.matches(20, &pieces[0]), "no such stripe");
    for stripe in [0, 19] {
        for flipped in flips(&pieces[usize::from(stripe)]) {
            assert!(!header.matches(stripe, &flipped));
        }
    }
}

#[test]
fn no_cut_passes_or_panics() {
    let (signer, _) = epoch(CHANNEL, EPOCH, 2);
    let header = seal(&signer, 100).0.to_bytes();
    let certificate = certificate(CHANNEL, EPOCH, &signer).to_bytes();
    for end in 0..header.len() {
        assert!(SignedHeader::from_bytes(&header[..end]).is_err());
    }
    for end in 0..certificate.len() {
        assert!(EpochCertificate::from_bytes(&certificate[..end]).is_err());
    }
    let longer = [&header[..], &[0]].concat();
    assert!(SignedHeader::from_bytes(&longer).is_err());
}

#[test]
fn what_is_signed_for_another_channel_or_epoch_is_foreign() {
    let (signer, _) = epoch(CHANNEL, EPOCH, 2);
    let (header, _) = seal(&signer, 100);
    // The same secret everywhere: only the names differ.
    let (_, later) = epoch(CHANNEL, EPOCH + 1, 2);
    assert_eq!(header.verify(&later), Err(Error::Foreign("epoch")));
    let (_, other) = epoch(ChannelId([8; 16]), EPOCH, 2);
    assert_eq!(header.verify(&other), Err(Error::Foreign("channel")));
    let (_, stranger) = epoch(CHANNEL, EPOCH, 3);
    assert_eq!(header.verify(&stranger), Err(Error::Signature));
    let vouched = channel_key().verifying_key().to_bytes();
    let foreign = certificate(ChannelId([8; 16]), EPOCH, &signer);
    assert_eq!(
        foreign.verify(CHANNEL, &vouched).map(|key| key.epoch()),
        Err(Error::Foreign("channel"))
    );
}

#[test]
fn a_signature_for_one_purpose_serves_no_other() {
    // The channel's key signs the bytes of a header instead of a certificate.
    let (signer, _) = epoch(CHANNEL, EPOCH, 2);
    let own = EpochSigner::new(CHANNEL, EPOCH, &[1; 32]);
    let (header, _) = seal(&own, 100);
    let mut forged = certificate(CHANNEL, EPOCH, &signer);
    forged.signature = header.signature;
    let vouched = channel_key().verifying_key().to_bytes();
    assert!(forged.verify(CHANNEL, &vouched).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_come_back(
        (k, n) in (1..=32_u8).prop_flat_map(|k| (Just(k), k..=32)),
        sequence in 0..=u64::MAX / 4,
        media_time_us in 0..=i64::MAX as u64 / 4,
        ingest_stamp_us in 0..=i64::MAX as u64 / 4,
        delay_ms in 0..=60_000_u32,
        flags in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let (signer, key) = epoch(CHANNEL, EPOCH, 2);
        let flags = Flags(flags);
        let meta = Meta { sequence, media_time_us, ingest_stamp_us, delay_ms, flags };
        let (header, pieces) = signer.seal(meta, Shape { k, n }, &body.into()).unwrap();
        let bytes = header.to_bytes();
        prop_assert_eq!(bytes.len(), header.encoded_len());
        let read = SignedHeader::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&read, &header);
        prop_assert_eq!(read.verify(&key), Ok(()));
        for (stripe, piece) in (0..).zip(&pieces) {
            prop_assert!(read.header.matches(stripe, piece));
        }
    }

    #[test]
    fn any_bytes_as_a_header_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        if let Ok(header) = SignedHeader::from_bytes(&bytes) {
            prop_assert_eq!(header.to_bytes(), bytes);
        }
    }
}

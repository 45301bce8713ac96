//! Everything that comes from another peer or the tracker, parsed: the first byte says by
//! which way it came. What parses must survive being written and read again.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use overlay_core::{
    Signed,
    wire::{self, Channel, FromTracker, ToTracker},
};
use stripe::{Body, EpochCertificate, SignedHeader};

#[path = "../../overlay/native/src/link/blob.rs"]
#[expect(dead_code, reason = "only its parser is driven")]
mod blob;
#[path = "../broadcast.rs"]
#[expect(dead_code, reason = "only its keys are needed")]
mod broadcast;

static SCHEME: LazyLock<Signed> = LazyLock::new(broadcast::scheme);

fuzz_target!(|input: &[u8]| {
    let Some((way, bytes)) = input.split_first() else {
        return;
    };
    match way % 8 {
        0 => peers(Channel::Pieces, bytes),
        1 => peers(Channel::Reliable, bytes),
        2 => tracker::<ToTracker>(bytes),
        3 => tracker::<FromTracker>(bytes),
        4 => {
            if let Ok(blob) = blob::Blob::from_bytes(bytes) {
                assert!(blob.candidates.len() <= blob::MAX_CANDIDATES);
                assert_eq!(blob::Blob::from_bytes(&blob.to_bytes()), Ok(blob));
            }
        }
        5 => {
            if let Ok(header) = SignedHeader::from_bytes(bytes) {
                assert_eq!(header.to_bytes(), bytes);
                assert_eq!(header.encoded_len(), bytes.len());
            }
        }
        6 => {
            if let Ok(certificate) = EpochCertificate::from_bytes(bytes) {
                assert_eq!(certificate.to_bytes(), bytes);
            }
        }
        _ => {
            let bytes = Bytes::copy_from_slice(bytes);
            if let Ok(body) = Body::from_bytes(&bytes) {
                let held = body.init.as_ref().map_or(0, Bytes::len) + body.media.len();
                assert!(held <= bytes.len());
            }
        }
    }
});

fn peers(channel: Channel, bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(message) = wire::decode(&SCHEME, channel, &bytes) {
        assert_eq!(message.channel(), channel);
        let written = wire::encode(&message);
        assert_eq!(written.len(), message.wire_len());
        let again = wire::decode(&SCHEME, channel, &written).expect("what was read can be read");
        assert_eq!(wire::encode(&again), written);
    }
}

fn tracker<M: prost::Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let again = M::decode(&message.encode_to_vec()[..]);
        assert_eq!(again, Ok(message));
    }
}

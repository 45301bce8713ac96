//! A viewer in the hands of strangers: a tracker and three peers that say anything, in any
//! order, at any time. Each step is `who and how (1 byte), length (2 bytes), bytes`; nothing
//! may panic, nothing may come out that the broadcast's key has not signed, and what is kept
//! of it all stays bounded.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use overlay_core::{
    Instant, Peer, PeerId, Signed, SignedEpoch,
    peer::{Config, Input, Output},
    tracker::Role,
    wire::{self, Channel, FromTracker, Message},
};
use prost::Message as _;

#[path = "../broadcast.rs"]
mod broadcast;
#[path = "../memory.rs"]
mod memory;

static SCHEME: LazyLock<Signed> = LazyLock::new(broadcast::scheme);
static EPOCH: LazyLock<SignedEpoch> = LazyLock::new(broadcast::epoch);

/// A window of pieces that wait for their headers, and what a peer knows of three others.
const MOST_HELD: usize = 2 << 20;

fuzz_target!(|input: &[u8]| {
    // Made before anything is counted.
    let _ = (&*SCHEME, &*EPOCH, broadcast::generation(0));
    let mut input = Bytes::copy_from_slice(input);
    let mut now = Instant::default();
    let config = Config {
        peer: PeerId(1),
        role: Role::Viewer,
        upload_bps: 1_000_000,
        seed: 1,
        started: now,
    };
    let held = memory::Held::new();
    let mut peer = Peer::new(now, SCHEME.clone(), config);
    peer.handle(now, Input::TrackerUp);
    for other in 2..=4 {
        peer.handle(now, Input::LinkUp(PeerId(other)));
    }
    while input.len() >= 3 {
        let how = input.get_u8();
        let len = usize::from(input.get_u16()).min(input.len());
        let bytes = input.split_to(len);
        let from = PeerId(2 + u64::from(how >> 6));
        now = now + Duration::from_millis(u64::from(how & 7) * 20);
        peer.handle(now, step(how >> 3 & 7, from, &bytes));
        drain(&mut peer);
        held.is_at_most(MOST_HELD);
    }
});

fn step(how: u8, from: PeerId, bytes: &Bytes) -> Input<Signed> {
    let received = |channel| match wire::decode(&SCHEME, channel, bytes) {
        Ok(message) => Input::Received { from, message },
        Err(_) => Input::Malformed(from),
    };
    match how {
        0 => received(Channel::Pieces),
        1 => received(Channel::Reliable),
        2 => match FromTracker::decode(&bytes[..]) {
            Ok(message) => Input::Tracker(message),
            Err(_) => Input::TrackerDown,
        },
        3 => Input::LinkUp(from),
        4 => Input::LinkDown(from),
        5 => Input::Received {
            from,
            message: Message::Epoch(EPOCH.clone()),
        },
        6 => Input::Received {
            from,
            message: Message::Header(broadcast::generation(bytes.len() as u64 % 32).0),
        },
        _ => match bytes.first() {
            Some(1) => Input::TrackerUp,
            Some(2) => Input::Signal {
                to: from,
                payload: bytes.slice(1..),
            },
            _ => Input::Timeout,
        },
    }
}

fn drain(peer: &mut Peer<Signed>) {
    // A peer that never rests would hang its host.
    for _ in 0..100_000 {
        match peer.poll() {
            Output::Timeout(_) => return,
            Output::Release(release) => {
                let sequence = release.facts.sequence;
                assert_eq!(release.body.media, vec![sequence as u8; 60]);
            }
            Output::Send { message, .. } => {
                if let Message::Piece(piece) = message {
                    let (header, _) = broadcast::generation(piece.sequence);
                    assert!(header.header.matches(piece.stripe.get(), &piece.piece));
                }
            }
            _ => {}
        }
    }
    panic!("a peer that never rests");
}

//! A tracker in the hands of strangers: four connections that say anything, in any order, at
//! any time, and a broadcast that is on. Each step is `who and how (1 byte), length (2
//! bytes), bytes`; nothing may panic, the tracker must come to rest, and what it keeps of it
//! all stays bounded.

#![no_main]

use std::time::Duration;

use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use overlay_core::{
    Instant, Tracker,
    tracker::{Config, Grant, Input, Output, Role, SessionId},
    wire::{self, FromTracker, ToTracker, to_tracker},
};
use prost::Message as _;

#[path = "../memory.rs"]
mod memory;

/// What a tracker knows of four sessions, with all that each may name.
const MOST_HELD: usize = 2 << 20;
/// Ours; the strangers are 1 to 4.
const SEEDER: SessionId = SessionId(9);

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes::copy_from_slice(input);
    let mut now = Instant::default();
    let held = memory::Held::new();
    let mut tracker = Tracker::new(now, Config::default());
    begin(&mut tracker, now);
    while input.len() >= 3 {
        let how = input.get_u8();
        let len = usize::from(input.get_u16()).min(input.len());
        let bytes = input.split_to(len);
        let session = SessionId(1 + u64::from(how >> 6));
        now = now + Duration::from_millis(u64::from(how & 7) * 100);
        tracker.handle(now, step(how >> 3 & 7, session, &bytes));
        drain(&mut tracker);
        held.is_at_most(MOST_HELD);
    }
    let _ = (tracker.stats(), tracker.picture());
});

/// A seeder is there and tells of a broadcast; the strangers are connected.
fn begin(tracker: &mut Tracker, now: Instant) {
    let opened = |session, role| Input::Opened {
        session,
        grant: Grant {
            role,
            may_share: true,
                origin: None,
        },
    };
    tracker.handle(now, opened(SEEDER, Role::Seeder));
    let join = wire::Join {
        peer: 900,
        upload_bps: 10_000_000,
        parents: Vec::new(),
        answers_probes: true,
    };
    let status = wire::Status {
        stream: Some(wire::Stream {
            k: 16,
            n: 20,
            rate_bps: 1_000_000,
            live: true,
        }),
        ..wire::Status::default()
    };
    for kind in [
        to_tracker::Kind::Join(join),
        to_tracker::Kind::Status(status),
    ] {
        let message = kind.into();
        let session = SEEDER;
        tracker.handle(now, Input::Message { session, message });
    }
    for session in 1..=4 {
        tracker.handle(now, opened(SessionId(session), Role::Viewer));
    }
    drain(tracker);
}

fn step(how: u8, session: SessionId, bytes: &Bytes) -> Input {
    match how {
        0..=4 => match ToTracker::decode(&bytes[..]) {
            Ok(message) => Input::Message { session, message },
            Err(_) => Input::Closed { session },
        },
        5 => Input::Opened {
            session,
            grant: Grant {
                role: Role::Viewer,
                may_share: bytes.is_empty(),
                origin: None,
            },
        },
        6 => Input::Closed { session },
        _ => Input::Timeout,
    }
}

fn drain(tracker: &mut Tracker) {
    // A tracker that never rests would hang its host.
    for _ in 0..100_000 {
        match tracker.poll() {
            Output::Timeout(_) => return,
            Output::Send { message, .. } => {
                let bytes = message.encode_to_vec();
                assert!(bytes.len() <= wire::MAX_TRACKER_MESSAGE_LEN);
                assert_eq!(FromTracker::decode(&bytes[..]), Ok(message));
            }
            Output::Close { .. } => {}
        }
    }
    panic!("a tracker that never rests");
}

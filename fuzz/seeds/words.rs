//! Seeds for the targets `wire`, `peer` and `tracker`: each message once, and short stories.

use overlay_core::{
    StripeId,
    wire::{
        self, Edge, FromTracker, Message, PieceKind, PieceMessage, Stream, ToTracker,
        control::{self, Kind},
        from_tracker, to_tracker,
    },
};
use prost::Message as _;

use crate::broadcast;

/// Each message once, behind the byte that says by which way it comes.
pub fn wire() -> Vec<Vec<u8>> {
    let mut seeds = vec![with(0, &piece(3, 1))];
    seeds.extend(reliable().iter().map(|bytes| with(1, bytes)));
    seeds.extend(to_tracker().iter().map(|bytes| with(2, bytes)));
    seeds.extend(from_tracker().iter().map(|bytes| with(3, bytes)));
    seeds.push(with(4, BLOB));
    seeds.push(with(5, &broadcast::generation(3).0.to_bytes()));
    seeds.push(with(6, &broadcast::epoch().certificate().to_bytes()));
    seeds.push(with(7, b"\0\0\0\x04initmedia"));
    seeds
}

/// A viewer's first second: the epoch, the tracker's words, headers, pieces.
pub fn peer() -> Vec<Vec<u8>> {
    let mut story = Vec::new();
    let mut step = |how: u8, from: u8, bytes: &[u8]| {
        story.push(how << 3 | from << 6 | 1);
        story.extend((bytes.len() as u16).to_be_bytes());
        story.extend(bytes);
    };
    step(5, 0, b"");
    for words in from_tracker() {
        step(2, 0, &words);
    }
    for words in reliable() {
        step(1, 1, &words);
    }
    for sequence in 0..8 {
        let (header, _) = broadcast::generation(sequence);
        step(1, 0, &wire::encode(&Message::Header(header)));
        for stripe in 0..4 {
            step(0, stripe % 2, &piece(sequence, stripe));
        }
        step(7, 0, b"");
    }
    vec![story]
}

/// Four viewers join and report; one leaves.
pub fn tracker() -> Vec<Vec<u8>> {
    let mut story = Vec::new();
    let mut step = |how: u8, from: u8, bytes: &[u8]| {
        story.push(how << 3 | from << 6 | 2);
        story.extend((bytes.len() as u16).to_be_bytes());
        story.extend(bytes);
    };
    for from in 0..4 {
        let join = to_tracker::Kind::Join(wire::Join {
            peer: 1 + u64::from(from),
            upload_bps: 5_000_000,
            parents: Vec::new(),
            answers_probes: true,
        });
        step(0, from, &ToTracker::from(join).encode_to_vec());
        for words in to_tracker().iter().skip(1) {
            step(0, from, words);
            step(7, 0, b"");
        }
    }
    step(6, 2, b"");
    step(7, 0, b"");
    vec![story]
}

/// Attempt 7 without an answer, credentials, a fingerprint, 192.0.2.1:4000.
const BLOB: &[u8] = b"\x09\x07\0\0\0\0\0\0\0\x1a\x08abcdEF12\x22\x160123456789abcdefABCDEF\
\x2a\x20--------------------------------\x32\x09\x0a\x04\xc0\0\x02\x01\x10\xa0\x1f";

fn with(way: u8, bytes: &[u8]) -> Vec<u8> {
    [&[way], bytes].concat()
}

fn piece(sequence: u64, stripe: u8) -> Vec<u8> {
    let (header, pieces) = broadcast::generation(sequence);
    let message = Message::Piece(PieceMessage {
        kind: PieceKind::Push,
        stripe: StripeId::new(stripe).expect("a stripe of the broadcast"),
        epoch: header.header.epoch as u32,
        sequence,
        piece: pieces[usize::from(stripe)].clone(),
    });
    wire::encode(&message).to_vec()
}

fn reliable() -> Vec<Vec<u8>> {
    let stripe = 2;
    let sequence = 4;
    let kinds = [
        Kind::Subscribe(control::Subscribe {
            stripe,
            from_sequence: 1,
            interior: true,
            planned: true,
        }),
        Kind::Accept(control::Accept { stripe }),
        Kind::Reject(control::Reject { stripe }),
        Kind::Unsubscribe(control::Unsubscribe { stripe }),
        Kind::Dropped(control::Dropped { stripe }),
        Kind::Have(control::Have {
            from: 0,
            until: 5,
            keyframes: vec![0, 5],
            newest: 6,
            relays: 0b1010,
            spare: 3,
            stripes: 0b1111,
            spare_kbps: 1500,
        }),
        Kind::Late(control::Late { stripe: 3 }),
        Kind::Pull(control::Pull {
            sequence,
            stripes: 0b1111,
            count: 3,
            within_ms: 400,
            header: true,
            catch_up: true,
        }),
        Kind::Busy(control::Busy { sequence }),
        Kind::HeaderRequest(control::HeaderRequest { sequence }),
        Kind::Ask(control::Ask {}),
        Kind::Know(control::Know {
            peers: vec![control::Known {
                peer: 2,
                relays: 0b1010,
                spare: 3,
            }],
        }),
        Kind::Carry(control::Carry {
            peer: 2,
            payload: b"offer".as_slice().into(),
        }),
        Kind::Carried(control::Carried {
            peer: 3,
            payload: b"answer".as_slice().into(),
        }),
    ];
    let (header, _) = broadcast::generation(sequence);
    let mut messages = vec![Message::Header(header), Message::Epoch(broadcast::epoch())];
    messages.extend(kinds.map(|kind| Message::Control(kind.into())));
    messages
        .iter()
        .map(|message| wire::encode(message).to_vec())
        .collect()
}

fn to_tracker() -> Vec<Vec<u8>> {
    let parents = vec![Edge {
        stripe: 1,
        parent: 2,
    }];
    let status = wire::Status {
        parents: parents.clone(),
        played: 3,
        stream: Some(stream()),
        ..wire::Status::default()
    };
    let kinds = [
        to_tracker::Kind::Join(wire::Join {
            peer: 1,
            upload_bps: 1_000_000,
            parents,
            answers_probes: true,
        }),
        to_tracker::Kind::Status(status),
        to_tracker::Kind::Signal(signal()),
        to_tracker::Kind::Detached(wire::Detached {
            stripe: 1,
            parent: 2,
            reason: 1,
        }),
        to_tracker::Kind::Complaint(wire::Complaint {
            peer: 2,
            sequence: 3,
            stripe: 1,
        }),
        to_tracker::Kind::Ping(wire::Ping { stamp_us: 9 }),
        to_tracker::Kind::Attached(Edge {
            stripe: 1,
            parent: 2,
        }),
        to_tracker::Kind::Suspect(wire::Suspect { peer: 2 }),
    ];
    kinds
        .map(|kind| ToTracker::from(kind).encode_to_vec())
        .to_vec()
}

fn from_tracker() -> Vec<Vec<u8>> {
    let kinds = [
        from_tracker::Kind::Welcome(wire::Welcome {
            wall_us: 1_000_000,
            seeders: vec![2],
            stream: Some(stream()),
            no_sharing: false,
        }),
        from_tracker::Kind::Introduce(wire::Introduce {
            partners: vec![2, 3],
            seeders: vec![2],
        }),
        from_tracker::Kind::Place(wire::Place {
            stripe: 1,
            parent: 2,
            backups: vec![3],
            interior: true,
        }),
        from_tracker::Kind::Unplace(wire::Unplace { stripe: 4 }),
        from_tracker::Kind::Signal(signal()),
        from_tracker::Kind::Pong(wire::Pong {
            stamp_us: 0,
            wall_us: 1_000_020,
        }),
        from_tracker::Kind::Live(wire::Live {
            stream: Some(stream()),
        }),
        from_tracker::Kind::Refused(wire::Refused {
            code: 2,
            message: "full".to_owned(),
        }),
    ];
    kinds
        .map(|kind| FromTracker::from(kind).encode_to_vec())
        .to_vec()
}

fn stream() -> Stream {
    Stream {
        k: 3,
        n: 5,
        rate_bps: 64_000,
        live: true,
    }
}

fn signal() -> wire::Signal {
    wire::Signal {
        peer: 2,
        payload: BLOB.into(),
        near: false,
    }
}

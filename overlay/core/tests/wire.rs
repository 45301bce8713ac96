//! Every message comes back as it was sent, and nothing that comes by a channel panics.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use overlay_core::{
    Signed, StripeId,
    wire::{
        self, ByteCounts, Channel, Control, Edge, FromTracker, Message, PieceKind, PieceMessage,
        Stream, ToTracker,
        control::{self, Kind},
        from_tracker, to_tracker,
    },
};
use proptest::prelude::*;
use prost::Message as _;
use stripe::{ChannelId, EpochCertificate, EpochSigner, Flags, Meta, Shape};

const CHANNEL: ChannelId = ChannelId([7; 16]);

/// A message that proptest can show: by its bytes.
#[derive(Clone)]
struct Sent(Message<Signed>);

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        wire::encode(&self.0).fmt(f)
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn scheme() -> Signed {
    Signed::new(CHANNEL, key().verifying_key().to_bytes())
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..=most).prop_map(Bytes::from)
}

fn stripes() -> impl Strategy<Value = u32> {
    0..u32::from(StripeId::MAX)
}

fn sequences() -> impl Strategy<Value = u64> {
    0..=u64::MAX / 4
}

fn pieces() -> impl Strategy<Value = Sent> {
    let kinds = prop::sample::select(vec![
        PieceKind::Push,
        PieceKind::Backfill,
        PieceKind::Pull,
        PieceKind::Rescue,
    ]);
    (
        kinds,
        0..StripeId::MAX,
        any::<u32>(),
        sequences(),
        bytes(3000),
    )
        .prop_map(|(kind, stripe, epoch, sequence, piece)| {
            Sent(Message::Piece(PieceMessage {
                kind,
                stripe: StripeId::new(stripe).unwrap(),
                epoch,
                sequence,
                piece,
            }))
        })
}

fn signed() -> impl Strategy<Value = Sent> {
    (any::<u64>(), sequences(), any::<u8>(), bytes(200)).prop_map(
        |(epoch, sequence, flags, body)| {
            let meta = Meta {
                sequence,
                media_time_us: sequence / 2,
                ingest_stamp_us: sequence / 3,
                delay_ms: 1500,
                flags: Flags(flags),
            };
            let signer = EpochSigner::new(CHANNEL, epoch, &[2; 32]);
            let (header, _) = signer.seal(meta, Shape::DEFAULT, &body).unwrap();
            Sent(Message::Header(header))
        },
    )
}

fn epochs() -> impl Strategy<Value = Sent> {
    (any::<u64>(), any::<[u8; 32]>()).prop_map(|(epoch, secret)| {
        let public_key = EpochSigner::new(CHANNEL, epoch, &secret).public_key();
        let signed = EpochCertificate::signed_bytes(CHANNEL, epoch, &public_key);
        let certificate = EpochCertificate {
            channel: CHANNEL,
            epoch,
            public_key,
            signature: key().sign(&signed).to_bytes(),
        };
        Sent(Message::Epoch(scheme().epoch(certificate).unwrap()))
    })
}

fn subscriptions() -> impl Strategy<Value = Kind> {
    let from = prop_oneof![sequences(), Just(u64::MAX)];
    (stripes(), from, any::<bool>()).prop_map(|(stripe, from_sequence, interior)| {
        Kind::Subscribe(control::Subscribe {
            stripe,
            from_sequence,
            interior,
            planned: true,
        })
    })
}

fn haves() -> impl Strategy<Value = Kind> {
    let keyframes = prop::collection::vec(any::<u64>(), 0..=32);
    (sequences(), sequences(), keyframes, sequences()).prop_map(|(a, b, keyframes, newest)| {
        Kind::Have(control::Have {
            from: a.min(b),
            until: a.max(b),
            keyframes,
            newest,
            relays: 0b1010,
            spare: 3,
            stripes: 0b1111,
            spare_kbps: 1500,
        })
    })
}

fn pulls() -> impl Strategy<Value = Kind> {
    let count = 0..=u32::from(StripeId::MAX);
    (
        sequences(),
        any::<u32>(),
        count,
        any::<u32>(),
        any::<bool>(),
    )
        .prop_map(|(sequence, stripes, count, within_ms, header)| {
            Kind::Pull(control::Pull {
                sequence,
                stripes,
                count,
                within_ms,
                header,
                catch_up: header,
            })
        })
}

fn controls() -> impl Strategy<Value = Sent> {
    let by_stripe = stripes().prop_flat_map(|stripe| {
        prop::sample::select(vec![
            Kind::Accept(control::Accept { stripe }),
            Kind::Reject(control::Reject { stripe }),
            Kind::Unsubscribe(control::Unsubscribe { stripe }),
            Kind::Dropped(control::Dropped { stripe }),
        ])
    });
    let by_sequence = sequences().prop_flat_map(|sequence| {
        prop::sample::select(vec![
            Kind::Busy(control::Busy { sequence }),
            Kind::HeaderRequest(control::HeaderRequest { sequence }),
            Kind::Ask(control::Ask {}),
            Kind::Late(control::Late { stripe: 3 }),
        ])
    });
    let carried = (any::<u64>(), bytes(wire::MAX_CARRIED_LEN), any::<bool>());
    let carried = carried.prop_map(|(peer, payload, there)| match there {
        true => Kind::Carried(control::Carried { peer, payload }),
        false => Kind::Carry(control::Carry { peer, payload }),
    });
    let known = (any::<u64>(), any::<u32>(), any::<u32>());
    let known = known.prop_map(|(peer, relays, spare)| control::Known {
        peer,
        relays,
        spare,
    });
    let know = prop::collection::vec(known, 0..=16);
    let know = know.prop_map(|peers| Kind::Know(control::Know { peers }));
    prop_oneof![
        subscriptions(),
        haves(),
        pulls(),
        by_stripe,
        by_sequence,
        carried,
        know
    ]
    .prop_map(|kind| Sent(Message::Control(kind.into())))
}

fn streams() -> impl Strategy<Value = Option<Stream>> {
    prop::option::of(
        (any::<u32>(), any::<u32>(), any::<u64>(), any::<bool>()).prop_map(
            |(k, n, rate_bps, live)| Stream {
                k,
                n,
                rate_bps,
                live,
            },
        ),
    )
}

fn edges() -> impl Strategy<Value = Vec<Edge>> {
    prop::collection::vec(
        (any::<u32>(), any::<u64>()).prop_map(|(stripe, parent)| Edge { stripe, parent }),
        0..40,
    )
}

fn counts() -> impl Strategy<Value = Option<ByteCounts>> {
    prop::option::of(
        any::<[u64; 5]>().prop_map(|[media, parity, duplicate, rescue, control]| ByteCounts {
            media,
            parity,
            duplicate,
            rescue,
            control,
        }),
    )
}

fn to_tracker() -> impl Strategy<Value = ToTracker> {
    let join = (any::<u64>(), any::<u64>(), edges()).prop_map(|(peer, upload_bps, parents)| {
        to_tracker::Kind::Join(wire::Join {
            peer,
            upload_bps,
            parents,
            answers_probes: upload_bps % 2 == 0,
        })
    });
    let status = (
        counts(),
        counts(),
        any::<u64>(),
        any::<u32>(),
        edges(),
        streams(),
    )
        .prop_map(
            |(from_seeders, from_peers, played, startup_ms, parents, stream)| {
                to_tracker::Kind::Status(wire::Status {
                    sent: Some(wire::Sent {
                        bytes: from_peers,
                        http: played,
                    }),
                    from_seeders,
                    from_peers,
                    played,
                    startup_ms,
                    parents,
                    stream,
                    ..wire::Status::default()
                })
            },
        );
    let signal = (any::<u64>(), bytes(wire::MAX_SIGNAL_LEN), any::<bool>()).prop_map(
        |(peer, payload, near)| {
            to_tracker::Kind::Signal(wire::Signal {
                peer,
                payload,
                near,
            })
        },
    );
    let small =
        (any::<u32>(), any::<u64>(), any::<i32>()).prop_flat_map(|(stripe, parent, reason)| {
            prop::sample::select(vec![
                to_tracker::Kind::Detached(wire::Detached {
                    stripe,
                    parent,
                    reason,
                }),
                to_tracker::Kind::Complaint(wire::Complaint {
                    peer: parent,
                    sequence: parent / 2,
                    stripe,
                }),
                to_tracker::Kind::Ping(wire::Ping { stamp_us: parent }),
                to_tracker::Kind::Attached(Edge { stripe, parent }),
                to_tracker::Kind::Suspect(wire::Suspect { peer: parent }),
            ])
        });
    prop_oneof![join, status, signal, small].prop_map(ToTracker::from)
}

fn from_tracker() -> impl Strategy<Value = FromTracker> {
    let peers = || prop::collection::vec(any::<u64>(), 0..64);
    let welcome = (any::<u64>(), peers(), streams()).prop_map(|(wall_us, seeders, stream)| {
        from_tracker::Kind::Welcome(wire::Welcome {
            wall_us,
            seeders,
            stream,
            no_sharing: true,
        })
    });
    let refused = (any::<i32>(), ".{0,40}")
        .prop_map(|(code, message)| from_tracker::Kind::Refused(wire::Refused { code, message }));
    let place = (any::<u32>(), any::<u64>(), peers(), any::<bool>()).prop_map(
        |(stripe, parent, backups, interior)| {
            from_tracker::Kind::Place(wire::Place {
                stripe,
                parent,
                backups,
                interior,
            })
        },
    );
    let introduce = (peers(), peers()).prop_map(|(partners, seeders)| {
        from_tracker::Kind::Introduce(wire::Introduce { partners, seeders })
    });
    let small =
        (any::<u32>(), any::<u64>(), streams()).prop_flat_map(|(stripe, wall_us, stream)| {
            prop::sample::select(vec![
                from_tracker::Kind::Unplace(wire::Unplace { stripe }),
                from_tracker::Kind::Live(wire::Live { stream }),
                from_tracker::Kind::Probe(wire::Probe {}),
                from_tracker::Kind::Pong(wire::Pong {
                    stamp_us: wall_us / 2,
                    wall_us,
                }),
            ])
        });
    prop_oneof![welcome, refused, place, introduce, small].prop_map(FromTracker::from)
}

fn comes_back(message: &Message<Signed>) -> Result<(), TestCaseError> {
    let bytes = wire::encode(message);
    prop_assert_eq!(bytes.len(), message.wire_len());
    let read = wire::decode(&scheme(), message.channel(), &bytes).unwrap();
    let same = match (&read, message) {
        (Message::Piece(read), Message::Piece(sent)) => read == sent,
        (Message::Header(read), Message::Header(sent)) => read == sent,
        (Message::Epoch(read), Message::Epoch(sent)) => read.certificate() == sent.certificate(),
        (Message::Control(read), Message::Control(sent)) => read == sent,
        _ => false,
    };
    prop_assert!(same);
    let other = match message.channel() {
        Channel::Pieces => Channel::Reliable,
        Channel::Reliable => Channel::Pieces,
    };
    // What it is by the wrong channel nobody promises, but nothing may break.
    let _ = wire::decode(&scheme(), other, &bytes);
    for end in 0..bytes.len().min(700) {
        let _ = wire::decode(&scheme(), message.channel(), &bytes.slice(..end));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_come_back(sent in pieces()) {
        comes_back(&sent.0)?;
    }

    #[test]
    fn signed_headers_come_back(sent in signed()) {
        comes_back(&sent.0)?;
    }

    #[test]
    fn control_messages_come_back(sent in controls()) {
        comes_back(&sent.0)?;
    }

    #[test]
    fn words_to_the_tracker_come_back(message in to_tracker()) {
        let bytes = message.encode_to_vec();
        prop_assert!(bytes.len() <= wire::MAX_TRACKER_MESSAGE_LEN);
        prop_assert_eq!(ToTracker::decode(&bytes[..]), Ok(message));
    }

    #[test]
    fn words_from_the_tracker_come_back(message in from_tracker()) {
        let bytes = message.encode_to_vec();
        prop_assert!(bytes.len() <= wire::MAX_TRACKER_MESSAGE_LEN);
        prop_assert_eq!(FromTracker::decode(&bytes[..]), Ok(message));
    }

    #[test]
    fn any_bytes_are_no_panic(tag in 0..5_u8, rest in prop::collection::vec(any::<u8>(), 0..600)) {
        let bytes = Bytes::from([&[tag][..], &rest].concat());
        for channel in [Channel::Pieces, Channel::Reliable] {
            if let Ok(message) = wire::decode(&scheme(), channel, &bytes) {
                comes_back(&message)?;
            }
        }
        let _ = ToTracker::decode(&rest[..]);
        let _ = FromTracker::decode(&rest[..]);
    }
}

proptest! {
    // Each takes two signatures.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 32,
        ..ProptestConfig::default()
    })]

    #[test]
    fn epochs_come_back(sent in epochs()) {
        comes_back(&sent.0)?;
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let long = Bytes::from(vec![0; wire::MAX_MESSAGE_LEN + 1]);
    for (channel, len) in [
        (Channel::Pieces, wire::MAX_MESSAGE_LEN + 1),
        (Channel::Reliable, 2049),
    ] {
        let refused = wire::decode(&scheme(), channel, &long.slice(..len));
        assert_eq!(refused.err(), Some(wire::Error::TooLong(len)));
    }
}

#[test]
fn fields_out_of_bounds_are_refused() {
    let stripe = u32::from(StripeId::MAX);
    let sequence = u64::MAX / 2;
    let wrong = [
        Kind::Accept(control::Accept { stripe }),
        Kind::Reject(control::Reject { stripe: u32::MAX }),
        Kind::Unsubscribe(control::Unsubscribe { stripe }),
        Kind::Dropped(control::Dropped { stripe }),
        Kind::Subscribe(control::Subscribe {
            stripe,
            from_sequence: 0,
            interior: false,
            planned: true,
        }),
        Kind::Subscribe(control::Subscribe {
            stripe: 0,
            from_sequence: sequence,
            interior: false,
            planned: true,
        }),
        Kind::Carry(control::Carry {
            peer: 1,
            payload: Bytes::from(vec![0; wire::MAX_CARRIED_LEN + 1]),
        }),
        Kind::Carried(control::Carried {
            peer: 1,
            payload: Bytes::from(vec![0; wire::MAX_CARRIED_LEN + 1]),
        }),
        Kind::Know(control::Know {
            peers: vec![control::Known::default(); 17],
        }),
        Kind::Busy(control::Busy { sequence }),
        Kind::HeaderRequest(control::HeaderRequest { sequence }),
        Kind::Have(control::Have {
            from: 2,
            until: 1,
            keyframes: Vec::new(),
            newest: 2,
            relays: 0b1010,
            spare: 3,
            stripes: 0b1111,
            spare_kbps: 1500,
        }),
        Kind::Have(control::Have {
            from: 0,
            until: 50,
            keyframes: vec![1; 33],
            newest: 50,
            relays: 0b1010,
            spare: 3,
            stripes: 0b1111,
            spare_kbps: 1500,
        }),
        Kind::Pull(control::Pull {
            sequence: 1,
            stripes: u32::MAX,
            count: stripe + 1,
            within_ms: 1,
            header: false,
            catch_up: true,
        }),
    ];
    for control in wrong.map(Control::from) {
        let bytes = wire::encode(&Message::Control(control.clone()));
        let read = wire::decode(&scheme(), Channel::Reliable, &bytes);
        assert!(read.is_err(), "{control:?}");
    }
}

#[test]
fn a_kind_of_a_later_release_is_no_fault() {
    let later = Control { kind: None };
    let bytes = wire::encode(&Message::Control(later));
    assert!(wire::decode(&scheme(), Channel::Reliable, &bytes).is_ok());
}

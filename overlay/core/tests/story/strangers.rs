//! One viewer that plays, and a stranger with a link to it.

use std::time::Duration;

use bytes::Bytes;
use overlay_core::{
    PeerId, Signed, StripeId,
    peer::{Event, Input},
    wire::{
        Channel, Message, PieceKind, PieceMessage,
        control::{self, Kind},
    },
};
use stripe::Flags;

use crate::{
    broadcast::{Broadcast, altered},
    world::World,
};

const SECOND: Duration = Duration::from_secs(1);

/// A viewer that plays, its seeder, and a stranger.
struct Scene {
    world: World,
    seeder: PeerId,
    viewer: PeerId,
    stranger: PeerId,
}

fn scene(upload_bps: u64) -> Scene {
    let mut world = World::new();
    let seeder = world.seeder(20_000_000);
    let viewer = world.viewer(upload_bps);
    world.air(150);
    world.run(SECOND * 5);
    let stranger = world.stranger(viewer);
    assert!(world.linked(viewer, stranger));
    Scene {
        world,
        seeder,
        viewer,
        stranger,
    }
}

impl Scene {
    fn say(&mut self, message: &Message<Signed>) {
        self.world.say(self.stranger, self.viewer, message);
    }

    fn control(&mut self, kind: Kind) {
        self.world.control(self.stranger, self.viewer, kind);
    }

    fn is_cut(&self) -> bool {
        let cut = self.world.has(self.viewer, Event::Cut(self.stranger));
        assert_eq!(cut, !self.world.linked(self.viewer, self.stranger));
        assert_eq!(cut, self.world.stats(self.viewer).cut == [self.stranger]);
        cut
    }

    /// The broadcast goes on for the viewer as if nothing had happened.
    fn goes_on(mut self) {
        let before = self.world.played(self.viewer).end;
        self.world.run(SECOND * 5);
        let after = self.world.played(self.viewer).end;
        assert!((24..=26).contains(&(after - before)), "{before} to {after}");
        let stats = self.world.stats(self.viewer);
        assert_eq!((stats.stalls, stats.skipped), (0, 0));
        assert!(!stats.cut.contains(&self.seeder));
    }

    fn pieces_heard(&mut self) -> Vec<(u64, u8)> {
        let heard = self.world.heard(self.stranger);
        heard
            .iter()
            .filter_map(|message| match message {
                Message::Piece(piece) => Some((piece.sequence, piece.stripe.get())),
                _ => None,
            })
            .collect()
    }

    fn answers_heard(&mut self) -> (usize, usize) {
        let heard = self.world.heard(self.stranger);
        let count = |wanted: fn(&Kind) -> bool| {
            heard
                .iter()
                .filter(|message| match message {
                    Message::Control(control) => control.kind.as_ref().is_some_and(wanted),
                    _ => false,
                })
                .count()
        };
        (
            count(|kind| matches!(kind, Kind::Accept(_))),
            count(|kind| matches!(kind, Kind::Reject(_))),
        )
    }
}

fn subscribe(stripe: u32) -> Kind {
    Kind::Subscribe(control::Subscribe {
        stripe,
        from_sequence: u64::MAX,
        interior: false,
        planned: true,
    })
}

#[test]
fn an_altered_piece_cuts_its_sender() {
    let mut scene = scene(5_000_000);
    let piece = altered(&scene.world.broadcast.generation(20).pieces[3]);
    let lie = scene.world.broadcast.claim(20, 3, piece);
    scene.say(&lie);
    assert!(scene.is_cut());
    assert_eq!(scene.world.stats(scene.viewer).rejected_pieces, 1);
    scene.goes_on();
}

#[test]
fn a_true_piece_of_another_place_cuts_its_sender() {
    let mut scene = scene(5_000_000);
    let piece = scene.world.broadcast.generation(20).pieces[4].clone();
    let lie = scene.world.broadcast.claim(20, 3, piece);
    scene.say(&lie);
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn a_lie_told_before_its_header_is_found_out_with_it() {
    let mut scene = scene(5_000_000);
    let next = scene.world.played(scene.viewer).end + 12;
    let lie = scene
        .world
        .broadcast
        .claim(next, 2, Bytes::from_static(b"lie"));
    scene.say(&lie);
    assert!(!scene.is_cut());
    scene.world.run(SECOND * 3);
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn old_pieces_are_dropped_and_their_flood_cuts() {
    let mut scene = scene(5_000_000);
    scene.world.run(SECOND * 16);
    scene.control(subscribe(3));
    scene.world.run(SECOND);
    scene.world.heard(scene.stranger);
    let old = scene.world.broadcast.piece(1, 3);
    let stale = scene.world.stats(scene.viewer).stale_pieces;
    scene.say(&old);
    assert_eq!(scene.world.stats(scene.viewer).stale_pieces, stale + 1);
    assert!(!scene.is_cut());
    scene.world.run(SECOND);
    assert!(
        scene
            .pieces_heard()
            .iter()
            .all(|(sequence, _)| *sequence > 1)
    );
    for _ in 0..400 {
        scene.say(&old);
    }
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn pieces_of_another_epoch_are_dropped_and_their_flood_cuts() {
    let mut scene = scene(5_000_000);
    let mut other = Broadcast::new(7, 4);
    let next = scene.world.played(scene.viewer).end + 9;
    other.make(next, Flags::KEYFRAME, 0);
    let foreign = other.piece(next, 3);
    scene.say(&foreign);
    assert!(!scene.is_cut());
    assert_eq!(scene.world.stats(scene.viewer).rejected_pieces, 0);
    for _ in 0..400 {
        scene.say(&foreign);
    }
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn an_older_epoch_replaces_nothing() {
    let mut scene = scene(5_000_000);
    let older = Broadcast::new(7, 4).epoch();
    scene.say(&Message::Epoch(older));
    assert!(!scene.is_cut());
    scene.goes_on();
}

#[test]
fn another_channels_epoch_cuts() {
    let mut scene = scene(5_000_000);
    let foreign = Broadcast::new(8, 9).epoch();
    scene.say(&Message::Epoch(foreign));
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn a_header_nobody_signed_cuts() {
    let mut scene = scene(5_000_000);
    let next = scene.world.played(scene.viewer).end + 12;
    let stamp = 1_700_000_000_000_000;
    let mut header = scene
        .world
        .broadcast
        .make(900, Flags::KEYFRAME, stamp)
        .header
        .clone();
    header.header.meta.sequence = next;
    scene.say(&Message::Header(header));
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn another_channels_header_cuts() {
    let mut scene = scene(5_000_000);
    let next = scene.world.played(scene.viewer).end + 12;
    let mut other = Broadcast::new(8, 5);
    let header = other.make(next, Flags::KEYFRAME, 0).header.clone();
    scene.say(&Message::Header(header));
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn bytes_that_are_no_message_cut() {
    let nonsense: [(Channel, &[u8]); 5] = [
        (Channel::Pieces, b""),
        (Channel::Pieces, b"\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (Channel::Reliable, b""),
        (Channel::Reliable, b"\x03\xff\xff\xff\xff"),
        (Channel::Reliable, &[9; 4000]),
    ];
    for (channel, bytes) in nonsense {
        let mut scene = scene(5_000_000);
        let (stranger, viewer) = (scene.stranger, scene.viewer);
        let bytes = Bytes::from_static(bytes);
        scene.world.deliver(stranger, viewer, channel, &bytes);
        assert!(scene.is_cut());
        scene.goes_on();
    }
}

#[test]
fn who_was_cut_is_not_let_in_again() {
    let mut scene = scene(5_000_000);
    let (stranger, viewer) = (scene.stranger, scene.viewer);
    scene.world.feed(viewer, Input::Malformed(stranger));
    assert!(scene.is_cut());
    scene.world.feed(viewer, Input::LinkUp(stranger));
    let piece = scene.world.broadcast.piece(24, 0);
    scene.say(&piece);
    assert!(scene.is_cut());
    let stale = scene.world.stats(viewer).stale_pieces;
    let message = scene.world.broadcast.piece(24, 0);
    let input = Input::Received {
        from: stranger,
        message,
    };
    scene.world.feed(viewer, input);
    assert_eq!(scene.world.stats(viewer).stale_pieces, stale);
    scene.goes_on();
}

#[test]
fn a_child_that_asks_twice_is_served_once() {
    let mut scene = scene(5_000_000);
    scene.control(subscribe(3));
    scene.control(subscribe(3));
    scene.world.run(SECOND * 4);
    let stats = scene.world.stats(scene.viewer);
    let stripe = StripeId::new(3).unwrap();
    assert_eq!(stats.children, [(stripe, vec![scene.stranger])]);
    let mut pieces = scene.pieces_heard();
    assert!((15..=21).contains(&pieces.len()), "{pieces:?}");
    pieces.dedup();
    assert!(pieces.iter().all(|(_, stripe)| *stripe == 3));
    let once: std::collections::BTreeSet<_> = pieces.iter().collect();
    assert_eq!(once.len(), pieces.len(), "{pieces:?}");
    scene.goes_on();
}

/// Each time all there is of the stripe would come again: 3,800 pieces.
#[test]
fn a_child_that_comes_and_goes_is_not_resent_everything_each_time() {
    let mut scene = scene(5_000_000);
    let from = scene.world.played(scene.viewer).end;
    for _ in 0..200 {
        scene.control(Kind::Subscribe(control::Subscribe {
            stripe: 3,
            from_sequence: from,
            interior: false,
            planned: true,
        }));
        scene.world.run(SECOND / 20);
        scene.control(Kind::Unsubscribe(control::Unsubscribe { stripe: 3 }));
    }
    // Eighty times at once and eight times a second.
    let heard = scene.pieces_heard().len();
    assert!(heard <= 3000, "{heard} pieces");
    scene.goes_on();
}

#[test]
fn children_beyond_its_slots_are_refused() {
    // A stripe of this broadcast is 50 kbit/s.
    let mut scene = scene(500_000);
    for stripe in 0..20 {
        scene.control(subscribe(stripe));
    }
    scene.world.run(SECOND / 10);
    let (accepted, refused) = scene.answers_heard();
    assert!((4..=12).contains(&accepted), "{accepted} accepted");
    assert_eq!(accepted + refused, 20);
    scene.goes_on();
}

/// Pieces of the given generations, each with memory of its own, said by the stranger.
/// How many of them the viewer keeps.
fn kept(scene: &mut Scene, sequences: impl Iterator<Item = u64>) -> usize {
    let (from, to) = (scene.stranger, scene.viewer);
    let mut pieces = Vec::new();
    for (index, sequence) in sequences.enumerate() {
        let piece = Bytes::from(vec![index as u8; 1250]);
        let message = Message::Piece(PieceMessage {
            kind: PieceKind::Push,
            stripe: StripeId::new((index % 32) as u8).unwrap(),
            epoch: 5,
            sequence,
            piece: piece.clone(),
        });
        scene.world.feed(to, Input::Received { from, message });
        pieces.push(piece);
    }
    pieces.iter().filter(|piece| !piece.is_unique()).count()
}

#[test]
fn pieces_without_headers_hold_bounded_memory() {
    let mut scene = scene(5_000_000);
    let next = scene.world.played(scene.viewer).end + 9;
    let kept = kept(&mut scene, (0..10_000).map(|index| next + index / 40));
    assert!(kept <= 128, "{kept} pieces are kept");
    assert!(scene.is_cut());
    scene.goes_on();
}

#[test]
fn nor_do_they_before_any_header_is_known() {
    let mut world = World::new();
    let seeder = world.seeder(20_000_000);
    let viewer = world.viewer(0);
    world.run(SECOND);
    let stranger = world.stranger(viewer);
    let epoch = world.broadcast.epoch();
    world.say(stranger, viewer, &Message::Epoch(epoch));
    let mut scene = Scene {
        world,
        seeder,
        viewer,
        stranger,
    };
    let kept = kept(&mut scene, (0..10_000).map(|index| index * 7919));
    assert!(kept <= 128, "{kept} pieces are kept");
    // What was kept stands in nobody's way.
    scene.world.air(40);
    scene.world.run(SECOND * 3);
    scene.goes_on();
}

#[test]
fn who_shares_nothing_refuses_everybody() {
    let mut scene = scene(0);
    for stripe in 0..20 {
        scene.control(subscribe(stripe));
    }
    scene.world.run(SECOND);
    assert_eq!(scene.answers_heard(), (0, 20));
    assert!(scene.pieces_heard().is_empty());
    scene.goes_on();
}

/// Somebody whom no tracker named comes by way of the stranger.
fn met_without_the_tracker(scene: &mut Scene) -> PeerId {
    let name = PeerId(77);
    scene.world.feed(scene.viewer, Input::TrackerDown);
    let payload = Bytes::from_static(b"offer");
    scene.control(Kind::Carried(control::Carried {
        peer: name.0,
        payload,
    }));
    scene.world.stranger_named(name, scene.viewer);
    assert!(scene.world.linked(scene.viewer, name));
    name
}

#[test]
fn a_lie_under_anothers_name_is_not_held_against_the_name() {
    let mut scene = scene(5_000_000);
    let name = met_without_the_tracker(&mut scene);
    let piece = altered(&scene.world.broadcast.generation(20).pieces[3]);
    let lie = scene.world.broadcast.claim(20, 3, piece);
    scene.world.say(name, scene.viewer, &lie);
    assert!(!scene.world.linked(scene.viewer, name), "the liar is cut");
    scene.world.stranger_named(name, scene.viewer);
    assert!(
        scene.world.linked(scene.viewer, name),
        "whose name it is may come"
    );
}

#[test]
fn who_came_by_a_name_is_parted_from_when_the_tracker_returns() {
    let mut scene = scene(5_000_000);
    let name = met_without_the_tracker(&mut scene);
    scene.world.feed(scene.viewer, Input::TrackerUp);
    assert!(!scene.world.linked(scene.viewer, name));
    assert!(scene.world.linked(scene.viewer, scene.seeder));
}

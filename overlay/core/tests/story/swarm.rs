//! Peers that mean well, and one that does not, placed by a real tracker.

use std::time::Duration;

use overlay_core::peer::{Event, stats::State};
use stripe::Flags;

use crate::{
    broadcast::DELAY_MS,
    world::{GOP, World},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_viewer_joins_starts_and_plays_to_the_end() {
    let mut world = World::new();
    world.seeder(20_000_000);
    world.air(60);
    world.run(SECOND * 3);
    let viewer = world.viewer(0);
    world.run(SECOND * 9);
    world.air_one(Flags::END);
    world.run(SECOND * 3);
    let played = world.played(viewer);
    assert_eq!(played.end, 60);
    assert!(played.start <= GOP, "began at {}", played.start);
    let stats = world.stats(viewer);
    assert_eq!((stats.stalls, stats.skipped), (0, 0));
    assert_eq!(stats.state, State::Ended);
    assert!(stats.startup.unwrap() <= SECOND);
    assert!(world.has(viewer, Event::Ended));
    assert!(stats.cut.is_empty());
}

/// The newest keyframe is 0.4 s old when the viewer comes and would be due more than a second later.
#[test]
fn who_comes_after_a_keyframe_begins_with_it_at_once_and_plays_slower_until_it_is_due() {
    let mut world = World::new();
    world.seeder(20_000_000);
    world.air(60);
    world.run(SECOND * 2 + SECOND * 2 / 5);
    let viewer = world.viewer(0);
    world.run(SECOND * 8);
    let stats = world.stats(viewer);
    assert_eq!((stats.stalls, stats.skipped), (0, 0));
    assert!(stats.startup.unwrap() <= SECOND * 3 / 5, "{stats:?}");
    let lags = world.lags(viewer);
    let (first, begun) = lags[0];
    assert_eq!(first % GOP, 0, "begins with a keyframe");
    assert!(begun <= SECOND, "{begun:?} behind");
    let delay = Duration::from_millis(u64::from(DELAY_MS));
    let late = Duration::from_millis(30);
    for pair in lags.windows(2) {
        let (before, after) = (pair[0].1, pair[1].1);
        assert!(after <= delay + late, "{after:?} behind, later than due");
        // Three quarters of the pace: a third of each generation's 200 ms more behind.
        let slower = after.saturating_sub(before);
        assert!(slower <= Duration::from_millis(67) + late, "{slower:?}");
    }
    let (_, last) = lags[lags.len() - 1];
    assert!(last + late >= delay, "{last:?} behind in the end");
}

/// What nobody pushes has to be asked for, and whether that goes well shows only in time.
#[test]
fn who_lacks_parents_begins_when_a_second_of_what_is_new_has_come_all_the_same() {
    let mut world = World::new();
    world.seeder(20_000_000);
    world.air(80);
    world.run(SECOND * 2 + SECOND * 2 / 5);
    let viewer = world.viewer_with_parents_in(3);
    world.run(SECOND * 8);
    let stats = world.stats(viewer);
    let startup = stats.startup.unwrap();
    assert!((SECOND..SECOND * 5).contains(&startup), "{startup:?}");
    assert_eq!((stats.stalls, stats.skipped), (0, 0));
}

/// All that is new comes 0.8 s after it was made, which is in time.
#[test]
fn who_gets_everything_late_begins_all_the_same() {
    let mut world = World::new();
    world.seeder(20_000_000);
    world.air(100);
    world.run(SECOND * 2 + SECOND * 2 / 5);
    let viewer = world.viewer_behind(SECOND * 4 / 5);
    world.run(SECOND * 12);
    let stats = world.stats(viewer);
    let startup = stats.startup.expect("it begins");
    assert!(startup <= SECOND * 6, "{startup:?}");
    assert_eq!((stats.stalls, stats.skipped), (0, 0));
}

#[test]
fn a_viewer_that_came_first_waits_and_loses_nothing() {
    let mut world = World::new();
    world.seeder(20_000_000);
    let viewer = world.viewer(0);
    world.run(SECOND * 3);
    assert!(world.has(viewer, Event::Waiting));
    assert_eq!(world.stats(viewer).state, State::Waiting);
    world.air(30);
    world.run(SECOND * 15 / 2);
    assert_eq!(world.played(viewer), 0..30);
    assert_eq!(world.stats(viewer).stalls, 0);
}

#[test]
fn viewers_relay_to_each_other_what_the_seeder_cannot_send() {
    let mut world = World::new();
    let seeder = world.seeder(2_000_000);
    world.air(100);
    world.run(SECOND);
    let viewers: Vec<_> = (0..4)
        .map(|_| {
            world.run(SECOND / 2);
            world.viewer(5_000_000)
        })
        .collect();
    world.run(SECOND * 37 / 2);
    let mut relayed = 0;
    for viewer in &viewers {
        let stats = world.stats(*viewer);
        assert_eq!(world.played(*viewer).end, 100);
        assert_eq!(stats.stalls, 0);
        assert!(stats.cut.is_empty());
        relayed += stats.sent.media + stats.sent.parity;
    }
    let seeder = world.stats(seeder).sent;
    let seeder = seeder.media + seeder.parity + seeder.rescue;
    assert!(
        relayed > seeder,
        "{relayed} relayed, {seeder} from the seeder"
    );
}

#[test]
fn a_pause_is_waited_out_and_the_end_is_the_end() {
    let mut world = World::new();
    world.seeder(20_000_000);
    let viewer = world.viewer(0);
    world.air(20);
    world.run(SECOND * 4);
    world.air_one(Flags::PAUSE);
    world.run(SECOND * 2);
    assert!(world.has(viewer, Event::Waiting));
    assert_eq!(world.stats(viewer).state, State::Waiting);
    assert_eq!(world.played(viewer), 0..21);
    world.run(SECOND * 20);
    assert_eq!(world.stats(viewer).state, State::Waiting);
    world.air_one(Flags::KEYFRAME.with(Flags::RESUME));
    world.run(SECOND / 5);
    world.air(20);
    world.run(SECOND * 4);
    assert_eq!(world.stats(viewer).state, State::Playing);
    world.air_one(Flags::END);
    world.run(SECOND * 2);
    assert_eq!(world.played(viewer), 0..42);
    let stats = world.stats(viewer);
    assert_eq!(stats.state, State::Ended);
    assert_eq!((stats.stalls, stats.skipped), (0, 0));
}

#[test]
fn a_broadcast_of_which_nothing_new_comes_is_a_stall_that_skips_nothing() {
    let mut world = World::new();
    world.seeder(20_000_000);
    let viewer = world.viewer(0);
    world.air(10);
    world.run(SECOND * 5);
    let stats = world.stats(viewer);
    assert_eq!(stats.stalls, 1);
    // The last was due 3.3 s after the start and lasted for 0.2.
    let off = stats.stall_time.abs_diff(SECOND * 3 / 2);
    assert!(off <= SECOND / 10, "{stats:?}");
    world.air(20);
    world.run(SECOND * 11 / 2);
    let stats = world.stats(viewer);
    assert_eq!(world.released(viewer), (0..30).collect::<Vec<_>>());
    assert_eq!((stats.stalls, stats.skipped), (1, 0));
}

#[test]
fn a_generation_that_does_not_decode_is_passed_over_once() {
    let mut world = World::new();
    world.seeder(20_000_000);
    world.broadcast.spoilt = Some(11);
    world.air(40);
    // Comes after a keyframe, so that what follows is released before it is due.
    world.run(SECOND * 2 + SECOND * 2 / 5);
    let viewer = world.viewer(0);
    world.run(SECOND * 5);
    let stats = world.stats(viewer);
    assert_eq!(stats.stalls, 1, "{stats:?}");
    let released = world.released(viewer);
    assert_eq!(released[..3], [10, 20, 21]);
}

#[test]
fn a_relay_that_alters_pieces_is_cut_and_nobody_else_is() {
    let mut world = World::new();
    world.seeder(2_500_000);
    world.air(100);
    world.run(SECOND);
    // Only the liar has much to give, so all the others become its children.
    let liar = world.liar(20_000_000);
    world.run(SECOND);
    let honest: Vec<_> = (0..4).map(|_| world.viewer(1_500_000)).collect();
    world.run(SECOND * 22);
    let victims: Vec<_> = world
        .altered
        .iter()
        .map(|(edge, noted)| (*edge, *noted))
        .collect();
    assert!(!victims.is_empty(), "the liar relayed nothing");
    for ((from, to), (first, last)) in victims {
        assert_eq!(from, liar);
        let cut = world
            .events(to)
            .iter()
            .find(|(_, event)| *event == Event::Cut(liar))
            .map(|(at, _)| *at);
        let cut = cut.expect("the liar is cut");
        assert!(
            cut.since(first) <= SECOND,
            "cut after {:?}",
            cut.since(first)
        );
        assert!(last <= cut, "a piece got in after the cut");
        assert!(!world.linked(liar, to));
        assert!(world.stats(to).rejected_pieces >= 1);
    }
    for viewer in honest {
        assert_eq!(world.played(viewer).end, 100);
        let stats = world.stats(viewer);
        assert!(stats.cut.iter().all(|cut| *cut == liar), "{:?}", stats.cut);
    }
}

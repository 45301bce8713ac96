//! A dozen viewers of 3 Mbit/s, 5 Mbit/s of uplink each and a seeder of three stream rates,
//! and what befalls them: the swarm that is tested with real programs too, here twenty
//! times each with another seed.

use std::time::Duration;

use sim::{Attack, Fault, How, Report, Scenario, What, Who, run};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;
/// When the fault strikes: the last viewer came at 17 s.
const STRIKES: Duration = Duration::from_secs(35);

fn dozen() -> Scenario {
    Scenario::dozen(5_000_000)
}

fn struck(by: What) -> Scenario {
    Scenario {
        faults: vec![Fault {
            at: STRIKES,
            what: by,
        }],
        ..dozen()
    }
}

/// Runs it with every seed; so many must be left of those who watched when it struck, and
/// lose nothing until a minute after the last of it.
fn nobody_stalls(scenario: &Scenario, left: usize) {
    for seed in SEEDS {
        let report = run(scenario, seed);
        let fault = report.fault.expect("a fault struck");
        assert_eq!(fault.survivors, left, "seed {seed}: {report:?}");
        assert_eq!(fault.stalls, 0, "seed {seed}: {report:?}");
        assert!(report.lag_p95_ms <= 2000.0, "seed {seed}: {report:?}");
        assert!(report.upload_over_cap <= 1.0, "seed {seed}: {report:?}");
        // What the transport adds is known after the second in which it was sent.
        assert!(
            report.upload_second_over_cap <= 1.15,
            "seed {seed}: {report:?}"
        );
    }
}

fn of_each(scenario: &Scenario) -> impl Iterator<Item = (u64, Report)> {
    SEEDS.map(|seed| (seed, run(scenario, seed)))
}

#[test]
fn three_relays_are_killed() {
    nobody_stalls(&struck(What::Vanish(Who::Interior(3), How::Killed)), 9);
}

#[test]
fn three_relays_are_stopped_and_nothing_tells() {
    nobody_stalls(&struck(What::Vanish(Who::Interior(3), How::Stopped)), 9);
}

#[test]
fn half_of_the_viewers_are_killed() {
    nobody_stalls(&struck(What::Vanish(Who::Share(0.5), How::Killed)), 6);
}

#[test]
fn half_of_the_viewers_are_stopped() {
    nobody_stalls(&struck(What::Vanish(Who::Share(0.5), How::Stopped)), 6);
}

/// The tracker is away for so long; a relay is killed after a sixth of it, another stopped
/// after a third.
fn tracker_away(seconds: u64) -> Scenario {
    let away = Duration::from_secs(seconds);
    let relay = |after: Duration, how: How| Fault {
        at: STRIKES + after,
        what: What::Vanish(Who::Interior(1), how),
    };
    let mut scenario = struck(What::TrackerDown(away));
    scenario.faults.push(relay(away / 6, How::Killed));
    scenario.faults.push(relay(away / 3, How::Stopped));
    scenario.duration = STRIKES + away + Duration::from_secs(30);
    scenario
}

#[test]
fn the_tracker_is_away_for_a_minute_and_relays_die_meanwhile() {
    nobody_stalls(&tracker_away(60), 10);
}

#[test]
fn the_tracker_is_away_for_a_moment_and_relays_die_meanwhile() {
    nobody_stalls(&tracker_away(12), 10);
}

/// Sixty viewers, of whom three in five leave, relays all of them, while nobody places those
/// who are left: they find each other by what neighbours tell and carry.
#[test]
fn the_tracker_is_away_for_three_minutes_and_most_relays_leave() {
    let away = Duration::from_secs(180);
    let leaves = |number: u32| Fault {
        at: STRIKES + Duration::from_millis(2000) + away * number / 40,
        what: What::Vanish(
            Who::Interior(1),
            if number.is_multiple_of(2) {
                How::Killed
            } else {
                How::Stopped
            },
        ),
    };
    let mut faults = vec![Fault {
        at: STRIKES,
        what: What::TrackerDown(away),
    }];
    faults.extend((0..36).map(leaves));
    let scenario = Scenario {
        peers: 60,
        rtt: Duration::from_millis(40),
        duration: STRIKES + away - Duration::from_secs(5),
        faults,
        ..dozen()
    };
    for seed in 1..=2 {
        let report = run(&scenario, seed);
        assert_eq!(report.playing, 24, "seed {seed}: {report:?}");
        assert!(report.continuity >= 0.97, "seed {seed}: {report:?}");
    }
}

#[test]
fn packets_are_lost_everywhere() {
    let nothing = What::Vanish(Who::Share(0.0), How::Killed);
    let scenario = Scenario {
        loss: 0.02,
        burst: 1.0,
        ..struck(nothing)
    };
    nobody_stalls(&scenario, 12);
    let scenario = Scenario {
        loss: 0.05,
        rtt: Duration::from_millis(100),
        jitter: Duration::from_millis(30),
        ..scenario
    };
    nobody_stalls(&scenario, 12);
}

/// Parity alone does not make up for so much: without pulls there are ten times as many stalls.
#[test]
fn one_packet_in_nine_is_lost_and_pulls_make_up_for_it() {
    let nothing = What::Vanish(Who::Share(0.0), How::Killed);
    let scenario = Scenario {
        loss: 0.11,
        burst: 1.0,
        rtt: Duration::from_millis(100),
        jitter: Duration::from_millis(30),
        ..struck(nothing)
    };
    let reports = of_each(&scenario).take(10);
    let minutes = reports.map(|(_, report)| report.fault.expect("a minute was measured"));
    let stalls: u64 = minutes.map(|minute| minute.stalls).sum();
    assert!(stalls <= 15, "{stalls} in ten minutes of a dozen");
}

/// Struck in another phase of the GOP with each seed: what was pushed to some when the seeder
/// died is lost to others, so that everyone stands until a keyframe after its return is whole.
/// Three seeds of twenty are above two seconds, which is the goal.
#[test]
fn the_only_seeder_comes_back_within_two_seconds() {
    for seed in SEEDS {
        let down = Fault {
            at: STRIKES + Duration::from_millis(seed * 100),
            what: What::SeederDown(Duration::from_millis(1500)),
        };
        let scenario = Scenario {
            faults: vec![down],
            ..dozen()
        };
        let report = run(&scenario, seed);
        let fault = report.fault.expect("a fault struck");
        assert_eq!(fault.survivors, 12, "seed {seed}: {report:?}");
        assert!(fault.stall_ms_max <= 2400.0, "seed {seed}: {report:?}");
        assert_eq!(report.playing, 12, "seed {seed}: {report:?}");
    }
}

#[test]
fn the_other_half_does_not_notice_a_partition() {
    for (seed, report) in of_each(&struck(What::Partition(0.5, Duration::from_secs(30)))) {
        let fault = report.fault.expect("a fault struck");
        assert!(fault.lossless_share >= 0.5, "seed {seed}: {report:?}");
        // They have nothing to play while they are cut off and until they are back, seven
        // seconds later at most; two more until they play.
        assert!(fault.stall_ms_max <= 39_000.0, "seed {seed}: {report:?}");
        assert_eq!(report.playing, 12, "seed {seed}: {report:?}");
    }
}

/// Half of three dozen offer 10 Mbit/s on lines that carry 3: once these are found out,
/// nobody waits for them.
#[test]
fn lines_that_carry_less_than_their_owners_offer_are_found_out() {
    let nothing = Fault {
        at: Duration::from_secs(50),
        what: What::Vanish(Who::Share(0.0), How::Killed),
    };
    let scenario = Scenario {
        peers: 36,
        arrivals: Duration::from_secs(30),
        rtt: Duration::from_millis(40),
        uplinks: vec![(1.0, 10_000_000)],
        overstated: 0.5,
        carries: 0.3,
        faults: vec![nothing],
        duration: Duration::from_secs(110),
        ..dozen()
    };
    for seed in 1..=4 {
        let report = run(&scenario, seed);
        let minute = report.fault.expect("a minute was measured");
        assert_eq!(minute.stalls, 0, "seed {seed}: {report:?}");
    }
}

/// A minute of a dozen with 8 Mbit/s each, some of whom do not keep to the rules.
fn attacked(attack: Attack) -> Scenario {
    Scenario {
        attack,
        uplinks: vec![(1.0, 8_000_000)],
        ..struck(What::Vanish(Who::Share(0.0), How::Killed))
    }
}

#[test]
fn four_of_twelve_pollute() {
    let scenario = attacked(Attack {
        polluters: 4.0 / 12.0,
        ..Attack::default()
    });
    for (seed, report) in of_each(&scenario) {
        let minute = report.fault.expect("a minute was measured");
        assert_eq!(minute.survivors, 8, "seed {seed}: {report:?}");
        assert_eq!(report.bad_pieces_relayed, 0, "seed {seed}: {report:?}");
        assert_eq!(report.bad_generations_played, 0, "seed {seed}: {report:?}");
        assert_eq!(report.honest_cut, 0, "seed {seed}: {report:?}");
        assert!(minute.continuity >= 0.95, "seed {seed}: {report:?}");
    }
}

#[test]
fn six_of_twelve_take_and_do_not_give() {
    let scenario = attacked(Attack {
        free_riders: 0.5,
        ..Attack::default()
    });
    for (seed, report) in of_each(&scenario) {
        let minute = report.fault.expect("a minute was measured");
        assert!(minute.survivors >= 11, "seed {seed}: {report:?}");
        assert!(minute.continuity >= 0.99, "seed {seed}: {report:?}");
        assert_eq!(report.honest_cut, 0, "seed {seed}: {report:?}");
    }
}

/// Two in twelve send every third piece: enough to be taken for alive, and of no use.
#[test]
fn two_of_twelve_let_pieces_drip() {
    let scenario = attacked(Attack {
        slow_drip: 2.0 / 12.0,
        ..Attack::default()
    });
    for (seed, report) in of_each(&scenario).take(8) {
        let minute = report.fault.expect("a minute was measured");
        assert!(minute.survivors >= 11, "seed {seed}: {report:?}");
        assert!(minute.continuity >= 0.99, "seed {seed}: {report:?}");
        assert_eq!(report.honest_cut, 0, "seed {seed}: {report:?}");
    }
}

/// One in four cannot be reached by its like, and by half of the others; a quarter of the dozen
/// is killed. Links to backups that could not be opened cost pictures here, as they do not
/// where everybody reaches everybody.
#[test]
fn viewers_behind_nats_watch_like_others() {
    let scenario = Scenario {
        nat: true,
        uplinks: vec![(1.0, 8_000_000)],
        ..struck(What::Vanish(Who::Share(0.25), How::Killed))
    };
    for (seed, report) in of_each(&scenario).take(8) {
        let minute = report.fault.expect("a minute was measured");
        assert_eq!(report.playing, 9, "seed {seed}: {report:?}");
        assert!(minute.continuity >= 0.90, "seed {seed}: {report:?}");
    }
}

/// Four false viewers to each of a dozen, who offer much, ask for everything and give nothing:
/// the seeder's three stream rates and what the dozen offers cannot serve sixty, and who is let
/// in first is a matter of luck. What is played is what was sent, and nobody honest is cut.
#[test]
fn four_sybils_to_each_viewer_cost_pictures_and_not_truth() {
    let scenario = attacked(Attack {
        sybils: 4.0,
        ..Attack::default()
    });
    for (seed, report) in of_each(&scenario).take(2) {
        assert_eq!(report.viewers, 12, "seed {seed}: {report:?}");
        assert_eq!(report.bad_generations_played, 0, "seed {seed}: {report:?}");
        assert_eq!(report.honest_cut, 0, "seed {seed}: {report:?}");
    }
}

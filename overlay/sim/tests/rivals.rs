//! Other overlays in the same swarm: each works where it is easy, and fails where its authors
//! and their readers say that it does.

use std::time::Duration;

use sim::{Fault, How, Overlay, Report, RivalConfig, Scenario, What, Who, run};

const RIVALS: [Overlay; 5] = [
    Overlay::ClientServer,
    Overlay::SingleTree,
    Overlay::SplitStream,
    Overlay::PullMesh,
    Overlay::Segments,
];

/// Sixty viewers, more than enough uplink, nothing goes wrong.
fn easy(overlay: Overlay) -> Scenario {
    Scenario {
        overlay,
        peers: 60,
        arrivals: Duration::from_secs(10),
        warmup: Duration::from_secs(30),
        duration: Duration::from_secs(70),
        uplinks: vec![(0.2, 0), (0.8, 11_000_000)],
        ..Scenario::default()
    }
}

/// A fifth of a hundred and fifty is killed ten seconds after the warm-up.
fn killed(overlay: Overlay) -> Scenario {
    Scenario {
        peers: 150,
        duration: Duration::from_secs(101),
        faults: vec![Fault {
            at: Duration::from_secs(40),
            what: What::Vanish(Who::Share(0.2), How::Killed),
        }],
        ..easy(overlay)
    }
}

fn minute(overlay: Overlay) -> (Report, f64) {
    let report = run(&killed(overlay), 1);
    let unharmed = report.fault.expect("a fault struck").lossless_share;
    (report, unharmed)
}

#[test]
fn each_rival_carries_a_small_steady_swarm() {
    for overlay in RIVALS {
        let report = run(&easy(overlay), 1);
        let measures = &report.measures;
        let continuity = measures.continuity.expect("they were there");
        assert!(continuity >= 0.97, "{overlay:?}: {report:?}");
        assert!(report.playing >= 58, "{overlay:?}: {report:?}");
        assert_eq!(measures.redundancy_share, Some(0.0), "{overlay:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_with_each_rival() {
    for overlay in RIVALS {
        let scenario = Scenario {
            duration: Duration::from_secs(40),
            ..easy(overlay)
        };
        let hashes = [7, 7, 8].map(|seed| run(&scenario, seed).trace_hash);
        assert_eq!(hashes[0], hashes[1], "{overlay:?}");
        assert_ne!(hashes[1], hashes[2], "{overlay:?}");
    }
}

#[test]
fn a_server_alone_saves_nothing() {
    let report = run(&easy(Overlay::ClientServer), 1);
    let saved = report.measures.saved_ratio.expect("something was played");
    assert!((-0.15..=0.0).contains(&saved), "{report:?}");
    // Media for sixty, and what frames it.
    let rate = report.measures.seeder_rate.expect("it was measured");
    assert!((60.0..=69.0).contains(&rate), "{report:?}");
    // Nobody hangs on anybody else; what losses in bursts delay too long remains.
    let (report, _) = minute(Overlay::ClientServer);
    let fault = report.fault.expect("a fault struck");
    assert!(fault.continuity >= 0.99, "{report:?}");
}

#[test]
fn one_tree_loses_what_is_below_those_who_are_killed() {
    let (report, unharmed) = minute(Overlay::SingleTree);
    let fault = report.fault.expect("a fault struck");
    assert!(unharmed < 0.95, "{report:?}");
    // Five seconds until it is noticed, and then a place must be found.
    assert!(fault.stall_ms_max >= 4_000.0, "{report:?}");
    let repair = report.measures.repair_p50_ms.expect("parents died");
    assert!((4_000.0..=9_000.0).contains(&repair), "{report:?}");
}

#[test]
fn splitstream_takes_half_a_minute_to_repair() {
    let (report, _) = minute(Overlay::SplitStream);
    let repair = report.measures.repair_p50_ms.expect("parents died");
    assert!((28_000.0..=40_000.0).contains(&repair), "{report:?}");
    let (ours, _) = minute(Overlay::Ours);
    let repair = ours.measures.repair_p50_ms.expect("parents died");
    assert!(repair <= 1_000.0, "{ours:?}");
}

#[test]
fn a_mesh_survives_a_kill_far_behind_the_broadcast() {
    let (report, unharmed) = minute(Overlay::PullMesh);
    assert!(unharmed >= 0.9, "{report:?}");
    let lag = report.measures.lag_p50_ms.expect("they play");
    assert!(lag >= 8_000.0, "{report:?}");
    // What half the play-out delay would do to it.
    let hasty = Scenario {
        rival: RivalConfig {
            delay: Some(Duration::from_secs(3)),
            ..RivalConfig::default()
        },
        ..easy(Overlay::PullMesh)
    };
    let hasty = run(&hasty, 1).measures.continuity.expect("they were there");
    assert!(hasty < 0.9, "{hasty}");
}

#[test]
fn segments_save_most_of_it_eight_seconds_behind() {
    for seconds in [2, 4] {
        let scenario = Scenario {
            rival: RivalConfig {
                segment: Duration::from_secs(seconds),
                ..RivalConfig::default()
            },
            ..easy(Overlay::Segments)
        };
        let report = run(&scenario, 1);
        let saved = report.measures.saved_ratio.expect("something was played");
        assert!((0.60..=0.90).contains(&saved), "{seconds} s: {report:?}");
        let lag = report.measures.lag_p50_ms.expect("they play");
        assert!(lag >= 8_000.0, "{seconds} s: {report:?}");
    }
}

/// Nobody checks what others send, as none of them does in what was published.
#[test]
fn what_is_altered_is_played() {
    for overlay in [Overlay::SingleTree, Overlay::SplitStream, Overlay::Segments] {
        let mut scenario = easy(overlay);
        scenario.attack.polluters = 0.3;
        let report = run(&scenario, 1);
        assert!(report.bad_generations_played > 0, "{overlay:?}: {report:?}");
    }
}

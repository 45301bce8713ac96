//! Swarms of 200 on the virtual clock.

use std::time::Duration;

use sim::{Scenario, run};

#[test]
fn two_hundred_viewers_carry_a_broadcast() {
    let report = run(&Scenario::default(), 1);
    assert_eq!(report.playing, 200, "everyone plays: {report:?}");
    assert!(report.lossless_share >= 0.99, "{report:?}");
    assert!(report.lag_p95_ms <= 2000.0, "{report:?}");
    assert!(report.saved_ratio >= 0.95, "{report:?}");
    assert!(report.duplicate_share <= 0.02, "{report:?}");
    assert!(report.upload_over_cap <= 1.0, "{report:?}");
    assert!(report.startup_p50_ms <= 800.0, "{report:?}");
}

/// Nine viewers with 5 Mbit/s each and a seeder of two stream rates carry twelve: supply is
/// only a ninth above demand. The ratio counts from the first arrival on, when the seeder
/// still carries nearly all.
#[test]
fn a_scarce_swarm_saves_what_its_seeder_cannot_send() {
    let scenario = Scenario {
        peers: 12,
        arrivals: Duration::from_secs(12),
        bitrate_bps: 3_150_000,
        uplinks: vec![(0.25, 0), (0.75, 5_000_000)],
        seeder_bps: 6_300_000,
        rtt: Duration::from_millis(2),
        loss: 0.0,
        ..Scenario::default()
    };
    for seed in 1..=3 {
        let report = run(&scenario, seed);
        assert_eq!(report.playing, 12, "{report:?}");
        assert_eq!(report.stalls, 0, "seed {seed}: {report:?}");
        assert!(report.saved_ratio >= 0.80, "{report:?}");
        assert!(report.relayed_stripes_max <= 3, "{report:?}");
        assert!(report.upload_over_cap <= 1.0, "{report:?}");
        assert!(report.upload_second_over_cap <= 1.15, "{report:?}");
    }
}

/// Supply is an eighth above demand, since every fourth viewer shares nothing, and newcomers
/// need the past on top of it: they come in every phase of the GOP, half of them begin within
/// a second, and nobody else pays for it.
#[test]
fn newcomers_begin_within_a_second_where_uplink_is_scarce() {
    let scenario = Scenario {
        arrivals: Duration::from_millis(20_400),
        uplinks_in_turn: vec![5_000_000, 5_000_000, 5_000_000, 0],
        seeder_bps: 6_300_000,
        duration: Duration::from_secs(50),
        ..Scenario::dozen(5_000_000)
    };
    for seed in 1..=6 {
        let report = run(&scenario, seed);
        assert_eq!(report.playing, 12, "{report:?}");
        assert_eq!(report.stalls, 0, "seed {seed}: {report:?}");
        assert!(report.startup_p50_ms <= 1000.0, "seed {seed}: {report:?}");
        assert!(report.upload_over_cap <= 1.0, "{report:?}");
        assert!(report.upload_second_over_cap <= 1.15, "{report:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let scenario = Scenario {
        peers: 40,
        arrivals: Duration::from_secs(4),
        duration: Duration::from_secs(15),
        ..Scenario::default()
    };
    let hashes: Vec<String> = [7, 7, 8]
        .map(|seed| run(&scenario, seed).trace_hash)
        .to_vec();
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[1], hashes[2]);
}

//! Swarms of 200 on the virtual clock.

use std::time::Duration;

use sim::{Scenario, run};

#[test]
fn two_hundred_viewers_carry_a_broadcast() {
    let report = run(&Scenario::default(), 1);
    println!("{report:#?}");
    assert_eq!(report.playing, 200, "everyone plays");
    assert!(report.lossless_share >= 0.99, "{}", report.lossless_share);
    assert!(report.lag_p95_ms <= 2000.0, "{}", report.lag_p95_ms);
    assert!(report.saved_ratio >= 0.93, "{}", report.saved_ratio);
    assert!(report.upload_over_cap <= 1.0, "{}", report.upload_over_cap);
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

//! What is simulated.

use std::time::Duration;

use crate::fault::{Attack, Fault};

/// A swarm and its network.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Viewers.
    pub peers: usize,
    /// They come evenly spread over this, from the beginning of the broadcast on.
    pub arrivals: Duration,
    /// Media bits a second.
    pub bitrate_bps: u64,
    /// Media time of a generation.
    pub generation: Duration,
    /// From keyframe to keyframe.
    pub gop: Duration,
    /// D.
    pub delay: Duration,
    /// What viewers offer: (share of viewers, bits a second).
    pub uplinks: Vec<(f64, u64)>,
    /// Instead of `uplinks` where it is not empty: what they offer in order of arrival, over
    /// and over.
    pub uplinks_in_turn: Vec<u64>,
    /// What the seeder may send, bits a second.
    pub seeder_bps: u64,
    /// Mean round trip between two peers; each pair has its own, half to one and a half.
    pub rtt: Duration,
    /// Added to each way, at random up to this.
    pub jitter: Duration,
    /// Loss of packets in the long run.
    pub loss: f64,
    /// Packets in a row that are lost, in the mean.
    pub burst: f64,
    /// How long it runs, arrivals included.
    pub duration: Duration,
    /// What goes wrong, in order of time.
    pub faults: Vec<Fault>,
    /// Who means ill.
    pub attack: Attack,
    /// Of the viewers that share, this share offers more than their lines carry,
    pub overstated: f64,
    /// which is this share of what they offer. Of the others it is twice that.
    pub carries: f64,
}

impl Default for Scenario {
    /// 200 viewers of a broadcast at 4 Mbit/s, on the uplinks that the overlay's design
    /// assumes (a viewer offers half of its line, at most 15 Mbit/s).
    fn default() -> Self {
        Self {
            peers: 200,
            arrivals: Duration::from_secs(20),
            bitrate_bps: 4_000_000,
            generation: Duration::from_millis(200),
            gop: Duration::from_secs(2),
            delay: Duration::from_millis(1800),
            uplinks: vec![
                (0.20, 0),
                (0.10, 2_500_000),
                (0.20, 7_500_000),
                (0.20, 11_000_000),
                (0.30, 15_000_000),
            ],
            uplinks_in_turn: Vec::new(),
            seeder_bps: 40_000_000,
            rtt: Duration::from_millis(80),
            jitter: Duration::ZERO,
            loss: 0.005,
            burst: 5.0,
            duration: Duration::from_secs(60),
            faults: Vec::new(),
            attack: Attack::default(),
            overstated: 0.0,
            carries: 1.0,
        }
    }
}

impl Scenario {
    /// A dozen viewers of 3 Mbit/s who offer `upload_bps` each, on a local network, with a
    /// seeder of three stream rates: the swarm that is tested with real programs.
    #[must_use]
    pub fn dozen(upload_bps: u64) -> Self {
        Self {
            peers: 12,
            arrivals: Duration::from_secs(15),
            bitrate_bps: 3_150_000,
            uplinks: vec![(1.0, upload_bps)],
            seeder_bps: 9_450_000,
            rtt: Duration::from_millis(2),
            loss: 0.0,
            duration: Duration::from_secs(100),
            ..Self::default()
        }
    }
}

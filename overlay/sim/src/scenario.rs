//! What is simulated.

use std::time::Duration;

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
    /// What the seeder may send, bits a second.
    pub seeder_bps: u64,
    /// Mean round trip between two peers; each pair has its own, half to one and a half.
    pub rtt: Duration,
    /// Loss of packets, at random.
    pub loss: f64,
    /// How long it runs, arrivals included.
    pub duration: Duration,
    /// At these times so large a share of the viewers vanishes.
    pub kills: Vec<(Duration, f64)>,
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
            seeder_bps: 40_000_000,
            rtt: Duration::from_millis(80),
            loss: 0.005,
            duration: Duration::from_secs(60),
            kills: Vec::new(),
        }
    }
}

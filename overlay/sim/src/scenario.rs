//! What is simulated.

use std::time::Duration;

use overlay_core::Random;

use crate::{
    Overlay,
    fault::{Attack, Fault},
};

/// A swarm and its network.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Viewers.
    pub peers: usize,
    /// They come over this, from the beginning of the broadcast on,
    pub arrivals: Duration,
    /// in this way.
    pub coming: Coming,
    /// How long they stay. Who leaves is followed by another who offers the same, so that
    /// there are as many all the time.
    pub sessions: Sessions,
    /// This share of the viewers looks in for half a minute only, in the mean.
    pub zappers: f64,
    /// Measures count from then on.
    pub warmup: Duration,
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
    /// What of each way belongs to the last mile of both ends, and is the same for all.
    pub last_mile: Duration,
    /// Added to each way, at random up to this.
    pub jitter: Duration,
    /// Loss of packets in the long run.
    pub loss: f64,
    /// Packets in a row that are lost, in the mean.
    pub burst: f64,
    /// Viewers are behind NATs, and not every two of them reach each other.
    pub nat: bool,
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
    /// After every event what must hold is looked at; for small swarms of ours.
    pub check: bool,
    /// Who carries the broadcast,
    pub overlay: Overlay,
    /// and how, if it is not us.
    pub rival: RivalConfig,
}

/// What only rivals have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RivalConfig {
    /// From ingest to release; none: what is usual for it.
    pub delay: Option<Duration>,
    /// Of those that exchange segments.
    pub segment: Duration,
}

impl Default for RivalConfig {
    /// Segments of two seconds, as most servers of HLS cut them today.
    fn default() -> Self {
        Self {
            delay: None,
            segment: Duration::from_secs(2),
        }
    }
}

/// How viewers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// At equal distances.
    Evenly,
    /// At random, as many strangers do.
    Randomly,
    /// The first half evenly in the first half of the warm-up, the others within the time of
    /// arrivals once it is over.
    Flash,
}

/// How long viewers stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sessions {
    /// To the end.
    Forever,
    /// Memoryless, with this mean.
    Exponential(Duration),
    /// With this median, and this standard deviation of the logarithm: many look in, some
    /// stay for hours (Veloso et al. 2002 of a live broadcast).
    LogNormal(Duration, f64),
}

/// How long a zapper stays in the mean.
const ZAPPER: Duration = Duration::from_secs(30);

impl Scenario {
    /// How long one viewer stays; none: to the end.
    pub(crate) fn session(&self, random: &mut Random) -> Option<Duration> {
        let zaps = self.zappers > 0.0 && random.unit() < self.zappers;
        let exponential =
            |mean: Duration, random: &mut Random| mean.mul_f64(-(1.0 - random.unit()).ln());
        match self.sessions {
            _ if zaps => Some(exponential(ZAPPER, random)),
            Sessions::Forever => None,
            Sessions::Exponential(mean) => Some(exponential(mean, random)),
            Sessions::LogNormal(median, sigma) => {
                // Box and Muller 1958.
                let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * random.unit()).cos();
                let stays = median.as_secs_f64() * (sigma * normal).exp();
                Some(Duration::from_secs_f64(stays.min(LONGEST.as_secs_f64())))
            }
        }
    }

    /// When so many viewers come, after the first may.
    pub(crate) fn arrival_times(&self, count: usize, random: &mut Random) -> Vec<Duration> {
        let part = |at: usize, of: usize| at as f64 / of.max(1) as f64;
        match self.coming {
            Coming::Evenly => {
                let apart = self.arrivals / count.max(1) as u32;
                (0..count as u32).map(|at| apart * at).collect()
            }
            Coming::Randomly => (0..count)
                .map(|_| self.arrivals.mul_f64(random.unit()))
                .collect(),
            Coming::Flash => {
                let early = count.div_ceil(2);
                let first = self.warmup / 2;
                let rush = self.warmup.saturating_sub(FIRST_COMES);
                let early_times = (0..early).map(|at| first.mul_f64(part(at, early)));
                let late_times = (early..count)
                    .map(|at| rush + self.arrivals.mul_f64(part(at - early, count - early)));
                early_times.chain(late_times).collect()
            }
        }
    }
}

/// A session that is longer ends with the run.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The broadcast runs for a moment before the first viewer comes.
pub(crate) const FIRST_COMES: Duration = Duration::from_secs(3);

impl Default for Scenario {
    /// 200 viewers of a broadcast at 4 Mbit/s, on the uplinks that the overlay's design
    /// assumes (a viewer offers half of its line, at most 15 Mbit/s).
    fn default() -> Self {
        Self {
            peers: 200,
            arrivals: Duration::from_secs(20),
            coming: Coming::Evenly,
            sessions: Sessions::Forever,
            zappers: 0.0,
            warmup: Duration::ZERO,
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
            last_mile: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.005,
            burst: 5.0,
            nat: false,
            duration: Duration::from_secs(60),
            faults: Vec::new(),
            attack: Attack::default(),
            overstated: 0.0,
            carries: 1.0,
            check: false,
            overlay: Overlay::default(),
            rival: RivalConfig::default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stays(scenario: &Scenario) -> Vec<f64> {
        let mut random = Random::new(5);
        let drawn = (0..20_001).filter_map(|_| scenario.session(&mut random));
        let mut seconds: Vec<f64> = drawn.map(|stay| stay.as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    #[test]
    fn sessions_are_as_long_as_they_are_said_to_be() {
        let of = |sessions| Scenario {
            sessions,
            ..Scenario::default()
        };
        assert!(stays(&of(Sessions::Forever)).is_empty());
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
        let exponential = stays(&of(Sessions::Exponential(Duration::from_secs(300))));
        assert!((mean(&exponential) - 300.0).abs() < 10.0);
        let skewed = stays(&of(Sessions::LogNormal(Duration::from_secs(300), 1.6)));
        assert!((skewed[10_000] - 300.0).abs() < 20.0, "{}", skewed[10_000]);
        // A sixth is beyond one standard deviation.
        assert!((skewed[16_827] / 300.0).ln() > 1.5);
        let zapping = Scenario {
            zappers: 1.0,
            ..Scenario::default()
        };
        assert!((mean(&stays(&zapping)) - 30.0).abs() < 1.0);
    }

    #[test]
    fn half_of_a_flash_crowd_is_there_before() {
        let scenario = Scenario {
            coming: Coming::Flash,
            warmup: Duration::from_secs(30),
            arrivals: Duration::from_secs(10),
            ..Scenario::default()
        };
        let times = scenario.arrival_times(100, &mut Random::new(1));
        let rush = Duration::from_secs(27);
        assert_eq!(times.len(), 100);
        assert!(times[49] < Duration::from_secs(15) && times[50] == rush);
        assert!(times[99] < rush + Duration::from_secs(10));
    }
}

//! How long after their ingest stamps generations are whole.

use std::time::Duration;

/// A step down; a step up is nineteen times as long, so that where the estimate comes to rest
/// nineteen of twenty are below it.
const STEP: f64 = 0.002;

/// A stochastic estimate of the 95th percentile.
#[derive(Debug)]
pub(super) struct Arrival {
    p95_s: f64,
}

impl Default for Arrival {
    fn default() -> Self {
        Self { p95_s: 0.4 }
    }
}

impl Arrival {
    /// A generation became whole so long after its ingest stamp.
    pub(super) fn add(&mut self, after: Duration) {
        let after = after.as_secs_f64();
        self.p95_s += if after > self.p95_s {
            STEP * 19.0
        } else {
            -STEP
        };
        self.p95_s = self.p95_s.clamp(0.05, 2.0);
    }

    /// The estimate, from 50 ms to 2 s.
    pub(super) fn p95(&self) -> Duration {
        Duration::from_secs_f64(self.p95_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_to_rest_where_nineteen_of_twenty_are_below() {
        let mut arrival = Arrival::default();
        for index in 0..20_000u64 {
            arrival.add(Duration::from_millis(index * 7919 % 1000));
        }
        let p95 = arrival.p95();
        let around = Duration::from_millis(900)..Duration::from_millis(1000);
        assert!(around.contains(&p95), "{p95:?}");
    }
}

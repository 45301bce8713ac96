//! In this process. In memory and bounded: a restart forgives.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Away, Rate, Store};

/// Of each limit; some 3 MiB.
const BUCKETS_MAX: usize = 32_768;
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A token bucket for everybody who is counted.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<&'static str, Table>>);

#[derive(Default)]
struct Table {
    buckets: HashMap<u128, Bucket>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Bucket {
    spent: f64,
    at: Instant,
}

impl Store for Memory {
    async fn allow(&self, limit: &'static str, rate: Rate, whom: u128) -> Result<bool, Away> {
        Ok(self.allow_at(limit, rate, whom, Instant::now()))
    }
}

impl Memory {
    fn allow_at(&self, limit: &'static str, rate: Rate, whom: u128, now: Instant) -> bool {
        // Nothing in here panics halfway through a change.
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.entry(limit).or_default().allow(rate, whom, now)
    }
}

impl Table {
    /// When the table is full of the busy, strangers share one bucket.
    fn allow(&mut self, rate: Rate, whom: u128, now: Instant) -> bool {
        const STRANGERS: u128 = u128::MAX;
        let full = !self.buckets.contains_key(&whom) && !self.has_room(now, rate);
        let bucket = self
            .buckets
            .entry(if full { STRANGERS } else { whom })
            .or_insert(Bucket {
                spent: 0.0,
                at: now,
            });
        let spent = bucket.spent_at(now, rate);
        let allowed = spent + 1.0 <= rate.burst;
        *bucket = Bucket {
            spent: if allowed { spent + 1.0 } else { spent },
            at: now,
        };
        allowed
    }

    /// Forgets the idle when it is full, but seldom: a flood of strangers must not buy a
    /// walk over the table with each request.
    fn has_room(&mut self, now: Instant, rate: Rate) -> bool {
        let rested = |swept| now.saturating_duration_since(swept) >= SWEEP_EVERY;
        if self.buckets.len() >= BUCKETS_MAX && self.swept.is_none_or(rested) {
            self.swept = Some(now);
            self.buckets
                .retain(|_, bucket| bucket.spent_at(now, rate) > 0.0);
        }
        self.buckets.len() < BUCKETS_MAX
    }
}

impl Bucket {
    fn spent_at(self, now: Instant, rate: Rate) -> f64 {
        let refilled = now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second;
        (self.spent - refilled).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_secs(1);
    const RATE: Rate = Rate {
        burst: 600.0,
        per_second: 20.0,
    };

    #[test]
    fn a_burst_then_a_trickle() {
        let memory = Memory::default();
        let allow = |limit, whom, now| memory.allow_at(limit, RATE, whom, now);
        let start = Instant::now();
        let granted = (0..1000).filter(|_| allow("a", 1, start)).count();
        assert_eq!(granted, RATE.burst as usize);
        assert!(allow("a", 2, start), "another one is not disturbed");
        assert!(allow("b", 1, start), "nor another limit");
        let later = (0..1000).filter(|_| allow("a", 1, start + RETRY)).count();
        assert_eq!(later, RATE.per_second as usize);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_idle() {
        let memory = Memory::default();
        let allow = |whom, now| memory.allow_at("a", RATE, whom, now);
        let start = Instant::now();
        for whom in 0..2 * BUCKETS_MAX as u128 {
            allow(whom, start);
        }
        let len = || memory.0.lock().map(|tables| tables["a"].buckets.len());
        assert!(len().is_ok_and(|len| len <= BUCKETS_MAX + 1));
        assert!(allow(u128::MAX - 1, start + 10 * RETRY));
        assert!(len().is_ok_and(|len| len <= 2));
    }
}

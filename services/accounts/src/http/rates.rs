//! How often one address may ask for something dear. In memory and bounded: a restart
//! forgives.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Some 3 MiB.
const ADDRESSES_MAX: usize = 32_768;
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A token bucket for each address, or whatever else is counted.
pub(crate) struct Rates {
    burst: f64,
    per_second: f64,
    table: Mutex<Table>,
}

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

impl Rates {
    /// So many at once, and then so many a second.
    pub(crate) fn new(burst: f64, per_second: f64) -> Self {
        Self {
            burst,
            per_second,
            table: Mutex::default(),
        }
    }

    /// Whether this address may once more. When the table is full of busy addresses,
    /// strangers share one bucket.
    pub(crate) fn allow(&self, address: u128, now: Instant) -> bool {
        const STRANGERS: u128 = u128::MAX;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let full = !table.buckets.contains_key(&address) && !table.has_room(now, self.per_second);
        let bucket = table
            .buckets
            .entry(if full { STRANGERS } else { address })
            .or_insert(Bucket {
                spent: 0.0,
                at: now,
            });
        let spent = bucket.spent_at(now, self.per_second);
        let allowed = spent + 1.0 <= self.burst;
        *bucket = Bucket {
            spent: if allowed { spent + 1.0 } else { spent },
            at: now,
        };
        allowed
    }
}

impl Table {
    /// Forgets the idle when it is full, but seldom: a flood of strangers must not buy a
    /// walk over the table with each request.
    fn has_room(&mut self, now: Instant, per_second: f64) -> bool {
        let rested = |swept| now.saturating_duration_since(swept) >= SWEEP_EVERY;
        if self.buckets.len() >= ADDRESSES_MAX && self.swept.is_none_or(rested) {
            self.swept = Some(now);
            self.buckets
                .retain(|_, bucket| bucket.spent_at(now, per_second) > 0.0);
        }
        self.buckets.len() < ADDRESSES_MAX
    }
}

impl Bucket {
    fn spent_at(self, now: Instant, per_second: f64) -> f64 {
        let refilled = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        (self.spent - refilled).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_secs(1);
    const BURST: f64 = 600.0;
    const PER_SECOND: f64 = 20.0;

    #[test]
    fn a_burst_then_a_trickle() {
        let rates = Rates::new(BURST, PER_SECOND);
        let start = Instant::now();
        let granted = (0..1000).filter(|_| rates.allow(1, start)).count();
        assert_eq!(granted, BURST as usize);
        assert!(rates.allow(2, start), "another address is not disturbed");
        let later = (0..1000).filter(|_| rates.allow(1, start + RETRY)).count();
        assert_eq!(later, PER_SECOND as usize);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_idle() {
        let rates = Rates::new(BURST, PER_SECOND);
        let start = Instant::now();
        for address in 0..2 * ADDRESSES_MAX as u128 {
            rates.allow(address, start);
        }
        let len = || rates.table.lock().map(|table| table.buckets.len());
        assert!(len().is_ok_and(|len| len <= ADDRESSES_MAX + 1));
        assert!(rates.allow(u128::MAX - 1, start + 10 * RETRY));
        assert!(len().is_ok_and(|len| len <= 2));
    }
}

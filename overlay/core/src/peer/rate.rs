//! How fast the broadcast is, as its headers tell.

use std::{collections::VecDeque, time::Duration};

use crate::Facts;

/// Over so much media time.
const SPAN_US: u64 = 10_000_000;
/// Generations remembered at most.
const MAX: usize = 128;
/// Bytes of a piece's prefix.
const PREFIX: u64 = 14;

/// A sliding measure of a broadcast.
#[derive(Debug, Default)]
pub(super) struct StreamRate {
    recent: VecDeque<Facts>,
}

impl StreamRate {
    /// A generation's header came.
    pub(super) fn on_header(&mut self, facts: Facts) {
        if self
            .recent
            .back()
            .is_some_and(|last| last.ingest_stamp_us >= facts.ingest_stamp_us)
        {
            return;
        }
        self.recent.push_back(facts);
        let oldest_kept = facts.ingest_stamp_us.saturating_sub(SPAN_US);
        while self.recent.len() > MAX
            || self
                .recent
                .front()
                .is_some_and(|first| first.ingest_stamp_us < oldest_kept)
        {
            self.recent.pop_front();
        }
    }

    /// Media bits a second; `None` before two generations are known.
    pub(super) fn media_bps(&self) -> Option<u64> {
        self.per_second(|facts| u64::from(facts.body_len))
            .map(|bytes| bytes * 8)
    }

    /// Bytes a second of one stripe, prefixes included.
    pub(super) fn stripe_bytes(&self) -> Option<u64> {
        self.per_second(|facts| u64::from(facts.piece_len) + PREFIX)
    }

    /// Bytes of a piece in the mean, its prefix included; 5,000 before any is known, as at
    /// 3 Mbit/s.
    pub(super) fn piece_len(&self) -> usize {
        let sum: u64 = self
            .recent
            .iter()
            .map(|facts| u64::from(facts.piece_len))
            .sum();
        let mean = sum.checked_div(self.recent.len() as u64);
        mean.map_or(5000, |mean| (mean + PREFIX) as usize)
    }

    /// k and n.
    pub(super) fn shape(&self) -> Option<(u8, u8)> {
        self.recent.back().map(|facts| (facts.k, facts.n))
    }

    /// Media time of a generation; 200 ms before two are known.
    pub(super) fn interval(&self) -> Duration {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else {
            return Duration::from_millis(200);
        };
        let generations = last.sequence.saturating_sub(first.sequence);
        let span = last.ingest_stamp_us - first.ingest_stamp_us;
        Duration::from_micros(span.checked_div(generations).unwrap_or(200_000))
    }

    /// The mean per generation over its time; generations whose header was missed count as
    /// the mean.
    fn per_second(&self, bytes: impl Fn(&Facts) -> u64) -> Option<u64> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        if first.sequence >= last.sequence {
            return None;
        }
        let sum: u64 = self.recent.iter().map(bytes).sum();
        let mean = sum as f64 / self.recent.len() as f64;
        let interval = self.interval().as_secs_f64();
        (interval > 0.0).then(|| (mean / interval) as u64)
    }
}

//! The wall clock of the tracker, as far as exchanges with it tell.

use std::time::Duration;

use crate::Instant;

/// Exchanges remembered; the one with the shortest round trip counts (as NTP's clock
/// filter, RFC 5905 section 10, which keeps 8).
const SAMPLES: usize = 8;
/// The first exchanges follow each other quickly, so that lag is right from the start.
const EAGER: usize = 4;
const EAGER_INTERVAL: Duration = Duration::from_millis(250);
const INTERVAL: Duration = Duration::from_secs(10);

/// Translates between the tracker's wall clock and the host's own.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    /// (round trip, wall − own), microseconds; the newest last.
    samples: Vec<(u64, i64)>,
    asked: usize,
    next: Option<Instant>,
}

impl WallClock {
    /// The tracker told the time without having been asked: half a round trip wrong, which
    /// is soon mended.
    pub(super) fn on_welcome(&mut self, now: Instant, wall_us: u64) {
        if self.samples.is_empty() {
            self.add(now, u64::MAX, wall_us);
        }
        self.next = Some(now);
        self.asked = 0;
    }

    /// The tracker answered an exchange that began at `sent`.
    pub(super) fn on_pong(&mut self, now: Instant, sent: Instant, wall_us: u64) {
        if sent > now {
            return;
        }
        let round_trip = now.since(sent);
        self.add(now - round_trip / 2, round_trip.as_micros() as u64, wall_us);
    }

    /// When to ask next; `None` before the tracker was reached.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether to ask now.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        self.asked += 1;
        let interval = if self.asked < EAGER {
            EAGER_INTERVAL
        } else {
            INTERVAL
        };
        self.next = Some(now + interval);
        true
    }

    /// The session is gone: ask nothing until the next welcome.
    pub(super) fn stop(&mut self) {
        self.next = None;
    }

    /// The own time of a wall time; `None` before the tracker was reached.
    pub(super) fn local(&self, wall_us: u64) -> Option<Instant> {
        let (_, offset) = self
            .samples
            .iter()
            .min_by_key(|(round_trip, _)| *round_trip)?;
        let local = i64::try_from(wall_us).ok()?.checked_sub(*offset)?;
        Some(Instant::from_micros(u64::try_from(local).unwrap_or(0)))
    }

    fn add(&mut self, at: Instant, round_trip_us: u64, wall_us: u64) {
        let (Ok(wall), Ok(own)) = (i64::try_from(wall_us), i64::try_from(at.as_micros())) else {
            return;
        };
        let Some(offset) = wall.checked_sub(own) else {
            return;
        };
        if self.samples.len() == SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push((round_trip_us, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn the_shortest_round_trip_counts() {
        let mut clock = WallClock::default();
        assert_eq!(clock.local(1), None);
        clock.on_welcome(at(100), 1_000_000_000);
        clock.on_pong(at(300), at(100), 1_000_150_000);
        clock.on_pong(at(410), at(400), 1_000_325_000);
        // 405 ms here was 1,000,325,000 there.
        assert_eq!(clock.local(1_000_325_000), Some(at(405)));
    }

    #[test]
    fn absurd_times_are_no_panic() {
        let mut clock = WallClock::default();
        clock.on_pong(at(1), at(2), 5);
        clock.on_pong(at(1), at(1), u64::MAX);
        assert_eq!(clock.local(5), None);
        clock.on_pong(at(1), at(1), 0);
        assert_eq!(clock.local(u64::MAX), None);
    }
}

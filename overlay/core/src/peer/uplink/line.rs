//! What the line really carries, when that is less than what its owner lets us send.
//!
//! The one rule: only a line that holds us up can be measured. One that never did is as good
//! as its owner says.

use std::time::Duration;

use crate::Instant;

/// Held up for so long without a break, it is believed: links fill their buffers for a
/// moment when a keyframe comes, too.
const HELD_UP: Duration = Duration::from_millis(900);
/// After a cut what waits in buffers goes first, so that the next judgement comes later.
const SETTLES: Duration = Duration::from_secs(2);
/// Of what went through a line that was full.
const KEPT: f64 = 0.92;
/// A line that takes so much of what we think it carries has not become worse.
const FULLY: f64 = 0.9;
/// One judgement takes no more: it may have met a bad moment.
const HALF: f64 = 0.5;
/// Never less of what was allowed: who is held up by something else must be able to show it.
const LEAST: f64 = 0.05;
/// A line that has not held us up for so long may carry so much more.
const CALM: Duration = Duration::from_secs(10);
const GROWTH: f64 = 1.05;

/// The measure of a line.
#[derive(Debug)]
pub(super) struct Line {
    /// Bytes a second that its owner allows.
    allowed: f64,
    /// Bytes a second that it carries, as far as that is known.
    carries: f64,
    held_up: Duration,
    /// Went through it while it held us up.
    sent: u64,
    /// When it was last cut, or let grow.
    judged: Instant,
}

impl Line {
    pub(super) fn new(now: Instant, allowed: f64) -> Self {
        Self {
            allowed,
            carries: allowed,
            held_up: Duration::ZERO,
            sent: 0,
            judged: now,
        }
    }

    /// What it carries, in bytes a second.
    pub(super) fn carries(&self) -> f64 {
        self.carries
    }

    /// In the span that ends now so many bytes were sent, and it held us up or did not.
    pub(super) fn on_span(&mut self, now: Instant, span: Duration, sent: u64, held_up: bool) {
        if !held_up {
            self.held_up = Duration::ZERO;
            self.sent = 0;
            if self.carries < self.allowed && now.since(self.judged) >= CALM {
                self.judged = now;
                self.carries = (self.carries * GROWTH).min(self.allowed);
            }
            return;
        }
        self.held_up += span;
        self.sent += sent;
        if self.held_up < HELD_UP || now.since(self.judged) < SETTLES {
            return;
        }
        let rate = self.sent as f64 / self.held_up.as_secs_f64();
        self.held_up = Duration::ZERO;
        self.sent = 0;
        // Else it carries all that we send, and only has yet to get rid of what had gathered.
        if rate < self.carries * FULLY {
            let least = (self.carries * HALF).max(self.allowed * LEAST);
            self.carries = (rate * KEPT).max(least);
            self.judged = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(500);

    #[test]
    fn a_full_line_carries_what_went_through_and_grows_slowly_when_it_is_calm() {
        let mut now = Instant::default() + Duration::from_secs(60);
        let mut line = Line::new(Instant::default(), 1_000_000.0);
        let mut pass = |line: &mut Line, seconds: u32, sent: u64, held_up: bool| {
            for _ in 0..seconds * 2 {
                now = now + SPAN;
                line.on_span(now, SPAN, sent / 2, held_up);
            }
        };
        pass(&mut line, 30, 900_000, false);
        assert_eq!(line.carries(), 1_000_000.0);
        pass(&mut line, 1, 600_000, true);
        assert_eq!(line.carries(), 600_000.0 * KEPT);
        // What had gathered still goes out.
        pass(&mut line, 1, 300_000, true);
        assert_eq!(line.carries(), 600_000.0 * KEPT);
        pass(&mut line, 2, 300_000, true);
        assert_eq!(line.carries(), 600_000.0 * KEPT * HALF);
        pass(&mut line, 60, 200_000, false);
        let grown = line.carries() / (600_000.0 * KEPT * HALF);
        assert!((1.2..1.4).contains(&grown), "{grown}");
        pass(&mut line, 600, 200_000, false);
        assert_eq!(line.carries(), 1_000_000.0);
    }

    #[test]
    fn a_moment_is_not_believed_and_nothing_is_not_either() {
        let mut now = Instant::default();
        let mut line = Line::new(now, 1_000_000.0);
        for step in 0..100 {
            now = now + SPAN;
            line.on_span(now, SPAN, 10, step % 2 == 0);
        }
        assert_eq!(line.carries(), 1_000_000.0);
        for _ in 0..100 {
            now = now + SPAN;
            line.on_span(now, SPAN, 0, true);
        }
        assert_eq!(line.carries(), 1_000_000.0 * LEAST);
    }
}

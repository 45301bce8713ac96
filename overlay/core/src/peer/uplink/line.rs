//! What the line really carries, when that is less than what its owner lets us send.
//!
//! The one rule: only a line that holds us up can be measured. One that never did is as good
//! as its owner says; and a cut that made less go through was wrong, since a line that is full
//! does not care how much more was offered.

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
/// A line that has not held us up for so long may carry so much more; then, sooner each time,
/// twice as much more, until it does again.
const CALM: Duration = Duration::from_secs(10);
const CALM_STILL: Duration = Duration::from_secs(4);
const GROWTH: f64 = 0.05;
const MOST_GROWTH: f64 = 1.0;
/// Cuts down to this part are looked back on.
const DEEP: f64 = 0.75;
/// Who waits for nothing but its own bound sends as much less as it was cut, and not less
/// still: that would be the line.
const ALIKE: f64 = 0.85;
/// A round trip that was longer than we thought is waited for twice as long, up to so much.
const MOST_PATIENCE: f64 = 4.0;
/// And no longer so after such a calm.
const FORGIVEN: Duration = Duration::from_secs(60);

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
    /// When it last held us up.
    full: Instant,
    /// Part more at the next growth.
    growth: f64,
    /// Before the first of the cuts that have not been looked back on.
    before: Option<Before>,
    patience: f64,
}

/// How it stood before a cut.
#[derive(Clone, Copy, Debug)]
struct Before {
    carries: f64,
    /// What went through, in bytes a second.
    rate: f64,
}

impl Line {
    pub(super) fn new(now: Instant, allowed: f64) -> Self {
        Self {
            allowed,
            carries: allowed,
            held_up: Duration::ZERO,
            sent: 0,
            judged: now,
            full: now,
            growth: GROWTH,
            before: None,
            patience: 1.0,
        }
    }

    /// Round trips may be so many times as long as usual until it is taken for full.
    pub(super) fn patience(&self) -> f64 {
        self.patience
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
            let calm = match self.growth > GROWTH {
                true => CALM_STILL,
                false => CALM,
            };
            let since = now.since(self.judged.max(self.full));
            if self.carries < self.allowed && since >= calm {
                self.judged = now;
                self.before = None;
                self.carries = (self.carries * (1.0 + self.growth)).min(self.allowed);
                self.growth = (self.growth * 2.0).min(MOST_GROWTH);
            }
            if now.since(self.full) >= FORGIVEN {
                self.patience = 1.0;
            }
            return;
        }
        self.full = now;
        self.growth = GROWTH;
        self.held_up += span;
        self.sent += sent;
        if self.held_up < HELD_UP || now.since(self.judged) < SETTLES {
            return;
        }
        let rate = self.sent as f64 / self.held_up.as_secs_f64();
        self.held_up = Duration::ZERO;
        self.sent = 0;
        if self.was_wrong(rate) {
            self.judged = now;
            return;
        }
        // Else it carries all that we send, and only has yet to get rid of what had gathered.
        if rate < self.carries * FULLY {
            let carries = self.carries;
            self.before.get_or_insert(Before { carries, rate });
            let least = (self.carries * HALF).max(self.allowed * LEAST);
            self.carries = (rate * KEPT).max(least);
            self.judged = now;
        }
    }

    /// Whether what goes through has fallen with what we allowed ourselves, which is then taken
    /// back: round trips are long, and it was we who waited.
    fn was_wrong(&mut self, rate: f64) -> bool {
        let Some(before) = self.before else {
            return false;
        };
        let (cut, fell) = (self.carries / before.carries, rate / before.rate);
        let alike = (cut * ALIKE..=(1.0 + cut) / 2.0).contains(&fell);
        if cut > DEEP {
            return false;
        }
        self.before = None;
        let wrong = alike && self.patience < MOST_PATIENCE;
        if wrong {
            self.carries = before.carries;
            self.patience = (self.patience * 2.0).min(MOST_PATIENCE);
        }
        wrong
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
        // It takes all that is sent, and what had gathered goes out.
        pass(&mut line, 3, 550_000, true);
        assert_eq!(line.carries(), 600_000.0 * KEPT);
        pass(&mut line, 1, 480_000, true);
        assert_eq!(line.carries(), 480_000.0 * KEPT);
        pass(&mut line, 14, 200_000, false);
        let grown = line.carries() / (480_000.0 * KEPT);
        assert!((1.05..1.16).contains(&grown), "{grown}");
        pass(&mut line, 60, 200_000, false);
        assert_eq!(line.carries(), 1_000_000.0);
    }

    /// The sender waits for acknowledgements, and for longer the less it allows itself: no
    /// line is found out so, however long its round trip.
    #[test]
    fn a_long_round_trip_is_no_slow_line() {
        for round_trip in [0.6, 0.8, 1.2, 1.9] {
            let mut now = Instant::default();
            let mut line = Line::new(now, 1_000_000.0);
            for _ in 0..240 {
                now = now + SPAN;
                let window = line.carries() * 0.5 * line.patience();
                let rate = line.carries().min(window / round_trip);
                let held_up = rate < line.carries();
                line.on_span(now, SPAN, (rate * SPAN.as_secs_f64()) as u64, held_up);
            }
            let carries = line.carries();
            assert!(
                carries > 400_000.0,
                "{carries} at a round trip of {round_trip} s"
            );
        }
    }

    #[test]
    fn a_line_that_gets_worse_and_worse_is_believed() {
        let mut now = Instant::default();
        let mut line = Line::new(now, 1_000_000.0);
        for (seconds, carried) in [(4, 650_000.0), (3, 560_000.0), (12, 250_000.0)] {
            for _ in 0..seconds * 2 {
                now = now + SPAN;
                line.on_span(now, SPAN, (carried * 0.5) as u64, true);
            }
        }
        assert!(line.carries() <= 300_000.0, "{}", line.carries());
    }

    /// Keyframes fill it for a moment, again and again: that is no calm in which to grow.
    #[test]
    fn a_line_that_is_full_now_and_then_does_not_grow() {
        let mut now = Instant::default();
        let mut line = Line::new(now, 1_000_000.0);
        for _ in 0..8 {
            now = now + SPAN;
            line.on_span(now, SPAN, 200_000, true);
        }
        let cut = line.carries();
        assert!(cut < 600_000.0, "{cut}");
        for step in 0..400 {
            now = now + SPAN;
            line.on_span(now, SPAN, 150_000, step % 4 == 0);
        }
        assert_eq!(line.carries(), cut);
    }

    #[test]
    fn a_line_that_was_lame_for_a_while_is_soon_as_good_as_before() {
        let mut now = Instant::default();
        let mut line = Line::new(now, 1_000_000.0);
        let mut after = |line: &mut Line, seconds: u32, sent: u64, held_up: bool| {
            for _ in 0..seconds * 2 {
                now = now + SPAN;
                line.on_span(now, SPAN, sent / 2, held_up);
            }
        };
        after(&mut line, 10, 50_000, true);
        after(&mut line, 60, 200_000, false);
        assert!(line.carries() >= 500_000.0, "{}", line.carries());
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

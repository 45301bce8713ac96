//! One timeline out of a broadcaster's 32-bit millisecond stamps: unwrapped, and unbroken
//! where the broadcaster's clock jumps. Both tracks share it.

/// A stamp this far from the last one is a jump of the clock, not a pause in the stream.
const MAX_GAP_MS: i64 = 10_000;
/// What is assumed to have passed at a jump: a frame.
const JUMP_STEP_MS: i64 = 33;

/// Places stamps.
#[derive(Default)]
pub(super) struct Timeline {
    last_stamp: Option<i64>,
    head: i64,
    shift: i64,
    /// The shift before the last jump: tracks do not jump at the same moment.
    old_shift: i64,
    jumps: u64,
}

impl Timeline {
    /// Milliseconds on the timeline, whose zero is where the broadcaster's clock had its
    /// own.
    pub(super) fn place(&mut self, stamp: u32) -> i64 {
        let Some(last) = self.last_stamp else {
            let stamp = i64::from(stamp);
            self.last_stamp = Some(stamp);
            self.head = stamp;
            return stamp;
        };
        let step = stamp.wrapping_sub(last as u32) as i32;
        let stamp = last + i64::from(step);
        self.last_stamp = Some(stamp);
        let near = |shift: i64| (stamp + shift - self.head).abs() <= MAX_GAP_MS;
        if !near(self.shift) {
            if self.jumps > 0 && near(self.old_shift) {
                return stamp + self.old_shift;
            }
            self.jumps += 1;
            self.old_shift = self.shift;
            self.shift = self.head + JUMP_STEP_MS - stamp;
        }
        self.head = stamp + self.shift;
        self.head
    }

    /// How often the clock jumped.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(stamps: &[u32]) -> (Vec<i64>, u64) {
        let mut timeline = Timeline::default();
        let placed = stamps.iter().map(|stamp| timeline.place(*stamp)).collect();
        (placed, timeline.jumps())
    }

    #[test]
    fn the_wrap_after_49_days_is_no_jump() {
        let (placed, jumps) = placed(&[u32::MAX - 9, 10]);
        assert_eq!(placed[1] - placed[0], 20);
        assert_eq!(jumps, 0);
    }

    #[test]
    fn a_clock_that_restarts_goes_on_where_it_was() {
        let (placed, jumps) = placed(&[100_000, 100_033, 0, 100_040, 33, 67]);
        assert_eq!(
            placed,
            [100_000, 100_033, 100_066, 100_040, 100_099, 100_133]
        );
        assert_eq!(jumps, 1);
    }

    #[test]
    fn a_pause_stays_a_pause() {
        assert_eq!(placed(&[0, 9_000]), (vec![0, 9_000], 0));
    }
}

//! One timeline out of a broadcaster's 32-bit millisecond stamps: unwrapped, and unbroken
//! where the broadcaster's clock jumps. Both tracks share it.
//!
//! The one rule: a jump moves both tracks alike, or sound and picture would part.

/// A stamp this far ahead is a jump of the clock, not a pause in the stream.
const MAX_GAP_MS: i64 = 10_000;
/// A stamp this far behind its track is one too, not a slip of the encoder.
const MAX_SLIP_MS: i64 = 500;
/// What is assumed to have passed at a jump: a frame.
const JUMP_STEP_MS: i64 = 33;
/// Tracks do not jump at the same moment, but within this.
const JUMP_SKEW_MS: i64 = 5_000;

/// Whose stamp it is.
#[derive(Clone, Copy)]
pub(super) enum Track {
    Video,
    Audio,
}

/// Places stamps.
#[derive(Default)]
pub(super) struct Timeline {
    /// The newest stamp, unwrapped.
    stamp: Option<i64>,
    /// The latest place of each track.
    latest: [Option<i64>; 2],
    shift: i64,
    /// The shift before the last jump, and where it stops to count.
    old_shift: Option<(i64, i64)>,
    jumps: u64,
}

impl Timeline {
    /// Milliseconds on the timeline, whose zero is where the broadcaster's clock had its
    /// own.
    pub(super) fn place(&mut self, track: Track, stamp: u32) -> i64 {
        let unwrapped = self.unwrap(stamp);
        let latest = self.latest[track as usize].or(self.latest[1 - track as usize]);
        let placed = match latest {
            Some(latest) => unwrapped + self.shift_for(unwrapped, latest),
            None => unwrapped,
        };
        let own = &mut self.latest[track as usize];
        *own = Some(own.map_or(placed, |latest| latest.max(placed)));
        placed
    }

    /// How often the clock jumped.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }

    fn unwrap(&mut self, stamp: u32) -> i64 {
        let unwrapped = match self.stamp {
            Some(last) => last + i64::from(stamp.wrapping_sub(last as u32) as i32),
            None => i64::from(stamp),
        };
        self.stamp = Some(unwrapped);
        unwrapped
    }

    fn shift_for(&mut self, stamp: i64, latest: i64) -> i64 {
        let step = |shift: i64| stamp + shift - latest;
        let fits = |shift: i64| (-MAX_SLIP_MS..=MAX_GAP_MS).contains(&step(shift));
        let old = self.old_shift.filter(|(_, until)| latest < *until);
        if let Some((old, _)) = old
            && fits(old)
            && (!fits(self.shift) || step(old).abs() < step(self.shift).abs())
        {
            return old;
        }
        if !fits(self.shift) {
            self.jumps += 1;
            self.old_shift = Some((self.shift, latest + JUMP_SKEW_MS));
            self.shift = latest + JUMP_STEP_MS - stamp;
        }
        self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::Track::{Audio, Video};
    use super::*;

    fn placed(stamps: &[(Track, u32)]) -> (Vec<i64>, u64) {
        let mut timeline = Timeline::default();
        let place = |(track, stamp): &(Track, u32)| timeline.place(*track, *stamp);
        let placed = stamps.iter().map(place).collect();
        (placed, timeline.jumps())
    }

    #[test]
    fn the_wrap_after_49_days_is_no_jump() {
        let (placed, jumps) = placed(&[(Video, u32::MAX - 9), (Video, 10)]);
        assert_eq!(placed[1] - placed[0], 20);
        assert_eq!(jumps, 0);
    }

    #[test]
    fn a_clock_that_restarts_goes_on_where_it_was() {
        let stamps = [
            (Video, 100_000),
            (Audio, 100_010),
            (Video, 100_033),
            (Video, 0),
            (Audio, 100_033),
            (Audio, 10),
            (Video, 33),
        ];
        let (placed, jumps) = placed(&stamps);
        let expected = [
            100_000, 100_010, 100_033, 100_066, 100_033, 100_076, 100_099,
        ];
        assert_eq!(placed, expected);
        assert_eq!(jumps, 1);
    }

    #[test]
    fn a_short_step_back_is_a_jump_of_both_tracks() {
        let stamps = [
            (Video, 5_000),
            (Audio, 5_000),
            (Video, 2_000),
            (Audio, 2_000),
        ];
        assert_eq!(placed(&stamps), (vec![5_000, 5_000, 5_033, 5_033], 1));
    }

    #[test]
    fn a_pause_stays_a_pause_and_a_slip_a_slip() {
        let stamps = [(Video, 0), (Video, 9_000), (Video, 8_900)];
        assert_eq!(placed(&stamps), (vec![0, 9_000, 8_900], 0));
    }
}

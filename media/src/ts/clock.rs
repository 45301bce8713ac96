//! One count of milliseconds out of stamps of 33 bits, which wrap after 26.5 hours.

/// Ticks of the stamps in a millisecond (ISO/IEC 13818-1, 2.4.3.7: 90 kHz).
const TICKS_PER_MS: i64 = 90;
/// Bits beyond a stamp's 33.
const SPARE_BITS: u32 = 31;

/// Follows the stamps of all tracks, which are of one clock.
#[derive(Default)]
pub(super) struct Clock {
    ticks: Option<i64>,
}

impl Clock {
    /// Where a stamp stands, in ticks: as near as can be to the one before.
    pub(super) fn place(&mut self, stamp: u64) -> i64 {
        let ticks = match self.ticks {
            Some(last) => last.wrapping_add(signed(stamp as i64, last)),
            None => stamp as i64,
        };
        self.ticks = Some(ticks);
        ticks
    }
}

/// How far a stamp is after another, or before it.
pub(super) fn signed(stamp: i64, from: i64) -> i64 {
    stamp.wrapping_sub(from) << SPARE_BITS >> SPARE_BITS
}

/// To the nearest millisecond.
pub(super) fn millis(ticks: i64) -> i64 {
    ticks
        .wrapping_add(TICKS_PER_MS / 2)
        .div_euclid(TICKS_PER_MS)
}

/// Ticks that so many samples last.
pub(super) fn ticks_of(samples: u32, sample_rate: u32) -> i64 {
    i64::from(samples) * 1000 * TICKS_PER_MS / i64::from(sample_rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = (1 << 33) - 1;

    #[test]
    fn the_wrap_after_26_hours_is_no_jump_and_stamps_may_step_back_over_it() {
        let mut clock = Clock::default();
        let before = clock.place(TOP - 8_999);
        assert_eq!(clock.place(9_000) - before, 18_000);
        assert_eq!(clock.place(TOP - 8_999), before);
        assert_eq!(millis(clock.place(0)) - millis(before), 100);
    }
}

//! The longest that a viewer stood at once, from figures that say how often and how long it
//! stood in all.
//!
//! The one rule: it is never less than it was. Where one stall ends and the next begins
//! between two figures, what was stood between them counts for both.

use std::time::SystemTime;

use anyhow::Result;

use crate::{figures::Figures, viewer::Viewer};

/// What was seen of a viewer, from its first figures on.
#[derive(Clone, Debug, Default)]
pub struct Stalls {
    renewed: Option<SystemTime>,
    /// Times and milliseconds in all, when last seen.
    last: (u64, u64),
    current_ms: u64,
    /// In milliseconds, since it was last asked for anew.
    pub longest_ms: u64,
}

impl Stalls {
    /// Looks at a viewer's figures; to look oftener than they are renewed does no harm.
    ///
    /// # Errors
    /// When there are none.
    pub fn look(&mut self, viewer: &Viewer) -> Result<()> {
        let renewed = viewer.renewed()?;
        if self.renewed.replace(renewed) != Some(renewed) {
            self.see(&viewer.figures()?);
        }
        Ok(())
    }

    /// Asks for the longest anew; a stall that is under way counts whole.
    pub fn begin(&mut self) {
        self.longest_ms = 0;
    }

    /// Takes the viewer's next figures.
    pub fn see(&mut self, figures: &Figures) {
        self.count(figures.stalls, figures.stall_ms);
    }

    fn count(&mut self, stalls: u64, stall_ms: u64) {
        let (before, before_ms) = std::mem::replace(&mut self.last, (stalls, stall_ms));
        let stood = stall_ms.saturating_sub(before_ms);
        let began = stalls > before;
        let may_have_lasted = self.current_ms + stood;
        self.longest_ms = self.longest_ms.max(may_have_lasted);
        self.current_ms = match (stood, began) {
            (0, _) => 0,
            (_, true) => stood,
            (_, false) => may_have_lasted,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::Stalls;

    fn longest(figures: &[(u64, u64)]) -> u64 {
        let mut seen = Stalls::default();
        for (stalls, ms) in figures {
            seen.count(*stalls, *ms);
        }
        seen.longest_ms
    }

    #[test]
    fn a_stall_that_lasts_is_one() {
        let lasts = [(0, 0), (1, 300), (1, 1300), (1, 1500), (1, 1500)];
        assert_eq!(longest(&lasts), 1500);
    }

    #[test]
    fn what_was_over_before_does_not_count() {
        let mut seen = Stalls::default();
        for (stalls, ms) in [(1, 3000), (1, 3000)] {
            seen.count(stalls, ms);
        }
        seen.begin();
        seen.count(2, 3200);
        assert_eq!(seen.longest_ms, 200);
    }

    #[test]
    fn what_was_under_way_before_counts_whole() {
        let mut seen = Stalls::default();
        seen.count(1, 3000);
        seen.begin();
        seen.count(1, 4500);
        seen.count(1, 4500);
        assert_eq!(seen.longest_ms, 4500);
    }

    #[test]
    fn stalls_apart_are_two() {
        let apart = [(0, 0), (1, 800), (1, 800), (2, 1500), (2, 1500)];
        assert_eq!(longest(&apart), 800);
    }

    #[test]
    fn stalls_that_cannot_be_told_apart_count_for_the_longer() {
        let close = [(0, 0), (1, 800), (2, 1400), (2, 2000), (2, 2000)];
        assert_eq!(longest(&close), 1400);
    }
}

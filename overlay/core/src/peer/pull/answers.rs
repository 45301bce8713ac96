//! How long partners take to answer.
//!
//! The one rule: who is asked again while the answer is on its way gets it twice, and on a
//! slow line the second delays what comes after.

use std::{collections::BTreeMap, time::Duration};

use crate::PeerId;

/// An answer is waited for at least so long,
pub(super) const LEAST: Duration = Duration::from_millis(350);
/// and at most so long: most of what a player has time for.
const MOST: Duration = Duration::from_millis(1200);
/// Beyond what answers take of late.
const ROOM: f64 = 1.5;
/// A slower answer than of late counts half, a faster one a twentieth: an estimate on the
/// side of those that are slow.
const SLOWER: f64 = 0.5;
const FASTER: f64 = 0.05;

/// Of late, by partner, in seconds.
#[derive(Debug, Default)]
pub(super) struct Answers {
    takes: BTreeMap<PeerId, f64>,
}

impl Answers {
    /// An answer came so long after the question.
    pub(super) fn on_answer(&mut self, from: PeerId, after: Duration) {
        let after = after.as_secs_f64();
        let takes = self.takes.entry(from).or_insert(after);
        let share = if after > *takes { SLOWER } else { FASTER };
        *takes += (after - *takes) * share;
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.takes.remove(&peer);
    }

    /// After so long without an answer another is asked.
    pub(super) fn patience(&self, peer: PeerId) -> Duration {
        let takes = self.takes.get(&peer).copied().unwrap_or_default();
        Duration::from_secs_f64(takes * ROOM).clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_partners_are_waited_for_and_dead_ones_not_for_ever() {
        let ms = Duration::from_millis;
        let (near, far) = (PeerId(1), PeerId(2));
        let mut answers = Answers::default();
        assert_eq!(answers.patience(near), LEAST);
        for _ in 0..20 {
            answers.on_answer(near, ms(40));
            answers.on_answer(far, ms(500));
        }
        assert_eq!(answers.patience(near), LEAST);
        assert_eq!(answers.patience(far), ms(750));
        answers.on_answer(far, ms(60_000));
        assert_eq!(answers.patience(far), MOST);
        answers.forget(far);
        assert_eq!(answers.patience(far), LEAST);
    }
}

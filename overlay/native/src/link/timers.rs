//! The links' deadlines in a heap, so that a tick costs what is due and not what there is.
//!
//! The one rule: an entry is only a hint. The slot's own deadline decides, and a stale
//! entry is dropped when it surfaces.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// One deadline a slot.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    deadlines: Vec<Option<Instant>>,
}

impl Timers {
    /// Sets the slot's deadline, whatever it was.
    pub(super) fn set(&mut self, slot: usize, at: Instant) {
        if self.deadlines.len() <= slot {
            self.deadlines.resize(slot + 1, None);
        }
        if self.deadlines[slot] != Some(at) {
            self.deadlines[slot] = Some(at);
            self.heap.push(Reverse((at, slot)));
        }
    }

    /// The slot waits for nothing.
    pub(super) fn clear(&mut self, slot: usize) {
        if let Some(deadline) = self.deadlines.get_mut(slot) {
            *deadline = None;
        }
    }

    /// The earliest deadline of any slot.
    pub(super) fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, slot))) = self.heap.peek().copied() {
            if self.deadlines[slot] == Some(at) {
                return Some(at);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes a slot whose deadline has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, slot)) = self.heap.pop()?;
        self.deadlines[slot] = None;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_deadline_set_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(0, at(50));
        timers.set(3, at(20));
        timers.set(0, at(10));
        timers.set(1, at(5));
        timers.clear(1);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(30)), Some(0));
        assert_eq!(timers.pop_due(at(30)), Some(3));
        assert_eq!(timers.pop_due(at(100)), None);
        assert_eq!(timers.next(), None);
    }
}

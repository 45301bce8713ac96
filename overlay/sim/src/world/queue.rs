//! What is to happen, by time.
//!
//! The one rule: of what is to happen at the same time, what was planned first comes first.

use std::{cmp::Reverse, collections::BinaryHeap};

use overlay_core::Instant;

/// Events to come. The heap moves small entries about; what they stand for stays in its place.
pub(super) struct Queue<E> {
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    events: Vec<Option<E>>,
    /// Places that are empty.
    free: Vec<u32>,
    planned: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            planned: 0,
        }
    }
}

impl<E> Queue<E> {
    pub(super) fn push(&mut self, at: Instant, event: E) {
        self.planned += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() as u32 - 1
        });
        self.events[place as usize] = Some(event);
        self.heap.push(Reverse((at, self.planned, place)));
    }

    /// The next, and when it is.
    pub(super) fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.free.push(place);
        let event = self.events.get_mut(place as usize)?.take()?;
        Some((at, event))
    }

    /// How many were ever planned.
    pub(super) fn planned(&self) -> u64 {
        self.planned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_planned_in() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut queue = Queue::default();
        for (ms, name) in [(5, 'a'), (3, 'b'), (5, 'c'), (3, 'd')] {
            queue.push(at(ms), name);
        }
        let mut seen = String::new();
        while let Some((now, name)) = queue.pop() {
            seen.push(name);
            if name == 'b' {
                queue.push(now, 'e');
            }
        }
        assert_eq!(seen, "bdeac");
        assert_eq!(
            (queue.planned(), queue.events.len()),
            (5, 4),
            "places are used again"
        );
    }
}

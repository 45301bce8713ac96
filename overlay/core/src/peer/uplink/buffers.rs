//! What waits in links' send buffers, and how much may.
//!
//! The one rule: a buffer is first in, first out, and no longer ours to order. So it holds
//! what keeps its link busy for a while, and no more.

use std::{collections::BTreeMap, time::Duration};

use crate::{Instant, PeerId};

/// A buffer is full with so much anyhow: more than three pieces of the largest kind.
const LEAST: usize = 64 * 1024;
/// And never holds more: 25 Mbit/s at a round trip of 100 ms.
pub(super) const MOST: usize = 320 * 1024;
/// In between it holds what its link carried in so long, which is longer than a round trip:
/// else the link could never show that it carries more.
const SPAN: Duration = Duration::from_millis(400);
/// What a link carries is measured over so long.
const MEASURED: Duration = Duration::from_millis(250);
/// A link that was once fast is not taken for slow when little is sent on it for a while.
const FADES: f64 = 0.8;

/// All buffers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    links: BTreeMap<PeerId, Buffer>,
    /// In those that are not full, nor of peers that have fallen silent.
    flight: usize,
    silent: Vec<PeerId>,
}

#[derive(Debug, Default)]
struct Buffer {
    held: usize,
    /// Acknowledged since then.
    acknowledged: usize,
    since: Instant,
    /// Bytes a second that the link carries, as far as it has shown.
    carries: f64,
}

impl Buffers {
    /// So much was added to a link's.
    pub(super) fn on_sent(&mut self, now: Instant, peer: PeerId, bytes: usize) {
        let held = self.links.get(&peer).map_or(0, |buffer| buffer.held);
        self.set(now, peer, held + bytes);
    }

    /// A link's holds so much.
    pub(super) fn set(&mut self, now: Instant, peer: PeerId, held: usize) {
        let buffer = self.links.entry(peer).or_insert_with(|| Buffer {
            since: now,
            ..Buffer::default()
        });
        let counts = !self.silent.contains(&peer);
        self.flight -= buffer.flight(counts);
        buffer.acknowledged += buffer.held.saturating_sub(held);
        buffer.held = held;
        let span = now.since(buffer.since);
        if span >= MEASURED {
            let rate = buffer.acknowledged as f64 / span.as_secs_f64();
            buffer.carries = rate.max(buffer.carries * FADES);
            buffer.acknowledged = 0;
            buffer.since = now;
        }
        self.flight += buffer.flight(counts);
    }

    /// A piece was not sent after all.
    pub(super) fn on_unsent(&mut self, now: Instant, peer: PeerId, bytes: usize) {
        let held = self.links.get(&peer).map_or(0, |buffer| buffer.held);
        self.set(now, peer, held.saturating_sub(bytes));
    }

    /// These acknowledge nothing any more: what they hold says nothing of our line.
    pub(super) fn leave_out(&mut self, silent: impl Iterator<Item = PeerId>) {
        self.silent = silent.collect();
        let counts = |peer: &PeerId| !self.silent.contains(peer);
        let flights = self
            .links
            .iter()
            .map(|(peer, buffer)| buffer.flight(counts(peer)));
        self.flight = flights.sum();
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        if let Some(buffer) = self.links.remove(&peer) {
            self.flight -= buffer.flight(!self.silent.contains(&peer));
        }
    }

    /// Whether a link takes nothing more until its buffer drains.
    pub(super) fn is_full(&self, peer: PeerId) -> bool {
        self.links.get(&peer).is_some_and(Buffer::is_full)
    }

    /// What is in all that are not full: those say something of their other ends, the others
    /// of our line.
    pub(super) fn flight(&self) -> usize {
        self.flight
    }
}

impl Buffer {
    fn is_full(&self) -> bool {
        let most = (self.carries * SPAN.as_secs_f64()) as usize;
        self.held >= most.clamp(LEAST, MOST)
    }

    fn flight(&self, counts: bool) -> usize {
        if self.is_full() || !counts {
            0
        } else {
            self.held
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(1);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// Fills the buffer for two seconds on a link that carries so much, and acknowledges
    /// 100 ms later. What it then holds at most.
    fn filled(bytes_per_s: usize) -> usize {
        let mut buffers = Buffers::default();
        let mut held = 0;
        let mut most = 0;
        let mut way = std::collections::VecDeque::new();
        for ms in 0..2000 {
            while !buffers.is_full(PEER) {
                buffers.on_sent(at(ms), PEER, 1000);
                held += 1000;
            }
            let through = (held - way.iter().sum::<usize>()).min(bytes_per_s / 1000);
            way.push_back(through);
            if way.len() > 100 {
                held -= way.pop_front().unwrap();
                buffers.set(at(ms), PEER, held);
            }
            most = most.max(held);
        }
        most
    }

    #[test]
    fn a_fast_link_is_kept_busy_and_a_slow_one_is_not_flooded() {
        let slow = filled(100_000);
        assert!(slow <= LEAST + 1000, "{slow}");
        let fast = filled(2_000_000);
        assert!(fast >= 200_000, "{fast} of 2 MB/s in 100 ms");
        assert!(filled(100_000_000) <= MOST + 1000);
    }

    #[test]
    fn full_ones_do_not_count_and_nor_do_those_that_are_gone() {
        let mut buffers = Buffers::default();
        buffers.set(at(0), PEER, 1000);
        buffers.set(at(0), PeerId(2), 2000);
        buffers.set(at(0), PeerId(3), LEAST);
        assert_eq!(buffers.flight(), 3000);
        assert!(buffers.is_full(PeerId(3)) && !buffers.is_full(PEER));
        buffers.leave_out([PeerId(2)].into_iter());
        assert_eq!(buffers.flight(), 1000);
        buffers.set(at(0), PeerId(2), 2500);
        buffers.leave_out([].into_iter());
        assert_eq!(buffers.flight(), 3500);
        buffers.set(at(0), PeerId(2), 2000);
        buffers.set(at(0), PeerId(3), 10);
        buffers.forget(PEER);
        buffers.forget(PEER);
        assert_eq!(buffers.flight(), 2010);
    }
}

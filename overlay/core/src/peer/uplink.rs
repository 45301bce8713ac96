//! What a peer may send and in which order: a token bucket that holds the cap, and a queue
//! of pieces, oldest generation first, since its deadline is nearest.

use std::{collections::BTreeMap, time::Duration};

use crate::{Instant, PeerId};

mod buffers;
mod line;

use buffers::Buffers;
use line::Line;

/// Share of the uplink that urgent pulls may take, and how much of it may gather.
const URGENT_SHARE: f64 = 0.05;
const URGENT_BURST: Duration = Duration::from_millis(80);
/// Of the uplink's time, what may at once be lent to newcomers who catch up: pushes wait so
/// much longer for it, and have 1.8 s (simulated: at 150 ms swarms without spare uplink
/// never pay it back, at 100 ms they do).
const LENT: Duration = Duration::from_millis(100);
/// Pieces that wait for one newcomer, at most.
const MAX_LENT: usize = 16;
/// Part of what children leave that is lent for good: rates are means.
const LENT_SHARE: f64 = 0.9;
/// Part of the cap that is used: the rest is for what the accounting sees too late.
const USE: f64 = 0.97;
/// Share of the cap taken for framing and acknowledgements until it is measured
/// (measured: DTLS, SCTP and UDP add 8 to 12 %).
const FIRST_EXCESS: f64 = 0.12;
/// Tokens gather for so long at most.
const BURST: Duration = Duration::from_millis(40);
/// Pieces that wait for one peer, at most; the oldest is dropped for the newest.
const MAX_PER_PEER: usize = 256;
/// Share of the uplink taken to be left for pulls when pushing seems to need it all: rates
/// are means, and there is always a gap.
const MIN_SPARE: f64 = 0.03;
/// Of the uplink's time, what may be unacknowledged in all links together that are not full
/// themselves: beyond it the line is slower than we are. Round trips are shorter.
const FLIGHT: Duration = Duration::from_millis(500);
/// So much may be anyhow: a few pieces.
const MIN_FLIGHT: usize = 64 * 1024;
/// Pieces that wait in all.
const MAX_QUEUED: usize = 4096;

/// Why a piece is sent; in this order at equal age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Down the tree, to a child that relays it.
    Interior,
    /// Down the tree, to a leaf.
    Leaf,
    /// Resent to a new child, or lent to a newcomer.
    Backfill,
    /// Asked for in the last moment.
    Urgent,
    /// Asked for.
    Pull,
}

impl Class {
    /// Whether it was sent down the tree before.
    fn repeats(self) -> bool {
        matches!(self, Self::Backfill | Self::Urgent | Self::Pull)
    }
}

/// A piece that waits to be sent. The peer looks its bytes up when its turn comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<T> {
    pub(super) to: PeerId,
    pub(super) sequence: u64,
    pub(super) class: Class,
    pub(super) len: usize,
    /// Worthless after this.
    pub(super) expires: Instant,
    pub(super) what: T,
}

/// The order of sending: pushes, backfill and urgent pulls before other pulls, since pulls that displace pushes
/// make more pulls; then the earliest deadline, which is the oldest generation; then
/// interior children before leaves. Backfill is admitted only while little waits, and
/// urgent pulls within a small budget, so that they delay pushes by no more than these have
/// time.
type Key = (bool, u64, Class, u64);

/// The uplink.
#[derive(Debug)]
pub(super) struct Uplink<T> {
    /// Bytes a second.
    cap: f64,
    /// Bytes a second that framing, acknowledgements and control cost beside the pieces.
    excess: f64,
    tokens: f64,
    updated: Instant,
    queue: BTreeMap<Key, Item<T>>,
    queued_bytes: usize,
    /// Of them, of backfill and pulls.
    repeated_bytes: usize,
    /// Bytes a second that pushing takes.
    pushing: f64,
    per_peer: BTreeMap<PeerId, usize>,
    buffers: Buffers,
    serial: u64,
    /// Bytes that urgent pulls may take now.
    urgent: f64,
    /// Bytes a second that the children need.
    committed: f64,
    /// Bytes that newcomers may be lent now.
    lent: f64,
    measured: Measured,
    line: Line,
}

/// Bytes since the excess was last estimated.
#[derive(Debug, Default)]
struct Measured {
    since: Instant,
    wire: u64,
    pieces: u64,
    pushed: u64,
}

impl<T: Copy> Uplink<T> {
    /// An uplink of `cap_bps` bits a second.
    pub(super) fn new(now: Instant, cap_bps: u64) -> Self {
        let cap = cap_bps as f64 / 8.0 * USE;
        Self {
            cap,
            excess: cap * FIRST_EXCESS,
            tokens: cap * BURST.as_secs_f64(),
            updated: now,
            queue: BTreeMap::new(),
            queued_bytes: 0,
            repeated_bytes: 0,
            pushing: 0.0,
            per_peer: BTreeMap::new(),
            buffers: Buffers::default(),
            serial: 0,
            urgent: cap * URGENT_BURST.as_secs_f64(),
            committed: 0.0,
            lent: cap * LENT.as_secs_f64(),
            measured: Measured {
                since: now,
                ..Measured::default()
            },
            line: Line::new(now, cap),
        }
    }

    /// Queues a piece; an older one, or the last in line, is dropped for it when there is no
    /// room.
    pub(super) fn push(&mut self, item: Item<T>) {
        if self.cap <= 0.0 {
            return;
        }
        let waiting = self.per_peer.get(&item.to).copied().unwrap_or(0);
        if waiting >= MAX_PER_PEER {
            let oldest = self.queue.iter().find(|(_, other)| other.to == item.to);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.take(key);
            }
        } else if self.queue.len() >= MAX_QUEUED
            && let Some(key) = self.queue.keys().next_back().copied()
        {
            self.take(key);
        }
        self.serial += 1;
        self.queued_bytes += item.len;
        if item.class.repeats() {
            self.repeated_bytes += item.len;
        } else {
            self.measured.pushed += item.len as u64;
        }
        *self.per_peer.entry(item.to).or_default() += 1;
        let pull = item.class == Class::Pull;
        let key = (pull, item.sequence, item.class, self.serial);
        self.queue.insert(key, item);
    }

    /// The next piece to send now, if any.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Item<T>> {
        self.refill(now);
        self.expire(now);
        if self.tokens <= 0.0 || self.is_held_up() {
            return None;
        }
        let mut free = self.queue.iter();
        let key = *free.find(|(_, item)| !self.is_clogged(item.to))?.0;
        let item = self.take(key)?;
        self.tokens -= item.len as f64;
        self.measured.pieces += item.len as u64;
        self.buffers.on_sent(now, item.to, item.len);
        Some(item)
    }

    /// When something can be sent; `None` while nothing waits, or only for buffers.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.queue.is_empty() {
            return None;
        }
        if self.tokens > 0.0 {
            // Whatever waits, waits for a send buffer; expiry is looked after by ticks.
            return None;
        }
        let wait = (1.0 - self.tokens) / self.fill();
        Some(self.updated + Duration::from_secs_f64(wait.clamp(0.0001, 1.0)))
    }

    /// So much waits in a link's send buffer.
    pub(super) fn on_buffered(&mut self, now: Instant, peer: PeerId, bytes: usize) {
        self.buffers.set(now, peer, bytes);
    }

    /// A piece that [`Self::pop`] gave was not sent.
    pub(super) fn on_unsent(&mut self, now: Instant, item: &Item<T>) {
        self.buffers.on_unsent(now, item.to, item.len);
    }

    /// These peers acknowledge nothing any more.
    pub(super) fn leave_out(&mut self, silent: impl Iterator<Item = PeerId>) {
        self.buffers.leave_out(silent);
    }

    /// So many bytes of UDP payload were sent. Learns what the transport adds.
    pub(super) fn on_traffic(&mut self, now: Instant, sent: u64) {
        self.measured.wire += sent;
        let span = now.since(self.measured.since);
        if span < Duration::from_millis(500) {
            return;
        }
        let more = self.measured.wire.saturating_sub(self.measured.pieces) as f64;
        let rate = (more / span.as_secs_f64()).min(self.cap * 0.8);
        self.excess += (rate - self.excess) * 0.3;
        let held_up = self.is_held_up() && !self.queue.is_empty();
        self.line.on_span(now, span, self.measured.wire, held_up);
        if self.cap > 0.0 {
            self.cap = self.line.carries();
        }
        let pushing = self.measured.pushed as f64 / span.as_secs_f64();
        self.pushing += (pushing - self.pushing) * 0.5;
        self.measured = Measured {
            since: now,
            ..Measured::default()
        };
    }

    /// Whether the line takes less than what may be sent.
    fn is_held_up(&self) -> bool {
        let flight = self.buffers.flight();
        let round_trips = FLIGHT.mul_f64(self.line.patience());
        flight as f64 >= self.cap * round_trips.as_secs_f64() && flight > MIN_FLIGHT
    }

    /// Bits a second that may be sent, and that the line carries as far as is known.
    pub(super) fn capacity_bps(&self) -> u64 {
        (self.cap / USE * 8.0) as u64
    }

    /// Forgets what waits for a peer.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.buffers.forget(peer);
        let gone: Vec<Key> = self
            .queue
            .iter()
            .filter(|(_, item)| item.to == peer)
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.take(key);
        }
    }

    /// Takes bytes out of the budget for urgent pulls. Whether they were there.
    pub(super) fn spend_urgent(&mut self, now: Instant, bytes: usize) -> bool {
        self.refill(now);
        let there = self.urgent >= bytes as f64;
        if there {
            self.urgent -= bytes as f64;
        }
        there
    }

    /// Takes bytes out of what may be lent to newcomers, more than there are if need be, so
    /// that large pieces come to be lent too. Whether any were there, and the newcomer takes
    /// what it was lent before.
    pub(super) fn lend(&mut self, now: Instant, to: PeerId, bytes: usize) -> bool {
        self.refill(now);
        let waiting = self.per_peer.get(&to).copied().unwrap_or(0);
        let there = self.lent > 0.0 && waiting < MAX_LENT && !self.is_clogged(to);
        if there {
            self.lent -= bytes as f64;
        }
        there
    }

    /// Whether a link takes nothing more until its send buffer drains.
    fn is_clogged(&self, peer: PeerId) -> bool {
        self.buffers.is_full(peer)
    }

    /// The children need so many bytes a second.
    pub(super) fn commit(&mut self, bytes_per_s: f64) {
        self.committed = bytes_per_s;
    }

    /// Bytes a second that the children leave; a little always. 0: nothing is shared.
    pub(super) fn spare(&self) -> f64 {
        if self.cap <= 0.0 {
            return 0.0;
        }
        let fill = self.fill();
        (fill - self.committed).max(fill * MIN_SPARE)
    }

    /// How long all that waits will take.
    pub(super) fn backlog(&self) -> Duration {
        Duration::from_secs_f64((self.queued_bytes as f64 / self.fill()).min(60.0))
    }

    /// How long the backfill and the pulls that wait will take, from what pushing leaves
    /// over.
    pub(super) fn pull_wait(&self) -> Duration {
        let fill = self.fill();
        let spare = (fill - self.pushing).max(fill * MIN_SPARE);
        let pushes = (self.queued_bytes - self.repeated_bytes) as f64 / fill;
        Duration::from_secs_f64((pushes + self.repeated_bytes as f64 / spare).min(60.0))
    }

    /// Bytes a second there are for pieces.
    pub(super) fn fill(&self) -> f64 {
        (self.cap - self.excess).max(self.cap * 0.1).max(1.0)
    }

    /// Nothing may be sent any more.
    pub(super) fn close(&mut self) {
        self.cap = 0.0;
        self.queue.clear();
        self.per_peer.clear();
        self.queued_bytes = 0;
        self.repeated_bytes = 0;
    }

    /// Whether anything may be sent at all.
    pub(super) fn shares(&self) -> bool {
        self.cap > 0.0
    }

    fn refill(&mut self, now: Instant) {
        let fill = self.fill();
        let span = now.since(self.updated).as_secs_f64();
        let gained = span * fill;
        self.updated = self.updated.max(now);
        self.tokens = (self.tokens + gained).min(fill * BURST.as_secs_f64());
        let most = self.cap * URGENT_BURST.as_secs_f64();
        self.urgent = (self.urgent + gained * URGENT_SHARE).min(most);
        let most = self.cap * LENT.as_secs_f64();
        self.lent = (self.lent + span * self.spare() * LENT_SHARE).min(most);
    }

    /// Drops what is first in line and worthless; what is behind it gets its turn.
    fn expire(&mut self, now: Instant) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.get().expires > now {
                break;
            }
            let key = *entry.key();
            self.take(key);
        }
    }

    fn take(&mut self, key: Key) -> Option<Item<T>> {
        let item = self.queue.remove(&key)?;
        self.queued_bytes -= item.len;
        if item.class.repeats() {
            self.repeated_bytes -= item.len;
        }
        if let Some(count) = self.per_peer.get_mut(&item.to) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&item.to);
            }
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn item(to: u64, sequence: u64, class: Class) -> Item<()> {
        Item {
            to: PeerId(to),
            sequence,
            class,
            len: 1000,
            expires: at(60_000),
            what: (),
        }
    }

    fn drain(uplink: &mut Uplink<()>, until: Instant) -> Vec<(u64, u64)> {
        let mut sent = Vec::new();
        let mut now = at(0);
        while now <= until {
            while let Some(item) = uplink.pop(now) {
                sent.push((item.to.0, item.sequence));
                uplink.on_buffered(now, item.to, 0);
            }
            now = now + Duration::from_millis(1);
        }
        sent
    }

    #[test]
    fn old_before_new_interior_before_leaf_push_before_pull() {
        let mut uplink = Uplink::new(at(0), 8_000_000);
        uplink.push(item(1, 5, Class::Pull));
        uplink.push(item(2, 7, Class::Leaf));
        uplink.push(item(3, 7, Class::Interior));
        uplink.push(item(4, 6, Class::Leaf));
        assert_eq!(drain(&mut uplink, at(50)), [(4, 6), (3, 7), (2, 7), (1, 5)]);
    }

    #[test]
    fn the_cap_is_never_exceeded() {
        let mut uplink = Uplink::new(at(0), 800_000);
        for sequence in 0..1000 {
            uplink.push(item(sequence % 50, sequence, Class::Leaf));
        }
        let sent = drain(&mut uplink, at(2000)).len() * 1000;
        assert!(sent <= 200_000, "{sent} bytes in 2 s at 100,000 a second");
        assert!(sent >= 160_000, "{sent} bytes leave the uplink idle");
    }

    #[test]
    fn a_full_link_does_not_hold_up_the_others() {
        let mut uplink = Uplink::new(at(0), 8_000_000);
        uplink.on_buffered(at(0), PeerId(1), buffers::MOST);
        uplink.push(item(1, 1, Class::Leaf));
        uplink.push(item(2, 2, Class::Leaf));
        assert_eq!(drain(&mut uplink, at(10)), [(2, 2)]);
    }

    #[test]
    fn what_waits_is_bounded_and_old_goes_first() {
        let mut uplink = Uplink::new(at(0), 8_000_000);
        for sequence in 0..=MAX_PER_PEER as u64 {
            uplink.push(item(1, sequence, Class::Leaf));
        }
        assert_eq!(uplink.queue.len(), MAX_PER_PEER);
        assert_eq!(uplink.pop(at(0)).unwrap().sequence, 1);
        for peer in 0..100 {
            for sequence in 0..100 {
                uplink.push(item(peer, sequence, Class::Leaf));
            }
        }
        assert!(uplink.queue.len() <= MAX_QUEUED);
    }

    #[test]
    fn newcomers_are_lent_a_tenth_of_a_second_and_what_children_leave() {
        let mut uplink: Uplink<()> = Uplink::new(at(0), 8_000_000);
        let fill = uplink.fill();
        uplink.commit(fill * 0.5);
        let mut lent = 0;
        for ms in 0..2000 {
            while uplink.lend(at(ms), PeerId(1), 1000) {
                lent += 1000;
            }
        }
        let most = 0.1 * 1e6 + 2.0 * fill * 0.5 * LENT_SHARE;
        assert!(f64::from(lent) <= most + 1000.0, "{lent} of {most}");
        assert!(f64::from(lent) >= most * 0.9, "{lent} of {most}");
        uplink.close();
        assert!(uplink.spare() == 0.0);
    }

    #[test]
    fn who_does_not_take_what_was_lent_is_lent_no_more() {
        let mut uplink = Uplink::new(at(0), 80_000_000);
        let mut lent = 0;
        while uplink.lend(at(0), PeerId(1), 1000) {
            uplink.push(item(1, 1, Class::Backfill));
            lent += 1;
        }
        assert_eq!(lent, MAX_LENT);
        assert!(uplink.lend(at(0), PeerId(2), 1000));
        uplink.on_buffered(at(0), PeerId(2), buffers::MOST);
        assert!(!uplink.lend(at(0), PeerId(2), 1000));
    }

    #[test]
    fn framing_and_acknowledgements_count_against_the_cap() {
        let mut uplink: Uplink<()> = Uplink::new(at(0), 8_000_000);
        let before = uplink.fill();
        for step in 1..20 {
            uplink.on_traffic(at(step * 500), 250_000);
        }
        assert!(
            uplink.fill() < before * 0.65,
            "{} of {before}",
            uplink.fill()
        );
    }
}

//! Latency, uplink queues and losses.

use std::{collections::VecDeque, time::Duration};

use overlay_core::{Instant, Random};

use crate::{Scenario, pairs::Pairs};

/// Payload of a datagram (messages of ≤ 1,050 B fit one packet).
const PACKET: usize = 1050;
/// What DTLS (37) and SCTP (28) add to a packet: UDP payload is what caps count.
const PACKET_OVERHEAD: usize = 65;
/// An acknowledgement, likewise; SCTP sends one for every two packets. Together that is
/// 10.6 % of a piece of 4.9 kB (measured on loopback: 8 to 12 %).
const ACK: usize = 65;
/// A sender's line is so much faster than what its viewer offers.
const LINE: f64 = 2.0;
/// SCTP gives up on a piece after this.
const PIECE_LIFE: Duration = Duration::from_secs(1);
/// What a retransmission waits beyond a round trip.
const RESEND: Duration = Duration::from_millis(30);

/// How a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In its turn, and given up when it is late.
    Lossy,
    /// In its turn, resent until it is there, in order.
    Reliable,
    /// Likewise, but waits neither for its turn nor for what was sent before: what is small,
    /// of those who send more than their lines carry.
    Ahead,
}

/// The network between all peers, named by index.
pub(crate) struct Network {
    rtt: Duration,
    last_mile: Duration,
    jitter: Duration,
    loss: Loss,
    seed: u64,
    lines: Vec<Line>,
    ways: Pairs<Way>,
}

struct Line {
    /// Bytes a second.
    rate: f64,
    busy_until: Instant,
    sent: u64,
}

/// From one peer to another.
#[derive(Default)]
struct Way {
    /// When the last reliable message arrives: they keep their order.
    ordered: Instant,
    /// In a burst of losses.
    bad: bool,
    /// Sent, and when it will have been acknowledged.
    unacknowledged: VecDeque<(Instant, usize)>,
    /// The sender is to be told when it is.
    watched: bool,
}

/// Losses in bursts, by Gilbert's model: in the bad state every packet is lost, and the
/// states change with each packet so that the long-run share and the mean length of a burst
/// are as asked (Gilbert 1960; Elliott 1963).
struct Loss {
    to_bad: f64,
    to_good: f64,
}

impl Loss {
    fn new(share: f64, burst: f64) -> Self {
        let to_good = 1.0 / burst.max(1.0);
        let to_bad = to_good * share / (1.0 - share).max(0.01);
        Self { to_bad, to_good }
    }

    /// How many of so many packets are lost.
    fn hits(&self, bad: &mut bool, packets: usize, random: &mut Random) -> usize {
        let mut lost = 0;
        for _ in 0..packets {
            let change = if *bad { self.to_good } else { self.to_bad };
            if change > 0.0 && random.unit() < change {
                *bad = !*bad;
            }
            lost += usize::from(*bad);
        }
        lost
    }
}

impl Network {
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            rtt: scenario.rtt,
            last_mile: scenario.last_mile,
            jitter: scenario.jitter,
            loss: Loss::new(scenario.loss, scenario.burst),
            seed,
            lines: Vec::new(),
            ways: Pairs::default(),
        }
    }

    /// Adds a peer that offers so many bits a second, on a line that is faster.
    pub(crate) fn add(&mut self, upload_bps: u64) {
        self.add_line((upload_bps as f64 / 8.0 * LINE).max(250_000.0));
    }

    /// Adds a peer whose line carries so many bytes a second.
    pub(crate) fn add_line(&mut self, rate: f64) {
        self.lines.push(Line {
            rate,
            busy_until: Instant::default(),
            sent: 0,
        });
    }

    /// One way from a to b; each pair has its own, the same every time.
    pub(crate) fn latency(&self, a: u32, b: u32) -> Duration {
        let (low, high) = (a.min(b), a.max(b));
        let pair = (u64::from(low) << 32) | u64::from(high);
        let spread = Random::new(self.seed ^ pair.wrapping_mul(0x9e37_79b9)).unit();
        let distance = self.rtt.saturating_sub(self.last_mile * 2);
        self.last_mile + distance.mul_f64((0.5 + spread) / 2.0)
    }

    /// Bytes on the wire for a message, and for what acknowledges it.
    pub(crate) fn wire_len(len: usize) -> (usize, usize) {
        let packets = len.div_ceil(PACKET).max(1);
        (len + packets * PACKET_OVERHEAD, packets.div_ceil(2) * ACK)
    }

    /// Sends a message; when it arrives, `None` when it never does.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        (from, to): (u32, u32),
        len: usize,
        how: Delivery,
        random: &mut Random,
    ) -> Option<Instant> {
        let latency = self.latency(from, to);
        let (wire, _) = Self::wire_len(len);
        let line = &mut self.lines[from as usize];
        line.sent += wire as u64;
        if !self.ways.contains((from, to)) {
            // Both or none, so that whoever knows one end finds the other.
            self.ways.or_default((to, from));
        }
        let way = self.ways.or_default((from, to));
        let mut left = now;
        if how != Delivery::Ahead {
            let begin = line.busy_until.max(now);
            line.busy_until = begin + Duration::from_secs_f64(wire as f64 / line.rate);
            left = line.busy_until;
            way.unacknowledged.push_back((left + latency * 2, len));
        }
        let mut arrival = left + latency + self.jitter.mul_f64(random.unit());
        // SCTP resends what is lost after about a round trip, and later after its timer.
        let mut wait = latency * 2 + RESEND;
        let mut packets = len.div_ceil(PACKET).max(1);
        loop {
            packets = self.loss.hits(&mut way.bad, packets, random);
            if packets == 0 {
                break;
            }
            arrival = arrival + wait;
            wait *= 2;
            if arrival > left + PIECE_LIFE {
                if how == Delivery::Lossy {
                    return None;
                }
                break;
            }
        }
        if how == Delivery::Reliable {
            way.ordered = arrival.max(way.ordered + Duration::from_micros(1));
            arrival = way.ordered;
        }
        Some(arrival)
    }

    /// How long what is sent now would wait for what is ahead of it.
    pub(crate) fn backlog(&self, now: Instant, from: u32) -> Duration {
        let line = self.lines.get(from as usize);
        line.map_or(Duration::ZERO, |line| line.busy_until.since(now))
    }

    /// Bytes that wait on the way or before it.
    pub(crate) fn buffered(&mut self, now: Instant, way: (u32, u32)) -> usize {
        let Some(way) = self.ways.get_mut(way) else {
            return 0;
        };
        while way.unacknowledged.front().is_some_and(|(at, _)| *at <= now) {
            way.unacknowledged.pop_front();
        }
        way.unacknowledged.iter().map(|(_, len)| len).sum()
    }

    /// When the sender is to be told how much still waits: when all of it is through, or of
    /// much some. None if that is settled, or nothing waits.
    pub(crate) fn watch(&mut self, way: (u32, u32), much: bool) -> Option<Instant> {
        let way = self.ways.get_mut(way).filter(|way| !way.watched)?;
        let ends = (way.unacknowledged.front(), way.unacknowledged.back());
        let (at, _) = if much { ends.0 } else { ends.1 }?;
        way.watched = true;
        Some(*at)
    }

    /// That time has come.
    pub(crate) fn watched(&mut self, way: (u32, u32)) {
        if let Some(way) = self.ways.get_mut(way) {
            way.watched = false;
        }
    }

    /// Somebody is gone for good. What it sent stays known.
    pub(crate) fn forget(&mut self, peer: u32) {
        for (other, _) in self.ways.remove_from(peer) {
            self.ways.remove((other, peer));
        }
    }

    /// Counts an acknowledgement as sent.
    pub(crate) fn acknowledge(&mut self, from: u32, len: usize) {
        self.lines[from as usize].sent += len as u64;
    }

    /// Bytes a peer has sent.
    pub(crate) fn sent(&self, peer: u32) -> u64 {
        self.lines[peer as usize].sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_the_ways_of_who_is_gone() {
        let mut network = Network::new(&Scenario::default(), 1);
        let mut random = Random::new(1);
        for _ in 0..4 {
            network.add(5_000_000);
        }
        let now = Instant::default();
        for way in [(1, 0), (0, 2), (3, 0), (2, 3)] {
            network.send(now, way, 100, Delivery::Reliable, &mut random);
        }
        network.forget(0);
        let left: Vec<(u32, u32)> = network.ways.keys().collect();
        assert_eq!(left, [(2, 3), (3, 2)]);
        assert!(network.sent(0) > 0);
    }

    #[test]
    fn losses_come_to_their_share_in_bursts_of_their_length() {
        let loss = Loss::new(0.02, 5.0);
        let mut random = Random::new(3);
        let mut bad = false;
        let (mut lost, mut bursts, mut before) = (0, 0, false);
        for _ in 0..1_000_000 {
            let hit = loss.hits(&mut bad, 1, &mut random) > 0;
            lost += u32::from(hit);
            bursts += u32::from(hit && !before);
            before = hit;
        }
        let share = f64::from(lost) / 1e6;
        let length = f64::from(lost) / f64::from(bursts);
        assert!((share - 0.02).abs() < 0.002, "{share}");
        assert!((length - 5.0).abs() < 0.3, "{length}");
    }
}

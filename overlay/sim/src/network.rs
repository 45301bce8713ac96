//! Latency, uplink queues and losses.

use std::{collections::BTreeMap, time::Duration};

use overlay_core::{Instant, Random};

/// Payload of a datagram (architecture: messages of ≤ 1,050 B fit one packet).
const PACKET: usize = 1050;
/// What DTLS, SCTP, UDP and acknowledgements add to a packet.
const PACKET_OVERHEAD: usize = 95;
/// A sender's line is so much faster than what its viewer offers.
const LINE: f64 = 2.0;

/// The network between all peers, named by index.
pub(crate) struct Network {
    rtt: Duration,
    loss: f64,
    seed: u64,
    lines: Vec<Line>,
    /// When the last reliable message between two arrives: they keep their order.
    ordered: BTreeMap<(u32, u32), Instant>,
}

struct Line {
    /// Bytes a second.
    rate: f64,
    busy_until: Instant,
    sent: u64,
}

impl Network {
    pub(crate) fn new(rtt: Duration, loss: f64, seed: u64) -> Self {
        Self {
            rtt,
            loss,
            seed,
            lines: Vec::new(),
            ordered: BTreeMap::new(),
        }
    }

    /// Adds a peer that offers so many bits a second.
    pub(crate) fn add(&mut self, upload_bps: u64) {
        self.lines.push(Line {
            rate: (upload_bps as f64 / 8.0 * LINE).max(250_000.0),
            busy_until: Instant::default(),
            sent: 0,
        });
    }

    /// One way from a to b; each pair has its own, the same every time.
    pub(crate) fn latency(&self, a: u32, b: u32) -> Duration {
        let (low, high) = (a.min(b), a.max(b));
        let pair = (u64::from(low) << 32) | u64::from(high);
        let spread = Random::new(self.seed ^ pair.wrapping_mul(0x9e37_79b9)).unit();
        self.rtt.mul_f64((0.5 + spread) / 2.0)
    }

    /// Bytes on the wire for a message.
    pub(crate) fn wire_len(len: usize) -> usize {
        len + len.div_ceil(PACKET) * PACKET_OVERHEAD
    }

    /// Sends a message; when it arrives.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        (from, to): (u32, u32),
        len: usize,
        reliable: bool,
        random: &mut Random,
    ) -> Instant {
        let latency = self.latency(from, to);
        let wire = Self::wire_len(len);
        let line = &mut self.lines[from as usize];
        line.sent += wire as u64;
        let begin = line.busy_until.max(now);
        line.busy_until = begin + Duration::from_secs_f64(wire as f64 / line.rate);
        let mut arrival = line.busy_until + latency;
        // SCTP resends what is lost after about a round trip.
        let packets = len.div_ceil(PACKET).max(1) as i32;
        if random.unit() > (1.0 - self.loss).powi(packets) {
            arrival = arrival + latency * 2 + Duration::from_millis(30);
        }
        if reliable {
            let last = self.ordered.entry((from, to)).or_default();
            *last = arrival.max(*last + Duration::from_micros(1));
            arrival = *last;
        }
        arrival
    }

    /// Bytes a peer has sent.
    pub(crate) fn sent(&self, peer: u32) -> u64 {
        self.lines[peer as usize].sent
    }
}

//! The socket as the driver sees it: the real one, or the real one behind a line of our own
//! making with a delay and loss, for load tests on one machine.
//!
//! The one rule: a shaped line loses and delays, it never reorders.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    link::Transmit,
    socket::{MAX_BATCH, Sent, Socket},
};

/// Datagrams in a delayed line, each way: 100 ms of 40 Mbit/s.
const MAX_DELAYED: usize = 512;

/// The sockets of one test. A datagram between two of them is delayed once, by its sender;
/// one from elsewhere by its receiver too, so that every round trip takes the same time.
#[derive(Clone, Default)]
pub struct Inside(Arc<Mutex<BTreeSet<SocketAddr>>>);

impl Inside {
    fn add(&self, address: SocketAddr) {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(address);
    }

    fn contains(&self, address: SocketAddr) -> bool {
        let addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.contains(&address)
    }
}

/// A line with delay and loss.
pub struct Line {
    /// One way.
    pub delay: Duration,
    /// 0 to 1, one way.
    pub loss: f64,
    /// The other sockets of the test.
    pub inside: Inside,
    /// For the dice.
    pub seed: u64,
}

/// The socket, with or without a line before it.
pub struct Wire {
    socket: Socket,
    line: Option<Line>,
    stuck: Option<Transmit>,
    outgoing: VecDeque<(Instant, Transmit)>,
    incoming: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    /// Received and not delayed.
    arrived: Vec<(SocketAddr, Vec<u8>)>,
}

impl Wire {
    /// The socket as it is.
    #[must_use]
    pub fn plain(socket: Socket) -> Self {
        Self {
            socket,
            line: None,
            stuck: None,
            outgoing: VecDeque::new(),
            incoming: VecDeque::new(),
            arrived: Vec::new(),
        }
    }

    /// The socket behind a line.
    #[must_use]
    pub fn shaped(socket: Socket, line: Line) -> Self {
        line.inside.add(socket.local());
        Self {
            line: Some(line),
            ..Self::plain(socket)
        }
    }

    /// # Errors
    /// What the operating system says.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// # Errors
    /// What the operating system says.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Whether the socket took no more; nothing should be sent until it is writable.
    pub fn is_stuck(&mut self) -> bool {
        if let Some(out) = self.stuck.take() {
            self.put(out);
        }
        self.stuck.is_some()
    }

    /// Sends a datagram, now or after the line's delay.
    pub fn send(&mut self, now: Instant, out: Transmit) {
        let Some(line) = &mut self.line else {
            return self.put(out);
        };
        if line.loses() || self.outgoing.len() >= MAX_DELAYED {
            return;
        }
        if line.delay.is_zero() {
            return self.put(out);
        }
        self.outgoing.push_back((now + line.delay, out));
    }

    /// The next datagram that has arrived. Those that the line delays come by [`Self::due`].
    pub fn try_receive(&mut self, now: Instant) -> Option<(SocketAddr, &[u8])> {
        let Some(line) = &mut self.line else {
            return self.socket.try_receive();
        };
        loop {
            let (from, bytes) = self.socket.try_receive()?;
            if line.inside.contains(from) {
                self.arrived.push((from, bytes.to_vec()));
                if self.arrived.len() >= MAX_BATCH {
                    return None;
                }
            } else if !line.loses() && self.incoming.len() < MAX_DELAYED {
                self.incoming
                    .push_back((now + line.delay, from, bytes.to_vec()));
            }
        }
    }

    /// When [`Self::due`] has something.
    #[must_use]
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        if !self.arrived.is_empty() {
            return Some(now);
        }
        let incoming = self.incoming.front().map(|(at, ..)| *at);
        let outgoing = self.outgoing.front().map(|(at, _)| *at);
        incoming.into_iter().chain(outgoing).min()
    }

    /// Moves what has waited long enough: outgoing datagrams to the socket, incoming ones to
    /// the caller.
    pub fn due(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        while self.outgoing.front().is_some_and(|(at, _)| *at <= now) && !self.is_stuck() {
            if let Some((_, out)) = self.outgoing.pop_front() {
                self.put(out);
            }
        }
        let mut due = std::mem::take(&mut self.arrived);
        while self.incoming.front().is_some_and(|(at, ..)| *at <= now) {
            due.extend(
                self.incoming
                    .pop_front()
                    .map(|(_, from, bytes)| (from, bytes)),
            );
        }
        due
    }

    fn put(&mut self, out: Transmit) {
        if self.socket.try_send(out.to, &out.bytes) == Sent::Full {
            self.stuck = Some(out);
        }
    }
}

impl Line {
    fn loses(&mut self) -> bool {
        self.loss > 0.0 && self.dice() < self.loss
    }

    /// SplitMix64.
    fn dice(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::turn::Over;

    fn line(loss: f64, inside: &Inside) -> Line {
        Line {
            delay: Duration::from_millis(40),
            loss,
            inside: inside.clone(),
            seed: 1,
        }
    }

    fn bind() -> Socket {
        Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn delays_each_way_from_outside_and_once_inside() {
        let inside = Inside::default();
        let mut outer = bind();
        let (a, b) = (bind(), bind());
        let (at_a, at_b) = (a.local(), b.local());
        let mut a = Wire::shaped(a, line(0.0, &inside));
        let mut b = Wire::shaped(b, line(0.0, &inside));
        let now = Instant::now();
        let later = now + Duration::from_millis(40);
        outer.writable().await.unwrap();
        outer.try_send(at_a, b"from outside");
        a.readable().await.unwrap();
        assert!(a.try_receive(now).is_none());
        assert!(a.due(now).is_empty());
        assert_eq!(a.due(later).len(), 1);
        for to in [at_b, outer.local()] {
            let bytes = b"inside".to_vec();
            let over = Over::Udp;
            a.send(now, Transmit { to, bytes, over });
        }
        assert!(outer.try_receive().is_none());
        a.due(later);
        b.readable().await.unwrap();
        assert!(b.try_receive(later).is_none());
        assert_eq!(b.due(later).len(), 1);
        outer.readable().await.unwrap();
        assert!(outer.try_receive().is_some());
    }

    #[test]
    fn loses_its_share() {
        let mut line = line(0.1, &Inside::default());
        let lost = (0..10_000).filter(|_| line.loses()).count();
        assert!((900..1100).contains(&lost), "{lost}");
    }
}

//! Stories of two and three programs on a virtual wire: every datagram arrives after a
//! fixed delay, signals after twice that, and time jumps to whatever comes next.

use std::{collections::VecDeque, time::Instant};

use super::{blob::Blob, *};

mod nat;

use nat::Nat;

const DELAY: Duration = Duration::from_millis(20);

struct Net {
    now: Instant,
    ends: Vec<Links<u64>>,
    /// Arrival, receiver's address, sender's, bytes.
    wire: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    /// What stands before each end.
    nats: Vec<Option<Nat>>,
    /// The tracker sees the ends behind NATs at one address.
    near: bool,
    signals: VecDeque<(Instant, usize, u64, Bytes)>,
    seen: Vec<Vec<Event<u64>>>,
    gone: Vec<usize>,
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000 + end as u16))
}

fn policy() -> Policy {
    Policy {
        loopback: true,
        private: true,
    }
}

impl Net {
    fn new(ends: usize) -> Self {
        let make = |end| {
            let config = Config::new(vec![address(end)], policy());
            Links::new(config, end as u64 * 1000).unwrap()
        };
        Self {
            now: Instant::now(),
            ends: (0..ends).map(make).collect(),
            wire: VecDeque::new(),
            nats: (0..ends).map(|_| None).collect(),
            near: false,
            signals: VecDeque::new(),
            seen: (0..ends).map(|_| Vec::new()).collect(),
            gone: Vec::new(),
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let role = Role::of(from, to);
        self.ends[from].connect(self.now, to as u64, role).unwrap();
    }

    fn collect(&mut self) {
        for end in 0..self.ends.len() {
            while let Some(out) = self.ends[end].poll_transmit(self.now) {
                let from = match &mut self.nats[end] {
                    Some(nat) => nat.send(out.to),
                    None => address(end),
                };
                self.wire
                    .push_back((self.now + DELAY, out.to, from, out.bytes));
            }
            while let Some(event) = self.ends[end].poll_event() {
                if let Event::Signal { to, payload } = event {
                    let at = self.now + DELAY * 2;
                    self.signals
                        .push_back((at, to as usize, end as u64, payload));
                } else {
                    self.seen[end].push(event);
                }
            }
        }
    }

    /// Runs until `done` or for so long.
    fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.collect();
            if done(self) {
                return true;
            }
            let now = self.now;
            let timeouts = self
                .ends
                .iter_mut()
                .filter_map(|end| end.next_timeout(now))
                .min();
            let wire = self.wire.front().map(|(at, ..)| *at);
            let signal = self.signals.front().map(|(at, ..)| *at);
            let next = [timeouts, wire, signal].into_iter().flatten().min();
            self.now = next
                .unwrap_or(end)
                .max(self.now + Duration::from_micros(10));
            if self.now >= end {
                self.now = end;
                return false;
            }
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        while self.wire.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, to, from, bytes) = self.wire.pop_front().unwrap();
            let to = (0..self.ends.len()).find(|end| match &self.nats[*end] {
                Some(nat) => nat.lets_in(to, from),
                None => address(*end) == to,
            });
            if let Some(to) = to.filter(|to| !self.gone.contains(to)) {
                self.ends[to].handle_datagram(now, from, &bytes);
            }
        }
        while self.signals.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, to, from, payload) = self.signals.pop_front().unwrap();
            if !self.gone.contains(&to) {
                let role = Role::of(to as u64, from);
                let _ = self.ends[to].signal(now, from, role, &payload, self.near);
            }
        }
        for (end, links) in self.ends.iter_mut().enumerate() {
            if !self.gone.contains(&end) {
                links.handle_timeout(now);
            }
        }
    }

    fn up(&self, a: usize, b: usize) -> bool {
        self.ends[a].is_up(b as u64) && self.ends[b].is_up(a as u64)
    }

    fn downs(&self, end: usize) -> usize {
        let down = |event: &&Event<u64>| matches!(event, Event::Down(_));
        self.seen[end].iter().filter(down).count()
    }

    fn received(&self, end: usize) -> Vec<Bytes> {
        let bytes = |event: &Event<u64>| match event {
            Event::Received { bytes, .. } => Some(bytes.clone()),
            _ => None,
        };
        self.seen[end].iter().filter_map(bytes).collect()
    }
}

fn linked() -> Net {
    let mut net = Net::new(2);
    net.connect(0, 1);
    assert!(net.run(Duration::from_secs(3), |net| net.up(0, 1)));
    net
}

#[test]
fn connects_within_ten_one_way_delays_of_wire() {
    let mut net = Net::new(2);
    let start = net.now;
    net.connect(1, 0);
    assert!(net.run(Duration::from_secs(3), |net| net.up(0, 1)));
    let took = net.now - start;
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn carries_the_longest_pieces_both_ways_and_reports_the_buffer() {
    let mut net = linked();
    let piece: Vec<u8> = (0..60 * 1024).map(|i| (i * 7) as u8).collect();
    assert!(net.ends[0].send(1, Channel::Pieces, &piece));
    assert!(net.ends[1].send(0, Channel::Pieces, &piece));
    assert!(net.ends[1].send(0, Channel::Control, b"hello"));
    assert!(net.run(Duration::from_secs(5), |net| {
        net.received(0).len() == 2 && net.received(1).len() == 1
    }));
    assert!(net.received(0).contains(&Bytes::from(piece.clone())));
    assert!(net.received(1).contains(&Bytes::from(piece)));
    net.run(Duration::from_millis(500), |_| false);
    let reports: Vec<usize> = net.seen[0]
        .iter()
        .filter_map(|event| match event {
            Event::Buffered { bytes, .. } => Some(*bytes),
            _ => None,
        })
        .collect();
    assert!(reports.iter().any(|bytes| *bytes > 30_000));
    assert_eq!(reports.last(), Some(&0));
    let sent = net.ends[0].traffic_of(1).unwrap().sent;
    assert!(sent > 60 * 1024 && sent == net.ends[0].traffic().sent);
}

#[test]
fn a_full_buffer_refuses() {
    let mut net = linked();
    let piece = vec![0; 60 * 1024];
    let taken = (0..20).take_while(|_| net.ends[0].send(1, Channel::Pieces, &piece));
    let taken = taken.count();
    assert_eq!(taken, webrtc::MAX_BUFFERED / piece.len());
    assert!(!net.ends[0].send(7, Channel::Pieces, &piece));
    assert!(net.run(Duration::from_secs(5), |net| net.received(1).len() == taken));
}

#[test]
fn offers_that_cross_make_one_link() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.connect(1, 0);
    assert!(net.run(Duration::from_secs(3), |net| net.up(0, 1)));
    net.run(Duration::from_secs(8), |_| false);
    assert!(net.up(0, 1));
    assert_eq!((net.downs(0), net.downs(1)), (0, 0));
}

#[test]
fn three_programs_have_a_link_each() {
    let mut net = Net::new(3);
    net.connect(0, 1);
    net.connect(1, 2);
    net.connect(2, 0);
    assert!(net.run(Duration::from_secs(3), |net| {
        net.up(0, 1) && net.up(1, 2) && net.up(0, 2)
    }));
    for end in 0..3 {
        let to = ((end + 1) % 3) as u64;
        assert!(net.ends[end].send(to, Channel::Control, &[end as u8]));
    }
    assert!(net.run(Duration::from_secs(3), |net| {
        (0..3).all(|end| net.received(end) == [Bytes::from(vec![((end + 2) % 3) as u8])])
    }));
}

#[test]
fn a_vanished_peer_is_noticed_within_three_seconds() {
    let mut net = linked();
    net.gone.push(1);
    assert!(net.run(Duration::from_millis(4100), |net| net.downs(0) == 1));
    assert!(net.ends[0].is_empty());
}

#[test]
fn an_idle_link_lives() {
    let mut net = linked();
    assert!(
        !net.run(Duration::from_secs(60), |net| net.downs(0) + net.downs(1)
            > 0)
    );
    assert!(net.up(0, 1));
}

#[test]
fn a_goodbye_is_noticed_at_once() {
    let mut net = linked();
    let now = net.now;
    net.ends[0].close(now, 1);
    assert!(net.run(Duration::from_millis(200), |net| net.downs(1) == 1));
    assert_eq!(net.downs(0), 0);
    net.connect(0, 1);
    assert!(net.run(Duration::from_secs(3), |net| net.up(0, 1)));
}

#[test]
fn a_peer_that_never_answers_is_given_up() {
    let mut net = Net::new(2);
    net.gone.push(1);
    net.connect(0, 1);
    assert!(net.run(Duration::from_millis(5200), |net| net.downs(0) == 1));
    assert!(net.ends[0].is_empty());
}

#[test]
fn a_peer_that_comes_back_replaces_its_link() {
    let mut net = linked();
    let config = Config::new(vec![address(1)], policy());
    net.ends[1] = Links::new(config, 77).unwrap();
    net.connect(1, 0);
    assert!(net.run(Duration::from_secs(3), |net| net.up(0, 1)));
    assert_eq!(net.downs(0), 1);
}

#[test]
fn strangers_and_their_blobs_are_refused() {
    let mut net = Net::new(2);
    let now = net.now;
    let links = &mut net.ends[0];
    assert!(
        links
            .signal(now, 9, Role::Active, b"no blob", false)
            .is_err()
    );
    let mut many = blob_with((0..200).map(|i| SocketAddr::from(([127, 0, 0, 1], 5000 + i))));
    assert_eq!(
        links.signal(now, 9, Role::Active, &many.to_bytes(), false),
        Err(Error::Blob(BlobError::TooManyCandidates))
    );
    assert!(links.is_empty());
    many.candidates.truncate(4);
    many.answers = Some(3);
    assert_eq!(
        links.signal(now, 9, Role::Active, &many.to_bytes(), false),
        Ok(())
    );
    assert!(links.is_empty(), "an answer to nothing makes no link");
    for first in 0..=255 {
        links.handle_datagram(now, address(5), &[first; 60]);
    }
    assert_eq!(links.traffic(), Traffic::default());
    assert!(links.poll_transmit(now).is_none());
}

#[test]
fn refused_addresses_are_never_probed() {
    let mut links = Links::new(Config::new(vec![address(0)], Policy::default()), 1).unwrap();
    let inner = [[10, 0, 0, 1], [127, 0, 0, 1], [169, 254, 169, 254]];
    let offer = blob_with(inner.map(|ip| SocketAddr::from((ip, 53))));
    let mut now = Instant::now();
    links
        .signal(now, 9, Role::Active, &offer.to_bytes(), false)
        .unwrap();
    for _ in 0..60 {
        now += Duration::from_millis(50);
        links.handle_timeout(now);
        assert!(links.poll_transmit(now).is_none());
    }
}

#[test]
fn addresses_that_never_answer_get_three_packets_each() {
    let local = vec![address(0), SocketAddr::from(([10, 0, 0, 1], 4000))];
    let mut links = Links::new(Config::new(local, policy()), 1).unwrap();
    let victims = (0..16).map(|i| SocketAddr::from(([9, 0, 0, 1 + i], 53)));
    let offer = blob_with(victims.clone());
    let mut now = Instant::now();
    links
        .signal(now, 9, Role::Active, &offer.to_bytes(), false)
        .unwrap();
    let mut sent = std::collections::BTreeMap::<_, usize>::new();
    for _ in 0..1000 {
        now += Duration::from_millis(10);
        links.handle_timeout(now);
        while let Some(out) = links.poll_transmit(now) {
            *sent.entry(out.to).or_default() += 1;
        }
    }
    assert!(links.is_empty(), "it was given up");
    assert_eq!(sent.into_values().collect::<Vec<_>>(), [3; 16]);
}

#[test]
fn links_are_limited() {
    let mut config = Config::new(vec![address(0)], policy());
    config.max_pending = 3;
    let mut links = Links::new(config, 1).unwrap();
    let now = Instant::now();
    for peer in 0..3 {
        links.connect(now, peer, Role::Active).unwrap();
    }
    assert_eq!(links.connect(now, 3, Role::Active), Err(Error::TooMany));
    links.close(now, 1);
    assert_eq!(links.connect(now, 3, Role::Active), Ok(()));
}

#[test]
fn an_offer_that_finds_no_room_is_refused_at_once() {
    let mut net = Net::new(3);
    let mut config = Config::new(vec![address(1)], policy());
    config.max_links = 1;
    net.ends[1] = Links::new(config, 9).unwrap();
    net.connect(0, 1);
    assert!(net.run(Duration::from_secs(3), |net| net.up(0, 1)));
    net.connect(2, 1);
    assert!(net.run(Duration::from_millis(200), |net| net.downs(2) == 1));
    assert!(net.up(0, 1) && net.ends[2].is_empty());
}

/// Datagrams that anybody can send: bytes, DTLS records that look whole, unsigned checks.
fn nonsense(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let firsts = [20u8, 21, 22, 23, 25, 63, 0, 1, 128, 200];
    (0..count).map(move |i| {
        let mut bytes = vec![firsts[i % firsts.len()]; [1, 5, 13, 20, 60, 1200][i / 10 % 6]];
        if i % 3 == 0 && bytes.len() >= 20 {
            let rest = (bytes.len() - 13) as u8;
            bytes[1..13].copy_from_slice(&[254, 253, 0, 1, 0, 0, 0, 0, 9, i as u8, 0, rest]);
        }
        bytes
    })
}

#[test]
fn nonsense_from_a_peers_address_does_not_end_its_link() {
    let mut net = linked();
    let now = net.now;
    for bytes in nonsense(1000) {
        net.ends[0].handle_datagram(now, address(1), &bytes);
    }
    assert!(net.ends[1].send(0, Channel::Control, b"still here"));
    assert!(net.run(Duration::from_secs(3), |net| !net.received(0).is_empty()));
    assert_eq!(net.downs(0), 0);
}

#[test]
fn nonsense_does_not_keep_a_dead_link_alive() {
    let mut net = linked();
    net.gone.push(1);
    for bytes in nonsense(41) {
        net.run(Duration::from_millis(100), |_| false);
        let now = net.now;
        net.ends[0].handle_datagram(now, address(1), &bytes);
    }
    assert_eq!(net.downs(0), 1);
}

#[test]
fn who_may_probe_nobody_is_still_reached() {
    let mut net = Net::new(2);
    let config = Config::new(vec![address(0)], Policy::default());
    net.ends[0] = Links::new(config, 5).unwrap();
    net.connect(1, 0);
    assert!(net.run(Duration::from_secs(3), |net| net.up(0, 1)));
}

fn blob_with(candidates: impl IntoIterator<Item = SocketAddr>) -> Blob {
    Blob {
        attempt: 1,
        answers: None,
        ufrag: "abcd".into(),
        password: "0123456789abcdef01234567".into(),
        fingerprint: [0; 32],
        candidates: candidates.into_iter().collect(),
        sctp_init: Vec::new(),
        refused: false,
        more: false,
        turn: false,
    }
}

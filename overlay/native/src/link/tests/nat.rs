//! The same wire with translators of addresses before some ends (RFC 4787): all filter by
//! address and port; some give an inner socket one port, some another for each destination.

use super::*;

/// What stands before one end.
pub(super) struct Nat {
    inner: SocketAddr,
    outer: SocketAddr,
    /// Another port for each destination.
    symmetric: bool,
    /// On the inner network there are others, at these ports.
    lan: bool,
    sent: Vec<SocketAddr>,
}

impl Nat {
    /// Passes a datagram out; where it seems to come from.
    pub(super) fn send(&mut self, to: SocketAddr) -> SocketAddr {
        if self.lan && to.ip() == LAN {
            return self.inner;
        }
        let known = self.sent.iter().position(|sent| *sent == to);
        let index = known.unwrap_or_else(|| {
            self.sent.push(to);
            self.sent.len() - 1
        });
        self.mapped(index)
    }

    fn mapped(&self, index: usize) -> SocketAddr {
        let mut outer = self.outer;
        if self.symmetric {
            outer.set_port(outer.port() + 1 + index as u16);
        }
        outer
    }

    /// Whether a datagram to this address reaches the end behind.
    pub(super) fn lets_in(&self, to: SocketAddr, from: SocketAddr) -> bool {
        if self.lan && to == self.inner {
            return from.ip() == LAN;
        }
        if self.lan && from.ip() == self.outer.ip() {
            // What goes out does not come back in at the same door.
            return false;
        }
        let known = self.sent.iter().position(|sent| *sent == from);
        known.is_some_and(|index| self.mapped(index) == to)
    }
}

const LAN: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const PORTS: u16 = 100;

/// A seeder that everybody reaches, and ends behind NATs of their own.
fn behind(symmetric: &[bool], lan: bool) -> Net {
    let mut net = Net::new(symmetric.len() + 1);
    for (at, symmetric) in symmetric.iter().enumerate() {
        let end = at + 1;
        let inner = SocketAddr::new(LAN, 4000 + end as u16);
        let home = if lan { 2 } else { 2 + end as u8 };
        let outer = SocketAddr::from(([127, 0, 0, home], 5000 + PORTS * end as u16));
        net.nats[end] = Some(Nat {
            inner,
            outer,
            symmetric: *symmetric,
            lan,
            sent: Vec::new(),
        });
        let policy = Policy {
            loopback: true,
            private: false,
        };
        net.ends[end] = Links::new(Config::new(vec![inner], policy), end as u64 * 1000).unwrap();
    }
    for end in 1..=symmetric.len() {
        net.connect(end, 0);
    }
    net
}

/// Whether 1 and 2 find each other, when both begin with the seeder at once and believe it.
fn meet(mut net: Net) -> bool {
    for end in &mut net.ends {
        end.trust([0].into_iter());
    }
    come_together(net)
}

fn come_together(mut net: Net) -> bool {
    net.connect(1, 2);
    let met = net.run(Duration::from_secs(6), |net| net.up(1, 2));
    assert!(net.up(0, 1) && net.up(0, 2), "the seeder is reached");
    met
}

#[test]
fn those_behind_nats_meet_where_the_seeder_sees_them() {
    assert!(meet(behind(&[false, false], false)));
}

#[test]
fn without_a_word_from_the_seeder_they_do_not() {
    assert!(!come_together(behind(&[false, false], false)));
}

#[test]
fn a_port_for_each_destination_cannot_be_guessed() {
    assert!(!meet(behind(&[true, false], false)));
    assert!(!meet(behind(&[true, true], false)));
}

#[test]
fn one_network_is_used_where_the_tracker_sees_one_address() {
    let mut net = behind(&[false, false], true);
    assert!(!meet(behind(&[false, false], true)), "no hairpin");
    net.near = true;
    assert!(meet(net));
}

//! Which addresses of a stranger's may be probed. The link layer asks for each candidate of
//! a blob; what is refused is never sent a datagram.
//!
//! The one rule: a viewer must not be turned into a probe of somebody's inner network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What kinds of address beyond public ones are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// 127.0.0.0/8 and ::1: when the tracker is on this machine.
    pub loopback: bool,
    /// RFC 1918, RFC 4193 and shared addresses: when the tracker is on such a network, or
    /// sees both peers behind the same address.
    pub private: bool,
}

impl Policy {
    /// The policy of a peer whose tracker has this address: who finds the tracker on a
    /// private network meets peers there too.
    #[must_use]
    pub fn for_tracker(tracker: IpAddr) -> Self {
        let kind = kind(tracker);
        Self {
            loopback: kind == Kind::Loopback,
            private: matches!(kind, Kind::Loopback | Kind::Private),
        }
    }

    /// Whether a candidate may be probed.
    #[must_use]
    pub fn admits(self, address: SocketAddr) -> bool {
        if address.port() == 0 {
            return false;
        }
        match kind(address.ip()) {
            Kind::Public => true,
            Kind::Private => self.private,
            Kind::Loopback => self.loopback,
            Kind::Special => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Public,
    Private,
    Loopback,
    Special,
}

fn kind(ip: IpAddr) -> Kind {
    match ip.to_canonical() {
        IpAddr::V4(ip) => kind_v4(ip),
        IpAddr::V6(ip) => kind_v6(ip),
    }
}

/// After the IANA registry of special-purpose IPv4 addresses (RFC 6890).
fn kind_v4(ip: Ipv4Addr) -> Kind {
    let [a, b, c, _] = ip.octets();
    if ip.is_loopback() {
        Kind::Loopback
    } else if ip.is_private() || (a == 100 && (64..128).contains(&b)) {
        Kind::Private
    } else if a == 0
        || a >= 224
        || ip.is_link_local()
        || ip.is_documentation()
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
    {
        Kind::Special
    } else {
        Kind::Public
    }
}

/// After the IANA registry of special-purpose IPv6 addresses: only 2000::/3 is global, and
/// parts of it embed an IPv4 address or are for documentation.
fn kind_v6(ip: Ipv6Addr) -> Kind {
    let [first, second, ..] = ip.segments();
    if ip.is_loopback() {
        Kind::Loopback
    } else if first & 0xfe00 == 0xfc00 {
        Kind::Private
    } else if first & 0xe000 != 0x2000
        || first == 0x2002
        || (first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        || (first == 0x3fff && second < 0x1000)
    {
        Kind::Special
    } else {
        Kind::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 4000)
    }

    #[test]
    fn strangers_addresses_are_public() {
        let public = Policy::default();
        for good in [
            "8.8.8.8",
            "203.0.114.1",
            "100.128.0.1",
            "2a00:1450::1",
            "2620:fe::fe",
        ] {
            assert!(public.admits(at(good)), "{good}");
        }
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.1.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:192.168.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public.admits(at(bad)), "{bad}");
        }
    }

    #[test]
    fn local_swarms_use_local_addresses() {
        let local = Policy::for_tracker("127.0.0.1".parse().unwrap());
        assert!(local.admits(at("127.0.0.1")) && local.admits(at("192.168.1.4")));
        let office = Policy::for_tracker("10.1.2.3".parse().unwrap());
        assert!(office.admits(at("10.9.9.9")) && !office.admits(at("127.0.0.1")));
        assert!(!office.admits(at("169.254.169.254")));
        assert!(!local.admits(SocketAddr::from(([127, 0, 0, 1], 0))));
    }
}

//! Who a request is from, where proxies of the operator's stand before a service. All limits
//! per address ask here.
//!
//! The one rule: what a header says of addresses is believed of a proxy that the operator named,
//! and of nobody else; what cannot be read counts as the proxy's own.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use actix_web::{HttpRequest, http::header::HeaderMap};

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Longer chains of our own proxies than anybody has.
const HOPS_MAX: usize = 32;

/// Addresses with the same beginning: `10.0.0.0/8`, `fd00::/8`, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    /// How many bits are the same.
    prefix: u32,
}

/// Not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it looks like 10.0.0.0/8, fd00::/8 or 192.0.2.7")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| NotANetwork)?;
        let whole = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NotANetwork)?,
            None => whole,
        };
        // An IPv4 network is written as one, or its prefix would mean two things.
        let mapped = base.to_canonical() != base;
        match prefix <= whole && !mapped {
            true => Ok(Self { base, prefix }),
            false => Err(NotANetwork),
        }
    }
}

impl Network {
    /// Whether the address is one of these; one of IPv4 as IPv6 is that of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = match (self.base, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        same >= self.prefix
    }
}

/// The proxies that are believed; by default none. As an application's data
/// (`app_data(proxies)`) it is what [`of`] goes by. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<[Network]>);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address, IPv4 as IPv4. To count by, never to log.
    pub address: IpAddr,
    /// Whether a proxy that is believed named it; else it is that of whoever connected.
    pub named: bool,
}

impl Proxies {
    /// Those with addresses in these networks.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }

    fn believed(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whoever connected, or whom it speaks for.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let told = self.believed(peer).then(|| self.told(headers));
        told.flatten().unwrap_or(Client {
            address: peer.to_canonical(),
            named: false,
        })
    }

    /// Each proxy adds at the right whom it got the request from: the last one who is not ours
    /// is the client, and what stands left of it is the client's own invention.
    fn told(&self, headers: &HeaderMap) -> Option<Client> {
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).collect();
        // What is no text is no address either.
        let lines = lines.into_iter().rev();
        let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut farthest = None;
        for hop in hops.take(HOPS_MAX) {
            let address = address(hop.trim())?.to_canonical();
            let named = !self.believed(address);
            farthest = Some(Client { address, named });
            if named {
                break;
            }
        }
        // Where all are ours, somebody of ours asks.
        farthest
    }
}

/// As proxies write it: with a port or without, IPv6 in brackets or without.
fn address(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = hop.parse() {
        return Some(address);
    }
    if let Ok(place) = hop.parse::<SocketAddr>() {
        return Some(place.ip());
    }
    hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Who a request is from, by the [`Proxies`] of its application; `None` only of one that came
/// over no network, as in a test.
#[must_use]
pub fn of(request: &HttpRequest) -> Option<Client> {
    let peer = request.peer_addr()?.ip();
    let nobody = Proxies::default();
    let proxies = request.app_data().unwrap_or(&nobody);
    Some(proxies.client(peer, request.headers()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const OURS: [&str; 3] = ["10.0.0.0/8", "2001:db8:a::/48", "203.0.113.7"];

    /// Who it is, and whether it was named, when our proxies are believed.
    fn of(peer: &str, lines: &[&str]) -> (String, bool) {
        let networks = OURS.iter().map(|text| text.parse().expect("a network"));
        let peer = SocketAddr::new(peer.parse().expect("an address"), 4711);
        let mut request = TestRequest::default()
            .peer_addr(peer)
            .app_data(Proxies::new(networks.collect()));
        for line in lines {
            request = request.append_header((FORWARDED_FOR, *line));
        }
        let client = super::of(&request.to_http_request()).expect("it has a peer");
        (client.address.to_string(), client.named)
    }

    fn named(address: &str) -> (String, bool) {
        (address.to_owned(), true)
    }

    fn peer(address: &str) -> (String, bool) {
        (address.to_owned(), false)
    }

    #[test]
    fn a_stranger_is_whoever_connects_whatever_it_says() {
        let spoofed = ["198.51.100.1"];
        assert_eq!(of("198.51.100.9", &spoofed), peer("198.51.100.9"));
        assert_eq!(of("11.0.0.1", &spoofed), peer("11.0.0.1"));
        assert_eq!(of("2001:db8:b::1", &spoofed), peer("2001:db8:b::1"));
        // One address is not its network.
        assert_eq!(of("203.0.113.8", &spoofed), peer("203.0.113.8"));
    }

    #[test]
    fn without_a_word_of_the_operator_nobody_is_believed() {
        let request = TestRequest::default()
            .peer_addr(([10, 0, 0, 1], 1).into())
            .insert_header((FORWARDED_FOR, "198.51.100.1"))
            .to_http_request();
        let client = super::of(&request).expect("it has a peer");
        assert_eq!(client.address, IpAddr::from([10, 0, 0, 1]));
        assert!(super::of(&TestRequest::default().to_http_request()).is_none());
    }

    #[test]
    fn our_proxy_names_the_viewer() {
        assert_eq!(of("10.1.2.3", &["198.51.100.1"]), named("198.51.100.1"));
        assert_eq!(
            of("::ffff:10.1.2.3", &["198.51.100.1"]),
            named("198.51.100.1")
        );
        assert_eq!(
            of("2001:db8:a:1::1", &["2001:db8:b::2"]),
            named("2001:db8:b::2")
        );
        for written in ["198.51.100.1:55", "::ffff:198.51.100.1"] {
            assert_eq!(of("10.1.2.3", &[written]), named("198.51.100.1"));
        }
        for written in ["[2001:db8:b::2]", "[2001:db8:b::2]:55", "2001:DB8:B:0::2"] {
            assert_eq!(of("10.1.2.3", &[written]), named("2001:db8:b::2"));
        }
    }

    #[test]
    fn of_a_chain_the_last_who_is_not_ours_is_the_viewer() {
        let chain = "1.1.1.1, 198.51.100.1,203.0.113.7 , 10.9.9.9";
        assert_eq!(of("10.1.2.3", &[chain]), named("198.51.100.1"));
        // Lines are one list, in their order.
        let lines = ["1.1.1.1, 198.51.100.1", "203.0.113.7", "10.9.9.9"];
        assert_eq!(of("10.1.2.3", &lines), named("198.51.100.1"));
        let ours = "10.3.3.3, 10.4.4.4";
        assert_eq!(of("10.1.2.3", &[ours]), peer("10.3.3.3"));
    }

    #[test]
    fn what_cannot_be_read_counts_as_the_proxys_own() {
        for garbage in [
            "",
            " ",
            "unknown",
            "_hidden",
            "198.51.100.1.2",
            "198.51.100.1,",
            "198.51.100.1, x",
            "[::1",
            "fe80::1%eth0",
            "1.2.3.4:99999",
        ] {
            assert_eq!(of("10.1.2.3", &[garbage]), peer("10.1.2.3"), "{garbage:?}");
        }
        assert_eq!(of("10.1.2.3", &[]), peer("10.1.2.3"));
        // But nobody hides behind the proxy by what it says itself.
        let invented = "garbage, 198.51.100.1";
        assert_eq!(of("10.1.2.3", &[invented]), named("198.51.100.1"));
    }

    #[test]
    fn a_long_line_costs_little() {
        let long = vec!["10.0.0.1"; 10_000].join(",");
        assert_eq!(of("10.1.2.3", &[&long]), peer("10.0.0.1"));
    }

    #[test]
    fn networks_are_read_and_hold_their_addresses() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(contains("0.0.0.0/0", "198.51.100.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "2001:db8::1") && !contains("::/0", "::ffff:198.51.100.1"));
        assert!(contains("172.16.0.0/12", "172.31.255.255"));
        assert!(!contains("172.16.0.0/12", "172.32.0.0"));
        assert!(contains("fc00::/7", "fdff::1") && !contains("fc00::/7", "fe00::1"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        for wrong in [
            "",
            "/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10/8",
            "example.org",
            "::ffff:10.0.0.0/104",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork), "{wrong}");
        }
    }
}

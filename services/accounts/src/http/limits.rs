//! How often strangers may ask for what is dear: by address, by network, by account. The one
//! rule: what is refused here has cost nothing yet.

use std::{net::IpAddr, time::Instant};

use actix_web::HttpRequest;

use super::rates::Rates;
use crate::{Error, email::Email};

/// Viewers behind one address may all come at once, a household or a load test, and then as a
/// crowd's members come and go.
const TICKETS: (f64, f64) = (600.0, 20.0);
/// In which the attempts of an address come back.
const REFILL_S: f64 = 600.0;
/// A network (an IPv4 /24, an IPv6 /48) has as many as ten addresses.
const NETWORK: f64 = 10.0;
/// For one account, from wherever it is tried: more slips than anybody makes, then one in half
/// a minute. A guesser of a good password needs longer than there are people.
const GUESSES: (f64, f64) = (20.0, 1.0 / 30.0);

/// The buckets of this process. A restart forgives.
pub(crate) struct Limits {
    tickets: Rates,
    attempts: Rates,
    networks: Rates,
    guesses: Rates,
}

impl Limits {
    /// With so many attempts at once from an address, and so many again in ten minutes.
    pub(crate) fn with_attempts(burst: f64) -> Self {
        let per_second = burst / REFILL_S;
        Self {
            tickets: Rates::new(TICKETS.0, TICKETS.1),
            attempts: Rates::new(burst, per_second),
            networks: Rates::new(burst * NETWORK, per_second * NETWORK),
            guesses: Rates::new(GUESSES.0, GUESSES.1),
        }
    }

    /// A ticket for this address.
    pub(crate) fn ticket(&self, request: &HttpRequest) -> bool {
        self.tickets.allow(counted(request).0, Instant::now())
    }

    /// Something that costs a hash or a mail.
    ///
    /// # Errors
    /// [`Error::TooOften`].
    pub(crate) fn attempt(&self, request: &HttpRequest) -> Result<(), Error> {
        let (address, network) = counted(request);
        let now = Instant::now();
        match self.attempts.allow(address, now) && self.networks.allow(network, now) {
            true => Ok(()),
            false => Err(Error::TooOften),
        }
    }

    /// A guess at the password of this mailbox, whether or not it has an account.
    ///
    /// # Errors
    /// [`Error::TooOften`].
    pub(crate) fn guess(&self, email: &str) -> Result<(), Error> {
        let Ok(email) = Email::parse(email) else {
            return Ok(());
        };
        let hash = blake3::hash(email.key().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        match self
            .guesses
            .allow(u128::from_be_bytes(short), Instant::now())
        {
            true => Ok(()),
            false => Err(Error::TooOften),
        }
    }
}

/// The address that limits count, and its network: the whole of an IPv4 one and its /24; of
/// IPv6 the network that one subscriber has, and the one that its site has. Never logged.
fn counted(request: &HttpRequest) -> (u128, u128) {
    let client = boot::client::of(request);
    client.map_or((0, 0), |client| match client.address {
        IpAddr::V4(address) => {
            let bits = u128::from(address.to_bits());
            (bits, bits >> 8 << 8 | 1 << 64)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64 << 64, bits >> 80 << 80 | 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const ATTEMPTS: u32 = 60;

    fn from(address: &str) -> HttpRequest {
        let address = format!("{address}:1").parse().expect("an address");
        TestRequest::default().peer_addr(address).to_http_request()
    }

    #[test]
    fn an_address_and_its_network_are_bounded() {
        let limits = Limits::with_attempts(f64::from(ATTEMPTS));
        let granted = (0..1000).filter(|_| limits.attempt(&from("192.0.2.1")).is_ok());
        assert_eq!(granted.count(), ATTEMPTS as usize);
        let mut all = 0;
        for last in 2..100 {
            let from = from(&format!("192.0.2.{last}"));
            all += (0..ATTEMPTS)
                .filter(|_| limits.attempt(&from).is_ok())
                .count();
        }
        assert!(all <= (f64::from(ATTEMPTS) * NETWORK) as usize, "{all}");
        assert!(limits.attempt(&from("198.51.100.1")).is_ok());
    }

    #[test]
    fn viewers_behind_a_believed_proxy_are_counted_apart() {
        let limits = Limits::with_attempts(1.0);
        let ours = "10.0.0.0/8".parse().expect("a network");
        let by = |proxy: [u8; 4], viewer: &str| {
            let request = TestRequest::default()
                .app_data(boot::client::Proxies::new(vec![ours]))
                .peer_addr((proxy, 1).into())
                .insert_header(("x-forwarded-for", viewer));
            limits.attempt(&request.to_http_request()).is_ok()
        };
        assert!(by([10, 0, 0, 1], "192.0.2.1") && by([10, 0, 0, 1], "198.51.100.1"));
        // By whichever proxy one comes.
        assert!(!by([10, 0, 0, 2], "192.0.2.1"));
        // And a stranger is itself, however many it says that it is.
        assert!(by([203, 0, 113, 1], "192.0.2.7") && !by([203, 0, 113, 1], "192.0.2.8"));
    }

    #[test]
    fn an_accounts_password_is_guessed_at_a_bounded_rate() {
        let limits = Limits::with_attempts(f64::from(ATTEMPTS));
        let granted = |email| (0..100).filter(|_| limits.guess(email).is_ok()).count();
        assert_eq!(granted("ann@mail.example"), GUESSES.0 as usize);
        assert_eq!(granted("ANN@mail.example"), 0);
        assert_eq!(granted("bob@mail.example"), GUESSES.0 as usize);
    }
}

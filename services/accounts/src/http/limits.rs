//! How often strangers may ask for what is dear: by address, by network, by account. The one
//! rule: what is refused here has cost nothing yet.

use std::net::IpAddr;

use actix_web::HttpRequest;
use presence::{Presence, Rate};

use crate::{Error, email::Email};

/// Viewers behind one address may all come at once, a household or a load test, and then as a
/// crowd's members come and go.
const TICKETS: Rate = Rate {
    burst: 600.0,
    per_second: 20.0,
};
/// In which the attempts of an address come back.
const REFILL_S: f64 = 600.0;
/// A network (an IPv4 /24, an IPv6 /48) has as many as ten addresses.
const NETWORK: f64 = 10.0;
/// For one account, from wherever it is tried: more slips than anybody makes, then one in half
/// a minute. A guesser of a good password needs longer than there are people.
const GUESSES: Rate = Rate {
    burst: 20.0,
    per_second: 1.0 / 30.0,
};

/// What all instances of accounts count together, if they share a store.
pub(crate) struct Limits {
    presence: Presence,
    attempts: Rate,
    networks: Rate,
    /// Of which stand in the store neither addresses nor mailboxes, but what only accounts can
    /// make of them.
    secret: [u8; 32],
}

impl Limits {
    /// With so many attempts at once from an address, and so many again in ten minutes. `key` is
    /// a secret that all instances have.
    pub(crate) fn new(burst: f64, presence: Presence, key: &[u8; 32]) -> Self {
        let of = |burst: f64| Rate {
            burst,
            per_second: burst / REFILL_S,
        };
        Self {
            presence,
            attempts: of(burst),
            networks: of(burst * NETWORK),
            secret: blake3::derive_key("livestation 2026 who is counted", key),
        }
    }

    /// A ticket for this address.
    pub(crate) async fn ticket(&self, request: &HttpRequest) -> bool {
        let (address, _) = counted(request);
        self.allow("tickets", TICKETS, &address.to_be_bytes()).await
    }

    /// Something that costs a hash or a mail.
    ///
    /// # Errors
    /// [`Error::TooOften`].
    pub(crate) async fn attempt(&self, request: &HttpRequest) -> Result<(), Error> {
        let (address, network) = counted(request);
        let (address, network) = (address.to_be_bytes(), network.to_be_bytes());
        let allowed = self.allow("attempts", self.attempts, &address).await
            && self.allow("networks", self.networks, &network).await;
        match allowed {
            true => Ok(()),
            false => Err(Error::TooOften),
        }
    }

    /// A guess at the password of this mailbox, whether or not it has an account.
    ///
    /// # Errors
    /// [`Error::TooOften`].
    pub(crate) async fn guess(&self, email: &str) -> Result<(), Error> {
        let Ok(email) = Email::parse(email) else {
            return Ok(());
        };
        match self.allow("guesses", GUESSES, email.key().as_bytes()).await {
            true => Ok(()),
            false => Err(Error::TooOften),
        }
    }

    async fn allow(&self, limit: &'static str, rate: Rate, whom: &[u8]) -> bool {
        let hash = blake3::keyed_hash(&self.secret, whom);
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        let whom = u128::from_be_bytes(short);
        self.presence.allow(limit, rate, whom).await
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

    const ATTEMPTS: usize = 60;

    fn limits(burst: usize) -> Limits {
        Limits::new(burst as f64, Presence::in_process(), &[7; 32])
    }

    fn from(address: &str) -> HttpRequest {
        let address = format!("{address}:1").parse().expect("an address");
        TestRequest::default().peer_addr(address).to_http_request()
    }

    async fn granted(limits: &Limits, address: &str, asked: usize) -> usize {
        let (request, mut granted) = (from(address), 0);
        for _ in 0..asked {
            granted += usize::from(limits.attempt(&request).await.is_ok());
        }
        granted
    }

    #[tokio::test]
    async fn an_address_and_its_network_are_bounded() {
        let limits = limits(ATTEMPTS);
        assert_eq!(granted(&limits, "192.0.2.1", 1000).await, ATTEMPTS);
        let mut all = 0;
        for last in 2..100 {
            all += granted(&limits, &format!("192.0.2.{last}"), ATTEMPTS).await;
        }
        assert!(all <= ATTEMPTS * NETWORK as usize, "{all}");
        assert_eq!(granted(&limits, "198.51.100.1", 1).await, 1);
    }

    #[tokio::test]
    async fn viewers_behind_a_believed_proxy_are_counted_apart() {
        let limits = limits(1);
        let ours = "10.0.0.0/8".parse().expect("a network");
        let by = async |proxy: [u8; 4], viewer: &str| {
            let request = TestRequest::default()
                .app_data(boot::client::Proxies::new(vec![ours]))
                .peer_addr((proxy, 1).into())
                .insert_header(("x-forwarded-for", viewer));
            limits.attempt(&request.to_http_request()).await.is_ok()
        };
        assert!(by([10, 0, 0, 1], "192.0.2.1").await);
        assert!(by([10, 0, 0, 1], "198.51.100.1").await);
        // By whichever proxy one comes.
        assert!(!by([10, 0, 0, 2], "192.0.2.1").await);
        // And a stranger is itself, however many it says that it is.
        assert!(by([203, 0, 113, 1], "192.0.2.7").await);
        assert!(!by([203, 0, 113, 1], "192.0.2.8").await);
    }

    #[tokio::test]
    async fn an_accounts_password_is_guessed_at_a_bounded_rate() {
        let limits = limits(ATTEMPTS);
        let granted = async |email: &str| {
            let mut granted = 0;
            for _ in 0..100 {
                granted += usize::from(limits.guess(email).await.is_ok());
            }
            granted
        };
        let most = GUESSES.burst as usize;
        assert_eq!(granted("ann@mail.example").await, most);
        assert_eq!(granted("ANN@mail.example").await, 0);
        assert_eq!(granted("bob@mail.example").await, most);
    }
}

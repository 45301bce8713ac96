//! Proof that a caller is where it says, without remembering it before.

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    time::{Duration, Instant},
};

/// A cookie is good in the period it was made in and in the next.
const PERIOD: Duration = Duration::from_secs(60);

/// Makes and knows cookies.
pub(super) struct Cookies {
    /// Its key is random, so that nobody else makes them.
    hasher: RandomState,
    started: Instant,
}

impl Cookies {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            started: Instant::now(),
        }
    }

    pub(super) fn make(&self, address: SocketAddr, now: Instant) -> u32 {
        self.of(address, self.period(now))
    }

    pub(super) fn is_good(&self, cookie: u32, address: SocketAddr, now: Instant) -> bool {
        let period = self.period(now);
        let made_in = [period, period.wrapping_sub(1)];
        made_in
            .iter()
            .any(|period| self.of(address, *period) == cookie)
    }

    fn period(&self, now: Instant) -> u64 {
        (now - self.started).as_secs() / PERIOD.as_secs()
    }

    fn of(&self, address: SocketAddr, period: u64) -> u32 {
        self.hasher.hash_one((address, period)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_address_and_for_a_while() {
        let cookies = Cookies::new();
        let here = SocketAddr::from(([192, 0, 2, 1], 1000));
        let next_door = SocketAddr::from(([192, 0, 2, 1], 1001));
        let cookie = cookies.make(here, cookies.started);
        let good = |address, after| cookies.is_good(cookie, address, cookies.started + after);
        assert!(good(here, Duration::ZERO) && good(here, PERIOD));
        assert!(!good(next_door, Duration::ZERO));
        assert!(!good(here, 2 * PERIOD));
        assert_ne!(cookie, Cookies::new().make(here, cookies.started));
    }
}

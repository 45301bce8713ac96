//! How many sessions there are, in all and by address. A place is given back by dropping
//! it. Addresses are keys here and appear nowhere else.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::Limits;

/// The count.
pub(crate) struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
    /// Random: what swarms are told of addresses leads back to none.
    origins: RandomState,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<u128, usize>,
}

/// One session's place.
pub(crate) struct Place {
    places: Arc<Places>,
    key: u128,
    public: bool,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// This address has all that one may have.
    Address,
    /// All are taken.
    All,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
            origins: RandomState::new(),
        })
    }

    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let key = key(address);
        let mut taken = self.taken();
        if taken.all >= self.limits.sessions {
            return Err(Full::All);
        }
        let here = taken.by_address.entry(key).or_default();
        if *here >= self.limits.sessions_per_address {
            return Err(Full::Address);
        }
        *here += 1;
        taken.all += 1;
        Ok(Place {
            places: Arc::clone(self),
            key,
            public: is_public(address),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The same for all at one address. None where that says nothing: on a network of our
    /// own, where a proxy may stand before everybody.
    pub(crate) fn origin(&self) -> Option<u64> {
        self.public.then(|| self.places.origins.hash_one(self.key))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.key) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.key);
            }
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let inner = address.is_private() || address.is_loopback() || address.is_link_local();
            !(shared || inner)
        }
        IpAddr::V6(address) => {
            let inner = address.is_unique_local() || address.is_unicast_link_local();
            !(inner || address.is_loopback())
        }
    }
}

/// Of IPv6 the network that one subscriber has.
fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_taken_is_given_back() {
        let places = Places::new(Limits {
            sessions: 3,
            sessions_per_address: 2,
            ..Limits::default()
        });
        let [a, b] = [IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2])];
        let first = places.take(a);
        let second = places.take(a);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(places.take(a).err(), Some(Full::Address));
        let third = places.take(b);
        assert!(third.is_ok());
        assert_eq!(places.take(b).err(), Some(Full::All));
        drop((first, second, third));
        assert_eq!(places.taken().all, 0);
        assert!(places.taken().by_address.is_empty());
    }

    #[test]
    fn those_at_one_public_address_have_one_origin() {
        let places = Places::new(Limits::default());
        let origin = |address: [u8; 4]| places.take(address.into()).unwrap().origin();
        assert!(origin([9, 1, 1, 1]).is_some());
        assert_eq!(origin([9, 1, 1, 1]), origin([9, 1, 1, 1]));
        assert_ne!(origin([9, 1, 1, 1]), origin([9, 1, 1, 2]));
        assert_eq!(origin([127, 0, 0, 1]), None);
        assert_eq!(origin([10, 0, 0, 1]), None);
        assert_eq!(origin([100, 64, 0, 1]), None);
    }

    #[test]
    fn one_subscribers_network_counts_as_one() {
        let near = "2001:db8::1".parse().map(key);
        let far = "2001:db8:0:1::1".parse().map(key);
        assert_eq!(near, "2001:db8::ffff:2".parse().map(key));
        assert_ne!(near, far);
        assert_eq!(
            "::ffff:1.2.3.4".parse().map(key),
            "1.2.3.4".parse().map(key)
        );
    }
}

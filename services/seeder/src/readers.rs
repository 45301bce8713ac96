//! How many progressive readers each address has. Asked by the HTTP side; a place is given
//! back by dropping it. Addresses are keys here and appear nowhere else.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::metrics;

/// Readers of one address: a household's players, not all places of a channel.
const MAX_PER_ADDRESS: usize = 16;

/// The count.
#[derive(Clone, Default)]
pub(crate) struct Readers(Arc<Mutex<HashMap<u128, usize>>>);

/// One reader's place.
pub(crate) struct Place {
    readers: Readers,
    key: Option<u128>,
    _level: boot::metrics::Level,
}

impl Readers {
    /// `None` when the address has all that one may have. Loopback, where a proxy in front
    /// connects from that names nobody, is not counted: it speaks for everybody.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let key = (!address.is_loopback()).then(|| key(address));
        if let Some(key) = key {
            let mut taken = self.lock();
            let here = taken.entry(key).or_default();
            if *here >= MAX_PER_ADDRESS {
                return None;
            }
            *here += 1;
        }
        Some(Place {
            readers: self.clone(),
            key,
            _level: metrics::reader(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let mut taken = self.readers.lock();
        if let Some(here) = taken.get_mut(&key) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&key);
            }
        }
    }
}

/// Of IPv6 the network that one subscriber has.
fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gives_them_back() {
        let readers = Readers::default();
        let [one, other] = [IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2])];
        let mut places: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| readers.take(one)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(readers.take(one).is_none());
        assert!(readers.take(other).is_some());
        places.pop();
        places.push(readers.take(one));
        assert!(places.iter().all(Option::is_some));
        drop(places);
        assert!(readers.lock().is_empty());
    }

    #[test]
    fn a_proxy_on_this_machine_is_not_counted() {
        let readers = Readers::default();
        let proxy = IpAddr::from([127, 0, 0, 1]);
        let places: Vec<_> = (0..100).map(|_| readers.take(proxy)).collect();
        assert!(places.iter().all(Option::is_some) && readers.lock().is_empty());
    }
}

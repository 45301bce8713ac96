//! Who may come in: broadcasters, strangers in all and per address, wrong keys per address.
//!
//! The one rule: what is remembered of addresses is bounded, and never logged.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::Limits;

/// The door.
pub(crate) struct Gate {
    limits: Limits,
    book: Arc<Mutex<Book>>,
}

/// Someone who came in; leaves when dropped.
pub(crate) struct Visitor {
    block: IpAddr,
    book: Arc<Mutex<Book>>,
    stranger: bool,
}

#[derive(Default)]
struct Book {
    broadcasters: usize,
    strangers: usize,
    blocks: BTreeMap<IpAddr, Block>,
    last_warning: Option<Instant>,
    unsaid: u64,
}

#[derive(Default)]
struct Block {
    strangers: usize,
    wrong_keys: usize,
    /// When the minute began in which the wrong keys came.
    since: Option<Instant>,
}

const MINUTE: Duration = Duration::from_secs(60);
/// Address blocks remembered for their wrong keys.
const MAX_BLOCKS: usize = 8192;
/// Wrong keys are warned of at most this often.
const WARNING_EVERY: Duration = Duration::from_secs(1);

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            book: Arc::default(),
        }
    }

    /// Lets a connection in, unless there are too many.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Visitor> {
        let block = block_of(address);
        let mut book = lock(&self.book);
        if book.strangers >= self.limits.strangers {
            return None;
        }
        let entry = book.blocks.entry(block).or_default();
        if entry.strangers >= self.limits.strangers_per_address {
            return None;
        }
        entry.strangers += 1;
        book.strangers += 1;
        Some(Visitor {
            block,
            book: self.book.clone(),
            stranger: true,
        })
    }

    /// Makes a stranger, who has shown a key, a broadcaster; `false` when there are too many.
    pub(crate) fn admit(&self, visitor: &mut Visitor) -> bool {
        let mut book = lock(&self.book);
        if book.broadcasters >= self.limits.broadcasters {
            return false;
        }
        if std::mem::replace(&mut visitor.stranger, false) {
            book.remove_stranger(visitor.block);
            book.broadcasters += 1;
        }
        true
    }

    /// Whether the visitor's address may still try keys.
    pub(crate) fn may_try(&self, visitor: &Visitor) -> bool {
        let book = lock(&self.book);
        let block = book.blocks.get(&visitor.block);
        block.is_none_or(|block| {
            block.wrong_keys_at(Instant::now()) < self.limits.wrong_keys_per_minute
        })
    }

    /// Counts a wrong key; says how many there were since the last warning, when it is
    /// time for one.
    pub(crate) fn on_wrong_key(&self, visitor: &Visitor) -> Option<u64> {
        let now = Instant::now();
        let mut book = lock(&self.book);
        book.forget(now);
        let block = book.blocks.entry(visitor.block).or_default();
        block.wrong_keys = block.wrong_keys_at(now) + 1;
        if block.wrong_keys == 1 {
            block.since = Some(now);
        }
        book.unsaid += 1;
        let due = book
            .last_warning
            .is_none_or(|last| now - last >= WARNING_EVERY);
        due.then(|| {
            book.last_warning = Some(now);
            std::mem::take(&mut book.unsaid)
        })
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut book = lock(&self.book);
        if self.stranger {
            book.remove_stranger(self.block);
        } else {
            book.broadcasters -= 1;
        }
    }
}

impl Book {
    fn remove_stranger(&mut self, block: IpAddr) {
        self.strangers -= 1;
        if let Some(entry) = self.blocks.get_mut(&block) {
            entry.strangers -= 1;
            if entry.strangers == 0 && entry.wrong_keys_at(Instant::now()) == 0 {
                self.blocks.remove(&block);
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        if self.blocks.len() < MAX_BLOCKS {
            return;
        }
        self.blocks
            .retain(|_, block| block.strangers > 0 || block.wrong_keys_at(now) > 0);
        if self.blocks.len() >= MAX_BLOCKS {
            self.blocks.retain(|_, block| block.strangers > 0);
        }
    }
}

impl Block {
    fn wrong_keys_at(&self, now: Instant) -> usize {
        match self.since {
            Some(since) if now - since < MINUTE => self.wrong_keys,
            _ => 0,
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One IPv4 address, or the /64 that a subscriber has of IPv6.
fn block_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(broadcasters: usize, strangers: usize, per_address: usize) -> Gate {
        Gate::new(Limits {
            broadcasters,
            strangers,
            strangers_per_address: per_address,
            ..Limits::default()
        })
    }

    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    const NEXT_DOOR: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
    const ELSEWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));

    #[test]
    fn strangers_of_one_address_are_few_and_broadcasters_do_not_count() {
        let gate = gate(10, 10, 2);
        let mut first = gate.enter(HERE).unwrap();
        let second = gate.enter(NEXT_DOOR).unwrap();
        assert!(gate.enter(HERE).is_none());
        assert!(gate.enter(ELSEWHERE).is_some());
        assert!(gate.admit(&mut first));
        assert!(gate.enter(HERE).is_some());
        drop((first, second));
        let book = lock(&gate.book);
        assert!(book.blocks.is_empty());
        assert_eq!((book.strangers, book.broadcasters), (0, 0));
    }

    #[test]
    fn strangers_and_broadcasters_are_bounded_apart() {
        let gate = gate(1, 2, 8);
        let mut first = gate.enter(HERE).unwrap();
        assert!(gate.admit(&mut first));
        let mut second = gate.enter(HERE).unwrap();
        assert!(!gate.admit(&mut second));
        let _third = gate.enter(HERE).unwrap();
        assert!(gate.enter(ELSEWHERE).is_none());
        drop(first);
        assert!(gate.admit(&mut second));
        assert!(gate.enter(ELSEWHERE).is_some());
    }

    #[test]
    fn five_wrong_keys_close_the_door_and_warn_once() {
        let gate = gate(10, 10, 10);
        let visitor = gate.enter(HERE).unwrap();
        let warnings: Vec<_> = (0..5).filter_map(|_| gate.on_wrong_key(&visitor)).collect();
        assert_eq!(warnings, [1]);
        assert!(!gate.may_try(&visitor));
        assert!(gate.may_try(&gate.enter(ELSEWHERE).unwrap()));
    }
}

//! Something for every pair that has it, in order of the pairs: looked up at every message, of
//! millions of pairs, so that each peer has a small map of its own.

use std::collections::BTreeMap;

/// A map from (peer, peer), as a `BTreeMap` would be.
#[derive(Debug)]
pub(crate) struct Pairs<V> {
    of: Vec<BTreeMap<u32, V>>,
}

impl<V> Default for Pairs<V> {
    fn default() -> Self {
        Self { of: Vec::new() }
    }
}

impl<V> Pairs<V> {
    pub(crate) fn get(&self, (one, other): (u32, u32)) -> Option<&V> {
        self.of.get(one as usize)?.get(&other)
    }

    pub(crate) fn get_mut(&mut self, (one, other): (u32, u32)) -> Option<&mut V> {
        self.of.get_mut(one as usize)?.get_mut(&other)
    }

    pub(crate) fn contains(&self, pair: (u32, u32)) -> bool {
        self.get(pair).is_some()
    }

    /// Everyone that a peer has something with, in order.
    pub(crate) fn with(&self, one: u32) -> impl Iterator<Item = (u32, &V)> {
        let of = self.of.get(one as usize).into_iter().flatten();
        of.map(|(other, value)| (*other, value))
    }

    pub(crate) fn insert(&mut self, (one, other): (u32, u32), value: V) {
        self.room(one).insert(other, value);
    }

    pub(crate) fn remove(&mut self, (one, other): (u32, u32)) -> Option<V> {
        self.of.get_mut(one as usize)?.remove(&other)
    }

    /// All pairs in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, u32)> {
        let all = self.of.iter().enumerate();
        all.flat_map(|(one, others)| others.keys().map(move |other| (one as u32, *other)))
    }

    /// Takes out all pairs with this peer in front.
    pub(crate) fn remove_from(&mut self, one: u32) -> BTreeMap<u32, V> {
        let of = self.of.get_mut(one as usize);
        of.map(std::mem::take).unwrap_or_default()
    }

    /// What the pair has, made if it has nothing.
    pub(crate) fn or_default(&mut self, (one, other): (u32, u32)) -> &mut V
    where
        V: Default,
    {
        self.room(one).entry(other).or_default()
    }

    fn room(&mut self, one: u32) -> &mut BTreeMap<u32, V> {
        let at = one as usize;
        if self.of.len() <= at {
            self.of.resize_with(at + 1, BTreeMap::new);
        }
        &mut self.of[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_in_order_and_go_with_their_first() {
        let mut pairs = Pairs::default();
        for pair in [(3, 1), (1, 9), (1, 2), (0, 4)] {
            pairs.insert(pair, pair.1);
        }
        let keys: Vec<(u32, u32)> = pairs.keys().collect();
        assert_eq!(keys, [(0, 4), (1, 2), (1, 9), (3, 1)]);
        assert_eq!(pairs.get((1, 9)), Some(&9));
        assert_eq!(pairs.remove((7, 7)), None);
        assert_eq!(pairs.remove_from(1).len(), 2);
        assert!(!pairs.contains((1, 2)) && pairs.contains((3, 1)));
        *pairs.or_default((8, 8)) += 5;
        assert_eq!(pairs.get_mut((8, 8)), Some(&mut 5));
    }
}

//! Names of things in a swarm.

use std::fmt;

/// A peer's name, chosen by itself at random. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which stripe, from 0; below [`StripeId::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StripeId(u8);

impl StripeId {
    /// Stripes a broadcast can have, since a [`StripeSet`] is 32 bits.
    pub const MAX: u8 = 32;
    /// The one every broadcast has.
    pub const FIRST: Self = Self(0);

    /// `None` at or above [`Self::MAX`].
    #[must_use]
    pub const fn new(index: u8) -> Option<Self> {
        if index < Self::MAX {
            Some(Self(index))
        } else {
            None
        }
    }

    /// All of the first `n`.
    pub fn first(n: u8) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..n.min(Self::MAX)).map(Self)
    }

    /// For indexing by stripe.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// As on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for StripeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Some of the stripes of a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct StripeSet(u32);

impl StripeSet {
    /// None of them.
    pub const EMPTY: Self = Self(0);

    /// As on the wire: bit i stands for stripe i.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// As on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The first `n` stripes.
    #[must_use]
    pub const fn all(n: u8) -> Self {
        if n >= 32 {
            Self(u32::MAX)
        } else {
            Self((1 << n) - 1)
        }
    }

    /// Adds one; whether it was missing.
    pub const fn insert(&mut self, stripe: StripeId) -> bool {
        let bit = 1 << stripe.0;
        let fresh = self.0 & bit == 0;
        self.0 |= bit;
        fresh
    }

    /// Removes one; whether it was there.
    pub const fn remove(&mut self, stripe: StripeId) -> bool {
        let bit = 1 << stripe.0;
        let held = self.0 & bit != 0;
        self.0 &= !bit;
        held
    }

    /// Whether it holds this one.
    #[must_use]
    pub const fn contains(self, stripe: StripeId) -> bool {
        self.0 & (1 << stripe.0) != 0
    }

    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of this that the other lacks.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// In rising order.
    pub fn iter(self) -> impl Iterator<Item = StripeId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let index = rest.trailing_zeros() as u8;
            rest &= rest - 1;
            Some(StripeId(index))
        })
    }
}

impl FromIterator<StripeId> for StripeSet {
    fn from_iter<I: IntoIterator<Item = StripeId>>(stripes: I) -> Self {
        let mut set = Self::EMPTY;
        for stripe in stripes {
            set.insert(stripe);
        }
        set
    }
}

impl fmt::Debug for StripeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(StripeId::get))
            .finish()
    }
}

//! The generations in flight: headers that were checked, pieces that were checked against
//! them, and, bounded, pieces whose header has not come yet.

use std::collections::BTreeMap;

use crate::{Facts, Instant, PeerId, Scheme, StripeId, StripeSet, wire::PieceMessage};

/// Generations kept at most. At 200 ms each 14 s: the longest GOP broadcasters use by default (8 s,
/// OBS's 250 frames) with the play-out delay and room to serve others.
pub(super) const SPAN: u64 = 72;
/// How far ahead of the newest header a piece may be to be held.
const AHEAD: u64 = 16;
/// Pieces held without a header, over all generations, and of one sender: a parent that
/// feeds all stripes is ahead of a header by some generations when that was lost once.
const MAX_HELD: usize = 256;
const MAX_HELD_OF_ONE: usize = 64;

/// The generations in flight.
pub(super) struct Window<S: Scheme> {
    generations: BTreeMap<u64, Generation<S>>,
    held: usize,
    newest: Option<u64>,
    /// Generations below were forgotten before their time.
    base: u64,
}

/// One generation in flight.
pub(super) struct Generation<S: Scheme> {
    header: Option<(S::Header, Facts)>,
    pieces: Vec<Option<S::Piece>>,
    have: StripeSet,
    held: Vec<Held<S::Piece>>,
    /// When the first thing of it came.
    pub(super) seen: Instant,
    /// When it had k pieces.
    pub(super) complete: Option<Instant>,
    /// When its header was last asked for.
    pub(super) asked: Option<Instant>,
}

/// A piece whose header has not come yet.
pub(super) struct Held<P> {
    /// Who sent it.
    pub(super) from: PeerId,
    /// What came.
    pub(super) message: PieceMessage<P>,
}

/// What became of a piece without a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Kept,
    /// Others' fault, or nobody's.
    NoRoom,
    /// Its sender has sent too many of the kind.
    TooMany,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is new.
    Fresh {
        /// With it the generation is whole.
        completes: bool,
    },
    /// It was there already.
    Duplicate,
}

impl<S: Scheme> Default for Window<S> {
    fn default() -> Self {
        Self {
            generations: BTreeMap::new(),
            held: 0,
            newest: None,
            base: 0,
        }
    }
}

impl<S: Scheme> Window<S> {
    /// The newest generation whose header is known.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Generations below this are forgotten.
    pub(super) fn floor(&self) -> u64 {
        let span = self
            .newest
            .map_or(0, |newest| (newest + 1).saturating_sub(SPAN));
        span.max(self.base)
    }

    /// Forgets everything below `sequence`.
    pub(super) fn forget_before(&mut self, sequence: u64) {
        if sequence > self.base {
            self.base = sequence;
            self.forget();
        }
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Generation<S>> {
        self.generations.get(&sequence)
    }

    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Generation<S>> {
        self.generations.get_mut(&sequence)
    }

    /// Generations of a range that anything is known of, in order.
    pub(super) fn range(
        &self,
        range: impl std::ops::RangeBounds<u64>,
    ) -> impl DoubleEndedIterator<Item = (u64, &Generation<S>)> {
        self.generations
            .range(range)
            .map(|(seq, generation)| (*seq, generation))
    }

    /// Whether k pieces of it are there.
    pub(super) fn is_complete(&self, sequence: u64) -> bool {
        self.get(sequence)
            .is_some_and(|generation| generation.complete.is_some())
    }

    /// Takes a checked header in. Returns the pieces that waited for it, or `None` when it
    /// was known or is too old.
    pub(super) fn insert_header(
        &mut self,
        now: Instant,
        header: S::Header,
        facts: Facts,
    ) -> Option<Vec<Held<S::Piece>>> {
        if facts.sequence < self.floor() {
            return None;
        }
        let generation = self
            .generations
            .entry(facts.sequence)
            .or_insert_with(|| Generation::new(now));
        if generation.header.is_some() {
            return None;
        }
        generation.pieces = (0..facts.n).map(|_| None).collect();
        generation.header = Some((header, facts));
        let held = std::mem::take(&mut generation.held);
        self.held -= held.len();
        self.newest = self.newest.max(Some(facts.sequence));
        self.forget();
        Some(held)
    }

    /// Keeps a piece until its header comes, as far as there is room for it.
    pub(super) fn hold(&mut self, now: Instant, held: Held<S::Piece>) -> Hold {
        let sequence = held.message.sequence;
        let too_far = self.newest.is_some_and(|newest| sequence > newest + AHEAD);
        let of_one = self
            .generations
            .values()
            .flat_map(|generation| &generation.held);
        let of_one = of_one.filter(|other| other.from == held.from).count();
        if of_one >= MAX_HELD_OF_ONE {
            return Hold::TooMany;
        }
        if self.held >= MAX_HELD || too_far {
            return Hold::NoRoom;
        }
        let generation = self
            .generations
            .entry(sequence)
            .or_insert_with(|| Generation::new(now));
        let known = |other: &Held<S::Piece>| {
            other.message.stripe == held.message.stripe && other.from == held.from
        };
        if generation.held.iter().any(known) {
            return Hold::NoRoom;
        }
        generation.held.push(held);
        self.held += 1;
        Hold::Kept
    }

    /// Stores a piece that was checked against the header of its generation.
    pub(super) fn store(
        &mut self,
        now: Instant,
        sequence: u64,
        stripe: StripeId,
        piece: S::Piece,
    ) -> Option<Stored> {
        let generation = self.generations.get_mut(&sequence)?;
        let (_, facts) = generation.header.as_ref()?;
        let slot = generation.pieces.get_mut(stripe.index())?;
        if slot.is_some() {
            return Some(Stored::Duplicate);
        }
        *slot = Some(piece);
        generation.have.insert(stripe);
        let completes =
            generation.complete.is_none() && generation.have.len() >= usize::from(facts.k);
        if completes {
            generation.complete = Some(now);
        }
        Some(Stored::Fresh { completes })
    }

    /// The run of whole generations that ends with the newest whole one, as `from..until`.
    pub(super) fn whole_run(&self) -> std::ops::Range<u64> {
        let mut run: Option<std::ops::Range<u64>> = None;
        for (sequence, generation) in self.generations.iter().rev() {
            match (&mut run, generation.complete.is_some()) {
                (None, true) => run = Some(*sequence..sequence + 1),
                (Some(run), true) if *sequence + 1 == run.start => run.start = *sequence,
                (None, false) => {}
                (Some(_), _) => break,
            }
        }
        run.unwrap_or(0..0)
    }

    fn forget(&mut self) {
        let floor = self.floor();
        while let Some(entry) = self.generations.first_entry() {
            if *entry.key() >= floor {
                break;
            }
            self.held -= entry.remove().held.len();
        }
        // Pieces held far above what turned out to be the newest are somebody's invention.
        let ceiling = self.newest.unwrap_or(0) + AHEAD;
        while let Some(entry) = self.generations.last_entry() {
            if *entry.key() <= ceiling {
                break;
            }
            self.held -= entry.remove().held.len();
        }
    }
}

impl<S: Scheme> Generation<S> {
    fn new(now: Instant) -> Self {
        Self {
            header: None,
            pieces: Vec::new(),
            have: StripeSet::EMPTY,
            held: Vec::new(),
            seen: now,
            complete: None,
            asked: None,
        }
    }

    pub(super) fn header(&self) -> Option<&S::Header> {
        self.header.as_ref().map(|(header, _)| header)
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.header.as_ref().map(|(_, facts)| facts)
    }

    pub(super) fn have(&self) -> StripeSet {
        self.have
    }

    pub(super) fn piece(&self, stripe: StripeId) -> Option<&S::Piece> {
        self.pieces.get(stripe.index())?.as_ref()
    }

    pub(super) fn pieces(&self) -> &[Option<S::Piece>] {
        &self.pieces
    }

    /// Somebody who sent a piece of it that still waits for the header.
    pub(super) fn held_from(&self) -> impl Iterator<Item = PeerId> {
        self.held.iter().map(|held| held.from)
    }
}

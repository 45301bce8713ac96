//! The player every viewer runs: a generation is due at its ingest stamp + D; one that
//! cannot be decoded then is a stall, after which playing goes on at the next keyframe that
//! is whole, and never slips later for good. What the broadcaster made late is played late.
//!
//! In a stall the picture stands from when the next generation should have been shown.
//!
//! Who begins or goes on does not wait for a keyframe to be due: it plays one that is whole
//! at once, and what follows slower, until it is D behind (`playout/begin.rs`).

use std::time::Duration;

use stripe::Flags;

use super::{arrival::Arrival, clock::WallClock, window::Window};
use crate::{Instant, Scheme};

mod begin;

/// After a stall, a keyframe that is due so soon is a better beginning than the one before
/// it, which is due.
const SOON: Duration = Duration::from_millis(1000);
/// The pace of who is not yet D behind: adaptive play-out keeps speech and motion pleasant
/// down to three quarters (Kalman, Steinbach, Girod, "Adaptive media playout for low-delay
/// video streaming", 2004).
const SLOW: f64 = 0.75;
/// The picture stands for so many generations, and nothing new is known of: a stall too.
const UNHEARD: u32 = 2;
/// A picture that stood longer than this while playing slower sets the pace anew.
const LATE: Duration = Duration::from_millis(30);

/// Where the player stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Gathers what it needs to begin.
    Starting,
    /// This generation comes next.
    Playing(u64),
    /// This one was missed; since when the picture stands.
    Stalled(u64, Instant),
    /// Played to the end.
    Ended,
}

/// The player.
#[derive(Debug)]
pub(super) struct Playout {
    phase: Phase,
    /// The newest generation there was when the peer came: no push brings what is older.
    joined: Option<u64>,
    /// The last one released.
    last: Option<Flags>,
    /// When it was due.
    last_due: Option<Instant>,
    /// Whole, and it did not decode: it never will.
    spoilt: Option<u64>,
    /// Since when it has had a parent.
    placed_since: Option<Instant>,
    /// Of what is new, also while nothing is played.
    arrival: Arrival,
    /// While it plays slower: since when, and the ingest stamp it began with.
    slow: Option<(Instant, u64)>,
}

/// What is to be expected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    /// From one generation to the next.
    pub(super) interval: Duration,
    /// Pieces of the past that partners send, a second.
    pub(super) fetched_per_s: f64,
    /// A parent has taken the peer on: from here on the trees bring what is new.
    pub(super) placed: bool,
    /// Parents have taken it on in as many stripes as a generation needs.
    pub(super) carried: bool,
}

/// What the player decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Release this one.
    Release {
        sequence: u64,
        /// Released to begin, or to go on after a stall; when due long ago, it is not
        /// played for itself.
        pre_roll: bool,
        /// Does not continue the one before.
        discontinuity: bool,
    },
    /// This one is missing.
    Stall { sequence: u64 },
    /// Going on after so long, so many generations later.
    Resume { after: Duration, skipped: u64 },
    /// Over.
    End,
}

impl Default for Playout {
    fn default() -> Self {
        Self {
            phase: Phase::Starting,
            joined: None,
            last: None,
            last_due: None,
            spoilt: None,
            placed_since: None,
            arrival: Arrival::default(),
            slow: None,
        }
    }
}

impl Playout {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The broadcaster is away: nothing is due until the broadcast goes on.
    pub(super) fn paused(&self) -> bool {
        self.last.is_some_and(|flags| flags.has(Flags::PAUSE))
    }

    /// The newest generation there was when the peer came.
    pub(super) fn joined(&self) -> Option<u64> {
        self.joined
    }

    /// What is new became whole so long after its ingest stamp.
    pub(super) fn on_arrival(&mut self, after: Duration) {
        self.arrival.add(after);
    }

    /// A released generation did not decode: as if it had been missing.
    pub(super) fn on_undecodable(&mut self, now: Instant, sequence: u64) {
        self.spoilt = Some(sequence);
        self.phase = Phase::Stalled(sequence, now);
    }

    /// Decides what is to be done now. Call until it decides nothing.
    pub(super) fn poll<S: Scheme>(
        &mut self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        outlook: Outlook,
    ) -> Vec<Decision> {
        if outlook.placed {
            self.placed_since.get_or_insert(now);
        }
        if self.joined.is_none() || !outlook.placed && self.phase == Phase::Starting {
            self.joined = window.newest();
        }
        match self.phase {
            Phase::Starting => self.begin(now, window, clock, outlook, 0),
            Phase::Playing(next) => self.play(now, window, clock, outlook, next),
            Phase::Stalled(missed, at) => {
                let mut decisions = self.go_on(now, window, clock, missed);
                if decisions.is_empty() {
                    decisions = self.begin(now, window, clock, outlook, missed + 1);
                }
                let skipped = match decisions.first() {
                    Some(Decision::Release { sequence, .. }) => Some(sequence - missed),
                    Some(_) => Some(0),
                    None => None,
                };
                if let Some(skipped) = skipped {
                    let after = now.since(at);
                    decisions.insert(0, Decision::Resume { after, skipped });
                }
                decisions
            }
            Phase::Ended => Vec::new(),
        }
    }

    /// When something will be due; `None` while nothing is known to come.
    pub(super) fn next<S: Scheme>(&self, window: &Window<S>, clock: &WallClock) -> Option<Instant> {
        match self.phase {
            Phase::Playing(next) => window.range(next..).find_map(|(sequence, generation)| {
                let facts = generation.facts()?;
                if generation.complete.is_some() && sequence == next {
                    self.release_at(facts, clock)
                } else {
                    due(facts, clock)
                }
            }),
            // Beginning depends on arrivals; the keyframe that comes due is met by ticks.
            _ => None,
        }
    }

    /// The first generation the player still needs, given that it would begin now.
    pub(super) fn needs_from<S: Scheme>(
        &self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
    ) -> Option<u64> {
        match self.phase {
            Phase::Playing(next) => Some(next),
            Phase::Starting => entry(None, window, clock, 0),
            Phase::Stalled(missed, _) => {
                let facts = window.get(missed).and_then(|generation| generation.facts());
                let due = facts.and_then(|facts| due(facts, clock));
                let in_time = self.spoilt != Some(missed) && due.is_some_and(|due| due >= now);
                match in_time {
                    true => Some(missed),
                    false => entry(Some(now + SOON), window, clock, missed + 1),
                }
            }
            Phase::Ended => None,
        }
    }

    /// The first generation that is not due yet, as far as can be told when nothing is known
    /// of it.
    pub(super) fn first_in_time(&self, now: Instant, interval: Duration) -> Option<u64> {
        let (Phase::Playing(next) | Phase::Stalled(next, _)) = self.phase else {
            return None;
        };
        // Nothing was made while the broadcaster was away.
        let since = now
            .since(self.last_due.filter(|_| !self.paused())?)
            .as_secs_f64();
        Some(next + (since / interval.as_secs_f64().max(0.001)) as u64)
    }

    /// When a generation that is there is released: when it is due, or sooner for who has
    /// just begun.
    fn release_at(&self, facts: &crate::Facts, clock: &WallClock) -> Option<Instant> {
        let due = due(facts, clock)?;
        let Some((since, stamp_us)) = self.slow else {
            return Some(due);
        };
        let media = Duration::from_micros(facts.ingest_stamp_us.saturating_sub(stamp_us));
        Some(due.min(since + media.div_f64(SLOW)))
    }

    fn play<S: Scheme>(
        &mut self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        outlook: Outlook,
        next: u64,
    ) -> Vec<Decision> {
        let stands = self
            .last_due
            .map_or(now, |due| due + outlook.interval)
            .min(now);
        let Some((sequence, facts, whole)) = window.range(next..).find_map(|(seq, generation)| {
            Some((seq, generation.facts()?, generation.complete.is_some()))
        }) else {
            if self.paused() || now.since(stands) < outlook.interval * UNHEARD {
                return Vec::new();
            }
            self.phase = Phase::Stalled(next, stands);
            return vec![Decision::Stall { sequence: next }];
        };
        let there = whole && sequence == next;
        let (Some(at), Some(due)) = (self.release_at(facts, clock), due(facts, clock)) else {
            return Vec::new();
        };
        // While the broadcaster was away nothing was to be shown.
        let stands = if self.paused() { due.min(now) } else { stands };
        // What was forgotten will not come any more.
        let lost = next < window.floor();
        if !lost && now < if there { at } else { due } {
            return Vec::new();
        }
        if due <= now {
            self.slow = None;
        } else if now.since(at) > LATE {
            // It came late for its pace: the next ones are not hurried after it.
            self.slow = Some((now, facts.ingest_stamp_us));
        }
        if sequence == next && facts.flags.has(Flags::END) {
            self.phase = Phase::Ended;
            return vec![Decision::End];
        }
        if sequence != next || !whole {
            self.phase = Phase::Stalled(next, stands);
            return vec![Decision::Stall { sequence: next }];
        }
        self.went(next, window, clock);
        vec![Decision::Release {
            sequence,
            pre_roll: false,
            discontinuity: false,
        }]
    }

    /// What was missed came after all, since it was made late and not brought late: nothing
    /// is skipped.
    fn go_on<S: Scheme>(
        &mut self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        missed: u64,
    ) -> Vec<Decision> {
        let generation = window.get(missed);
        let whole = generation.filter(|generation| generation.complete.is_some());
        let Some(facts) = whole.and_then(|generation| generation.facts()) else {
            return Vec::new();
        };
        let late = due(facts, clock).is_none_or(|due| due < now);
        if late || self.spoilt == Some(missed) {
            return Vec::new();
        }
        if facts.flags.has(Flags::END) {
            self.phase = Phase::Ended;
            return vec![Decision::End];
        }
        self.slow = Some((now, facts.ingest_stamp_us));
        self.went(missed, window, clock);
        vec![Decision::Release {
            sequence: missed,
            pre_roll: true,
            discontinuity: false,
        }]
    }

    fn went<S: Scheme>(&mut self, sequence: u64, window: &Window<S>, clock: &WallClock) {
        self.phase = Phase::Playing(sequence + 1);
        let facts = window
            .get(sequence)
            .and_then(|generation| generation.facts());
        self.last = facts.map(|facts| facts.flags);
        self.last_due = facts.and_then(|facts| due(facts, clock));
    }
}

/// The keyframe to begin with: the latest, or the latest that is due by then, or else the
/// first there is.
fn entry<S: Scheme>(
    by: Option<Instant>,
    window: &Window<S>,
    clock: &WallClock,
    from: u64,
) -> Option<u64> {
    let mut entry = None;
    for (sequence, generation) in window.range(from..) {
        let Some(facts) = generation.facts() else {
            continue;
        };
        if !facts.flags.has(Flags::KEYFRAME) {
            continue;
        }
        if let (Some(_), Some(by)) = (entry, by)
            && due(facts, clock)? > by
        {
            break;
        }
        entry = Some(sequence);
    }
    entry
}

/// When a generation is due, on the host's clock.
pub(super) fn due(facts: &crate::Facts, clock: &WallClock) -> Option<Instant> {
    let stamp = clock.local(facts.ingest_stamp_us)?;
    Some(stamp + Duration::from_millis(u64::from(facts.delay_ms)))
}

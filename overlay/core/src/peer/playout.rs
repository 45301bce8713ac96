//! The player every viewer runs: a generation is due at its ingest stamp + D; one that
//! cannot be decoded then is a stall, after which playing goes on at the next keyframe that
//! is whole, and never slips later for good.

use std::time::Duration;

use stripe::Flags;

use super::{clock::WallClock, window::Window};
use crate::{Instant, Scheme};

/// Playing begins when so much of what comes next is whole too: two generations, in whose
/// time the pulls for the rest are answered.
const LEAD: Duration = Duration::from_millis(600);

/// A keyframe that is due so soon is a better beginning than the one before it, unless the
/// tracker tells how much there is to fetch that with.
const SOON: Duration = Duration::from_millis(1000);
/// The least of it: beginning itself takes so long.
const MIN_SOON: Duration = Duration::from_millis(300);
/// From keyframe to keyframe, as broadcasters are told to set it.
const USUAL_GOP: Duration = Duration::from_secs(2);
/// The play-out delay unless the headers say otherwise.
const USUAL_DELAY: Duration = Duration::from_millis(1800);

/// Where the player stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Gathers what it needs to begin.
    Starting,
    /// This generation comes next.
    Playing(u64),
    /// This one was missed, at this time.
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
    soon: Duration,
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
            soon: SOON,
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

    /// How soon a keyframe must be due to be a better beginning than the one before.
    pub(super) fn soon(&self) -> Duration {
        self.soon
    }

    /// So much can be sent to who comes now. When a keyframe is due in `w`, the one before
    /// it is D − w + GOP old, and the media since then take (D − w + GOP) · rate / spare to
    /// fetch: `soon` is the w at which both take as long.
    pub(super) fn on_spare(&mut self, rate_bps: u64, spare_bps: u64) {
        if spare_bps > 0 {
            let share = rate_bps as f64 / spare_bps as f64;
            let soon = (USUAL_DELAY + USUAL_GOP).mul_f64(share / (1.0 + share));
            self.soon = soon.clamp(MIN_SOON, USUAL_DELAY);
        }
    }

    /// A released generation did not decode: as if it had been missing.
    pub(super) fn on_undecodable(&mut self, now: Instant, sequence: u64) {
        self.phase = Phase::Stalled(sequence, now);
    }

    /// Decides what is to be done now. Call until it decides nothing.
    pub(super) fn poll<S: Scheme>(
        &mut self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
    ) -> Vec<Decision> {
        self.joined = self.joined.or(window.newest());
        match self.phase {
            Phase::Starting => self.start(now, window, clock, 0),
            Phase::Playing(next) => self.play(now, window, clock, next),
            Phase::Stalled(missed, at) => {
                let mut decisions = self.start(now, window, clock, missed + 1);
                if let Some(Decision::Release { sequence, .. }) = decisions.first() {
                    let resume = Decision::Resume {
                        after: now.since(at),
                        skipped: sequence - missed,
                    };
                    decisions.insert(0, resume);
                }
                decisions
            }
            Phase::Ended => Vec::new(),
        }
    }

    /// When something will be due; `None` while nothing is known to come.
    pub(super) fn next<S: Scheme>(&self, window: &Window<S>, clock: &WallClock) -> Option<Instant> {
        match self.phase {
            Phase::Playing(next) => window
                .range(next..)
                .find_map(|(_, generation)| due(generation.facts()?, clock)),
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
            Phase::Starting => self.entry(now, window, clock, 0),
            Phase::Stalled(missed, _) => self.entry(now, window, clock, missed + 1),
            Phase::Ended => None,
        }
    }

    /// The keyframe to begin with: the latest that is due, or the next one when it will be
    /// due before the older one's chain could be fetched.
    fn entry<S: Scheme>(
        &self,
        now: Instant,
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
            if entry.is_some() && due(facts, clock)? > now + self.soon {
                break;
            }
            entry = Some(sequence);
        }
        entry
    }

    fn start<S: Scheme>(
        &mut self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        from: u64,
    ) -> Vec<Decision> {
        let mut chain: Option<std::ops::Range<u64>> = None;
        for (sequence, generation) in window.range(from..) {
            let Some(facts) = generation.facts() else {
                chain = None;
                continue;
            };
            if due(facts, clock).is_none_or(|due| due > now) {
                break;
            }
            if facts.flags.has(Flags::END) {
                self.phase = Phase::Ended;
                return vec![Decision::End];
            }
            let whole = generation.complete.is_some();
            chain = match chain {
                _ if whole && facts.flags.has(Flags::KEYFRAME) => Some(sequence..sequence + 1),
                Some(chain) if whole && chain.end == sequence => Some(chain.start..sequence + 1),
                _ => None,
            };
        }
        let Some(chain) = chain else {
            return Vec::new();
        };
        let last = chain.end - 1;
        if !self.has_lead(now, window, clock, chain.end) {
            return Vec::new();
        }
        let decisions = chain
            .clone()
            .map(|sequence| Decision::Release {
                sequence,
                pre_roll: true,
                discontinuity: sequence == chain.start,
            })
            .collect();
        self.went(last, window);
        decisions
    }

    /// Whether what is due next is there already, and with it everything from before the
    /// peer came, so that beginning is not followed by a stall.
    fn has_lead<S: Scheme>(
        &self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        next: u64,
    ) -> bool {
        let before = self.joined.map_or(0, |joined| joined + 2);
        window
            .range(next..)
            .take_while(|(sequence, generation)| {
                let due = generation.facts().and_then(|facts| due(facts, clock));
                *sequence < before || due.is_none_or(|due| due <= now + LEAD)
            })
            .all(|(_, generation)| generation.complete.is_some())
    }

    fn play<S: Scheme>(
        &mut self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        next: u64,
    ) -> Vec<Decision> {
        let Some((sequence, facts, whole)) = window.range(next..).find_map(|(seq, generation)| {
            Some((seq, generation.facts()?, generation.complete.is_some()))
        }) else {
            return Vec::new();
        };
        if due(facts, clock).is_none_or(|due| due > now) {
            return Vec::new();
        }
        if sequence == next && facts.flags.has(Flags::END) {
            self.phase = Phase::Ended;
            return vec![Decision::End];
        }
        if sequence != next || !whole {
            self.phase = Phase::Stalled(next, now);
            return vec![Decision::Stall { sequence: next }];
        }
        self.went(next, window);
        vec![Decision::Release {
            sequence,
            pre_roll: false,
            discontinuity: false,
        }]
    }

    fn went<S: Scheme>(&mut self, sequence: u64, window: &Window<S>) {
        self.phase = Phase::Playing(sequence + 1);
        self.last = window
            .get(sequence)
            .and_then(|generation| generation.facts())
            .map(|facts| facts.flags);
    }
}

/// When a generation is due, on the host's clock.
pub(super) fn due(facts: &crate::Facts, clock: &WallClock) -> Option<Instant> {
    let stamp = clock.local(facts.ingest_stamp_us)?;
    Some(stamp + Duration::from_millis(u64::from(facts.delay_ms)))
}

//! Beginning, and going on after a stall: with generations that are due, when the last
//! keyframe among them and all since are whole; or ahead of time, with a keyframe that is
//! whole, played slower from there.

use std::time::Duration;

use stripe::Flags;

use super::{Decision, Outlook, Phase, Playout, SLOW, due};
use crate::{
    Facts, Instant, Scheme,
    peer::{clock::WallClock, window::Window},
};

/// What is due so soon must be there to begin: two generations and the time in which pulls
/// for the rest are answered.
const LEAD: Duration = Duration::from_millis(600);
/// A parent must have taken the peer on so long ago before anything is begun.
const SETTLED: Duration = Duration::from_millis(200);
/// Pushing has brought everything that is older than this, unless it takes longer of late.
const PUSHED: Duration = Duration::from_millis(600);
/// So much media that came in time shows that more will, where parents are wanting. Measured
/// with a fifth of all packets lost: who began before it stood for seconds.
const PROOF: Duration = Duration::from_millis(1000);
/// The picture may stand so long for what is fetched while it plays slower.
const FREEZE: Duration = Duration::from_millis(500);
/// Part of the pace until now that is counted on: others come too.
const PRUDENCE: f64 = 0.6;
/// What is fetched must be there so long before it is due, as the pace until now tells.
const MARGIN: Duration = Duration::from_millis(400);

impl Playout {
    /// Begins with a generation from `from` on, if that can go well.
    pub(super) fn begin<S: Scheme>(
        &mut self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        outlook: Outlook,
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
        // A newcomer has nothing to lose and takes the newest; who stands loses least with
        // the next.
        let mut early: Vec<u64> = match self.is_settled(now) {
            true => ahead_of_time(now, window, clock, from).collect(),
            false => Vec::new(),
        };
        if from == 0 {
            early.reverse();
        }
        let early = early.into_iter().map(|sequence| sequence..sequence + 1);
        let chain = chain
            .into_iter()
            .chain(early)
            .find(|chain| self.goes_on(now, window, clock, outlook, chain.end));
        let Some(chain) = chain else {
            return Vec::new();
        };
        let last = chain.end - 1;
        let decisions = chain
            .clone()
            .map(|sequence| Decision::Release {
                sequence,
                pre_roll: true,
                discontinuity: sequence == chain.start,
            })
            .collect();
        let facts = window.get(last).and_then(|generation| generation.facts());
        self.slow = facts.map(|facts| (now, facts.ingest_stamp_us));
        self.went(last, window, clock);
        decisions
    }

    /// Whether the peer has been in the trees for so long that it knows the newest.
    fn is_settled(&self, now: Instant) -> bool {
        self.placed_since
            .is_some_and(|since| now.since(since) >= SETTLED)
    }

    /// Whether what follows is there already, or, as far as there is time, likely to come.
    fn goes_on<S: Scheme>(
        &self,
        now: Instant,
        window: &Window<S>,
        clock: &WallClock,
        outlook: Outlook,
        next: u64,
    ) -> bool {
        let facts = |sequence: u64| window.get(sequence)?.facts();
        let Some(last) = next.checked_sub(1).and_then(facts) else {
            return false;
        };
        let Some(last_due) = due(last, clock) else {
            return false;
        };
        let past = self.joined.unwrap_or(0);
        let newest = window.newest().unwrap_or(0);
        if last.flags.has(Flags::PAUSE) && next > newest {
            return true;
        }
        if self.phase == Phase::Starting && !self.is_settled(now) {
            // How far the broadcast is, is not known before the trees have brought something.
            return false;
        }
        let comes =
            |next: u64| outlook.carried || comes_in_time(window, outlook.interval, past, next);
        let mut missing = 0;
        for sequence in next..=newest.max(past) {
            let generation = window.get(sequence);
            if generation.is_some_and(|generation| generation.complete.is_some()) {
                continue;
            }
            let after = u32::try_from(sequence + 1 - next).unwrap_or(u32::MAX);
            let due = facts(sequence).and_then(|facts| due(facts, clock));
            let due = due.unwrap_or(last_due + outlook.interval.saturating_mul(after));
            if due <= now + LEAD {
                return false;
            }
            if sequence > past {
                if !comes(sequence) {
                    return false;
                }
                // Pushed: what is older than pushing takes must be there.
                let delay = Duration::from_millis(u64::from(last.delay_ms));
                return due > now + delay.saturating_sub(self.arrival.p95().max(PUSHED));
            }
            let have = generation.map_or(0, |generation| generation.have().len());
            missing += usize::from(last.k).saturating_sub(have);
            let span = missing as f64 / (outlook.fetched_per_s * PRUDENCE).max(0.1);
            let there = now + Duration::from_secs_f64(span.min(60.0));
            let shown = now + outlook.interval.saturating_mul(after).div_f64(SLOW) + FREEZE;
            if there + MARGIN > due || there > shown {
                return false;
            }
        }
        comes(newest.max(past) + 1)
    }
}

/// Whether what was made lately is all there, by whatever way: who lacks parents may yet
/// live by asking.
fn comes_in_time<S: Scheme>(window: &Window<S>, interval: Duration, past: u64, next: u64) -> bool {
    let needed = PROOF.as_secs_f64() / interval.as_secs_f64().max(0.001);
    let first = next.saturating_sub(needed.ceil() as u64);
    first > past && (first..next).all(|sequence| window.is_complete(sequence))
}

/// The keyframes that are whole and not due yet.
fn ahead_of_time<S: Scheme>(
    now: Instant,
    window: &Window<S>,
    clock: &WallClock,
    from: u64,
) -> impl Iterator<Item = u64> {
    let early = move |facts: &Facts| {
        facts.flags.has(Flags::KEYFRAME) && due(facts, clock).is_some_and(|due| due > now)
    };
    window
        .range(from..)
        .filter(move |(_, generation)| {
            generation.complete.is_some() && generation.facts().is_some_and(early)
        })
        .map(|(sequence, _)| sequence)
}

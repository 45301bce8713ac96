//! What a newcomer fetches: the generations between the keyframe it begins with and the
//! moment it came. No tree brings them, and they are wanted in order, at once. So it asks
//! everyone with uplink to spare, the oldest generation first, each for as much as it can
//! send within a tenth of a second, and whoever is quickest gets the next question.

use super::{Allowance, Ask, Pull, Request, UNHURRIED, View, pick};
use crate::{Instant, PeerId, Random, Scheme, StripeSet};

use std::collections::BTreeMap;

/// Of what a partner can spare, so many milliseconds' worth may be under way.
const UNDER_WAY_MS: usize = 100;
/// Pieces that may be under way from a partner that has nothing to spare: it lends them.
const LENT: usize = 3;
/// More than this a partner is not believed to spare: it is only what it says.
const MAX_SPARE_KBPS: u32 = 12_000;
/// Pieces asked for in one question: few, so that a generation comes from many.
const PER_QUESTION: usize = 2;
/// A seeder is taken for so much slower than it says, so that viewers come first.
const SEEDER_HANDICAP: f64 = 1.5;
/// Questions that may be asked in a second, and at once: a GOP of 2 s is 160 pieces, and
/// many are asked for in vain.
const ASKS_PER_S: f64 = 60.0;
const ASKS_AT_ONCE: f64 = 240.0;
/// The pace is not known before so much time has passed, in seconds.
const LEAST_SPAN_S: f64 = 0.05;

/// How fast the past comes.
#[derive(Debug)]
pub(super) struct Fetched {
    since: Option<Instant>,
    pieces: u32,
    pub(super) questions: Allowance,
}

impl Default for Fetched {
    fn default() -> Self {
        Self {
            since: None,
            pieces: 0,
            questions: Allowance::new(ASKS_PER_S, ASKS_AT_ONCE),
        }
    }
}

impl Fetched {
    /// An answer came.
    pub(super) fn on_piece(&mut self, catch_up: bool) {
        self.pieces += u32::from(catch_up);
    }
}

/// Whom to ask.
struct Choice {
    /// When it would be done, the least of all.
    rank: f64,
    to: PeerId,
    /// Pieces it may be asked for,
    room: usize,
    /// of these.
    stripes: StripeSet,
}

impl Pull {
    /// Pieces of the past a second, since the first was asked for; 0 before.
    pub(in super::super) fn fetched_per_s(&self, now: Instant) -> f64 {
        let Some(since) = self.fetched.since else {
            return 0.0;
        };
        f64::from(self.fetched.pieces) / now.since(since).as_secs_f64().max(LEAST_SPAN_S)
    }

    pub(super) fn catch_up<S: Scheme>(
        &mut self,
        now: Instant,
        sequence: u64,
        view: &View<'_, S>,
        random: &mut Random,
        load: &mut BTreeMap<PeerId, usize>,
        asks: &mut Vec<Ask>,
    ) {
        let generation = view.window.get(sequence);
        let facts = generation.and_then(|generation| generation.facts());
        let have = generation.map_or(StripeSet::EMPTY, |generation| generation.have());
        let k = facts.map_or(16, |facts| usize::from(facts.k));
        let piece_len = facts.map_or(view.piece_len, |facts| facts.piece_len as usize);
        let requests = self.asked.entry(sequence).or_default();
        let under_way: usize = requests.iter().map(|request| request.count).sum();
        let mut wanted = k.saturating_sub(have.len() + under_way);
        let mut open = StripeSet::all(facts.map_or(view.n, |facts| facts.n)).without(have);
        for request in requests.iter().filter(|request| !request.over) {
            open = open.without(request.stripes);
        }
        while wanted > 0 && !open.is_empty() && self.fetched.questions.are_left() {
            let failed = |peer: PeerId| {
                let busy = self
                    .stingy
                    .get(&peer)
                    .is_some_and(|(until, _)| *until > now);
                let over = |request: &Request| request.over && request.to == peer;
                busy || requests.iter().any(over)
            };
            let Some(choice) = choose(view, sequence, piece_len, open, failed, load, random) else {
                // Everyone was tried in vain: begin again with the next tick.
                if requests.iter().all(Request::is_done) {
                    requests.clear();
                }
                break;
            };
            let count = wanted.min(choice.room).min(PER_QUESTION);
            let stripes = pick(choice.stripes, count, random);
            open = open.without(stripes);
            wanted -= count;
            *load.entry(choice.to).or_default() += count;
            self.fetched.since.get_or_insert(now);
            self.fetched.questions.spend();
            requests.push(Request {
                to: choice.to,
                asked: now,
                stripes,
                count,
                deadline: now + self.answers.patience(choice.to),
                catch_up: true,
                over: false,
            });
            asks.push(Ask {
                to: choice.to,
                sequence,
                stripes,
                count,
                within: UNHURRIED,
                header: facts.is_none() && requests.len() <= 2,
                catch_up: true,
            });
        }
    }
}

/// The partner that would be done first.
fn choose<S: Scheme>(
    view: &View<'_, S>,
    sequence: u64,
    piece_len: usize,
    open: StripeSet,
    failed: impl Fn(PeerId) -> bool,
    load: &BTreeMap<PeerId, usize>,
    random: &mut Random,
) -> Option<Choice> {
    let mut best: Option<Choice> = None;
    for (peer, link) in view.links.up().filter(|(_, link)| link.may_have(sequence)) {
        let Some((_, have)) = link.have.as_ref() else {
            continue;
        };
        if have.spare_kbps == 0 || failed(peer) {
            continue;
        }
        let stripes = open.and(StripeSet::from_bits(have.stripes));
        let under_way = load.get(&peer).copied().unwrap_or(0);
        let spare_kbps = have.spare_kbps.min(MAX_SPARE_KBPS);
        let most = LENT + spare_kbps as usize * UNDER_WAY_MS / 8 / piece_len.max(1);
        let room = most.saturating_sub(under_way).min(stripes.len());
        if room == 0 {
            continue;
        }
        let handicap = if view.links.is_seeder(peer) {
            SEEDER_HANDICAP
        } else {
            1.0
        };
        // Those alike are taken in no order.
        let spread = 1.0 + random.unit() * 0.1;
        let rank = (under_way + 1) as f64 / f64::from(spare_kbps) * handicap * spread;
        if best.as_ref().is_none_or(|other| rank < other.rank) {
            best = Some(Choice {
                rank,
                to: peer,
                room,
                stripes,
            });
        }
    }
    best
}

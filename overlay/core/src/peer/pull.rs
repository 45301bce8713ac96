//! Asks partners for what push did not bring in time, each time a different one, and in the
//! last moment a seeder; and for what a newcomer needs of before it came (`pull/catch_up.rs`).

use std::{collections::BTreeMap, time::Duration};

use super::{
    arrival::Arrival, clock::WallClock, links::Links, liveness::Liveness, playout::due,
    window::Window,
};
use crate::{Instant, PeerId, Random, Scheme, StripeId, StripeSet};

mod answers;
mod catch_up;

use answers::Answers;
use catch_up::Fetched;

/// Added to one's own 95th percentile of arrival before asking (overlay design, "Pull").
const PATIENCE: Duration = Duration::from_millis(150);
/// Bounds of the wait from ingest stamp to asking.
const MIN_WAIT: Duration = Duration::from_millis(300);
const MAX_WAIT: Duration = Duration::from_millis(1000);
/// The same when too few of the stripes have a parent that delivers.
const SHORT_WAIT: Duration = Duration::from_millis(250);
/// A partner that is busy is left alone for so long, twice as long each time, at most.
const REST: Duration = Duration::from_millis(80);
const MAX_REST: Duration = Duration::from_millis(640);
/// The same of one that lends nothing and does not say so.
const MUTE_REST: Duration = Duration::from_secs(5);
/// A newcomer's questions are not urgent: others watch already.
const UNHURRIED: Duration = Duration::from_millis(1500);
/// So near to its deadline a generation is asked of a seeder.
const LAST_MOMENT: Duration = Duration::from_millis(500);
/// So near to its deadline, what is being caught up with is asked of everyone.
const PRESSING: Duration = Duration::from_millis(600);
/// Pieces under way from one partner.
const MAX_PER_PARTNER: usize = 12;
/// Pieces of one generation asked of one partner at a time, so that several share the load.
const MAX_PER_REQUEST: usize = 4;
/// Questions that may be asked in a second, and at once: enough to fetch a GOP, too few to
/// weigh against the stream (100 bytes each on the wire).
const ASKS_PER_S: f64 = 20.0;
const ASKS_AT_ONCE: f64 = 120.0;

/// What is asked, and what arrivals are like.
#[derive(Debug)]
pub(super) struct Pull {
    asked: BTreeMap<u64, Vec<Request>>,
    /// Partners that said they are busy: until when they are left alone, and for how long
    /// that was.
    busy: BTreeMap<PeerId, (Instant, Duration)>,
    /// The same of those that lent nothing of the past.
    stingy: BTreeMap<PeerId, (Instant, Duration)>,
    questions: Allowance,
    arrival: Arrival,
    fetched: Fetched,
    answers: Answers,
}

#[derive(Debug)]
struct Request {
    to: PeerId,
    asked: Instant,
    stripes: StripeSet,
    count: usize,
    deadline: Instant,
    catch_up: bool,
    /// Answered with `Busy`, or not in time: not to be asked again.
    over: bool,
}

impl Request {
    fn is_done(&self) -> bool {
        self.over || self.count == 0
    }
}

/// How many questions may be asked: so many a second, and so many at once.
#[derive(Debug)]
struct Allowance {
    per_s: f64,
    most: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(per_s: f64, most: f64) -> Self {
        Self {
            per_s,
            most,
            left: most,
            at: Instant::default(),
        }
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.since(self.at).as_secs_f64() * self.per_s;
        self.left = (self.left + gained).min(self.most);
        self.at = now;
    }

    fn are_left(&self) -> bool {
        self.left >= 1.0
    }

    fn spend(&mut self) {
        self.left -= 1.0;
    }
}

/// "Send me up to `count` of `stripes`."
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) to: PeerId,
    pub(super) sequence: u64,
    pub(super) stripes: StripeSet,
    pub(super) count: usize,
    pub(super) within: Duration,
    pub(super) header: bool,
    pub(super) catch_up: bool,
}

/// What the decision needs to see.
pub(super) struct View<'a, S: Scheme> {
    pub(super) window: &'a Window<S>,
    pub(super) clock: &'a WallClock,
    pub(super) links: &'a Links,
    pub(super) liveness: &'a Liveness,
    /// The first generation the player needs.
    pub(super) from: u64,
    /// Playing has not begun, or stands: everything is urgent.
    pub(super) starting: bool,
    /// The newest generation there was when the peer came.
    pub(super) joined: Option<u64>,
    /// Nothing is late before this: parents are still resending.
    pub(super) patient_until: Instant,
    /// Stripes that parents are likely to go on with.
    pub(super) healthy: StripeSet,
    /// Stripes of the broadcast, for generations whose header is unknown.
    pub(super) n: u8,
    /// From one generation to the next.
    pub(super) interval: Duration,
    /// Bytes of a piece in the mean.
    pub(super) piece_len: usize,
}

impl Default for Pull {
    fn default() -> Self {
        Self {
            asked: BTreeMap::new(),
            busy: BTreeMap::new(),
            stingy: BTreeMap::new(),
            questions: Allowance::new(ASKS_PER_S, ASKS_AT_ONCE),
            arrival: Arrival::default(),
            fetched: Fetched::default(),
            answers: Answers::default(),
        }
    }
}

impl Pull {
    /// A generation became whole so long after its ingest stamp, while the peer plays.
    pub(super) fn on_arrival(&mut self, after: Duration) {
        self.arrival.add(after);
    }

    /// A piece came that may have been asked for.
    pub(super) fn on_piece(&mut self, now: Instant, from: PeerId, sequence: u64, stripe: StripeId) {
        self.busy.remove(&from);
        self.stingy.remove(&from);
        let Some(requests) = self.asked.get_mut(&sequence) else {
            return;
        };
        for request in requests.iter_mut().filter(|request| request.to == from) {
            if request.stripes.remove(stripe) {
                self.answers.on_answer(from, now.since(request.asked));
                request.count = request.count.saturating_sub(1);
                self.fetched.on_piece(request.catch_up);
            }
        }
    }

    /// A partner will not answer.
    pub(super) fn on_busy(&mut self, now: Instant, from: PeerId, sequence: u64) {
        let mut lends_not = false;
        for request in self.asked.get_mut(&sequence).into_iter().flatten() {
            if request.to == from {
                lends_not |= request.catch_up && !request.is_done();
                request.over = true;
                request.count = 0;
            }
        }
        let resting = if lends_not {
            &mut self.stingy
        } else {
            &mut self.busy
        };
        rest(resting, now, from, MAX_REST);
    }

    /// A link is gone.
    pub(super) fn on_link_down(&mut self, peer: PeerId) {
        self.busy.remove(&peer);
        self.stingy.remove(&peer);
        self.answers.forget(peer);
        for request in self.asked.values_mut().flatten() {
            if request.to == peer {
                request.over = true;
                request.count = 0;
            }
        }
    }

    /// Decides whom to ask for what. Call every few tens of milliseconds.
    pub(super) fn tick<S: Scheme>(
        &mut self,
        now: Instant,
        view: &View<'_, S>,
        random: &mut Random,
    ) -> Vec<Ask> {
        self.settle(now, view);
        self.questions.refill(now);
        self.fetched.questions.refill(now);
        let newest = view.window.newest().unwrap_or(0);
        let mut asks = Vec::new();
        let mut load = self.load();
        for sequence in view.from..=newest {
            if view.window.is_complete(sequence) {
                continue;
            }
            // What was the newest then, parents resend.
            let resent = now >= view.patient_until;
            let past = view
                .joined
                .is_some_and(|joined| sequence < joined || (sequence == joined && resent));
            if past {
                self.catch_up(now, sequence, view, random, &mut load, &mut asks);
            }
            let late = if past {
                is_pressing(now, sequence, view)
            } else {
                self.is_late(now, sequence, view)
            };
            if late {
                self.ask(now, sequence, view, random, &mut load, &mut asks);
            }
        }
        asks
    }

    fn is_late<S: Scheme>(&self, now: Instant, sequence: u64, view: &View<'_, S>) -> bool {
        if now < view.patient_until {
            return false;
        }
        // Without a header its time is told from the next that has one.
        let mut later = view.window.range(sequence..);
        let Some((ahead, facts)) = later.find_map(|(later, generation)| {
            let ahead = u32::try_from(later - sequence).unwrap_or(u32::MAX);
            Some((view.interval.saturating_mul(ahead), generation.facts()?))
        }) else {
            return false;
        };
        let generation = view.window.get(sequence);
        let have = generation.map_or(StripeSet::EMPTY, |generation| generation.have());
        let short = have.or(view.healthy).len() < usize::from(facts.k);
        let wait = self.arrival.p95() + PATIENCE;
        let wait = if short {
            SHORT_WAIT
        } else {
            wait.clamp(MIN_WAIT, MAX_WAIT)
        };
        view.clock
            .local(facts.ingest_stamp_us)
            .is_some_and(|stamp| now + ahead >= stamp + wait)
    }

    fn ask<S: Scheme>(
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
        let all = StripeSet::all(facts.map_or(view.n, |facts| facts.n));
        let due = facts.and_then(|facts| due(facts, view.clock));
        let last_moment = !view.starting && due.is_some_and(|due| now + LAST_MOMENT >= due);
        let requests = self.asked.entry(sequence).or_default();
        let under_way: usize = requests.iter().map(|request| request.count).sum();
        let mut wanted = k.saturating_sub(have.len() + under_way);
        let mut open = all.without(have);
        for request in requests.iter().filter(|request| !request.over) {
            open = open.without(request.stripes);
        }
        while wanted > 0 && !open.is_empty() && self.questions.are_left() {
            let tried = |peer: PeerId| {
                let busy = self.busy.get(&peer).is_some_and(|(until, _)| *until > now);
                let busy = busy || view.liveness.seems_gone(now, peer);
                let asked = |request: &Request| request.to == peer && !request.catch_up;
                busy || requests.iter().any(asked)
            };
            let Some(to) = choose(view.links, sequence, last_moment, tried, load, random) else {
                // Everyone was tried in vain: begin again with the next tick.
                if requests.iter().all(|request| request.over) {
                    requests.clear();
                }
                break;
            };
            let per_request = if view.links.is_seeder(to) {
                wanted
            } else {
                MAX_PER_REQUEST
            };
            let count = wanted.min(per_request).min(open.len());
            let stripes = pick(open, count, random);
            let left = due
                .map_or(UNHURRIED, |due| due.since(now))
                .max(answers::LEAST);
            let within = if view.starting { UNHURRIED } else { left };
            open = open.without(stripes);
            wanted -= count;
            *load.entry(to).or_default() += count;
            requests.push(Request {
                to,
                asked: now,
                stripes,
                count,
                deadline: now + self.answers.patience(to),
                catch_up: false,
                over: false,
            });
            self.questions.spend();
            asks.push(Ask {
                to,
                sequence,
                stripes,
                count,
                within,
                header: facts.is_none(),
                catch_up: false,
            });
        }
    }

    /// Forgets what is over, so that others are asked.
    fn settle<S: Scheme>(&mut self, now: Instant, view: &View<'_, S>) {
        self.asked
            .retain(|sequence, _| *sequence >= view.from && !view.window.is_complete(*sequence));
        for requests in self.asked.values_mut() {
            for request in requests.iter_mut() {
                if request.deadline <= now {
                    if request.catch_up && !request.is_done() {
                        rest(&mut self.stingy, now, request.to, MUTE_REST);
                    }
                    request.over = true;
                    request.count = 0;
                }
            }
        }
    }

    fn load(&self) -> BTreeMap<PeerId, usize> {
        let mut load = BTreeMap::new();
        for request in self.asked.values().flatten() {
            *load.entry(request.to).or_default() += request.count;
        }
        load
    }
}

/// Leaves a partner alone for a while, longer each time.
fn rest(
    resting: &mut BTreeMap<PeerId, (Instant, Duration)>,
    now: Instant,
    peer: PeerId,
    most: Duration,
) {
    let (until, span) = resting.get(&peer).copied().unwrap_or((now, REST / 2));
    if until <= now {
        let span = (span * 2).min(most);
        resting.insert(peer, (now + span, span));
    }
}

/// Whether one that plays has little time left for what it should have caught up with.
fn is_pressing<S: Scheme>(now: Instant, sequence: u64, view: &View<'_, S>) -> bool {
    // Where its header is missing too, by the next one that is there.
    let mut later = view.window.range(sequence..);
    let due = later.find_map(|(_, generation)| due(generation.facts()?, view.clock));
    !view.starting && due.is_some_and(|due| due <= now + PRESSING)
}

/// The partner to ask: one that was not asked for this generation, with the least under
/// way; a seeder only in the last moment or when nobody else has it.
fn choose(
    links: &Links,
    sequence: u64,
    last_moment: bool,
    tried: impl Fn(PeerId) -> bool,
    load: &BTreeMap<PeerId, usize>,
    random: &mut Random,
) -> Option<PeerId> {
    let mut best: Option<((bool, usize, u64), PeerId)> = None;
    let mut untried_peer = false;
    for (peer, _) in links.up().filter(|(_, link)| link.may_have(sequence)) {
        let seeder = links.is_seeder(peer);
        untried_peer |= !seeder && !tried(peer);
        let under_way = load.get(&peer).copied().unwrap_or(0);
        let most = if seeder {
            4 * MAX_PER_PARTNER
        } else {
            MAX_PER_PARTNER
        };
        if tried(peer) || under_way >= most {
            continue;
        }
        let rank = (seeder != last_moment, under_way, random.next());
        if best.is_none_or(|(other, _)| rank < other) {
            best = Some((rank, peer));
        }
    }
    let (_, peer) = best?;
    let refused = links.is_seeder(peer) && untried_peer && !last_moment;
    (!refused).then_some(peer)
}

/// `count` of the stripes, at random, so that partners are not all asked for the same.
fn pick(stripes: StripeSet, count: usize, random: &mut Random) -> StripeSet {
    let mut rest: Vec<StripeId> = stripes.iter().collect();
    let mut picked = StripeSet::EMPTY;
    for _ in 0..count.min(rest.len()) {
        let index = random.below(rest.len() as u64) as usize;
        picked.insert(rest.swap_remove(index));
    }
    picked
}

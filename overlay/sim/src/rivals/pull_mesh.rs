//! A pull mesh: CoolStreaming/DONet (Zhang, Liu, Li, Yum, INFOCOM 2005). Viewers have a few
//! partners, tell them once a second what they have, and ask for what they lack: pieces of a
//! second, those first that the fewest partners have, each from the partner that would be
//! the soonest to deliver it before its deadline.
//!
//! Not faithful: a tracker names partners, where DONet gossips (SCAM); partners are replaced
//! when they are silent and not for being slow; the play-out delay is the same for everyone,
//! twenty seconds unless the scenario says otherwise (its viewers were up to a minute behind).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use overlay_core::Instant;

use super::{Format, Part, Rival, Said, Swarm, Way, Why, swarm::SERVER};
use crate::Scenario;

/// Section 5 finds four to six to be enough.
const PARTNERS: usize = 5;
/// Whoever asks is taken up to this.
const MOST: usize = 8;
const BEAT: Duration = Duration::from_secs(1);
/// So many maps that do not come.
const SILENCE: Duration = Duration::from_secs(5);
/// What was asked for and did not come in this time is asked of another.
const ANSWERS: Duration = Duration::from_secs(5);
/// Nobody is asked while more than this waits in its line.
const BUSY: Duration = Duration::from_millis(1500);
const DELAY: Duration = Duration::from_secs(20);
/// Seconds that a piece takes from the slowest that is still asked.
const SLOWEST: f64 = 2.5;
/// Pieces that a map covers.
const WINDOW: u64 = 120;

pub(super) struct PullMesh {
    delay: Duration,
    /// Generations in a piece.
    per_piece: u64,
    /// Bytes of one.
    piece_len: f64,
    server_partners: usize,
    members: BTreeMap<u32, Member>,
    known: BTreeSet<u32>,
}

#[derive(Default)]
struct Member {
    partners: BTreeMap<u32, Partner>,
    have: BTreeSet<u64>,
    asked: BTreeMap<u64, (u32, Instant)>,
}

struct Partner {
    has: BTreeSet<u64>,
    heard: Instant,
    delivered: Instant,
    /// Bytes a second, as it has been of late.
    rate: f64,
}

impl PullMesh {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let generation = scenario.generation.as_secs_f64();
        let per_piece = (1.0 / generation).round().max(1.0);
        let rate = scenario.bitrate_bps as f64;
        Self {
            delay: scenario.rival.delay.unwrap_or(DELAY),
            per_piece: per_piece as u64,
            piece_len: rate / 8.0 * generation * per_piece,
            // Each of them asks for everything.
            server_partners: ((scenario.seeder_bps as f64 / rate * 0.8) as usize).max(2),
            members: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    fn most(&self, number: u32) -> usize {
        if number == SERVER {
            self.server_partners
        } else {
            MOST
        }
    }

    /// Looks for as many partners as it lacks.
    fn find(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        let Some((answer, member)) = swarm.tracker(viewer).zip(self.members.get(&viewer)) else {
            return;
        };
        let lacks = PARTNERS.saturating_sub(member.partners.len());
        let others: Vec<u32> = (self.known.iter().copied())
            .filter(|other| *other != viewer && !member.partners.contains_key(other))
            .collect();
        let server = self
            .members
            .get(&SERVER)
            .map_or(0, |server| server.partners.len());
        for at in 0..lacks {
            let free = at == 0 && server < self.server_partners && others.contains(&SERVER);
            let found = if free {
                Some(SERVER)
            } else {
                swarm.one_of(&others)
            };
            if let Some(other) = found {
                let connects = swarm.handshake(viewer, other);
                swarm.wake(answer + connects, viewer, Why::Ask(0, other));
            }
        }
    }

    fn partner(&mut self, now: Instant, number: u32, other: u32) {
        let rate = self.piece_len;
        if let Some(member) = self.members.get_mut(&number) {
            member.partners.entry(other).or_insert(Partner {
                has: BTreeSet::new(),
                heard: now,
                delivered: now,
                rate,
            });
        }
    }

    fn look(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        swarm.wake(BEAT, viewer, Why::Look);
        let now = swarm.now;
        let Some(member) = self.members.get_mut(&viewer) else {
            return;
        };
        member
            .partners
            .retain(|_, partner| now.since(partner.heard) <= SILENCE);
        let newest = member.have.last().copied().unwrap_or(0);
        let base = newest.saturating_sub(WINDOW);
        member.have = member.have.split_off(&base);
        // Who offers nothing has nothing to offer.
        let offers = swarm.viewers.can_send(viewer);
        let offered = member.have.iter().filter(|_| offers);
        let bits = offered.fold(0, |bits, at| bits | 1 << (at - base));
        for other in member.partners.keys() {
            swarm.tell(viewer, *other, Said::Have(base, bits));
        }
        if viewer != SERVER {
            self.schedule(swarm, viewer);
            if self
                .members
                .get(&viewer)
                .is_some_and(|own| own.partners.len() < PARTNERS)
            {
                self.find(swarm, viewer);
            }
        }
    }

    /// Asks for what is missing: section 4's heuristic.
    fn schedule(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        let (now, per_piece, len) = (swarm.now, self.per_piece, self.piece_len);
        let Some(member) = self.members.get_mut(&viewer) else {
            return;
        };
        member.asked.retain(|_, (_, at)| now.since(*at) <= ANSWERS);
        let mut busy: BTreeMap<u32, f64> = BTreeMap::new();
        for (other, _) in member.asked.values() {
            if let Some(partner) = member.partners.get(other) {
                *busy.entry(*other).or_default() += len / partner.rate;
            }
        }
        let mut wanted: Vec<(usize, u64, Instant)> = Vec::new();
        let there: BTreeSet<u64> = (member.partners.values())
            .flat_map(|partner| partner.has.iter().copied())
            .collect();
        for piece in there {
            let due = swarm
                .viewers
                .due_at(piece * per_piece)
                .filter(|due| *due > now);
            let missing = !member.have.contains(&piece) && !member.asked.contains_key(&piece);
            if let Some(due) = due.filter(|_| missing) {
                let holders = member.partners.values();
                let holders = holders
                    .filter(|partner| partner.has.contains(&piece))
                    .count();
                wanted.push((holders, piece, due));
            }
        }
        wanted.sort_unstable();
        let mut asks: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (_, piece, due) in wanted {
            let soonest = (member.partners.iter())
                .filter(|(_, partner)| partner.has.contains(&piece))
                .map(|(other, partner)| {
                    let before = busy.get(other).copied().unwrap_or(0.0);
                    (before + len / partner.rate, *other)
                })
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((takes, other)) = soonest else {
                continue;
            };
            if takes < due.since(now).as_secs_f64() {
                busy.insert(other, takes);
                member.asked.insert(piece, (other, now));
                asks.entry(other).or_default().push(piece);
            }
        }
        for (other, pieces) in asks {
            swarm.tell(viewer, other, Said::Ask(pieces));
        }
    }

    fn on_ask(&self, swarm: &mut Swarm<'_>, way: Way, pieces: &[u64]) {
        let Some(member) = self.members.get(&way.to) else {
            return;
        };
        for piece in pieces {
            let has = member.have.contains(piece) && swarm.viewers.can_send(way.to);
            let part = swarm
                .viewers
                .part_of(way.to, piece * self.per_piece, self.per_piece);
            match part.filter(|_| has && swarm.backlog(way.to) < BUSY) {
                Some(part) => swarm.say(way.to, way.from, Said::Part(part), BUSY * 2),
                None => swarm.tell(way.to, way.from, Said::Busy(*piece)),
            }
        }
    }

    fn on_part(&mut self, swarm: &mut Swarm<'_>, way: Way, part: &Part) {
        swarm.viewers.take(way.to, way.from == SERVER, part);
        let piece = part.first / self.per_piece;
        let Some(member) = self.members.get_mut(&way.to) else {
            return;
        };
        member.have.insert(piece);
        let asked = member.asked.remove(&piece);
        let partner = member.partners.get_mut(&way.from);
        if let Some(((_, at), partner)) = asked.zip(partner) {
            // It was busy with what was asked for before until it delivered that.
            let began = at.max(partner.delivered);
            let took = swarm.now.since(began).as_secs_f64().max(0.05);
            partner.rate = 0.7 * partner.rate + 0.3 * f64::from(part.len) / took;
            partner.delivered = swarm.now;
        }
    }
}

impl Rival for PullMesh {
    fn format(&self) -> Format {
        Format {
            parts: 1,
            enough: 1,
            delay: self.delay,
            server_unbounded: false,
        }
    }

    fn begins(&mut self, swarm: &mut Swarm<'_>) {
        self.members.insert(SERVER, Member::default());
        self.known.insert(SERVER);
        swarm.wake(BEAT, SERVER, Why::Look);
    }

    fn arrives(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        self.members.insert(viewer, Member::default());
        self.find(swarm, viewer);
        self.known.insert(viewer);
        let first = BEAT.mul_f64(swarm.unit());
        swarm.wake(first, viewer, Why::Look);
    }

    fn publishes(&mut self, _: &mut Swarm<'_>, sequence: u64) {
        if (sequence + 1).is_multiple_of(self.per_piece)
            && let Some(server) = self.members.get_mut(&SERVER)
        {
            server.have.insert(sequence / self.per_piece);
        }
    }

    fn hears(&mut self, swarm: &mut Swarm<'_>, way: Way, said: Said) {
        let (now, most) = (swarm.now, self.most(way.to));
        let least = self.piece_len / SLOWEST;
        let Some(member) = self.members.get_mut(&way.to) else {
            return;
        };
        if let Some(partner) = member.partners.get_mut(&way.from) {
            partner.heard = now;
        }
        match said {
            Said::Join(_) if member.partners.len() < most => {
                self.partner(now, way.to, way.from);
                swarm.tell(way.to, way.from, Said::Accept(0));
            }
            Said::Accept(_) => self.partner(now, way.to, way.from),
            Said::Have(base, bits) => {
                if let Some(partner) = member.partners.get_mut(&way.from) {
                    let bits = (0..u128::BITS).filter(|at| bits & (1 << at) != 0);
                    partner.has = bits.map(|at| base + u64::from(at)).collect();
                }
            }
            Said::Ask(pieces) => self.on_ask(swarm, way, &pieces),
            Said::Busy(piece) => {
                member.asked.remove(&piece);
                if let Some(partner) = member.partners.get_mut(&way.from) {
                    partner.rate = (partner.rate * 0.8).max(least);
                }
            }
            Said::Part(part) => self.on_part(swarm, way, &part),
            _ => {}
        }
    }

    fn wakes(&mut self, swarm: &mut Swarm<'_>, viewer: u32, why: Why) {
        match why {
            Why::Ask(_, other) => swarm.tell(viewer, other, Said::Join(0)),
            Why::Look => self.look(swarm, viewer),
            _ => {}
        }
    }

    fn loses(&mut self, viewer: u32) {
        self.known.remove(&viewer);
    }

    fn forgets(&mut self, viewer: u32) {
        self.known.remove(&viewer);
        self.members.remove(&viewer);
    }
}

//! Trees of viewers, one for each stripe, down which media is pushed: what one tree and
//! SplitStream have in common.
//!
//! A viewer that is without a parent in a stripe asks one that is near the root and has room;
//! a viewer that could serve others takes the place of one that could not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use overlay_core::Instant;

use super::{Format, Part, Rival, Said, Swarm, Way, Why, swarm::SERVER};

/// Anything that is asked answers within this, or is taken for dead.
const ANSWERS: Duration = Duration::from_secs(2);
/// After a refusal, and while nobody can be found.
const AGAIN: Duration = Duration::from_millis(250);
const WAITS: Duration = Duration::from_secs(1);
/// So many are asked for spare room when a stripe's own tree has none.
const PROBES: usize = 8;
/// Deeper than any tree.
const DEEPEST: usize = 256;

/// In what its users differ.
pub(super) struct Rules {
    pub(super) format: Format,
    /// Parts of a generation take them in turn.
    pub(super) trees: u8,
    /// A parent or a child is given up after so much silence.
    pub(super) silence: Duration,
    /// Who has nothing else to say says so after this.
    pub(super) beat: Duration,
    /// Children that the server takes, in all stripes together.
    pub(super) server_slots: usize,
    /// Somebody names parents, and hears at once who left; if nobody does, requests are
    /// routed from viewer to viewer, this often.
    pub(super) routed: Option<u32>,
    /// Viewers serve one stripe each, others only where it has no room.
    pub(super) one_stripe_each: bool,
    /// Children that a viewer takes, by what it offers.
    pub(super) slots: Box<dyn Fn(u64) -> usize + Send>,
}

pub(super) struct Forest {
    rules: Rules,
    members: BTreeMap<u32, Member>,
    /// Who may be named.
    known: BTreeSet<u32>,
}

#[derive(Default)]
struct Member {
    slots: usize,
    /// The stripe it serves; none: all of them.
    own: Option<u8>,
    seats: Vec<Seat>,
    /// When it heard from parents and children.
    heard: BTreeMap<u32, Instant>,
    /// Who did not answer.
    avoids: BTreeSet<u32>,
}

/// In one stripe.
#[derive(Clone, Default)]
struct Seat {
    parent: Option<u32>,
    asked: Option<u32>,
    children: Vec<u32>,
}

impl Member {
    fn used(&self) -> usize {
        self.seats.iter().map(|seat| seat.children.len()).sum()
    }

    fn serves(&self, stripe: u8) -> bool {
        self.slots > 0 && self.own.is_none_or(|own| own == stripe)
    }

    fn seat(&self, stripe: u8) -> Option<&Seat> {
        self.seats.get(usize::from(stripe))
    }

    fn neighbours(&self) -> BTreeSet<u32> {
        let children = self
            .seats
            .iter()
            .flat_map(|seat| seat.children.iter().copied());
        children
            .chain(self.seats.iter().filter_map(|seat| seat.parent))
            .collect()
    }
}

impl Forest {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            members: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    fn add(&mut self, number: u32, slots: usize, own: Option<u8>) {
        let member = Member {
            slots,
            own,
            seats: vec![Seat::default(); usize::from(self.rules.trees)],
            ..Member::default()
        };
        self.members.insert(number, member);
        self.known.insert(number);
    }

    fn seat(&mut self, number: u32, stripe: u8) -> Option<&mut Seat> {
        let member = self.members.get_mut(&number)?;
        member.seats.get_mut(usize::from(stripe))
    }

    fn has_room(&self, number: u32, member: &Member, stripe: u8) -> bool {
        let taken = member.seat(stripe).map_or(0, |seat| seat.children.len());
        match number {
            SERVER => taken < member.slots / usize::from(self.rules.trees.max(1)),
            _ => member.used() < member.slots,
        }
    }

    /// Whether a parent takes a child in a stripe, and who makes room for it.
    fn takes(&self, parent: u32, child: u32, stripe: u8) -> Option<Option<u32>> {
        let member = self.members.get(&parent)?;
        if self.has_room(parent, member, stripe) {
            return Some(None);
        }
        let serves = |number: u32| {
            let member = self.members.get(&number);
            member.is_some_and(|member| member.serves(stripe))
        };
        let mut children = member.seat(stripe)?.children.iter();
        let out = children.find(|number| !serves(**number));
        out.filter(|_| serves(child)).map(|out| Some(*out))
    }

    /// Who is nearest to the root of those that would take a newcomer, one of them at random.
    fn place(&self, swarm: &mut Swarm<'_>, newcomer: u32, stripe: u8) -> Option<u32> {
        let own = self.members.get(&newcomer)?;
        let may = |number: u32| self.known.contains(&number) && !own.avoids.contains(&number);
        let mut level = vec![SERVER];
        for _ in 0..DEEPEST {
            let takes = |number: &u32| {
                let serves = |member: &Member| member.serves(stripe);
                let serves = self.members.get(number).is_some_and(serves);
                serves && may(*number) && self.takes(*number, newcomer, stripe).is_some()
            };
            let takers: Vec<u32> = level.iter().copied().filter(takes).collect();
            if let Some(one) = swarm.one_of(&takers) {
                return Some(one);
            }
            let seats = level
                .iter()
                .filter_map(|number| self.members.get(number)?.seat(stripe));
            level = seats
                .flat_map(|seat| seat.children.iter().copied())
                .collect();
            if level.is_empty() {
                break;
            }
        }
        self.spare(swarm, newcomer, stripe)
            .filter(|number| may(*number))
    }

    /// One whose own stripe needs less than it would give, and that hangs on the root.
    fn spare(&self, swarm: &mut Swarm<'_>, newcomer: u32, stripe: u8) -> Option<u32> {
        if !self.rules.one_stripe_each {
            return None;
        }
        let last = *self.members.last_key_value()?.0;
        for _ in 0..PROBES {
            let from = swarm.random.below(u64::from(last) + 1) as u32;
            let (number, member) = self.members.range(from..).next()?;
            let room = *number != SERVER && self.has_room(*number, member, stripe);
            if room && *number != newcomer && self.hangs(*number, newcomer, stripe) {
                return Some(*number);
            }
        }
        None
    }

    /// Whether one hangs on the root, and not below another.
    fn hangs(&self, number: u32, not_below: u32, stripe: u8) -> bool {
        let mut at = number;
        for _ in 0..DEEPEST {
            if at == SERVER {
                return true;
            }
            let seat = self.members.get(&at).and_then(|member| member.seat(stripe));
            match seat.and_then(|seat| seat.parent) {
                Some(parent) if parent != not_below => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// Looks for a parent. Exactly one search goes on for each seat without one.
    fn find(&mut self, swarm: &mut Swarm<'_>, viewer: u32, stripe: u8) {
        let finds = match self.rules.routed {
            Some(hops) => Some(swarm.handshake(viewer, SERVER) / 6 * hops),
            None => swarm.tracker(viewer),
        };
        let Some(finds) = finds else {
            return swarm.wake(WAITS, viewer, Why::Find(stripe));
        };
        let Some(parent) = self.place(swarm, viewer, stripe) else {
            if let Some(member) = self.members.get_mut(&viewer) {
                member.avoids.clear();
            }
            return swarm.wake(WAITS, viewer, Why::Find(stripe));
        };
        let connects = swarm.handshake(viewer, parent);
        swarm.wake(finds + connects, viewer, Why::Ask(stripe, parent));
    }

    fn ask(&mut self, swarm: &mut Swarm<'_>, viewer: u32, (stripe, parent): (u8, u32)) {
        if let Some(seat) = self.seat(viewer, stripe) {
            seat.asked = Some(parent);
            swarm.tell(viewer, parent, Said::Join(stripe));
            swarm.wake(ANSWERS, viewer, Why::Answered(stripe, parent));
        }
    }

    fn on_join(&mut self, swarm: &mut Swarm<'_>, way: Way, stripe: u8) {
        let takes = self.takes(way.to, way.from, stripe);
        let Some(seat) = self.seat(way.to, stripe) else {
            return;
        };
        let taken = seat.children.contains(&way.from);
        let takes = if taken { Some(None) } else { takes };
        let Some(out) = takes.filter(|_| seat.parent != Some(way.from)) else {
            return swarm.tell(way.to, way.from, Said::Refuse(stripe));
        };
        seat.children
            .retain(|child| Some(*child) != out && *child != way.from);
        seat.children.push(way.from);
        if let Some(member) = self.members.get_mut(&way.to) {
            member.heard.insert(way.from, swarm.now);
        }
        if let Some(out) = out {
            swarm.tell(way.to, out, Said::Refuse(stripe));
        }
        swarm.tell(way.to, way.from, Said::Accept(stripe));
    }

    fn on_accept(&mut self, swarm: &mut Swarm<'_>, way: Way, stripe: u8) {
        let Some(member) = self.members.get_mut(&way.to) else {
            return;
        };
        let Some(seat) = member.seats.get_mut(usize::from(stripe)) else {
            return;
        };
        if seat.asked != Some(way.from) {
            // It came too late.
            return swarm.tell(way.to, way.from, Said::Refuse(stripe));
        }
        seat.asked = None;
        seat.parent = Some(way.from);
        member.heard.insert(way.from, swarm.now);
        member.avoids.clear();
    }

    fn on_refuse(&mut self, swarm: &mut Swarm<'_>, way: Way, stripe: u8) {
        let Some(seat) = self.seat(way.to, stripe) else {
            return;
        };
        seat.children.retain(|child| *child != way.from);
        if seat.parent == Some(way.from) || seat.asked == Some(way.from) {
            (seat.parent, seat.asked) = (None, None);
            swarm.wake(AGAIN, way.to, Why::Find(stripe));
        }
    }

    /// Gives up who is silent, and tells the others that one is there.
    fn look(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        swarm.wake(self.rules.beat, viewer, Why::Look);
        let (now, silence) = (swarm.now, self.rules.silence);
        let Some(member) = self.members.get_mut(&viewer) else {
            return;
        };
        let neighbours = member.neighbours();
        member.heard.retain(|other, _| neighbours.contains(other));
        let heard = &member.heard;
        let is_silent = |other: &u32| heard.get(other).is_none_or(|at| now.since(*at) > silence);
        let silent: BTreeSet<u32> = neighbours.iter().copied().filter(is_silent).collect();
        let mut lost = Vec::new();
        for (stripe, seat) in (0..).zip(&mut member.seats) {
            seat.children.retain(|child| !silent.contains(child));
            if seat.parent.is_some_and(|parent| silent.contains(&parent)) {
                seat.parent = None;
                lost.push(stripe);
            }
        }
        member.avoids.extend(&silent);
        for other in neighbours.difference(&silent) {
            swarm.tell(viewer, *other, Said::Alive);
        }
        for stripe in lost {
            self.find(swarm, viewer, stripe);
        }
    }

    fn on_part(&self, swarm: &mut Swarm<'_>, way: Way, part: Part) {
        if swarm.viewers.take(way.to, way.from == SERVER, &part) {
            self.forward(swarm, way.to, part);
        }
    }

    fn forward(&self, swarm: &mut Swarm<'_>, from: u32, part: Part) {
        let member = self.members.get(&from);
        let children = member.and_then(|member| member.seat(part.stripe % self.rules.trees));
        for child in children.into_iter().flat_map(|seat| &seat.children) {
            swarm.say(from, *child, Said::Part(part), self.rules.format.delay);
        }
    }
}

impl Rival for Forest {
    fn format(&self) -> Format {
        self.rules.format
    }

    fn begins(&mut self, swarm: &mut Swarm<'_>) {
        self.add(SERVER, self.rules.server_slots, None);
        swarm.wake(self.rules.beat, SERVER, Why::Look);
    }

    fn arrives(&mut self, swarm: &mut Swarm<'_>, viewer: u32) {
        let stripes = self.rules.trees;
        let own = (viewer % u32::from(stripes)) as u8;
        let slots = (self.rules.slots)(swarm.viewers.upload_bps(viewer));
        self.add(viewer, slots, self.rules.one_stripe_each.then_some(own));
        for stripe in 0..stripes {
            self.find(swarm, viewer, stripe);
        }
        let first = self.rules.beat.mul_f64(swarm.unit());
        swarm.wake(first, viewer, Why::Look);
    }

    fn publishes(&mut self, swarm: &mut Swarm<'_>, sequence: u64) {
        for stripe in 0..self.rules.format.parts {
            if let Some(part) = swarm.viewers.part(sequence, 1, stripe) {
                self.forward(swarm, SERVER, part);
            }
        }
    }

    fn hears(&mut self, swarm: &mut Swarm<'_>, way: Way, said: Said) {
        let Some(member) = self.members.get_mut(&way.to) else {
            return;
        };
        if let Some(heard) = member.heard.get_mut(&way.from) {
            *heard = swarm.now;
        }
        match said {
            Said::Part(part) => self.on_part(swarm, way, part),
            Said::Join(stripe) => self.on_join(swarm, way, stripe),
            Said::Accept(stripe) => self.on_accept(swarm, way, stripe),
            Said::Refuse(stripe) => self.on_refuse(swarm, way, stripe),
            // Who is not, or no longer, a child learns so.
            Said::Alive if !member.neighbours().contains(&way.from) => {
                for stripe in 0..self.rules.trees {
                    swarm.tell(way.to, way.from, Said::Refuse(stripe));
                }
            }
            _ => {}
        }
    }

    fn wakes(&mut self, swarm: &mut Swarm<'_>, viewer: u32, why: Why) {
        match why {
            Why::Find(stripe) => self.find(swarm, viewer, stripe),
            Why::Ask(stripe, parent) => self.ask(swarm, viewer, (stripe, parent)),
            Why::Answered(stripe, parent) => {
                let seat = self.seat(viewer, stripe);
                let waits = seat.filter(|seat| seat.asked == Some(parent));
                if let Some(seat) = waits {
                    seat.asked = None;
                    if let Some(member) = self.members.get_mut(&viewer) {
                        member.avoids.insert(parent);
                    }
                    self.find(swarm, viewer, stripe);
                }
            }
            Why::Look => self.look(swarm, viewer),
        }
    }

    fn loses(&mut self, viewer: u32) {
        if self.rules.routed.is_none() {
            self.known.remove(&viewer);
        }
    }

    fn forgets(&mut self, viewer: u32) {
        self.known.remove(&viewer);
        self.members.remove(&viewer);
    }

    fn parents(&self, viewer: u32) -> Vec<(u8, u32)> {
        let seats = self.members.get(&viewer).map(|member| &member.seats);
        let seats = (0..).zip(seats.into_iter().flatten());
        seats
            .filter_map(|(stripe, seat)| Some((stripe, seat.parent?)))
            .collect()
    }

    fn children(&self, viewer: u32) -> Vec<(u8, Vec<u32>)> {
        let seats = self.members.get(&viewer).map(|member| &member.seats);
        let seats = (0..).zip(seats.into_iter().flatten());
        let some = seats.filter(|(_, seat)| !seat.children.is_empty());
        some.map(|(stripe, seat)| (stripe, seat.children.clone()))
            .collect()
    }
}

//! What must hold whatever happens, looked at after every event: for small swarms, in tests.
//!
//! The one rule: it counts what it finds and changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use overlay_core::Instant;

use super::{SEEDER, World, index, links::SEND_BUFFER};

/// Stripes that a generation needs.
const K: usize = 16;
/// No tree is deeper.
const DEEPEST: usize = 64;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Findings {
    /// Events after which was looked.
    pub looks: u64,
    /// The longest that one had a parent that did not have it as a child, while both were
    /// there; ms.
    pub disagreed_ms_max: f64,
    /// The longest that one had a child that had another parent, or none; ms. Children keep
    /// their old parent until the new one has brought something.
    pub pending_ms_max: f64,
    /// Looks that found somebody below itself, and for how long that lasted at most; ms.
    pub cycles: u64,
    /// The longest that one lasted.
    pub cycle_ms_max: f64,
    /// Looks that found more in a link than it holds.
    pub overfull: u64,
    /// Pieces that nobody signed, sent on by those who mean well.
    pub bad_relayed: u64,
    /// The most that a viewer sent in a second, over what it may send in one.
    pub second_over_cap: f64,
    /// Looks at viewers that play, and those of them whose stripes hang on one other viewer
    /// in more places than they have to spare.
    pub viewers: u64,
    /// Of these.
    pub beyond_margin: u64,
    /// The most stripes beyond its margin that one loses with one other.
    pub beyond_margin_max: u64,
}

/// Findings, and since when what was found last goes on.
#[derive(Default)]
pub(super) struct Check {
    findings: Findings,
    disagree: BTreeMap<Edge, Instant>,
    pending: BTreeMap<Edge, Instant>,
    cycle: Option<Instant>,
}

/// Parent, child and stripe.
type Edge = (u32, u32, u8);
/// Parent by viewer and stripe.
type Parents = BTreeMap<(u32, u8), u32>;

impl World {
    /// Looks at everything.
    pub(super) fn look_after(&mut self) {
        let (mut parents, mut children) = (Parents::new(), BTreeSet::new());
        let mut plays = Vec::new();
        for number in self.hosts.keys().filter(|number| self.is_present(*number)) {
            let stats = self.stats(number);
            for (stripe, parent) in stats.parents {
                parents.insert((number, stripe.index() as u8), index(parent));
            }
            for (stripe, all) in stats.children {
                let all = all.into_iter().map(|child| (child, stripe.index() as u8));
                children.extend(all.map(|(child, stripe)| (number, index(child), stripe)));
            }
            if number != SEEDER && stats.startup.is_some() {
                plays.push(number);
            }
        }
        self.check.findings.looks += 1;
        self.agreement(&parents, &children);
        self.cycles(&parents);
        self.margins(&parents, &plays);
        self.limits();
    }

    fn agreement(&mut self, parents: &Parents, children: &BTreeSet<Edge>) {
        let both =
            |a: u32, b: u32| self.is_present(a) && self.is_present(b) && !self.is_apart(a, b);
        let mut disagree: Vec<Edge> = Vec::new();
        for ((child, stripe), parent) in parents {
            let edge = (*parent, *child, *stripe);
            if !children.contains(&edge) && both(*parent, *child) {
                disagree.push(edge);
            }
        }
        let mut pending: Vec<Edge> = Vec::new();
        for (parent, child, stripe) in children {
            let theirs = parents.get(&(*child, *stripe));
            if theirs != Some(parent) && both(*parent, *child) {
                pending.push((*parent, *child, *stripe));
            }
        }
        let now = self.now;
        let check = &mut self.check;
        let longest = lasts(&mut check.disagree, now, disagree);
        check.findings.disagreed_ms_max = check.findings.disagreed_ms_max.max(longest);
        let longest = lasts(&mut check.pending, now, pending);
        check.findings.pending_ms_max = check.findings.pending_ms_max.max(longest);
    }

    fn cycles(&mut self, parents: &Parents) {
        let closed = |(number, stripe): &(u32, u8)| {
            let mut at = *number;
            for _ in 0..DEEPEST {
                match parents.get(&(at, *stripe)) {
                    Some(parent) if parent == number => return true,
                    Some(parent) => at = *parent,
                    None => return false,
                }
            }
            false
        };
        if !parents.keys().any(closed) {
            self.check.cycle = None;
            return;
        }
        let since = *self.check.cycle.get_or_insert(self.now);
        self.check.findings.cycles += 1;
        let most = &mut self.check.findings.cycle_ms_max;
        *most = most.max(ms(self.now.since(since)));
    }

    /// Of what hangs on each ancestor, at most the margin may be lost with it.
    fn margins(&mut self, parents: &Parents, plays: &[u32]) {
        for number in plays {
            let own = parents.range((*number, 0)..=(*number, u8::MAX));
            let (mut held, mut lost) = (0_usize, BTreeMap::<u32, usize>::new());
            for ((_, stripe), parent) in own {
                held += 1;
                let (mut at, mut above) = (Some(*parent), BTreeSet::new());
                while let Some(ancestor) = at.filter(|at| *at != SEEDER && above.insert(*at)) {
                    at = parents.get(&(ancestor, *stripe)).copied();
                }
                for ancestor in above {
                    *lost.entry(ancestor).or_default() += 1;
                }
            }
            let margin = held.saturating_sub(K);
            let most = lost.values().copied().max().unwrap_or(0);
            let beyond = most.saturating_sub(margin) as u64;
            let findings = &mut self.check.findings;
            findings.viewers += 1;
            findings.beyond_margin += u64::from(beyond > 0);
            findings.beyond_margin_max = findings.beyond_margin_max.max(beyond);
        }
    }

    fn limits(&mut self) {
        let now = self.now;
        let links: Vec<(u32, u32)> = self.all_links().collect();
        for (a, b) in links {
            let fuller = self
                .network
                .buffered(now, (a, b))
                .max(self.network.buffered(now, (b, a)));
            self.check.findings.overfull += u64::from(fuller > SEND_BUFFER + CONTROL);
        }
    }

    /// None unless it was asked for.
    pub(super) fn findings(&self) -> Option<Findings> {
        let offers = self.hosts.values().filter(|host| host.upload_bps > 0);
        let most = offers.map(|host| host.second_max as f64 * 8.0 / host.upload_bps as f64);
        self.scenario.check.then(|| Findings {
            bad_relayed: self.bad_relayed,
            second_over_cap: most.fold(0.0, f64::max),
            ..self.check.findings.clone()
        })
    }
}

/// Since when each of these is so; how long the oldest has been, ms.
fn lasts(since: &mut BTreeMap<Edge, Instant>, now: Instant, these: Vec<Edge>) -> f64 {
    let before = std::mem::take(since);
    let kept = these
        .into_iter()
        .map(|edge| (edge, before.get(&edge).copied().unwrap_or(now)));
    since.extend(kept);
    let spans = since.values().map(|at| ms(now.since(*at)));
    spans.fold(0.0, f64::max)
}

/// Control messages wait in a link beside pieces, and these do not look at them.
const CONTROL: usize = 64 * 1024;

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

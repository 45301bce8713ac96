//! When enough of a generation is there, and how children go on whose parent is gone.
//!
//! The one rule: it looks on; nobody is told anything.

use std::{collections::BTreeMap, time::Duration};

use overlay_core::{
    Instant,
    peer::Input,
    wire::{Message, PieceKind, control},
};

use super::{FIRST_PUBLISHED, World, index};
use crate::{Light, histogram::Histogram, rivals::Part};

/// A stripe that brought nothing for so long is a new one when it brings something.
const NEW: Duration = Duration::from_secs(1);
/// Generations of which parts are counted: those that may still be played.
const COUNTED: usize = 512;
/// A stripe that lacks a parent for less than this at the end counts for nothing.
const SHORT: Duration = Duration::from_secs(1);

/// What a host got, and what it waits for.
#[derive(Default)]
pub(super) struct Progress {
    /// Parts of generations.
    parts: BTreeMap<u64, u32>,
    /// When each stripe brought something, and from whom.
    pushed: BTreeMap<u8, (Instant, u32)>,
    orphans: Vec<Orphan>,
}

/// A stripe whose parent is gone.
#[derive(Clone, Copy)]
struct Orphan {
    stripe: u8,
    parent: u32,
    since: Instant,
    /// When the first part was due that did not come.
    due: Instant,
    noticed: bool,
}

/// Over all hosts.
#[derive(Default)]
pub(super) struct Times {
    /// From ingest until enough was there.
    pub(super) arrival: Histogram,
    /// From when the first part was due until a stripe, or another for it, goes on.
    pub(super) repair: Histogram,
    /// From the parent's end until the child does something.
    pub(super) detect: Histogram,
    /// From the parent's end until a stripe goes on.
    pub(super) orphan: Histogram,
}

struct Arrival {
    from: u32,
    stripe: u8,
    sequence: u64,
    /// A parent sent it on its own.
    pushed: bool,
}

impl World {
    /// Something comes to a peer.
    pub(super) fn watch_input(&mut self, number: u32, input: &Input<Light>) {
        if let Input::Received {
            from,
            message: Message::Piece(piece),
        } = input
            && !piece.piece.forged
        {
            let arrival = Arrival {
                from: index(*from),
                stripe: piece.stripe.index() as u8,
                sequence: piece.sequence,
                pushed: matches!(piece.kind, PieceKind::Push | PieceKind::Backfill),
            };
            self.part_arrives(number, &arrival);
        }
    }

    /// A part comes to a rival's viewer.
    pub(super) fn watch_part(&mut self, number: u32, from: u32, part: &Part) {
        for sequence in part.first..part.first + part.count {
            let arrival = Arrival {
                from,
                stripe: part.stripe,
                sequence,
                pushed: part.count == 1,
            };
            self.part_arrives(number, &arrival);
        }
    }

    fn part_arrives(&mut self, number: u32, part: &Arrival) {
        let (now, enough) = (self.now, self.enough());
        let Some(since) = self.measure.since() else {
            return;
        };
        let published = FIRST_PUBLISHED + self.scenario.generation * part.sequence as u32;
        let Some(host) = self
            .hosts
            .get_mut(&number)
            .filter(|host| host.is_alive() && !host.sybil)
        else {
            return;
        };
        let parts = host.progress.parts.entry(part.sequence).or_default();
        let bit = 1_u32.checked_shl(u32::from(part.stripe)).unwrap_or(0);
        let new = *parts & bit == 0;
        *parts |= bit;
        let whole = new && parts.count_ones() == enough;
        if whole && Instant::default() + published >= since.max(host.started) {
            let taken = now.since(Instant::default() + published);
            self.times.arrival.add(taken);
        }
        while host.progress.parts.len() > COUNTED {
            host.progress.parts.pop_first();
        }
        if part.pushed {
            self.stripe_goes_on(number, part);
        }
    }

    fn stripe_goes_on(&mut self, number: u32, part: &Arrival) {
        // Of our pieces any stands for any other.
        let (now, replaces) = (self.now, self.rival.is_none());
        let Some(host) = self.hosts.get_mut(&number) else {
            return;
        };
        let progress = &mut host.progress;
        let before = progress.pushed.insert(part.stripe, (now, part.from));
        let same = |orphan: &Orphan| orphan.stripe == part.stripe && orphan.parent != part.from;
        let stands_in = replaces && before.is_none_or(|(at, _)| now.since(at) > NEW);
        let orphans = &mut progress.orphans;
        let found = orphans.iter().position(same);
        let found = found.or_else(|| (stands_in && !orphans.is_empty()).then_some(0));
        if let Some(at) = found {
            let orphan = orphans.remove(at);
            self.times.repair.add(now.since(orphan.due));
            self.times.orphan.add(now.since(orphan.since));
        }
    }

    /// A viewer is gone from one moment to the next; those it served wait for what comes.
    pub(super) fn orphan_children(&mut self, number: u32) {
        if self.measure.since().is_none() {
            return;
        }
        let (now, generation) = (self.now, self.scenario.generation);
        for (stripe, children) in self.stats(number).children {
            let stripe = stripe.index() as u8;
            for child in children {
                let host = self.hosts.get_mut(&index(child));
                let Some(host) = host.filter(|host| host.is_alive() && !host.sybil) else {
                    continue;
                };
                let last = host.progress.pushed.get(&stripe);
                // Others have gone to another parent already.
                if let Some((at, _)) = last.filter(|(_, from)| *from == number) {
                    host.progress.orphans.push(Orphan {
                        stripe,
                        parent: number,
                        since: now,
                        due: now.max(*at + generation),
                        noticed: false,
                    });
                }
            }
        }
    }

    /// What a peer says shows that it knows of its loss.
    pub(super) fn watch_message(&mut self, number: u32, message: &Message<Light>) {
        if let Message::Control(said) = message {
            match &said.kind {
                Some(control::Kind::Subscribe(said)) => self.notices(number, said.stripe),
                Some(control::Kind::Unsubscribe(said)) => self.notices(number, said.stripe),
                _ => {}
            }
        }
    }

    pub(super) fn notices(&mut self, number: u32, stripe: u32) {
        let Some(host) = self.hosts.get_mut(&number) else {
            return;
        };
        for orphan in &mut host.progress.orphans {
            if u32::from(orphan.stripe) == stripe && !orphan.noticed {
                orphan.noticed = true;
                self.times.detect.add(self.now.since(orphan.since));
            }
        }
    }

    /// Those that wait at the end have waited for so long at least.
    pub(super) fn repairs(&self) -> (Histogram, Histogram) {
        let (mut repair, mut orphan) = (self.times.repair.clone(), self.times.orphan.clone());
        let there = self.hosts.values().filter(|host| host.is_alive());
        for waiting in there.flat_map(|host| &host.progress.orphans) {
            if self.now.since(waiting.due) > SHORT {
                repair.add(self.now.since(waiting.due));
                orphan.add(self.now.since(waiting.since));
            }
        }
        (repair, orphan)
    }
}

//! Where one peer stands.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use overlay_core::{Instant, Peer, peer::stats::Stats};

use super::{
    measure::{Counts, Mark},
    repair::Progress,
};
use crate::Light;

/// Of so many pieces one is sent by who lets them drip.
const DRIPPED: u64 = 3;
/// So many of them are a second.
const SECOND: usize = 5;

/// All hosts by number, looked up at every event.
#[derive(Default)]
pub(super) struct Hosts {
    hosts: Vec<Option<Box<Host>>>,
}

impl Hosts {
    pub(super) fn get(&self, number: &u32) -> Option<&Host> {
        self.hosts.get(*number as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, number: &u32) -> Option<&mut Host> {
        self.hosts.get_mut(*number as usize)?.as_deref_mut()
    }

    pub(super) fn insert(&mut self, number: u32, host: Host) {
        let at = number as usize;
        if self.hosts.len() <= at {
            self.hosts.resize_with(at + 1, || None);
        }
        self.hosts[at] = Some(Box::new(host));
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(host) = self.hosts.get_mut(number as usize) {
            *host = None;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Host)> {
        let all = self.hosts.iter().enumerate();
        all.filter_map(|(number, host)| Some((number as u32, host.as_deref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Host)> {
        let all = self.hosts.iter_mut().enumerate();
        all.filter_map(|(number, host)| Some((number as u32, host.as_deref_mut()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Host> {
        self.iter().map(|(_, host)| host)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = u32> {
        self.iter().map(|(number, _)| number)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Not come yet.
    Away,
    Alive,
    /// Killed or stopped.
    Gone,
}

pub(super) struct Host {
    /// None where rivals carry the broadcast.
    pub(super) peer: Option<Box<Peer<Light>>>,
    pub(super) life: Life,
    pub(super) session: Option<u64>,
    pub(super) started: Instant,
    pub(super) upload_bps: u64,
    pub(super) wakes: Instant,
    pub(super) traffic: BTreeMap<u32, (u64, u64)>,
    /// What it had sent in all by each of the last beats, a second's, and the most there was
    /// between the first and the last of them.
    pub(super) beats: VecDeque<u64>,
    pub(super) second_max: u64,
    /// Alters pieces.
    pub(super) lies: bool,
    /// Takes children and sends them nothing.
    pub(super) rides: bool,
    /// Only pretends to watch.
    pub(super) sybil: bool,
    /// Sends few of the pieces it should.
    pub(super) drips: bool,
    pub(super) pieces_sent: u64,
    /// Where it stood when the last fault struck.
    pub(super) marked: Option<Stats>,
    pub(super) progress: Progress,
    /// How long its picture stood by the last second that was drawn.
    pub(super) stood: Option<Duration>,
    /// Where it stood when it was first measured.
    pub(super) measured: Option<Mark>,
    /// What it had when the warm-up was over.
    pub(super) counted: Counts,
}

impl Host {
    /// Whether it keeps back the piece that it should send next.
    pub(super) fn withholds(&self) -> bool {
        self.rides || self.drips && !self.pieces_sent.is_multiple_of(DRIPPED)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }

    /// Takes down what it has sent so far.
    pub(super) fn beat(&mut self, sent: u64) {
        self.beats.push_back(sent);
        if self.beats.len() > SECOND {
            let before = self.beats.pop_front().unwrap_or(sent);
            self.second_max = self.second_max.max(sent - before);
        }
    }
}

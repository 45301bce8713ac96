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

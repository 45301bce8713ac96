//! What a rival may see of the world, and what it asks of it.

use std::{collections::BTreeSet, time::Duration};

use overlay_core::{Instant, Random};

use super::{Viewers, Way};
use crate::network::Network;

/// The server's number.
pub(crate) const SERVER: u32 = 0;
/// To a tracker, or what stands for it, and back.
const TRACKER_ROUND_TRIP: Duration = Duration::from_millis(30);
/// Round trips until two can talk: as for links between our own peers.
const HANDSHAKE_ROUND_TRIPS: u32 = 3;

/// The world, for as long as one event is handled.
pub(crate) struct Swarm<'a> {
    pub(crate) now: Instant,
    pub(crate) random: &'a mut Random,
    pub(crate) network: &'a Network,
    pub(crate) viewers: &'a mut Viewers,
    pub(crate) tracker_up: bool,
    pub(crate) cut_off: &'a BTreeSet<u32>,
    pub(crate) acts: Vec<Act>,
}

/// What a rival asks for.
pub(crate) enum Act {
    /// To say something; parts are dropped if more than this waits in the line before them.
    Say(Way, Said, Duration),
    /// To be woken.
    Wake(Instant, u32, Why),
}

/// What viewers and servers say to each other.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// Media.
    Part(Part),
    /// "I am here."
    Alive,
    /// "Be my parent in this stripe", or "be my partner".
    Join(u8),
    /// "Yes."
    Accept(u8),
    /// "No", or "no longer": somebody else needs the place.
    Refuse(u8),
    /// "I have these": the first of them that may be missing, and bits from there on.
    Have(u64, u128),
    /// "Send me these."
    Ask(Vec<u64>),
    /// "I cannot send you this now."
    Busy(u64),
    /// "What is new?"
    Poll,
    /// "This is the newest."
    Newest(u64),
}

impl Said {
    /// Bytes, transport framing aside: a kind, numbers, and what HTTP adds to what it carries.
    pub(crate) fn wire_len(&self) -> usize {
        match self {
            Self::Part(part) => 14 + part.len as usize,
            Self::Alive => 1,
            Self::Join(_) | Self::Accept(_) | Self::Refuse(_) => 4,
            Self::Have(..) => 25,
            Self::Ask(which) => 2 + 8 * which.len(),
            Self::Busy(_) => 9,
            Self::Poll => 300,
            Self::Newest(_) => 700,
        }
    }
}

/// One or more generations, or of one a stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The first generation in it,
    pub(crate) first: u64,
    /// and how many follow each other.
    pub(crate) count: u64,
    /// Which part of them.
    pub(crate) stripe: u8,
    pub(crate) len: u32,
    /// Somebody altered it.
    pub(crate) forged: bool,
}

/// Why one wanted to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// To find a place in this stripe, or a partner.
    Find(u8),
    /// To ask this one for it.
    Ask(u8, u32),
    /// To see whether an answer came from this one.
    Answered(u8, u32),
    /// To look after everything, again and again.
    Look,
}

impl Swarm<'_> {
    /// Says something; media is dropped if more than `bound` waits before it.
    pub(crate) fn say(&mut self, from: u32, to: u32, said: Said, bound: Duration) {
        self.acts.push(Act::Say(Way { from, to }, said, bound));
    }

    /// Says something that is small.
    pub(crate) fn tell(&mut self, from: u32, to: u32, said: Said) {
        self.say(from, to, said, Duration::ZERO);
    }

    pub(crate) fn wake(&mut self, after: Duration, viewer: u32, why: Why) {
        self.acts.push(Act::Wake(self.now + after, viewer, why));
    }

    /// Until two that heard of each other can talk.
    pub(crate) fn handshake(&self, a: u32, b: u32) -> Duration {
        self.network.latency(a, b) * 2 * HANDSHAKE_ROUND_TRIPS
    }

    /// Until a tracker's answer is there; none while nobody reaches it.
    pub(crate) fn tracker(&self, viewer: u32) -> Option<Duration> {
        let reaches = self.tracker_up && !self.cut_off.contains(&viewer);
        reaches.then_some(TRACKER_ROUND_TRIP)
    }

    /// What waits in a viewer's line.
    pub(crate) fn backlog(&self, viewer: u32) -> Duration {
        self.network.backlog(self.now, viewer)
    }

    /// At random below one.
    pub(crate) fn unit(&mut self) -> f64 {
        self.random.unit()
    }

    /// One of them.
    pub(crate) fn one_of(&mut self, these: &[u32]) -> Option<u32> {
        let at = self.random.below(these.len() as u64) as usize;
        these.get(at).copied()
    }
}

//! What every rival's viewers have in common: a player, and counters.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use overlay_core::{
    Instant, PeerId, StripeId,
    peer::stats::{State, Stats},
    wire::ByteCounts,
};

use super::{Format, Part, Rival};

/// Everybody who watches, by number, and what there is to watch.
pub(crate) struct Viewers {
    pub(crate) format: Format,
    generation: Duration,
    of: BTreeMap<u32, Viewer>,
    /// Generations that may still be asked for: ingest, and length.
    published: BTreeMap<u64, (Instant, u32)>,
}

/// One viewer.
#[derive(Default)]
pub(crate) struct Viewer {
    pub(crate) upload_bps: u64,
    started: Instant,
    held: BTreeMap<u64, Held>,
    /// Parts that were not what the encoder made, by their first generation.
    altered: BTreeSet<u64>,
    /// All before it were due.
    next_due: u64,
    /// The picture stands.
    stands: bool,
    startup: Option<Duration>,
    stalls: u64,
    stall_time: Duration,
    played: u64,
    skipped: u64,
    played_bytes: u64,
    from_server: Received,
    from_viewers: Received,
    media_sent: u64,
}

#[derive(Clone, Copy, Default)]
struct Held {
    stripes: u32,
    bytes: u32,
    forged: bool,
}

#[derive(Default)]
struct Received {
    media: u64,
    duplicate: u64,
    /// All there was on the wire.
    wire: u64,
}

/// What became of a generation that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It was shown; forged, or as the encoder made it.
    Played { forged: bool },
    /// It was not there.
    Missing,
    /// The viewer has nothing to play yet.
    Before,
}

/// Nobody plays further behind than this.
const KEPT: usize = 1000;

impl Viewers {
    pub(crate) fn new(format: Format, generation: Duration) -> Self {
        Self {
            format,
            generation,
            of: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, number: u32, upload_bps: u64, started: Instant) {
        let viewer = Viewer {
            upload_bps,
            started,
            ..Viewer::default()
        };
        self.of.insert(number, viewer);
    }

    pub(crate) fn forget(&mut self, number: u32) {
        self.of.remove(&number);
    }

    /// What a viewer offers.
    pub(crate) fn upload_bps(&self, number: u32) -> u64 {
        self.of.get(&number).map_or(0, |viewer| viewer.upload_bps)
    }

    /// Whether a viewer, or the server, sends media at all.
    pub(crate) fn can_send(&self, number: u32) -> bool {
        number == super::swarm::SERVER || self.upload_bps(number) > 0
    }

    pub(crate) fn published(&mut self, sequence: u64, at: Instant, len: u32) {
        self.published.insert(sequence, (at, len));
        if self.published.len() > KEPT {
            self.published.pop_first();
        }
    }

    /// The generations that are not due yet.
    pub(crate) fn to_come(&self, now: Instant) -> Vec<u64> {
        let due = |at: &Instant| *at + self.format.delay > now;
        let recent = self.published.iter().filter(|(_, (at, _))| due(at));
        recent.map(|(sequence, _)| *sequence).collect()
    }

    /// When a generation is to be shown; none if it is not known.
    pub(crate) fn due_at(&self, sequence: u64) -> Option<Instant> {
        let (at, _) = self.published.get(&sequence)?;
        Some(*at + self.format.delay)
    }

    /// A part of so many generations; none unless all of them are known.
    pub(crate) fn part(&self, first: u64, count: u64, stripe: u8) -> Option<Part> {
        let lens = (first..first + count).map(|at| self.published.get(&at).map(|(_, len)| len));
        let len: Option<u32> = lens.sum();
        Some(Part {
            first,
            count,
            stripe,
            len: len?.div_ceil(u32::from(self.format.parts)),
            forged: false,
        })
    }

    /// The same as one has it who may have been given what was altered.
    pub(crate) fn part_of(&self, number: u32, first: u64, count: u64) -> Option<Part> {
        let viewer = self.of.get(&number);
        Some(Part {
            forged: viewer.is_some_and(|viewer| viewer.altered.contains(&first)),
            ..self.part(first, count, 0)?
        })
    }

    /// A viewer takes what it was sent; whether it is new and in time.
    pub(crate) fn take(&mut self, number: u32, from_server: bool, part: &Part) -> bool {
        let Some(viewer) = self.of.get_mut(&number) else {
            return false;
        };
        let bit = 1 << part.stripe;
        let mut new = false;
        for sequence in part.first.max(viewer.next_due)..part.first + part.count {
            let held = viewer.held.entry(sequence).or_default();
            if held.stripes & bit == 0 {
                held.stripes |= bit;
                held.bytes += part.len / part.count.max(1) as u32;
                held.forged |= part.forged;
                new = true;
            }
        }
        if new && part.forged {
            viewer.altered.insert(part.first);
            if viewer.altered.len() > KEPT {
                viewer.altered.pop_first();
            }
        }
        let received = viewer.received(from_server);
        match new {
            true => received.media += u64::from(part.len),
            false => received.duplicate += u64::from(part.len),
        }
        new
    }

    pub(crate) fn count_sent(&mut self, number: u32, part: &Part) {
        if let Some(viewer) = self.of.get_mut(&number) {
            viewer.media_sent += u64::from(part.len);
        }
    }

    pub(crate) fn count_received(&mut self, number: u32, from_server: bool, wire: u64) {
        if let Some(viewer) = self.of.get_mut(&number) {
            viewer.received(from_server).wire += wire;
        }
    }

    /// A generation is due everywhere.
    pub(crate) fn due(&mut self, now: Instant, number: u32, sequence: u64) -> Due {
        let enough = u32::from(self.format.enough);
        let generation = self.generation;
        let Some(viewer) = self.of.get_mut(&number) else {
            return Due::Before;
        };
        viewer.next_due = sequence + 1;
        let held = viewer.held.remove(&sequence).unwrap_or_default();
        while viewer
            .held
            .first_key_value()
            .is_some_and(|(at, _)| *at < sequence)
        {
            viewer.held.pop_first();
        }
        if held.stripes.count_ones() >= enough {
            let startup = now.since(viewer.started);
            viewer.startup.get_or_insert(startup);
            viewer.stands = false;
            viewer.played += 1;
            viewer.played_bytes += u64::from(held.bytes);
            return Due::Played {
                forged: held.forged,
            };
        }
        if viewer.startup.is_none() {
            return Due::Before;
        }
        viewer.stalls += u64::from(!viewer.stands);
        viewer.stands = true;
        viewer.skipped += 1;
        viewer.stall_time += generation;
        Due::Missing
    }

    /// A viewer in figures, as our own peers have them.
    pub(crate) fn stats(&self, rival: &dyn Rival, number: u32) -> Stats {
        let Some(viewer) = self.of.get(&number) else {
            return Stats::default();
        };
        let plays = viewer.startup.is_some() && !viewer.stands;
        let lag = viewer.startup.map(|_| self.format.delay);
        let stripe = |at: u8| StripeId::first(at + 1).last();
        let peer = |number: u32| PeerId(u64::from(number) + 1);
        Stats {
            state: if plays {
                State::Playing
            } else {
                State::Joining
            },
            startup: viewer.startup,
            lag_p50: lag,
            lag_p95: lag,
            lag_last: lag,
            stalls: viewer.stalls,
            stall_time: viewer.stall_time,
            played: viewer.played,
            skipped: viewer.skipped,
            played_bytes: viewer.played_bytes,
            received_from_seeders: viewer.from_server.counts(),
            received_from_peers: viewer.from_viewers.counts(),
            sent: ByteCounts {
                media: viewer.media_sent,
                ..ByteCounts::default()
            },
            parents: (rival.parents(number).into_iter())
                .filter_map(|(at, parent)| Some((stripe(at)?, peer(parent))))
                .collect(),
            children: (rival.children(number).into_iter())
                .filter_map(|(at, all)| Some((stripe(at)?, all.into_iter().map(peer).collect())))
                .collect(),
            ..Stats::default()
        }
    }
}

impl Viewer {
    fn received(&mut self, from_server: bool) -> &mut Received {
        match from_server {
            true => &mut self.from_server,
            false => &mut self.from_viewers,
        }
    }
}

impl Received {
    fn counts(&self) -> ByteCounts {
        ByteCounts {
            media: self.media,
            duplicate: self.duplicate,
            control: self.wire.saturating_sub(self.media + self.duplicate),
            ..ByteCounts::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: Duration = Duration::from_millis(200);

    fn one() -> Viewers {
        let format = Format {
            parts: 4,
            enough: 3,
            delay: Duration::from_secs(1),
            server_unbounded: false,
        };
        let mut viewers = Viewers::new(format, GENERATION);
        viewers.add(1, 0, Instant::default());
        for sequence in 0..5 {
            viewers.published(
                sequence,
                Instant::default() + GENERATION * sequence as u32,
                4000,
            );
        }
        viewers
    }

    fn give(viewers: &mut Viewers, sequence: u64, stripes: std::ops::Range<u8>) {
        for stripe in stripes {
            let part = viewers.part(sequence, 1, stripe).unwrap();
            assert!(viewers.take(1, false, &part));
        }
    }

    #[test]
    fn what_is_not_there_when_due_is_a_stall() {
        let mut viewers = one();
        let due = |viewers: &mut Viewers, sequence| {
            let at = viewers.due_at(sequence).unwrap();
            viewers.due(at, 1, sequence)
        };
        assert_eq!(due(&mut viewers, 0), Due::Before);
        give(&mut viewers, 1, 0..3);
        assert_eq!(due(&mut viewers, 1), Due::Played { forged: false });
        give(&mut viewers, 2, 0..2);
        assert_eq!(due(&mut viewers, 2), Due::Missing);
        assert_eq!(due(&mut viewers, 3), Due::Missing);
        give(&mut viewers, 4, 0..4);
        assert_eq!(due(&mut viewers, 4), Due::Played { forged: false });
        let viewer = &viewers.of[&1];
        assert_eq!((viewer.stalls, viewer.stall_time), (1, GENERATION * 2));
        assert_eq!(viewer.startup, Some(Duration::from_millis(1200)));
        assert_eq!(viewer.played_bytes, 7000);
    }

    #[test]
    fn what_comes_twice_or_late_is_a_duplicate() {
        let mut viewers = one();
        let part = viewers.part(2, 1, 0).unwrap();
        assert!(viewers.take(1, true, &part));
        assert!(!viewers.take(1, false, &part));
        viewers.due(viewers.due_at(3).unwrap(), 1, 3);
        let late = viewers.part(3, 1, 1).unwrap();
        assert!(!viewers.take(1, false, &late));
        let viewer = &viewers.of[&1];
        assert_eq!(viewer.from_server.media, 1000);
        assert_eq!(viewer.from_viewers.duplicate, 2000);
    }
}

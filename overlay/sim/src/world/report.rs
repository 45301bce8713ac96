//! What came of a run.

use std::{collections::BTreeMap, time::Duration};

use overlay_core::{
    peer::stats::{State, Stats},
    wire::ByteCounts,
};

use crate::Overlay;

use super::{Curves, Findings, Measures, SEEDER, World, host::Host, index};

/// After a fault, survivors are watched for so long.
const WATCHED: Duration = Duration::from_secs(60);

/// What came of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Who carried the broadcast.
    #[serde(skip)]
    pub overlay: Overlay,
    /// Same scenario, same seed, same hash.
    pub trace_hash: String,
    /// Viewers alive at the end.
    pub viewers: usize,
    /// Of them, those whose player runs.
    pub playing: usize,
    /// 1 − bytes sent by the seeder / media bytes played.
    pub saved_ratio: f64,
    /// Stalls of those alive at the end.
    pub stalls: u64,
    /// Share of those alive at the end that never stalled.
    pub lossless_share: f64,
    /// Time played / time passed since each began, over those alive at the end.
    pub continuity: f64,
    /// Median over viewers of the median lag.
    pub lag_p50_ms: f64,
    /// 95th percentile over viewers of the 95th percentile of lag.
    pub lag_p95_ms: f64,
    /// Median of process start to first release.
    pub startup_p50_ms: f64,
    /// 95th percentile of it.
    pub startup_p95_ms: f64,
    /// Duplicates / all bytes received.
    pub duplicate_share: f64,
    /// Parity / all bytes received.
    pub redundancy_share: f64,
    /// Framing, acknowledgements, headers and messages / all bytes received.
    pub control_share: f64,
    /// The worst ratio, over peers, of what was sent to what was allowed.
    pub upload_over_cap: f64,
    /// The most that one of them sent in a second, over what it may send in one.
    pub upload_second_over_cap: f64,
    /// The most stripes in which one viewer has children at the end.
    pub relayed_stripes_max: usize,
    /// Pieces that nobody signed, sent on by those who mean well.
    pub bad_pieces_relayed: u64,
    /// Generations played that are not what the encoder made.
    pub bad_generations_played: u64,
    /// Viewers that mean well and were cut by somebody.
    pub honest_cut: usize,
    /// What became of the survivors from the first fault to a minute after the last; none
    /// without one.
    pub fault: Option<FaultReport>,
    /// What was measured once the warm-up was over.
    #[serde(skip)]
    pub measures: Measures,
    /// What can be drawn of it.
    #[serde(skip)]
    pub curves: Curves,
    /// What was found wrong, if it was looked for.
    #[serde(skip)]
    pub findings: Option<Findings>,
    /// Events handled.
    pub events: u64,
}

/// From the first fault to a minute after the last, or what of it the run lasted.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct FaultReport {
    /// Viewers that played when it struck and were there to its end.
    pub survivors: usize,
    /// Their stalls since.
    pub stalls: u64,
    /// The longest that any of them stood altogether, ms.
    pub stall_ms_max: f64,
    /// Share of them without a stall.
    pub lossless_share: f64,
    /// Time played / time passed, over all of them.
    pub continuity: f64,
    /// Bytes the seeder sent, in stream rates.
    pub seeder_rate: f64,
    /// The same as they are.
    pub seeder_bytes: u64,
}

/// The same while it goes on: stalls of each survivor, and how long it stood.
#[derive(Clone)]
pub(super) struct Minute {
    survivors: Vec<(u64, Duration)>,
    seeder_bytes: u64,
}

impl World {
    pub(super) fn is_sybil(&self, number: u32) -> bool {
        self.hosts.get(&number).is_some_and(|host| host.sybil)
    }

    /// Who watches now.
    pub(super) fn viewers_there(&self) -> Vec<u32> {
        let there = self
            .hosts
            .iter()
            .filter(|(number, host)| *number != SEEDER && host.is_alive() && !host.sybil);
        there.map(|(number, _)| number).collect()
    }

    pub(super) fn report(&self) -> Report {
        let alive: Vec<(u32, &Host)> = self
            .hosts
            .iter()
            .filter(|(number, host)| *number != SEEDER && host.is_alive() && !host.sybil)
            .collect();
        let honest: Vec<(u32, &Host)> = alive
            .iter()
            .filter(|(_, host)| !host.lies)
            .copied()
            .collect();
        let stats: Vec<Stats> = honest
            .iter()
            .map(|(number, _)| self.stats(*number))
            .collect();
        let swarm = self.tracker_stats();
        let sum = |pick: fn(&Stats) -> u64| stats.iter().map(pick).sum::<u64>();
        let received = sum(|s| total(&s.received_from_peers) + total(&s.received_from_seeders));
        let share = |part: u64| part as f64 / received.max(1) as f64;
        let both = |pick: fn(&ByteCounts) -> u64| -> u64 {
            stats
                .iter()
                .map(|s| pick(&s.received_from_peers) + pick(&s.received_from_seeders))
                .sum()
        };
        let times = |pick: fn(&Stats) -> Option<Duration>, part: f64| {
            let found = stats.iter().filter_map(pick);
            percentile(found.map(ms).collect(), part)
        };
        Report {
            overlay: self.scenario.overlay,
            trace_hash: format!("{:016x}", self.hash),
            viewers: alive.len(),
            playing: stats.iter().filter(|s| s.state == State::Playing).count(),
            saved_ratio: match self.rival {
                Some(_) => self.measures().saved_ratio.unwrap_or(0.0),
                None => swarm.saved_ratio.unwrap_or(0.0),
            },
            stalls: sum(|s| s.stalls),
            lossless_share: stats.iter().filter(|s| s.stalls == 0).count() as f64
                / stats.len().max(1) as f64,
            continuity: self.continuity(&honest),
            lag_p50_ms: times(|s| s.lag_p50, 0.5),
            lag_p95_ms: times(|s| s.lag_p95, 0.95),
            startup_p50_ms: times(|s| s.startup, 0.5),
            startup_p95_ms: times(|s| s.startup, 0.95),
            duplicate_share: share(both(|bytes| bytes.duplicate)),
            redundancy_share: share(both(|bytes| bytes.parity)),
            control_share: share(both(|bytes| bytes.control)),
            upload_over_cap: alive
                .iter()
                .filter(|(_, host)| host.upload_bps > 0)
                .map(|(number, host)| self.over_cap(*number, host))
                .fold(0.0, f64::max),
            upload_second_over_cap: alive
                .iter()
                .filter(|(_, host)| host.upload_bps > 0)
                .map(|(_, host)| host.second_max as f64 * 8.0 / host.upload_bps as f64)
                .fold(0.0, f64::max),
            relayed_stripes_max: stats.iter().map(|s| s.children.len()).max().unwrap_or(0),
            bad_pieces_relayed: self.bad_relayed,
            bad_generations_played: self.false_played,
            honest_cut: self.honest_cut(&stats),
            fault: self.fault_report(),
            measures: self.measures(),
            curves: self.curves(),
            findings: self.findings(),
            events: self.events,
        }
    }

    fn continuity(&self, hosts: &[(u32, &Host)]) -> f64 {
        let (mut stood, mut passed) = (Duration::ZERO, Duration::ZERO);
        for (number, host) in hosts {
            let stats = self.stats(*number);
            let Some(startup) = stats.startup else {
                continue;
            };
            let span = self.now.since(host.started).saturating_sub(startup);
            passed += span;
            // A stall that goes on is counted by what was played instead.
            let played = self.scenario.generation * stats.played as u32;
            stood += span.saturating_sub(played).max(stats.stall_time);
        }
        1.0 - stood.as_secs_f64() / passed.as_secs_f64().max(1e-9)
    }

    pub(super) fn over_cap(&self, number: u32, host: &Host) -> f64 {
        let seconds = self.now.since(host.started).as_secs_f64();
        let allowed = host.upload_bps as f64 / 8.0 * seconds;
        self.network.sent(number) as f64 / allowed.max(1.0)
    }

    fn honest_cut(&self, stats: &[Stats]) -> usize {
        let mut cut: Vec<u32> = stats
            .iter()
            .flat_map(|stats| stats.cut.iter().map(|peer| index(*peer)))
            .chain(self.cut.iter().copied())
            .filter(|number| !self.liars.contains(number))
            .collect();
        cut.sort_unstable();
        cut.dedup();
        cut.len()
    }

    /// One is gone; whom it cut is not forgotten.
    pub(super) fn remember_cut(&mut self, number: u32) {
        if !self.liars.contains(&number) {
            self.cut
                .extend(self.stats(number).cut.into_iter().map(index));
        }
    }

    /// Remembers where everyone stands as a fault strikes.
    pub(super) fn mark(&mut self) {
        let sent = self.network.sent(SEEDER);
        self.struck = Some((self.now, sent));
        let there = self.viewers_there();
        let mut stats: BTreeMap<u32, Stats> = there
            .into_iter()
            .map(|number| (number, self.stats(number)))
            .collect();
        for (number, host) in self.hosts.iter_mut() {
            let stats = stats.remove(&number).filter(|_| !host.lies);
            host.marked = stats.filter(|stats| stats.state == State::Playing);
        }
    }

    /// Everyone is watched for another minute.
    pub(super) fn watch_on(&mut self) {
        self.minute = None;
        self.watched_until = self.now + WATCHED;
        self.at(self.watched_until, super::Event::Watched);
    }

    /// The minute after the last fault is over.
    pub(super) fn watched(&mut self) {
        if let Some((_, sent)) = self.struck.filter(|_| self.now >= self.watched_until) {
            self.minute = Some(self.minute_since(sent));
        }
    }

    /// What came of the time since the first fault, of those whom it met and who are there.
    fn minute_since(&self, sent: u64) -> Minute {
        let mut survivors = Vec::new();
        for number in self.viewers_there() {
            let host = self.hosts.get(&number);
            if let Some(then) = host.and_then(|host| host.marked.as_ref()) {
                let now = self.stats(number);
                let stood = now.stall_time.saturating_sub(then.stall_time);
                survivors.push((now.stalls.saturating_sub(then.stalls), stood));
            }
        }
        Minute {
            survivors,
            seeder_bytes: self.network.sent(SEEDER) - sent,
        }
    }

    fn fault_report(&self) -> Option<FaultReport> {
        let (since, sent) = self.struck?;
        let span = self.now.min(self.watched_until).since(since);
        let minute = self.minute.clone();
        let Minute {
            survivors,
            seeder_bytes: bytes,
        } = minute.unwrap_or_else(|| self.minute_since(sent));
        let count = survivors.len().max(1) as f64;
        let stood: Duration = survivors.iter().map(|(_, stood)| *stood).sum();
        let rate = self.scenario.bitrate_bps as f64 / 8.0 * span.as_secs_f64();
        Some(FaultReport {
            survivors: survivors.len(),
            stalls: survivors.iter().map(|(stalls, _)| stalls).sum(),
            stall_ms_max: survivors.iter().map(|(_, at)| ms(*at)).fold(0.0, f64::max),
            lossless_share: survivors.iter().filter(|(stalls, _)| *stalls == 0).count() as f64
                / count,
            continuity: 1.0 - stood.as_secs_f64() / (span.as_secs_f64() * count).max(1e-9),
            seeder_rate: bytes as f64 / rate.max(1.0),
            seeder_bytes: bytes,
        })
    }
}

pub(super) fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

pub(super) fn total(bytes: &ByteCounts) -> u64 {
    bytes.media + bytes.parity + bytes.duplicate + bytes.rescue + bytes.control
}

pub(super) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 * share).ceil() as usize).max(1) - 1;
    values.get(index).copied().unwrap_or(f64::NAN)
}

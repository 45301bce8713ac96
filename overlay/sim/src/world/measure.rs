//! What is measured once the warm-up is over, over everyone who was there, whoever left again
//! among them.
//!
//! The one rule: a viewer counts for the time that it was there; nothing is an average of
//! averages.

use std::time::Duration;

use overlay_core::{
    Instant,
    peer::stats::{State, Stats},
    wire::ByteCounts,
};

use super::{
    SEEDER, World,
    host::Host,
    report::{ms, percentile, total},
};

/// Continuity of a viewer counts from so long after it came.
pub(super) const BEGINS: Duration = Duration::from_secs(10);

/// The figures of a run. What it does not define is none.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Measures {
    /// 1 − bytes that the seeder sent / media bytes played.
    pub saved_ratio: Option<f64>,
    /// What the seeder sent, in stream rates.
    pub seeder_rate: Option<f64>,
    /// The same over the least that the swarm's uplinks leave to it: n/k stream rates, or the
    /// demand with a margin and a half stripe beyond k, less all that viewers offer.
    pub origin_over_bound: Option<f64>,
    /// Media sent by peers / upload offered.
    pub upload_utilisation: Option<f64>,
    /// Time played / time there, from ten seconds after a viewer came.
    pub continuity: Option<f64>,
    /// Seconds that a viewer stood in an hour.
    pub stall_s_per_hour: Option<f64>,
    /// From coming to the first picture, of those who came since; of all where nobody did.
    pub startup_p50_ms: Option<f64>,
    /// 95th percentile of it.
    pub startup_p95_ms: Option<f64>,
    /// Over viewers, the median of each one's.
    pub lag_p50_ms: Option<f64>,
    /// Over viewers, the 95th percentile of each one's.
    pub lag_p95_ms: Option<f64>,
    /// Parity / all bytes received.
    pub redundancy_share: Option<f64>,
    /// What came twice or too late / all bytes received.
    pub duplicate_share: Option<f64>,
    /// Framing, acknowledgements, headers and messages / all bytes received.
    pub control_share: Option<f64>,
    /// From ingest until enough of a generation was there to show it, over viewers and
    /// generations published since each came.
    pub arrival_p50_ms: Option<f64>,
    /// 95th percentile of it.
    pub arrival_p95_ms: Option<f64>,
    /// Of stripes whose parent went: from when the first part was due that did not come until
    /// the stripe, or another instead of it, is pushed again.
    pub repair_p50_ms: Option<f64>,
    /// 95th percentile of it.
    pub repair_p95_ms: Option<f64>,
    /// From the parent's end until its child asks another, or the tracker.
    pub detect_p99_ms: Option<f64>,
    /// From the parent's end until the stripe is pushed again.
    pub orphan_p95_ms: Option<f64>,
    /// Edges from a seeder to the farthest viewer in any stripe, at the end.
    pub depth_max: Option<f64>,
    /// Viewers that came in all.
    pub came: f64,
    /// Viewers that stayed for ten seconds and never saw a picture.
    pub never_played: f64,
    /// The least that a seeder must send, in stream rates.
    pub bound_origin_rate: Option<f64>,
    /// The highest media rate that all uplinks together could carry to everyone, of the
    /// broadcast's own (Kumar, Liu and Ross 2007), with one and a half stripes of parity in sixteen.
    pub bound_rate: Option<f64>,
}

/// What was gathered of those who left, and where the seeder stood.
#[derive(Default)]
pub(super) struct Measure {
    since: Option<Instant>,
    seeder_sent: u64,
    past: Past,
}

/// A viewer when it was first measured.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    at: Instant,
    played: bool,
    stood: Duration,
}

/// Of one viewer, since its beginning.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    received: ByteCounts,
    media_sent: u64,
    played_bytes: u64,
}

/// Of all viewers.
#[derive(Clone, Default)]
struct Past {
    counts: Counts,
    /// Bytes.
    offered: f64,
    /// Together.
    present: Duration,
    there: Duration,
    stood: Duration,
    came: u64,
    never_played: u64,
    startups: Vec<f64>,
    late_startups: Vec<f64>,
    lags_p50: Vec<f64>,
    lags_p95: Vec<f64>,
}

impl Measure {
    /// When measuring began, if it did.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

impl World {
    pub(super) fn measure_begins(&mut self) {
        self.measure.since = Some(self.now);
        self.measure.seeder_sent = self.network.sent(SEEDER);
        let now = self.now;
        for number in self.viewers_there() {
            let stats = self.stats(number);
            let Some(host) = self.hosts.get_mut(&number) else {
                continue;
            };
            host.counted = Counts::of(&stats);
            if now.since(host.started) >= BEGINS {
                host.measured = Some(Mark::of(now, &stats));
            }
        }
    }

    /// A viewer has had time to begin.
    pub(super) fn measure_of(&mut self, number: u32) {
        let (now, begun) = (self.now, self.measure.since.is_some());
        let stats = self.stats(number);
        if let Some(host) = self.hosts.get_mut(&number).filter(|host| host.is_alive()) {
            let first = host.measured.is_none();
            if begun && first {
                host.measured = Some(Mark::of(now, &stats));
            }
        }
    }

    pub(super) fn measure_leaves(&mut self, number: u32) {
        let Some(since) = self.measure.since else {
            return;
        };
        let stats = self.stats(number);
        if let Some(host) = self.hosts.get(&number) {
            self.measure.past.add(self.now, since, (host, &stats));
        }
    }

    pub(super) fn measures(&self) -> Measures {
        let Some(since) = self.measure.since else {
            return Measures::default();
        };
        let mut all = self.measure.past.clone();
        for number in self.viewers_there() {
            if let Some(host) = self.hosts.get(&number) {
                all.add(self.now, since, (host, &self.stats(number)));
            }
        }
        let span = self.now.since(since).as_secs_f64();
        let rate = self.scenario.bitrate_bps as f64 / 8.0;
        let sent = (self.network.sent(SEEDER) - self.measure.seeder_sent) as f64;
        let seeder_rate = (span > 0.0).then(|| sent / span / rate);
        let bound = all.bound_origin_rate(span, rate);
        let mut measures = all.figures();
        measures.saved_ratio = part(sent, all.counts.played_bytes as f64).map(|part| 1.0 - part);
        measures.seeder_rate = seeder_rate;
        measures.bound_origin_rate = Some(bound);
        measures.bound_rate = self.bound_rate(&all, span);
        measures.origin_over_bound = seeder_rate.map(|rate| rate / bound);
        let (repair, orphan) = self.repairs();
        measures.arrival_p50_ms = self.times.arrival.at(0.5);
        measures.arrival_p95_ms = self.times.arrival.at(0.95);
        measures.repair_p50_ms = repair.at(0.5);
        measures.repair_p95_ms = repair.at(0.95);
        measures.detect_p99_ms = self.times.detect.at(0.99);
        measures.orphan_p95_ms = orphan.at(0.95);
        measures.depth_max = self
            .depths()
            .len()
            .checked_sub(1)
            .map(|deepest| deepest as f64);
        measures
    }

    fn bound_rate(&self, all: &Past, seconds: f64) -> Option<f64> {
        let seeder = self.scenario.seeder_bps as f64;
        let viewers = all.present.as_secs_f64() / seconds.max(1e-9);
        let offered = all.offered * 8.0 / seconds.max(1e-9);
        let most = part(seeder + offered, viewers)?.min(seeder);
        Some(most / (1.0 + 1.5 / 16.0) / self.scenario.bitrate_bps as f64)
    }
}

impl Mark {
    fn of(at: Instant, stats: &Stats) -> Self {
        Self {
            at,
            played: stats.startup.is_some(),
            stood: stats.stall_time,
        }
    }
}

impl Counts {
    fn of(stats: &Stats) -> Self {
        let (seeders, peers) = (&stats.received_from_seeders, &stats.received_from_peers);
        Self {
            received: ByteCounts {
                media: seeders.media + peers.media,
                parity: seeders.parity + peers.parity,
                duplicate: seeders.duplicate + peers.duplicate,
                rescue: seeders.rescue + peers.rescue,
                control: seeders.control + peers.control,
            },
            media_sent: stats.sent.media,
            played_bytes: stats.played_bytes,
        }
    }

    fn add(&mut self, now: &Self, before: &Self) {
        let (sum, now_in, before_in) = (&mut self.received, &now.received, &before.received);
        sum.media += now_in.media.saturating_sub(before_in.media);
        sum.parity += now_in.parity.saturating_sub(before_in.parity);
        sum.duplicate += now_in.duplicate.saturating_sub(before_in.duplicate);
        sum.rescue += now_in.rescue.saturating_sub(before_in.rescue);
        sum.control += now_in.control.saturating_sub(before_in.control);
        self.media_sent += now.media_sent.saturating_sub(before.media_sent);
        self.played_bytes += now.played_bytes.saturating_sub(before.played_bytes);
    }
}

impl Past {
    /// The least that a seeder must send: each stripe once, and what all uplinks together do
    /// not carry of the demand, with one and a half stripes of parity in sixteen; over the
    /// seconds of the run, in stream rates of so many bytes a second.
    fn bound_origin_rate(&self, seconds: f64, rate: f64) -> f64 {
        let (n_over_k, epsilon) = (20.0 / 16.0, 1.5 / 16.0);
        let viewers = self.present.as_secs_f64() / seconds.max(1e-9);
        let offered = self.offered / seconds.max(1e-9) / rate;
        (viewers * (1.0 + epsilon) - offered).max(n_over_k)
    }

    /// A viewer leaves, or the run is over.
    fn add(&mut self, now: Instant, since: Instant, (host, stats): (&Host, &Stats)) {
        let late = host.started >= since;
        self.counts.add(&Counts::of(stats), &host.counted);
        let there = now.since(host.started.max(since));
        self.offered += host.upload_bps as f64 / 8.0 * there.as_secs_f64();
        self.present += there;
        self.came += 1;
        if let Some(mark) = &host.measured {
            let there = now.since(mark.at);
            let begins = stats.startup.map_or(now, |after| host.started + after);
            let mut stood = stats.stall_time.saturating_sub(mark.stood);
            if !mark.played {
                stood += begins.min(now).since(mark.at);
                self.never_played += u64::from(stats.startup.is_none());
            }
            self.there += there;
            self.stood += stood.min(there);
        }
        if let Some(startup) = stats.startup {
            self.startups.push(ms(startup));
            if late {
                self.late_startups.push(ms(startup));
            }
        }
        if stats.state == State::Playing {
            self.lags_p50.extend(stats.lag_p50.map(ms));
            self.lags_p95.extend(stats.lag_p95.map(ms));
        }
    }

    fn figures(&self) -> Measures {
        let received = total(&self.counts.received) as f64;
        let share = |bytes: u64| part(bytes as f64, received);
        let there = self.there.as_secs_f64();
        let stood = self.stood.as_secs_f64();
        let startups = match self.late_startups.is_empty() {
            true => &self.startups,
            false => &self.late_startups,
        };
        let of =
            |values: &[f64], part| (!values.is_empty()).then(|| percentile(values.to_vec(), part));
        Measures {
            upload_utilisation: part(self.counts.media_sent as f64, self.offered),
            continuity: part(stood, there).map(|part| 1.0 - part),
            stall_s_per_hour: part(stood * 3600.0, there),
            startup_p50_ms: of(startups, 0.5),
            startup_p95_ms: of(startups, 0.95),
            lag_p50_ms: of(&self.lags_p50, 0.5),
            lag_p95_ms: of(&self.lags_p95, 0.95),
            redundancy_share: share(self.counts.received.parity),
            duplicate_share: share(self.counts.received.duplicate),
            control_share: share(self.counts.received.control),
            came: self.came as f64,
            never_played: self.never_played as f64,
            ..Measures::default()
        }
    }
}

/// None of nothing.
fn part(of: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| of / whole)
}

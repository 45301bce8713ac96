//! What the tracker counts: its sessions, and what its swarms say of themselves.
//!
//! The one rule: totals only grow. A swarm's own figures end with it, and may be put right by
//! a peer that finds a piece to be a duplicate.

use std::sync::LazyLock;

use boot::metrics::{self, Counter, Counters, Gauge, Gauges, Level, RealGauges};
use overlay_core::tracker::{Role, stats::Stats};

type Label = [(&'static str, &'static str); 1];
type SentLabels = [(&'static str, &'static str); 2];
type LagLabels = [(&'static str, String); 2];

static SESSIONS: LazyLock<Gauges<Label>> = LazyLock::new(|| {
    metrics::register(
        "tracker_sessions",
        "Sessions of viewers and seeders, by role",
    )
});

static SWARMS: LazyLock<Gauge> =
    LazyLock::new(|| metrics::register("tracker_swarms", "Swarms that are remembered"));

static OVERRUNS: LazyLock<Counter> = LazyLock::new(|| {
    metrics::register(
        "tracker_sessions_overrun",
        "Sessions that were closed because their queue was full",
    )
});

static VIEWERS: LazyLock<Gauge> =
    LazyLock::new(|| metrics::register("viewers", "Viewers in all swarms of this tracker"));

static BYTES: LazyLock<Counters<SentLabels>> = LazyLock::new(|| {
    metrics::register(
        "bytes",
        "Bytes sent to viewers as they say, by sender (seeder, peers) and kind",
    )
});

static PLAYED: LazyLock<Counter> = LazyLock::new(|| {
    metrics::register("media_played_bytes", "Media bytes released to all players")
});

static STALLS: LazyLock<Counter> =
    LazyLock::new(|| metrics::register("stalls", "Stalls of all viewers"));

static LAG: LazyLock<RealGauges<LagLabels>> = LazyLock::new(|| {
    metrics::register(
        "lag_seconds",
        "Lag of those who play, over viewers, by channel and quantile",
    )
});

static STARTUP: LazyLock<RealGauges<LagLabels>> = LazyLock::new(|| {
    metrics::register(
        "startup_seconds",
        "From a viewer's start to its first picture, by channel and quantile",
    )
});

/// Makes them known, at zero, before anything is counted.
pub(crate) fn announce() {
    for role in ["viewer", "seeder"] {
        drop(SESSIONS.get_or_create(&[("role", role)]));
    }
    LazyLock::force(&SWARMS);
    LazyLock::force(&OVERRUNS);
    LazyLock::force(&VIEWERS);
    for (sender, kind, _) in &totals(&Stats::default())[..PLAYED_AT] {
        drop(BYTES.get_or_create(&[("sender", *sender), ("kind", *kind)]));
    }
    LazyLock::force(&PLAYED);
    LazyLock::force(&STALLS);
    LazyLock::force(&LAG);
    LazyLock::force(&STARTUP);
}

/// A session did not read.
pub(crate) fn overrun() {
    OVERRUNS.inc();
}

/// Counts a session until it is dropped.
pub(crate) fn attending(role: Role) -> Level {
    let name = match role {
        Role::Viewer => "viewer",
        Role::Seeder => "seeder",
    };
    Level::begin(&SESSIONS.get_or_create(&[("role", name)]))
}

/// What of a swarm's figures has been counted.
pub(crate) struct Counted {
    channel: String,
    totals: [u64; TOTALS],
    viewers: i64,
}

const TOTALS: usize = 12;

impl Counted {
    pub(crate) fn new(channel: &str) -> Self {
        SWARMS.inc();
        Self {
            channel: channel.to_owned(),
            totals: [0; TOTALS],
            viewers: 0,
        }
    }

    /// Counts what is new since it was last called.
    pub(crate) fn take(&mut self, stats: &Stats) {
        let totals = totals(stats);
        for ((counted, (sender, kind, now)), at) in self.totals.iter_mut().zip(totals).zip(0..) {
            let new = now.saturating_sub(*counted);
            *counted = now.max(*counted);
            match at {
                PLAYED_AT => PLAYED.inc_by(new),
                STALLS_AT => STALLS.inc_by(new),
                _ => {
                    let labels = [("sender", sender), ("kind", kind)];
                    BYTES.get_or_create(&labels).inc_by(new)
                }
            };
        }
        let viewers = i64::try_from(stats.viewers).unwrap_or(i64::MAX);
        VIEWERS.inc_by(viewers - self.viewers);
        self.viewers = viewers;
        self.show("0.5", &LAG, stats.lag_p50_ms);
        self.show("0.95", &LAG, stats.lag_p95_ms);
        self.show("0.5", &STARTUP, stats.startup_p50_ms);
        self.show("0.95", &STARTUP, stats.startup_p95_ms);
    }

    fn show(&self, quantile: &str, figure: &RealGauges<LagLabels>, ms: Option<u32>) {
        let labels = [
            ("channel", self.channel.clone()),
            ("quantile", quantile.to_owned()),
        ];
        match ms {
            Some(ms) => _ = figure.get_or_create(&labels).set(f64::from(ms) / 1000.0),
            None => _ = figure.remove(&labels),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        SWARMS.dec();
        VIEWERS.dec_by(self.viewers);
        for quantile in ["0.5", "0.95"] {
            self.show(quantile, &LAG, None);
            self.show(quantile, &STARTUP, None);
        }
    }
}

const PLAYED_AT: usize = 10;
const STALLS_AT: usize = 11;

/// What only grows: of bytes, who sent them and as what.
fn totals(stats: &Stats) -> [(&'static str, &'static str, u64); TOTALS] {
    let (seeders, peers) = (&stats.seeders, &stats.peers);
    [
        ("seeder", "media", seeders.media),
        ("seeder", "parity", seeders.parity),
        ("seeder", "duplicate", seeders.duplicate),
        ("seeder", "rescue", seeders.rescue),
        ("seeder", "control", seeders.control),
        ("seeder", "http", stats.http),
        ("peers", "media", peers.media),
        ("peers", "parity", peers.parity),
        ("peers", "duplicate", peers.duplicate),
        ("peers", "control", peers.control),
        ("", "", stats.media_played),
        ("", "", stats.stalls),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewers() -> i64 {
        VIEWERS.get()
    }

    #[test]
    fn totals_grow_by_what_is_new_and_viewers_go_with_their_swarm() {
        let played = || PLAYED.get();
        let (before, nobody) = (played(), viewers());
        let mut counted = Counted::new("counted");
        let mut stats = Stats {
            media_played: 100,
            viewers: 7,
            lag_p50_ms: Some(1500),
            ..Stats::default()
        };
        counted.take(&stats);
        counted.take(&stats);
        assert_eq!((played() - before, viewers() - nobody), (100, 7));
        stats.media_played = 90;
        counted.take(&stats);
        stats.media_played = 130;
        stats.viewers = 3;
        counted.take(&stats);
        assert_eq!((played() - before, viewers() - nobody), (130, 3));
        let line = "livestation_lag_seconds{channel=\"counted\",quantile=\"0.5\"} 1.5";
        assert!(metrics::render().contains(line), "{}", metrics::render());
        drop(counted);
        assert_eq!(viewers(), nobody);
        assert!(!metrics::render().contains("channel=\"counted\""));
    }
}

//! What ingest counts.

use std::sync::LazyLock;

use boot::metrics::{self, Counter, Counters, Gauges, Level};
use media::cmaf::Counts;

use crate::refusal::Refusal;

type Label = [(&'static str, &'static str); 1];

static BROADCASTS: LazyLock<Gauges<Label>> =
    LazyLock::new(|| metrics::register("ingest_broadcasts", "Broadcasters on air, by protocol"));

static REFUSALS: LazyLock<Counters<Label>> = LazyLock::new(|| {
    metrics::register(
        "ingest_refusals",
        "Broadcasters that were turned away or cut, by reason",
    )
});

static MEDIA: LazyLock<Counter> = LazyLock::new(|| {
    metrics::register("ingest_media_bytes", "Bytes of fragments given to encoders")
});

static IRREGULARITIES: LazyLock<Counters<Label>> = LazyLock::new(|| {
    metrics::register(
        "ingest_irregularities",
        "What was wrong with broadcasts that have ended, by kind",
    )
});

static CHANGES: LazyLock<Counter> = LazyLock::new(|| {
    metrics::register(
        "ingest_encoder_changes",
        "Broadcasts that went on with another encoder",
    )
});

/// Makes them known, at zero, before anything is counted.
pub(crate) fn announce() {
    for protocol in ["rtmp", "srt"] {
        drop(BROADCASTS.get_or_create(&[("protocol", protocol)]));
    }
    for reason in Refusal::NAMES {
        drop(REFUSALS.get_or_create(&[("reason", reason)]));
    }
    LazyLock::force(&MEDIA);
    irregular(&Counts::default(), 0);
    LazyLock::force(&CHANGES);
}

/// Counts a broadcaster until it is dropped.
pub(crate) fn on_air(protocol: &'static str) -> Level {
    Level::begin(&BROADCASTS.get_or_create(&[("protocol", protocol)]))
}

pub(crate) fn refused(refusal: &Refusal) {
    REFUSALS.get_or_create(&[("reason", refusal.name())]).inc();
}

pub(crate) fn fragment(bytes: usize) {
    MEDIA.inc_by(bytes as u64);
}

pub(crate) fn irregular(counts: &Counts, broken: u64) {
    for (kind, count) in [
        ("jump", counts.jumps),
        ("gap", counts.gaps),
        ("anchor", counts.anchors),
        ("dropped", counts.dropped),
        ("broken", broken),
    ] {
        IRREGULARITIES
            .get_or_create(&[("kind", kind)])
            .inc_by(count);
    }
}

pub(crate) fn encoder_changed() {
    CHANGES.inc();
}

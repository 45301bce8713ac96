//! What the encoder counts.

use std::sync::LazyLock;

use boot::metrics::{self, Counter, Gauge, Level};

static CHANNELS: LazyLock<Gauge> =
    LazyLock::new(|| metrics::register("encoder_channels", "Channels that are open"));

static GENERATIONS: LazyLock<Counter> =
    LazyLock::new(|| metrics::register("encoder_generations", "Generations sealed"));

static FEEDS: LazyLock<Gauge> = LazyLock::new(|| {
    metrics::register(
        "encoder_feeds",
        "Seeders that are given channels, one for each",
    )
});

static BREAKS: LazyLock<Counter> = LazyLock::new(|| {
    metrics::register(
        "encoder_feed_breaks",
        "Times that a seeder was lost or stuck",
    )
});

static DROPPED: LazyLock<Counter> = LazyLock::new(|| {
    metrics::register(
        "encoder_generations_dropped",
        "Generations that a seeder was not given, because it was too slow or away",
    )
});

/// Makes them known before anything is counted.
pub(crate) fn announce() {
    LazyLock::force(&CHANNELS);
    LazyLock::force(&GENERATIONS);
    LazyLock::force(&FEEDS);
    LazyLock::force(&BREAKS);
    LazyLock::force(&DROPPED);
}

pub(crate) fn channel() -> Level {
    Level::begin(&CHANNELS)
}

pub(crate) fn feed() -> Level {
    Level::begin(&FEEDS)
}

pub(crate) fn sealed() {
    GENERATIONS.inc();
}

pub(crate) fn broke() {
    BREAKS.inc();
}

pub(crate) fn dropped(count: u64) {
    DROPPED.inc_by(count);
}

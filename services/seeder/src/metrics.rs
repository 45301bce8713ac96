//! What the seeder counts. What it sends to viewers over links the tracker counts, with what
//! they send to each other.

use std::sync::LazyLock;

use boot::metrics::{self, Counter, Gauge, Level};

static CHANNELS: LazyLock<Gauge> =
    LazyLock::new(|| metrics::register("seeder_channels", "Channels that are seeded"));

static GENERATIONS: LazyLock<Counter> =
    LazyLock::new(|| metrics::register("seeder_generations", "Generations taken from encoders"));

static READERS: LazyLock<Gauge> = LazyLock::new(|| {
    metrics::register("seeder_http_readers", "Players without peers that read now")
});

static BYTES: LazyLock<Counter> =
    LazyLock::new(|| metrics::register("seeder_http_bytes", "Bytes sent to players without peers"));

/// Makes them known before anything is counted.
pub(crate) fn announce() {
    LazyLock::force(&CHANNELS);
    LazyLock::force(&GENERATIONS);
    LazyLock::force(&READERS);
    LazyLock::force(&BYTES);
}

pub(crate) fn channel() -> Level {
    Level::begin(&CHANNELS)
}

pub(crate) fn reader() -> Level {
    Level::begin(&READERS)
}

pub(crate) fn generation() {
    GENERATIONS.inc();
}

pub(crate) fn http(bytes: usize) {
    BYTES.inc_by(bytes as u64);
}

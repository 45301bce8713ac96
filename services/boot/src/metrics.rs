//! What a process counts, for Prometheus. Services keep their figures in statics that are made
//! by [`register`]; [`render`] is what `/metrics` answers.
//!
//! The one rule: a label's values are few and ours. Nothing that a stranger types becomes one,
//! and no address, key or viewer does.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use prometheus_client::{
    encoding::text,
    metrics::{family::Family, info::Info},
    registry::{Metric, Registry},
};

pub use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// Counters, one for each set of labels.
pub type Counters<L> = Family<L, Counter>;
/// Gauges, one for each set of labels.
pub type Gauges<L> = Family<L, Gauge>;
/// The same, for seconds and ratios.
pub type RealGauges<L> = Family<L, RealGauge>;
/// A gauge that is no whole number.
pub type RealGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// What every figure's name begins with.
const PREFIX: &str = "livestation";

/// How [`render`]'s text is called.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(|| {
    let mut registry = Registry::with_prefix(PREFIX);
    let build = Info::new([("version", crate::version::VERSION)]);
    registry.register("build", "The program that runs", build);
    Mutex::new(registry)
});

/// A figure that stays for the process's life. `name` goes without the prefix, and a counter's
/// without `_total`; `help` without a full stop. Each name once.
#[must_use]
pub fn register<M: Metric + Clone + Default>(name: &str, help: &str) -> M {
    let metric = M::default();
    registry().register(name, help, metric.clone());
    metric
}

/// One more of something, until it is dropped.
#[derive(Debug)]
pub struct Level(Gauge);

impl Level {
    /// Counts it from now on.
    #[must_use]
    pub fn begin(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All figures as OpenMetrics text.
#[must_use]
pub fn render() -> String {
    crate::grpc::metrics::announce();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut text, &registry());
    text
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_by_name_label_and_help() {
        let counters: Counters<[(&str, &str); 1]> = register("test_things", "What a test counts");
        counters.get_or_create(&[("kind", "good")]).inc_by(3);
        let gauge: Gauge = register("test_level", "How high it stands");
        gauge.set(-2);
        let text = render();
        for line in [
            "# HELP livestation_test_things What a test counts.",
            "# TYPE livestation_test_things counter",
            "livestation_test_things_total{kind=\"good\"} 3",
            "livestation_test_level -2",
            "livestation_grpc_refusals_total{method=\"/livestation.seeder.Seeder/Seed\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let version = crate::version::VERSION;
        assert!(text.contains(&format!(
            "livestation_build_info{{version=\"{version}\"}} 1"
        )));
        assert!(text.ends_with("# EOF\n"));
    }
}

//! What came of one scenario: the file that `--json` writes, and what is said of it.
//!
//! The one rule: scripts rely on the fields; what a run does not define is null.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ::sim::{Curves, Overlay, Report, Scenario};
use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Figures by name; null is what the run does not define.
pub(super) type Metrics = BTreeMap<String, Option<f64>>;

/// The file.
#[derive(Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) scenario: String,
    pub(super) overlay: String,
    pub(super) peers: usize,
    pub(super) seeds: usize,
    events: u64,
    wall_s: f64,
    trace_hash: String,
    /// Medians over the runs.
    pub(super) metrics: Metrics,
    pub(super) runs: Vec<SeededRun>,
    /// Of the run with the first seed; not of files of older versions.
    #[serde(default)]
    pub(super) curves: Option<Curves>,
}

/// One seed's.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SeededRun {
    pub(super) seed: u64,
    trace_hash: String,
    events: u64,
    #[serde(skip)]
    curves: Option<Curves>,
    #[serde(flatten)]
    pub(super) metrics: Metrics,
}

/// What the simulator does not measure yet.
const UNMEASURED: [&str; 3] = ["integrity_share", "surrounded_share", "bound_delay_ms"];

impl SeededRun {
    pub(super) fn new(seed: u64, report: &Report) -> Self {
        Self {
            seed,
            trace_hash: report.trace_hash.clone(),
            events: report.events,
            curves: Some(report.curves.clone()),
            metrics: metrics(report),
        }
    }

    /// What it came to, in a line.
    pub(super) fn line(&self) -> String {
        line(&self.metrics)
    }
}

impl Outcome {
    pub(super) fn new(
        name: &str,
        scenario: &Scenario,
        took: Duration,
        runs: Vec<SeededRun>,
    ) -> Self {
        let hashes = runs.iter().map(|run| run.trace_hash.as_str());
        Self {
            scenario: name.to_owned(),
            overlay: scenario.overlay.name().to_owned(),
            peers: scenario.peers,
            seeds: runs.len(),
            events: runs.iter().map(|run| run.events).sum(),
            wall_s: took.as_secs_f64(),
            trace_hash: hashes.collect::<Vec<_>>().join("-"),
            metrics: medians(&runs),
            curves: runs.first().and_then(|run| run.curves.clone()),
            runs,
        }
    }

    pub(super) fn summary(&self) -> String {
        let trace = match &self.runs[..] {
            [one] => format!("trace {}", one.trace_hash),
            many => format!("{} seeds", many.len()),
        };
        let by = match self.overlay == Overlay::Ours.name() {
            true => String::new(),
            false => format!(" by {}", self.overlay),
        };
        format!(
            "{}{by} with {} viewers: {}\n{} events in {:.1} s, {trace}\n",
            self.scenario,
            self.peers,
            line(&self.metrics),
            self.events,
            self.wall_s,
        )
    }
}

/// The results in a file: one, or those of several overlays.
///
/// # Errors
/// A file that is not what `sim run --json` writes.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Outcome>> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let one_or_more: OneOrMore = serde_json::from_slice(&bytes)
        .with_context(|| format!("{name} is not what `sim run --json` writes"))?;
    Ok(match one_or_more {
        OneOrMore::One(one) => vec![*one],
        OneOrMore::More(all) => all,
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Box<Outcome>),
    More(Vec<Outcome>),
}

fn line(metrics: &Metrics) -> String {
    let of = |name: &str, scale: f64, digits: usize| match metrics.get(name).copied().flatten() {
        Some(value) => format!("{:.digits$}", value * scale),
        None => "–".to_owned(),
    };
    let mut line = format!(
        "continuity {} %, saved {} %, seeder {} stream rates, lag p95 {} ms, start-up p50 {} ms",
        of("continuity", 100.0, 3),
        of("saved_ratio", 100.0, 2),
        of("seeder_rate", 1.0, 1),
        of("lag_p95_ms", 1.0, 0),
        of("startup_p50_ms", 1.0, 0),
    );
    if metrics.get("lossless_share").copied().flatten().is_some() {
        line.push_str(&format!(", unharmed {} %", of("lossless_share", 100.0, 1)));
    }
    line
}

/// All figures of a run, by the contract's names and then ours.
fn metrics(report: &Report) -> Metrics {
    let measures = &report.measures;
    let fault = report.fault.as_ref();
    let ours = |value| (report.overlay == Overlay::Ours).then_some(value);
    let mut metrics: Metrics = [
        ("saved_ratio", measures.saved_ratio),
        ("seeder_rate", measures.seeder_rate),
        (
            "seeder_bytes_fault_minute",
            fault.map(|fault| fault.seeder_bytes as f64),
        ),
        ("origin_over_bound", measures.origin_over_bound),
        ("upload_utilisation", measures.upload_utilisation),
        // After a fault, of those whom it met.
        (
            "continuity",
            fault.map(|fault| fault.continuity).or(measures.continuity),
        ),
        ("continuity_all", measures.continuity),
        ("lossless_share", fault.map(|fault| fault.lossless_share)),
        ("stall_s_per_hour", measures.stall_s_per_hour),
        ("startup_p50_ms", measures.startup_p50_ms),
        ("startup_p95_ms", measures.startup_p95_ms),
        ("lag_p50_ms", measures.lag_p50_ms),
        ("lag_p95_ms", measures.lag_p95_ms),
        ("arrival_p50_ms", measures.arrival_p50_ms),
        ("arrival_p95_ms", measures.arrival_p95_ms),
        ("repair_p50_ms", measures.repair_p50_ms),
        ("repair_p95_ms", measures.repair_p95_ms),
        ("detect_p99_ms", measures.detect_p99_ms),
        ("orphan_p95_ms", measures.orphan_p95_ms),
        ("redundancy_share", measures.redundancy_share),
        ("duplicate_share", measures.duplicate_share),
        ("control_share", measures.control_share),
        ("depth_max", measures.depth_max),
        (
            "bad_pieces_played",
            Some(report.bad_generations_played as f64),
        ),
        ("bad_pieces_relayed", Some(report.bad_pieces_relayed as f64)),
        ("honest_cut", ours(report.honest_cut as f64)),
        ("bound_origin_rate", measures.bound_origin_rate),
        ("bound_rate", measures.bound_rate),
        ("survivors", fault.map(|fault| fault.survivors as f64)),
        ("survivor_stalls", fault.map(|fault| fault.stalls as f64)),
        (
            "survivor_stall_ms_max",
            fault.map(|fault| fault.stall_ms_max),
        ),
        ("came", Some(measures.came)),
        ("never_played", Some(measures.never_played)),
        ("viewers", Some(report.viewers as f64)),
        ("playing", Some(report.playing as f64)),
        ("stalls", Some(report.stalls as f64)),
        // A rival's lines carry what is offered and no more.
        ("upload_over_cap", ours(report.upload_over_cap)),
        (
            "upload_second_over_cap",
            ours(report.upload_second_over_cap),
        ),
        (
            "relayed_stripes_max",
            Some(report.relayed_stripes_max as f64),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.filter(|value| value.is_finite())))
    .collect();
    metrics.extend(UNMEASURED.map(|name| (name.to_owned(), None)));
    metrics
}

fn medians(runs: &[SeededRun]) -> Metrics {
    let Some(first) = runs.first() else {
        return Metrics::new();
    };
    let of = |name: &String| {
        let values = runs
            .iter()
            .filter_map(|run| run.metrics.get(name).copied().flatten());
        (name.clone(), median(values.collect()))
    };
    first.metrics.keys().map(of).collect()
}

/// Of an even number, the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    match values.len().is_multiple_of(2) {
        true => Some((values[middle - 1] + upper) / 2.0),
        false => Some(upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }
}

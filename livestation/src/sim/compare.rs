//! Two results beside each other, with how far each spreads over its seeds.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use super::outcome::{self, Outcome, median};

/// The table for people.
///
/// # Errors
/// A file that is not what `sim run --json` writes.
pub(super) fn table(before: &Path, after: &Path) -> anyhow::Result<String> {
    let (before, after) = (read(before)?, read(after)?);
    let mut table = String::new();
    for (name, of) in [("A", &before), ("B", &after)] {
        let Outcome {
            scenario,
            peers,
            seeds,
            ..
        } = of;
        let _ = writeln!(table, "{name}: {scenario}, {peers} viewers, {seeds} seeds");
    }
    let _ = writeln!(
        table,
        "{:<26} {:>12} {:>25} {:>12} {:>25} {:>12}",
        "", "A", "least to most", "B", "least to most", "B - A"
    );
    let names: BTreeSet<&String> = before.metrics.keys().chain(after.metrics.keys()).collect();
    for name in names {
        let (Some(a), Some(b)) = (Spread::of(&before, name), Spread::of(&after, name)) else {
            continue;
        };
        let apart = match a.most < b.least || b.most < a.least {
            true if a.count.min(b.count) >= ENOUGH => "*",
            _ => "",
        };
        let _ = writeln!(
            table,
            "{name:<26} {:>12} {:>25} {:>12} {:>25} {:>12}{apart}",
            figure(a.median),
            a.range(),
            figure(b.median),
            b.range(),
            figure(b.median - a.median),
        );
    }
    Ok(table)
}

fn read(path: &Path) -> anyhow::Result<Outcome> {
    let mut all = outcome::read(path)?;
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => anyhow::bail!(
            "{}: one result, not those of several overlays",
            path.display()
        ),
    }
}

/// With fewer seeds a spread says nothing.
const ENOUGH: usize = 4;

struct Spread {
    count: usize,
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// None where no run defines the figure.
    fn of(outcome: &Outcome, name: &str) -> Option<Self> {
        let values = outcome.runs.iter();
        let values: Vec<f64> = values
            .filter_map(|run| run.metrics.get(name).copied().flatten())
            .collect();
        Some(Self {
            count: values.len(),
            least: values.iter().copied().reduce(f64::min)?,
            most: values.iter().copied().reduce(f64::max)?,
            median: median(values)?,
        })
    }

    fn range(&self) -> String {
        format!("{} to {}", figure(self.least), figure(self.most))
    }
}

/// Four digits that count, or all before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 || value == value.trunc() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

//! Times, counted in bins: a run has millions of them.

use std::time::Duration;

/// Figures are exact to this.
const BIN_MS: u64 = 2;
/// Longer ones count as this.
const LONGEST_MS: u64 = 120_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    bins: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, span: Duration) {
        let ms = (span.as_millis() as u64).min(LONGEST_MS);
        let at = (ms / BIN_MS) as usize;
        if self.bins.len() <= at {
            self.bins.resize(at + 1, 0);
        }
        if let Some(bin) = self.bins.get_mut(at) {
            *bin += 1;
            self.count += 1;
        }
    }

    /// What so large a share does not exceed, ms; none of nothing.
    pub(crate) fn at(&self, share: f64) -> Option<f64> {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.bins.iter().position(|count| {
            below += count;
            below >= wanted
        });
        found.map(|at| ((at as u64 + 1) * BIN_MS) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut times = Histogram::default();
        assert_eq!(times.at(0.5), None);
        for ms in 1..=1000 {
            times.add(Duration::from_millis(ms));
        }
        assert!((times.at(0.5).unwrap() - 500.0).abs() <= 2.0);
        assert!((times.at(0.95).unwrap() - 950.0).abs() <= 2.0);
        times.add(Duration::from_secs(3600));
        assert!((times.at(1.0).unwrap() - 120_000.0).abs() <= 2.0);
    }
}

//! A viewer's figures as the contract names them, and arithmetic on many.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a viewer writes into `--stats-json`.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract's")]
pub struct Figures {
    pub peer: String,
    pub state: String,
    pub startup_ms: Option<u64>,
    pub lag_ms: Lag,
    pub stalls: u64,
    pub stall_ms: u64,
    pub generations: Generations,
    pub received: Received,
    pub children: BTreeMap<String, Vec<String>>,
    pub rejected_pieces: u64,
    pub cut: Vec<String>,
    pub links: Vec<String>,
    pub links_over_turn: Vec<String>,
}

/// Release − ingest stamp.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract's")]
pub struct Lag {
    pub p50: Option<u64>,
    pub p95: Option<u64>,
}

/// Released and passed over.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract's")]
pub struct Generations {
    pub played: u64,
    pub skipped: u64,
}

/// From whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract's")]
pub struct Received {
    pub seeder: Kinds,
    pub peers: Kinds,
}

/// Bytes by kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract's")]
pub struct Kinds {
    pub media: u64,
    pub parity: u64,
    pub duplicate: u64,
    pub rescue: u64,
    pub control: u64,
}

impl Figures {
    /// In how many stripes it has children.
    #[must_use]
    pub fn interior_in(&self) -> usize {
        self.children.values().filter(|all| !all.is_empty()).count()
    }
}

/// The value that this part of all values does not exceed; none of none.
pub fn quantile(values: impl IntoIterator<Item = u64>, part: f64) -> Option<u64> {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(quantile([], 0.5), None);
        assert_eq!(quantile([7], 0.95), Some(7));
        assert_eq!(quantile([4, 1, 3, 2], 0.5), Some(2));
        assert_eq!(quantile(1..=12, 0.95), Some(12));
    }
}

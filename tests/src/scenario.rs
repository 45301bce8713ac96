//! The runs that tests hold to their limits and the bench measures at length. Each answers
//! with what was seen; whoever calls judges.

pub mod apart;
pub mod carried;
pub mod cost;
pub mod exact;
pub mod ill;
pub mod load;
pub mod lossy;
pub mod soak;
pub mod vanish;

use std::time::Duration;

use serde::Serialize;

/// From the broadcaster's end until every viewer has played all: the play-out delay twice.
const PLAYED_OUT: Duration = Duration::from_secs(4);
/// How long a viewer may take until it plays before a run is given up.
const PLAYS: Duration = Duration::from_secs(20);

/// The unit of what has none but is no count.
const RATIO: &str = "ratio";

/// A figure beside its limit.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// With its unit.
    pub figure: String,
    /// With its unit; empty when it is only reported.
    pub limit: String,
    /// Whether the limit was held; none when there is no limit or no figure.
    pub held: Option<bool>,
}

impl Row {
    /// A figure that may not exceed its limit.
    #[must_use]
    pub fn at_most(what: &str, figure: Option<f64>, limit: f64, unit: &str) -> Self {
        Self::new(what, figure, format!("≤ {}", number(limit, unit)), unit)
            .judged(figure.map(|figure| figure <= limit))
    }

    /// A figure that must reach its limit.
    #[must_use]
    pub fn at_least(what: &str, figure: Option<f64>, limit: f64, unit: &str) -> Self {
        Self::new(what, figure, format!("≥ {}", number(limit, unit)), unit)
            .judged(figure.map(|figure| figure >= limit))
    }

    /// A figure to know.
    #[must_use]
    pub fn only(what: &str, figure: Option<f64>, unit: &str) -> Self {
        Self::new(what, figure, String::new(), unit)
    }

    fn new(what: &str, figure: Option<f64>, limit: String, unit: &str) -> Self {
        Self {
            what: what.to_owned(),
            figure: figure.map_or("not measured".to_owned(), |figure| number(figure, unit)),
            limit,
            held: None,
        }
    }

    fn judged(self, held: Option<bool>) -> Self {
        Self { held, ..self }
    }
}

fn number(value: f64, unit: &str) -> String {
    let decimals = match unit {
        RATIO => 3,
        "Mbit/s" | "%" | "stream rates" => 2,
        "MiB" => 1,
        _ => 0,
    };
    let unit = if unit == RATIO { "" } else { unit };
    format!("{value:.decimals$} {unit}").trim_end().to_owned()
}

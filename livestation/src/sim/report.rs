//! The page that `--report` writes: results side by side, drawn, with the limits that nobody
//! can pass. One file without scripts, for screens light and dark and for paper.
//!
//! The drawings are our own few lines of SVG: what plotting crates draw has its colours fixed,
//! and could not follow the reader's.

mod charts;
mod plot;

use std::fmt::Write as _;

use super::outcome::{Metrics, Outcome};

/// Colours, the same for an overlay in every drawing.
const COLOURS: usize = 6;

/// The page.
pub(super) fn page(outcomes: &[Outcome]) -> String {
    let title = title(outcomes);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    page.push_str(&lead(outcomes));
    page.push_str(&legend(outcomes));
    page.push_str("<main>\n");
    for chart in charts::all(outcomes) {
        let _ = write!(
            page,
            "<figure>\n<figcaption><b>{}</b> {}</figcaption>\n{}</figure>\n",
            escape(chart.title),
            escape(&chart.about),
            chart.svg
        );
    }
    page.push_str("</main>\n");
    page.push_str(&table(outcomes));
    page.push_str("</body>\n</html>\n");
    page
}

fn title(outcomes: &[Outcome]) -> String {
    let mut names: Vec<&str> = outcomes.iter().map(|one| one.scenario.as_str()).collect();
    names.dedup();
    format!("Swarm of {}", escape(&names.join(", ")))
}

fn lead(outcomes: &[Outcome]) -> String {
    let peers = outcomes.iter().map(|one| one.peers).max().unwrap_or(0);
    let seeds = outcomes.iter().map(|one| one.seeds).max().unwrap_or(0);
    let many = match seeds {
        1 => "one seed".to_owned(),
        many => format!("medians over {many} seeds, curves of the first"),
    };
    format!(
        "<p>{peers} viewers, {many}. Simulated on a virtual clock: the same scenario and seed give \
         the same figures. Dashed lines are limits that no overlay can pass.</p>\n"
    )
}

fn legend(outcomes: &[Outcome]) -> String {
    let mut legend = String::from("<p class=\"legend\">");
    for (at, one) in outcomes.iter().enumerate() {
        let name = label(outcomes, one);
        let _ = write!(
            legend,
            "<span><i class=\"b{}\"></i>{name}</span> ",
            colour(at)
        );
    }
    legend + "</p>\n"
}

/// An overlay, with its scenario where there are several.
fn label(outcomes: &[Outcome], one: &Outcome) -> String {
    let same = outcomes.iter().all(|other| other.scenario == one.scenario);
    match same {
        true => escape(&one.overlay),
        false => escape(&format!("{}, {}", one.overlay, one.scenario)),
    }
}

fn colour(at: usize) -> usize {
    at % COLOURS
}

/// One of an outcome's figures.
fn figure(metrics: &Metrics, name: &str) -> Option<f64> {
    metrics.get(name).copied().flatten()
}

/// What the table has: figure, how it is called, and its unit.
const ROWS: [(&str, &str, Unit); 17] = [
    ("continuity", "continuity", Unit::Percent(3)),
    (
        "lossless_share",
        "survivors who lost nothing",
        Unit::Percent(1),
    ),
    ("saved_ratio", "server bytes saved", Unit::Percent(2)),
    ("seeder_rate", "server sent, stream rates", Unit::Plain(1)),
    (
        "bound_origin_rate",
        "the least possible, stream rates",
        Unit::Plain(1),
    ),
    ("lag_p95_ms", "lag, 95th percentile", Unit::Seconds),
    ("arrival_p95_ms", "arrival, 95th percentile", Unit::Seconds),
    ("startup_p50_ms", "start-up, median", Unit::Seconds),
    ("startup_p95_ms", "start-up, 95th percentile", Unit::Seconds),
    ("repair_p50_ms", "repair of a stripe, median", Unit::Seconds),
    (
        "repair_p95_ms",
        "repair of a stripe, 95th percentile",
        Unit::Seconds,
    ),
    (
        "stall_s_per_hour",
        "seconds stood in an hour",
        Unit::Plain(1),
    ),
    (
        "upload_utilisation",
        "media sent / upload offered",
        Unit::Percent(1),
    ),
    ("redundancy_share", "parity received", Unit::Percent(2)),
    ("duplicate_share", "duplicates received", Unit::Percent(2)),
    ("control_share", "control received", Unit::Percent(2)),
    (
        "never_played",
        "viewers who never saw a picture",
        Unit::Plain(0),
    ),
];

enum Unit {
    Percent(usize),
    Plain(usize),
    Seconds,
}

impl Unit {
    fn said(&self, value: f64) -> String {
        match self {
            Self::Percent(digits) => format!("{:.digits$} %", value * 100.0),
            Self::Plain(digits) => format!("{value:.digits$}"),
            Self::Seconds => format!("{:.2} s", value / 1000.0),
        }
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from("<table>\n<tr><th></th>");
    for one in outcomes {
        let _ = write!(table, "<th>{}</th>", label(outcomes, one));
    }
    table.push_str("</tr>\n");
    for (name, called, unit) in &ROWS {
        let _ = write!(table, "<tr><th>{called}</th>");
        for one in outcomes {
            let value = figure(&one.metrics, name).map(|value| unit.said(value));
            let _ = write!(table, "<td>{}</td>", value.as_deref().unwrap_or("–"));
        }
        table.push_str("</tr>\n");
    }
    table + "</table>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

const STYLE: &str = include_str!("report/style.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_text_and_no_markup() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;>&amp;");
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let page = page(&[]);
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    }
}

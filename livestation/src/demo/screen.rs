//! What the demo shows: on a terminal a table that is drawn anew in place, elsewhere a line
//! every two seconds.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{IsTerminal, Stdout, Write as _, stdout},
    time::{Duration, Instant},
};

use super::figures::{Channel, Viewing};

const REDRAW: Duration = Duration::from_secs(1);
const NEXT_LINE: Duration = Duration::from_secs(2);
/// The seeder's rate is the mean over this, since its figures come in steps.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Everything there is to see.
pub(super) struct Picture<'a> {
    pub(super) page: &'a str,
    pub(super) channel: Option<Channel>,
    /// How often ffmpeg had to be started again.
    pub(super) restarts: u32,
    pub(super) rows: Vec<Row>,
}

/// A viewer.
pub(super) struct Row {
    pub(super) number: usize,
    pub(super) shares: bool,
    pub(super) viewing: Option<Viewing>,
    pub(super) page: Option<String>,
}

/// Standard output.
pub(super) struct Screen {
    expected: usize,
    out: Stdout,
    redraws: bool,
    shown: Option<Instant>,
    last: Option<String>,
    seeder: VecDeque<(Instant, u64)>,
}

impl Screen {
    pub(super) fn new(expected: usize) -> Self {
        Self {
            expected,
            out: stdout(),
            redraws: stdout().is_terminal(),
            shown: None,
            last: None,
            seeder: VecDeque::new(),
        }
    }

    pub(super) fn say(&mut self, what: &str) {
        self.write(&format!("livestation demo: {what}\n"));
    }

    /// Shows it when it is time to.
    pub(super) fn show(&mut self, picture: &Picture<'_>) {
        let rate = self.seeder_rate(picture.channel.as_ref());
        let pause = if self.redraws { REDRAW } else { NEXT_LINE };
        self.last = Some(summary(picture, self.expected, rate));
        // Ticks come a little early or late.
        let due = self
            .shown
            .is_none_or(|shown| shown.elapsed() + Duration::from_millis(100) >= pause);
        if !due {
            return;
        }
        self.shown = Some(Instant::now());
        if self.redraws {
            let table = table(picture, self.expected, rate).replace('\n', "\x1b[K\n");
            self.write(&format!("\x1b[H{table}\x1b[J"));
        } else if let Some(line) = self.last.clone() {
            self.write(&format!("{line}\n"));
        }
    }

    /// How it stood when the time was up.
    pub(super) fn last_words(&mut self) {
        if let Some(line) = self.last.take() {
            self.write(&format!("at the end: {line}\n"));
        }
    }

    pub(super) fn leave(&mut self) {
        if self.redraws {
            self.write("\nlivestation demo: ending\n");
        }
    }

    /// Bytes a second; nothing until there are two figures.
    fn seeder_rate(&mut self, channel: Option<&Channel>) -> Option<f64> {
        let now = Instant::now();
        if let Some(channel) = channel {
            self.seeder.push_back((now, channel.sent_by_seeder()));
        }
        while self.seeder.len() > 2 && self.seeder[1].0 + RATE_OVER < now {
            self.seeder.pop_front();
        }
        let (first, last) = (self.seeder.front()?, self.seeder.back()?);
        let span = last.0.duration_since(first.0).as_secs_f64();
        (span > 0.0).then(|| last.1.saturating_sub(first.1) as f64 / span)
    }

    fn write(&mut self, text: &str) {
        // A closed stdout is no reason to end.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

fn summary(picture: &Picture<'_>, expected: usize, rate: Option<f64>) -> String {
    let viewings = || picture.rows.iter().filter_map(|row| row.viewing.as_ref());
    let stalls: u64 = viewings().map(|viewing| viewing.stalls).sum();
    let lag = viewings().filter_map(|viewing| viewing.lag_ms.p95).max();
    format!(
        "{} of {expected} viewers playing | stalls {stalls} | lag p95 at worst {} | saved {} | \
         seeder {} | {}",
        viewings().filter(|viewing| viewing.plays()).count(),
        or_dash(lag, |ms| format!("{ms} ms")),
        or_dash(saved(picture), percent),
        or_dash(rate, mbps),
        picture.page
    )
}

fn table(picture: &Picture<'_>, expected: usize, rate: Option<f64>) -> String {
    let channel = picture.channel.clone().unwrap_or_default();
    let playing = picture.rows.iter().filter_map(|row| row.viewing.as_ref());
    let mut text = format!(
        "Livestation: a broadcast carried by its viewers. Ctrl-C ends it.\n\n  \
         Open        {}\n  \
         Saved       {}, {} of {} did not come from the station (last minute {})\n  \
         Seeder      sends {} of a stream of {}\n  \
         Viewers     {} of {expected} playing\n",
        picture.page,
        or_dash(saved(picture), percent),
        megabytes(channel.saved()),
        megabytes(channel.media_played),
        or_dash(channel.saved_ratio_60s, percent),
        or_dash(rate, mbps),
        or_dash(channel.rate_bps, |bps| mbps(bps as f64 / 8.0)),
        playing.filter(|viewing| viewing.plays()).count(),
    );
    if picture.restarts > 0 {
        let _ = writeln!(text, "  Broadcast   started again {} ×", picture.restarts);
    }
    text.push_str(
        "\n  viewer  state    start-up      lag  stalls  from seeder  from peers  children  page\n",
    );
    for row in &picture.rows {
        line(&mut text, row);
    }
    if picture.rows.iter().any(|row| !row.shares) {
        text.push_str("\n  * watches without sharing\n");
    }
    text
}

fn line(text: &mut String, row: &Row) {
    let name = format!("{}{}", row.number, if row.shares { "" } else { " *" });
    let Some(viewing) = &row.viewing else {
        let _ = writeln!(text, "  {name:<7} starting");
        return;
    };
    let (seeder, peers) = viewing.received();
    let share = |bytes: u64| match seeder + peers {
        0 => "–".to_owned(),
        all => percent(bytes as f64 / all as f64),
    };
    let _ = writeln!(
        text,
        "  {name:<7} {:<8} {:>8} {:>8}  {:>6}  {:>11}  {:>10}  {:>8}  {}",
        viewing.state,
        or_dash(viewing.startup_ms, |ms| format!("{ms} ms")),
        or_dash(viewing.lag_ms.last, |ms| format!("{ms} ms")),
        viewing.stalls,
        share(seeder),
        share(peers),
        viewing.edges(),
        row.page.as_deref().unwrap_or_default()
    );
}

fn saved(picture: &Picture<'_>) -> Option<f64> {
    picture.channel.as_ref()?.saved_ratio
}

fn or_dash<T>(value: Option<T>, write: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), write)
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", 100.0 * ratio)
}

fn mbps(bytes_per_second: f64) -> String {
    format!("{:.1} Mbit/s", bytes_per_second * 8.0 / 1e6)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(page: &str) -> Picture<'_> {
        let channel = r#"{"live":true,"bytes":{"seeder":{"media":150,"http":50}},
            "media_played":1000,"saved_ratio":0.8,"saved_ratio_60s":0.85,"rate_bps":2600000}"#;
        let viewing = r#"{"state":"playing","startup_ms":640,"lag_ms":{"p95":1810,"last":1800},
            "stalls":1,"received":{"seeder":{"media":20},"peers":{"media":50,"parity":10}},
            "children":{"7":["a","b"],"9":["c"]}}"#;
        let row = |number, viewing: Option<&str>| Row {
            number,
            shares: number != 2,
            viewing: viewing.map(|text| serde_json::from_str(text).unwrap()),
            page: None,
        };
        Picture {
            page,
            channel: serde_json::from_str(channel).ok(),
            restarts: 0,
            rows: vec![row(1, Some(viewing)), row(2, None)],
        }
    }

    #[test]
    fn the_line_sums_the_viewers_up() {
        let line = summary(&picture("http://h/demo"), 3, Some(125_000.0));
        assert_eq!(
            line,
            "1 of 3 viewers playing | stalls 1 | lag p95 at worst 1810 ms | saved 80.0 % | \
             seeder 1.0 Mbit/s | http://h/demo"
        );
    }

    #[test]
    fn the_table_has_a_row_for_each_viewer() {
        let text = table(&picture("http://h/demo"), 3, None);
        let rows: Vec<&str> = text.lines().filter(|row| row.starts_with("  1")).collect();
        let cells: Vec<&str> = rows[0].split_whitespace().collect();
        let expected = "1 playing 640 ms 1800 ms 1 25.0 % 75.0 % 3";
        assert_eq!(cells, expected.split(' ').collect::<Vec<_>>());
        assert!(text.contains("  2 *     starting") && text.contains("without sharing"));
    }
}

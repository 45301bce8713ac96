//! A plane with two axes, and what is drawn on it, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 292.0;
/// Room for what is written at the axes.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
/// Ticks there are at most.
const TICKS: f64 = 6.0;

/// From the least to the most of what is drawn.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    /// What is written beside it.
    pub(super) name: &'static str,
}

impl Axis {
    /// As far as these go, beginning with nothing.
    pub(super) fn over(values: impl Iterator<Item = f64>, name: &'static str) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let step = step(most);
        let to = ((most / step).ceil() * step).max(step);
        Self {
            from: 0.0,
            to,
            name,
        }
    }

    fn part(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from).max(1e-9)).clamp(-0.02, 1.02)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = step(self.to - self.from);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step + 1e-6).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }
}

/// One, two or five of a power of ten.
fn step(span: f64) -> f64 {
    let rough = span.max(1e-6) / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let found = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|times| times * power >= rough * 0.999);
    found.unwrap_or(10.0) * power
}

/// The plane.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    body: String,
}

impl Plot {
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        let mut plot = Self {
            x,
            y,
            body: String::new(),
        };
        plot.axes();
        plot
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.part(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.part(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&mut self) {
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let y = self.y(tick);
            self.line("grid", (left, y), (right, y));
            self.text((left - 7.0, y + 4.0), "end", "", &number(tick));
        }
        for tick in self.x.ticks() {
            let x = self.x(tick);
            self.line("axis", (x, bottom), (x, bottom + 4.0));
            self.text((x, bottom + 17.0), "middle", "", &number(tick));
        }
        self.line("axis", (left, bottom), (right, bottom));
        let (x, y) = (self.x.name, self.y.name);
        self.text((right, HEIGHT - 6.0), "end", "", x);
        self.text((left - 40.0, top - 13.0), "start", "", y);
    }

    fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, class: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    /// A curve in an overlay's colour.
    pub(super) fn curve(&mut self, colour: usize, points: &[(f64, f64)]) {
        let points: Vec<String> = (points.iter())
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.body,
            "<polyline class=\"curve l{colour}\" points=\"{points}\"/>"
        );
    }

    /// A point, with a name unless that is empty.
    pub(super) fn point(&mut self, colour: usize, (x, y): (f64, f64), name: &str) {
        let (x, y) = (self.x(x), self.y(y));
        let _ = writeln!(
            self.body,
            "<circle class=\"f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"
        );
        let (at, anchor) = match x > WIDTH * 0.7 {
            true => (x - 9.0, "end"),
            false => (x + 9.0, "start"),
        };
        self.text((at, y + 4.0), anchor, "name", name);
    }

    /// A limit, level.
    pub(super) fn bound(&mut self, y: f64, name: &str) {
        let at = self.y(y);
        self.line("bound", (LEFT, at), (WIDTH - RIGHT, at));
        self.text((WIDTH - RIGHT, at - 5.0), "end", "name", name);
    }

    /// A limit, upright.
    pub(super) fn wall(&mut self, x: f64, name: &str) {
        let at = self.x(x);
        self.line("bound", (at, TOP), (at, HEIGHT - BOTTOM));
        self.text((at + 5.0, TOP + 12.0), "start", "name", name);
    }

    /// When something struck.
    pub(super) fn fault(&mut self, x: f64) {
        let at = self.x(x);
        self.line("fault", (at, TOP), (at, HEIGHT - BOTTOM));
    }

    pub(super) fn svg(self) -> String {
        svg(HEIGHT, &self.body)
    }
}

/// Bars that lie, one below the other.
pub(super) struct Bars {
    body: String,
    rows: usize,
    most: f64,
}

const NAMES: f64 = 108.0;
const ROW: f64 = 30.0;
/// For what is written behind a bar.
const AFTER: f64 = 130.0;
const FOOT: f64 = 26.0;

impl Bars {
    pub(super) fn new(most: f64) -> Self {
        Self {
            body: String::new(),
            rows: 0,
            most: most.max(1e-9),
        }
    }

    fn len(&self, value: f64) -> f64 {
        (value / self.most).clamp(0.0, 1.0) * (WIDTH - NAMES - AFTER)
    }

    /// A bar of parts, each in another shade.
    pub(super) fn bar(&mut self, colour: usize, name: &str, parts: &[f64], said: &str) {
        let y = ROW * self.rows as f64 + 6.0;
        let mut x = NAMES;
        for (shade, part) in parts.iter().enumerate() {
            let len = self.len(*part);
            let _ = writeln!(
                self.body,
                "<rect class=\"f{colour} shade{shade}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{len:.1}\" height=\"17\"/>"
            );
            x += len;
        }
        let middle = y + 13.0;
        let before = NAMES - 8.0;
        let _ = writeln!(
            self.body,
            "<text class=\"name\" x=\"{before}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>\
             <text x=\"{:.1}\" y=\"{middle:.1}\">{said}</text>",
            x + 6.0
        );
        self.rows += 1;
    }

    /// With a limit across all bars.
    pub(super) fn svg(mut self, bound: Option<(f64, &str)>) -> String {
        let bottom = ROW * self.rows as f64;
        if let Some((value, name)) = bound {
            let x = NAMES + self.len(value);
            let below = bottom + 16.0;
            let _ = writeln!(
                self.body,
                "<line class=\"bound\" x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"name\" x=\"{x:.1}\" y=\"{below:.1}\">{name}</text>"
            );
        }
        svg(bottom + FOOT, &self.body)
    }
}

fn svg(height: f64, body: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n{body}</svg>\n")
}

/// Without digits that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_axis() {
        let axis = Axis::over([16.3, 2.0].into_iter(), "s");
        assert_eq!(axis.to, 20.0);
        assert_eq!(axis.ticks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        let percents = Axis {
            from: 0.0,
            to: 100.0,
            name: "%",
        };
        assert_eq!(percents.ticks().last(), Some(&100.0));
        assert_eq!(
            Axis::over(std::iter::empty(), "").ticks().first(),
            Some(&0.0)
        );
    }

    #[test]
    fn what_is_beyond_an_axis_stays_at_its_edge() {
        let axis = Axis {
            from: 0.0,
            to: 1.0,
            name: "",
        };
        let plot = Plot::new(axis, axis);
        assert!(plot.y(-50.0) <= HEIGHT && plot.x(50.0) <= WIDTH);
    }
}

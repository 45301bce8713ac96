//! What is drawn of results.

use super::{
    super::outcome::{Metrics, Outcome},
    colour, figure, label,
    plot::{Axis, Bars, Plot},
};

/// One drawing.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) about: String,
    pub(super) svg: String,
}

/// All that there is something to draw of.
pub(super) fn all(outcomes: &[Outcome]) -> Vec<Chart> {
    let charts = [
        lag_and_saving(outcomes),
        continuity(outcomes),
        server(outcomes),
        upload(outcomes),
        overhead(outcomes),
        depth(outcomes),
    ];
    charts.into_iter().flatten().collect()
}

/// Each with its place among the colours.
fn each(outcomes: &[Outcome]) -> impl Iterator<Item = (usize, &Outcome)> {
    outcomes
        .iter()
        .enumerate()
        .map(|(at, one)| (colour(at), one))
}

const fn percents(name: &'static str) -> Axis {
    Axis {
        from: 0.0,
        to: 100.0,
        name,
    }
}

fn lag_and_saving(outcomes: &[Outcome]) -> Option<Chart> {
    let place = |metrics: &Metrics| {
        let lag = figure(metrics, "lag_p95_ms")? / 1000.0;
        Some((lag, figure(metrics, "saved_ratio")? * 100.0))
    };
    let points: Vec<_> = each(outcomes)
        .filter_map(|(colour, one)| Some((colour, one, place(&one.metrics)?)))
        .collect();
    let lags = points.iter().map(|(_, _, (lag, _))| *lag);
    let mut plot = Plot::new(
        Axis::over(
            lags.chain([4.0]),
            "lag behind the broadcast, 95th percentile, s",
        ),
        Axis {
            from: -10.0,
            ..percents("server bytes saved, %")
        },
    );
    if let Some(most) = outcomes.iter().filter_map(most_saved).reduce(f64::max) {
        plot.bound(most * 100.0, "");
    }
    for (colour, one, at) in &points {
        plot.point(*colour, *at, &label(outcomes, one));
    }
    (!points.is_empty()).then(|| Chart {
        title: "Server bytes saved against lag",
        about: "Better is up and left. The dashed line is what the viewers' uplinks allow.".into(),
        svg: plot.svg(),
    })
}

/// What can be saved where the server sends the least that uplinks leave to it.
fn most_saved(one: &Outcome) -> Option<f64> {
    let least = figure(&one.metrics, "bound_origin_rate")?;
    let viewers = figure(&one.metrics, "viewers").filter(|viewers| *viewers > 0.0)?;
    Some((1.0 - least / viewers).max(0.0))
}

fn continuity(outcomes: &[Outcome]) -> Option<Chart> {
    let drawn: Vec<_> = each(outcomes)
        .filter_map(|(colour, one)| Some((colour, one.curves.as_ref()?)))
        .filter(|(_, curves)| !curves.continuity.is_empty())
        .collect();
    let seconds = drawn
        .iter()
        .map(|(_, curves)| curves.continuity.len() as f64);
    let mut plot = Plot::new(
        Axis::over(seconds, "s since the warm-up"),
        percents("viewers with a picture, %"),
    );
    let faults = drawn.first().map(|(_, curves)| curves.faults.as_slice());
    for at in faults.unwrap_or_default() {
        plot.fault(*at);
    }
    // Ours last, above the others.
    for (colour, curves) in drawn.iter().rev() {
        let points: Vec<(f64, f64)> = (1..)
            .zip(&curves.continuity)
            .map(|(second, part)| (f64::from(second), part * 100.0))
            .collect();
        plot.curve(*colour, &points);
    }
    let struck = faults.is_some_and(|faults| !faults.is_empty());
    (!drawn.is_empty()).then(|| Chart {
        title: "Continuity, second by second",
        about: match struck {
            true => "Time played / time there, in each second. Dotted: something strikes.".into(),
            false => "Time played / time there, in each second.".into(),
        },
        svg: plot.svg(),
    })
}

fn server(outcomes: &[Outcome]) -> Option<Chart> {
    let rates: Vec<_> = each(outcomes)
        .filter_map(|(colour, one)| Some((colour, one, figure(&one.metrics, "seeder_rate")?)))
        .collect();
    let bounds = outcomes.iter().map(|one| &one.metrics);
    let bound = bounds
        .filter_map(|metrics| figure(metrics, "bound_origin_rate"))
        .reduce(f64::max);
    let most = rates.iter().map(|(_, _, rate)| *rate).fold(0.0, f64::max);
    let mut bars = Bars::new(most);
    for (colour, one, rate) in &rates {
        let name = label(outcomes, one);
        bars.bar(*colour, &name, &[*rate], &format!("{rate:.1}"));
    }
    let said = bound.map(|bound| format!("the least possible: {bound:.1}"));
    (!rates.is_empty()).then(|| Chart {
        title: "What the server sends",
        about: "Stream rates. Dashed: each stripe once, or what all uplinks do not carry.".into(),
        svg: bars.svg(bound.zip(said.as_deref())),
    })
}

fn upload(outcomes: &[Outcome]) -> Option<Chart> {
    let drawn: Vec<_> = each(outcomes)
        .filter_map(|(colour, one)| Some((colour, one.curves.as_ref()?)))
        .filter(|(_, curves)| curves.upload_used.len() > 1)
        .collect();
    let mut plot = Plot::new(
        percents("viewers that offer upload, those who send the least first, %"),
        Axis {
            to: 110.0,
            ..percents("sent / offered, %")
        },
    );
    plot.bound(100.0, "what they offer");
    for (colour, curves) in drawn.iter().rev() {
        let last = (curves.upload_used.len() - 1) as f64;
        let points: Vec<(f64, f64)> = (0..)
            .zip(&curves.upload_used)
            .map(|(at, used)| (f64::from(at) / last * 100.0, used * 100.0))
            .collect();
        plot.curve(*colour, &points);
    }
    (!drawn.is_empty()).then(|| Chart {
        title: "Upload used, viewer by viewer",
        about: "Level is fair: everyone gives the same share of what they offer.".into(),
        svg: plot.svg(),
    })
}

fn overhead(outcomes: &[Outcome]) -> Option<Chart> {
    let parts = |metrics: &Metrics| -> Option<[f64; 3]> {
        let part = |name| figure(metrics, name).map(|share| share * 100.0);
        Some([
            part("redundancy_share")?,
            part("duplicate_share")?,
            part("control_share")?,
        ])
    };
    let all: Vec<_> = each(outcomes)
        .filter_map(|(colour, one)| Some((colour, one, parts(&one.metrics)?)))
        .collect();
    let most = all
        .iter()
        .map(|(_, _, parts)| parts.iter().sum::<f64>())
        .fold(0.0, f64::max);
    let mut bars = Bars::new(most);
    for (colour, one, parts) in &all {
        let [parity, duplicate, control] = parts;
        let said = format!("{parity:.1} + {duplicate:.1} + {control:.1}");
        bars.bar(*colour, &label(outcomes, one), parts, &said);
    }
    (!all.is_empty()).then(|| Chart {
        title: "Overhead",
        about:
            "% of the bytes received: parity, duplicates, control with all framing; from dark to \
                light."
                .into(),
        svg: bars.svg(None),
    })
}

fn depth(outcomes: &[Outcome]) -> Option<Chart> {
    let drawn: Vec<_> = each(outcomes)
        .filter_map(|(colour, one)| Some((colour, one.curves.as_ref()?)))
        .filter(|(_, curves)| curves.depths.iter().sum::<u64>() > 0)
        .collect();
    let deepest = drawn.iter().map(|(_, curves)| curves.depths.len() as f64);
    let mut plot = Plot::new(
        Axis::over(deepest, "edges below the server"),
        percents("stripes of viewers no deeper than that, %"),
    );
    for (colour, curves) in drawn.iter().rev() {
        let all = curves.depths.iter().sum::<u64>() as f64;
        let mut so_far = 0;
        let points: Vec<(f64, f64)> = (0..)
            .zip(&curves.depths)
            .map(|(depth, count)| {
                so_far += count;
                (f64::from(depth), so_far as f64 / all * 100.0)
            })
            .collect();
        plot.curve(*colour, &points);
    }
    let peers = outcomes.iter().map(|one| one.peers).max().unwrap_or(1);
    let bound = (peers.max(1) as f64).log2().ceil();
    if drawn
        .iter()
        .any(|(_, curves)| curves.depths.len() as f64 > bound)
    {
        plot.wall(bound, "log2 of the viewers");
    }
    (!drawn.is_empty()).then(|| Chart {
        title: "Depth of the trees",
        about: format!(
            "At the end, where there are trees. Who sends one copy at a time reaches {peers} viewers in \
             {bound:.0} steps at best."
        ),
        svg: plot.svg(),
    })
}

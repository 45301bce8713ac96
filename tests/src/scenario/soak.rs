//! A long broadcast with a coming and going: whether anything grows, and whether those who
//! stay notice.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{PLAYS, Row};
use crate::{
    broadcast::{Broadcast, Clip, Content},
    process::Usage,
    station::Standalone,
    viewer::Viewer,
};

const STREAM_BPS: u32 = 1_000_000;
/// The clip that is sent over and over.
const CLIP_S: u32 = 60;
/// Those who stay.
const STAYERS: usize = 6;
/// Of the others so many are there at most.
const GUESTS: usize = 6;
/// Somebody comes or goes this often,
const STEP: Duration = Duration::from_secs(5);
/// and everybody is looked at this often.
const LOOK: u64 = 2;
const MIB: f64 = (1 << 20) as f64;

/// What was seen.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Report {
    pub minutes: f64,
    pub came: usize,
    /// Guests that did not play before they were to go.
    pub never_played: usize,
    pub stalls: u64,
    pub station: Growth,
    /// Of those who stayed, the one that grew most.
    pub viewer: Growth,
}

/// How a process grew once it was warm.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Growth {
    pub rss_mib: f64,
    /// What it had in the mean of each minute.
    pub rss_mib_by_minute: Vec<f64>,
    /// By a straight line through all samples, of the mean.
    pub percent_per_hour: f64,
    /// More in the last quarter than in the first, in the mean.
    pub descriptors: f64,
}

/// Runs it for so long, after so long in which caches fill.
///
/// # Errors
/// When something does not run.
pub async fn run(warm_up: Duration, lasts: Duration) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let clip = Clip::encode(folder.path(), Content::new(CLIP_S).of_rate(STREAM_BPS)).await?;
    let station = Standalone::start(&["--seeder-upload-max", "3Mbps"]).await?;
    let broadcast = Broadcast::repeat(&station, &clip)?;
    let mut stayers = Vec::new();
    for at in 0..STAYERS {
        let mut viewer = Viewer::start(&station, &format!("stays-{at}"), &[])?;
        viewer.plays(PLAYS).await?;
        stayers.push(viewer);
    }
    let mut guests: Vec<Viewer> = Vec::new();
    let (mut came, mut never_played) = (0, 0);
    let began = Instant::now();
    let mut samples: Vec<Vec<(f64, Usage)>> = vec![Vec::new(); STAYERS + 1];
    let steps = (warm_up + lasts).as_secs() / STEP.as_secs();
    for step in 0..steps {
        sleep_until(began + STEP * u32::try_from(step)?).await;
        // Once all are there, the oldest goes and another comes, in turn.
        let room = GUESTS - guests.len();
        if room > 1 || (room == 1 && step % 2 == 0) {
            guests.push(Viewer::start(&station, &format!("guest-{came}"), &[])?);
            came += 1;
        } else {
            let mut guest = guests.remove(0);
            never_played += usize::from(guest.figures()?.startup_ms.is_none());
            guest.stop().await?;
            guest.forget()?;
        }
        if step.is_multiple_of(LOOK) && began.elapsed() >= warm_up {
            let at = began.elapsed().as_secs_f64();
            let usages = std::iter::once(station.usage()).chain(stayers.iter().map(Viewer::usage));
            for (samples, usage) in samples.iter_mut().zip(usages) {
                samples.push((at, usage?));
            }
        }
    }
    let mut stalls = 0;
    for viewer in stayers.iter_mut().chain(&mut guests) {
        let stays = viewer.name().starts_with("stays");
        let figures = viewer.stop().await?;
        stalls += if stays { figures.stalls } else { 0 };
    }
    drop(broadcast);
    station.stop().await?;
    let grown: Vec<Growth> = samples.iter().map(|s| growth(s)).collect::<Result<_>>()?;
    let (of_station, of_viewers) = grown.split_first().context("the station was looked at")?;
    let most = of_viewers
        .iter()
        .max_by(|a, b| a.percent_per_hour.total_cmp(&b.percent_per_hour));
    Ok(Report {
        minutes: (warm_up + lasts).as_secs_f64() / 60.0,
        came,
        never_played,
        stalls,
        station: of_station.clone(),
        viewer: most.context("somebody stayed")?.clone(),
    })
}

fn growth(samples: &[(f64, Usage)]) -> Result<Growth> {
    ensure!(samples.len() >= 8, "too short to tell");
    let count = samples.len() as f64;
    let rss = |usage: &Usage| usage.rss as f64 / MIB;
    let mean_at = samples.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean = samples.iter().map(|(_, usage)| rss(usage)).sum::<f64>() / count;
    let (mut cross, mut square) = (0.0, 0.0);
    for (at, usage) in samples {
        cross += (at - mean_at) * (rss(usage) - mean);
        square += (at - mean_at).powi(2);
    }
    let quarter = samples.len() / 4;
    let open = |part: &[(f64, Usage)]| {
        let sum: usize = part.iter().map(|(_, usage)| usage.descriptors).sum();
        sum as f64 / part.len() as f64
    };
    let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    let mut minutes: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (at, usage) in samples {
        let minute = (at / 60.0) as u64;
        minutes.entry(minute).or_default().push(rss(usage));
    }
    let by_minute = minutes
        .values()
        .map(|minute| minute.iter().sum::<f64>() / minute.len() as f64);
    Ok(Growth {
        rss_mib: mean,
        rss_mib_by_minute: by_minute.collect(),
        percent_per_hour: cross / square * 3600.0 / mean * 100.0,
        descriptors: open(last) - open(first),
    })
}

impl Report {
    /// The figures with their limits.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let of = |name: &str, growth: &Growth| {
            let slope = format!("{name}: memory");
            vec![
                Row::only(&slope, Some(growth.rss_mib), "MiB"),
                Row::at_most(
                    &format!("{slope} grows in an hour by"),
                    Some(growth.percent_per_hour),
                    1.0,
                    "%",
                ),
                Row::at_most(
                    &format!("{name}: more descriptors in the end"),
                    Some(growth.descriptors),
                    1.0,
                    "",
                ),
            ]
        };
        let mut rows = vec![
            Row::only("minutes", Some(self.minutes), ""),
            Row::only("viewers that came and went", Some(self.came as f64), ""),
            Row::at_most(
                "of them never played",
                Some(self.never_played as f64),
                0.0,
                "",
            ),
            Row::at_most(
                "stalls of those who stay",
                Some(self.stalls as f64),
                0.0,
                "",
            ),
        ];
        rows.extend(of("station", &self.station));
        rows.extend(of("the viewer that grew most", &self.viewer));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, rss_mib: f64, descriptors: usize) -> (f64, Usage) {
        let usage = Usage {
            cpu: Duration::ZERO,
            rss: (rss_mib * MIB) as u64,
            descriptors,
        };
        (at, usage)
    }

    #[test]
    fn what_grows_is_seen() {
        let flat: Vec<_> = (0..60)
            .map(|at| sample(f64::from(at) * 10.0, 50.0, 20))
            .collect();
        let grown = growth(&flat).unwrap();
        assert!(grown.percent_per_hour.abs() < 0.01 && grown.descriptors == 0.0);
        let leaks: Vec<_> = (0..60)
            .map(|at| {
                sample(
                    f64::from(at) * 10.0,
                    50.0 + f64::from(at) * 0.01,
                    20 + at as usize,
                )
            })
            .collect();
        let grown = growth(&leaks).unwrap();
        // 0.01 MiB in ten seconds are 3.6 in an hour, of 50.3.
        assert!((grown.percent_per_hour - 7.16).abs() < 0.1, "{grown:?}");
        assert!(grown.descriptors > 40.0, "{grown:?}");
    }
}

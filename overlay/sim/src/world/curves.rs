//! What can be drawn of a run: how it went on second by second, and how it spreads over
//! viewers.

use std::time::Duration;

use overlay_core::StripeId;

use super::{Event, SEEDER, World, index, measure::BEGINS, report::percentile};

const SECOND: Duration = Duration::from_secs(1);
/// Twentieths.
const STEPS: usize = 20;
/// No tree is deeper.
const DEEPEST: usize = 64;

/// What is drawn. Times count from the end of the warm-up.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Curves {
    /// In each second, time played / time there, over viewers that came ten seconds before.
    pub continuity: Vec<f64>,
    /// In each second, what the seeder sent, in stream rates.
    pub seeder_rate: Vec<f64>,
    /// What viewers sent / what they offered, of those who offer anything and are there at the
    /// end: the least, then what each further twentieth of them does not exceed.
    pub upload_used: Vec<f64>,
    /// Stripes of viewers that hang so many edges below the seeder at the end.
    pub depths: Vec<u64>,
    /// When something struck, in seconds.
    pub faults: Vec<f64>,
}

/// Where the second before ended.
#[derive(Default)]
pub(super) struct Drawn {
    pub(super) curves: Curves,
    seeder_sent: u64,
}

impl World {
    pub(super) fn draw_begins(&mut self) {
        self.drawn.seeder_sent = self.network.sent(SEEDER);
        let (at, warmup) = (self.now + SECOND, self.scenario.warmup);
        let faults = self.scenario.faults.iter();
        let faults = faults.map(|fault| fault.at.saturating_sub(warmup).as_secs_f64());
        self.drawn.curves.faults = faults.collect();
        self.at(at, Event::Second);
    }

    /// A second is over.
    pub(super) fn draw_second(&mut self) {
        let (mut stood, mut there) = (Duration::ZERO, 0_u32);
        for number in self.viewers_there() {
            let stats = self.stats(number);
            let now = self.now;
            let Some(host) = self.hosts.get_mut(&number).filter(|host| !host.lies) else {
                continue;
            };
            let before = host.stood.replace(stats.stall_time);
            if now.since(host.started) < BEGINS + SECOND {
                continue;
            }
            there += 1;
            stood += match stats.startup {
                Some(_) => {
                    let before = before.unwrap_or(stats.stall_time);
                    stats.stall_time.saturating_sub(before).min(SECOND)
                }
                None => SECOND,
            };
        }
        let sent = self.network.sent(SEEDER);
        let rate = self.scenario.bitrate_bps as f64 / 8.0;
        let curves = &mut self.drawn.curves;
        let part = stood.as_secs_f64() / f64::from(there.max(1));
        curves.continuity.push(1.0 - part);
        curves
            .seeder_rate
            .push((sent - self.drawn.seeder_sent) as f64 / rate);
        self.drawn.seeder_sent = sent;
        self.at(self.now + SECOND, Event::Second);
    }

    pub(super) fn curves(&self) -> Curves {
        let most = if self.rival.is_some() {
            1.0
        } else {
            f64::INFINITY
        };
        let there = self.viewers_there().into_iter();
        let offers = there.filter_map(|number| Some((number, self.hosts.get(&number)?)));
        let used: Vec<f64> = offers
            .filter(|(_, host)| host.upload_bps > 0 && self.now.since(host.started) >= BEGINS)
            // What a rival has handed to a line that is full is not sent yet.
            .map(|(number, host)| self.over_cap(number, host).min(most))
            .collect();
        let steps = (0..=STEPS).filter(|_| !used.is_empty());
        Curves {
            upload_used: steps
                .map(|step| percentile(used.clone(), step as f64 / STEPS as f64))
                .collect(),
            depths: self.depths(),
            ..self.drawn.curves.clone()
        }
    }

    /// How many stripes of viewers hang so many edges below the seeder.
    pub(super) fn depths(&self) -> Vec<u64> {
        let there = self.hosts.iter().filter(|(_, host)| host.is_alive());
        let parents: Vec<(u32, Vec<(StripeId, u32)>)> = there
            .map(|(number, _)| {
                let parents = self.stats(number).parents.into_iter();
                let parents = parents.map(|(stripe, peer)| (stripe, index(peer)));
                (number, parents.collect())
            })
            .collect();
        let of = |number: u32, stripe: StripeId| {
            let at = parents.binary_search_by_key(&number, |(number, _)| *number);
            let mut all = parents.get(at.ok()?)?.1.iter();
            all.find(|(other, _)| *other == stripe)
                .map(|(_, parent)| *parent)
        };
        let mut depths = Vec::new();
        for (number, list) in &parents {
            for (stripe, _) in list {
                let (mut depth, mut at) = (0, *number);
                while let Some(parent) = of(at, *stripe).filter(|_| depth < DEEPEST) {
                    depth += 1;
                    at = parent;
                }
                // Who hangs on nobody has no depth.
                if at == SEEDER {
                    depths.resize(depths.len().max(depth + 1), 0);
                    depths[depth] += 1;
                }
            }
        }
        depths
    }
}

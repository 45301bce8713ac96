//! What became of those who watched, and the limits it is held to.

use serde::Serialize;

use crate::{figures::Received, scenario::Row, weather::Counters};

const MIB: f64 = (1 << 20) as f64;

/// What became of the viewers.
#[derive(Debug, Serialize)]
pub struct Aftermath {
    /// Media bits a second.
    pub stream_bps: f64,
    /// Bytes that the seeders sent since, by the kernel, in stream rates.
    pub seeder_rates: Option<f64>,
    /// What the weather did, from the first arrival on.
    pub weather: Option<Counters>,
    /// Of each survivor.
    pub survivors: Vec<Survivor>,
}

/// One who stayed.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the contract's, or say it")]
pub struct Survivor {
    pub name: String,
    /// Of the generations since the story began, what part it played.
    pub continuity: f64,
    /// Pieces that were not what was signed.
    pub rejected: u64,
    /// Whom it cut who meant well.
    pub wronged: Vec<String>,
    pub stalls: u64,
    pub stall_ms: u64,
    /// Of those; two that cannot be told apart count as one.
    pub longest_stall_ms: u64,
    pub startup_ms: Option<u64>,
    /// Over the last 60 s.
    pub lag_p95_ms: Option<u64>,
    /// Bytes of memory more than when the story began.
    pub grew: u64,
    pub received: Received,
    /// What is not exact about its output.
    pub inexact: Option<String>,
    /// What is in its output that was not sent, or not in this order.
    pub foreign: Option<String>,
}

impl Aftermath {
    /// The longest that any survivor stood at once.
    #[must_use]
    pub fn longest_stall_ms(&self) -> u64 {
        let stood = self.survivors.iter().map(|one| one.longest_stall_ms);
        stood.max().unwrap_or(0)
    }

    /// How much more memory the survivor holds that grew most, in bytes.
    #[must_use]
    pub fn grew(&self) -> u64 {
        self.survivors.iter().map(|one| one.grew).max().unwrap_or(0)
    }

    /// What a child that reads nothing may cost its parents.
    #[must_use]
    pub fn memory_row(&self) -> Row {
        let mib = self.grew() as f64 / MIB;
        Row::at_most("memory, the survivor that grew most", Some(mib), 2.0, "MiB")
    }

    /// The figures beside what the project promises. With `stall_ms`, each may stand for so
    /// long at once, and what is played then has gaps, but nothing that was not sent.
    #[must_use]
    pub fn rows(&self, stall_ms: Option<u64>) -> Vec<Row> {
        let total =
            |of: &dyn Fn(&Survivor) -> u64| Some(self.survivors.iter().map(of).sum::<u64>() as f64);
        let lag = self.survivors.iter().filter_map(|one| one.lag_p95_ms).max();
        let lag = lag.map(|ms| ms as f64);
        let mut rows = vec![Row::only(
            "survivors",
            Some(self.survivors.len() as f64),
            "",
        )];
        match stall_ms {
            None => {
                let inexact = total(&|one| u64::from(one.inexact.is_some()));
                rows.push(Row::at_most(
                    "stalls, all survivors",
                    total(&|one| one.stalls),
                    0.0,
                    "",
                ));
                rows.push(Row::at_most("outputs that are not exact", inexact, 0.0, ""));
            }
            Some(most) => {
                let longest = Some(self.longest_stall_ms() as f64);
                rows.push(Row::only(
                    "stalls, all survivors",
                    total(&|one| one.stalls),
                    "",
                ));
                rows.push(Row::at_most(
                    "longest stall of any survivor",
                    longest,
                    most as f64,
                    "ms",
                ));
                let foreign = total(&|one| u64::from(one.foreign.is_some()));
                rows.push(Row::at_most(
                    "outputs with what was not sent",
                    foreign,
                    0.0,
                    "",
                ));
            }
        }
        rows.push(Row::at_most("lag p95, worst survivor", lag, 2000.0, "ms"));
        rows.push(Row::only(
            "seeders, since",
            self.seeder_rates,
            "stream rates",
        ));
        rows.extend(self.weather.iter().flat_map(|weather| self.under(weather)));
        rows
    }

    /// The figures where some mean ill: nobody plays what was not sent, nobody who means well
    /// is cut, and everybody plays at least so much.
    #[must_use]
    pub fn rows_among_ill(&self, continuity: f64) -> Vec<Row> {
        let least = self.survivors.iter().map(|one| one.continuity);
        let least = least.reduce(f64::min).map(|least| least * 100.0);
        let count = |of: &dyn Fn(&Survivor) -> usize| {
            Some(self.survivors.iter().map(of).sum::<usize>() as f64)
        };
        let lag = self.survivors.iter().filter_map(|one| one.lag_p95_ms).max();
        vec![
            Row::only("who mean well", Some(self.survivors.len() as f64), ""),
            Row::at_least("continuity, worst of them", least, continuity * 100.0, "%"),
            Row::at_most(
                "outputs with what was not sent",
                count(&|one| usize::from(one.foreign.is_some())),
                0.0,
                "",
            ),
            Row::at_most(
                "cut though they meant well",
                count(&|one| one.wronged.len()),
                0.0,
                "",
            ),
            Row::only("pieces rejected", count(&|one| one.rejected as usize), ""),
            Row::only("stalls", count(&|one| one.stalls as usize), ""),
            Row::at_most(
                "lag p95, worst of them",
                lag.map(|ms| ms as f64),
                2000.0,
                "ms",
            ),
            Row::only("seeders, since", self.seeder_rates, "stream rates"),
        ]
    }

    /// What only weather makes interesting.
    fn under(&self, weather: &Counters) -> [Row; 5] {
        let most = |of: &dyn Fn(&Survivor) -> Option<u64>| {
            let all = self.survivors.iter().filter_map(of);
            all.max().map(|most| most as f64)
        };
        let Counters {
            forwarded,
            lost,
            no_room,
        } = weather;
        let part = *lost as f64 / (lost + forwarded).max(1) as f64;
        let never = self.survivors.iter().filter(|one| one.startup_ms.is_none());
        let never = Some(never.count() as f64);
        [
            Row::at_most("viewers that never played", never, 0.0, ""),
            Row::only(
                "stood in all, worst survivor",
                most(&|one| Some(one.stall_ms)),
                "ms",
            ),
            Row::only(
                "start-up, worst survivor",
                most(&|one| one.startup_ms),
                "ms",
            ),
            Row::only("frames that the weather took", Some(part * 100.0), "%"),
            Row::only("frames without room", Some(*no_room as f64), ""),
        ]
    }
}

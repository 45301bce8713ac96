//! Scenario files: TOML, as `docs/contract.md` has it, into what the simulator takes.
//!
//! The one rule: what is not known, or cannot be, is an error with its line; nothing is left
//! out in silence.

use std::time::Duration;

use boot::units::{Rate, parse_duration, parse_rate};
use serde::{Deserialize, Deserializer, de::Error as _};
use sim::{Attack, Coming, Fault, How, RivalConfig, Scenario, Sessions, What, Who};

/// Reads a scenario; `set` holds `key=value` as given on the command line, which win.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub(super) fn read(text: &str, set: &[String]) -> Result<(String, Scenario), String> {
    let wrong = |error: toml::de::Error| error.to_string();
    let mut table: toml::Table = text.parse().map_err(wrong)?;
    // The text itself is read as well: only so do errors know their lines.
    let plain: File = toml::from_str(text).map_err(wrong)?;
    if set.is_empty() {
        return plain.scenario();
    }
    for entry in set {
        put(&mut table, entry)?;
    }
    let text = toml::to_string(&table).map_err(|error| error.to_string())?;
    let changed: File = toml::from_str(&text).map_err(|error| format!("--set: {error}"))?;
    changed.scenario()
}

/// Puts `swarm.peers=50`, or `peers=50` where only one section has it.
fn put(table: &mut toml::Table, entry: &str) -> Result<(), String> {
    let (key, value) = entry
        .split_once('=')
        .ok_or_else(|| format!("--set {entry:?}: it looks like swarm.peers=50"))?;
    let section = SECTIONS.iter().find_map(|(section, keys)| {
        let named = key
            .strip_prefix(section)
            .and_then(|rest| rest.strip_prefix('.'));
        let wanted = named.unwrap_or(key);
        keys.contains(&wanted).then_some((*section, wanted))
    });
    let Some((section, key)) = section else {
        let all = SECTIONS
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")));
        let all: Vec<String> = all.collect();
        return Err(format!(
            "--set: there is no {key:?}; there are {}",
            all.join(", ")
        ));
    };
    let number = value.parse::<i64>().map(toml::Value::Integer);
    let float = || value.parse::<f64>().map(toml::Value::Float);
    let word = || value.parse::<bool>().map(toml::Value::Boolean);
    let value = number
        .or_else(|_| float())
        .or_else(|_| word())
        .unwrap_or_else(|_| toml::Value::String(value.to_owned()));
    let section = table
        .entry(section)
        .or_insert_with(|| toml::Table::new().into());
    let section = section.as_table_mut().ok_or("a section is a table")?;
    section.insert(key.to_owned(), value);
    Ok(())
}

/// What `--set` may name.
const SECTIONS: [(&str, &[&str]); 8] = [
    ("stream", &["bitrate", "generation", "gop"]),
    (
        "swarm",
        &[
            "peers",
            "arrivals",
            "over",
            "session",
            "zappers",
            "resource_index",
        ],
    ),
    (
        "network",
        &["rtt", "last_mile", "jitter", "loss", "burst", "nat"],
    ),
    ("origin", &["upload_max"]),
    ("player", &["delay"]),
    ("run", &["warmup", "duration"]),
    (
        "attack",
        &["polluters", "free_riders", "slow_drip", "sybils"],
    ),
    ("rival", &["delay", "segment"]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    #[serde(default)]
    stream: Stream,
    swarm: Swarm,
    #[serde(default)]
    uplink: Vec<Uplink>,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    origin: Origin,
    #[serde(default)]
    player: Player,
    run: Run,
    #[serde(default)]
    event: Vec<Event>,
    #[serde(default)]
    attack: Ill,
    #[serde(default)]
    rival: Rival,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    #[serde(default, deserialize_with = "some_rate")]
    bitrate: Option<u64>,
    #[serde(default, deserialize_with = "some_span")]
    generation: Option<Duration>,
    #[serde(default, deserialize_with = "some_span")]
    gop: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Swarm {
    #[serde(deserialize_with = "count")]
    peers: usize,
    #[serde(default)]
    arrivals: Arrivals,
    #[serde(default, deserialize_with = "some_span")]
    over: Option<Duration>,
    #[serde(default, deserialize_with = "session")]
    session: Option<Sessions>,
    #[serde(default, deserialize_with = "share")]
    zappers: f64,
    #[serde(default, deserialize_with = "some_index")]
    resource_index: Option<f64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Arrivals {
    #[default]
    Start,
    Poisson,
    Flash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Uplink {
    #[serde(deserialize_with = "share")]
    share: f64,
    #[serde(deserialize_with = "rate")]
    rate: u64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(default, deserialize_with = "some_span")]
    rtt: Option<Duration>,
    #[serde(default, deserialize_with = "some_span")]
    last_mile: Option<Duration>,
    #[serde(default, deserialize_with = "some_span")]
    jitter: Option<Duration>,
    #[serde(default, deserialize_with = "some_share")]
    loss: Option<f64>,
    #[serde(default, deserialize_with = "burst")]
    burst: Option<f64>,
    #[serde(default)]
    nat: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    #[serde(default, deserialize_with = "some_rate")]
    upload_max: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Player {
    #[serde(default, deserialize_with = "some_span")]
    delay: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    #[serde(default, deserialize_with = "some_span")]
    warmup: Option<Duration>,
    #[serde(deserialize_with = "span")]
    duration: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    #[serde(deserialize_with = "span")]
    at: Duration,
    #[serde(default, deserialize_with = "some_share")]
    kill: Option<f64>,
    #[serde(default, deserialize_with = "some_share")]
    partition: Option<f64>,
    tracker: Option<Down>,
    seeder: Option<Down>,
    #[serde(default, rename = "for", deserialize_with = "some_span")]
    lasts: Option<Duration>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Down {
    Down,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ill {
    #[serde(default, deserialize_with = "share")]
    polluters: f64,
    #[serde(default, deserialize_with = "share")]
    free_riders: f64,
    #[serde(default, deserialize_with = "share")]
    slow_drip: f64,
    #[serde(default, deserialize_with = "ratio")]
    sybils: f64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rival {
    #[serde(default, deserialize_with = "some_span")]
    delay: Option<Duration>,
    #[serde(default, deserialize_with = "some_span")]
    segment: Option<Duration>,
}

impl Rival {
    /// Where generations are so long.
    fn config(&self, generation: Duration) -> Result<RivalConfig, String> {
        let usual = RivalConfig::default();
        let segment = self.segment.unwrap_or(usual.segment);
        if segment < generation || segment > LONGEST_SEGMENT {
            return Err("[rival] segment: a generation at least, and at most 10s".into());
        }
        if self.delay.is_some_and(|delay| delay > LONGEST_DELAY) {
            return Err("[rival] delay: at most 60s".into());
        }
        Ok(RivalConfig {
            delay: self.delay,
            segment,
        })
    }
}

impl File {
    fn scenario(self) -> Result<(String, Scenario), String> {
        let usual = Scenario::default();
        let warmup = self.run.warmup.unwrap_or_default();
        let over = self.swarm.over;
        let (coming, arrivals) = match self.swarm.arrivals {
            // Whoever is there from the start comes in the first half of the warm-up.
            Arrivals::Start => (Coming::Evenly, over.unwrap_or(warmup / 2)),
            Arrivals::Poisson => (Coming::Randomly, over.unwrap_or(warmup / 2)),
            Arrivals::Flash => (Coming::Flash, over.unwrap_or(FLASH)),
        };
        let bitrate_bps = self.stream.bitrate.unwrap_or(usual.bitrate_bps);
        let generation = self.stream.generation.unwrap_or(usual.generation);
        let gop = self.stream.gop.unwrap_or(usual.gop);
        if generation < SHORTEST || bitrate_bps == 0 || gop < generation {
            return Err("[stream] generation: 10ms at least, and no longer than gop".into());
        }
        let uplinks = uplinks(&self.uplink, self.swarm.resource_index, bitrate_bps)?;
        if let Some(late) = self
            .event
            .iter()
            .find(|event| event.at >= self.run.duration)
        {
            let at = late.at.as_secs_f64();
            return Err(format!(
                "[[event]] at: {at} s, when the run is over; see [run] duration"
            ));
        }
        let faults = self.event.iter().map(|event| event.fault(warmup));
        let scenario = Scenario {
            peers: self.swarm.peers,
            arrivals,
            coming,
            sessions: self.swarm.session.unwrap_or(Sessions::Forever),
            zappers: self.swarm.zappers,
            warmup,
            bitrate_bps,
            generation,
            gop,
            delay: self.player.delay.unwrap_or(usual.delay),
            uplinks,
            seeder_bps: self.origin.upload_max.unwrap_or(usual.seeder_bps),
            rtt: self.network.rtt.unwrap_or(usual.rtt),
            last_mile: self.network.last_mile.unwrap_or(usual.last_mile),
            jitter: self.network.jitter.unwrap_or(usual.jitter),
            loss: self.network.loss.unwrap_or(usual.loss),
            burst: self.network.burst.unwrap_or(usual.burst),
            nat: self.network.nat,
            duration: warmup + self.run.duration,
            faults: faults.collect::<Result<_, _>>()?,
            attack: Attack {
                polluters: self.attack.polluters,
                free_riders: self.attack.free_riders,
                slow_drip: self.attack.slow_drip,
                sybils: self.attack.sybils,
            },
            rival: self.rival.config(generation)?,
            ..usual
        };
        Ok((self.about, scenario))
    }
}

/// HLS recommends six seconds; older servers cut ten.
const LONGEST_SEGMENT: Duration = Duration::from_secs(10);
/// Nobody calls it live then.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A picture of a hundred a second.
const SHORTEST: Duration = Duration::from_millis(10);
/// A flash crowd comes within this.
const FLASH: Duration = Duration::from_secs(10);

impl Event {
    fn fault(&self, warmup: Duration) -> Result<Fault, String> {
        let lasts = || self.lasts.ok_or("[[event]] for: how long it lasts, as 30s");
        let what = match (self.kill, self.partition, self.tracker, self.seeder) {
            (Some(_), None, None, None) if self.lasts.is_some() => {
                return Err("[[event]] for: who is killed does not come back".into());
            }
            (Some(share), None, None, None) => What::Vanish(Who::Share(share), How::Killed),
            (None, Some(share), None, None) => What::Partition(share, lasts()?),
            (None, None, Some(Down::Down), None) => What::TrackerDown(lasts()?),
            (None, None, None, Some(Down::Down)) => What::SeederDown(lasts()?),
            _ => {
                let one = "[[event]]: one of kill = 0.5, partition = 0.5, tracker = \"down\" \
                           and seeder = \"down\"";
                return Err(one.into());
            }
        };
        Ok(Fault {
            at: warmup + self.at,
            what,
        })
    }
}

/// What viewers offer, scaled to the index if there is one.
fn uplinks(
    given: &[Uplink],
    index: Option<f64>,
    bitrate_bps: u64,
) -> Result<Vec<(f64, u64)>, String> {
    let mut uplinks: Vec<(f64, u64)> = given.iter().map(|one| (one.share, one.rate)).collect();
    if uplinks.is_empty() {
        uplinks = Scenario::default().uplinks;
    }
    let shares: f64 = uplinks.iter().map(|(share, _)| share).sum();
    if (shares - 1.0).abs() > 0.001 {
        return Err(format!("[[uplink]] share: together 1, not {shares}"));
    }
    let mean: f64 = uplinks
        .iter()
        .map(|(share, rate)| share * *rate as f64)
        .sum();
    if let Some(index) = index {
        if mean <= 0.0 {
            return Err(
                "[swarm] resource_index: nobody offers anything that could be scaled".into(),
            );
        }
        let scale = index * bitrate_bps as f64 / mean;
        for (_, rate) in &mut uplinks {
            *rate = (*rate as f64 * scale) as u64;
        }
    }
    Ok(uplinks)
}

fn rate<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    parse_rate(&text).map(Rate::bps).map_err(D::Error::custom)
}

fn some_rate<'d, D: Deserializer<'d>>(from: D) -> Result<Option<u64>, D::Error> {
    rate(from).map(Some)
}

fn span<'d, D: Deserializer<'d>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let span = parse_duration(&text).map_err(D::Error::custom)?;
    match span <= LONGEST {
        true => Ok(span),
        false => Err(D::Error::custom("no run is longer than a day")),
    }
}

/// Nothing that is simulated takes longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

fn some_span<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Duration>, D::Error> {
    span(from).map(Some)
}

fn share<'d, D: Deserializer<'d>>(from: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(from)?;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err(D::Error::custom(format!(
            "a share is between 0 and 1, not {share}"
        ))),
    }
}

/// So many to each of the others.
fn ratio<'d, D: Deserializer<'d>>(from: D) -> Result<f64, D::Error> {
    let ratio = f64::deserialize(from)?;
    match (0.0..=20.0).contains(&ratio) {
        true => Ok(ratio),
        false => Err(D::Error::custom("so many to one viewer, 0 to 20")),
    }
}

fn some_share<'d, D: Deserializer<'d>>(from: D) -> Result<Option<f64>, D::Error> {
    share(from).map(Some)
}

fn some_index<'d, D: Deserializer<'d>>(from: D) -> Result<Option<f64>, D::Error> {
    let index = f64::deserialize(from)?;
    match index > 0.0 && index <= 100.0 {
        true => Ok(Some(index)),
        false => Err(D::Error::custom(
            "an index is above 0, as 1.3, and at most 100",
        )),
    }
}

fn burst<'d, D: Deserializer<'d>>(from: D) -> Result<Option<f64>, D::Error> {
    let burst = f64::deserialize(from)?;
    match (1.0..=1000.0).contains(&burst) {
        true => Ok(Some(burst)),
        false => Err(D::Error::custom("packets in a row, 1.0 to 1000.0")),
    }
}

fn count<'d, D: Deserializer<'d>>(from: D) -> Result<usize, D::Error> {
    let count = u32::deserialize(from)?;
    match count {
        0 => Err(D::Error::custom("at least one viewer")),
        _ => Ok(count as usize),
    }
}

fn session<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Sessions>, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = || {
        let right = "forever, exp:300s (the mean) or lognormal:300s:1.6 (the median, sigma)";
        D::Error::custom(format!("a session is {right}, not {text:?}"))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let span = |text: &str| parse_duration(text).ok().filter(|span| !span.is_zero());
    let session = match parts[..] {
        ["forever"] => Some(Sessions::Forever),
        ["exp", mean] => span(mean).map(Sessions::Exponential),
        ["lognormal", median, sigma] => {
            let sigma = sigma
                .parse()
                .ok()
                .filter(|sigma| (0.0..=4.0).contains(sigma));
            span(median)
                .zip(sigma)
                .map(|(median, sigma)| Sessions::LogNormal(median, sigma))
        }
        _ => None,
    };
    session.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
about = "a small one"
[swarm]
peers = 20
[run]
warmup = "10s"
duration = "30s"
"#;

    fn refused(text: &str, set: &[&str]) -> String {
        let set: Vec<String> = set.iter().map(|entry| (*entry).to_owned()).collect();
        read(text, &set).expect_err("it is wrong")
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        let (about, scenario) = read(SMALL, &[]).unwrap();
        assert_eq!((about.as_str(), scenario.peers), ("a small one", 20));
        assert_eq!(scenario.arrivals, Duration::from_secs(5));
        assert_eq!(scenario.duration, Duration::from_secs(40));
        assert_eq!(scenario.bitrate_bps, Scenario::default().bitrate_bps);
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
about = "all"
[stream]
bitrate = "8Mbps"
generation = "250ms"
gop = "1s"
[swarm]
peers = 10
arrivals = "flash"
over = "4s"
session = "lognormal:300s:1.6"
zappers = 0.2
resource_index = 1.5
[[uplink]]
share = 0.5
rate = "0bps"
[[uplink]]
share = 0.5
rate = "10Mbps"
[network]
rtt = "100ms"
last_mile = "10ms"
jitter = "5ms"
loss = 0.01
burst = 3.0
nat = true
[origin]
upload_max = "20Mbps"
[player]
delay = "2s"
[run]
warmup = "20s"
duration = "60s"
[[event]]
at = "5s"
kill = 0.5
[[event]]
at = "9s"
tracker = "down"
for = "3s"
[attack]
polluters = 0.1
free_riders = 0.2
slow_drip = 0.1
sybils = 4
[rival]
delay = "12s"
segment = "4s"
"#;
        let (_, scenario) = read(text, &[]).unwrap();
        assert_eq!(scenario.coming, Coming::Flash);
        // Half of them carry all of 1.5 times the demand.
        assert_eq!(scenario.uplinks, [(0.5, 0), (0.5, 24_000_000)]);
        assert_eq!(scenario.faults.len(), 2);
        assert_eq!(scenario.faults[1].at, Duration::from_secs(29));
        assert_eq!(scenario.attack.free_riders, 0.2);
        assert_eq!(scenario.attack.slow_drip, 0.1);
        assert_eq!(scenario.attack.sybils, 4.0);
        assert!(scenario.nat);
        assert_eq!(scenario.rival.segment, Duration::from_secs(4));
        assert_eq!(scenario.rival.delay, Some(Duration::from_secs(12)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = refused(&SMALL.replace("peers", "peeers"), &[]);
        assert!(
            error.contains("line 4") && error.contains("peeers"),
            "{error}"
        );
        assert!(error.contains("peers"), "what would be right: {error}");
        let error = refused(&SMALL.replace("\"10s\"", "\"10\""), &[]);
        assert!(error.contains("line 6") && error.contains("16s"), "{error}");
        let error = refused(&SMALL.replace("= 20", "= -3"), &[]);
        assert!(error.contains("line 4"), "{error}");
        let error = refused(&format!("{SMALL}[network]\nloss = 1.5\n"), &[]);
        assert!(error.contains("between 0 and 1"), "{error}");
        let error = refused(&format!("{SMALL}[[event]]\nat = \"1s\"\n"), &[]);
        assert!(error.contains("kill = 0.5"), "{error}");
        let error = refused(
            &format!("{SMALL}[[uplink]]\nshare = 0.3\nrate = \"1Mbps\"\n"),
            &[],
        );
        assert!(error.contains("together 1"), "{error}");
        assert!(refused("", &[]).contains("about"));
        for (wrong, right) in [
            ("[network]\nburst = 0.2\n", "1.0"),
            ("[stream]\ngeneration = \"1ms\"\n", "10ms"),
            ("[rival]\nsegment = \"100ms\"\n", "10s"),
            ("[rival]\ndelay = \"2m\"\n", "60s"),
            ("[[event]]\nat = \"30s\"\nkill = 0.5\n", "duration"),
            (
                "[[event]]\nat = \"3s\"\nkill = 0.5\nfor = \"2s\"\n",
                "come back",
            ),
        ] {
            let error = refused(&format!("{SMALL}{wrong}"), &[]);
            assert!(error.contains(right), "{error}");
        }
    }

    #[test]
    fn the_command_line_wins() {
        let set = ["swarm.peers=7", "session=exp:300s", "loss=0.02", "delay=1s"];
        let set = set.map(str::to_owned);
        let (_, scenario) = read(SMALL, &set).unwrap();
        assert_eq!((scenario.peers, scenario.loss), (7, 0.02));
        assert_eq!(
            scenario.sessions,
            Sessions::Exponential(Duration::from_secs(300))
        );
        assert_eq!(scenario.delay, Duration::from_secs(1));
        assert!(refused(SMALL, &["pears=7"]).contains("swarm.peers"));
        assert!(refused(SMALL, &["peers"]).contains("swarm.peers=50"));
        assert!(refused(SMALL, &["loss=2"]).contains("between 0 and 1"));
    }
}

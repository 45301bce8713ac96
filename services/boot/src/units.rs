//! The units of the command line: rates and durations as people write them. `parse_*` fit
//! clap's `value_parser`.

use std::{fmt, time::Duration};

/// Reads where another service answers: `http://host:port`, or `https://` by TLS.
///
/// # Errors
/// What such an address looks like.
pub fn parse_service_url(text: &str) -> Result<String, &'static str> {
    let wrong = "it looks like http://127.0.0.1:7700 or https://accounts.example:7700";
    let (scheme, place) = text.split_once("://").ok_or(wrong)?;
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = place.rsplit_once(':').ok_or(wrong)?;
    let known = matches!(scheme, "http" | "https");
    let bare = known && !host.is_empty() && !host.contains(['/', '@', '?']);
    match bare && port.parse::<u16>().is_ok_and(|port| port > 0) {
        true => Ok(format!("{scheme}://{place}")),
        false => Err(wrong),
    }
}

/// A thousand years, so that sums of durations cannot overflow.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 86_400);

/// A rate in bits a second, written `3Mbps`, `500kbps`, `1.5Gbps` or `800bps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// A rate of so many bits a second.
    #[must_use]
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// Bits a second.
    #[must_use]
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// Whole bytes a second.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bps = self.0;
        match bps {
            0 => write!(f, "0bps"),
            _ if bps.is_multiple_of(1_000_000_000) => write!(f, "{}Gbps", bps / 1_000_000_000),
            _ if bps.is_multiple_of(1_000_000) => write!(f, "{}Mbps", bps / 1_000_000),
            _ if bps.is_multiple_of(1_000) => write!(f, "{}kbps", bps / 1_000),
            _ => write!(f, "{bps}bps"),
        }
    }
}

/// What is wrong with a written rate or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a rate.
    #[error("a rate looks like 3Mbps, 500kbps or 1.5Mbps, not {0:?}")]
    Rate(String),
    /// Not a duration.
    #[error("a duration looks like 16s, 5m, 1h or 250ms, not {0:?}")]
    Duration(String),
}

/// Reads a [`Rate`].
///
/// # Errors
/// [`Error::Rate`] for anything else, a missing unit too: 3 could mean anything.
pub fn parse_rate(text: &str) -> Result<Rate, Error> {
    const UNITS: [(&str, f64); 4] = [("Gbps", 1e9), ("Mbps", 1e6), ("kbps", 1e3), ("bps", 1.0)];
    parse(text, &UNITS)
        .filter(|bps| *bps <= 1e15)
        .map(|bps| Rate(bps.round() as u64))
        .ok_or_else(|| Error::Rate(text.into()))
}

/// Reads a duration: `250ms`, `16s`, `1.5s`, `5m`, `2h`.
///
/// # Errors
/// [`Error::Duration`] for anything else, a missing unit too.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    const UNITS: [(&str, f64); 4] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    parse(text, &UNITS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| Error::Duration(text.into()))
}

/// A plain decimal number and one of the units, longest first where one ends another.
fn parse(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    let plain = number.len() <= 20
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain
        .then(|| number.parse::<f64>().ok())?
        .map(|value| value * scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_contracts_examples() {
        assert_eq!(parse_rate("3Mbps"), Ok(Rate::from_bps(3_000_000)));
        assert_eq!(parse_rate("500kbps"), Ok(Rate::from_bps(500_000)));
        assert_eq!(parse_rate("1.5Mbps"), Ok(Rate::from_bps(1_500_000)));
        assert_eq!(parse_rate("0bps"), Ok(Rate::from_bps(0)));
        assert_eq!(parse_duration("16s"), Ok(Duration::from_secs(16)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_neither_is_refused_and_repeated() {
        for text in [
            "", "3", "Mbps", "-3Mbps", "3 Mbps", "3mbps", "1e9Mbps", "infMbps", "1..2bps",
        ] {
            assert_eq!(parse_rate(text), Err(Error::Rate(text.into())), "{text}");
        }
        for text in ["", "3", "s", "-1s", "1d", "NaNs", "99999999999999999999h"] {
            assert_eq!(
                parse_duration(text),
                Err(Error::Duration(text.into())),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bps in 0..1_000_000_000_000_u64) {
            let rate = Rate::from_bps(bps);
            prop_assert_eq!(parse_rate(&rate.to_string()), Ok(rate));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (parse_rate(&text), parse_duration(&text));
        }
    }
}

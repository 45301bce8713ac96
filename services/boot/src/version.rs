//! Which versions of the program may work together. Called by the registry's two sides. The
//! one rule: a release works with the one before it and the one after it, so that a station
//! of several machines can be renewed one by one.

use std::fmt;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Longer is no version of ours.
pub const VERSION_MAX: usize = 32;

/// Why two versions may not work together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not `1.2.3`.
    #[error("a version looks like 1.2.3")]
    NotOne,
    /// They are more than a release apart.
    #[error("versions {0} and {1} are more than one release apart")]
    Apart(Release, Release),
}

/// What of a version decides: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    major: u32,
    minor: u32,
}

/// Whether the two may work together: the same major number, and minor numbers that differ by
/// one at most. What follows the minor number does not matter.
///
/// # Errors
/// [`Error::NotOne`] when one of them is none or exceeds [`VERSION_MAX`], [`Error::Apart`].
pub fn compatible(one: &str, other: &str) -> Result<(), Error> {
    let (one, other) = (release(one)?, release(other)?);
    match one.major == other.major && one.minor.abs_diff(other.minor) <= 1 {
        true => Ok(()),
        false => Err(Error::Apart(one, other)),
    }
}

fn release(version: &str) -> Result<Release, Error> {
    let read = || {
        let mut parts = version.splitn(3, '.');
        let major = number(parts.next()?)?;
        let minor = number(parts.next()?)?;
        let patch = parts.next()?;
        (!patch.is_empty()).then_some(Release { major, minor })
    };
    let short = version.len() <= VERSION_MAX;
    short.then(read).flatten().ok_or(Error::NotOne)
}

fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_release_of_difference_works_either_way() {
        for (one, other) in [
            (VERSION, VERSION),
            ("1.4.0", "1.4.9"),
            ("1.4.0", "1.5.0"),
            ("1.5.3", "1.4.7"),
            ("0.1.0", "0.2.0-rc.1"),
        ] {
            assert_eq!(compatible(one, other), Ok(()), "{one} {other}");
        }
    }

    #[test]
    fn two_releases_are_refused_and_both_named() {
        for (one, other, said) in [
            (
                "1.4.0",
                "1.6.0",
                "versions 1.4 and 1.6 are more than one release apart",
            ),
            (
                "1.6.2",
                "1.4.0",
                "versions 1.6 and 1.4 are more than one release apart",
            ),
            (
                "1.9.0",
                "2.0.0",
                "versions 1.9 and 2.0 are more than one release apart",
            ),
            (
                "2.0.0",
                "1.0.0",
                "versions 2.0 and 1.0 are more than one release apart",
            ),
        ] {
            let refused = compatible(one, other).map_err(|error| error.to_string());
            assert_eq!(refused, Err(said.to_owned()));
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let long = format!("1.2.{}", "3".repeat(VERSION_MAX));
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.",
            "a.b.c",
            "+1.2.3",
            "1.-2.3",
            "99999999999.0.0",
            &long,
        ] {
            assert_eq!(compatible(bad, VERSION), Err(Error::NotOne), "{bad}");
            assert_eq!(compatible(VERSION, bad), Err(Error::NotOne), "{bad}");
        }
    }
}

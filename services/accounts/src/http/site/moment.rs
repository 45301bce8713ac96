//! Moments as people and programs read them.

use time::OffsetDateTime;

/// A moment in UTC.
pub(super) struct Moment {
    /// `2026-11-27T07:35Z`, for `<time datetime>`.
    pub(super) exact: String,
    /// `27 Nov 2026, 07:35 UTC`.
    pub(super) shown: String,
}

impl Moment {
    /// Of Unix seconds; the first moment of all where they are none.
    pub(super) fn of(unix: i64) -> Self {
        let at = OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (at.year(), at.month(), at.day());
        let (hour, minute) = (at.hour(), at.minute());
        let name = month.to_string();
        let short = name.get(..3).unwrap_or(&name);
        Self {
            exact: format!(
                "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}Z",
                u8::from(month)
            ),
            shown: format!("{day} {short} {year}, {hour:02}:{minute:02} UTC"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment() {
        let moment = Moment::of(1_700_000_000);
        assert_eq!(moment.exact, "2023-11-14T22:13Z");
        assert_eq!(moment.shown, "14 Nov 2023, 22:13 UTC");
        assert_eq!(Moment::of(i64::MAX).exact, "1970-01-01T00:00Z");
    }
}

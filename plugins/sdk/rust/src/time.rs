//! Points in time. A plugin has no clock: it may use only the times in its arguments.

use std::fmt::{self, Display};
use std::ops::Add;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Nanoseconds since 1970-01-01T00:00:00Z, up to the year 2554. Written as RFC 3339 in UTC, in JSON too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A point in time, by nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

/// Adds a duration, up to the last point in time that the type holds.
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// `2022-12-12T08:30:00Z`, with as many decimals of a second as needed.
impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / NANOS_PER_SECOND, self.0 % NANOS_PER_SECOND);
        let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
        let second = seconds % SECONDS_PER_DAY;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos != 0 {
            let digits = format!("{nanos:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// The text is not a point in time that a [`Timestamp`] holds: RFC 3339, in UTC (`Z`), from 1970 to 2554.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTimestamp;

impl Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time like 2022-12-12T08:30:00Z")
    }
}

impl std::error::Error for InvalidTimestamp {}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        parse(text.as_bytes()).map(Self).ok_or(InvalidTimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Year, month and day of a day counted from 1970-01-01 (the algorithm `civil_from_days` of Howard Hinnant).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next_year, month, day)
}

/// The days from 1970-01-01 to a date of the same calendar. The date must not lie before 1970-01-01.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn parse(text: &[u8]) -> Option<u64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let digits = |range: std::ops::Range<usize>| number(&date_time[range]);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| date_time[at] != mark) {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let day_number = days(year, month, day);
    // A day that its month does not have is converted to a day of the next month.
    if civil(day_number) != (year, month, day) {
        return None;
    }
    let fraction = rest.strip_suffix(b"Z")?;
    let nanos = match fraction.strip_prefix(b".") {
        Some(digits) if (1..=9).contains(&digits.len()) => {
            digits.len().try_into().ok().map(|len: u32| 10_u64.pow(9 - len))? * number(digits)?
        }
        None if fraction.is_empty() => 0,
        _ => return None,
    };
    let seconds = day_number * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)
}

/// A number of at most nine digits.
fn number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

#[cfg(feature = "schemas")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_and_read_back() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (1_670_833_800_000_000_000, "2022-12-12T08:30:00Z"),
            (1_670_833_800_120_000_000, "2022-12-12T08:30:00.12Z"),
            (1_670_833_800_000_000_001, "2022-12-12T08:30:00.000000001Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ];
        for (nanos, text) in cases {
            assert_eq!(Timestamp::from_nanos(nanos).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn every_day_goes_there_and_back() {
        for day in 0..213_000 {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2022-12-12",
            "2022-12-12T08:30:00",
            "2022-12-12T08:30:00+01:00",
            "2022-12-12 08:30:00Z",
            "2022-13-12T08:30:00Z",
            "2022-02-29T08:30:00Z",
            "2022-12-00T08:30:00Z",
            "2022-12-12T24:00:00Z",
            "2022-12-12T08:30:00.Z",
            "2022-12-12T08:30:00.1234567890Z",
            "1969-12-31T23:59:59Z",
            "2554-07-22T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2022-12-12T08:3\u{e9}:00Z",
            "+022-12-12T08:30:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn adding_never_wraps() {
        let second = Timestamp::from_nanos(1) + Duration::from_secs(1);
        assert_eq!(second.as_nanos(), 1_000_000_001);
        assert_eq!((second + Duration::MAX).as_nanos(), u64::MAX);
    }
}

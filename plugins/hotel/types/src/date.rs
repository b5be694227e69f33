//! A day of the calendar.

use std::fmt::{self, Display};

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A day that exists, from 0001-01-01 to 9999-12-31, always written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Parses `text` as a day. `None` if it is not one, or if the day does not exist.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return None };
        let year = number(&[y1, y2, y3, y4])?;
        let month = number(&[m1, m2])?.try_into().ok()?;
        let day = number(&[d1, d2])?.try_into().ok()?;
        (year > 0 && (1..=days_of(year, month)?).contains(&day)).then_some(Self { year, month, day })
    }
}

impl Date {
    /// The seconds from 1970-01-01T00:00:00Z to the end of the day, in UTC; 0 for a day before that.
    #[must_use]
    pub fn end_in_seconds(self) -> u64 {
        // Days are counted from 0000-03-01, so that a leap day ends its year (the algorithm `days_from_civil` of Howard
        // Hinnant).
        let (year, month, day) = (u64::from(self.year), u64::from(self.month), u64::from(self.day));
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
        (days.saturating_sub(DAYS_TO_1970)) * 86_400
    }
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

/// A number of at most four digits.
fn number(digits: &[u8]) -> Option<u16> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0')))
}

fn days_of(year: u16, month: u8) -> Option<u8> {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

impl Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Date;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date of the calendar, written YYYY-MM-DD")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Date, E> {
                // The error does not repeat the text, because its length is unbounded.
                Date::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Other("text"), &self))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_exist_go_there_and_back() {
        for text in
            ["2022-12-12", "0001-01-01", "9999-12-31", "2024-02-29", "2000-02-29", "2022-02-28", "2022-04-30"]
        {
            assert_eq!(Date::parse(text).expect("it exists").to_string(), text);
            let json = format!("\"{text}\"");
            let date: Date = serde_json::from_str(&json).expect("it is read");
            assert_eq!(serde_json::to_string(&date).expect("it is written"), json);
        }
    }

    #[test]
    fn days_that_do_not_exist_and_other_ways_to_write_one_are_refused() {
        for text in [
            "",
            "2022-02-29",
            "1900-02-29",
            "2100-02-29",
            "2022-04-31",
            "2022-13-01",
            "2022-00-01",
            "2022-01-00",
            "2022-01-32",
            "0000-01-01",
            "22-12-12",
            "2022-1-12",
            "2022-12-1",
            "2022-12-12T00:00:00Z",
            " 2022-12-12",
            "2022/12/12",
            "20221212",
            "+022-12-12",
            "2022-12-\u{661}",
            "2022-12-1\u{0}",
            "12-12-2022",
        ] {
            assert_eq!(Date::parse(text), None, "{text:?}");
        }
        let error = serde_json::from_str::<Date>("\"2022-02-30\"").expect_err("it does not exist");
        assert_eq!(
            error.to_string(),
            "invalid value: text, expected a date of the calendar, written YYYY-MM-DD at line 1 column 12"
        );
        assert!(serde_json::from_str::<Date>("20221212").is_err());
    }

    #[test]
    fn a_day_ends_where_the_next_begins() {
        for (text, end) in [
            ("1970-01-01", 86_400),
            ("2000-02-29", 951_868_800),
            ("2022-12-12", 1_670_889_600),
            ("9999-12-31", 253_402_300_800),
            ("0001-01-01", 0),
            ("1969-12-31", 0),
        ] {
            assert_eq!(Date::parse(text).expect("it exists").end_in_seconds(), end, "{text}");
        }
    }

    #[test]
    fn dates_are_ordered_as_days_are() {
        let [a, b, c] = ["2021-12-31", "2022-01-30", "2022-02-01"].map(Date::parse);
        assert!(a < b && b < c);
    }
}

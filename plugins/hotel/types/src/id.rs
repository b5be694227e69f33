//! Rooms and clients, and the ids that name them.

use std::cmp::Ordering;
use std::fmt::{self, Display};

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text of an id, in bytes: the length of a UUID.
const MAX_BYTES: usize = 36;

/// An id as its sender wrote it: a whole number, or a text of 1 to 36 bytes without control characters and without
/// blanks at its ends.
///
/// `1` and `"1"` are the same id, because they name the same entity. Each is written back as it was sent. Numbers come
/// before texts and are ordered by their value.
#[derive(Debug, Clone)]
pub struct Id(Form);

#[derive(Debug, Clone)]
enum Form {
    Number(u64),
    Text(String),
}

impl Id {
    /// Parses `text` as an id. `None` if it is not one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let fits = (1..=MAX_BYTES).contains(&text.len())
            && !text.chars().any(char::is_control)
            && text.trim().len() == text.len();
        fits.then(|| Self(Form::Text(text.to_owned())))
    }

    /// The id as a number, if it is one or spells one in canonical form.
    fn number(&self) -> Option<u64> {
        match &self.0 {
            Form::Number(number) => Some(*number),
            Form::Text(text) if text != "0" && text.starts_with(['0', '+']) => None,
            Form::Text(text) => text.parse().ok(),
        }
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(Form::Number(number))
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Number(number) => number.fmt(f),
            Form::Text(text) => text.fmt(f),
        }
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.number(), other.number()) {
            (Some(this), Some(that)) => this.cmp(&that),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => self.text().cmp(other.text()),
        }
    }
}

impl Id {
    fn text(&self) -> &str {
        match &self.0 {
            Form::Number(_) => "",
            Form::Text(text) => text,
        }
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Id {}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Number(number) => serializer.serialize_u64(*number),
            Form::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;

        impl Visitor<'_> for NumberOrText {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "an id: a whole number, or a text of 1 to {MAX_BYTES} bytes without control characters and \
                     without blanks at its ends"
                )
            }

            fn visit_u64<E>(self, number: u64) -> Result<Id, E> {
                Ok(Id::from(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                // The error does not repeat the text, because its length is unbounded.
                Id::from_text(text).ok_or_else(|| E::invalid_value(Unexpected::Other("text"), &self))
            }
        }

        deserializer.deserialize_any(NumberOrText)
    }
}

/// A room of the hotel: `{"id": 1}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Room {
    /// Unique in the hotel.
    pub id: Id,
}

/// A client who books a room and checks in: `{"id": 1}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Client {
    /// Unique among the hotel's clients.
    pub id: Id,
}

impl Room {
    /// The room with this id.
    pub fn new(id: impl Into<Id>) -> Self {
        Self { id: id.into() }
    }
}

impl Client {
    /// The client with this id.
    pub fn new(id: impl Into<Id>) -> Self {
        Self { id: id.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> Id {
        serde_json::from_str(json).expect("it is an id")
    }

    #[test]
    fn an_id_is_written_as_it_was_sent() {
        let uuid = r#""01234567-89ab-cdef-0123-456789abcdef""#;
        for json in
            ["1", "0", "18446744073709551615", r#""1""#, r#""007""#, r#""Suite 5.1~*>""#, r#""é""#, uuid]
        {
            assert_eq!(serde_json::to_string(&id(json)).expect("it is written"), json);
        }
        assert_eq!(id(r#""a b""#).to_string(), "a b");
        assert_eq!(id("7").to_string(), "7");
    }

    #[test]
    fn what_names_the_same_entity_is_the_same_id() {
        assert_eq!(id("1"), id(r#""1""#));
        assert_eq!(id("0"), id(r#""0""#));
        for (one, other) in
            [("1", r#""01""#), ("1", r#""+1""#), (r#""a""#, r#""A""#), ("0", r#""00""#), ("1", "2")]
        {
            assert_ne!(id(one), id(other));
        }
    }

    #[test]
    fn ids_are_ordered_as_people_count() {
        let mut ids = [r#""b""#, "10", r#""9""#, "1", r#""a""#, r#""01""#].map(id);
        ids.sort();
        assert_eq!(ids.map(|id| id.to_string()), ["1", "9", "10", "01", "a", "b"]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let long = format!("\"{}\"", "x".repeat(37));
        for json in [
            "-1",
            "1.0",
            "1e3",
            "18446744073709551616",
            r#""""#,
            r#"" ""#,
            r#"" a""#,
            r#""a\n""#,
            &long,
            "null",
            "{}",
            "true",
        ] {
            assert!(serde_json::from_str::<Id>(json).is_err(), "{json}");
        }
        let error = serde_json::from_str::<Room>(r#"{"id":""}"#).expect_err("it is no id");
        assert!(
            error.to_string().starts_with("invalid value: text, expected an id: a whole number, or a text"),
            "{error}"
        );
    }
}

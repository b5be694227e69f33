//! Orders, refunds and approvers, and the ids that name them.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// The longest id, in bytes.
const MAX_BYTES: usize = 64;

/// An id: a whole number, or 1 to 64 visible ASCII characters. It is kept and written as text.
///
/// `1` and `"1"` are the same id, because they name the same entity, and because one person must not be two approvers.
/// For the same reason an id has no blanks and no characters that look like others. Otherwise ids are compared byte by
/// byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Form")]
pub struct Id(String);

#[derive(Deserialize)]
#[serde(untagged, expecting = "an id is a whole number or a text")]
enum Form {
    Number(u64),
    Text(String),
}

impl TryFrom<Form> for Id {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        let text = match form {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
        };
        if (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            // The error does not repeat the text, because its length is unbounded.
            Err(format!("an id has 1 to {MAX_BYTES} visible ASCII characters"))
        }
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order: `{"id": 1}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Unique among the shop's orders.
    pub id: Id,
}

/// A refund that was requested: `{"id": 1}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Unique among the order's refunds.
    pub id: Id,
}

/// A person who may approve: `{"id": 1}`. The sender states the id; the system that lets requests in has to prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    /// Unique among the shop's people.
    pub id: Id,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_text_and_a_number_spells_one() {
        for (json, text) in [("1", "1"), (r#""1""#, "1"), ("18446744073709551615", "18446744073709551615")] {
            assert_eq!(serde_json::from_str::<Id>(json).expect("it is an id").to_string(), text);
        }
        let longest = format!("\"{}\"", "x".repeat(64));
        for json in [r#""007""#, r#""Order-5.1~*>""#, longest.as_str()] {
            let id: Id = serde_json::from_str(json).expect("it is an id");
            assert_eq!(serde_json::to_string(&id).expect("it is written"), json);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let long = format!("\"{}\"", "x".repeat(65));
        for json in [
            "-1",
            "1.0",
            "1e3",
            r#""""#,
            r#""a b""#,
            r#"" a""#,
            r#""\u0435ve""#,
            "\"a\\n\"",
            &long,
            "null",
            "{}",
        ] {
            let error = serde_json::from_str::<Order>(&format!(r#"{{"id":{json}}}"#)).expect_err(json);
            assert!(error.to_string().starts_with("an id "), "{json}: {error}");
            assert!(error.to_string().len() < 100, "{error}");
        }
    }
}

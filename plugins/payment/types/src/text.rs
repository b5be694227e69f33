//! Short texts for people.

use serde::{Deserialize, Serialize};

/// The longest text, in bytes.
const MAX_BYTES: usize = 200;

/// The name of an item, or the reason for a refund: 1 to 200 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text(String);

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if (1..=MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text))
        } else {
            Err(format!("a text has 1 to {MAX_BYTES} bytes and no control characters"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_short_and_printable() {
        for json in [r#""a pen""#, r#""é""#, &format!("\"{}\"", "x".repeat(200))] {
            assert!(serde_json::from_str::<Text>(json).is_ok(), "{json}");
        }
        for json in [r#""""#, r#""a\u0000""#, &format!("\"{}\"", "x".repeat(201)), "1"] {
            assert!(serde_json::from_str::<Text>(json).is_err(), "{json}");
        }
    }
}

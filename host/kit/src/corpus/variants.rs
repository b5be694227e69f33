//! Valid data with one value changed, so that they are probably still valid: most take the value of another field with
//! the same name.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::json;

/// Values by the names of their fields.
#[derive(Debug, Default)]
pub(crate) struct Pool(BTreeMap<String, Vec<Value>>);

impl Pool {
    /// A pool with all values of these data.
    pub(crate) fn of<'a>(data: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let mut pool = Self::default();
        for value in data.into_iter().filter_map(|data| serde_json::from_slice::<Value>(data).ok()) {
            for (at, leaf) in json::leaves(&value) {
                let values = pool.0.entry(json::name(&at).to_owned()).or_default();
                if !values.contains(&leaf) {
                    values.push(leaf);
                }
            }
        }
        pool
    }

    /// Up to `most` variants of the data, each with one value changed.
    pub(crate) fn variants(&self, data: &Bytes, most: usize, random: &mut Rng) -> Vec<Bytes> {
        let Ok(value) = serde_json::from_slice::<Value>(data) else { return Vec::new() };
        let mut made: Vec<Bytes> = Vec::new();
        let leaves = json::leaves(&value);
        for _ in 0..most * 3 {
            let Some((at, leaf)) = random.choice(&leaves) else { break };
            let others = self.0.get(json::name(at)).map_or(&[][..], Vec::as_slice);
            let new = match (leaf, random.u32(0..3)) {
                (Value::Number(number), 0) if number.is_u64() => {
                    json!(number.as_u64().unwrap_or(0).saturating_add(random.u64(1..=3)))
                }
                (Value::Number(number), 1) if number.as_u64().is_some_and(|n| n > 0) => {
                    json!(number.as_u64().unwrap_or(1) / 2)
                }
                (Value::Bool(is), _) => json!(!is),
                _ => match random.choice(others) {
                    Some(other) => other.clone(),
                    None => continue,
                },
            };
            let changed = Bytes::from(json::with(&value, at, new).to_string());
            if changed != *data && !made.contains(&changed) {
                made.push(changed);
            }
            if made.len() == most {
                break;
            }
        }
        made
    }
}

/// An id of the same form, with another last letter or digit.
pub(crate) fn other_id(id: &str, nth: u8) -> String {
    let mut bytes = id.as_bytes().to_vec();
    if let Some(last) = bytes.iter_mut().rfind(|byte| byte.is_ascii_alphanumeric()) {
        let step = nth % 5 + 1;
        *last = match *last {
            digit @ b'0'..=b'9' => b'0' + (digit - b'0' + step) % 10,
            // It stays within a to f, so that a hexadecimal id stays hexadecimal.
            letter @ b'a'..=b'f' => b'a' + (letter - b'a' + step) % 6,
            letter @ b'A'..=b'F' => b'A' + (letter - b'A' + step) % 6,
            letter @ b'g'..=b'z' => b'g' + (letter - b'g' + step) % 20,
            letter => b'G' + (letter.max(b'G') - b'G' + step) % 20,
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_id_has_the_same_form() {
        for (id, other) in
            [("1.2022-12-12", "1.2022-12-13"), ("emma", "emmb"), ("0f", "0a"), ("Z", "G"), ("9", "0")]
        {
            assert_eq!(other_id(id, 0), other);
        }
        assert_ne!(other_id("1", 0), other_id("1", 1));
    }

    #[test]
    fn a_variant_has_a_value_of_the_same_name() {
        let data = [Bytes::from(r#"{"reader":"ada","n":4}"#), Bytes::from(r#"{"reader":"bob","n":4}"#)];
        let pool = Pool::of(&data);
        let variants = pool.variants(&data[0], 20, &mut Rng::with_seed(3));
        let expected = Bytes::from(json!({ "reader": "bob", "n": 4 }).to_string());
        assert!(variants.contains(&expected), "{variants:?}");
    }
}

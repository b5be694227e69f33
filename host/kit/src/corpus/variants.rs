//! Valid data with one value changed, so that they are probably still valid: it is the value of another field, or like the one
//! that was there.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Number, Value, json};

use crate::json;

/// Values by the names of their fields.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    values: BTreeMap<String, Vec<Value>>,
    texts: Texts,
}

/// Which texts are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Those that may be a key or an id. Who wrote an event has checked that.
    #[default]
    Keys,
    /// Any.
    Any,
}

impl Pool {
    /// A pool with all values of these data.
    pub(crate) fn of<'a>(data: impl IntoIterator<Item = &'a Bytes>, texts: Texts) -> Self {
        let mut pool = Self { texts, ..Self::default() };
        for value in data.into_iter().filter_map(|data| serde_json::from_slice::<Value>(data).ok()) {
            for (at, leaf) in json::leaves(&value) {
                let values = pool.values.entry(json::name(&at).to_owned()).or_default();
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
        let (leaves, lists) = (json::leaves(&value), json::lists(&value));
        for _ in 0..most * 3 {
            let changed = match random.choice(&lists) {
                Some((at, items)) if random.u32(0..4) == 0 => {
                    json::with(&value, at, Value::Array(list_like(items, random)))
                }
                _ => {
                    let Some((at, leaf)) = random.choice(&leaves) else { break };
                    let Some(new) = self.like(json::name(at), leaf, &leaves, random) else { continue };
                    json::with(&value, at, new)
                }
            };
            let changed = Bytes::from(changed.to_string());
            if changed != *data && !made.contains(&changed) {
                made.push(changed);
            }
            if made.len() == most {
                break;
            }
        }
        made
    }

    /// Another value for a field: of a field of the same name, of another field of these data, or one that is like it.
    fn like(&self, name: &str, leaf: &Value, beside: &[(String, Value)], random: &mut Rng) -> Option<Value> {
        let same_type = |other: &&(String, Value)| {
            std::mem::discriminant(&other.1) == std::mem::discriminant(leaf) && other.1 != *leaf
        };
        match random.u32(0..8) {
            0..=2 => random.choice(self.values.get(name).map_or(&[][..], Vec::as_slice)).cloned(),
            3 => {
                // What may be a key or an id stays one.
                let keeps = |other: &&(String, Value)| {
                    self.texts == Texts::Any || !may_be_key(leaf) || may_be_key(&other.1)
                };
                let others: Vec<_> = beside.iter().filter(same_type).filter(keeps).collect();
                random.choice(others).map(|(_, other)| other.clone())
            }
            _ => match leaf {
                Value::Number(number) => Some(number_like(number, random)),
                Value::String(text) => Some(json!(text_like(text, self.texts, random))),
                Value::Bool(is) => Some(json!(!is)),
                _ => None,
            },
        }
    }
}

/// Whether a value may be an id as it is: a text without what would change a subject.
fn may_be_key(value: &Value) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ".*>".contains(c);
    value.as_str().is_none_or(|text| !text.is_empty() && !text.contains(odd))
}

/// A value that stands in the place of another everywhere. Each `nth` is of another kind.
pub(crate) fn in_place_of(old: &Value, nth: u8, random: &mut Rng) -> Option<Value> {
    Some(match old {
        Value::Number(number) => number_like(number, random),
        Value::String(text) => match nth % 5 {
            0 => json!(format!("{text} ")),
            1 => {
                let by = random.choice([",", ";", "|", "#", ":", "/", "\n", "=", "\""]).unwrap_or(",");
                json!(format!("{text}{by}{by}1"))
            }
            2 => json!(format!("é🚰{text}")),
            3 => json!(text.to_uppercase()),
            _ => json!(other_id(text, nth)),
        },
        _ => return None,
    })
}

fn number_like(number: &Number, random: &mut Rng) -> Value {
    let Some(whole) = number.as_u64() else {
        let float = number.as_f64().unwrap_or_default();
        let changed = [-float, 0.0, float + 0.1, float * 3.0, float + 1e9 + 0.7];
        return json!(random.choice(changed).unwrap_or_default());
    };
    let changed = match random.u32(0..8) {
        0 => 0,
        1..=3 => whole.saturating_add(random.u64(1..=3)),
        4 => whole / 2,
        5 => whole.saturating_sub(1),
        6 => random.u64(1..1_000),
        // No float of 32 bits holds it.
        _ => random.u64(16_777_217..100_000_000) | 1,
    };
    json!(changed)
}

/// A text of the same form, or one with something that a text may have and names seldom do.
fn text_like(text: &str, texts: Texts, random: &mut Rng) -> String {
    let joined = |by: &str| format!("{text}{by}{}", other_id(text, 1));
    match (texts, random.u32(0..10)) {
        (_, 0..=4) => other_id(text, random.u8(..)),
        (_, 5) => text.to_uppercase(),
        (_, 6) => format!("{text}é🚰"),
        (Texts::Any, 7) => format!(" {text} "),
        (Texts::Any, _) => {
            joined(random.choice([",", ";", "|", "#", ".", ":", "/", "\"", "\n", " ", "="]).unwrap_or(","))
        }
        (Texts::Keys, _) => joined(random.choice(["-", "_", ",", ":", "|", "#", "/"]).unwrap_or("-")),
    }
}

/// The list with another item, without one, or the other way around.
fn list_like(items: &[Value], random: &mut Rng) -> Vec<Value> {
    let mut items = items.to_vec();
    let Some(item) = random.choice(&items).cloned() else { return items };
    match random.u32(0..5) {
        0 => items.reverse(),
        1 => drop(items.pop()),
        2 => items.push(item),
        _ => {
            for _ in 0..random.usize(1..=3) {
                let mut other = item.clone();
                for (at, leaf) in json::leaves(&item) {
                    let new = match &leaf {
                        Value::Number(number) => number_like(number, random),
                        Value::String(text) => json!(other_id(text, random.u8(..))),
                        leaf => leaf.clone(),
                    };
                    other = json::with(&other, &at, new);
                }
                items.push(other);
            }
        }
    }
    items
}

/// These data, of somebody else: every number and text is another one, equal ones stay equal. Texts that hold `kept` stay.
pub(crate) fn of_another(data: &Bytes, kept: &str, nth: u8) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(data) else { return data.clone() };
    for (at, leaf) in json::leaves(&value) {
        let new = match &leaf {
            Value::Number(number) if number.is_u64() => {
                json!(number.as_u64().unwrap_or_default().saturating_add(u64::from(nth) + 1))
            }
            Value::String(text) if !text.contains(kept) && !kept.contains(text.as_str()) => {
                json!(other_id(text, nth))
            }
            _ => continue,
        };
        value = json::with(&value, &at, new);
    }
    Bytes::from(value.to_string())
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

    /// The id of a task got the title of another: no instance can have that.
    #[test]
    fn where_a_value_may_be_an_id_no_variant_has_what_may_not() {
        let data = [Bytes::from(r#"{"task":"tea","title":"Make tea"}"#)];
        let pool = Pool::of(&data, Texts::Keys);
        for seed in 0..50 {
            for variant in pool.variants(&data[0], 20, &mut Rng::with_seed(seed)) {
                let variant: Value = serde_json::from_slice(&variant).unwrap();
                assert!(may_be_key(&variant["task"]), "{variant}");
            }
        }
    }

    #[test]
    fn a_variant_has_a_value_of_the_same_name() {
        let data = [Bytes::from(r#"{"reader":"ada","n":4}"#), Bytes::from(r#"{"reader":"bob","n":4}"#)];
        let pool = Pool::of(&data, Texts::Any);
        let variants = pool.variants(&data[0], 60, &mut Rng::with_seed(3));
        let expected = Bytes::from(json!({ "reader": "bob", "n": 4 }).to_string());
        assert!(variants.contains(&expected), "{variants:?}");
    }
}

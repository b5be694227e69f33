//! Data that a well-behaved client would not send.

use bytes::Bytes;
use fastrand::Rng;
use pelton_core::contract::MAX_EVENT_BYTES;
use serde_json::{Value, json};

use crate::json;

/// How deep the deepest data lie: a parser that recurses needs more stack for it than a guest has.
const DEEP: usize = 20_000;

/// How many items a long list has: more than a decision may have events, a reaction commands, or an event keys.
const MANY: usize = 150;

/// Odd data, then up to `most` variants of the first valid data with one change, then some valid data with random
/// damage.
pub(crate) fn data(right: &[Bytes], random: &mut Rng, most: usize) -> Vec<Bytes> {
    let deep = "[".repeat(DEEP) + &"]".repeat(DEEP);
    let mut all: Vec<Bytes> = [
        Bytes::new(),
        Bytes::from_static(b"{"),
        Bytes::from_static(b"null"),
        Bytes::from_static(b"[]"),
        Bytes::from_static(b"{}"),
        Bytes::from_static(b"\xff\xfe\x00"),
        Bytes::from_static(b"18446744073709551616"),
        Bytes::from_static(b"{\"\":{\"\":{}}}"),
        Bytes::from(deep.clone()),
        Bytes::from(json!("x".repeat(100_000)).to_string()),
        right.first().map_or_else(Bytes::new, |right| with_a_long_text(right)),
        Bytes::from((0..256).map(|_| random.u8(..)).collect::<Vec<_>>()),
    ]
    .into();
    // A parser may look at what is wanted only, and skip the rest by recursion.
    if let Some(rest) = right.first().and_then(|right| right.strip_prefix(b"{\"")) {
        all.push([format!("{{\"deep\":{deep},\"").as_bytes(), rest].concat().into());
    }
    let mut changed: Vec<Bytes> = Vec::new();
    for right in right.iter().take(3) {
        if let Ok(value) = serde_json::from_slice::<Value>(right) {
            changed.extend(each(&value).iter().map(|value| Bytes::from(value.to_string())));
        }
    }
    if changed.len() > most {
        random.shuffle(&mut changed);
        changed.truncate(most);
    }
    all.extend(changed);
    for _ in 0..most / 8 {
        let Some(right) = random.choice(right) else { break };
        all.push(torn(right, random));
    }
    all
}

/// The value with a text for which an answer that has it once is small enough, and one that has it twice is not.
fn with_a_long_text(right: &[u8]) -> Bytes {
    let Ok(value) = serde_json::from_slice::<Value>(right) else { return Bytes::new() };
    let text = json::leaves(&value).into_iter().rev().find(|(_, leaf)| leaf.is_string());
    let long = json!("x".repeat(MAX_EVENT_BYTES / 2 + 10_000));
    text.map_or_else(Bytes::new, |(at, _)| json::with(&value, &at, long).to_string().into())
}

/// All variants of the value with one change.
fn each(value: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for (at, _) in json::leaves(value) {
        all.extend(odd().into_iter().map(|odd| json::with(value, &at, odd)));
    }
    for (at, items) in json::lists(value) {
        let mut many = items.clone();
        for n in 0..MANY {
            let mut item = items[0].clone();
            for (place, leaf) in json::leaves(&items[0]) {
                if let Value::String(text) = leaf {
                    item = json::with(&item, &place, json!(format!("{text}{n}")));
                }
            }
            many.push(item);
        }
        all.push(json::with(value, &at, Value::Array(many)));
        all.push(json::with(value, &at, json!([])));
        all.push(json::with(value, &at, Value::Array([items.clone(), items].concat())));
    }
    for at in objects(value) {
        let Some(fields) = value.pointer(&at).and_then(Value::as_object) else { continue };
        for key in fields.keys() {
            let mut without = fields.clone();
            without.remove(key);
            all.push(json::with(value, &at, Value::Object(without)));
        }
        let mut more = fields.clone();
        more.insert("a-field-of-another-version".to_owned(), json!({ "deep": [1, { "er": null }] }));
        all.push(json::with(value, &at, Value::Object(more)));
        all.push(json::with(value, &at, Value::Null));
        all.push(json::with(value, &at, json!([])));
    }
    for at in arrays(value) {
        let Some(items) = value.pointer(&at).and_then(Value::as_array) else { continue };
        all.push(json::with(value, &at, json!([])));
        if let Some(first) = items.first() {
            all.push(json::with(value, &at, json!(vec![first; 300])));
        }
    }
    all
}

fn places(value: &Value, is: fn(&Value) -> bool, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                places(inner, is, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                places(inner, is, format!("{at}/{n}"), found);
            }
        }
        _ => {}
    }
    if is(value) {
        found.push(at);
    }
}

fn objects(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    places(value, Value::is_object, String::new(), &mut found);
    found
}

fn arrays(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    places(value, Value::is_array, String::new(), &mut found);
    found
}

/// The bytes cut off, with one byte changed, or with bytes added.
fn torn(right: &Bytes, random: &mut Rng) -> Bytes {
    let mut bytes = right.to_vec();
    match random.u32(0..3) {
        0 => bytes.truncate(random.usize(0..=bytes.len())),
        1 if !bytes.is_empty() => {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        _ => bytes.extend_from_slice(b"\0}"),
    }
    bytes.into()
}

fn odd() -> Vec<Value> {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(255),
        json!(65_535),
        json!(1_000_000),
        json!(i32::MAX),
        json!(u32::MAX),
        json!(9_007_199_254_740_991_u64),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(0.1),
        json!(""),
        json!(" "),
        json!("a.b/c*>%~"),
        json!("\u{0}\u{202e}🚰é"),
        json!("9".repeat(400)),
        json!("é".repeat(5_000)),
        // Each place is inside of a character for some of these.
        json!("aé€🚰".repeat(40)),
        json!(format!("a{}", "é€🚰".repeat(40))),
        json!(format!("ab{}", "🚰".repeat(300))),
        json!("9999-12-31"),
        json!("9999-12-31T23:59:59.999999999Z"),
        json!("0001-01-01"),
        json!([[], {}]),
        json!({ "": "" }),
        deep,
    ]
}

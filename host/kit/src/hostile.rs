//! Data that nobody who is well would send.

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Value, json};

/// How often right data are changed.
const CHANGES: usize = 40;

/// Data made of these, which are right, and some that are not made of anything.
pub(crate) fn data(right: &[Bytes], random: &mut Rng) -> Vec<Bytes> {
    let deep = "[".repeat(2_000) + &"]".repeat(2_000);
    let mut all: Vec<Bytes> = [
        Bytes::new(),
        Bytes::from_static(b"{"),
        Bytes::from_static(b"null"),
        Bytes::from_static(b"[]"),
        Bytes::from_static(b"\xff\xfe\x00"),
        Bytes::from_static(b"18446744073709551616"),
        Bytes::from(deep),
        Bytes::from(json!("x".repeat(100_000)).to_string()),
        Bytes::from((0..256).map(|_| random.u8(..)).collect::<Vec<_>>()),
    ]
    .into();
    for _ in 0..CHANGES {
        let Some(right) = random.choice(right) else { break };
        all.push(changed(right, random));
    }
    all
}

/// Right data with one thing changed.
fn changed(right: &Bytes, random: &mut Rng) -> Bytes {
    match serde_json::from_slice::<Value>(right) {
        Ok(mut value) if random.u32(0..4) > 0 => {
            change(&mut value, random);
            value.to_string().into()
        }
        _ => {
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
    }
}

/// Goes to a place in the value and puts something else there.
fn change(value: &mut Value, random: &mut Rng) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.u32(0..4) > 0 => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let Some(key) = random.choice(keys) else { return };
            match random.u32(0..5) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert(format!("{key}-more"), json!(1))),
                _ => {
                    if let Some(inner) = fields.get_mut(&key) {
                        change(inner, random);
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() && random.u32(0..4) > 0 => {
            let at = random.usize(0..items.len());
            change(&mut items[at], random);
        }
        place => *place = odd(random),
    }
}

fn odd(random: &mut Rng) -> Value {
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(0.1),
        json!(""),
        json!("\u{0}\u{202e}🚰"),
        json!("9".repeat(400)),
        json!([[], {}]),
        json!({ "": "" }),
    ];
    random.choice(odd).unwrap_or_default()
}

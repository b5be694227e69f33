//! Matchers: parts of an expected value that accept any value of a kind.

use serde_json::{Map, Value, json};

/// The names of matchers. A matcher is a table with one of them as its only key.
pub(crate) const NAMES: &[&str] = &["$any", "$starts-with", "$contains", "$between", "$subset", "$unordered"];

/// The places at which a value is not as expected, as JSON pointers with both values.
pub(crate) fn differences(at: &str, expected: &Value, got: &Value) -> Vec<String> {
    let differs = || vec![format!("{at}: expected {expected}, got {got}")];
    if let Some((name, argument)) = matcher(expected) {
        return match matches(name, argument, at, got) {
            true => Vec::new(),
            false => differs(),
        };
    }
    match (expected, got) {
        (Value::Object(one), Value::Object(other)) => objects(at, one, other),
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.flat_map(|(n, (one, other))| differences(&format!("{at}/{n}"), one, other)).collect()
        }
        (one, other) if same(one, other) => Vec::new(),
        _ => differs(),
    }
}

/// Whether two values are equal. 1 and 1.0 are: TOML and JSON tell them apart, but a plugin's language may not.
fn same(one: &Value, other: &Value) -> bool {
    one == other
        || matches!((one.as_f64(), other.as_f64()), (Some(one), Some(other)) if one.is_finite() && json!(one) == json!(other))
}

fn objects(at: &str, one: &Map<String, Value>, other: &Map<String, Value>) -> Vec<String> {
    let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    let each = keys.into_iter().flat_map(|key| {
        let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        match (one.get(key), other.get(key)) {
            (Some(one), Some(other)) => differences(&place, one, other),
            (Some(one), None) => vec![format!("{place}: expected {one}, got nothing")],
            (None, Some(other)) => vec![format!("{place}: expected nothing, got {other}")],
            (None, None) => Vec::new(),
        }
    });
    each.collect()
}

/// The name and the argument, if the value is a matcher.
fn matcher(value: &Value) -> Option<(&str, &Value)> {
    let mut entries = value.as_object()?.iter();
    match (entries.next(), entries.next()) {
        (Some((name, argument)), None) if NAMES.contains(&name.as_str()) => Some((name, argument)),
        _ => None,
    }
}

fn matches(name: &str, argument: &Value, at: &str, got: &Value) -> bool {
    match (name, argument) {
        ("$any", Value::String(kind)) => match got {
            Value::Null => kind == "null",
            Value::Bool(_) => kind == "boolean",
            Value::Number(_) => kind == "number",
            Value::String(_) => kind == "string",
            Value::Array(_) => kind == "array",
            Value::Object(_) => kind == "object",
        },
        ("$any", _) => true,
        ("$starts-with", Value::String(start)) => got.as_str().is_some_and(|got| got.starts_with(start)),
        ("$contains", Value::String(part)) if got.is_string() => {
            got.as_str().is_some_and(|got| got.contains(part))
        }
        ("$contains", item) => {
            got.as_array().is_some_and(|got| got.iter().any(|got| differences(at, item, got).is_empty()))
        }
        ("$between", Value::Array(ends)) => match (ends.as_slice(), got.as_f64()) {
            ([low, high], Some(got)) => {
                low.as_f64().is_some_and(|low| low <= got) && high.as_f64().is_some_and(|high| got <= high)
            }
            _ => false,
        },
        ("$subset", Value::Object(part)) => part
            .iter()
            .all(|(key, expected)| got.get(key).is_some_and(|got| differences(at, expected, got).is_empty())),
        ("$unordered", Value::Array(expected)) => {
            let mut left: Vec<&Value> = got.as_array().map(|got| got.iter().collect()).unwrap_or_default();
            got.is_array()
                && expected.iter().all(|expected| {
                    let place = left.iter().position(|got| differences(at, expected, got).is_empty());
                    place.map(|place| left.remove(place)).is_some()
                })
                && left.is_empty()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_its_place_with_both_sides() {
        let expected = json!({ "a": [1, { "b/c": 2 }], "d": 3 });
        let got = json!({ "a": [1, { "b/c": 4 }], "e": 5 });
        assert_eq!(
            differences("/events", &expected, &got),
            [
                "/events/a/1/b~1c: expected 2, got 4",
                "/events/d: expected 3, got nothing",
                "/events/e: expected nothing, got 5"
            ]
        );
        assert!(differences("", &json!(1), &json!(1.0)).is_empty());
    }

    #[test]
    fn a_matcher_stands_for_any_value_of_a_kind() {
        for (matcher, yes, no) in [
            (json!({ "$any": true }), vec![json!(null), json!({})], vec![]),
            (json!({ "$any": "string" }), vec![json!("")], vec![json!(1), json!(null)]),
            (json!({ "$starts-with": "ab" }), vec![json!("abc")], vec![json!("xab"), json!(1)]),
            (json!({ "$contains": "b" }), vec![json!("abc"), json!(["b"])], vec![json!("c"), json!([])]),
            (json!({ "$between": [1, 2] }), vec![json!(1), json!(1.5)], vec![json!(3), json!("1")]),
            (json!({ "$subset": { "a": 1 } }), vec![json!({ "a": 1, "b": 2 })], vec![json!({ "b": 2 })]),
            (
                json!({ "$unordered": [1, 2] }),
                vec![json!([2, 1])],
                vec![json!([1]), json!([1, 2, 2]), json!(1)],
            ),
        ] {
            yes.iter().for_each(|got| assert!(differences("", &matcher, got).is_empty(), "{matcher} {got}"));
            no.iter().for_each(|got| assert!(!differences("", &matcher, got).is_empty(), "{matcher} {got}"));
        }
    }
}

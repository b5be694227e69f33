//! Places in JSON values.

use serde_json::Value;

/// All values that hold no others, with their places as JSON pointers.
pub(crate) fn leaves(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect(value: &Value, at: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                collect(value, format!("{at}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (n, value) in items.iter().enumerate() {
                collect(value, format!("{at}/{n}"), found);
            }
        }
        leaf => found.push((at, leaf.clone())),
    }
}

/// All lists that are not empty, with their places.
pub(crate) fn lists(value: &Value) -> Vec<(String, Vec<Value>)> {
    let mut found = Vec::new();
    collect_lists(value, String::new(), &mut found);
    found
}

fn collect_lists(value: &Value, at: String, found: &mut Vec<(String, Vec<Value>)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect_lists(value, format!("{at}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (n, value) in items.iter().enumerate() {
                collect_lists(value, format!("{at}/{n}"), found);
            }
            found.push((at, items.clone()));
        }
        _ => {}
    }
}

/// A name as a part of a pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The value with `new` at this place.
pub(crate) fn with(value: &Value, at: &str, new: Value) -> Value {
    let mut value = value.clone();
    if let Some(place) = value.pointer_mut(at) {
        *place = new;
    }
    value
}

/// The last part of a pointer that is a name and not an index.
pub(crate) fn name(pointer: &str) -> &str {
    pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or("")
}

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
                collect(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
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

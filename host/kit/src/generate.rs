//! Values for a JSON Schema.
//!
//! A value keeps to the schema's types, ranges and lists. It may still break a rule that the schema does not express.
//! Texts come from a small set, so that two values of one field are sometimes the same.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The deepest nesting.
const MAX_DEPTH: usize = 8;

/// Which fields of a value are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every field.
    Full,
    /// Only required fields.
    Least,
}

/// A value of this schema. `None` if it allows none, or uses keywords that are not read here.
pub(crate) fn value(schema: &Value, extent: Extent, random: &mut Rng) -> Option<Value> {
    Generator { root: schema, extent, random }.make(schema, 0)
}

struct Generator<'a> {
    root: &'a Value,
    extent: Extent,
    random: &'a mut Rng,
}

impl<'a> Generator<'a> {
    fn make(&mut self, schema: &'a Value, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        let fields = match schema {
            Value::Bool(true) => return Some(json!({})),
            Value::Object(fields) => fields,
            _ => return None,
        };
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            let target = self.root.pointer(reference.strip_prefix('#')?)?;
            return self.make(target, depth + 1);
        }
        if let Some(only) = fields.get("const") {
            return Some(only.clone());
        }
        if let Some(Value::Array(values)) = fields.get("enum") {
            return self.random.choice(values).cloned();
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(Value::Array(branches)) = fields.get(choice) {
                let base = self.typed(fields, depth);
                let start = self.random.usize(0..branches.len().max(1));
                let branch = (0..branches.len())
                    .map(|n| &branches[(start + n) % branches.len()])
                    .find_map(|branch| self.make(branch, depth + 1))?;
                return Some(merged(base, branch));
            }
        }
        if let Some(Value::Array(all)) = fields.get("allOf") {
            let mut made = self.typed(fields, depth);
            for part in all {
                let part = self.make(part, depth + 1)?;
                made = Some(merged(made, part));
            }
            return made;
        }
        self.typed(fields, depth).or_else(|| fields.is_empty().then(|| json!({})))
    }

    fn typed(&mut self, fields: &'a Map<String, Value>, depth: usize) -> Option<Value> {
        let r#type = match fields.get("type") {
            Some(Value::String(one)) => one.as_str(),
            // Of several types, the first that is not null.
            Some(Value::Array(several)) => {
                let names: Vec<&str> = several.iter().filter_map(Value::as_str).collect();
                names.iter().find(|name| **name != "null").or(names.first()).copied()?
            }
            _ if fields.contains_key("properties") => "object",
            _ if fields.contains_key("items") => "array",
            _ => return None,
        };
        match r#type {
            "null" => Some(Value::Null),
            "boolean" => Some(json!(self.random.bool())),
            "integer" => Some(self.integer(fields)),
            "number" => Some(self.integer(fields)),
            "string" => Some(json!(self.text(fields))),
            "array" => self.array(fields, depth),
            "object" => self.object(fields, depth),
            _ => None,
        }
    }

    fn integer(&mut self, fields: &Map<String, Value>) -> Value {
        let bound = |name: &str| fields.get(name).and_then(Value::as_f64);
        let low = bound("minimum").or(bound("exclusiveMinimum").map(|low| low + 1.0)).unwrap_or(1.0);
        let high = bound("maximum")
            .or(bound("exclusiveMaximum").map(|high| high - 1.0))
            .unwrap_or(low.max(1.0) + 9.0);
        #[expect(clippy::cast_possible_truncation, reason = "a float becomes the nearest whole number")]
        let (low, high) = (low.ceil() as i64, high.floor() as i64);
        // Rules are more likely to allow small numbers.
        let high = high.min(low.saturating_add(9)).max(low);
        json!(self.random.i64(low..=high))
    }

    fn text(&mut self, fields: &Map<String, Value>) -> String {
        let words = ["ada", "bob", "1", "42"];
        let format = fields.get("format").and_then(Value::as_str).unwrap_or("");
        let day = self.random.u32(1..=28);
        match format {
            "date-time" => return format!("2026-01-{day:02}T00:00:00Z"),
            "date" => return format!("2026-01-{day:02}"),
            "time" => return "12:00:00Z".to_owned(),
            "duration" => return "PT1H".to_owned(),
            "uuid" => return format!("00000000-0000-4000-8000-0000000000{day:02}"),
            "email" => return format!("a{day}@example.org"),
            "uri" | "uri-reference" => return format!("https://example.org/{day}"),
            _ => {}
        }
        let bound =
            |name: &str| fields.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let (least, most) =
            (bound("minLength").unwrap_or(0).min(10_000), bound("maxLength").unwrap_or(usize::MAX));
        let mut text = self.random.choice(words).unwrap_or("ada").to_owned();
        while text.len() < least {
            text.push('a');
        }
        text.chars().take(most).collect()
    }

    fn array(&mut self, fields: &'a Map<String, Value>, depth: usize) -> Option<Value> {
        let bound =
            |name: &str| fields.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let mut items = Vec::new();
        if let Some(Value::Array(first)) = fields.get("prefixItems") {
            for item in first {
                items.push(self.make(item, depth + 1)?);
            }
        }
        let least = bound("minItems").unwrap_or(usize::from(self.extent == Extent::Full));
        let least = least.min(bound("maxItems").unwrap_or(usize::MAX)).min(64);
        if let Some(item) = fields.get("items").filter(|item| **item != json!(false)) {
            while items.len() < least {
                match self.make(item, depth + 1) {
                    Some(made) => items.push(made),
                    None if bound("minItems").unwrap_or(0) == 0 => break,
                    None => return None,
                }
            }
        }
        Some(Value::Array(items))
    }

    fn object(&mut self, fields: &'a Map<String, Value>, depth: usize) -> Option<Value> {
        let empty = Map::new();
        let properties = fields.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> = match fields.get("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut made = Map::new();
        // `properties` may be the local empty map, so schemas are looked up in `fields`, which lives long enough.
        let names: Vec<String> = properties.keys().cloned().collect();
        for name in names {
            let needed = required.contains(&name.as_str());
            if !needed && self.extent == Extent::Least {
                continue;
            }
            let schema = fields.get("properties").and_then(|properties| properties.get(&name))?;
            match self.make(schema, depth + 1) {
                Some(value) => drop(made.insert(name, value)),
                None if needed => return None,
                None => {}
            }
        }
        Some(Value::Object(made))
    }
}

/// Both objects in one. If one value is not an object, the second.
fn merged(one: Option<Value>, other: Value) -> Value {
    match (one, other) {
        (Some(Value::Object(mut one)), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (_, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_schema() {
        let schema = json!({
            "type": "object",
            "required": ["reader", "kind"],
            "properties": {
                "reader": { "$ref": "#/$defs/Name" },
                "kind": { "enum": ["a", "b"] },
                "count": { "type": "integer", "minimum": 3, "maximum": 5 },
                "more": { "anyOf": [{ "type": "null" }, { "type": "array", "items": { "type": "boolean" } }] },
                "at": { "type": ["string", "null"], "format": "date-time" },
            },
            "$defs": { "Name": { "type": "string", "minLength": 6, "maxLength": 8 } },
        });
        let mut random = Rng::with_seed(1);
        for _ in 0..100 {
            let full = value(&schema, Extent::Full, &mut random).unwrap();
            assert!((6..=8).contains(&full["reader"].as_str().unwrap().len()), "{full}");
            assert!(["a", "b"].contains(&full["kind"].as_str().unwrap()), "{full}");
            assert!((3..=5).contains(&full["count"].as_i64().unwrap()), "{full}");
            assert!(full["at"].as_str().unwrap().ends_with('Z'), "{full}");
            let least = value(&schema, Extent::Least, &mut random).unwrap();
            assert_eq!(least.as_object().unwrap().len(), 2, "{least}");
        }
        let list =
            json!({ "type": "object", "required": ["self"], "properties": { "self": { "$ref": "#" } } });
        assert_eq!(value(&list, Extent::Full, &mut random), None, "a value that never ends");
    }
}

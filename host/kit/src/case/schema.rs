//! The JSON Schema of a file of cases, for editors.

use serde_json::{Map, Value, json};

use super::form::{FILE, Form, Kind};

/// The JSON Schema (draft 2020-12) of a file of cases, made from the same form that files are checked against.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(&FILE);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Cases of a Pelton plugin");
    schema
}

fn table(form: &Form) -> Value {
    let properties: Map<String, Value> = form
        .keys
        .iter()
        .map(|key| {
            let mut value = kind(key.kind);
            value["description"] = json!(key.doc);
            (key.name.to_owned(), value)
        })
        .collect();
    let required: Vec<_> = form.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn kind(of: Kind) -> Value {
    match of {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Version => json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)$" }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Json | Kind::Pattern => json!({}),
        Kind::Map(inner) => json!({ "type": "object", "additionalProperties": kind(*inner) }),
        Kind::Table(form) => table(form),
        Kind::List(form) => json!({ "type": "array", "items": table(form) }),
        Kind::OneOf(forms) => json!({ "oneOf": forms.iter().map(|form| table(form)).collect::<Vec<_>>() }),
        Kind::TextOr(form) => json!({ "oneOf": [kind(Kind::Text), table(form)] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `BLESS=1` writes the schema.
    #[test]
    fn the_published_schema_is_the_one_that_files_are_read_by() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cases.schema.json");
        let right = format!("{:#}\n", schema());
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&page, &right).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&page).unwrap_or_default(), right, "BLESS=1 writes it");
    }
}

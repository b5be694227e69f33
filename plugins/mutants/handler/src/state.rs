//! What is known of an item.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The stock of an item.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Stock {
    /// How many are there.
    pub(crate) count: u64,
    /// How many everybody has taken.
    pub(crate) takers: BTreeMap<String, u64>,
    /// Whether it is closed.
    pub(crate) closed: bool,
    /// What only mistakes need.
    #[serde(default)]
    pub(crate) last: u64,
}

impl Stock {
    /// Folds an event.
    pub(crate) fn fold(
        &mut self,
        r#type: &str,
        version: u32,
        data: &Value,
        _time: u64,
    ) -> Result<(), String> {
        let field = if version == 1 && r#type == "added" { "n" } else { "count" };
        let number = || data.get(field).and_then(Value::as_u64).ok_or(format!("{type} has no {field}"));
        match r#type {
            "added" => self.count = self.count.saturating_add(number()?),
            "taken" => {
                let count = number()?;
                let by = data.get("by").and_then(Value::as_str).ok_or("taken has no by")?;
                self.count = self.count.saturating_sub(count);
                let taken = self.takers.entry(by.to_owned()).or_default();
                *taken = taken.saturating_add(count);
            }
            "closed" => self.closed = true,
            other => return Err(format!("there is no event {other}")),
        }
        Ok(())
    }
}

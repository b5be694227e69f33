//! Writes the results of cases into their files, in place of the expected results.

use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike, Value as Toml};

use crate::case::CaseFile;
use crate::report::CaseResult;

/// The text of a file in which the results of failed cases replace the expected ones: those of the keys that `then`
/// has, or all if it has none. Comments stay. `None` if no case failed.
///
/// # Errors
///
/// A value that TOML cannot hold, or a file in YAML.
pub fn updated(file: &CaseFile, results: &[CaseResult]) -> Result<Option<String>, String> {
    let failed: Vec<(usize, &CaseResult)> =
        results.iter().enumerate().filter(|(_, result)| !result.passed()).collect();
    if failed.is_empty() {
        return Ok(None);
    }
    if file.is_yaml() {
        return Err(format!(
            "{}: only files in TOML are updated; change this one by hand",
            file.path.display()
        ));
    }
    let mut document: DocumentMut =
        file.text.parse().map_err(|error| format!("{}: {error}", file.path.display()))?;
    for (nth, result) in failed {
        let case = &file.cases[nth];
        let has_own = case.when.is_some() || case.then.is_some() || case.steps.is_empty();
        for (n, step) in result.got.iter().enumerate() {
            let table = document.get_mut("case").and_then(|cases| nth_table(cases, nth));
            let Some(case) = table else { continue };
            let holder = match n.checked_sub(usize::from(has_own)) {
                None => Some(case),
                Some(n) => case.get_mut("step").and_then(|steps| nth_table(steps, n)),
            };
            if let Some(holder) = holder {
                replace(holder, &step.then)?;
            }
        }
    }
    Ok(Some(document.to_string()))
}

fn nth_table(item: &mut Item, nth: usize) -> Option<&mut dyn TableLike> {
    match item {
        Item::ArrayOfTables(tables) => tables.get_mut(nth).map(|table| table as &mut dyn TableLike),
        Item::Value(Toml::Array(items)) => {
            items.get_mut(nth).and_then(Toml::as_inline_table_mut).map(|table| table as &mut dyn TableLike)
        }
        _ => None,
    }
}

/// Puts the result in place of the expected one.
fn replace(holder: &mut dyn TableLike, got: &[(&'static str, serde_json::Value)]) -> Result<(), String> {
    let expected: Vec<String> = holder
        .get("then")
        .and_then(Item::as_table_like)
        .map(|then| then.iter().map(|(key, _)| key.to_owned()).collect())
        .unwrap_or_default();
    // The command was accepted where a rejection was expected, or the other way round.
    let other = |key: &str| match key {
        "events" => expected.iter().any(|expected| expected == "rejection"),
        "rejection" => expected.iter().any(|expected| expected == "events"),
        _ => false,
    };
    for (key, value) in got {
        if !expected.is_empty() && !expected.iter().any(|expected| expected == key) && !other(key) {
            continue;
        }
        if holder.get("then").is_none() {
            let mut then = toml_edit::Table::new();
            then.set_dotted(true);
            holder.insert("then", Item::Table(then));
        }
        let Some(then) = holder.get_mut("then").and_then(Item::as_table_like_mut) else { continue };
        if *key == "events" {
            then.remove("rejection");
        } else if *key == "rejection" {
            then.remove("events");
        }
        then.insert(key, Item::Value(toml(value)?));
    }
    Ok(())
}

pub(crate) fn toml(value: &serde_json::Value) -> Result<Toml, String> {
    Ok(match value {
        serde_json::Value::Null => return Err("TOML has no null: write what is expected by hand".to_owned()),
        serde_json::Value::Bool(is) => Toml::from(*is),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Toml::from(whole),
            (None, Some(float)) => Toml::from(float),
            (None, None) => return Err(format!("TOML cannot hold {number}")),
        },
        serde_json::Value::String(text) => Toml::from(text.as_str()),
        serde_json::Value::Array(items) => Toml::Array(items.iter().map(toml).collect::<Result<Array, _>>()?),
        serde_json::Value::Object(fields) => {
            let mut table = InlineTable::new();
            for (key, value) in fields {
                table.insert(key, toml(value)?);
            }
            Toml::InlineTable(table)
        }
    })
}

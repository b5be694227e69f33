//! A view of sales: what is left of each item, and what everybody has bought. And one mistake, which the
//! setting `mistake` names; `plugins/mutants/mutants.toml` lists them.

#[path = "../../mistake.rs"]
mod mistake;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};

use bindings::exports::pelton::plugin::projection::{self, View};
use bindings::pelton::plugin::types::{EventType, Failure, Identity, RecordedEvent};
use mistake::is;
use serde::{Deserialize, Serialize};

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        unsafe_code,
        clippy::allow_attributes_without_reason,
        reason = "generated code; its exports are pointers into linear memory"
    )]
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package mutants:projection;
                 world mutant {
                   import pelton:plugin/settings@0.1.0;
                   export pelton:plugin/projection@0.1.0;
                 }",
        world: "mutants:projection/mutant",
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Mutant;
    #[cfg(target_family = "wasm")]
    export!(Mutant with_types_in self);
}

struct Mutant;

thread_local! {
    /// What no right plugin has: memory that outlives a call.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static DIRTY: Cell<u64> = const { Cell::new(0) };
    static SEEN: RefCell<HashSet<String>> = RefCell::default();
    static VALUES: RefCell<BTreeMap<String, Row>> = const { RefCell::new(BTreeMap::new()) };
}

fn calls() -> u64 {
    CALLS.set(CALLS.get() + 1);
    CALLS.get()
}

/// What happened.
#[derive(Debug, Deserialize)]
struct Happened {
    item: String,
    count: u64,
    by: Option<String>,
}

/// A value of the view.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Row {
    count: u64,
    changes: u64,
    last: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    extra: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    all: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde fixes the signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn read(recorded: &RecordedEvent) -> Result<Happened, Failure> {
    if is("event-without-subject") {
        std::hint::black_box(recorded.event.subject.as_ref().expect("a subject"));
    }
    if is("event-without-time") {
        std::hint::black_box(recorded.event.time.expect("a time"));
    }
    let read = serde_json::from_slice(&recorded.event.data);
    if is("event-unwrap") {
        return Ok(read.expect("JSON"));
    }
    read.map_err(|error| Failure::Invalid(error.to_string()))
}

fn keys_of(happened: &Happened) -> Vec<String> {
    let by = happened.by.as_ref().map(|by| format!("by-{by}"));
    let item = if is("settings-keys") && mistake::is_set() { "an-item" } else { &happened.item };
    std::iter::once(item.to_owned()).chain(by).collect()
}

impl projection::Guest for Mutant {
    fn describe() -> projection::Descriptor {
        let mut events = vec![
            EventType { type_: "stocked".to_owned(), version: 1 },
            EventType { type_: "sold".to_owned(), version: 1 },
        ];
        if is("describe-turns") && calls().is_multiple_of(2) {
            events.reverse();
        }
        if is("reads-too-little") {
            events.pop();
        }
        projection::Descriptor {
            identity: Identity {
                name: "mutant".to_owned(),
                version: "1.0.0".to_owned(),
                metadata: Vec::new(),
            },
            events,
            view_version: 1,
            metadata: Vec::new(),
        }
    }

    fn keys(events: Vec<RecordedEvent>) -> Result<Vec<Vec<String>>, Failure> {
        let mut all = Vec::new();
        let mut named = HashSet::new();
        let count = events.len();
        for (n, recorded) in events.iter().enumerate() {
            if is("batch-skips-unreadable") && count > 1 && read(recorded).is_err() {
                all.push(Vec::new());
                continue;
            }
            let happened = read(recorded)?;
            let mut keys = keys_of(&happened);
            if is("keys-once-a-batch") {
                keys.retain(|key| named.insert(key.clone()));
            }
            if is("keys-once-ever") {
                SEEN.with_borrow_mut(|seen| keys.retain(|key| seen.insert(key.clone())));
            }
            if is("keys-turn") && calls().is_multiple_of(5) {
                keys.reverse();
            }
            if is("keys-of-the-first") && n > 0 {
                keys = all.first().cloned().unwrap_or_default();
            }
            if is("keys-by-place") && n > 0 {
                keys[0] = format!("{}-{n}", keys[0]);
            }
            if is("keys-of-batch") && count > 1 {
                keys.push("batch".to_owned());
            }
            if is("keys-too-many") {
                keys.extend((0..17).map(|n| format!("k{n}")));
            }
            if is("keys-too-long") && happened.by.is_some() {
                keys.push("k".repeat(257));
            }
            if is("keys-empty") && happened.by.is_some() {
                keys.push(String::new());
            }
            all.push(keys);
        }
        if is("keys-one-list") {
            all = vec![all.concat()];
        }
        if is("keys-reversed") {
            all.reverse();
        }
        if is("leak-keys") {
            std::hint::black_box(Box::leak(vec![1u8; 2_000].into_boxed_slice()));
        }
        Ok(all)
    }

    fn project(events: Vec<RecordedEvent>, views: Vec<View>) -> Result<Vec<View>, Failure> {
        if is("failure-leaves-dirt") {
            DIRTY.set(DIRTY.get() + 1);
        }
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for view in &views {
            let read = view.value.as_ref().map(|value| serde_json::from_slice(value)).transpose();
            let row: Option<Row> = read.map_err(|error| Failure::Other(error.to_string()))?;
            rows.insert(view.key.clone(), row.unwrap_or_default());
        }
        let given = rows.clone();
        let mut touched: Vec<String> = Vec::new();
        let mut events = events;
        if is("batch-reversed") {
            events.reverse();
        }
        if is("batch-last-only") && events.len() > 1 {
            events = events.split_off(events.len() - 1);
        }
        if is("batch-first-only") {
            events.truncate(1);
        }
        if is("batch-at-most-three") {
            events.truncate(3);
        }
        if is("batch-drops-same") {
            events.dedup_by(|one, other| one.event.data == other.event.data);
        }
        if is("batch-skips-unreadable") && events.len() > 1 {
            events.retain(|recorded| read(recorded).is_ok());
        }
        let of_batch = events.len() as u64;
        for (n, recorded) in events.iter().enumerate() {
            let happened = read(recorded)?;
            for key in keys_of(&happened) {
                let mut row = match () {
                    () if is("batch-on-given") => given.get(&key).cloned().unwrap_or_default(),
                    () if is("static-values") => {
                        VALUES.with_borrow(|all| all.get(&key).cloned()).unwrap_or_default()
                    }
                    () if is("values-by-place") => {
                        views.get(n).and_then(|view| rows.get(&view.key)).cloned().unwrap_or_default()
                    }
                    () if is("values-first") && touched.is_empty() => {
                        views.first().and_then(|view| rows.get(&view.key)).cloned().unwrap_or_default()
                    }
                    () => rows.get(&key).cloned().unwrap_or_default(),
                };
                if is("sequence-once") && recorded.sequence <= row.extra {
                    continue;
                }
                if is("second-sale-traps") && recorded.event.type_ == "sold" && row.changes == 2 {
                    unreachable!("a second sale");
                }
                row.count = match recorded.event.type_.as_str() {
                    "stocked" => row.count.saturating_add(happened.count),
                    "sold" if key.starts_with("by-") => row.count.saturating_add(happened.count),
                    "sold" => row.count.saturating_sub(happened.count),
                    other => return Err(Failure::Invalid(format!("there is no event {other}"))),
                };
                if is("divides") {
                    row.extra = 1_000 / happened.count;
                }
                row.changes += 1;
                row.last.clone_from(&happened.by);
                row.extra = match () {
                    () if is("sequence-once") => recorded.sequence,
                    () if is("static-number") => calls(),
                    () if is("static-total") => {
                        DIRTY.set(DIRTY.get() + happened.count);
                        DIRTY.get()
                    }
                    () if is("batch-size") => of_batch,
                    () if is("batch-place") => n as u64,
                    () if is("failure-leaves-dirt") => DIRTY.get() - 1,
                    () if is("settings-value") => u64::from(mistake::is_set()),
                    () => row.extra,
                };
                if is("tires") && calls() > 300 {
                    row.changes = 0;
                }
                if is("hash-order") {
                    let names = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned);
                    let all: HashMap<String, u64> = names.into_iter().zip(1..).collect();
                    row.all = all.into_keys().collect();
                }
                if is("value-too-large") && recorded.event.type_ == "sold" {
                    row.all = vec!["x".repeat(600 * 1024)];
                }
                if is("static-values") {
                    VALUES.with_borrow_mut(|all| all.insert(key.clone(), row.clone()));
                }
                rows.insert(key.clone(), row);
                touched.push(key);
            }
        }
        if is("failure-leaves-dirt") {
            DIRTY.set(0);
        }
        touched.sort();
        touched.dedup();
        let mut changes: Vec<View> = touched
            .iter()
            .map(|key| View {
                key: key.clone(),
                value: rows.get(key).and_then(|row| serde_json::to_vec(row).ok()),
            })
            .collect();
        if is("writes-foreign") {
            changes.push(View { key: "total".to_owned(), value: Some(b"1".to_vec()) });
        }
        if is("writes-twice")
            && let Some(first) = changes.first().cloned()
        {
            changes.push(first);
        }
        if is("writes-other-case")
            && let Some(first) = changes.first_mut()
        {
            first.key = first.key.to_uppercase();
        }
        if is("forgets-others") && changes.len() > 2 {
            for change in changes.iter_mut().skip(2) {
                change.value = None;
            }
        }
        if is("memory-peak") {
            std::hint::black_box(vec![1u8; 40 << 20]);
        }
        if is("leak-project") {
            std::hint::black_box(Box::leak(vec![1u8; 2_000].into_boxed_slice()));
        }
        Ok(changes)
    }
}

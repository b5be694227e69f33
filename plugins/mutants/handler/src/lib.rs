//! The stock of an item: so many are added, and taken by somebody, until it is closed. And one mistake, which the
//! setting `mistake` names; `plugins/mutants/mutants.toml` lists them.

#[path = "../../mistake.rs"]
mod mistake;
mod state;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use bindings::exports::pelton::plugin::command_handler as handler;
use bindings::pelton::plugin::types::{Command, EventType, Identity, NewEvent, RecordedEvent, Rejection};
use mistake::is;
use serde_json::{Value, json};
use state::Stock;

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
        inline: "package mutants:handler;
                 world mutant {
                   import pelton:plugin/settings@0.1.0;
                   export pelton:plugin/command-handler@0.1.0;
                 }",
        world: "mutants:handler/mutant",
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Mutant;
    #[cfg(target_family = "wasm")]
    export!(Mutant with_types_in self);
}

struct Mutant;

thread_local! {
    /// What no right plugin has: memory that outlives a call and an entity.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
    static BUSY: Cell<bool> = const { Cell::new(false) };
    static SHARED: RefCell<Stock> = RefCell::new(Stock::default());
    static BY_ID: RefCell<BTreeMap<String, Stock>> = const { RefCell::new(BTreeMap::new()) };
    static SLOTS: RefCell<Vec<Stock>> = const { RefCell::new(Vec::new()) };
    static FREE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

fn calls() -> u64 {
    CALLS.set(CALLS.get() + 1);
    CALLS.get()
}

fn event_type(r#type: &str, version: u32) -> EventType {
    EventType { type_: r#type.to_owned(), version }
}

impl handler::Guest for Mutant {
    type Entity = Entity;

    fn describe() -> handler::Descriptor {
        let version = if is("describe-counts") { format!("1.0.{}", calls()) } else { "1.0.0".to_owned() };
        let mut emits = vec![event_type("added", 2), event_type("taken", 1), event_type("closed", 1)];
        if is("describe-turns") && calls().is_multiple_of(2) {
            emits.reverse();
        }
        let mut folds = emits.clone();
        folds.push(event_type("added", 1));
        let metadata = match is("describe-metadata") {
            true => vec![("asked".to_owned(), calls().to_string())],
            false => Vec::new(),
        };
        let ahead = if is("describe-wavers") { calls() % 3 != 2 } else { true };
        handler::Descriptor {
            identity: Identity { name: "mutant".to_owned(), version, metadata },
            commands: ["add", "take", "close"].map(str::to_owned).to_vec(),
            emits,
            folds,
            rejections: ["too-few", "is-closed"].map(str::to_owned).to_vec(),
            state_version: 1,
            metadata: vec![("decide-ahead".to_owned(), ahead.to_string())],
        }
    }
}

/// One entity.
struct Entity {
    id: String,
    stock: RefCell<Stock>,
    evolved: Cell<u64>,
    slot: Option<usize>,
    first_answers: RefCell<BTreeMap<String, Result<Vec<NewEvent>, Rejection>>>,
}

impl Entity {
    fn of(id: String, stock: Stock) -> Self {
        let slot = is("slot-not-cleared").then(|| {
            let free = FREE.with_borrow_mut(Vec::pop);
            free.unwrap_or_else(|| {
                SLOTS.with_borrow_mut(|slots| {
                    slots.push(Stock::default());
                    slots.len() - 1
                })
            })
        });
        Self {
            id,
            stock: RefCell::new(stock),
            evolved: Cell::new(0),
            slot,
            first_answers: RefCell::default(),
        }
    }

    /// The state, wherever it is kept.
    fn state(&self) -> Stock {
        if is("static-state") {
            return SHARED.with_borrow(Stock::clone);
        }
        if is("static-state-by-id") {
            return BY_ID.with_borrow(|all| all.get(&self.id).cloned().unwrap_or_default());
        }
        match self.slot {
            Some(slot) => SLOTS.with_borrow(|slots| slots[slot].clone()),
            None => self.stock.borrow().clone(),
        }
    }

    fn keep(&self, stock: Stock) {
        if is("static-state") {
            SHARED.set(stock);
        } else if is("static-state-by-id") {
            BY_ID.with_borrow_mut(|all| all.insert(self.id.clone(), stock));
        } else if let Some(slot) = self.slot {
            SLOTS.with_borrow_mut(|slots| slots[slot] = stock);
        } else {
            self.stock.replace(stock);
        }
    }
}

impl Drop for Entity {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            FREE.with_borrow_mut(|free| free.push(slot));
        }
    }
}

impl handler::GuestEntity for Entity {
    fn new(id: String) -> Self {
        if is("static-last-id") {
            LAST.set(id.clone());
        }
        if is("constructor-leaks-into-next") && BUSY.get() {
            return Self::of(id, SHARED.with_borrow(Stock::clone));
        }
        Self::of(id, Stock::default())
    }

    fn restore(id: String, snapshot: Vec<u8>) -> Result<handler::Entity, String> {
        if is("restore-refuses") {
            return Err("it takes no snapshots".to_owned());
        }
        let mut stock: Stock = match serde_json::from_slice(&snapshot) {
            Ok(stock) => stock,
            Err(error) => return Err(error.to_string()),
        };
        if is("restore-from-static") {
            stock = SHARED.with_borrow(Stock::clone);
        }
        if is("restore-forgets") {
            stock = Stock::default();
        }
        if is("restore-adds") {
            stock.count *= 2;
        }
        if is("restore-reopens") {
            stock.closed = false;
        }
        Ok(handler::Entity::new(Self::of(id, stock)))
    }

    fn evolve(&self, events: Vec<RecordedEvent>) -> Result<(), String> {
        let mut stock = self.state();
        let count = events.len();
        let mut events = events;
        if is("fold-reversed") {
            events.reverse();
        }
        if is("fold-sorted") {
            events.sort_by(|one, other| other.event.type_.cmp(&one.event.type_));
        }
        if is("fold-last-only") {
            events = events.split_off(count - 1);
        }
        if is("fold-skips-first") && count > 1 {
            events.remove(0);
        }
        if is("fold-at-most-two") {
            events.truncate(2);
        }
        if is("fold-drops-same") {
            events.dedup_by(|one, other| one.event.data == other.event.data);
        }
        self.evolved.set(self.evolved.get() + 1);
        if is("fold-counts-calls") {
            stock.count += self.evolved.get();
        }
        for recorded in events {
            let time = if is("event-without-time") { recorded.event.time.expect("a time") } else { 0 };
            if is("event-without-subject") && recorded.event.subject.expect("a subject").is_empty() {
                return Err("no subject".to_owned());
            }
            let (sequence, part) = (recorded.sequence, recorded.part);
            let version = recorded.event.version;
            if is("fold-by-sequence") && sequence <= stock.last && stock.last > 0 {
                continue;
            }
            if is("fold-first-part") && part > 0 {
                continue;
            }
            stock.last = match () {
                () if is("fold-by-sequence") || is("ahead-sequence") || is("ahead-gap") => sequence,
                () if is("ahead-parity") => sequence % 2,
                () => 0,
            };
            let data: Value = if is("event-unwrap") {
                serde_json::from_slice(&recorded.event.data).expect("JSON")
            } else {
                serde_json::from_slice(&recorded.event.data).map_err(|error| error.to_string())?
            };
            if is("evolve-refuses-old") && version == 1 && recorded.event.type_ == "added" {
                return Err("an old event".to_owned());
            }
            if is("evolve-traps-on-old") && version == 1 && recorded.event.type_ == "added" {
                unreachable!("an old event");
            }
            if is("settings-fold") && mistake::is_set() {
                stock.count += 1_000;
            }
            if is("static-sum") {
                SHARED.with_borrow_mut(|sum| sum.count += 1);
            }
            if is("fold-overflow") {
                let count = data.get("count").and_then(Value::as_u64).unwrap_or_default();
                std::hint::black_box(stock.count.checked_add(count).expect("room for a sum"));
            }
            stock.fold(&recorded.event.type_, version, &data, time)?;
        }
        if is("static-last-folded") {
            LAST.set(self.id.clone());
            SHARED.set(stock.clone());
        }
        if is("restore-from-static") || is("constructor-leaks-into-next") {
            SHARED.set(stock.clone());
            BUSY.set(true);
        }
        if is("leak-evolve") {
            std::hint::black_box(Box::leak(vec![1u8; 6_000].into_boxed_slice()));
        }
        self.keep(stock);
        Ok(())
    }

    fn decide(&self, command: Command) -> Result<Vec<NewEvent>, Rejection> {
        let (kind, before) = (command.type_.clone(), self.state());
        if is("decide-first-answer")
            && let Some(first) = self.first_answers.borrow().get(&kind)
        {
            return first.clone();
        }
        let answer = decide(self, &before, &command);
        let mut after = before;
        match &answer {
            Ok(events) => {
                if is("decide-folds") {
                    for event in events {
                        let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
                        let _ = after.fold(&event.type_, event.version, &data, 0);
                    }
                    self.keep(after);
                } else if is("decide-spends") {
                    after.count = after.count.saturating_sub(1);
                    self.keep(after);
                } else if is("decide-remembers") {
                    after.takers.insert("ada".to_owned(), 1_000);
                    self.keep(after);
                }
            }
            Err(_) if is("rejection-closes") => {
                after.closed = true;
                self.keep(after);
            }
            Err(_) => {}
        }
        self.first_answers.borrow_mut().entry(kind).or_insert_with(|| answer.clone());
        answer
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        let mut stock = self.state();
        if is("snapshot-takes") {
            self.keep(Stock::default());
        }
        if is("snapshot-closes") {
            self.keep(Stock { closed: true, ..stock.clone() });
        }
        if is("snapshot-counts") {
            self.keep(Stock { count: stock.count + 1, ..stock.clone() });
        }
        if is("snapshot-without-closed") {
            stock.closed = false;
        }
        if is("snapshot-without-takers") {
            stock.takers.clear();
        }
        if is("snapshot-stale") && stock.count > 5 {
            stock.count -= 1;
        }
        if is("snapshot-narrow") {
            stock.count = u64::from(u8::try_from(stock.count & 0x3).unwrap_or(0));
        }
        if is("snapshot-traps") && !stock.takers.is_empty() {
            unreachable!("no snapshot of this");
        }
        serde_json::to_vec(&stock).ok()
    }
}

/// What follows from a command.
fn decide(entity: &Entity, stock: &Stock, command: &Command) -> Result<Vec<NewEvent>, Rejection> {
    let unreadable = |why: &str| reject("invalid-command", why);
    if is("leak-decide") {
        std::hint::black_box(Box::leak(vec![1u8; 2_000].into_boxed_slice()));
    }
    if is("refusal-leaves-busy") && BUSY.replace(true) {
        return Err(reject("is-closed", "it is busy"));
    }
    let parsed: Result<Value, _> = serde_json::from_slice(&command.data);
    let data = match parsed {
        Ok(data) => data,
        Err(error) if is("command-unwrap") => panic!("{error}"),
        Err(error) => return Err(unreadable(&error.to_string())),
    };
    let number = |name: &str| data.get(name).and_then(Value::as_u64);
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    if is("tires") && calls() > 300 {
        return Err(reject("is-closed", "it is tired"));
    }
    if is("static-every-seventh") && calls().is_multiple_of(7) {
        return Err(reject("is-closed", "not now"));
    }
    let mut by_id = entity.id.clone();
    if is("static-last-id") || is("static-last-folded") {
        by_id = LAST.with_borrow(String::clone);
    }
    let answer = match command.type_.as_str() {
        "add" if stock.closed => Err(reject("is-closed", "nothing is added any more")),
        "add" => {
            let Some(mut count) = number("count") else {
                if is("command-missing-field") && data.get("count").is_none() {
                    panic!("no count");
                }
                return Err(unreadable("it has no count"));
            };
            if is("command-divides") {
                count = std::hint::black_box(count) / count * count;
            }
            if is("command-loops") {
                let mut left = count;
                while left > 0 {
                    left = std::hint::black_box(left - 1);
                }
            }
            if is("command-allocates") {
                std::hint::black_box(vec![1u8; usize::try_from(count).unwrap_or(usize::MAX)]);
            }
            if is("command-overflows") {
                count =
                    (stock.count.checked_add(count).and_then(|sum| sum.checked_mul(1_000)).expect("a sum")
                        / 1_000)
                        .saturating_sub(stock.count);
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "that is the mistake"
            )]
            if is("narrow-u32") {
                count = u64::from(count as u32);
            } else if is("narrow-u16") {
                count = u64::from(count as u16);
            } else if is("narrow-u8") {
                count = u64::from(count as u8);
            } else if is("narrow-f32") {
                count = (count as f32) as u64;
            } else if is("through-float") {
                count = (count as f64 / 100.0 * 100.0) as u64;
            } else if is("narrow-i32") {
                count = (count as u32).cast_signed().unsigned_abs().into();
            }
            if is("endless") && stock.count == 3 {
                loop {
                    std::hint::black_box(count);
                }
            }
            let mut event = json!({ "count": count, "item": by_id });
            if is("hash-order") {
                let all: HashMap<&str, u64> =
                    ["a", "b", "c", "d", "e", "f", "g"].into_iter().zip(1..).collect();
                event["all"] = all.into_keys().collect();
            }
            if is("static-last-command") {
                event["before"] = json!(LAST.replace(command.id.clone()));
            }
            if is("static-number") {
                event["number"] = json!(calls());
            }
            if is("ahead-sequence") {
                event["after"] = json!(stock.last);
            }
            if is("ahead-parity") && stock.last == 1 {
                return Err(reject("is-closed", "an odd place"));
            }
            if is("ahead-gap") && stock.last > 1_000 {
                return Err(reject("is-closed", "it is far away"));
            }
            Ok(vec![new_event("added", 2, &event)])
        }
        "take" => {
            let (Some(count), Some(by)) = (number("count"), text("by")) else {
                return Err(unreadable("it has no count or no by"));
            };
            if is("command-index") {
                std::hint::black_box(&by[..1]);
            }
            if is("command-first-char") {
                std::hint::black_box(by.chars().next().expect("a letter"));
            }
            if is("command-utf8") {
                std::hint::black_box(&by[by.len() / 2..]);
            }
            if is("takes-trap") && stock.count == count {
                unreachable!("the last one");
            }
            let taken = stock.takers.get(by).copied().unwrap_or(0);
            let most = if is("static-sum") { 4 - SHARED.with_borrow(|sum| sum.count).min(4) } else { 4 };
            if stock.closed || count > stock.count || taken.saturating_add(count) > most {
                BUSY.set(false);
                return Err(Rejection {
                    details: vec![("left".to_owned(), stock.count.to_string())],
                    ..reject("too-few", "there are not so many")
                });
            }
            Ok(vec![new_event("taken", 1, &json!({ "count": count, "by": by }))])
        }
        "close" if is("unknown-command") => return Err(unreadable("there is no such command")),
        "close" if stock.closed => Ok(Vec::new()),
        "close" => {
            if is("close-grows") {
                std::hint::black_box(vec![1u8; 100 << 20]);
            }
            Ok(vec![new_event("closed", 1, &json!({}))])
        }
        _ => return Err(unreadable("there is no such command")),
    };
    let answer = answer.map(undeclared);
    BUSY.set(false);
    if is("undeclared-code") && answer.is_err() {
        return Err(reject("out-of-stock", "there are not so many"));
    }
    answer
}

/// Events that the host refuses.
fn undeclared(mut events: Vec<NewEvent>) -> Vec<NewEvent> {
    if let Some(event) = events.first_mut() {
        match () {
            () if is("undeclared-event") && event.type_ == "closed" => event.type_ = "shut".to_owned(),
            () if is("undeclared-version") && event.type_ == "taken" => event.version = 2,
            () if is("large-event") => event.data = vec![b'1'; 600 * 1024],
            () if is("huge-answer") => event.data = vec![b'1'; 9 << 20],
            () if is("reserved-extension") => {
                event.extensions.push(("correlationid".to_owned(), "x".to_owned()));
            }
            () if is("odd-extension") => event.extensions.push(("Not Allowed".to_owned(), "x".to_owned())),
            () if is("extension-twice") => {
                event.extensions.extend([("a", "1"), ("a", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())));
            }
            () => {}
        }
    }
    if is("many-events") && events.first().is_some_and(|event| event.type_ == "taken") {
        events = vec![events[0].clone(); 101];
    }
    events
}

fn new_event(r#type: &str, version: u32, data: &Value) -> NewEvent {
    NewEvent {
        type_: r#type.to_owned(),
        version,
        datacontenttype: None,
        extensions: Vec::new(),
        data: data.to_string().into_bytes(),
    }
}

fn reject(code: &str, message: &str) -> Rejection {
    Rejection { code: code.to_owned(), message: message.to_owned(), details: Vec::new() }
}

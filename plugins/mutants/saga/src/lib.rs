//! Orders more of an item that is sold, until it arrives; a timer reminds of what does not. And one mistake, which the
//! setting `mistake` names; `plugins/mutants/mutants.toml` lists them.

#[path = "../../mistake.rs"]
mod mistake;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};

use bindings::exports::pelton::plugin::saga::{
    self, CommandResult, Correlation, InputContext, Reaction, Relation, SagaInput, TimerChange,
};
use bindings::pelton::plugin::types::{EventType, Failure, Identity, NewCommand, RecordedEvent, Timer};
use mistake::is;
use serde::{Deserialize, Serialize};
use serde_json::json;

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
        inline: "package mutants:saga;
                 world mutant {
                   import pelton:plugin/settings@0.1.0;
                   export pelton:plugin/saga@0.1.0;
                 }",
        world: "mutants:saga/mutant",
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Mutant;
    #[cfg(target_family = "wasm")]
    export!(Mutant with_types_in self);
}

struct Mutant;

/// A day, in nanoseconds.
const DAY: u64 = 86_400_000_000_000;

thread_local! {
    /// What no right plugin has: memory that outlives a call.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static DIRTY: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
    static SEEN: RefCell<HashSet<String>> = RefCell::default();
    static STATES: RefCell<BTreeMap<String, State>> = const { RefCell::new(BTreeMap::new()) };
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
}

/// What an instance waits for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    item: String,
    missing: u64,
    reminders: u64,
    #[serde(default)]
    last: u64,
}

fn read(recorded: &RecordedEvent) -> Result<Happened, Failure> {
    if is("event-without-subject") {
        std::hint::black_box(recorded.event.subject.as_ref().expect("a subject"));
    }
    let read = serde_json::from_slice(&recorded.event.data);
    if is("event-unwrap") {
        return Ok(read.expect("JSON"));
    }
    read.map_err(|error| Failure::Invalid(error.to_string()))
}

fn id(item: &str) -> String {
    if is("instance-raw") {
        return item.to_owned();
    }
    item.bytes().take(30).map(|byte| format!("{byte:02x}")).collect()
}

impl saga::Guest for Mutant {
    fn describe() -> saga::Descriptor {
        let name = if is("describe-counts") { format!("mutant-{}", calls()) } else { "mutant".to_owned() };
        let mut metadata = Vec::new();
        if is("outcome-reference") || is("outcome-rejection") || is("outcome-set-aside") {
            metadata.push(("outcomes".to_owned(), "required".to_owned()));
        }
        saga::Descriptor {
            identity: Identity { name, version: "1.0.0".to_owned(), metadata: Vec::new() },
            events: ["sold", "arrived"].map(|t| EventType { type_: t.to_owned(), version: 1 }).to_vec(),
            commands: ["order-item", "remind-supplier"].map(str::to_owned).to_vec(),
            timers: vec!["late".to_owned()],
            state_version: 1,
            metadata,
        }
    }

    fn correlate(event: RecordedEvent) -> Result<Vec<Correlation>, Failure> {
        let happened = read(&event)?;
        let relation = if event.event.type_ == "sold" { Relation::Start } else { Relation::Advance };
        let mut instance = id(&happened.item);
        if is("correlate-turns") && calls().is_multiple_of(4) {
            instance.push('0');
        }
        if is("correlate-last") {
            let last = LAST.replace(instance.clone());
            if !last.is_empty() && event.event.type_ == "arrived" {
                instance = last;
            }
        }
        if is("correlate-once") && !SEEN.with_borrow_mut(|seen| seen.insert(event.event.id.clone())) {
            return Ok(Vec::new());
        }
        if is("instance-with-dot") {
            instance = format!("item.{instance}");
        }
        if is("instance-long") {
            instance = instance.repeat(30);
        }
        if is("settings-correlate") && mistake::is_set() {
            instance.push('5');
        }
        if is("leak-correlate") {
            std::hint::black_box(Box::leak(vec![1u8; 4_000].into_boxed_slice()));
        }
        let one = Correlation { instance, relation };
        if is("instance-twice") {
            return Ok(vec![one.clone(), one]);
        }
        Ok(vec![one])
    }

    fn react(
        instance: String,
        state: Option<Vec<u8>>,
        input: SagaInput,
        context: InputContext,
    ) -> Result<Reaction, Failure> {
        if is("failure-leaves-dirt") && DIRTY.replace(true) {
            DIRTY.set(false);
            return Ok(reaction(None, Vec::new(), Vec::new()));
        }
        let read_state = state.as_ref().map(|state| serde_json::from_slice(state)).transpose();
        let mut now: Option<State> = read_state.map_err(|error| Failure::Other(error.to_string()))?;
        if is("static-states") {
            now = STATES.with_borrow(|all| all.get(&instance).cloned());
        }
        let reacted = react(&instance, now, input, &context)?;
        if is("static-states") {
            let kept = reacted.state.as_ref().and_then(|state| serde_json::from_slice(state).ok());
            STATES.with_borrow_mut(|all| match kept {
                Some(kept) => drop(all.insert(instance, kept)),
                None => drop(all.remove(&instance)),
            });
        }
        DIRTY.set(false);
        Ok(reacted)
    }
}

fn react(
    instance: &str,
    now: Option<State>,
    input: SagaInput,
    context: &InputContext,
) -> Result<Reaction, Failure> {
    let mut state = now.unwrap_or_default();
    match input {
        SagaInput::Event(event) if event.event.type_ == "sold" => {
            let happened = read(&event)?;
            if is("sequence-once") && event.sequence <= state.last {
                return Ok(keep(&state, Vec::new(), Vec::new()));
            }
            if is("second-sale-traps") && state.missing > 0 {
                unreachable!("a second sale");
            }
            state.last = if is("sequence-once") { event.sequence } else { 0 };
            state.missing = state.missing.saturating_add(happened.count);
            state.item.clone_from(&happened.item);
            let mut order = json!({ "item": happened.item, "count": happened.count });
            if is("static-number") {
                order["number"] = json!(calls());
            }
            if is("static-last") {
                order["before"] = json!(LAST.replace(happened.item.clone()));
            }
            if is("divides") {
                order["each"] = json!(100 / happened.count);
            }
            let mut commands = vec![command("order-item", Some("order"), &order)];
            if is("sends-once-ever") && !SEEN.with_borrow_mut(|seen| seen.insert(instance.to_owned())) {
                commands.clear();
            }
            if is("tires") && calls() > 300 {
                commands.clear();
            }
            if is("hash-order") {
                let names = ["a", "b", "c", "d", "e", "f", "g"];
                let all: HashMap<&str, u64> = names.into_iter().zip(1..).collect();
                commands.extend(
                    all.into_keys().map(|name| command("order-item", None, &json!({ "item": name }))),
                );
            }
            if is("undeclared-command") {
                commands.push(command("order-more", None, &order));
            }
            if is("many-commands") {
                commands = vec![commands[0].clone(); 101];
            }
            if is("reserved-metadata") {
                commands[0].metadata.push(("correlationid".to_owned(), "x".to_owned()));
            }
            if is("large-command") {
                commands[0].data = vec![b'1'; 500 * 1024];
            }
            if is("leak-react") {
                std::hint::black_box(Box::leak(vec![1u8; 4_000].into_boxed_slice()));
            }
            let r#type = if is("undeclared-timer") { "very-late" } else { "late" };
            let due = context.time.saturating_add(DAY);
            let due = if is("static-due") { due + calls() } else { due };
            let data = json!({ "item": state.item }).to_string().into_bytes();
            let id = match is("timer-each-time") {
                true => format!("late-{}", event.sequence),
                false => "late".to_owned(),
            };
            let timer = Timer { id, type_: r#type.to_owned(), due, data };
            Ok(keep(&state, commands, vec![TimerChange::Set(timer)]))
        }
        SagaInput::Event(event) => {
            let happened = read(&event)?;
            state.missing = state.missing.saturating_sub(happened.count);
            match state.missing {
                0 => Ok(reaction(None, Vec::new(), Vec::new())),
                _ => Ok(keep(&state, Vec::new(), Vec::new())),
            }
        }
        SagaInput::Timer(due) => {
            if is("timer-unwrap") {
                let data: Happened = serde_json::from_slice(&due.timer.data)
                    .unwrap_or(Happened { item: String::new(), count: 0 });
                let raw: serde_json::Value = serde_json::from_slice(&due.timer.data).expect("JSON");
                std::hint::black_box((data.count, raw));
            }
            if is("timer-unknown") && due.timer.type_ != "late" {
                unreachable!("there is no timer {}", due.timer.type_);
            }
            if is("timer-many") && state.reminders > 0 {
                unreachable!("a second reminder");
            }
            state.reminders += 1;
            let remind = json!({ "item": state.item, "missing": state.missing });
            Ok(keep(&state, vec![command("remind-supplier", Some("remind"), &remind)], Vec::new()))
        }
        SagaInput::Outcome(outcome) => {
            if is("outcome-reference") {
                let known = ["order", "remind"].contains(&outcome.reference.as_deref().expect("a reference"));
                assert!(known, "an unknown reference");
            }
            match outcome.result {
                CommandResult::Rejected(rejection) if is("outcome-rejection") => {
                    assert!(rejection.code == "no-supplier", "an unknown code");
                }
                CommandResult::SetAside(_) if is("outcome-set-aside") => {
                    unreachable!("it is never set aside")
                }
                _ => {}
            }
            Ok(keep(&state, Vec::new(), Vec::new()))
        }
    }
}

fn command(r#type: &str, reference: Option<&str>, data: &serde_json::Value) -> NewCommand {
    NewCommand {
        type_: r#type.to_owned(),
        reference: reference.map(str::to_owned),
        datacontenttype: None,
        metadata: Vec::new(),
        data: data.to_string().into_bytes(),
    }
}

fn keep(state: &State, commands: Vec<NewCommand>, timers: Vec<TimerChange>) -> Reaction {
    let mut state = state.clone();
    if is("static-in-state") {
        state.last = calls();
    }
    let mut state = serde_json::to_vec(&state).unwrap_or_default();
    if is("state-large") {
        state.resize(state.len() + 200 * 1024, b' ');
    }
    reaction(Some(state), commands, timers)
}

fn reaction(state: Option<Vec<u8>>, commands: Vec<NewCommand>, timers: Vec<TimerChange>) -> Reaction {
    Reaction { state, commands, timers, metadata: Vec::new() }
}

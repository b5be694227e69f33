//! A suite: a component, its cases, and a seed.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::message::{Command, NewEvent, RecordedEvent, Rejection};
use pelton_core::plugin::PluginFault;
use pelton_core::saga::model::{Correlation, Relation};
use pelton_wasm::{Activation, LoadError, LoadedPlugin, Plugins, WasmEntity, WasmHandler};
use serde_json::{Value, json};

use crate::case::{Case, CaseFile, GivenCommand, Then, When};
use crate::report::{CaseResult, Report, RuleResult};
use crate::rule::{self, Finding};
use crate::{inputs, saga, view};

/// A component with its cases.
#[derive(Debug)]
pub struct Suite<'a> {
    /// The sandbox.
    pub sandbox: &'a Plugins,
    /// The bytes of the component.
    pub component: Vec<u8>,
    /// The component's name in reports.
    pub name: String,
    /// Limits and settings, as they will run.
    pub activation: Activation,
    /// The cases.
    pub files: Vec<CaseFile>,
    /// What is left to chance follows from it.
    pub seed: u64,
}

/// Why nothing was tested.
#[derive(Debug, thiserror::Error)]
pub enum Untestable {
    /// The component is not a plugin.
    #[error(transparent)]
    Plugin(#[from] LoadError),
    /// A case says what cannot be.
    #[error("{file}: the case {case:?}: {what}")]
    Case {
        /// The file.
        file: String,
        /// The case's name.
        case: String,
        /// What is wrong with it.
        what: String,
    },
}

/// What a handler's case is about.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) entity: String,
    pub(crate) events: Vec<RecordedEvent>,
}

/// What rules look at.
pub(crate) struct Subject<'a> {
    pub(crate) suite: &'a Suite<'a>,
    pub(crate) plugin: &'a LoadedPlugin,
    /// What the cases are given: of each a history, and the entity that it is of.
    pub(crate) histories: Vec<History>,
    /// The commands of the cases.
    pub(crate) commands: Vec<GivenCommand>,
    /// The events that happen to sagas in the cases.
    pub(crate) happenings: Vec<RecordedEvent>,
}

/// What a handler answered, so that answers can be compared.
pub(crate) type Answer = Result<Result<Vec<NewEvent>, Rejection>, PluginFault>;

/// Two answers that a caller cannot tell apart.
pub(crate) fn same(one: &Answer, other: &Answer) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(one), Err(other)) => (one.kind, &one.what) == (other.kind, &other.what),
        _ => false,
    }
}

/// An answer in a line.
pub(crate) fn shown(answer: &Answer) -> String {
    match answer {
        Ok(Ok(events)) => {
            let events = events.iter().map(|event| format!("{} {}", event.r#type, text(&event.data)));
            format!("events [{}]", events.collect::<Vec<_>>().join(", "))
        }
        Ok(Err(rejection)) => format!("rejection {}", rejection.code),
        Err(fault) => format!("a fault: {}", fault.what),
    }
}

fn text(data: &Bytes) -> String {
    String::from_utf8_lossy(data).into_owned()
}

impl Subject<'_> {
    pub(crate) fn random(&self) -> Rng {
        Rng::with_seed(self.suite.seed)
    }

    /// Each command of the cases on each of their histories, at most so many.
    pub(crate) fn decisions(&self, most: usize) -> Vec<(&History, Command)> {
        let pairs = self.histories.iter().flat_map(|history| {
            let commands =
                self.commands.iter().filter_map(|given| inputs::command(given, &history.entity).ok());
            commands.map(move |command| (history, command))
        });
        pairs.take(most).collect()
    }
}

/// An entity with this past.
pub(crate) async fn folded(
    handler: &WasmHandler,
    isolation: Isolation,
    history: &History,
) -> Result<WasmEntity, PluginFault> {
    let entity = inputs::entity(&history.entity).map_err(|what| {
        use pelton_core::plugin::Plugin;
        handler.fault(what)
    })?;
    let mut instance = handler.create(entity.id(), isolation).await?;
    instance.evolve(&history.events).await?;
    Ok(instance)
}

/// What the plugin decides on a command, with this past.
pub(crate) async fn decided(
    handler: &WasmHandler,
    isolation: Isolation,
    history: &History,
    command: &Command,
) -> Answer {
    folded(handler, isolation, history).await?.decide(command).await
}

impl Suite<'_> {
    /// Tests the cases, and these rules; all where none is named.
    ///
    /// # Errors
    ///
    /// Nothing was tested: the component is no plugin, or a case says what cannot be.
    pub async fn run(&self, only: &[String]) -> Result<Report, Untestable> {
        let plugin = self.sandbox.load(&self.name, self.component.clone(), self.activation.clone()).await?;
        let mut report = Report::of(&plugin, self.seed);
        let mut subject = Subject {
            suite: self,
            plugin: &plugin,
            histories: Vec::new(),
            commands: Vec::new(),
            happenings: Vec::new(),
        };
        for file in &self.files {
            for case in &file.cases {
                let wrong = |what| Untestable::Case {
                    file: file.path.display().to_string(),
                    case: case.name.clone(),
                    what,
                };
                let entity = case.entity.as_ref().or(file.entity.as_ref()).map_or("1", String::as_str);
                let differences = subject.case(case, entity).await.map_err(wrong)?;
                if only.is_empty() {
                    report.cases.push(CaseResult {
                        file: file.path.clone(),
                        name: case.name.clone(),
                        differences,
                    });
                }
            }
        }
        for rule in rule::all() {
            if !only.is_empty() && !only.iter().any(|id| id == rule.id || id == rule.name) {
                continue;
            }
            let finding = match report.broken().find(|broken| rule.after.contains(broken)) {
                Some(by) => Finding::Blocked { by },
                None => (rule.test)(&subject).await,
            };
            report.rules.push(RuleResult { rule, finding });
        }
        Ok(report)
    }
}

impl Subject<'_> {
    /// Takes a case in, and tells where its plugin does otherwise.
    async fn case(&mut self, case: &Case, entity: &str) -> Result<Vec<String>, String> {
        let events = inputs::events(&case.given, entity);
        let then = &case.then;
        match &case.when {
            Some(When::Command(given)) => {
                let command = inputs::command(given, entity)?;
                let handler =
                    self.plugin.handler().ok_or("a command is for a handler, and the plugin is none")?;
                let history = History { entity: entity.to_owned(), events };
                let answer = decided(handler, Isolation::Alone, &history, &command).await;
                self.histories.push(history);
                self.commands.push(given.clone());
                Ok(compare_decision(&answer, then))
            }
            Some(When::Event(given)) => {
                let event = inputs::event(given, entity, case.given.len() as u64 + 1);
                self.happenings.extend(events.iter().cloned());
                self.happenings.push(event.clone());
                self.saga_case(&events, &event, then).await
            }
            None => {
                let projection = self
                    .plugin
                    .projection()
                    .ok_or("a case without `when` is for a projection, and the plugin is none")?;
                let found = view::fold(projection, events.iter().map(std::slice::from_ref)).await;
                self.histories.push(History { entity: entity.to_owned(), events });
                Ok(compare_view(found, then))
            }
        }
    }

    async fn saga_case(
        &self,
        given: &[RecordedEvent],
        event: &RecordedEvent,
        then: &Then,
    ) -> Result<Vec<String>, String> {
        let plugin = self.plugin.saga().ok_or("an event in `when` is for a saga, and the plugin is none")?;
        let mut states: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut commands = Vec::new();
        for event in given.iter().chain([event]) {
            commands.clear();
            let concerned = match saga::concerns(plugin, event).await {
                Ok(concerned) => concerned,
                Err(why) => return Ok(vec![format!("correlate: {why}")]),
            };
            for Correlation { instance, relation } in concerned {
                if matches!(relation, Relation::Advance) && !states.contains_key(&instance) {
                    continue;
                }
                let state = states.remove(&instance);
                let reacted = saga::reacts(plugin, &instance, state.as_deref(), event).await;
                match reacted.and_then(|reaction| reaction.map_err(view::words)) {
                    Ok(reaction) => {
                        commands.extend(reaction.commands);
                        states.extend(reaction.state.map(|state| (instance, state)));
                    }
                    Err(why) => return Ok(vec![format!("react: {why}")]),
                }
            }
        }
        let Some(expected) = &then.commands else { return Ok(Vec::new()) };
        let got: Vec<Value> =
            commands.iter().map(|c| json!({ "command": c.r#type, "data": read(&c.data) })).collect();
        let expected: Vec<Value> =
            expected.iter().map(|c| json!({ "command": c.command, "data": c.data })).collect();
        Ok(differences("commands", &json!(expected), &json!(got)))
    }
}

fn read(data: &Bytes) -> Value {
    serde_json::from_slice(data).unwrap_or_else(|_| json!(text(data)))
}

fn compare_decision(answer: &Answer, then: &Then) -> Vec<String> {
    match (answer, then) {
        (Err(fault), _) => vec![format!("a fault: {}", fault.what)],
        (Ok(Err(rejection)), Then { rejection: Some(code), .. }) if *code == rejection.code => Vec::new(),
        (Ok(Err(rejection)), _) => {
            let expected =
                then.rejection.as_deref().map_or("events".to_owned(), |code| format!("rejection {code}"));
            vec![format!("expected {expected}, got rejection {}: {}", rejection.code, rejection.message)]
        }
        (Ok(Ok(_)), Then { rejection: Some(code), .. }) => {
            vec![format!("expected rejection {code}, got {}", shown(answer))]
        }
        (Ok(Ok(events)), Then { events: Some(expected), .. }) => {
            let one = |r#type: &str, version: u32, data: Option<Value>| match data {
                Some(data) => json!({ "event": r#type, "version": version, "data": data }),
                None => json!({ "event": r#type, "version": version }),
            };
            let wants_data = |n: usize| expected.get(n).is_none_or(|expected| expected.data.is_some());
            let got: Vec<Value> = events
                .iter()
                .enumerate()
                .map(|(n, e)| one(&e.r#type, e.version, wants_data(n).then(|| read(&e.data))))
                .collect();
            let expected: Vec<Value> =
                expected.iter().map(|e| one(&e.event, e.version, e.data.clone())).collect();
            differences("events", &json!(expected), &json!(got))
        }
        (Ok(Ok(_)), _) => Vec::new(),
    }
}

fn compare_view(found: Result<view::View, String>, then: &Then) -> Vec<String> {
    match (found, &then.views) {
        (Err(why), _) => vec![why],
        (Ok(_), None) => Vec::new(),
        (Ok(view), Some(expected)) => {
            let got: serde_json::Map<String, Value> =
                view.iter().map(|(key, value)| (key.clone(), read(value))).collect();
            differences("views", &json!(expected), &json!(got))
        }
    }
}

/// The places at which two values differ, as JSON pointers.
fn differences(at: &str, expected: &Value, got: &Value) -> Vec<String> {
    match (expected, got) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            let missing = Value::String("(nothing)".to_owned());
            keys.into_iter()
                .flat_map(|key| {
                    let sides = (one.get(key).unwrap_or(&missing), other.get(key).unwrap_or(&missing));
                    differences(&format!("{at}/{key}"), sides.0, sides.1)
                })
                .collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.flat_map(|(n, (one, other))| differences(&format!("{at}/{n}"), one, other)).collect()
        }
        (one, other) if one == other => Vec::new(),
        _ => vec![format!("/{at}: expected {expected}, got {got}")],
    }
}

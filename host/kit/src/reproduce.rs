//! Makes a case from a message that a plugin could not process, with as few given events as it still fails on.

use std::time::Duration;

use pelton_core::command::decision;
use pelton_core::command::ports::Isolation;
use pelton_core::message::{Command, RecordedEvent};
use pelton_wasm::{Activation, LoadedPlugin, Plugins};
use serde_json::{Value, json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value as Toml};

use crate::guest::{Handler, History, Projection, Saga};
use crate::inputs::{START, read};
use crate::meter::Meter;
use crate::run::Untestable;
use crate::saga::World;
use crate::shrink;
use crate::update::toml;
use crate::view::{self, View};

/// A message that a plugin could not process, with what happened before.
#[derive(Debug, Clone)]
pub struct Failing {
    /// The name of the case.
    pub name: String,
    /// Lines above the case, as comments.
    pub comment: String,
    /// The events before it, in order: of the entity, or of the stream.
    pub given: Vec<RecordedEvent>,
    /// The message.
    pub input: FailingInput,
}

/// The message.
#[derive(Debug, Clone)]
pub enum FailingInput {
    /// A command for a handler.
    Command(Box<Command>),
    /// An event for a projection or a saga.
    Event(Box<RecordedEvent>),
}

/// Why there is no case.
#[derive(Debug, thiserror::Error)]
pub enum NotReproduced {
    /// The component is not a plugin.
    #[error(transparent)]
    Untestable(#[from] Untestable),
    /// The component lacks the role that the message needs.
    #[error("the component is no {0}")]
    Role(&'static str),
    /// The component does not fail on the message.
    #[error("this component processes it: {0}")]
    Processed(String),
    /// The data cannot be written in a file of cases.
    #[error("it cannot be written as a case: {0}")]
    Unwritable(String),
}

impl Failing {
    /// The text of a file with one case that the component fails on.
    ///
    /// # Errors
    ///
    /// The component does not fail here, or the data cannot be written.
    pub async fn case(
        &self,
        sandbox: &Plugins,
        component: Vec<u8>,
        activation: Activation,
    ) -> Result<String, NotReproduced> {
        let plugin = sandbox.load("plugin", component, activation).await.map_err(Untestable::from)?;
        let meter = Meter::default();
        let fails = |given: &[RecordedEvent], timed: bool| self.fails(&plugin, &meter, given, timed);
        let processed = |what: String| NotReproduced::Processed(what);
        fails(&self.given, true)?.map_err(processed)?;
        // The case has times only if the failure depends on them.
        let timed = !matches!(fails(&self.given, false), Ok(Ok(())));
        let given = shrink::list(&self.given, |some| matches!(fails(some, timed), Ok(Ok(()))));
        self.written(&given, timed).map_err(NotReproduced::Unwritable)
    }

    /// Whether the component fails on these events. The inner error says what it does instead.
    fn fails(
        &self,
        plugin: &LoadedPlugin,
        meter: &Meter,
        given: &[RecordedEvent],
        timed: bool,
    ) -> Result<Result<(), String>, NotReproduced> {
        let given: Vec<RecordedEvent> = given.iter().map(|event| placed(event, timed)).collect();
        match &self.input {
            FailingInput::Command(command) => {
                let handler = plugin.handler().ok_or(NotReproduced::Role("command-handler"))?;
                let mut command = Command::clone(command);
                if !timed {
                    command.time = START;
                }
                let history = History { entity: command.entity.id().to_owned(), events: given };
                let answer = Handler::new(handler, meter).decided(Isolation::Alone, &history, &command);
                Ok(match &answer {
                    Err(_) => Ok(()),
                    Ok(Ok(events)) if decision::check(events, handler_descriptor(handler)).is_err() => Ok(()),
                    Ok(_) => Err(crate::cases::shown(&answer)),
                })
            }
            FailingInput::Event(event) => {
                let event = placed(event, timed);
                if let Some(projection) = plugin.projection() {
                    let projection = Projection::new(projection, meter);
                    let mut view = View::new();
                    let before: Vec<_> = given
                        .into_iter()
                        .filter(|event| event.event.is_of(&projection.descriptor().events))
                        .collect();
                    if view::fold(&projection, &mut view, before.iter().map(std::slice::from_ref)).is_err() {
                        return Ok(Err("it fails before that".to_owned()));
                    }
                    let folded = view::fold(&projection, &mut view, [std::slice::from_ref(&event)]);
                    return Ok(folded.err().map(|_| ()).ok_or_else(|| "it folds the event".to_owned()));
                }
                let saga = plugin.saga().ok_or(NotReproduced::Role("projection and no saga"))?;
                let saga = Saga::new(saga, meter);
                let mut world = World::default();
                for event in &given {
                    if world.event(&saga, event).is_err() {
                        return Ok(Err("it fails before that".to_owned()));
                    }
                }
                let failed = match world.event(&saga, &event) {
                    Err(_) => true,
                    Ok(reacted) => reacted.iter().any(|of| !matches!(of.reaction, Ok(Ok(_)))),
                };
                Ok(if failed { Ok(()) } else { Err("it reacts to the event".to_owned()) })
            }
        }
    }

    fn written(&self, given: &[RecordedEvent], timed: bool) -> Result<String, String> {
        let mut case = Table::new();
        case.insert("name", Item::Value(Toml::from(self.name.as_str())));
        let entity = match &self.input {
            FailingInput::Command(command) => command.entity.id().to_owned(),
            FailingInput::Event(event) => event.event.subject.clone().unwrap_or_default(),
        };
        if !entity.is_empty() {
            case.insert("entity", Item::Value(Toml::from(entity.as_str())));
        }
        let mut before = Array::new();
        for event in given {
            let mut event = Toml::InlineTable(one(event, &entity, timed)?);
            event.decor_mut().set_prefix("\n    ");
            before.push_formatted(event);
        }
        if !before.is_empty() {
            before.set_trailing_comma(true);
            before.set_trailing("\n");
            case.insert("given", Item::Value(Toml::Array(before)));
        }
        let when = match &self.input {
            FailingInput::Command(command) => {
                let after = Duration::from_nanos(command.time.0.saturating_sub(START.0));
                if timed && !after.is_zero() {
                    let after = format!("{}s", after.as_secs());
                    case.insert("after", Item::Value(Toml::from(after)));
                }
                let mut when = InlineTable::new();
                when.insert("command", Toml::from(command.r#type.as_str()));
                when.insert("data", data(&command.data)?);
                when
            }
            FailingInput::Event(event) => one(event, &entity, timed)?,
        };
        case.insert("when", Item::Value(Toml::InlineTable(when)));
        let mut document = DocumentMut::new();
        let mut cases = toml_edit::ArrayOfTables::new();
        let comment: String = self.comment.lines().map(|line| format!("# {line}\n")).collect();
        case.decor_mut().set_prefix(comment);
        cases.push(case);
        document.insert("case", Item::ArrayOfTables(cases));
        Ok(document.to_string())
    }
}

fn handler_descriptor(handler: &pelton_wasm::WasmHandler) -> &pelton_core::command::ports::HandlerDescriptor {
    use pelton_core::command::ports::HandlerPlugin;
    handler.descriptor()
}

/// The event as the case has it: at the start of the case, unless the case has times.
fn placed(event: &RecordedEvent, timed: bool) -> RecordedEvent {
    let mut event = event.clone();
    if !timed {
        (event.recorded_at, event.event.time) = (START, Some(START));
    }
    event
}

fn one(event: &RecordedEvent, entity: &str, timed: bool) -> Result<InlineTable, String> {
    let mut table = InlineTable::new();
    table.insert("event", Toml::from(event.event.r#type.as_str()));
    if event.event.version != 1 {
        table.insert("version", Toml::from(i64::from(event.event.version)));
    }
    if let Some(own) = event.event.subject.as_deref().filter(|own| *own != entity) {
        table.insert("entity", Toml::from(own));
    }
    if timed {
        table.insert("at", Toml::from(event.recorded_at.to_string()));
    }
    table.insert("data", data(&event.event.data)?);
    Ok(table)
}

fn data(bytes: &[u8]) -> Result<Toml, String> {
    match read(bytes) {
        Value::Null => toml(&json!({})),
        value => toml(&value),
    }
}

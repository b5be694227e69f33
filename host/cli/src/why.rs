//! `pelton why`: what led to an event, a command or an entity's state, back to the first cause, and who decided it.

use std::collections::BTreeMap;

use anyhow::anyhow;
use pelton_core::client::CommandStatus;
use pelton_core::command::outcome::Outcome;
use pelton_core::id::CommandId;
use pelton_core::message::Command;
use pelton_core::subject::Entity;
use pelton_nats::commands::{EntityEntry, TracedCommand};
use pelton_nats::{Commands, Nats, PluginStore};
use pelton_wasm::component_of;
use serde_json::{Value, json};

use crate::args::why::WhyArgs;
use crate::config::{Config, HandlerConfig};
use crate::exit::Failure;
use crate::run;
use crate::server;
use crate::terminal::{escaped, say};

/// The most commands that are followed back from one.
const MAX_STEPS: usize = 50;

/// Says it, the last first.
pub(crate) async fn run(arguments: &WhyArgs) -> Result<(), Failure> {
    let (config, nats) = server::connect(&arguments.server).await?;
    let commands = run::commands(&config, &nats, &run::intake(&config));
    let versions = versions(&config, &nats).await;
    let output = Output { json: arguments.server.json, versions };
    if let Some((handler, entity)) = entity(&config, &arguments.what) {
        let entries = commands.entity_entries(&handler.stream, &entity).await;
        let entries = entries.map_err(|error| Failure::Run(error.into()))?;
        if entries.is_empty() {
            output.nothing(handler.stream.as_str(), &entity);
        }
        let hidden = entries.len().saturating_sub(arguments.limit);
        entries.iter().skip(hidden).for_each(|entry| output.entry(handler.stream.as_str(), entry));
        return Ok(());
    }
    let mut next = Some(arguments.what.clone());
    for step in 0..MAX_STEPS {
        let Some(id) = next.take() else { return Ok(()) };
        let found = find(&commands, &id).await.map_err(Failure::Run)?;
        match found {
            Some(traced) => {
                output.command(&traced);
                next = traced.command.and_then(|command| command.causation_id);
            }
            None if step == 0 => {
                let what = "the log of commands has nothing of it: it may be older than `[commands] keep`";
                return Err(Failure::Run(anyhow!("{id} is not an entity of this configuration, and {what}")));
            }
            None => output.unknown(&id),
        }
    }
    Ok(())
}

/// The entity whose subjects begin like this, with a handler that decides on it.
fn entity<'a>(config: &'a Config, prefix: &str) -> Option<(&'a HandlerConfig, Entity)> {
    config.handlers.values().find_map(|handler| Some((handler, handler.entity.entity_at(prefix)?)))
}

/// The command of this id, or that an event of this id followed from: such an id is the command's, and a number.
async fn find(commands: &Commands, id: &str) -> anyhow::Result<Option<TracedCommand>> {
    let of_event = id.rsplit_once(':').map(|(command, _number)| command);
    for candidate in [Some(id), of_event].into_iter().flatten() {
        let Ok(candidate) = CommandId::new(candidate) else { continue };
        if let Some(traced) = commands.trace(&candidate).await? {
            return Ok(Some(traced));
        }
    }
    Ok(None)
}

/// What components in the plugin store are called, by their digests. None are known where there is no store.
async fn versions(config: &Config, nats: &Nats) -> BTreeMap<String, String> {
    let Ok(store) = PluginStore::open(nats, run::is_replicated(config)).await else { return BTreeMap::new() };
    let components = store.components(None).await.unwrap_or_default();
    let called = components.into_iter().map(|component| {
        let name = format!("{}@{}", component.plugin, component.version);
        (component.digest, name)
    });
    called.collect()
}

struct Output {
    json: bool,
    versions: BTreeMap<String, String>,
}

impl Output {
    fn write(&self, json: &Value, text: &str) {
        say(&if self.json { json.to_string() } else { escaped(text) });
    }

    fn nothing(&self, stream: &str, entity: &Entity) {
        let text = format!("stream {stream} has nothing of {}", entity.prefix());
        self.write(&json!({ "stream": stream, "entity": entity.prefix() }), &text);
    }

    fn entry(&self, stream: &str, entry: &EntityEntry) {
        let EntityEntry { sequence, what, event, decided } = entry;
        let why = decided.as_ref().map_or_else(
            || "written by somebody else".to_owned(),
            |(command, digest)| format!("command {command}, decided by {}", self.named(digest)),
        );
        let (command, digest) = decided.clone().unzip();
        let json = json!({
            "stream": stream, "sequence": sequence, "what": what, "event": event, "command": command, "decidedBy": digest,
        });
        self.write(&json, &format!("{stream} {sequence:<8} {what}: {why}"));
    }

    fn command(&self, traced: &TracedCommand) {
        let TracedCommand { command, logged_at, status } = traced;
        let Some(Command { id, r#type, entity, time, correlation_id, causation_id, .. }) = command else {
            return self.write(
                &json!({ "loggedAt": logged_at }),
                &format!("message {logged_at} of COMMANDS is not a command"),
            );
        };
        let (json_end, end) = self.end(status);
        let entity = entity.prefix();
        let json = json!({
            "command": id, "type": r#type, "entity": entity, "loggedAt": logged_at, "time": time.to_string(),
            "correlationId": correlation_id, "causationId": causation_id, "end": json_end,
        });
        let mut text = format!("command  {id}: {type} for {entity}, COMMANDS {logged_at}, {time}\n{end}");
        match causation_id {
            Some(cause) => text += &format!("\nbecause  of {cause}"),
            None => text += "\nbecause  a client sent it",
        }
        self.write(&json, &text);
    }

    fn end(&self, status: &CommandStatus) -> (Value, String) {
        match status {
            CommandStatus::Ended(record) => {
                let decided = self.named(&record.decided_by);
                let end = match &record.outcome {
                    Outcome::Accepted { events } if events.is_empty() => {
                        "accepted, and nothing changed".to_owned()
                    }
                    Outcome::Accepted { events } => {
                        let events = events.iter().map(|event| {
                            format!(
                                "{} v{} ({} {}, {})",
                                event.r#type, event.version, event.stream, event.sequence, event.id
                            )
                        });
                        format!("accepted: {}", events.collect::<Vec<_>>().join(", "))
                    }
                    Outcome::Rejected { rejection } => {
                        format!("rejected: {}, {}", rejection.code, rejection.message)
                    }
                    Outcome::Failed { cause } => format!("failed: {cause}"),
                };
                (json!(record), format!("end      {end}\ndecided  by {decided}"))
            }
            CommandStatus::Pending => (json!("pending"), "end      none yet".to_owned()),
            CommandStatus::Parked(parked) => (json!("parked"), format!("end      none: {}", parked.cause)),
            CommandStatus::Unreadable(why) => (json!("unreadable"), format!("end      none: {why}")),
            CommandStatus::Unknown => (json!("unknown"), "end      nobody knows".to_owned()),
        }
    }

    /// A version by its digest, and what its component is called in the plugin store.
    fn named(&self, digest: &str) -> String {
        match self.versions.get(component_of(digest)) {
            Some(version) => format!("{version} ({digest})"),
            None => digest.to_owned(),
        }
    }

    fn unknown(&self, id: &str) {
        self.write(
            &json!({ "unknown": id }),
            &format!("{id} is neither a command of the log nor an event of one"),
        );
    }
}

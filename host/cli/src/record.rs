//! `pelton record`: writes the messages of an event stream to a file, with the commands that led to them.

use std::fs::File;
use std::io::BufWriter;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pelton_core::id::{Name, Sequence};
use pelton_core::intake::Intake;
use pelton_core::message::Fingerprint;
use pelton_core::store::Unavailable;
use pelton_core::subject::Entity;
use pelton_kit::recording::{Cause, Header, Kind, Message, Writer};
use pelton_nats::Nats;
use pelton_nats::recording::{self, Page, Stored};
use serde_json::Value;

use crate::args::record::RecordArgs;
use crate::config::{Config, HandlerConfig, check_pointer};
use crate::exit::Failure;
use crate::run::is_replicated;
use crate::server;
use crate::terminal::say;

/// Records a stream.
pub(crate) async fn run(arguments: &RecordArgs) -> Result<(), Failure> {
    for pointer in &arguments.redact {
        check_pointer(pointer)
            .map_err(|(_, wrong)| Failure::Usage(format!("--redact: {pointer:?} {wrong}")))?;
    }
    let (config, nats) = server::connect(&arguments.server).await?;
    let recorder = Recorder::of(&config, &nats, arguments).map_err(Failure::Run)?;
    let file =
        arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.recording", arguments.stream)));
    let messages = recorder.write(&file).await.map_err(Failure::Run)?;
    say(&format!("{messages} messages are in {}; try: pelton test PLUGIN.wasm --replay it", file.display()));
    Ok(())
}

struct Recorder<'a> {
    nats: &'a Nats,
    stream: Name,
    entity: Option<Entity>,
    intake: Intake,
    replicated: bool,
    redaction: Redaction,
}

impl<'a> Recorder<'a> {
    fn of(config: &Config, nats: &'a Nats, arguments: &RecordArgs) -> anyhow::Result<Self> {
        let RecordArgs { stream, entity, redact, .. } = arguments;
        let known = config.streams.keys().find(|name| name.as_str() == stream);
        let stream = known.cloned().with_context(|| {
            let known: Vec<&str> = config.streams.keys().map(Name::as_str).collect();
            format!("the configuration has no stream {stream:?}; it has {}", known.join(", "))
        })?;
        let handlers = || config.handlers.values().filter(|handler| handler.stream == stream);
        let find = |prefix: &String| handlers().find_map(|handler| handler.entity.entity_at(prefix));
        let entity = match entity {
            Some(prefix) => Some(find(prefix).with_context(|| {
                let templates: Vec<String> = handlers().map(|handler| handler.entity.to_string()).collect();
                format!(
                    "{prefix:?} is not an entity of the stream {stream}; its entities are {}",
                    templates.join(", ")
                )
            })?),
            None => None,
        };
        let routes = handlers().flat_map(HandlerConfig::routes);
        let intake = Intake::new(routes.map(|(r#type, route)| (r#type.to_string(), route)).collect());
        let redaction = Redaction { pointers: redact.clone(), salt: fastrand::u64(..) };
        Ok(Self { nats, stream, entity, intake, replicated: is_replicated(config), redaction })
    }

    /// Writes the file beside its place, and puts it there once it is whole.
    async fn write(&self, file: &Path) -> anyhow::Result<u64> {
        let half = file.with_extension("half");
        let cannot = || format!("cannot write {}", file.display());
        let written = self.write_to(&half).await;
        if written.is_err() {
            let _ = std::fs::remove_file(&half);
        }
        let messages = written.with_context(cannot)?;
        std::fs::rename(&half, file).with_context(cannot)?;
        Ok(messages)
    }

    async fn write_to(&self, file: &Path) -> anyhow::Result<u64> {
        let entity = self.entity.as_ref().map(|entity| entity.prefix().to_owned());
        let header = Header::new(self.stream.as_str(), entity, self.redaction.pointers.clone(), &self.intake);
        let mut writer = Writer::begin(BufWriter::new(File::create(file)?), header)?;
        // Events are read first, or the log would lack the commands of those that are stored meanwhile. They are written last.
        let up_to = recording::last(self.nats, &self.stream).await?;
        let last_command = recording::last_command(self.nats).await?;
        let mut next = Some(Sequence(1));
        while let Some(from) = next {
            let Page { messages, next: after } =
                recording::commands(self.nats, from..=last_command, self.replicated).await?;
            next = after;
            for Stored { message, .. } in messages {
                let command = self.intake.decode(&message);
                let wanted = |entity: &Entity| self.entity.as_ref().is_none_or(|only| only == entity);
                if command.is_ok_and(|command| wanted(&command.entity)) {
                    let payload = self.redaction.apply(&message.payload);
                    writer.add(Kind::Command, Message::new(&message, None, &payload))?;
                }
            }
        }
        let mut next = Some(Sequence(1));
        while let Some(from) = next {
            let Page { messages, next: after } = self.events(from..=up_to).await?;
            next = after;
            for Stored { message, is_mark, cause } in messages {
                let cause = cause.map(|cause| Cause {
                    command: cause.command,
                    events: cause.events,
                    decided_by: cause.decided_by,
                });
                let kind = if is_mark { Kind::Mark } else { Kind::Event };
                writer.add(kind, Message::new(&message, cause, &self.redaction.apply(&message.payload)))?;
            }
        }
        Ok(writer.end()?)
    }

    async fn events(&self, part: RangeInclusive<Sequence>) -> Result<Page, Unavailable> {
        recording::events(self.nats, &self.stream, self.entity.as_ref(), part, self.replicated).await
    }
}

/// Replaces values by others that are equal where they were.
struct Redaction {
    pointers: Vec<String>,
    /// So that nobody finds a value by trying.
    salt: u64,
}

impl Redaction {
    /// The data with other values at the pointers. What is no JSON, and has none of them, stays byte for byte.
    fn apply(&self, data: &[u8]) -> Vec<u8> {
        let Ok(mut json) = serde_json::from_slice::<Value>(data) else { return data.to_vec() };
        let mut changed = false;
        for pointer in &self.pointers {
            if let Some(place) = json.pointer_mut(pointer)
                && let Some(other) = self.other(place)
            {
                *place = other;
                changed = true;
            }
        }
        if changed { json.to_string().into_bytes() } else { data.to_vec() }
    }

    /// `None`: the value has nothing to hide.
    fn other(&self, value: &Value) -> Option<Value> {
        let digits = Fingerprint::of(&[&self.salt.to_be_bytes(), value.to_string().as_bytes()]).0;
        match value {
            Value::Null | Value::Bool(_) => None,
            Value::Number(_) => u32::from_str_radix(&digits[..7], 16).ok().map(Value::from),
            Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Some(Value::String(format!("redacted-{}", &digits[..12])))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_stay_equal_and_the_rest_stays_as_it_is() {
        let redaction = Redaction { pointers: vec!["/guest/name".to_owned(), "/n".to_owned()], salt: 7 };
        let of = |text: &str| String::from_utf8(redaction.apply(text.as_bytes())).unwrap();
        for untouched in ["{ \"a\": 1.50 }", "not json", "{\"guest\": null}"] {
            assert_eq!(of(untouched), untouched);
        }
        let (one, same, other) = (
            of(r#"{"guest":{"name":"Ann"}}"#),
            of(r#"{"guest":{"name":"Ann"},"n":3}"#),
            of(r#"{"guest":{"name":"Bob"}}"#),
        );
        let name = |text: &str| serde_json::from_str::<Value>(text).unwrap()["guest"]["name"].clone();
        assert!(
            !same.contains("Ann") && name(&one).as_str().is_some_and(|name| name.starts_with("redacted-"))
        );
        assert_eq!(name(&one), name(&same));
        assert_ne!(name(&one), name(&other));
        assert!(serde_json::from_str::<Value>(&same).unwrap()["n"].is_u64());
    }
}

//! `pelton dlq case`: makes a case for `pelton test` of a dead letter, as small as the plugin still fails on it.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind};
use pelton_core::id::{Name, Sequence};
use pelton_core::message::RecordedEvent;
use pelton_core::recorded;
use pelton_core::subject::Entity;
use pelton_kit::{Failing, FailingInput};
use pelton_nats::dead_letters::KeptDeadLetter;
use pelton_nats::recording::{self, Page, Stored};
use pelton_wasm::{Plugins, Settings};

use super::client::DlqClient;
use crate::args::dlq::CaseArgs;
use crate::compile;
use crate::config::{Config, PluginConfig};
use crate::exit::Failure;
use crate::run;
use crate::terminal::say;

/// The most events before the message that are looked at.
const MAX_GIVEN: usize = 10_000;

/// Writes the case.
pub(super) async fn run(arguments: &CaseArgs) -> Result<(), Failure> {
    let client = DlqClient::open(&arguments.server).await?;
    let kept = client.read(arguments.dead_letter).await?;
    if kept.dead_letter.kind == DeadLetterKind::Parked {
        return Err(Failure::Run(anyhow!(
            "dead letter {} waits behind another one and has not failed; take that one",
            kept.sequence
        )));
    }
    let text = case(&client, &kept, arguments.plugin.as_deref()).await.map_err(Failure::Run)?;
    let file = arguments.out.clone();
    let file = file.unwrap_or_else(|| PathBuf::from(format!("dead-letter-{}.toml", kept.sequence)));
    if file.exists() {
        return Err(Failure::Run(anyhow!("{} already exists; use --out FILE", file.display())));
    }
    let written = std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()));
    written.map_err(Failure::Run)?;
    say(&format!("{} fails as the message did; say in it what should follow instead", file.display()));
    Ok(())
}

async fn case(client: &DlqClient, kept: &KeptDeadLetter, file: Option<&Path>) -> anyhow::Result<String> {
    let DlqClient { config, .. } = client;
    let letter = &kept.dead_letter;
    let consumer = Consumer::find(config, &letter.consumer).with_context(|| {
        format!("the configuration has no handler, projection or saga {}", letter.consumer)
    })?;
    let plugin = config.plugins.get(consumer.plugin).context("the configuration has no such plugin")?;
    let component = component(plugin, file)?;
    let bytes = tokio::fs::read(&component).await.with_context(|| component.display().to_string())?;
    let failing = match consumer.is_handler {
        true => command(client, kept, consumer.stream).await?,
        false => event(client, letter, consumer.stream).await?,
    };
    let sandbox = Plugins::new(&Settings { compiler: compile::program(), ..Settings::default() })
        .context("the sandbox cannot be set up")?;
    let made = failing.case(&sandbox, bytes, plugin.activation()).await;
    made.with_context(|| format!("{} makes no case of dead letter {}", component.display(), kept.sequence))
}

fn component(plugin: &PluginConfig, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = named.map(Path::to_owned).or_else(|| plugin.component.clone());
    file.context("the configuration names no file for the plugin; use --plugin FILE")
}

/// A handler, projection or saga.
struct Consumer<'a> {
    plugin: &'a Name,
    stream: &'a Name,
    is_handler: bool,
}

impl<'a> Consumer<'a> {
    fn find(config: &'a Config, id: &str) -> Option<Self> {
        let handlers = config.handlers.values().map(|of| (of.id.as_str(), &of.plugin, &of.stream, true));
        let projections =
            config.projections.iter().map(|(name, of)| (name.as_str(), &of.plugin, &of.stream, false));
        let sagas = config.sagas.values().map(|of| (of.id.as_str(), &of.plugin, &of.stream, false));
        let (_, plugin, stream, is_handler) =
            handlers.chain(projections).chain(sagas).find(|(known, ..)| *known == id)?;
        Some(Self { plugin, stream, is_handler })
    }
}

async fn command(client: &DlqClient, kept: &KeptDeadLetter, stream: &Name) -> anyhow::Result<Failing> {
    let letter = &kept.dead_letter;
    let command = run::intake(&client.config)
        .decode(&letter.message)
        .context("the message is not a command, so no plugin has failed on it")?;
    let mut given = events(client, stream, Some(&command.entity), Sequence(u64::MAX)).await?;
    given.retain(|event| event.recorded_at < kept.kept_at);
    let name = format!("dead letter {}: {}", kept.sequence, command.r#type);
    Ok(Failing { name, comment: comment(letter), given, input: FailingInput::Command(Box::new(command)) })
}

async fn event(client: &DlqClient, letter: &DeadLetter, stream: &Name) -> anyhow::Result<Failing> {
    let message = &letter.message;
    if message.stream != *stream {
        bail!("the message is a timer or an outcome of a saga; a case has these as steps, write it by hand");
    }
    let event =
        recorded::of_message(&stream.as_str().into(), message).context("the message is not an event")?;
    let prefix = message.subject.rsplitn(3, '.').nth(2).unwrap_or_default();
    let entity = client.config.handlers.values().find_map(|handler| handler.entity.entity_at(prefix));
    let given = events(client, stream, entity.as_ref(), message.sequence).await?;
    let name = format!("dead letter of {}: {} at {}", letter.consumer, event.event.r#type, message.sequence);
    Ok(Failing { name, comment: comment(letter), given, input: FailingInput::Event(Box::new(event)) })
}

/// The cause without a backtrace.
fn comment(letter: &DeadLetter) -> String {
    letter.cause.lines().next().unwrap_or_default().to_owned()
}

/// The events before a sequence: of the entity, or of the stream.
async fn events(
    client: &DlqClient,
    stream: &Name,
    entity: Option<&Entity>,
    before: Sequence,
) -> anyhow::Result<Vec<RecordedEvent>> {
    let last = Sequence(before.0.saturating_sub(1));
    let (mut events, mut next) = (Vec::new(), Some(Sequence(1)));
    while let Some(from) = next {
        let page =
            recording::events(&client.nats, stream, entity, from..=last, client.is_replicated()).await?;
        let Page { messages, next: after } = page;
        next = after;
        for Stored { message, is_mark, .. } in messages {
            if is_mark {
                continue;
            }
            events.push(recorded::of_message(&stream.as_str().into(), &message)?);
            if events.len() > MAX_GIVEN {
                bail!("more than {MAX_GIVEN} events lie before the message");
            }
        }
    }
    Ok(events)
}

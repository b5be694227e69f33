//! The gate's steps `smoke` and `restored = replayed`: a version decides the last commands, on entities as they are, and folds
//! the last events; and what has become a dead letter under the version before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::{Name, Sequence};
use pelton_core::intake::Intake;
use pelton_core::message::{Command, RecordedEvent};
use pelton_core::recorded;
use pelton_core::subject::Entity;
use pelton_kit::rehearsal::{self, Rehearsed, Sample};
use pelton_nats::dead_letters::{self, Filter};
use pelton_nats::plugin_store::Verdict;
use pelton_nats::recording::{self, Page};
use pelton_wasm::LoadedPlugin;

use super::client::Client;
use crate::config::HandlerConfig;
use crate::run::is_replicated;

/// The most commands of a handler that are decided.
const MAX_COMMANDS: usize = 200;
/// How far back in the log commands are looked for, in messages.
const LOOK_BACK: u64 = 5_000;
/// How many of them are read before it is seen whether these are enough.
const LOOK_AT_ONCE: u64 = 500;
/// An entity with more events is left out.
const MAX_EVENTS: usize = 2_000;
/// The last messages of a stream that projections and sagas are given.
const LAST_MESSAGES: u64 = 300;
/// After this time no further entity is read: whoever activates a version waits for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// A rehearsal of a version.
pub(super) struct Rehearsal<'a> {
    pub(super) client: &'a Client,
    pub(super) plugin: &'a Name,
    pub(super) new: &'a LoadedPlugin,
    /// What runs now.
    pub(super) old: Option<&'a LoadedPlugin>,
}

impl Rehearsal<'_> {
    /// The verdicts.
    pub(super) async fn verdicts(&self) -> anyhow::Result<Vec<Verdict>> {
        let (until, config) = (Instant::now() + PATIENCE, &self.client.config);
        let mut all = Rehearsed::default();
        let (mut letters, mut passing) = (0, 0);
        // Before the first start there is neither a log nor a stream of dead letters.
        let has_log = recording::last_command(&self.client.nats).await? != Sequence::NONE;
        let handlers = config.handlers.values().filter(|handler| has_log && handler.plugin == *self.plugin);
        for handler in handlers {
            let commands = self.commands(handler).await?;
            let samples = self.samples(handler, commands, until).await?;
            add(&mut all, rehearsal::of_handler(self.new, self.old, &samples));
            let failed = self.dead_letters(handler).await?;
            let samples = self.samples(handler, failed, until).await?;
            let rehearsed = rehearsal::of_handler(self.new, None, &samples);
            letters += rehearsed.tried;
            passing += rehearsed.tried - rehearsed.broke.len();
        }
        let projections = config.projections.values().map(|of| (&of.plugin, &of.stream));
        let sagas = config.sagas.values().map(|of| (&of.plugin, &of.stream));
        for (_, stream) in projections.chain(sagas).filter(|(plugin, _)| *plugin == self.plugin) {
            let events = self.last_events(stream).await?;
            add(&mut all, rehearsal::of_readers(self.new, self.old, &events));
        }
        let mut verdicts = vec![smoke(&all)];
        verdicts.extend(restored(&all));
        if letters > 0 {
            let found = format!("{passing} of {letters} would pass now");
            verdicts.push(Verdict { step: "dead letters".to_owned(), passed: true, found });
        }
        Ok(verdicts)
    }

    /// The last commands of a handler.
    async fn commands(&self, handler: &HandlerConfig) -> anyhow::Result<Vec<Command>> {
        let Client { nats, config, .. } = self.client;
        let intake =
            Intake::new(handler.routes().map(|(r#type, route)| (r#type.to_string(), route)).collect());
        let last = recording::last_command(nats).await?;
        let (mut found, mut end) = (Vec::new(), last.0);
        while found.len() < MAX_COMMANDS && end > last.0.saturating_sub(LOOK_BACK) {
            let begin = end.saturating_sub(LOOK_AT_ONCE);
            let (mut earlier, mut next) = (Vec::new(), Some(Sequence(begin + 1)));
            while let Some(from) = next {
                let page = recording::commands(nats, from..=Sequence(end), is_replicated(config)).await?;
                earlier.extend(page.messages.iter().filter_map(|stored| intake.decode(&stored.message).ok()));
                next = page.next;
            }
            earlier.append(&mut found);
            (found, end) = (earlier, begin);
        }
        let surplus = found.len().saturating_sub(MAX_COMMANDS);
        found.drain(..surplus);
        Ok(found)
    }

    /// The commands of a handler that have failed.
    async fn dead_letters(&self, handler: &HandlerConfig) -> anyhow::Result<Vec<Command>> {
        let Client { nats, config, .. } = self.client;
        let intake =
            Intake::new(handler.routes().map(|(r#type, route)| (r#type.to_string(), route)).collect());
        let filter = Filter {
            consumer: Some(handler.id.to_string()),
            kind: Some(DeadLetterKind::Failed),
            ..Filter::default()
        };
        let (mut found, mut next) = (Vec::new(), Some(Sequence(1)));
        while let Some(from) = next.filter(|_| found.len() < MAX_COMMANDS) {
            let page = dead_letters::page(nats, &filter, from, is_replicated(config)).await?;
            for letter in page.dead_letters {
                let whole = dead_letters::read(nats, letter.sequence).await?;
                found.extend(whole.and_then(|whole| intake.decode(&whole.dead_letter.message).ok()));
            }
            next = page.next;
        }
        found.truncate(MAX_COMMANDS);
        Ok(found)
    }

    /// The commands with their entities.
    async fn samples(
        &self,
        handler: &HandlerConfig,
        commands: Vec<Command>,
        until: Instant,
    ) -> anyhow::Result<Vec<Sample>> {
        let mut entities: HashMap<Entity, Vec<Command>> = HashMap::new();
        for command in commands {
            entities.entry(command.entity.clone()).or_default().push(command);
        }
        let mut samples = Vec::new();
        for (entity, commands) in entities {
            if Instant::now() > until {
                break;
            }
            if let Some(events) = self.events(&handler.stream, &entity).await? {
                samples.push(Sample { entity: entity.id().to_owned(), events, commands });
            }
        }
        Ok(samples)
    }

    /// All events of an entity. `None`: there are too many.
    async fn events(&self, stream: &Name, entity: &Entity) -> anyhow::Result<Option<Vec<RecordedEvent>>> {
        let Client { nats, config, .. } = self.client;
        let last = recording::last(nats, stream).await?;
        let (mut events, mut next) = (Vec::new(), Some(Sequence(1)));
        while let Some(from) = next {
            let page =
                recording::events(nats, stream, Some(entity), from..=last, is_replicated(config)).await?;
            next = page.next;
            events.extend(read(stream, page));
            if events.len() > MAX_EVENTS {
                return Ok(None);
            }
        }
        Ok(Some(events))
    }

    async fn last_events(&self, stream: &Name) -> anyhow::Result<Vec<RecordedEvent>> {
        let Client { nats, config, .. } = self.client;
        let last = recording::last(nats, stream).await?;
        let (mut events, mut next) = (
            Vec::new(),
            Some(Sequence(last.0.saturating_sub(LAST_MESSAGES) + 1)).filter(|from| *from <= last),
        );
        while let Some(from) = next {
            let page = recording::events(nats, stream, None, from..=last, is_replicated(config)).await?;
            next = page.next;
            events.extend(read(stream, page));
        }
        Ok(events)
    }
}

/// The events of a page. What cannot be read is left to whoever meets it.
fn read(stream: &Name, page: Page) -> impl Iterator<Item = RecordedEvent> {
    let stream = stream.as_str().into();
    let events = page.messages.into_iter().filter(|stored| !stored.is_mark);
    events.filter_map(move |stored| recorded::of_message(&stream, &stored.message).ok())
}

fn add(all: &mut Rehearsed, more: Rehearsed) {
    all.tried += more.tried;
    all.broke.extend(more.broke);
    all.differs.extend(more.differs);
    if let Some(restored) = more.restored {
        *all.restored.get_or_insert_default() += restored;
    }
}

fn smoke(Rehearsed { tried, broke, .. }: &Rehearsed) -> Verdict {
    let found = match broke.first() {
        None if *tried == 0 => "not tested: there are no commands and events yet".to_owned(),
        None => format!("{tried} of the last commands and events"),
        Some(first) => {
            format!("breaks on {} of {tried}, where the version that runs does not: {first}", broke.len())
        }
    };
    Verdict { step: "smoke".to_owned(), passed: broke.is_empty(), found }
}

/// `None`: no entity is taken over.
fn restored(Rehearsed { restored, differs, .. }: &Rehearsed) -> Option<Verdict> {
    let restored = (*restored)?;
    let found = match differs.first() {
        None => format!("{restored} of {restored}"),
        Some(first) => format!(
            "{} of {restored} commands are decided otherwise on a snapshot of the version that runs; raise state-version: {first}",
            differs.len()
        ),
    };
    Some(Verdict { step: "restored = replayed".to_owned(), passed: differs.is_empty(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_or_differs_is_refused_with_its_first_command() {
        let fine = Rehearsed { tried: 3, restored: Some(2), ..Rehearsed::default() };
        assert!(smoke(&fine).passed && restored(&fine).is_some_and(|verdict| verdict.passed));
        assert_eq!(restored(&Rehearsed::default()), None);
        assert!(smoke(&Rehearsed::default()).found.starts_with("not tested"));
        let bad = Rehearsed { broke: vec!["a".to_owned()], differs: vec!["b".to_owned()], ..fine };
        assert!(!smoke(&bad).passed && smoke(&bad).found.ends_with(": a"));
        let differs = restored(&bad).unwrap();
        assert!(!differs.passed && differs.found.contains("raise state-version: b"), "{differs:?}");
    }
}

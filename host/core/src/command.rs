//! The path of a command, from the message to the outcome.
//!
//! What makes it exactly once: the outcome under the command's id is looked up before deciding; the entity's history
//! knows the commands that took effect; an append is made only on the state that was decided on; an answer that stores
//! nothing is given only on the state that the leader has; and the message is let go of last.

use std::sync::Arc;

use crate::dead_letter::{DeadLetter, DeadLetterKind};
use crate::decision;
use crate::entity::{CacheLimits, EntityCache, LiveEntity};
use crate::id::{Name, Sequence};
use crate::intake::IntakeError;
use crate::message::{Command, Event, Incoming, NewEvent, RecordedEvent, Rejection};
use crate::outcome::{Outcome, OutcomeRecord};
use crate::ports::{AppendError, Cause, CommandStore, EntityInstance, HandlerPlugin, StoredEvent};
use crate::settle::{RetryPolicy, Settlement, Stop, Verdict};
use crate::subject::Entity;

/// How often a command is decided again at once because its entity changed meanwhile. After that its message is
/// handed out again later.
pub const MAX_CONFLICTS: u32 = 8;

/// A command handler at work.
#[derive(Debug)]
pub struct CommandFlow<P: HandlerPlugin, S> {
    name: Name,
    stream: Arc<str>,
    plugin: P,
    store: Arc<S>,
    retry: RetryPolicy,
    entities: EntityCache<P::Instance>,
}

impl<P: HandlerPlugin, S: CommandStore> CommandFlow<P, S> {
    /// A handler of this name, whose entities' events are in this stream of the configuration.
    pub fn new(
        name: Name,
        stream: Arc<str>,
        plugin: P,
        store: Arc<S>,
        retry: RetryPolicy,
        cache: CacheLimits,
    ) -> Self {
        Self { name, stream, plugin, store, retry, entities: EntityCache::new(cache) }
    }

    /// Handles one message and says what becomes of it. Commands of one entity must come one after the other.
    pub async fn handle(&self, message: &Incoming, command: Result<Command, IntakeError>) -> Settlement {
        let command = match command {
            Ok(command) => command,
            Err(error) => return self.stopped(message, None, error.into()).await,
        };
        match self.outcome_of(&command).await {
            Ok(outcome) => {
                self.announce(&command, &outcome).await;
                Settlement::Ack
            }
            Err(stop) => self.stopped(message, Some(&command), stop).await,
        }
    }

    /// The first outcome of this command id, reached now if there was none.
    ///
    /// It is decided on the entity's state, again and again until nobody came in between. The recorded outcome is looked
    /// up after the state has been read: what another host rejected on an older state is recorded by then, unless that
    /// host is between confirming and recording it at this very moment (see the known gaps in the changelog).
    async fn outcome_of(&self, command: &Command) -> Result<OutcomeRecord, Stop> {
        let mut entity = match self.entities.take(&command.entity) {
            Some(entity) => entity,
            None => self.load(&command.entity).await?,
        };
        for _ in 0..MAX_CONFLICTS {
            let outcome = match self.store.outcome(&command.id).await? {
                Some(first) => Some(first),
                None => self.decide(&mut entity, command).await?,
            };
            if let Some(outcome) = outcome {
                self.entities.put(command.entity.clone(), entity);
                return Ok(outcome.answer_to(command));
            }
        }
        Err(Stop::Contended(MAX_CONFLICTS))
    }

    /// Decides once and stores what follows from it. None: the entity has moved on, or may have.
    async fn decide(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<Option<OutcomeRecord>, Stop> {
        let digest = self.plugin.digest();
        let mut reached = entity.effect_of(command, digest);
        if reached.is_none() {
            reached = match self.decision(entity, command).await? {
                Decision::Store(events) => {
                    self.append(entity, command, events).await?;
                    entity.effect_of(command, digest)
                }
                Decision::Answer(outcome) => {
                    let stands = self.confirm(entity, command).await?;
                    stands.then(|| OutcomeRecord::new(command, digest, outcome))
                }
            };
        }
        match reached {
            Some(outcome) => Ok(Some(self.store.record(outcome).await?)),
            None => Ok(None),
        }
    }

    async fn load(&self, entity: &Entity) -> Result<LiveEntity<P::Instance>, Stop> {
        let events = self.store.load(entity).await?;
        let mut live = LiveEntity::new(self.plugin.create(entity.id()).await);
        live.fold(events).await;
        Ok(live)
    }

    async fn decision(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<Decision, Stop> {
        if let Some(expected) = command.expected.filter(|expected| *expected != entity.at()) {
            let message =
                format!("the sender expects the entity at sequence {expected}; it is at {}", entity.at());
            let rejection = Rejection::new(Rejection::VERSION_MISMATCH, message);
            return Ok(Decision::Answer(Outcome::Rejected { rejection }));
        }
        match entity.instance()?.decide(command).await? {
            Err(rejection) => Ok(Decision::Answer(Outcome::Rejected { rejection })),
            Ok(events) if events.is_empty() => Ok(Decision::Answer(Outcome::Accepted { events: Vec::new() })),
            Ok(events) => {
                decision::check(&events, self.plugin.descriptor()).map_err(|what| self.plugin.fault(what))?;
                Ok(Decision::Store(events))
            }
        }
    }

    /// Appends the events on the state they were decided on. Where the entity has moved on, or may have, it takes in what
    /// is there now: its history then tells whether they were stored.
    async fn append(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
        events: Vec<NewEvent>,
    ) -> Result<(), Stop> {
        let digest = self.plugin.digest();
        let events = decision::events_to_store(events, command, self.name.as_str(), digest, entity.history());
        let stored: Vec<Event> = events.iter().map(|e| e.event.clone()).collect();
        match self.store.append(&command.entity, entity.at(), events).await {
            Ok(sequences) => {
                entity.fold(self.as_stored(command, stored, &sequences)).await;
                Ok(())
            }
            Err(AppendError::Conflict) => self.catch_up(entity, command).await,
            Err(AppendError::Unclear(why)) => {
                tracing::info!(command = %command.id, entity = command.entity.prefix(), "reading the entity again: {why}");
                self.catch_up(entity, command).await
            }
            Err(AppendError::Refused(why)) => Err(self.plugin.fault(format!("its events: {why}")).into()),
        }
    }

    /// Whether the leader has nothing that this entity has not folded. It folds what there is.
    async fn confirm(&self, entity: &mut LiveEntity<P::Instance>, command: &Command) -> Result<bool, Stop> {
        let before = entity.at();
        self.catch_up(entity, command).await?;
        Ok(entity.at() == before)
    }

    async fn catch_up(&self, entity: &mut LiveEntity<P::Instance>, command: &Command) -> Result<(), Stop> {
        let events = self.store.since(&command.entity, entity.at()).await?;
        entity.fold(events).await;
        Ok(())
    }

    fn as_stored(&self, command: &Command, events: Vec<Event>, sequences: &[Sequence]) -> Vec<StoredEvent> {
        let cause = Cause { command: command.id.clone(), fingerprint: command.fingerprint.clone() };
        let stored = events.into_iter().zip(sequences).map(|(event, &sequence)| StoredEvent {
            recorded: RecordedEvent {
                event,
                stream: self.stream.clone(),
                sequence,
                recorded_at: command.time,
            },
            cause: Some(cause.clone()),
            history: None,
        });
        stored.collect()
    }

    async fn announce(&self, command: &Command, outcome: &OutcomeRecord) {
        if let Some(reply_to) = &command.reply_to {
            self.store.announce(reply_to, outcome).await;
        }
    }

    /// What becomes of a message that was not processed: tried again, or set aside with its cause.
    async fn stopped(&self, message: &Incoming, command: Option<&Command>, stop: Stop) -> Settlement {
        match self.retry.verdict(&stop, message.attempt) {
            Verdict::Retry(delay) => {
                tracing::warn!(handler = %self.name, sequence = %message.sequence, attempt = message.attempt, ?delay, "will be tried again: {stop}");
                Settlement::RetryAfter(delay)
            }
            Verdict::SetAside => match self.set_aside(message, command, &stop).await {
                Ok(()) => Settlement::Terminate(stop.to_string()),
                Err(away) => {
                    tracing::warn!(handler = %self.name, sequence = %message.sequence, "will be tried again: {away}");
                    Settlement::RetryAfter(self.retry.delay(message.attempt))
                }
            },
        }
    }

    async fn set_aside(
        &self,
        message: &Incoming,
        command: Option<&Command>,
        stop: &Stop,
    ) -> Result<(), Stop> {
        tracing::error!(handler = %self.name, stream = %message.stream, sequence = %message.sequence, "set aside: {stop}");
        self.store
            .set_aside(DeadLetter {
                consumer: self.name.to_string(),
                key: command.map(|c| c.entity.prefix().to_owned()),
                kind: DeadLetterKind::Failed,
                message: message.clone(),
                cause: stop.to_string(),
                digest: Some(self.plugin.digest().to_owned()),
            })
            .await?;
        if let Some(command) = command {
            let failed = OutcomeRecord::new(
                command,
                self.plugin.digest(),
                Outcome::Failed { cause: stop.to_string() },
            );
            let stands = self.store.record(failed).await?.answer_to(command);
            self.announce(command, &stands).await;
        }
        Ok(())
    }
}

enum Decision {
    /// To be stored on the state that it was decided on.
    Store(Vec<NewEvent>),
    /// To be given if the state it was decided on is the present one.
    Answer(Outcome),
}

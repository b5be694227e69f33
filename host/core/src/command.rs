//! The path of a command, from the message to the outcome.
//!
//! What makes it exactly once: the entity's history knows the commands that took effect; an append is made only on the
//! state that was decided on; an outcome that stores no events is recorded only over a claim of the command's id that
//! was made before the leader still had that state; and the message is let go of last.
//!
//! Why no copy of a command can append after another was rejected, though events and outcomes lie in two streams: a host
//! that appends has looked the id up after it had read the state, and writes a claim first where it found one. So if it
//! looked before the other host's claim, then its state is no newer than the one that the other found unchanged after
//! the claim: its append either was seen there, or comes on that very state, on which both decide the same. And if it
//! looked after the claim, then its own claim bars the rejection, or the rejection is what it found.

mod ahead;
pub mod backlinks;
pub mod decision;
pub mod dedup;
pub mod entity;
pub mod history;
pub mod lanes;
mod load;
pub mod outcome;
mod parking;
pub mod ports;
pub mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::command::entity::{CacheLimits, EntityCache, LiveEntity};
use crate::command::outcome::{Answer, Claim, Entry, Outcome, OutcomeRecord, Registered, Revision};
use crate::command::ports::{AppendError, Cause, CommandStore, EntityInstance, HandlerPlugin, StoredEvent};
use crate::command::snapshot::SnapshotPolicy;
use crate::consumer::Settlement;
use crate::dead_letter::{DeadLetter, DeadLetterKind, DeadLetters, OnFailure};
use crate::id::{Name, Sequence};
use crate::intake::IntakeError;
use crate::message::{Command, Event, Incoming, NewEvent, RecordedEvent, Rejection};
use crate::retry::{Failures, NotProcessed, RetryPolicy, Verdict};
use crate::store::Unavailable;
use crate::telemetry;
use load::Snapshots;

pub use load::{MAX_SNAPSHOTS_IN_HAND, TakenSnapshot};

pub use ahead::MAX_AHEAD_COMMANDS;

/// How often a command is decided again at once because its entity changed meanwhile. After that its message is
/// handed out again later.
pub const MAX_CONFLICTS: u32 = 8;
/// The unit of the pauses between conflicts: they double with each, so that the last is half a second at most.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// How a handler works.
#[derive(Debug, Clone, Copy)]
pub struct HandlerSettings {
    /// How failures are retried before a command is set aside.
    pub retry: RetryPolicy,
    /// Whether an entity with a command that was set aside waits, or goes on without it.
    pub on_failure: OnFailure,
    /// How many live entities are kept between commands.
    pub cache: CacheLimits,
    /// When snapshots of entities are taken.
    pub snapshots: SnapshotPolicy,
}

/// A command handler at work.
#[derive(Debug)]
pub struct CommandFlow<P: HandlerPlugin, S, L> {
    name: Name,
    stream: Arc<str>,
    plugin: P,
    store: Arc<S>,
    letters: Arc<L>,
    retry: RetryPolicy,
    failures: Failures<Sequence>,
    on_failure: OnFailure,
    entities: EntityCache<P::Instance>,
    snapshots: Snapshots,
}

impl<P: HandlerPlugin, S: CommandStore, L: DeadLetters> CommandFlow<P, S, L> {
    /// A handler of this name, whose entities' events are in this stream of the configuration.
    pub fn new(
        name: Name,
        stream: Arc<str>,
        plugin: P,
        store: Arc<S>,
        letters: Arc<L>,
        settings: HandlerSettings,
    ) -> Self {
        let HandlerSettings { retry, on_failure, cache, snapshots } = settings;
        let (entities, snapshots) = (EntityCache::new(cache), Snapshots::new(snapshots));
        let failures = Failures::default();
        Self { name, stream, plugin, store, letters, retry, failures, on_failure, entities, snapshots }
    }

    /// Handles one message and says what becomes of it. Commands of one entity must come one after the other.
    pub async fn handle(&self, message: &Incoming, command: Result<Command, IntakeError>) -> Settlement {
        let span = telemetry::command(&self.name, &self.plugin, message, command.as_ref().ok());
        self.settlement(message, command).instrument(span).await
    }

    async fn settlement(&self, message: &Incoming, command: Result<Command, IntakeError>) -> Settlement {
        let command = match command {
            Ok(command) => command,
            Err(error) => return Box::pin(self.stopped(message, None, error.into())).await,
        };
        match self.answer_to(message, &command).await {
            Ok(answer) => {
                self.announce(&command, &answer).await;
                match answer {
                    Answer::Ended(_) => Settlement::Ack,
                    Answer::Parked(parked) => Settlement::Terminate(parked.cause),
                }
            }
            Err(stop) => Box::pin(self.stopped(message, Some(&command), stop)).await,
        }
    }

    /// The first outcome of this command id, reached now if there was none, or that the command is parked: tried again
    /// until nobody came in between.
    async fn answer_to(&self, message: &Incoming, command: &Command) -> Result<Answer, NotProcessed> {
        let mut entity = match self.entities.take(&command.entity) {
            Some(entity) => entity,
            None => Box::pin(self.load(&command.entity)).await?,
        };
        for conflicts in 0..MAX_CONFLICTS {
            make_way(conflicts).await;
            if let Some(answer) = self.reach(&mut entity, message, command).await? {
                self.entities.put(command.entity.clone(), entity);
                return Ok(answer);
            }
        }
        Err(NotProcessed::Contended(MAX_CONFLICTS))
    }

    /// One try. None: the entity has moved on, or its dead letters, or another host is at the same command.
    async fn reach(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        message: &Incoming,
        command: &Command,
    ) -> Result<Option<Answer>, NotProcessed> {
        let ended = |outcome: OutcomeRecord| Answer::Ended(outcome.answer_to(command));
        let Registered { entry, revision } = self.store.registered(&command.id).await?;
        let effect = entity.effect_of(command, self.plugin.digest());
        let found = match (entry, effect) {
            (Entry::Outcome(first), Some(effect)) if is_outdone(&first, &effect, command) => {
                return Ok(self.record(effect, revision).await?.map(ended));
            }
            (Entry::Outcome(first), effect) => return Ok(Some(ended(standing(first, effect, command)))),
            (_, Some(effect)) => return Ok(self.record(effect, revision).await?.map(ended)),
            (Entry::Vacant, None) => None,
            (Entry::Claimed(claim), None) => Some(claim),
        };
        if let Some(last) = self.blocked_by(message, command).await? {
            return Ok(Box::pin(self.park(message, command, last)).await?.map(Answer::Parked));
        }
        Ok(self.decide(entity, command, found, revision).await?.map(ended))
    }

    /// Decides once and stores what follows. None: the entity has moved on, or another host is at the same command.
    async fn decide(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
        found: Option<Claim>,
        revision: Revision,
    ) -> Result<Option<OutcomeRecord>, NotProcessed> {
        match (self.decision(entity, command).await?, found) {
            (Decision::Store(events), None) => self.store(entity, command, events, revision).await,
            (Decision::Store(events), Some(claim)) => {
                match self.store.claim(&command.id, claim, revision).await? {
                    Some(revision) => self.store(entity, command, events, revision).await,
                    None => Ok(None),
                }
            }
            (Decision::Answer(outcome), claim) => {
                let outcome = OutcomeRecord::new(command, self.plugin.digest(), outcome);
                Box::pin(self.answer(entity, command, outcome, claim.unwrap_or_default(), revision)).await
            }
        }
    }

    /// Records an outcome that stores no events, if nobody can have stored any by then.
    async fn answer(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
        outcome: OutcomeRecord,
        claim: Claim,
        over: Revision,
    ) -> Result<Option<OutcomeRecord>, NotProcessed> {
        let Some(revision) = self.store.claim(&command.id, claim, over).await? else { return Ok(None) };
        if !self.is_unchanged(entity, command).await? {
            return Ok(None);
        }
        if claim.may_be_stored_after(entity.at()) {
            return Err(NotProcessed::Ahead(entity.at()));
        }
        self.record(outcome, revision).await
    }

    async fn store(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
        events: Vec<NewEvent>,
        over: Revision,
    ) -> Result<Option<OutcomeRecord>, NotProcessed> {
        self.append(entity, command, events).await?;
        match entity.effect_of(command, self.plugin.digest()) {
            Some(effect) => self.record(effect, over).await,
            None => Ok(None),
        }
    }

    async fn record(
        &self,
        outcome: OutcomeRecord,
        over: Revision,
    ) -> Result<Option<OutcomeRecord>, NotProcessed> {
        Ok(self.store.record(&outcome, over).await?.then_some(outcome))
    }

    async fn decision(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<Decision, NotProcessed> {
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
    ) -> Result<(), NotProcessed> {
        let digest = self.plugin.digest();
        let events = decision::events_to_store(events, command, self.name.as_str(), digest, entity.history());
        match self.store.append(&command.entity, entity.at(), &events).await {
            Ok(sequences) => {
                let stored = events.into_iter().map(|stored| stored.event);
                entity.fold(self.as_stored(command, stored, &sequences)).await;
                Ok(())
            }
            Err(AppendError::Conflict) => Box::pin(self.catch_up(entity, command)).await,
            Err(AppendError::Unclear(why)) => {
                tracing::info!("reading the entity again: {why}");
                Box::pin(self.catch_up(entity, command)).await?;
                self.is_stored_or_late(entity, command, why)
            }
            Err(AppendError::Refused(why)) => Err(self.plugin.fault(format!("its events: {why}")).into()),
        }
    }

    /// Events that are not there may still come. They would take effect on the state that they were decided on, so the
    /// command is let go of for a while: another decision now could end otherwise, and be recorded first.
    fn is_stored_or_late(
        &self,
        entity: &LiveEntity<P::Instance>,
        command: &Command,
        why: String,
    ) -> Result<(), NotProcessed> {
        match entity.effect_of(command, self.plugin.digest()) {
            Some(_) => Ok(()),
            None => {
                Err(Unavailable { doing: format!("storing the events of {}", command.id), cause: why }.into())
            }
        }
    }

    /// Whether the leader has nothing that this entity has not folded. It folds what there is.
    async fn is_unchanged(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<bool, NotProcessed> {
        let before = entity.at();
        self.catch_up(entity, command).await?;
        Ok(entity.at() == before)
    }

    async fn catch_up(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<(), NotProcessed> {
        // With the last event that it knows, which tells whether the stream is still the one that it was read from.
        let known = Sequence(entity.at().0.saturating_sub(1));
        let events = self.store.since(&command.entity, known).await?;
        if entity.at() > Sequence::NONE
            && let Err(cause) = entity.past().joins(&events)
        {
            let doing = format!("bringing {} up to date, which is read anew now", command.entity.prefix());
            return Err(Unavailable { doing, cause }.into());
        }
        entity.fold(events).await;
        Ok(())
    }

    fn as_stored(
        &self,
        command: &Command,
        events: impl Iterator<Item = Event>,
        sequences: &[Sequence],
    ) -> Vec<StoredEvent> {
        let cause = Cause { command: command.id.clone(), fingerprint: command.fingerprint.clone() };
        let stored = events.zip(sequences).map(|(event, &sequence)| StoredEvent {
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

    async fn announce(&self, command: &Command, answer: &Answer) {
        if let Some(reply_to) = &command.reply_to {
            self.store.announce(reply_to, answer).await;
        }
    }

    /// What becomes of a message that was not processed: tried again, or set aside with its cause.
    async fn stopped(&self, message: &Incoming, command: Option<&Command>, stop: NotProcessed) -> Settlement {
        match self.retry.verdict(&stop, self.failures.count(&stop, message.sequence, message)) {
            Verdict::Retry(delay) => {
                tracing::warn!(?delay, "will be tried again: {stop}");
                Settlement::RetryAfter(delay)
            }
            Verdict::SetAside => match self.set_aside(message, command, &stop).await {
                Ok(()) => Settlement::Terminate(stop.to_string()),
                Err(away) => {
                    tracing::warn!("will be tried again: {away}");
                    Settlement::RetryAfter(self.retry.delay(message.attempt))
                }
            },
        }
    }

    async fn set_aside(
        &self,
        message: &Incoming,
        command: Option<&Command>,
        stop: &NotProcessed,
    ) -> Result<(), NotProcessed> {
        tracing::error!("set aside: {stop}");
        self.letters.keep(self.letter(message, command, DeadLetterKind::Failed, stop.to_string())).await?;
        if let Some(command) = command {
            let outcome =
                dedup::record_failure(&*self.store, command, self.plugin.digest(), &stop.to_string()).await?;
            self.announce(command, &Answer::Ended(outcome)).await;
        }
        Ok(())
    }

    fn letter(
        &self,
        message: &Incoming,
        command: Option<&Command>,
        kind: DeadLetterKind,
        cause: String,
    ) -> DeadLetter {
        DeadLetter {
            consumer: self.name.to_string(),
            key: command.map(|c| c.entity.prefix().to_owned()),
            kind,
            message: message.clone(),
            cause,
            digest: Some(self.plugin.digest().to_owned()),
        }
    }
}

/// Lets the others go first, ever longer and never equally long; after a first conflict there is no need to.
pub(crate) async fn make_way(conflicts: u32) {
    if conflicts > 1 {
        let longest = FIRST_PAUSE * 2_u32.pow(conflicts);
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
    }
}

/// Whether the command was recorded as failed or rejected while its events were on their way: by an operator who gave it
/// up, or by a host that came to another end. The events are there for good, so they are what is recorded then.
fn is_outdone(first: &OutcomeRecord, effect: &OutcomeRecord, command: &Command) -> bool {
    first.is_of(command) && effect.is_of(command) && !matches!(first.outcome, Outcome::Accepted { .. })
}

/// Which outcome holds for the command, given the one that is registered and the effect that its entity has seen. Events
/// say more than the record of another command that was sent under the same id at the same moment.
fn standing(first: OutcomeRecord, effect: Option<OutcomeRecord>, command: &Command) -> OutcomeRecord {
    match effect {
        Some(effect) if effect.is_of(command) && !first.is_of(command) => effect,
        _ => first,
    }
}

enum Decision {
    /// To be stored on the state that it was decided on.
    Store(Vec<NewEvent>),
    /// To be given if the state it was decided on is the present one.
    Answer(Outcome),
}

//! The path of a command, from its log to its end.
//!
//! Every command ends with one write at its entity: its events, or a mark where it has none. The write expects the
//! entity's last message to be the one that the decision was made on; the server stores it then, or not at all.
//!
//! A command ends once although hosts crash, pause, lose answers and decide differently. Hosts A and B have a copy each:
//!
//! 1. Both know the entity up to one message, and both write. One write comes first; the other expects a message that is
//!    no longer the last, and nothing of it is stored. That host reads what came, finds the command's end, and answers it.
//! 2. A has written when B reads the entity. The end lies among what B reads: B has it in the history, or is told that
//!    the command may have left a mark, and looks for the mark.
//! 3. A's answer from the server is lost. A reads the entity as in 2. Where the write is still on its way, A writes
//!    again, expecting the same message: as in 1, one of the two is stored.
//! 4. A stops for an hour and writes then. As in 1.
//!
//! So no host asks whether another host has the same command, and no clock decides anything. A host that decides
//! differently only decides later.

mod ahead;
mod answer;
pub mod backlinks;
mod beside;
mod catch_up;
pub mod decision;
mod ends;
pub mod entity;
mod failure;
mod generation;
pub mod history;
mod isolation;
mod load;
pub mod outcome;
pub mod ports;
pub mod reader;
pub mod report;
pub mod shard;
pub mod snapshot;
pub mod trial;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::command::decision::{Author, Batch, Decision};
use crate::command::entity::{CacheLimits, EntityCache, LiveEntity, as_stored};
use crate::command::outcome::{Answer, MarkOutcome, Outcome, OutcomeRecord};
use crate::command::ports::{AppendError, CommandStore, EntityInstance, HandlerPlugin};
use crate::command::snapshot::SnapshotPolicy;
use crate::consumer::Settlement;
use crate::dead_letter::{OnFailure, Retries};
use crate::id::{Name, Sequence};
use crate::intake::IntakeError;
use crate::message::{Command, Incoming, Rejection};
use crate::retry::{Failures, NotProcessed, RetryPolicy};
use crate::telemetry;
use answer::MarkLookUp;
use beside::Beside;
use generation::{Before, Taken};
use isolation::Apart;
use load::Snapshots;
use trial::OnTrial;

pub use ahead::MAX_AHEAD_COMMANDS;
pub use answer::{accepted_record, marked_record};
pub use generation::MAX_BEFORE;
pub use load::{MAX_SNAPSHOTS_IN_HAND, TakenSnapshot};

/// The most times that a command is decided again at once because its entity changed meanwhile. After that the command
/// waits as if the store were unavailable.
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
    /// How long the mark of a command that ended without events is kept.
    pub keep: Duration,
    /// How many live entities are kept between commands.
    pub cache: CacheLimits,
    /// When snapshots of entities are taken.
    pub snapshots: SnapshotPolicy,
    /// After a switch, an entity with more events than this is loaded beside its commands, which the version before decides
    /// meanwhile, unless that version can hand it on.
    pub load_beside_from: u64,
}

/// A command handler at work.
#[derive(Debug)]
pub struct CommandFlow<P: HandlerPlugin, S, L> {
    name: Name,
    stream: Arc<str>,
    plugin: P,
    store: Arc<S>,
    dead_letters: Arc<L>,
    settings: HandlerSettings,
    failures: Arc<Failures<Sequence>>,
    entities: EntityCache<P::Instance>,
    apart: Apart,
    snapshots: Snapshots,
    before: Before<Self>,
    beside: Beside,
    on_trial: OnTrial<Self>,
    withdrawn: Arc<BTreeSet<String>>,
}

/// What a command is handled for.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    /// To be decided, or parked where its entity waits behind a dead letter.
    Decision,
    /// To be decided again, although it has the mark of a failure: it comes from a dead letter.
    Retry,
    /// To be marked as failed, for this cause. Its dead letter is kept already.
    Failure { cause: &'a str },
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// A handler of this name, whose entities' events are in this stream of the configuration.
    pub fn new(
        name: Name,
        stream: Arc<str>,
        plugin: P,
        store: Arc<S>,
        dead_letters: Arc<L>,
        settings: HandlerSettings,
    ) -> Self {
        Self {
            name,
            stream,
            plugin,
            store,
            dead_letters,
            settings,
            failures: Arc::default(),
            entities: EntityCache::new(settings.cache),
            apart: Apart::default(),
            snapshots: Snapshots::new(settings.snapshots),
            before: Before::default(),
            beside: Beside::default(),
            on_trial: OnTrial::default(),
            withdrawn: Arc::default(),
        }
    }

    /// Handles one message and says what becomes of it. Commands of one entity must come one after the other.
    pub async fn handle(&self, message: &Incoming, command: Result<&Command, &IntakeError>) -> Settlement {
        let span = telemetry::command(&self.name, &self.plugin, message, command.ok());
        self.settlement(message, command).instrument(span).await
    }

    async fn settlement(&self, message: &Incoming, command: Result<&Command, &IntakeError>) -> Settlement {
        let command = match command {
            Ok(command) => command,
            Err(error) => return Box::pin(self.not_processed(message, None, error.clone().into())).await,
        };
        let told = match self.answer_to(message, command).await {
            Ok(answer) => self.tell(command, answer).await,
            Err(stop) => Err(stop),
        };
        match told {
            Ok(Answer::Parked(parked)) => Settlement::Terminate(parked.cause),
            Ok(Answer::Ended(_) | Answer::Unreadable(_)) => Settlement::Ack,
            Err(stop) => Box::pin(self.not_processed(message, Some(command), stop)).await,
        }
    }

    /// Tells the saga that sent the command, which must not be missed, and a client that waits.
    async fn tell(&self, command: &Command, answer: Answer) -> Result<Answer, NotProcessed> {
        self.report(command, &answer).await?;
        self.reply(command, &answer).await;
        Ok(answer)
    }

    async fn answer_to(&self, message: &Incoming, command: &Command) -> Result<Answer, NotProcessed> {
        let wanted = self.wanted(message, command).await?;
        match self.end_in_any_sandbox(message, command, wanted).await {
            Err(NotProcessed::Plugin(fault)) => {
                Box::pin(self.end_by_version_before(message, command, wanted, fault)).await
            }
            ended => ended,
        }
    }

    async fn end_in_any_sandbox(
        &self,
        message: &Incoming,
        command: &Command,
        wanted: Wanted<'_>,
    ) -> Result<Answer, NotProcessed> {
        match self.end(message, command, wanted).await {
            Err(NotProcessed::Plugin(fault)) if fault.shared => {
                Box::pin(self.end_apart(message, command, wanted, fault)).await
            }
            ended => ended,
        }
    }

    /// The first end of a command, which is reached now if it had none; or that the command is parked.
    async fn end(
        &self,
        message: &Incoming,
        command: &Command,
        wanted: Wanted<'_>,
    ) -> Result<Answer, NotProcessed> {
        let (mut entity, mut mark) = match self.take(&command.entity).await {
            Taken::Alive(entity) => (entity, MarkLookUp::NotYet),
            Taken::StaysWith(before) => match Box::pin(before.end(message, command, wanted)).await {
                Err(NotProcessed::Plugin(_) | NotProcessed::NotServed { .. }) => {
                    Box::pin(self.load(command)).await?
                }
                ended => return ended,
            },
            Taken::Nothing => Box::pin(self.load(command)).await?,
        };
        for conflicts in 0..MAX_CONFLICTS {
            make_way(conflicts).await;
            let answer = match self.known_end(&mut entity, command, wanted, &mut mark).await? {
                Some(answer) => Some(answer),
                None => self.new_end(&mut entity, message, command, wanted).await?,
            };
            if let Some(answer) = answer {
                if entity.is_alive() && !matches!(wanted, Wanted::Failure { .. }) {
                    self.behaved(&command.entity);
                }
                self.put(command.entity.clone(), entity);
                return Ok(answer);
            }
        }
        Err(NotProcessed::Contended(MAX_CONFLICTS))
    }

    /// Decides the command and stores its end, or parks it if its entity waits behind a dead letter. `None`: another write
    /// came in between, and the entity has folded it.
    async fn new_end(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        message: &Incoming,
        command: &Command,
        wanted: Wanted<'_>,
    ) -> Result<Option<Answer>, NotProcessed> {
        let decision = match wanted {
            Wanted::Failure { cause } => Decision::failed(cause),
            Wanted::Retry => self.decide(entity, command).await?,
            Wanted::Decision => {
                if entity.is_held() {
                    match self.dead_letters.last(&self.name, command.entity.prefix()).await? {
                        Some(last) => return Box::pin(self.park(message, command, last)).await,
                        None => entity.release(),
                    }
                }
                self.decide(entity, command).await?
            }
        };
        self.store(entity, command, decision, wanted).await
    }

    async fn decide(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<Decision, NotProcessed> {
        let at = entity.history().last_event();
        if let Some(expected) = command.expected.filter(|expected| *expected != at) {
            let message = format!("the sender expects the entity at sequence {expected}; it is at {at}");
            return Ok(Decision::rejected(Rejection::new(Rejection::VERSION_MISMATCH, message)));
        }
        if !self.plugin.descriptor().takes(command.r#type.as_str()) {
            return Err(NotProcessed::NotServed {
                plugin: self.plugin.name().to_owned(),
                digest: self.plugin.digest().to_owned(),
                r#type: command.r#type.to_string(),
            });
        }
        match entity.instance()?.decide(command).await? {
            Err(rejection) => Ok(Decision::rejected(rejection)),
            Ok(events) if events.is_empty() => Ok(Decision::nothing()),
            Ok(events) => {
                decision::check(&events, self.plugin.descriptor()).map_err(|what| self.plugin.fault(what))?;
                Ok(Decision::Events(events))
            }
        }
    }

    /// Stores a decision on the state that it was made on. `None`: the entity has changed, or may have, and has folded what
    /// came.
    async fn store(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
        decision: Decision,
        wanted: Wanted<'_>,
    ) -> Result<Option<Answer>, NotProcessed> {
        // There may be other dead letters behind a retried one; the next command asks for them.
        let is_retry = matches!(wanted, Wanted::Retry);
        let held = self.settings.on_failure == OnFailure::Park && (is_retry || decision.is_failure());
        let mut batch = Batch::new(self.author(held), entity.history().backlinks());
        match (&decision, wanted) {
            (Decision::Events(events), Wanted::Retry) => {
                // The mark of the dead letter must not be the last word.
                let events = u32::try_from(events.len()).unwrap_or(u32::MAX);
                batch.push(command, decision);
                batch.push(command, Decision::Mark(MarkOutcome::Accepted { events }));
            }
            _ => batch.push(command, decision),
        }
        let messages = batch.into_messages();
        match self.store.append(&command.entity, entity.last_message(), &messages).await {
            Ok(sequences) => {
                let stored = as_stored(&self.stream, messages, &sequences);
                let answer = answer::to_stored(command, self.plugin.digest(), &stored);
                entity.fold(stored).await;
                Ok(Some(answer))
            }
            Err(AppendError::Conflict) => Box::pin(self.catch_up(entity, command)).await.map(|()| None),
            Err(AppendError::Unclear(why)) => {
                tracing::info!("reading the entity again: {why}");
                Box::pin(self.catch_up(entity, command)).await.map(|()| None)
            }
            Err(AppendError::Refused(why)) => {
                Err(self.plugin.fault(format!("what it decided: {why}")).into())
            }
        }
    }

    /// The answer to a command that just ended so.
    fn ended(&self, command: &Command, outcome: Outcome) -> Answer {
        Answer::Ended(OutcomeRecord::new(command, self.plugin.digest(), outcome))
    }

    fn author(&self, held: bool) -> Author<'_> {
        Author { handler: self.name.as_str(), digest: self.plugin.digest(), keep: self.settings.keep, held }
    }
}

/// Pauses before another try. The pauses grow and are random, so that hosts in conflict do not meet again. There is none
/// after the first conflict.
async fn make_way(conflicts: u32) {
    if conflicts > 1 {
        let longest = FIRST_PAUSE * 2_u32.pow(conflicts);
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
    }
}

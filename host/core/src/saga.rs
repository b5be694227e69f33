//! The flow of a saga: for each input load the instance, react, store state and commands in one write, send the
//! commands, acknowledge.
//!
//! The stored record keeps the commands of the last input. After a crash between storing and acknowledging the input is
//! redelivered. The record then says that the input was handled, and the flow sends the same commands again under the
//! same ids.

pub mod model;
pub mod ports;
mod retry;
mod run;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument;

use crate::cloudevents::{CAUSATION_ID, CORRELATION_ID, TRACEPARENT, is_plugin_extension};
use crate::consumer::Settlement;
use crate::contract::{MAX_COMMANDS, MAX_INSTANCE_BYTES};
use crate::dead_letter::{DeadLetter, DeadLetterKind, OnFailure, Parking, Retries};
use crate::id::{CommandId, InstanceId, Name, Sequence, source_of_saga};
use crate::intake::CommandMessage;
use crate::message::{Incoming, Metadata, NewCommand, RecordedEvent};
use crate::plugin::PluginFault;
use crate::recorded;
use crate::retry::{Failures, NotProcessed, RetryPolicy, Verdict};
use crate::saga::model::{
    InputContext, Migrated, OutgoingCommand, Relation, SagaInput, SagaRecord, TimerChange,
};
use crate::saga::ports::{SagaPlugin, SagaStore};
use crate::store::CommitError;
use crate::telemetry;
use crate::text::excerpt;

/// The most tries of one write, each after another host changed the instance.
const MAX_CONFLICTS: u32 = 8;

/// One running saga.
#[derive(Debug)]
pub struct SagaFlow<P, S, L> {
    /// The saga's name in the configuration.
    pub name: Name,
    /// The stream's name in the configuration.
    pub stream: Arc<str>,
    /// The plugin that reacts.
    pub plugin: P,
    /// The store of the instances.
    pub store: Arc<S>,
    /// The store of the inputs that cannot be handled.
    pub dead_letters: Arc<L>,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// The failures so far. Each instance that an event concerns has attempts of its own.
    pub failures: Failures<(Sequence, Option<InstanceId>)>,
    /// Whether an instance is quarantined after an input was set aside, or goes on without it.
    pub on_failure: OnFailure,
}

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Handles one message of the event stream. Messages must be handled one after the other, in stream order.
    pub async fn handle(&self, message: &Incoming) -> Settlement {
        let event = match recorded::of_message(&self.stream, message) {
            Ok(event) => event,
            Err(error) => return self.set_aside(message, None, error.to_string()).await,
        };
        self.handle_parts(message, &[event]).await
    }

    /// Handles the events of one message, in order: mostly one, or the parts that an upcaster made of it.
    pub async fn handle_parts(&self, message: &Incoming, events: &[RecordedEvent]) -> Settlement {
        for event in events {
            match self.handle_event(message, event).await {
                Settlement::Ack | Settlement::Terminate(_) => {}
                later @ Settlement::RetryAfter(_) => return later,
            }
        }
        Settlement::Ack
    }

    async fn handle_event(&self, message: &Incoming, event: &RecordedEvent) -> Settlement {
        if !event.event.is_of(&self.plugin.descriptor().events) {
            return Settlement::Ack;
        }
        let span = telemetry::saga_input(&self.name, &self.plugin, message, event, None);
        let correlations = match self.correlate(event).instrument(span).await {
            Ok(correlations) => correlations,
            Err(stop) => return self.failed(message, None, &stop).await,
        };
        for (instance, relation) in correlations {
            let span = telemetry::saga_input(&self.name, &self.plugin, message, event, Some(&instance));
            match self.settlement(message, event, &instance, relation).instrument(span).await {
                // A quarantined instance does not stop the other instances.
                Settlement::Ack | Settlement::Terminate(_) => {}
                later @ Settlement::RetryAfter(_) => return later,
            }
        }
        Settlement::Ack
    }

    /// The settlement of the message, as far as one instance is concerned.
    async fn settlement(
        &self,
        message: &Incoming,
        event: &RecordedEvent,
        instance: &InstanceId,
        relation: Relation,
    ) -> Settlement {
        match self.advance(instance, relation, event, Some(message)).await {
            Ok(()) => Settlement::Ack,
            Err(stop) => self.failed(message, Some(instance), &stop).await,
        }
    }

    async fn correlate(&self, event: &RecordedEvent) -> Result<Vec<(InstanceId, Relation)>, NotProcessed> {
        let correlations =
            self.plugin.correlate(event).await?.map_err(|failure| failure.into_fault(&self.plugin))?;
        let checked = correlations.into_iter().map(|c| match InstanceId::new(&c.instance) {
            Ok(id) if id.as_str().len() <= MAX_INSTANCE_BYTES => Ok((id, c.relation)),
            Ok(id) => Err(self
                .plugin
                .fault(format!("the instance id {id} has more than {MAX_INSTANCE_BYTES} bytes"))),
            Err(e) => Err(self.plugin.fault(format!("the instance id {:?} {e}", c.instance))),
        });
        Ok(checked.collect::<Result<_, PluginFault>>()?)
    }

    /// Advances an instance past an event. If the instance is quarantined, parks the message instead. Without a message
    /// this is the retry of the first dead letter in the instance's queue.
    async fn advance(
        &self,
        instance: &InstanceId,
        relation: Relation,
        event: &RecordedEvent,
        message: Option<&Incoming>,
    ) -> Result<(), NotProcessed> {
        for _ in 0..MAX_CONFLICTS {
            let (record, revision) = self.store.load(instance).await?;
            let mut record = record.unwrap_or_default();
            if let (Some(by), Some(message)) = (&record.quarantined_by, message) {
                match self.dead_letters.last(&self.name, instance.as_str()).await? {
                    Some(last) => {
                        let why = format!("it waits behind {by}");
                        let dead_letter =
                            self.dead_letter(message, Some(instance), DeadLetterKind::Parked, why);
                        match self.dead_letters.keep_behind(dead_letter, last).await? {
                            Parking::Parked => return Ok(()),
                            Parking::Overtaken => continue,
                            Parking::Failed(cause) => return Err(NotProcessed::Failed(cause)),
                        }
                    }
                    // The instance has no dead letters any more, which ends the quarantine.
                    None => record.quarantined_by = None,
                }
            }
            let handled = record.handled.get(event.stream.as_ref()).copied().unwrap_or_default();
            if handled < event.position() {
                let starts = match relation {
                    Relation::Start => true,
                    Relation::StartOnce => !record.has_ended(),
                    Relation::Advance => false,
                };
                if record.state.is_none() && !starts {
                    return Ok(());
                }
                self.migrate(instance, &mut record).await?;
                let (input, context) = (SagaInput::Event(event.clone()), InputContext::of_event(event));
                let reaction = self.plugin.react(instance, record.state.as_deref(), &input, &context).await?;
                let reaction = reaction.map_err(|failure| failure.into_fault(&self.plugin))?;
                record.outbox = self.outbox(instance, event, reaction.commands)?;
                record.process = process(event);
                self.refuse_timers(&reaction.timers)?;
                record.state = reaction.state;
                record.state_version = self.plugin.descriptor().state_version;
                record.handled.insert(event.stream.to_string(), event.position());
                match self.store.save(instance, &record, revision).await {
                    Ok(_) => {}
                    Err(CommitError::Conflict) => continue,
                    Err(CommitError::Unclear(away)) => return Err(away.into()),
                    Err(CommitError::Refused(why)) => {
                        return Err(self.plugin.fault(format!("its state: {why}")).into());
                    }
                }
            }
            if handled <= event.position() {
                self.send(instance, &record).await?;
            }
            return Ok(());
        }
        Err(NotProcessed::Contended(MAX_CONFLICTS))
    }

    /// Brings the state of another version into the form that the plugin has now, if the plugin can. What comes of it is
    /// stored with the reaction.
    async fn migrate(&self, instance: &InstanceId, record: &mut SagaRecord) -> Result<(), NotProcessed> {
        let (from, to) = (record.state_version, self.plugin.descriptor().state_version);
        let Some(state) = record.state.as_deref().filter(|_| from != to) else { return Ok(()) };
        match self.plugin.migrate(instance, from, state, &[]).await? {
            None => Ok(()),
            Some(Ok(Migrated { state, timers })) => {
                let timers: Vec<_> = timers.into_iter().map(TimerChange::Set).collect();
                self.refuse_timers(&timers)?;
                record.state = Some(state);
                Ok(())
            }
            Some(Err(why)) => {
                let what = format!("it cannot take over a state of version {from} for version {to}: {why}");
                Err(self.plugin.fault(what).into())
            }
        }
    }

    fn outbox(
        &self,
        instance: &InstanceId,
        event: &RecordedEvent,
        commands: Vec<NewCommand>,
    ) -> Result<Vec<OutgoingCommand>, PluginFault> {
        if commands.len() > MAX_COMMANDS {
            return Err(self.plugin.fault(format!(
                "{} commands in one reaction; at most {MAX_COMMANDS} are allowed",
                commands.len()
            )));
        }
        let numbered = commands.into_iter().enumerate().map(|(n, command)| {
            if !self.plugin.descriptor().commands.contains(&command.r#type) {
                return Err(self.plugin.fault(format!(
                    "it sends a command of type {:?}, which its descriptor does not list",
                    command.r#type
                )));
            }
            if let Some((name, _)) = command.metadata.iter().find(|(name, _)| !is_plugin_extension(name)) {
                return Err(self.plugin.fault(format!(
                    "it sends a command with the metadata {name:?}, a name that it may not use"
                )));
            }
            let id = CommandId::of_saga(&self.name, instance, &event.stream, event.position(), n);
            Ok(OutgoingCommand {
                id: id.map_err(|e| self.plugin.fault(format!("the id of its command {n} {e}")))?,
                r#type: command.r#type,
                reference: command.reference,
                datacontenttype: command.datacontenttype.unwrap_or_else(|| "application/json".to_owned()),
                extensions: command.metadata,
                data: Some(command.data.into()),
            })
        });
        numbered.collect()
    }

    fn refuse_timers(&self, timers: &[TimerChange]) -> Result<(), PluginFault> {
        let declared = &self.plugin.descriptor().timers;
        let undeclared = timers.iter().find_map(|change| match change {
            TimerChange::Set(timer) if !declared.contains(&timer.r#type) => Some(&timer.r#type),
            TimerChange::Set(_) | TimerChange::Cancel(_) => None,
        });
        match (undeclared, timers) {
            (Some(r#type), _) => Err(self.plugin.fault(format!(
                "it sets a timer of type {:?}, which its descriptor does not list",
                excerpt(r#type)
            ))),
            (None, []) => Ok(()),
            (None, _) => {
                Err(self.plugin.fault("it sets or cancels timers, which this host does not run yet"))
            }
        }
    }

    async fn send(&self, instance: &InstanceId, record: &SagaRecord) -> Result<(), NotProcessed> {
        for command in &record.outbox {
            let extensions: Metadata = record.process.iter().chain(&command.extensions).cloned().collect();
            let message = CommandMessage {
                id: &command.id,
                r#type: &command.r#type,
                source: &source_of_saga(&self.name, instance),
                time: None,
                datacontenttype: &command.datacontenttype,
                extensions: &extensions,
                reply_to: None,
                expected: None,
            };
            let data = Bytes::from(command.data.clone().unwrap_or_default());
            match self.store.send(message.headers(), &command.r#type, &command.id, data).await {
                Ok(()) => {}
                Err(CommitError::Unclear(away)) => return Err(away.into()),
                Err(refused) => {
                    return Err(self.plugin.fault(format!("its command {}: {refused}", command.id)).into());
                }
            }
        }
        Ok(())
    }

    async fn failed(
        &self,
        message: &Incoming,
        instance: Option<&InstanceId>,
        stop: &NotProcessed,
    ) -> Settlement {
        match self
            .retry
            .verdict(stop, self.failures.count(stop, (message.sequence, instance.cloned()), message))
        {
            Verdict::Retry(delay) => Self::retry(stop, delay),
            Verdict::SetAside => self.set_aside(message, instance, stop.to_string()).await,
        }
    }

    fn retry(stop: &NotProcessed, delay: Duration) -> Settlement {
        tracing::warn!(?delay, "will be tried again: {}", stop.in_short());
        Settlement::RetryAfter(delay)
    }

    /// Keeps the message as a dead letter. Unless the instance goes on without it, marks the instance, so that its
    /// later inputs are parked behind the dead letter.
    async fn set_aside(
        &self,
        message: &Incoming,
        instance: Option<&InstanceId>,
        cause: String,
    ) -> Settlement {
        let dead_letter = match (self.on_failure, instance) {
            // Nothing waits behind this dead letter, so it has no key.
            (OnFailure::Skip, Some(instance)) => {
                let why = format!("instance {instance} went on without it: {cause}");
                self.dead_letter(message, None, DeadLetterKind::Failed, why)
            }
            _ => self.dead_letter(message, instance, DeadLetterKind::Failed, cause.clone()),
        };
        let id = dead_letter.id();
        let delay = self.retry.delay(message.attempt);
        if let Err(away) = self.dead_letters.keep(dead_letter).await {
            return Self::retry(&away.into(), delay);
        }
        if let Some(instance) = instance
            && self.on_failure == OnFailure::Park
        {
            match self.quarantine(instance, &id).await {
                Ok(()) => {}
                Err(stop) => return Self::retry(&stop, delay),
            }
        }
        tracing::error!("set aside: {cause}");
        Settlement::Terminate(cause)
    }

    async fn quarantine(&self, instance: &InstanceId, by: &str) -> Result<(), NotProcessed> {
        for _ in 0..MAX_CONFLICTS {
            let (record, revision) = self.store.load(instance).await?;
            let record = SagaRecord { quarantined_by: Some(by.to_owned()), ..record.unwrap_or_default() };
            match self.store.save(instance, &record, revision).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Unclear(away)) => return Err(away.into()),
                Err(CommitError::Refused(why)) => return Err(self.plugin.fault(why).into()),
            }
        }
        Err(NotProcessed::Contended(MAX_CONFLICTS))
    }

    fn dead_letter(
        &self,
        message: &Incoming,
        instance: Option<&InstanceId>,
        kind: DeadLetterKind,
        cause: String,
    ) -> DeadLetter {
        DeadLetter {
            consumer: self.name.to_string(),
            key: instance.map(ToString::to_string),
            kind,
            message: message.clone(),
            cause,
            digest: Some(self.plugin.digest().to_owned()),
        }
    }
}

/// What the commands that follow from an event have in common.
fn process(event: &RecordedEvent) -> Metadata {
    let trace = event.event.extension(TRACEPARENT).map(|t| (TRACEPARENT.to_owned(), t.to_owned()));
    let ours = [
        (CORRELATION_ID.to_owned(), InputContext::of_event(event).correlation_id),
        (CAUSATION_ID.to_owned(), event.event.id.clone()),
    ];
    ours.into_iter().chain(trace).collect()
}

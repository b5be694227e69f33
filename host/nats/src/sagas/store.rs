//! The [`SagaStore`] of one saga.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use pelton_core::id::{CommandId, InstanceId, Name, Sequence};
use pelton_core::message::Headers;
use pelton_core::outcomes::CommandReport;
use pelton_core::saga::input::{FiredTimer, OwnInput};
use pelton_core::saga::instance::{ArmedTimer, Instance};
use pelton_core::saga::lead::{SagaPosition, Start};
use pelton_core::saga::ports::{SagaStore, Sent, TimerWrite};
use pelton_core::store::{CommitError, ReadError, Unavailable, Unreadable};
use pelton_core::time::Timestamp;
use tokio::time::Instant;

use super::outcomes;
use crate::commands::{Commands, log};
use crate::connection::Nats;
use crate::subjects::{self, COMMANDS};
use crate::wire::{
    self, BatchMessage, ConditionalWrite, Gathered, GroupCommit, PublishError, StoredMessage, header,
};

/// The latest time that the server can be asked for: one that is more than 292 years ahead counts as passed.
const LATEST: Timestamp = Timestamp(7_258_118_400_000_000_000);
/// How long a message stays that only cancels a timer.
const CANCEL_TTL: &str = "1s";
/// The wait before a command that nobody takes is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long things of a saga are waited for and kept.
#[derive(Debug, Clone, Copy)]
pub struct SagaTimes {
    /// How long an instance that has ended is remembered.
    pub keep: Duration,
    /// How long a handler may be missing for a command before the command counts as one that nobody takes: a type that
    /// moves from one handler to another is refused for a while.
    pub nobody_takes: Duration,
}

impl Default for SagaTimes {
    fn default() -> Self {
        Self { keep: Duration::from_secs(14 * 24 * 3600), nobody_takes: Duration::from_secs(20) }
    }
}

/// One saga on its stream.
#[derive(Debug)]
pub struct SagaStreams {
    nats: Nats,
    saga: Name,
    stream: String,
    /// The stream of its events.
    events: Name,
    commands: Commands,
    /// Whether the streams have more than one replica, so that a replica that is behind may answer a read.
    replicated: bool,
    times: SagaTimes,
    writes: GroupCommit,
}

impl SagaStreams {
    /// The saga with this id, which reads these events. It owns a task that [`SagaStreams::close`] ends.
    #[must_use]
    pub fn start(
        nats: &Nats,
        saga: &Name,
        events: &Name,
        commands: Commands,
        replicated: bool,
        times: SagaTimes,
    ) -> Self {
        Self {
            nats: nats.clone(),
            saga: saga.clone(),
            stream: subjects::saga_stream(saga),
            events: events.clone(),
            commands,
            replicated,
            times,
            writes: GroupCommit::start(nats.clone(), Gathered::AsMeasured),
        }
    }

    /// Finishes the writes that wait and takes no more.
    pub async fn close(&self) {
        self.writes.close().await;
    }

    async fn last(&self, subject: &str) -> Result<Option<StoredMessage>, Unavailable> {
        match self.replicated {
            true => wire::leader_last(&self.nats, &self.stream, subject).await,
            false => wire::direct_last(&self.nats, &self.stream, subject).await,
        }
    }

    /// The instance, and the ends of timers and new timers that go with it.
    fn messages(
        &self,
        id: &InstanceId,
        instance: &Instance,
        timers: &[TimerWrite],
    ) -> Result<Vec<BatchMessage>, String> {
        let mut headers = HeaderMap::new();
        if instance.has_ended() && instance.quarantined_by.is_none() {
            headers.insert(header::TTL, format!("{}s", self.times.keep.as_secs().max(1)));
        }
        let subject = subjects::saga_instance(&self.saga, id);
        let mut messages = vec![BatchMessage { subject, headers, payload: instance.to_bytes()? }];
        let mut is_first_end = true;
        for write in timers {
            match write {
                // Every message can end one timer.
                TimerWrite::Cancel { id: timer } if std::mem::take(&mut is_first_end) => {
                    self.end_timer(&mut messages[0].headers, id, timer);
                }
                TimerWrite::Cancel { id: timer } => {
                    let mut headers = HeaderMap::new();
                    headers.insert(header::TTL, CANCEL_TTL);
                    self.end_timer(&mut headers, id, timer);
                    let subject = subjects::saga_cancel(&self.saga, id, timer);
                    messages.push(BatchMessage { subject, headers, payload: Bytes::new() });
                }
                TimerWrite::Set { id: timer, armed, data } => {
                    let (instance, timer_id) = (id.clone(), timer.clone());
                    let fired =
                        FiredTimer { instance, id: timer_id, armed: armed.clone(), data: data.clone() };
                    let mut headers = HeaderMap::new();
                    headers.insert(header::SCHEDULE, format!("@at {}", armed.due.min(LATEST)));
                    headers.insert(header::SCHEDULE_TARGET, subjects::saga_due(&self.saga, id, timer));
                    let subject = subjects::saga_timer(&self.saga, id, timer);
                    messages.push(BatchMessage {
                        subject,
                        headers,
                        payload: OwnInput::Timer(fired).to_bytes()?,
                    });
                }
            }
        }
        Ok(messages)
    }

    fn end_timer(&self, headers: &mut HeaderMap, id: &InstanceId, timer: &str) {
        headers.insert(header::SCHEDULER, subjects::saga_timer(&self.saga, id, timer));
        headers.insert(header::SCHEDULE_NEXT, "purge");
    }

    /// Checks that the command that is logged under this id is the very one that is to be sent, from an earlier try. If it
    /// has ended, says so again: the saga's stream may be an older copy of it, which has the outcome no more.
    async fn sent_before(
        &self,
        (r#type, id): (&str, &CommandId),
        headers: &Headers,
        data: &Bytes,
    ) -> Result<(), CommitError> {
        let Some(logged) = log::command(&self.nats, id).await? else {
            return Ok(()); // it has been decided, and let go of since
        };
        let source = |headers: &Headers| headers.get("ce-source").map(str::to_owned);
        let is_same = subjects::is_command(&logged.subject, r#type, id) && logged.payload == *data;
        if is_same && source(&logged.headers) == source(headers) {
            if self.commands.serves(r#type)
                && let Some(report) = self.commands.report(id).await?
            {
                outcomes::report(&self.nats, &report).await?;
            }
            return Ok(());
        }
        Err(CommitError::Refused(format!(
            "foreign command: message {} of stream {COMMANDS} is another command with the id {id}, where only hosts may \
             publish; find out who did, remove it, then have the saga try again",
            logged.sequence
        )))
    }
}

impl SagaStore for SagaStreams {
    async fn load(&self, instance: &InstanceId) -> Result<(Option<Instance>, u64), ReadError> {
        let subject = subjects::saga_instance(&self.saga, instance);
        let Some(message) = self.last(&subject).await? else { return Ok((None, 0)) };
        let read = Instance::from_bytes(&message.payload).map_err(|cause| {
            let (stream, sequence) = (self.stream.clone(), message.sequence);
            Unreadable { stream, sequence, subject, cause: format!("is no instance: {cause}") }
        });
        Ok((Some(read?), message.sequence.0))
    }

    async fn save(
        &self,
        id: &InstanceId,
        instance: &Instance,
        timers: &[TimerWrite],
        revision: u64,
    ) -> Result<u64, CommitError> {
        let messages = self.messages(id, instance, timers).map_err(CommitError::Refused)?;
        let filter = subjects::saga_instance(&self.saga, id);
        let write = ConditionalWrite::new(&self.stream, filter, revision, messages);
        let stored = self.writes.store(write).await?;
        Ok(stored.sequences.first().map_or(0, |first| first.0))
    }

    async fn timer_data(
        &self,
        instance: &InstanceId,
        id: &str,
        armed: &ArmedTimer,
    ) -> Result<Option<Bytes>, Unavailable> {
        // It may go off between the two reads.
        for subject in [subjects::saga_timer, subjects::saga_due] {
            let message =
                wire::leader_last(&self.nats, &self.stream, &subject(&self.saga, instance, id)).await?;
            let Some(message) = message else { continue };
            if let Ok(OwnInput::Timer(fired)) = OwnInput::from_bytes(&message.payload)
                && fired.armed == *armed
            {
                return Ok(Some(fired.data));
            }
        }
        Ok(None)
    }

    async fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> Result<Sent, CommitError> {
        let mut wired = wire::to_wire(&headers).map_err(|e| CommitError::Refused(e.to_string()))?;
        log::expect_no_command(&mut wired, id);
        let patient_until = Instant::now() + self.times.nobody_takes;
        let mut partitions = self.commands.intake().partitions(r#type);
        loop {
            let partition = self.commands.intake().partition(partitions, r#type, &data);
            let subject = subjects::command(r#type, partition, id);
            match wire::publish(&self.nats, &subject, wired.clone(), data.clone()).await {
                Ok(_) => return Ok(Sent::Logged),
                Err(PublishError::WrongSequence(_) | PublishError::SubjectFull(_)) => {
                    return self.sent_before((r#type, id), &headers, &data).await.map(|()| Sent::Logged);
                }
                Err(PublishError::NobodyTakes(unclear)) => match log::partitions(&self.nats, r#type).await? {
                    Some(present) if present == partitions => return Err(unclear.into()),
                    Some(present) => partitions = present,
                    None if Instant::now() >= patient_until => return Ok(Sent::NobodyTakes),
                    None => tokio::time::sleep(PAUSE).await,
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        outcomes::report(&self.nats, report).await
    }

    async fn position(&self) -> Result<Option<(SagaPosition, u64)>, Unavailable> {
        let subject = subjects::saga_position(&self.saga);
        let away = |cause: String| Unavailable { doing: format!("reading {subject}"), cause };
        let Some(message) = wire::leader_last(&self.nats, &self.stream, &subject).await? else {
            return match log::last_of(&self.nats, &self.stream).await? {
                Sequence::NONE => Ok(None),
                _ => Err(away(format!(
                    "stream {} was purged, and nobody knows any more how far the saga has read; restore the stream, or \
                     delete it to have the saga begin anew",
                    self.stream
                ))),
            };
        };
        let position = serde_json::from_slice(&message.payload).map_err(|error| away(error.to_string()))?;
        Ok(Some((position, message.sequence.0)))
    }

    async fn keep_position(&self, position: &SagaPosition, revision: u64) -> Result<u64, CommitError> {
        let payload =
            serde_json::to_vec(position).map_err(|error| CommitError::Refused(error.to_string()))?;
        let mut headers = wire::expecting(revision);
        headers.insert(header::EXPECTED_STREAM, self.stream.as_str());
        let subject = subjects::saga_position(&self.saga);
        Ok(wire::publish(&self.nats, &subject, headers, payload.into()).await?.sequence)
    }

    async fn begin(&self, start: &Start) -> Result<Sequence, Unavailable> {
        let last = log::last_of(&self.nats, self.events.as_str()).await?;
        Ok(match start {
            Start::Beginning => Sequence::NONE,
            Start::Now => last,
            Start::Sequence(first) => Sequence(first.0.saturating_sub(1)).min(last),
            Start::Time(time) => {
                let first = wire::first_since(&self.nats, self.events.as_str(), ">", *time).await?;
                first.map_or(last, |first| Sequence(first.0 - 1))
            }
        })
    }

    async fn let_go(&self, up_to: Sequence) -> Result<(), Unavailable> {
        let subject = format!("$JS.API.STREAM.PURGE.{}", self.stream);
        let request = serde_json::json!({ "filter": subjects::saga_inputs(&self.saga), "seq": up_to.0 + 1 });
        let doing = format!("deleting inputs of stream {}", self.stream);
        let purged =
            wire::api::<serde::de::IgnoredAny>(&self.nats, &subject, request.to_string().into(), &doing);
        purged.await?.map(drop).map_err(|error| Unavailable { doing, cause: error.to_string() })
    }
}

//! Sagas as operators see and change them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use pelton_core::id::{CommandId, InstanceId, Name, Sequence};
use pelton_core::outcomes::CommandReport;
use pelton_core::saga::input::FIRED_BY;
use pelton_core::saga::instance::Instance;
use pelton_core::saga::lead::SagaPosition;
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::journal::{self, Act};
use super::outcomes;
use crate::commands::Commands;
use crate::connection::Nats;
use crate::subjects;
use crate::wire::{self, BatchMessage, ConditionalWrite, PublishError, header};

/// One saga, for operators.
#[derive(Debug, Clone)]
pub struct SagaView {
    nats: Nats,
    saga: Name,
    stream: String,
}

/// An instance as it is stored.
#[derive(Debug, Clone)]
pub struct StoredInstance {
    /// Its id.
    pub id: InstanceId,
    /// What is stored.
    pub instance: Instance,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Its place in the saga's stream.
    pub revision: Sequence,
}

/// Some of the instances.
#[derive(Default)]
struct InstancePage {
    /// Their ids, in order.
    ids: Vec<InstanceId>,
    /// How many were listed with this page. `None`: it is the last one.
    next: Option<usize>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Done,
    /// Something has happened to the instance since it was read.
    Overtaken,
}

impl SagaView {
    /// The saga with this id.
    #[must_use]
    pub fn new(nats: &Nats, saga: &Name) -> Self {
        Self { nats: nats.clone(), saga: saga.clone(), stream: subjects::saga_stream(saga) }
    }

    /// How far it has read. `None`: no host has ever run it.
    pub async fn position(&self) -> Result<Option<(SagaPosition, Timestamp)>, Unavailable> {
        let subject = subjects::saga_position(&self.saga);
        let found = match wire::leader_last(&self.nats, &self.stream, &subject).await {
            Ok(found) => found,
            Err(_) if !wire::takes(&self.nats, &subject).await? => None,
            Err(away) => return Err(away),
        };
        let Some(message) = found else { return Ok(None) };
        let position = serde_json::from_slice(&message.payload)
            .map_err(|error| Unavailable { doing: format!("reading {subject}"), cause: error.to_string() })?;
        Ok(Some((position, message.stored_at)))
    }

    /// Hands over all instances, also those that ended and are not forgotten yet, until `found` has seen enough. One instance at
    /// a time is in memory, and the ids that the server lists at once. Whether `found` stopped it.
    pub async fn each(
        &self,
        mut found: impl FnMut(StoredInstance) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Unavailable> {
        let mut from = Some(0);
        while let Some(seen) = from {
            let page = self.page(seen).await?;
            for id in page.ids {
                if let Some(stored) = self.instance(&id).await?
                    && found(stored).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
            from = page.next;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The ids of some instances, behind as many others. The server bounds how many they are.
    async fn page(&self, seen: usize) -> Result<InstancePage, Unavailable> {
        #[derive(Deserialize)]
        struct Page {
            state: State,
            #[serde(default)]
            total: usize,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            subjects: Option<BTreeMap<String, u64>>,
        }
        let prefix = subjects::saga_instances(&self.saga);
        let (subject, doing) = (
            format!("$JS.API.STREAM.INFO.{}", self.stream),
            format!("listing the instances of {}", self.saga),
        );
        let request = json!({ "subjects_filter": format!("{prefix}*"), "offset": seen }).to_string();
        let page = match wire::api::<Page>(&self.nats, &subject, request.into(), &doing).await? {
            Ok(page) => page,
            Err(error) if error.code == 404 => return Ok(InstancePage::default()),
            Err(error) => return Err(Unavailable { doing, cause: error.to_string() }),
        };
        let listed = page.state.subjects.unwrap_or_default();
        let seen = seen + listed.len();
        let is_last = listed.is_empty() || seen >= page.total;
        let ids = listed.keys().filter_map(|subject| InstanceId::new(subject.strip_prefix(&prefix)?).ok());
        Ok(InstancePage { ids: ids.collect(), next: (!is_last).then_some(seen) })
    }

    /// One instance.
    pub async fn instance(&self, id: &InstanceId) -> Result<Option<StoredInstance>, Unavailable> {
        let subject = subjects::saga_instance(&self.saga, id);
        let Some(message) = wire::leader_last(&self.nats, &self.stream, &subject).await? else {
            return Ok(None);
        };
        let instance = Instance::from_bytes(&message.payload)
            .map_err(|cause| Unavailable { doing: format!("reading {subject}"), cause })?;
        let (stored_at, revision) = (message.stored_at, message.sequence);
        Ok(Some(StoredInstance { id: id.clone(), instance, stored_at, revision }))
    }

    /// The outcomes of the instance's open commands, as far as they have ended or were set aside. They may be on their way.
    pub async fn outcomes(
        &self,
        of: &StoredInstance,
        commands: &Commands,
    ) -> Result<Vec<CommandReport>, Unavailable> {
        let mut reports = Vec::new();
        for place in of.instance.open.keys() {
            let doing = || format!("looking how command {place} of instance {} ended", of.id);
            let id = CommandId::of_instance(&self.saga, &of.id, place)
                .map_err(|error| Unavailable { doing: doing(), cause: error.to_string() })?;
            reports.extend(commands.report(&id).await?);
        }
        Ok(reports)
    }

    /// Tells the saga an outcome, unless it was told.
    pub async fn tell(&self, report: &CommandReport) -> Result<(), Unavailable> {
        outcomes::report(&self.nats, report).await
    }

    /// Lets an armed timer go off now, as the server would when it is due.
    pub async fn fire(&self, of: &StoredInstance, timer: &str, by: &str) -> Result<Changed, Unavailable> {
        let armed = subjects::saga_timer(&self.saga, &of.id, timer);
        let Some(message) = wire::leader_last(&self.nats, &self.stream, &armed).await? else {
            return Ok(Changed::Overtaken);
        };
        let act = Act::Fired { timer: timer.to_owned() };
        journal::note(&self.nats, &self.saga, of, by, act).await?;
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(FIRED_BY, pelton_core::cloudevents::header_value(by));
        headers.insert(header::SCHEDULER, armed.as_str());
        headers.insert(header::SCHEDULE_NEXT, "purge");
        let subject = subjects::saga_due(&self.saga, &of.id, timer);
        let due = BatchMessage { subject, headers, payload: message.payload };
        let write = ConditionalWrite::new(&self.stream, armed.clone(), message.sequence.0, vec![due]);
        self.change(write).await
    }

    /// Ends an instance as if it had ended itself: its timers are cancelled, and nothing follows.
    pub async fn cancel(
        &self,
        of: &StoredInstance,
        keep: std::time::Duration,
        by: &str,
    ) -> Result<Changed, Unavailable> {
        journal::note(&self.nats, &self.saga, of, by, Act::Cancelled).await?;
        let mut ended = of.instance.clone();
        let timers: Vec<String> = std::mem::take(&mut ended.timers).into_keys().collect();
        (ended.state, ended.quarantined_by) = (None, None);
        ended.open.clear();
        let doing = format!("ending instance {}", of.id);
        let payload = ended.to_bytes().map_err(|cause| Unavailable { doing, cause })?;
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header::TTL, format!("{}s", keep.as_secs().max(1)));
        let subject = subjects::saga_instance(&self.saga, &of.id);
        let mut messages = vec![BatchMessage { subject: subject.clone(), headers, payload }];
        messages.extend(timers.iter().map(|timer| {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert(header::TTL, "1s");
            headers.insert(header::SCHEDULER, subjects::saga_timer(&self.saga, &of.id, timer));
            headers.insert(header::SCHEDULE_NEXT, "purge");
            let subject = subjects::saga_cancel(&self.saga, &of.id, timer);
            BatchMessage { subject, headers, payload: Bytes::new() }
        }));
        self.change(ConditionalWrite::new(&self.stream, subject, of.revision.0, messages)).await
    }

    async fn change(&self, write: ConditionalWrite) -> Result<Changed, Unavailable> {
        let doing = format!("changing {}", write.filter);
        match write.store(&self.nats).await {
            Ok(_) => Ok(Changed::Done),
            Err(PublishError::WrongSequence(_)) => Ok(Changed::Overtaken),
            Err(PublishError::Unclear(away) | PublishError::NobodyTakes(away)) => Err(away),
            Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
        }
    }
}

//! What the server knows of a configuration: how much its streams hold, how far its handlers, views and sagas are, and
//! how many dead letters there are; and which hosts answer. Reads only.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::Info as ConsumerInfo;
use bytes::Bytes;
use futures::TryStreamExt;
use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::{Name, Sequence};
use pelton_core::partition::Partitions;
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::connection::Nats;
use crate::hosts::{self, HostStatus};
use crate::sagas::SagaView;
use crate::subjects::{self, AUDIT, COMMANDS, DEAD_LETTERS, saga_stream};
use crate::views::Bucket;
use crate::views::bucket::leader_checkpoint;
use crate::wire;

/// The most messages that are looked at to tell a view that waits for events from one that only marks lie ahead of.
const MAX_LOOKED_AT: usize = 256;

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The event streams.
    pub streams: Vec<Name>,
    /// The handlers, by id, each with its partitions.
    pub handlers: Vec<(Name, Partitions)>,
    /// The views, each with the stream that it reads.
    pub views: Vec<(Name, Name)>,
    /// The sagas.
    pub sagas: Vec<WantedSaga>,
}

/// A saga to look at.
#[derive(Debug, Clone)]
pub struct WantedSaga {
    /// Its name.
    pub name: Name,
    /// Its id.
    pub id: Name,
    /// The stream that it reads.
    pub stream: Name,
}

/// What there is. What is missing on the server is not listed.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The streams.
    pub streams: Vec<StreamStatus>,
    /// The handlers.
    pub handlers: Vec<ConsumerStatus>,
    /// The views, each version of them.
    pub views: Vec<ViewStatus>,
    /// The sagas that a host has run.
    pub sagas: Vec<SagaStatus>,
    /// The consumers that have dead letters.
    pub dead_letters: Vec<DeadLetterCount>,
    /// The hosts that answered.
    pub hosts: Vec<HostStatus>,
}

/// A stream.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// How many messages it holds.
    pub messages: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The sequence of its last message, also of one that is gone.
    pub last: Sequence,
    /// When its last message was stored. `None` if there never was one.
    pub last_stored_at: Option<String>,
}

/// The durable consumer of a handler, or of one of its partitions.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerStatus {
    /// Its name: the handler's id, and the partition where there are several.
    pub name: String,
    /// The stream that it reads.
    pub stream: String,
    /// Messages that no host has fetched yet.
    pub waiting: u64,
    /// Messages that a host holds, or held when it ended.
    pub in_work: u64,
    /// Messages in work that were handed out before.
    pub again: u64,
    /// Up to here, all of its messages have ended.
    pub ended_up_to: Sequence,
    /// Whether a host asks for more right now. A host that has as much in work as it may does not.
    pub is_asked: bool,
}

/// A saga.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SagaStatus {
    /// Its name.
    pub name: Name,
    /// What it is known by on the server.
    pub id: Name,
    /// The stream that it reads.
    pub stream: Name,
    /// Up to here, every event that it reads was handled. It does not rise with events of other types.
    pub handled_up_to: Sequence,
    /// When the host that runs it last said so.
    pub last_sign: Timestamp,
    /// Whether a host runs it now, as far as is known.
    pub is_run: bool,
}

/// A host that runs a saga says so more often than this.
const SIGN_WITHIN: Duration = Duration::from_secs(5);

/// One version of a view.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewStatus {
    /// The view.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// The stream that it reads.
    pub stream: Name,
    /// The sequence of the last event in it.
    pub position: Sequence,
    /// How many messages of the stream lie ahead of it: events, and the marks between them. 0 if there is no event.
    pub lag: u64,
    /// How many of its keys stand still behind dead letters.
    pub parked_keys: usize,
}

/// The dead letters of one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterCount {
    /// The handler, projection or saga.
    pub consumer: String,
    /// Those that failed.
    pub failed: u64,
    /// Those that are parked behind them.
    pub parked: u64,
}

/// Reads the status.
///
/// # Errors
///
/// The server does not answer.
pub async fn read(nats: &Nats, wanted: &Wanted) -> Result<Status, Unavailable> {
    let mut status = Status::default();
    let own = [COMMANDS, DEAD_LETTERS, AUDIT].map(str::to_owned);
    let sagas = wanted.sagas.iter().map(|saga| saga_stream(&saga.id));
    for name in wanted.streams.iter().map(Name::to_string).chain(own).chain(sagas) {
        status.streams.extend(stream(nats, &name).await?);
    }
    for (handler, partitions) in &wanted.handlers {
        for partition in partitions.all() {
            let name = subjects::handler_consumer(handler, partition);
            status.handlers.extend(consumer(nats, name).await?);
        }
    }
    for saga in &wanted.sagas {
        status.sagas.extend(saga_status(nats, saga).await?);
    }
    let names = nats.jetstream().stream_names().try_collect::<Vec<String>>().await;
    let names = names
        .map_err(|error| Unavailable { doing: "listing the streams".to_owned(), cause: error.to_string() })?;
    for (view, stream) in &wanted.views {
        let version = |name: &String| subjects::version_of_view(name, view);
        for version in names.iter().filter_map(version) {
            let last = status.streams.iter().find(|found| found.name == stream.as_str());
            let last = last.map_or(Sequence(0), |stream| stream.last);
            status.views.push(view_status(nats, (view, version), stream, last).await?);
        }
    }
    status.dead_letters = dead_letters(nats).await?;
    status.hosts = hosts::ask(nats).await?;
    Ok(status)
}

async fn stream(nats: &Nats, name: &str) -> Result<Option<StreamStatus>, Unavailable> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        messages: u64,
        bytes: u64,
        last_seq: u64,
        last_ts: String,
    }
    let Some(Info { state }) = ask::<Info>(nats, &format!("STREAM.INFO.{name}"), Bytes::new()).await? else {
        return Ok(None);
    };
    let State { messages, bytes, last_seq, last_ts } = state;
    let last_stored_at = (last_seq > 0).then_some(last_ts);
    Ok(Some(StreamStatus {
        name: name.to_owned(),
        messages,
        bytes,
        last: Sequence(last_seq),
        last_stored_at,
    }))
}

async fn consumer(nats: &Nats, name: String) -> Result<Option<ConsumerStatus>, Unavailable> {
    let info: Option<ConsumerInfo> =
        ask(nats, &format!("CONSUMER.INFO.{COMMANDS}.{name}"), Bytes::new()).await?;
    Ok(info.map(|info| ConsumerStatus {
        name,
        stream: COMMANDS.to_owned(),
        waiting: info.num_pending,
        in_work: u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX),
        again: u64::try_from(info.num_redelivered).unwrap_or(u64::MAX),
        ended_up_to: Sequence(info.ack_floor.stream_sequence),
        is_asked: info.num_waiting > 0,
    }))
}

async fn saga_status(nats: &Nats, saga: &WantedSaga) -> Result<Option<SagaStatus>, Unavailable> {
    let Some((position, last_sign)) = SagaView::new(nats, &saga.id).position().await? else {
        return Ok(None);
    };
    Ok(Some(SagaStatus {
        name: saga.name.clone(),
        id: saga.id.clone(),
        stream: saga.stream.clone(),
        handled_up_to: position.of(saga.stream.as_str()),
        last_sign,
        is_run: !position.released && last_sign.elapsed() < SIGN_WITHIN,
    }))
}

async fn view_status(
    nats: &Nats,
    (view, version): (&Name, u32),
    stream: &Name,
    last: Sequence,
) -> Result<ViewStatus, Unavailable> {
    let bucket = Bucket::new(view, version)
        .map_err(|cause| Unavailable { doing: format!("looking at view {view}"), cause })?;
    let checkpoint = leader_checkpoint(nats, &bucket).await?;
    let position = checkpoint.position;
    let lag = match is_event_after(nats, stream, position).await? {
        true => last.0.saturating_sub(position.0),
        false => 0,
    };
    let (name, stream, parked_keys) = (view.clone(), stream.clone(), checkpoint.parked.len());
    Ok(ViewStatus { name, version, stream, position, lag, parked_keys })
}

/// Whether an event lies behind this position. Marks do not count: a view does not read them.
async fn is_event_after(nats: &Nats, stream: &Name, position: Sequence) -> Result<bool, Unavailable> {
    let mut from = Sequence(position.0 + 1);
    for _ in 0..MAX_LOOKED_AT {
        match wire::leader_next(nats, stream.as_str(), from, ">").await? {
            Some(message) if subjects::is_mark(&message.subject) => from = Sequence(message.sequence.0 + 1),
            found => return Ok(found.is_some()),
        }
    }
    Ok(true)
}

/// Counts the dead letters by their subjects.
async fn dead_letters(nats: &Nats) -> Result<Vec<DeadLetterCount>, Unavailable> {
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
    let filter = subjects::dead_letters(None, None, None, None, None);
    let mut counts = BTreeMap::<String, DeadLetterCount>::new();
    let mut seen = 0;
    loop {
        let request = json!({ "subjects_filter": filter, "offset": seen }).to_string();
        let page = ask::<Page>(nats, &format!("STREAM.INFO.{DEAD_LETTERS}"), request.into()).await?;
        let Some(Page { state, total }) = page else { break };
        let listed = state.subjects.unwrap_or_default();
        seen += listed.len();
        let is_last = listed.is_empty() || seen >= total;
        for subject in listed.into_keys() {
            let Some((consumer, kind)) = subjects::consumer_and_kind(&subject) else { continue };
            let count = counts.entry(consumer.to_owned()).or_insert_with(|| DeadLetterCount {
                consumer: consumer.to_owned(),
                failed: 0,
                parked: 0,
            });
            match kind {
                DeadLetterKind::Failed => count.failed += 1,
                DeadLetterKind::Parked => count.parked += 1,
            }
        }
        if is_last {
            break;
        }
    }
    Ok(counts.into_values().collect())
}

/// The answer of the JetStream API. `None` if what is asked for does not exist.
async fn ask<T: serde::de::DeserializeOwned>(
    nats: &Nats,
    what: &str,
    request: Bytes,
) -> Result<Option<T>, Unavailable> {
    let doing = format!("asking for {what}");
    match wire::api::<T>(nats, &format!("$JS.API.{what}"), request, &doing).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code == 404 => Ok(None),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

//! The log of commands. It holds a command from its intake until the command has ended and is older than `[commands] keep`.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::TryStreamExt;
use pelton_core::id::{CommandId, Sequence};
use pelton_core::partition::{Partition, Partitions};
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::Deserialize;

use crate::connection::Nats;
use crate::subjects::{self, COMMANDS};
use crate::wire::{self, StoredMessage, header};

/// The wait between two sweeps of old commands.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Makes the server store a command only if the log has no command with this id.
pub(crate) fn expect_no_command(headers: &mut HeaderMap, id: &CommandId) {
    headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, "0");
    headers.insert(header::EXPECTED_SUBJECT, subjects::command_of_id(id));
}

/// The command with this id, read from the leader as JSON, because a client wrote its headers.
pub(crate) async fn command(nats: &Nats, id: &CommandId) -> Result<Option<StoredMessage>, Unavailable> {
    wire::leader_last(nats, COMMANDS, &subjects::command_of_id(id)).await
}

#[derive(Deserialize)]
struct Info {
    state: State,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    subjects: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct State {
    first_seq: u64,
    last_seq: u64,
}

pub(super) async fn state(nats: &Nats, stream: &str) -> Result<State, Unavailable> {
    match info(nats, stream).await? {
        Some(info) => Ok(info.state),
        None => Err(Unavailable {
            doing: format!("asking for stream {stream}"),
            cause: "there is none; `pelton run` creates it".to_owned(),
        }),
    }
}

async fn info(nats: &Nats, stream: &str) -> Result<Option<Info>, Unavailable> {
    let doing = format!("asking for stream {stream}");
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    match wire::api::<Info>(nats, &subject, Bytes::new(), &doing).await? {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.code == 404 => Ok(None),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

/// Into how many partitions the log has the commands of this type divided. `None`: it takes none of them. While the number
/// is changed, it is not the one that every host is configured with.
pub(crate) async fn partitions(nats: &Nats, r#type: &str) -> Result<Option<Partitions>, Unavailable> {
    let subjects = info(nats, COMMANDS).await?.map(|info| info.config.subjects).unwrap_or_default();
    let of_type = |subject: &String| match Partition::split(subjects::place_of_commands(subject)) {
        (name, Some(partition)) if name == r#type => Some(partition.siblings()),
        _ => None,
    };
    Ok(subjects.iter().find_map(of_type))
}

/// The same of a stream that may not exist.
pub(crate) async fn last_if_any(nats: &Nats, stream: &str) -> Result<Sequence, Unavailable> {
    Ok(info(nats, stream).await?.map_or(Sequence::NONE, |info| Sequence(info.state.last_seq)))
}

/// The sequence of the last command that was logged, as the leader has it.
pub(crate) async fn last(nats: &Nats) -> Result<Sequence, Unavailable> {
    last_of(nats, COMMANDS).await
}

/// The sequence of the last message that was stored in a stream, as the leader has it.
pub(crate) async fn last_of(nats: &Nats, stream: &str) -> Result<Sequence, Unavailable> {
    Ok(Sequence(state(nats, stream).await?.last_seq))
}

/// Sweeps old commands in intervals, forever.
pub async fn keep_for(nats: &Nats, keep: Duration) {
    loop {
        match let_go(nats, keep).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(stream = COMMANDS, count, "old commands were let go"),
            Err(away) => tracing::warn!("will be tried again: {away}"),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Deletes the commands that are older than `keep`, up to the first that a handler has not ended. Returns their number.
pub async fn let_go(nats: &Nats, keep: Duration) -> Result<u64, Unavailable> {
    // The end of the log is read before the consumers, which do not know commands that are stored after it.
    let State { first_seq, last_seq } = state(nats, COMMANDS).await?;
    let Some(floor) = lowest_ack_floor(nats).await? else { return Ok(0) };
    let keep_from = Timestamp(Timestamp::now().0.saturating_sub(wire::nanoseconds(keep)));
    let up_to = first_younger(nats, first_seq, floor.0.min(last_seq) + 1, keep_from).await?;
    if up_to <= first_seq {
        return Ok(0);
    }
    let doing = format!("letting go of commands before {up_to} of stream {COMMANDS}");
    let request = serde_json::json!({ "seq": up_to }).to_string();
    let subject = format!("$JS.API.STREAM.PURGE.{COMMANDS}");
    #[derive(Deserialize)]
    struct Purged {
        purged: u64,
    }
    match wire::api::<Purged>(nats, &subject, request.into(), &doing).await? {
        Ok(Purged { purged }) => Ok(purged),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

/// The sequence up to which all consumers have acknowledged their messages. `None` without a consumer.
async fn lowest_ack_floor(nats: &Nats) -> Result<Option<Sequence>, Unavailable> {
    let away = |cause: String| Unavailable { doing: format!("listing the consumers of {COMMANDS}"), cause };
    let stream = nats.jetstream().get_stream_no_info(COMMANDS).await.map_err(|e| away(e.to_string()))?;
    let infos: Vec<_> = stream.consumers().try_collect().await.map_err(|e| away(e.to_string()))?;
    // A consumer's ack floor counts its own messages only. A consumer that has ended all of them holds nothing back.
    let floor = |info: &async_nats::jetstream::consumer::Info| match (info.num_pending, info.num_ack_pending)
    {
        (0, 0) => u64::MAX - 1,
        _ => info.ack_floor.stream_sequence,
    };
    Ok(infos.iter().map(floor).min().map(Sequence))
}

/// The first sequence from `low` to `high` whose message is not older than `than`, by binary search: the times of messages
/// rise with their sequences.
async fn first_younger(
    nats: &Nats,
    mut low: u64,
    mut high: u64,
    than: Timestamp,
) -> Result<u64, Unavailable> {
    while low < high {
        let middle = low + (high - low) / 2;
        let next = wire::leader_next(nats, COMMANDS, Sequence(middle), ">").await?;
        match next {
            Some(message) if message.stored_at < than && message.sequence.0 < high => {
                low = message.sequence.0 + 1;
            }
            _ => high = middle,
        }
    }
    Ok(low)
}

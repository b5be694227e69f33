//! Commands that no handler takes.
//!
//! The command stream hands a message to the one consumer whose filter takes its subject. A command of a type that no
//! consumer takes would wait there for ever, unseen. A host looks for such commands now and then and sets them aside.

use std::time::Duration;

use futures::TryStreamExt;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind};
use pelton_core::id::{Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;
use serde::Deserialize;

use crate::connection::Nats;
use crate::subjects::{ALL_COMMANDS, COMMANDS, takes};
use crate::{dead_letters, wire};

/// The wait between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The most commands that one sweep sets aside, or tries to.
pub const MAX_PER_SWEEP: usize = 1000;

/// The name under which they are kept, in place of a handler's. A handler cannot have it: names have no `_`.
pub const CONSUMER: &str = "no_handler";

#[derive(Deserialize)]
struct Info {
    state: State,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    subjects: Option<std::collections::BTreeMap<String, u64>>,
}

/// Sets aside such commands, again and again.
pub async fn sweep(nats: &Nats) {
    loop {
        if let Err(away) = set_aside(nats).await {
            tracing::warn!("will be tried again: {away}");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Sets aside the commands whose type no consumer of the command stream takes, whichever host it belongs to. Answers how
/// many. A command is taken off the stream only after it has been kept. One that cannot be kept stays, and is the error
/// after all others had their turn.
pub async fn set_aside(nats: &Nats) -> Result<usize, Unavailable> {
    // Subjects first: a consumer that comes after that look can only make fewer of them orphans.
    let subjects = pending_subjects(nats).await?;
    if subjects.is_empty() {
        return Ok(0);
    }
    let filters = consumer_filters(nats).await?;
    let mut count = 0;
    let mut all = Ok(());
    for subject in subjects.iter().filter(|subject| !filters.iter().any(|filter| takes(filter, subject))) {
        let mut from = Sequence(1);
        while count < MAX_PER_SWEEP
            && let Some(message) = wire::leader_next(nats, COMMANDS, from, subject).await?
        {
            from = Sequence(message.sequence.0 + 1);
            all = all.and(keep_and_remove(nats, message).await);
            count += 1;
        }
    }
    all.map(|()| count)
}

/// Whether some consumer of the command stream takes a command of this subject.
pub(crate) async fn is_taken(nats: &Nats, subject: &str) -> Result<bool, Unavailable> {
    Ok(consumer_filters(nats).await?.iter().any(|filter| takes(filter, subject)))
}

async fn pending_subjects(nats: &Nats) -> Result<Vec<String>, Unavailable> {
    let doing = "looking for commands that no handler takes";
    let question = serde_json::json!({ "subjects_filter": ALL_COMMANDS }).to_string().into();
    let answer = wire::api::<Info>(nats, &format!("$JS.API.STREAM.INFO.{COMMANDS}"), question, doing).await?;
    let info = answer.map_err(|error| Unavailable { doing: doing.to_owned(), cause: error.to_string() })?;
    Ok(info.state.subjects.unwrap_or_default().into_keys().collect())
}

async fn consumer_filters(nats: &Nats) -> Result<Vec<String>, Unavailable> {
    let away = |cause: String| Unavailable { doing: format!("listing the consumers of {COMMANDS}"), cause };
    let stream = nats.jetstream().get_stream_no_info(COMMANDS).await.map_err(|e| away(e.to_string()))?;
    let infos: Vec<_> = stream.consumers().try_collect().await.map_err(|e| away(e.to_string()))?;
    let filters = infos.into_iter().flat_map(|info| {
        let mut filters = info.config.filter_subjects;
        filters.push(info.config.filter_subject);
        filters
    });
    Ok(filters.filter(|filter| !filter.is_empty()).collect())
}

async fn keep_and_remove(nats: &Nats, message: wire::RawMessage) -> Result<(), Unavailable> {
    let doing = || format!("setting aside message {} of {COMMANDS}", message.sequence);
    let away = |cause: String| Unavailable { doing: doing(), cause };
    let cause = format!("no handler takes commands published to {}", message.subject);
    tracing::error!(stream = COMMANDS, sequence = %message.sequence, "set aside: {cause}");
    let letter = DeadLetter {
        consumer: CONSUMER.to_owned(),
        key: None,
        kind: DeadLetterKind::Failed,
        message: Incoming {
            stream: Name::new(COMMANDS).map_err(|e| away(e.to_string()))?,
            sequence: message.sequence,
            subject: message.subject.clone(),
            headers: wire::raw_headers(&message.header_block),
            payload: message.payload.clone(),
            stored_at: message.stored_at,
            attempt: 0,
        },
        cause,
        digest: None,
    };
    dead_letters::keep(nats, &letter).await?;
    wire::delete(nats, COMMANDS, message.sequence).await
}

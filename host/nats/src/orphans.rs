//! Commands that no handler takes.
//!
//! The command stream hands a message to the one consumer whose filter takes its subject. A command of a type that no
//! consumer takes would wait there for ever, unseen. A host looks for such commands now and then and sets them aside.

use bytes::Bytes;
use futures::TryStreamExt;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind};
use pelton_core::id::{Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::ports::Unavailable;
use serde::Deserialize;

use crate::connection::Nats;
use crate::dead_letters;
use crate::topology::COMMANDS;
use crate::wire;

/// The most commands that one look sets aside, or tries to.
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
    let question = Bytes::from_static(br#"{"subjects_filter":"command.>"}"#);
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

/// Whether a filter takes a subject: `*` stands for one token, `>` for one or more at the end.
fn takes(filter: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in filter.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    subject.next().is_none()
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

#[cfg(test)]
mod tests {
    use super::takes;

    #[test]
    fn a_filter_takes_what_the_server_would_give_it() {
        for (filter, subject, expected) in [
            ("command.a.*", "command.a.1", true),
            ("command.a.*", "command.b.1", false),
            ("command.a.*", "command.a", false),
            ("command.a.*", "command.a.1.2", false),
            ("command.>", "command.a.1", true),
            ("command.>", "command", false),
        ] {
            assert_eq!(takes(filter, subject), expected, "{filter} {subject}");
        }
    }
}

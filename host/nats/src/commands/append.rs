//! Storing what follows from commands at their entity: all or none, and only behind the message that is expected to be the
//! entity's last.
//!
//! The expectation is always on the entity's one filter, `<prefix>.>`, carried by the first message. One message is a
//! plain publish. Several are an atomic batch; batches are dear one by one on a single server, so decisions that wait
//! are committed as one group, see [`crate::wire`].
//!
//! No message has a `Nats-Msg-Id`: the expectation says more than the server's memory of ids does.

use std::borrow::Cow;
use std::time::Duration;

use pelton_core::cloudevents;
use pelton_core::command::backlinks::BACKLINKS;
use pelton_core::command::ports::{AppendError, EntityMessage, NewMessage};
use pelton_core::id::{Name, Sequence};
use pelton_core::subject::Entity;

use crate::subjects;
use crate::wire::{self, BatchMessage, ConditionalWrite, MAX_BATCH_MESSAGES, PublishError, Stored, header};

/// The header that says which command a message followed from: `<command id> <fingerprint> <sequence in its log>
/// <number of its events>`.
pub(crate) const COMMAND: &str = "Pelton-Command";
/// The header with the digest of the component that decided.
pub(crate) const PLUGIN: &str = "Pelton-Plugin";
/// The header of a message after which the entity's later commands wait behind its dead letters.
pub(crate) const HELD: &str = "Pelton-Held";
/// The longest that the server takes for `Nats-TTL` is far longer; the shortest is a second.
const MIN_TTL: Duration = Duration::from_secs(1);

/// The messages of one decision, ready to be sent.
pub(crate) fn decision(
    stream: &Name,
    entity: &Entity,
    expected: Sequence,
    messages: &[NewMessage],
) -> Result<ConditionalWrite, AppendError> {
    if messages.is_empty() || messages.len() > MAX_BATCH_MESSAGES {
        let why = format!("{} messages at once; 1 to {MAX_BATCH_MESSAGES} are allowed", messages.len());
        return Err(AppendError::Refused(why));
    }
    let messages = messages.iter().map(|new| message(entity, new)).collect::<Result<_, _>>()?;
    Ok(ConditionalWrite::new(stream.as_str(), subjects::entity_filter(entity), expected.0, messages))
}

/// Where the messages of a decision are, or what to do instead.
pub(crate) fn appended(stored: Result<Stored, PublishError>) -> Result<Vec<Sequence>, AppendError> {
    stored.map(|stored| stored.sequences).map_err(append_error)
}

fn message(
    entity: &Entity,
    NewMessage { links, body, keep }: &NewMessage,
) -> Result<BatchMessage, AppendError> {
    let cause = &links.cause;
    let (logged_at, events) = (cause.logged_at.to_string(), cause.events.to_string());
    let command = [cause.command.as_str(), &cause.fingerprint.0, &logged_at, &events].join(" ");
    let ours = [
        (BACKLINKS, Cow::from(links.backlinks.to_string())),
        (COMMAND, Cow::from(command)),
        (PLUGIN, Cow::from(&cause.decided_by)),
    ];
    let held = links.held.then_some((HELD, Cow::Borrowed("true")));
    let ttl = keep.map(|keep| (header::TTL, Cow::from(format!("{}s", keep.max(MIN_TTL).as_secs()))));
    let ours = ours.into_iter().chain(held).chain(ttl).map(|(name, value)| (Cow::Borrowed(name), value));
    let refused = |error: String| AppendError::Refused(error);
    let (subject, headers, payload) = match body {
        // The event's own begin with `ce-`, so the server obeys none of them.
        EntityMessage::Event(event) => (
            entity.event_subject(&event.r#type, event.version),
            wire::header_map(cloudevents::headers(event).chain(ours)),
            event.data.clone(),
        ),
        EntityMessage::Mark(mark) => (
            subjects::mark(entity, &mark.command_id),
            wire::header_map(ours),
            serde_json::to_vec(mark).map_err(|e| refused(e.to_string()))?.into(),
        ),
    };
    Ok(BatchMessage { subject, headers: headers.map_err(|e| refused(e.to_string()))?, payload })
}

/// What an answer means to the flow. Whatever does not say for sure that nothing was stored is unclear.
pub(crate) fn append_error(error: PublishError) -> AppendError {
    match error {
        PublishError::WrongSequence(_) => AppendError::Conflict,
        PublishError::TooLarge(why) | PublishError::Refused(why) => AppendError::Refused(why),
        PublishError::SubjectFull(error) | PublishError::NotNow(error) => {
            AppendError::Unclear(error.to_string())
        }
        PublishError::Unclear(away) | PublishError::NobodyTakes(away) => {
            AppendError::Unclear(away.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use pelton_core::command::backlinks::Backlinks;
    use pelton_core::command::ports::{Cause, Links};
    use pelton_core::id::CommandId;
    use pelton_core::message::{Event, Fingerprint};
    use pelton_core::subject::EntityTemplate;

    use super::*;

    #[test]
    fn an_event_has_all_its_headers_and_the_server_obeys_none_but_the_hosts() {
        let entity =
            EntityTemplate::parse("room.{id}").unwrap().entity(&BTreeMap::from([("id", "1".to_owned())]));
        let entity = entity.unwrap();
        let extensions =
            [("nats-rollup", "all"), ("tenant", "a\r\nNats-Rollup: all"), ("causationid", "c 1")];
        let event = Event {
            id: "c1:0".to_owned(),
            source: "/room/1".to_owned(),
            r#type: "booked".to_owned(),
            version: 2,
            subject: Some("1".to_owned()),
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: extensions.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            data: Bytes::new(),
        };
        let cause = Cause {
            command: CommandId::new("c1").unwrap(),
            fingerprint: Fingerprint::of(&[]),
            logged_at: Sequence(41),
            events: 1,
            decided_by: "sha256:1".to_owned(),
        };
        let links = Links { backlinks: Backlinks::default(), cause: cause.clone(), held: true };
        let new = NewMessage { links, body: EntityMessage::Event(event.clone()), keep: None };
        let stream = Name::new("hotel").unwrap();
        let decided = decision(&stream, &entity, Sequence(7), std::slice::from_ref(&new)).unwrap();
        assert_eq!(decided.messages[0].subject, "room.1.booked.v2");
        let headers = wire::from_wire(Some(&decided.messages[0].headers));
        for (name, value) in cloudevents::encode(&event).iter() {
            assert_eq!(headers.get(name), Some(value), "{name}");
        }
        let command = format!("c1 {} 41 1", cause.fingerprint.0);
        for (name, value) in [(BACKLINKS, "0;"), (COMMAND, &command), (PLUGIN, "sha256:1"), (HELD, "true")] {
            assert_eq!(headers.get(name), Some(value), "{name}");
        }
        let obeyed: Vec<_> = headers.iter().filter(|(name, _)| wire::is_servers_own(name)).collect();
        let expected = [
            (header::EXPECTED_SUBJECT_SEQUENCE, "7"),
            (header::EXPECTED_SUBJECT, "room.1.>"),
            (header::EXPECTED_STREAM, "hotel"),
        ];
        assert_eq!(obeyed, expected);
    }
}

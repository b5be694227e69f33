//! Storing an entity's events: all or none, and only on the state they were decided on.
//!
//! The expectation is always on the entity's one filter, `<prefix>.>`, carried by the first message. One event is a
//! plain publish. Several are an atomic batch; batches are dear one by one on a single server, so decisions that wait
//! are gathered into one, see [`crate::wire`].

use std::borrow::Cow;

use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::command::backlinks::HISTORY;
use pelton_core::command::ports::{AppendError, EventToStore};
use pelton_core::id::{Name, Sequence};
use pelton_core::subject::Entity;

use crate::subjects::{self, is_of_entity};
use crate::wire::{self, BatchMessage, ConditionalWrite, MAX_BATCH_MESSAGES, PublishError, Stored, header};

/// The header with the command's fingerprint, which tells a retry from another command that reuses the id.
pub(crate) const COMMAND: &str = "Pelton-Command";
/// The header with the digest of the component that decided the event.
pub(crate) const PLUGIN: &str = "Pelton-Plugin";

/// The events of one decision, ready to be sent.
pub(crate) fn decision(
    stream: &Name,
    entity: &Entity,
    expected: Sequence,
    events: &[EventToStore],
) -> Result<ConditionalWrite, AppendError> {
    if events.is_empty() || events.len() > MAX_BATCH_MESSAGES {
        let why = format!("{} events of one decision; 1 to {MAX_BATCH_MESSAGES} are allowed", events.len());
        return Err(AppendError::Refused(why));
    }
    let messages = events.iter().map(|event| message(entity, event)).collect::<Result<_, _>>()?;
    Ok(ConditionalWrite::new(stream.as_str(), subjects::entity_filter(entity), expected.0, messages))
}

/// Where the events of a decision are, or what to do instead.
pub(crate) fn appended(stored: Result<Stored, PublishError>) -> Result<Vec<Sequence>, AppendError> {
    match stored {
        // A message id that the server knows: perhaps from this decision's earlier try, perhaps not.
        Ok(Stored { duplicate: true, sequences }) => Err(AppendError::Unclear(format!(
            "an event with its id is stored at sequence {}",
            sequences.last().copied().unwrap_or_default()
        ))),
        Ok(stored) => Ok(stored.sequences),
        Err(error) => Err(append_error(error)),
    }
}

fn message(entity: &Entity, event: &EventToStore) -> Result<BatchMessage, AppendError> {
    let EventToStore { subject, event, history, fingerprint, decided_by } = event;
    if !is_of_entity(entity, subject) {
        return Err(AppendError::Refused(format!(
            "the subject {subject} is not one of entity {}",
            entity.prefix()
        )));
    }
    let ours = [
        (HISTORY, history.to_string().into()),
        (COMMAND, Cow::from(&*fingerprint.0)),
        (PLUGIN, Cow::from(decided_by)),
        (header::MSG_ID, Cow::from(&event.id)),
    ];
    let ours = ours.map(|(name, value)| (Cow::Borrowed(name), value));
    // The event's own begin with `ce-`, so the server obeys none of them.
    let headers = wire::header_map(cloudevents::headers(event).chain(ours));
    let headers = headers.map_err(|e| AppendError::Refused(e.to_string()))?;
    Ok(BatchMessage { subject: subject.clone(), headers, payload: Bytes::clone(&event.data) })
}

/// What an answer means to the flow. Whatever does not say for sure that nothing was stored is unclear.
pub(crate) fn append_error(error: PublishError) -> AppendError {
    match error {
        PublishError::WrongSequence(_) => AppendError::Conflict,
        PublishError::TooLarge(why) | PublishError::Refused(why) => AppendError::Refused(why),
        PublishError::SubjectFull(error) | PublishError::NotNow(error) => {
            AppendError::Unclear(error.to_string())
        }
        PublishError::Unclear(away) => AppendError::Unclear(away.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pelton_core::command::backlinks::Backlinks;
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
        let event = EventToStore {
            subject: entity.event_subject("booked", 2),
            event,
            history: Backlinks::default(),
            fingerprint: Fingerprint::of(&[]),
            decided_by: "sha256:1".to_owned(),
        };
        let stream = Name::new("hotel").unwrap();
        let decided = decision(&stream, &entity, Sequence(7), std::slice::from_ref(&event)).unwrap();
        let headers = wire::from_wire(Some(&decided.messages[0].headers));
        for (name, value) in cloudevents::encode(&event.event).iter() {
            assert_eq!(headers.get(name), Some(value), "{name}");
        }
        for (name, value) in [(HISTORY, "0;"), (COMMAND, &*event.fingerprint.0), (PLUGIN, "sha256:1")] {
            assert_eq!(headers.get(name), Some(value), "{name}");
        }
        let obeyed: Vec<_> = headers.iter().filter(|(name, _)| wire::is_servers_own(name)).collect();
        let expected = [
            (header::EXPECTED_SUBJECT_SEQUENCE, "7"),
            (header::EXPECTED_SUBJECT, "room.1.>"),
            (header::EXPECTED_STREAM, "hotel"),
            (header::MSG_ID, "c1:0"),
        ];
        assert_eq!(obeyed, expected);
    }
}

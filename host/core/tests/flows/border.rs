//! Values that cross the borders come back unchanged: commands into the core, decided events into a stream and back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pelton_core::cloudevents::{self, CAUSATION_ID, CORRELATION_ID, TRACEPARENT, is_plugin_extension};
use pelton_core::command::backlinks::Backlinks;
use pelton_core::command::decision::{self, Author, Batch, Decision};
use pelton_core::command::ports::{EntityMessage, HandlerDescriptor};
use pelton_core::contract::MAX_EXTENSIONS;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::intake::{CommandMessage, CommandRoute, Intake, IntakeError};
use pelton_core::message::{Command, EventType, Incoming, Metadata, NewEvent};
use pelton_core::partition::{Partition, Partitions};
use pelton_core::plugin::Identity;
use pelton_core::subject::EntityTemplate;
use pelton_core::time::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn intake() -> Intake {
    let route = CommandRoute {
        template: EntityTemplate::parse("room.{room}").unwrap(),
        tokens: BTreeMap::from([("room".to_owned(), "/room".to_owned())]),
        partitions: Partitions::ONE,
    };
    Intake::new([("book".to_owned(), route)].into())
}

fn decode(id: &str, source: &str, extensions: &Metadata) -> Result<Command, IntakeError> {
    decode_at(&format!("command.book.{id}"), id, source, extensions)
}

fn decode_at(subject: &str, id: &str, source: &str, extensions: &Metadata) -> Result<Command, IntakeError> {
    let id = CommandId::new(id).unwrap();
    let message = CommandMessage {
        id: &id,
        r#type: "book",
        source,
        time: None,
        datacontenttype: "application/json",
        extensions,
        reply_to: None,
        expected: None,
        reference: Some("r\u{e9}f"),
    };
    intake().decode(&Incoming {
        stream: Name::new("COMMANDS").unwrap(),
        sequence: Sequence(1),
        subject: subject.to_owned(),
        headers: message.headers(),
        payload: Bytes::from_static(br#"{"room":1}"#),
        stored_at: Timestamp(1),
        attempt: 1,
    })
}

fn named(names: impl IntoIterator<Item = String>) -> Metadata {
    names.into_iter().map(|name| (name, "v".to_owned())).collect()
}

#[test]
fn a_command_has_as_much_metadata_as_the_contract_says() {
    let hosts = [CORRELATION_ID, CAUSATION_ID, TRACEPARENT].map(str::to_owned);
    let senders = |count: usize| (0..count).map(|n| format!("x{n}"));
    let full = named(hosts.clone().into_iter().chain(senders(MAX_EXTENSIONS)));
    let command = decode("c", "/test", &full).unwrap();
    assert_eq!(command.metadata, named(senders(MAX_EXTENSIONS)));
    assert_eq!(command.correlation_id, "v");
    let over = decode("c", "/test", &named(senders(MAX_EXTENSIONS + 1))).unwrap_err();
    assert_eq!(over, IntakeError::Metadata(MAX_EXTENSIONS + 1));
}

/// An entity whose commands came from two partitions would have two hosts decide them, in any order.
#[test]
fn a_command_in_the_partition_of_another_entity_is_none() {
    let of_room_1 =
        |count| Partitions::new(count).unwrap().of(&intake().entity("book", br#"{"room":1}"#).unwrap());
    for count in [2, 8, 64] {
        let (right, decode) = (of_room_1(count), |partition: Partition| {
            let subject = format!("command.{}.c", partition.of_name("book"));
            decode_at(&subject, "c", "/test", &Metadata::new())
        });
        for partition in Partitions::new(count).unwrap().all() {
            match decode(partition) {
                Ok(command) => assert_eq!((partition, command.r#type.as_str()), (right, "book")),
                Err(IntakeError::Partition { expected, .. }) => assert_eq!(expected, right.of_name("book")),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(decode(right).is_ok(), "{count}");
    }
    let wrong = decode_at("command.book@9of8.c", "c", "/test", &Metadata::new());
    assert!(matches!(wrong, Err(IntakeError::Subject { .. })), "{wrong:?}");
}

#[test]
fn metadata_whose_name_begins_like_the_servers_headers_is_the_senders_all_the_same() {
    let command = decode("c", "/test", &named(["natsuser".to_owned()])).unwrap();
    assert_eq!(command.metadata, named(["natsuser".to_owned()]));
}

// R1: a client could use an id of a saga's form, and its command took the place of the saga's.
#[test]
fn only_a_saga_sends_a_command_under_an_id_of_a_sagas_form() {
    let id = "saga:cleaning:1:hotel:7:0";
    let (ours, clients) = (format!("command.book.{id}.saga"), format!("command.book.{id}"));
    for subject in [ours.clone(), format!("{ours}.retry")] {
        let command = decode_at(&subject, id, "/cleaning/1", &Vec::new()).unwrap();
        assert_eq!(command.reference.as_deref(), Some("r\u{e9}f"));
    }
    for (subject, source) in
        [(&ours, "/gateway"), (&ours, "/cleaning/2"), (&ours, "/other/1"), (&clients, "/cleaning/1")]
    {
        let refused = decode_at(subject, id, source, &Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("which only sagas may use"), "{refused}");
    }
    // Nor does a client's command lie where those of sagas do.
    let refused = decode_at("command.book.c.saga", "c", "/gateway", &Vec::new()).unwrap_err();
    assert!(matches!(refused, IntakeError::Subject { .. }), "{refused}");
}

fn new_event() -> impl Strategy<Value = NewEvent> {
    let name = "[a-z0-9]{1,20}".prop_filter("of the host's", |name| is_plugin_extension(name));
    let extensions = btree_map(name, "(?s).{0,40}", 0..=MAX_EXTENSIONS);
    let media_type = prop::option::of("(?s).{1,20}");
    (extensions, media_type, vec(any::<u8>(), 0..40)).prop_map(|(extensions, datacontenttype, data)| {
        NewEvent {
            r#type: "booked".to_owned(),
            version: 3,
            datacontenttype,
            extensions: extensions.into_iter().collect(),
            data: data.into(),
        }
    })
}

proptest! {
    // R2: an event with 64 extensions was stored and could not be read, so its entity was unavailable for ever.
    #[test]
    fn an_event_that_may_be_stored_can_be_read_back(events in vec(new_event(), 1..4), traced: bool) {
        let descriptor = HandlerDescriptor {
            identity: Identity { name: "rooms".to_owned(), version: "1.0.0".to_owned() },
            commands: Vec::new(),
            emits: vec![EventType { r#type: "booked".to_owned(), version: 3 }],
            folds: Vec::new(),
            rejections: Vec::new(),
            state_version: 1,
            decides_ahead: false,
        };
        let trace = traced.then(|| (TRACEPARENT.to_owned(), "00-1-2-01".to_owned()));
        let command = decode("c", "/test", &trace.into_iter().collect()).unwrap();
        prop_assert_eq!(decision::check(&events, &descriptor), Ok(()));
        let author = Author { handler: "rooms", digest: "sha256:1", keep: Duration::from_secs(1), held: false };
        let none = Backlinks::default();
        let mut batch = Batch::new(author, &none);
        batch.push(&command, Decision::Events(events));
        for message in batch.into_messages() {
            let EntityMessage::Event(event) = message.body else { panic!("{message:?}") };
            let read = cloudevents::decode(&cloudevents::encode(&event), &event.data);
            prop_assert_eq!(read, Ok(event));
        }
    }
}

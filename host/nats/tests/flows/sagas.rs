use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::id::{CommandId, InstanceId, Position, Sequence};
use pelton_core::saga::model::{OutgoingCommand, SagaRecord};
use pelton_core::saga::ports::SagaStore;
use pelton_core::store::CommitError;
use pelton_nats::sagas::SagaStates;
use pelton_nats::subjects::COMMANDS;

use crate::support::{TestServer, event, name, prepare, soon};

fn record(n: u64) -> SagaRecord {
    SagaRecord {
        handled: [("hotel".to_owned(), Position { sequence: Sequence(n), part: 2 })].into(),
        state: Some(vec![0, 1, 255]),
        state_version: 3,
        outbox: vec![OutgoingCommand {
            id: CommandId::new(format!("housekeeping:1:hotel:{n}:0")).unwrap(),
            r#type: "book-room".into(),
            reference: Some("the-booking".into()),
            datacontenttype: "application/json".into(),
            extensions: vec![("tenant".into(), "a".into())],
            data: Some(b"{}".to_vec()),
        }],
        process: vec![("correlationid".into(), "p".into())],
        quarantined_by: None,
    }
}

#[tokio::test]
async fn an_instance_is_stored_only_on_the_revision_it_was_loaded_at() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let sagas = SagaStates::new(&nats, name("housekeeping"));
    let instance = InstanceId::new("1:2022-12-12").unwrap();
    let other = InstanceId::new("1").unwrap();

    assert_eq!(sagas.load(&instance).await.unwrap(), (None, 0));
    let first = sagas.save(&instance, &record(1), 0).await.unwrap();
    assert_eq!(sagas.load(&instance).await.unwrap(), (Some(record(1)), first));
    assert_eq!(sagas.load(&other).await.unwrap(), (None, 0));
    // Other instances, and other sagas with an instance of the same id, do not interfere.
    sagas.save(&other, &record(5), 0).await.unwrap();
    SagaStates::new(&nats, name("billing")).save(&instance, &record(6), 0).await.unwrap();

    for stale in [0, first - 1, first + 1] {
        let again = sagas.save(&instance, &record(2), stale).await;
        // Revision 0 is stale too where `first` is 1.
        assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
    }
    let second = sagas.save(&instance, &record(2), first).await.unwrap();

    server.crash().await;
    server.restart().await;
    let loaded = soon(async {
        loop {
            match sagas.load(&instance).await {
                Ok(loaded) => break loaded,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    assert_eq!(loaded, (Some(record(2)), second));
}

#[tokio::test]
async fn a_command_that_is_sent_again_waits_once() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let sagas = SagaStates::new(&nats, name("housekeeping"));
    let id = CommandId::new("housekeeping:1:hotel:7:0").unwrap();
    let mut headers = cloudevents::encode(&event(1));
    headers.push("Nats-Rollup", "all");
    for _ in 0..2 {
        sagas.send(headers.clone(), "book-room", &id, Bytes::from("{}")).await.unwrap();
    }
    let stream = nats.jetstream().get_stream(COMMANDS).await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
    let subject = "command.book-room.housekeeping:1:hotel:7:0";
    let message = stream.direct_get_last_for_subject(subject).await.unwrap();
    assert_eq!(message.payload, "{}");
    assert_eq!(message.headers.get("ce-id").unwrap().as_str(), "c-1:0");
    assert!(message.headers.get("Nats-Rollup").is_none());

    // R1: any command under the id was taken for the saga's own.
    for (headers, data) in [
        (headers.clone(), "{ }"),
        (
            cloudevents::encode(&pelton_core::message::Event { source: "/gateway".to_owned(), ..event(1) }),
            "{}",
        ),
    ] {
        let refused = sagas.send(headers, "book-room", &id, Bytes::from(data)).await.unwrap_err();
        assert!(refused.to_string().contains("message 1 of stream COMMANDS is another command"), "{refused}");
    }

    let large = Bytes::from(vec![b' '; nats.client().max_payload() + 1]);
    let refused = sagas.send(headers, "book-room", &id, large).await;
    assert!(matches!(refused, Err(CommitError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn without_a_stream_nothing_is_sent_and_it_says_so() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = SagaStates::new(&nats, name("housekeeping"));
    let id = CommandId::new("c").unwrap();
    let error = sagas.send(cloudevents::encode(&event(1)), "t", &id, Bytes::new()).await.unwrap_err();
    assert!(
        matches!(&error, CommitError::Unclear(away) if away.to_string().contains("command.t.c")),
        "{error}"
    );
}

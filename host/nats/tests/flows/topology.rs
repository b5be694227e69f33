//! The objects on the server, and the report of differences.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::partition::{Partition, Partitions};
use pelton_nats::server::Options;
use pelton_nats::topology::{Apply, Effect, EventStream, StreamLimits, Topology, TopologyError, View};
use pelton_nats::{Credentials, Nats, PullConsumer};
use serde_json::json;

use crate::entities::{handler, hotel};
use crate::support::{TestServer, name, soon};

fn everything() -> Topology {
    Topology {
        views: vec![View { name: name("bookings"), version: 1 }],
        sagas: vec![name("housekeeping")],
        ..hotel()
    }
}

/// The changes that the server needs, as text.
async fn changes(topology: &Topology, nats: &Nats) -> String {
    let plan = topology.plan(nats).await.unwrap();
    plan.changes().map(|change| format!("{change}\n")).collect()
}

fn report(result: Result<(), TopologyError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn hosts_that_start_at_once_all_find_everything_and_find_it_again() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let topology = everything();
    for result in join_all((0..4).map(|_| topology.ensure(&nats))).await {
        result.unwrap();
    }
    assert_eq!(changes(&topology, &nats).await, "");
    server.crash().await;
    server.restart().await;
    topology.ensure(&nats).await.unwrap();
}

#[tokio::test]
async fn a_plan_creates_nothing_and_lists_what_is_missing() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    for _ in 0..2 {
        let text = changes(&everything(), &nats).await;
        for part in ["stream COMMANDS", "stream hotel", "stream KV_bookings-v1", "stream KV_snapshots"] {
            assert!(text.contains(&format!("{part}: is missing")), "{text}");
        }
        assert!(!text.contains("consumer"), "what a missing stream cannot have is not listed: {text}");
    }
}

#[tokio::test]
async fn all_differences_are_reported_at_once_and_nothing_is_changed() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let week = Duration::from_secs(7 * 24 * 3600);
    let mut before = everything();
    before.audit_retention = week;
    before.streams[0].subjects.push("cleaning.>".into());
    before.handlers[0].max_ack_pending = 7;
    before.handlers[0].commands.pop_last();
    before.ensure(&nats).await.unwrap();

    let text = report(everything().ensure(&nats).await);
    for line in [
        "stream AUDIT: field max_age: configured 14d, exists 7d",
        "stream hotel: field subjects: configured booking.>, exists booking.> cleaning.>",
        "consumer booking of stream COMMANDS: field max_ack_pending: configured 64, exists 7",
        "consumer booking of stream COMMANDS: field filter_subjects: configured command.book-room.> command.check-in.>, exists command.book-room.>",
        "`pelton apply`",
        "stream COMMANDS: field subjects: configured command.book-room.> command.check-in.>, exists command.book-room.>",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    assert_eq!(changes(&before, &nats).await, "");
}

#[tokio::test]
async fn what_the_server_refuses_is_explained() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();

    let mut renamed = hotel();
    renamed.handlers[0].id = name("reservation");
    let text = report(renamed.ensure(&nats).await);
    for part in [
        "consumer booking of stream COMMANDS: takes command.book-room.>, as the consumer reservation does",
        "perhaps it is of a handler that was renamed",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }

    let mut twice = hotel();
    twice.streams.push(EventStream {
        name: name("inn"),
        subjects: vec!["booking.inn.>".into()],
        limits: StreamLimits::default(),
    });
    let text = report(twice.ensure(&nats).await);
    assert!(text.contains("stream inn: cannot be created") && text.contains("`nats stream ls`"), "{text}");

    let text = report(Topology { replicas: 3, ..hotel() }.ensure(&nats).await);
    assert!(text.contains("stream hotel: field num_replicas: configured 3, exists 1"), "{text}");
}

#[tokio::test]
async fn handlers_share_the_command_stream() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut two = hotel();
    two.handlers.push(handler("cleaning", &["report-cleaned"]));
    two.ensure(&nats).await.unwrap();
    assert_eq!(changes(&two, &nats).await, "");
}

/// N2: a host did not start after a command was added.
#[tokio::test]
async fn what_only_adds_is_applied_and_passes_no_command_over() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut before = hotel();
    before.handlers[0].commands.pop_last();
    before.audit_retention = Duration::from_secs(3600);
    before.ensure(&nats).await.unwrap();
    // The consumer is beyond the place where commands of the new type will be.
    publish(&nats, "command.book-room.c-1").await;
    let mut booking = consumer(&nats, "booking").await;
    assert_eq!(next(&nats, &mut booking).await, "command.book-room.c-1");

    let mut after = hotel();
    after.streams[0].subjects.push("cleaning.>".into());
    let text = report(after.ensure(&nats).await);
    assert!(text.contains("`pelton run --apply=additive`"), "{text}");
    for result in join_all((0..3).map(|_| after.ensure_with(&nats, Apply::Additive))).await {
        result.unwrap();
    }
    assert_eq!(changes(&after, &nats).await, "");
    publish(&nats, "command.check-in.c-2").await;
    assert_eq!(next(&nats, &mut booking).await, "command.check-in.c-2");
}

#[tokio::test]
async fn a_start_that_may_only_add_changes_nothing_where_that_is_not_enough() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut before = hotel();
    before.handlers[0].commands.pop_last();
    before.handlers[0].max_ack_pending = 7;
    before.ensure(&nats).await.unwrap();
    let text = report(hotel().ensure_with(&nats, Apply::Additive).await);
    assert!(text.contains("max_ack_pending: configured 64, exists 7"), "{text}");
    assert_eq!(changes(&before, &nats).await, "");
}

#[tokio::test]
async fn a_plan_is_carried_out_and_leaves_what_the_operator_set() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();
    let mut stream = nats.jetstream().get_stream("hotel").await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.description = Some("ours".to_owned());
    nats.jetstream().update_stream(config).await.unwrap();

    // A handler is renamed, and the hotel's subjects shrink.
    publish(&nats, "command.check-in.c-1").await;
    let mut after = hotel();
    after.streams[0].subjects = vec!["booking.1.>".into()];
    after.handlers[0].id = name("reservation");
    let plan = after.plan(&nats).await.unwrap();
    assert!(plan.differences().all(|change| change.effect == Effect::Other), "{plan:?}");
    plan.carry_out(&nats).await.unwrap();
    assert_eq!(changes(&after, &nats).await, "");
    assert_eq!(stream.info().await.unwrap().config.description.as_deref(), Some("ours"));
    // What nobody has decided under the old name is decided under the new one.
    let mut reservation = consumer(&nats, "reservation").await;
    assert_eq!(next(&nats, &mut reservation).await, "command.check-in.c-1");

    // One of its commands moves to a handler that is new and has other entities: nothing is decided there once more.
    publish(&nats, "command.check-in.c-2").await;
    assert_eq!(next(&nats, &mut reservation).await, "command.check-in.c-2");
    after.handlers[0].commands = handler("any", &["book-room"]).commands;
    after.handlers.push(handler("reception", &["check-in"]));
    after.plan(&nats).await.unwrap().carry_out(&nats).await.unwrap();
    assert_eq!(changes(&after, &nats).await, "");
    publish(&nats, "command.check-in.c-3").await;
    let mut reception = consumer(&nats, "reception").await;
    assert_eq!(next(&nats, &mut reception).await, "command.check-in.c-3");

    // Both at once has no place to begin at.
    publish(&nats, "command.book-room.c-4").await;
    assert_eq!(next(&nats, &mut reservation).await, "command.book-room.c-4");
    let mut both = after.clone();
    both.handlers[0].commands = handler("any", &["pay"]).commands;
    both.handlers[1].id = name("desk");
    both.handlers[1].commands = handler("any", &["check-in", "book-room"]).commands;
    let text = report(both.plan(&nats).await.unwrap().carry_out(&nats).await);
    assert!(text.contains("rename it first, apply, and move the others then"), "{text}");
    assert_eq!(changes(&after, &nats).await, "");
}

#[tokio::test]
async fn a_handler_keeps_a_command_type_until_it_has_decided_its_commands() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();
    publish(&nats, "command.check-in.c-1").await;
    let mut after = hotel();
    after.handlers[0].commands = handler("any", &["book-room"]).commands;
    let text = report(after.plan(&nats).await.unwrap().carry_out(&nats).await);
    assert!(text.contains("has not decided all commands of command.check-in.>"), "{text}");
    assert_eq!(changes(&hotel(), &nats).await, "", "a host with the old configuration still starts");

    let mut booking = consumer(&nats, "booking").await;
    next(&nats, &mut booking).await;
    after.plan(&nats).await.unwrap().carry_out(&nats).await.unwrap();
    assert_eq!(changes(&after, &nats).await, "");
}

/// Two handlers may have different entities, so a command that both got would take effect twice.
#[tokio::test]
async fn a_command_type_moves_to_a_handler_that_is_there_and_only_one_gets_each_command() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let taking = |commands: &[&str]| handler("reception", commands);
    let mut before = hotel();
    before.handlers.push(taking(&["greet"]));
    before.ensure(&nats).await.unwrap();
    // The consumer that will get the type is beyond the command that the other one holds.
    publish(&nats, "command.check-in.c-1").await;
    publish(&nats, "command.greet.c-2").await;
    let mut reception = consumer(&nats, "reception").await;
    assert_eq!(next(&nats, &mut reception).await, "command.greet.c-2");

    // The type moves while its handler stays, or its handler goes.
    let mut stays = before.clone();
    stays.handlers = vec![hotel().handlers.remove(0), taking(&["greet", "check-in"])];
    stays.handlers[0].commands = handler("any", &["book-room"]).commands;
    let mut goes = before.clone();
    goes.handlers = vec![taking(&["greet", "book-room", "check-in"])];
    for after in [&stays, &goes] {
        let text = report(after.plan(&nats).await.unwrap().carry_out(&nats).await);
        assert!(text.contains("has not decided all commands of"), "{text}");
        assert_eq!(changes(&before, &nats).await, "");
    }
    let mut booking = consumer(&nats, "booking").await;
    assert_eq!(next(&nats, &mut booking).await, "command.check-in.c-1");
    for after in [stays, goes] {
        after.plan(&nats).await.unwrap().carry_out(&nats).await.unwrap();
        assert_eq!(changes(&after, &nats).await, "");
    }
    publish(&nats, "command.check-in.c-3").await;
    publish(&nats, "command.book-room.c-4").await;
    assert_eq!(next(&nats, &mut reception).await, "command.check-in.c-3");
    assert_eq!(next(&nats, &mut reception).await, "command.book-room.c-4");
}

/// R14: a command that had ended at one entity was decided again at another, after the pointers to its tokens had changed.
#[tokio::test]
async fn where_commands_find_their_entity_changes_only_while_the_log_has_none() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();
    let mut other = hotel();
    for route in other.handlers[0].commands.values_mut() {
        route.tokens.insert("room".to_owned(), "/room/id".to_owned());
    }
    publish(&nats, "command.check-in.c-1").await;
    let text = report(other.plan(&nats).await.unwrap().carry_out(&nats).await);
    let expected =
        "check-in finds its entity at booking.{room} room = /room, configured booking.{room} room = /room/id";
    assert!(text.contains(expected), "{text}");
    let plan = other.plan(&nats).await.unwrap();
    assert!(plan.impossible().any(|change| change.meaning.contains("check-in-2")), "{plan:?}");

    // One of another type changes nothing for this one.
    other.handlers[0].commands.extend(handler("any", &["check-in"]).commands);
    let plan = other.plan(&nats).await.unwrap();
    assert!(plan.changes().all(|change| change.effect == Effect::Other), "{plan:?}");
    plan.carry_out(&nats).await.unwrap();
    assert_eq!(changes(&other, &nats).await, "");
}

/// The commands of an entity keep their order: those that are logged before the change are decided before those after it.
#[tokio::test]
async fn partitions_change_once_all_that_is_logged_is_decided() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();
    publish(&nats, "command.check-in.c-1").await;
    let mut divided = hotel();
    divided.handlers[0].partitions = Partitions::new(2).unwrap();
    let text = report(divided.plan(&nats).await.unwrap().carry_out(&nats).await);
    assert!(
        text.contains("has not decided all commands of command.book-room.> command.check-in.>"),
        "{text}"
    );
    assert_eq!(changes(&hotel(), &nats).await, "");
    let mut booking = consumer(&nats, "booking").await;
    assert_eq!(next(&nats, &mut booking).await, "command.check-in.c-1");

    divided.plan(&nats).await.unwrap().carry_out(&nats).await.unwrap();
    assert_eq!(changes(&divided, &nats).await, "");
    for (index, partition) in Partitions::new(2).unwrap().all().enumerate() {
        let subject = format!("command.check-in@{index}of2.c-2{index}");
        publish(&nats, &subject).await;
        let mut partition = PullConsumer::of_partition(&nats, &name("booking"), partition, 1).await.unwrap();
        assert_eq!(next(&nats, &mut partition).await, subject);
    }
    let undivided = nats.jetstream().publish("command.check-in.c-3", "".into()).await.unwrap().await;
    assert!(undivided.is_err(), "nobody decides it");

    // Back again: the first consumer is made anew, and does not go through the log.
    hotel().plan(&nats).await.unwrap().carry_out(&nats).await.unwrap();
    assert_eq!(changes(&hotel(), &nats).await, "");
    publish(&nats, "command.check-in.c-4").await;
    let mut booking = consumer(&nats, "booking").await;
    assert_eq!(next(&nats, &mut booking).await, "command.check-in.c-4");
}

/// R26: an operator who bounded a stream kept hosts from starting.
#[tokio::test]
async fn a_stream_may_be_bounded_and_a_full_log_refuses_commands() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut bounded = hotel();
    bounded.streams[0].limits =
        StreamLimits { max_bytes: Some(1 << 20), max_messages: Some(7), ..StreamLimits::default() };
    bounded.log_bytes = Some(4096);
    bounded.ensure(&nats).await.unwrap();
    assert_eq!(changes(&bounded, &nats).await, "");
    let config = nats.jetstream().get_stream("hotel").await.unwrap().cached_info().config.clone();
    assert_eq!((config.max_bytes, config.max_messages), (1 << 20, 7));

    let large = "x".repeat(1000);
    let mut taken = 0;
    let full = loop {
        let subject = format!("command.check-in.c-{taken}");
        match nats.jetstream().publish(subject, large.clone().into()).await.unwrap().await {
            Ok(_) => taken += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(taken == 3 && full.contains("maximum bytes"), "{taken} {full}");
    let mut more = bounded.clone();
    more.log_bytes = None;
    more.streams[0].limits = StreamLimits::default();
    let text = report(more.ensure(&nats).await);
    assert!(text.contains("field max_bytes: configured no limit, exists 4096"), "{text}");
    more.ensure_with(&nats, Apply::Additive).await.unwrap();
    publish(&nats, "command.check-in.more").await;
}

/// A host's consumer of a handler.
async fn consumer(nats: &Nats, handler: &str) -> PullConsumer {
    PullConsumer::of_partition(nats, &name(handler), Partition::WHOLE, 1).await.unwrap()
}

/// Its next message, acknowledged.
async fn next(nats: &Nats, consumer: &mut PullConsumer) -> String {
    let delivery = soon(consumer.next()).await.unwrap();
    let subject = delivery.message().subject.clone();
    delivery.settle(Settlement::Ack).await;
    nats.flush().await.unwrap();
    subject
}

async fn publish(nats: &Nats, subject: &str) {
    nats.jetstream().publish(subject.to_owned(), "".into()).await.unwrap().await.unwrap();
}

/// Two accounts, of which only one has JetStream, and a connection to the other.
async fn account_without_jetstream(mappings: &str) -> (TestServer, Nats) {
    let accounts = format!(
        "accounts {{ A: {{ users: [{{ user: a, password: a }}] {mappings} }}, \
         B: {{ jetstream: enabled, users: [{{ user: b, password: b }}] }} }}"
    );
    let server = TestServer::start_with(|options| Options { extra_config: accounts, ..options }).await;
    let user = Credentials::User { user: "a".into(), password: "a".into() };
    let nats = server.connect_with(|settings| settings.credentials = user).await;
    (server, nats)
}

/// N13: the host reported "the stream is away", for ever.
#[tokio::test]
async fn where_jetstream_is_off_it_says_how_to_turn_it_on() {
    let (_server, nats) = account_without_jetstream("").await;
    let error = soon(hotel().ensure(&nats)).await.unwrap_err();
    assert!(matches!(error, TopologyError::NoJetStream { .. }), "{error}");
    assert!(error.to_string().contains("start nats-server with -js"), "{error}");
}

/// R5: a server omits settings that it does not know, and creates the stream all the same.
#[tokio::test]
async fn a_setting_that_the_server_did_not_take_is_a_difference() {
    let (_server, nats) = account_without_jetstream(", mappings: { \"$JS.API.>\": \"old.>\" }").await;
    let mut questions = nats.client().subscribe("old.>").await.unwrap();
    let client = nats.client().clone();
    let old_server = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let answer = match serde_json::from_slice::<serde_json::Value>(&question.payload) {
                Ok(mut config) if question.subject.contains("STREAM.CREATE") => {
                    config.as_object_mut().unwrap().remove("allow_atomic");
                    json!({ "config": config })
                }
                Ok(request) if question.subject.contains("CONSUMER.CREATE") => {
                    json!({ "config": request["config"] })
                }
                _ => json!({ "error": { "code": 404, "err_code": 10059, "description": "not found" } }),
            };
            let reply = question.reply.unwrap();
            client.publish(reply, answer.to_string().into()).await.unwrap();
        }
    });
    let error = soon(hotel().ensure(&nats)).await.unwrap_err().to_string();
    assert!(error.contains("stream hotel: field allow_atomic: configured true, exists nothing"), "{error}");
    old_server.abort();
}

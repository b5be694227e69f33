use pelton_core::id::{CommandType, Sequence};
use pelton_nats::commands::unroutable;
use pelton_nats::dead_letters;
use pelton_nats::topology::{HandlerConsumer, Topology};

use crate::poison::{SMALL_LETTER_BYTES, publish_raw, small_letters_only};
use crate::support::{TestServer, name};

#[tokio::test]
async fn a_command_that_no_handler_takes_is_set_aside_and_the_others_stay() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let commands = vec![CommandType::new("deposit").unwrap()];
    let handlers = vec![HandlerConsumer { name: name("account"), commands, max_ack_pending: 10 }];
    Topology { handlers, ..Topology::default() }.ensure(&nats).await.unwrap();
    for subject in
        ["command.deposit.1", "command.unheard-of.2", "command.unheard-of.2", "command.deposit.4.5"]
    {
        nats.jetstream().publish(subject, subject.into()).await.unwrap().await.unwrap();
    }
    assert_eq!(unroutable::set_aside(&nats).await.unwrap(), 3);
    assert_eq!(unroutable::set_aside(&nats).await.unwrap(), 0);
    for sequence in 1..=3 {
        let kept = dead_letters::read(&nats, Sequence(sequence)).await.unwrap().unwrap().letter;
        assert_eq!(
            (kept.consumer.as_str(), &kept.message.payload[..]),
            (unroutable::CONSUMER, kept.message.subject.as_bytes())
        );
        assert!(
            kept.cause.contains(&format!("no handler takes commands published to {}", kept.message.subject))
        );
    }
    assert_eq!(nats.jetstream().get_stream("COMMANDS").await.unwrap().cached_info().state.messages, 1);
}

#[tokio::test]
async fn unroutable_commands_whose_headers_have_odd_names_are_kept_and_one_that_cannot_be_is_passed_over() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    Topology::default().ensure(&nats).await.unwrap();
    small_letters_only(&nats).await;
    nats.jetstream()
        .publish("command.a.1", vec![b'x'; SMALL_LETTER_BYTES].into())
        .await
        .unwrap()
        .await
        .unwrap();
    let odd = "NATS/1.0\r\na b: 1\r\na : 2\r\n z: 3\r\ngröße: 4\r\n\r\n";
    publish_raw(&server.url(), &[("command.a.1", odd.as_bytes()), ("command.b.1", odd.as_bytes())]).await;
    let error = unroutable::set_aside(&nats).await.unwrap_err();
    assert!(
        error.to_string().contains("keeping a dead letter at dead-letter.no_handler.-.failed"),
        "{error}"
    );
    for (sequence, subject) in [(1, "command.a.1"), (2, "command.b.1")] {
        let message = dead_letters::read(&nats, Sequence(sequence)).await.unwrap().unwrap().letter.message;
        assert_eq!(message.subject, subject);
        for (name, value) in [("a b", "1"), ("a ", "2"), (" z", "3"), ("größe", "4")] {
            assert_eq!(message.headers.get(name), Some(value), "{message:?}");
        }
    }
    assert_eq!(nats.jetstream().get_stream("COMMANDS").await.unwrap().cached_info().state.messages, 1);
}

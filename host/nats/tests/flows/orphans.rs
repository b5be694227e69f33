use pelton_core::id::{CommandType, Sequence};
use pelton_nats::topology::{HandlerConsumer, Topology};
use pelton_nats::{dead_letters, orphans};

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
    assert_eq!(orphans::set_aside(&nats).await.unwrap(), 3);
    assert_eq!(orphans::set_aside(&nats).await.unwrap(), 0);
    for sequence in 1..=3 {
        let kept = dead_letters::read(&nats, Sequence(sequence)).await.unwrap().unwrap().letter;
        assert_eq!(
            (kept.consumer.as_str(), &kept.message.payload[..]),
            (orphans::CONSUMER, kept.message.subject.as_bytes())
        );
        assert!(
            kept.cause.contains(&format!("no handler takes commands published to {}", kept.message.subject))
        );
    }
    assert_eq!(nats.jetstream().get_stream("COMMANDS").await.unwrap().cached_info().state.messages, 1);
}

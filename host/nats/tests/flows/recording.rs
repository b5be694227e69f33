//! Streams are read in parts, while others write to them.

use pelton_core::id::Sequence;
use pelton_nats::recording;

use crate::support::{TestServer, prepare};

/// Who read a stream while it grew faster than it was read never came to its end.
#[tokio::test]
async fn a_part_of_a_log_ends_where_it_was_told_to_whatever_is_stored_meanwhile() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let publish = async |ids: std::ops::Range<u64>| {
        for id in ids {
            let subject = format!("command.book-room.c{id}");
            nats.jetstream().publish(subject, "{}".into()).await.unwrap().await.unwrap();
        }
    };
    publish(0..250).await;
    let until = recording::last_command(&nats).await.unwrap();
    let (mut read, mut next) = (Vec::new(), Some(Sequence(21)));
    while let Some(from) = next {
        let page = recording::commands(&nats, from..=until, false).await.unwrap();
        publish(read.len() as u64 + 1_000..read.len() as u64 + 1_100).await;
        read.extend(page.messages.iter().map(|stored| stored.message.sequence.0));
        next = page.next;
        assert!(read.len() <= 230, "it goes on: {next:?}");
    }
    assert_eq!(read, (21..=250).collect::<Vec<_>>());
}

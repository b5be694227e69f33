//! Clients that need an answer: each sends the same command until it has ended, on whatever host.

use std::sync::Arc;

use pelton_tests::http::{Answer, Http, Request};
use pelton_tests::{PATIENCE, PAUSE};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::house::Host;

/// The number of clients that send at a time, so that a load lasts long enough for the test's events.
const CLIENTS: usize = 8;

/// Commands that are being sent.
pub(crate) struct Load {
    clients: JoinSet<Answer>,
    address: watch::Sender<String>,
    ended: watch::Receiver<usize>,
}

impl Load {
    /// Starts to send to this host.
    pub(crate) fn start(host: &Host, commands: impl IntoIterator<Item = Request>) -> Self {
        let (address, addresses) = watch::channel(host.address.clone());
        let (count, ended) = watch::channel(0);
        let free = Arc::new(Semaphore::new(CLIENTS));
        let mut clients = JoinSet::new();
        for command in commands {
            let (addresses, count, free) = (addresses.clone(), count.clone(), free.clone());
            clients.spawn(async move {
                let _turn = free.acquire().await.expect("it is never closed");
                let answer = insist(&addresses, &command).await;
                count.send_modify(|count| *count += 1);
                answer
            });
        }
        Self { clients, address, ended }
    }

    /// Sends everything to this host from now on.
    pub(crate) fn go_on_at(&self, host: &Host) {
        self.address.send_replace(host.address.clone());
    }

    /// Waits until `count` commands have ended.
    pub(crate) async fn until(&mut self, count: usize) {
        let reached = timeout(PATIENCE, self.ended.wait_for(|ended| *ended >= count)).await;
        assert!(
            reached.is_ok_and(|ended| ended.is_ok()),
            "{count} commands have not ended within {PATIENCE:?}"
        );
    }

    /// Waits until all have ended, and returns their answers, in no order.
    pub(crate) async fn finish(self) -> Vec<Answer> {
        self.clients.join_all().await
    }
}

/// 202: the command is stored and pending. 503, or no answer: it may be stored.
async fn insist(addresses: &watch::Receiver<String>, command: &Request) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let http = Http::new(&addresses.borrow()).expect("a client");
        let answer = http.send(command).await;
        match answer {
            Ok(answer) if !matches!(answer.status, 202 | 503) => return answer,
            answer => assert!(Instant::now() < deadline, "{command:?} has not ended: {answer:?}"),
        }
        sleep(PAUSE).await;
    }
}

/// Checks that all were accepted with one event each.
pub(crate) fn all_accepted(answers: &[Answer]) {
    for answer in answers {
        assert_eq!((answer.status, answer.at("/events/1")), (201, "nothing".to_owned()), "{answer}");
    }
}

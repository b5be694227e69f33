//! Clients that want an answer: they send the same command until it has ended, wherever the host is by then.

use std::sync::Arc;

use pelton_tests::http::{Answer, Http, Request};
use pelton_tests::{PATIENCE, PAUSE};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::house::Host;

/// How many send at a time, so that a load lasts long enough for something to happen in it.
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

    /// From now on everything goes to this host.
    pub(crate) fn go_on_at(&self, host: &Host) {
        self.address.send_replace(host.address.clone());
    }

    /// Waits until so many commands have ended.
    pub(crate) async fn until(&mut self, count: usize) {
        let reached = timeout(PATIENCE, self.ended.wait_for(|ended| *ended >= count)).await;
        assert!(
            reached.is_ok_and(|ended| ended.is_ok()),
            "{count} commands have not ended within {PATIENCE:?}"
        );
    }

    /// Waits until all have ended, and answers what they got, in no order.
    pub(crate) async fn finish(self) -> Vec<Answer> {
        self.clients.join_all().await
    }
}

/// 202: it is stored and goes on. 503, or no answer: perhaps stored, perhaps not.
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

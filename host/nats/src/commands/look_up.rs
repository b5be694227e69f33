//! Gathers look-ups in the register that wait into one request.
//!
//! While one request is under way, the look-ups that arrive wait for the next: one alone costs what it cost before, and
//! the more commands are decided at a time, the less each costs the server.

use pelton_core::command::outcome::Registered;
use pelton_core::id::CommandId;
use pelton_core::store::Unavailable;
use tokio::sync::{mpsc, oneshot};

use super::register;
use crate::connection::Nats;
use crate::wire::Worker;

/// How many look-ups may wait.
const MAX_WAITING: usize = 1024;
/// The most ids of one request.
const MAX_IDS: usize = 256;

type Answer = Result<Registered, Unavailable>;

#[derive(Debug)]
struct Waiting {
    id: CommandId,
    answer: oneshot::Sender<Answer>,
}

/// Whoever looks commands up.
#[derive(Debug)]
pub(crate) struct LookUps(Worker<Waiting>);

impl LookUps {
    pub(crate) fn start(nats: Nats) -> Self {
        Self(Worker::start("look-ups of commands", MAX_WAITING, |waiting| run(nats, waiting)))
    }

    /// The last entry under this id, as it is at some moment after the call.
    pub(crate) async fn last(&self, id: &CommandId) -> Answer {
        let answer = self.0.ask(|answer| Waiting { id: id.clone(), answer }).await;
        answer.unwrap_or_else(|| {
            let cause = "this host is stopping".to_owned();
            Err(Unavailable { doing: format!("looking up command {id}"), cause })
        })
    }

    /// Takes nothing more and waits until everybody who waits has an answer.
    pub(crate) async fn close(&self) {
        self.0.close().await;
    }
}

async fn run(nats: Nats, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::with_capacity(MAX_IDS);
    while queue.recv_many(&mut waiting, MAX_IDS).await > 0 {
        if let [_] = waiting[..]
            && let Some(Waiting { id, answer }) = waiting.pop()
        {
            // Whoever stopped waiting needs no answer.
            drop(answer.send(register::last(&nats, &id, false).await));
            continue;
        }
        let ids: Vec<CommandId> = waiting.iter().map(|waiting| waiting.id.clone()).collect();
        let found = register::lasts(&nats, &ids).await;
        for Waiting { id, answer } in waiting.drain(..) {
            let registered = match &found {
                Ok(found) => found.get(&id).cloned().unwrap_or_else(|| Ok(Registered::vacant())),
                Err(away) => Err(away.clone()),
            };
            drop(answer.send(registered));
        }
    }
}

//! The clients' knowledge: what they have sent, what was stored, and what they were told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pelton_core::message::Fingerprint;
use serde_json::Value;

use super::plan::Payload;

/// An answer to a client, in the form in which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// From the gateway: status and body.
    Http(u16, Value),
    /// From NATS: the record of the outcome.
    Nats(Value),
}

impl Answer {
    /// Whether another command with the id is in the log, so that this one was not stored.
    pub(super) fn is_id_in_use(&self) -> bool {
        matches!(self, Self::Http(409, body) if body["code"] == "command-id-reused" && body["type"] == "about:blank")
    }
}

/// One payload under an id.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) payload: Payload,
    pub(super) fingerprint: Fingerprint,
    /// Whether a client was told that it is stored.
    pub(super) stored: bool,
    /// The latest sequence of the order that any client knew before this command was sent first.
    pub(super) known: u64,
    /// The different answers.
    pub(super) answers: Vec<Answer>,
}

#[derive(Debug, Default)]
struct Books {
    commands: HashMap<String, Vec<Sent>>,
    /// The latest sequence of each order that a client was told.
    orders: HashMap<String, u64>,
    /// The commands that have changed since the last check.
    changed: BTreeSet<String>,
    unreadable: Unreadable,
}

/// The messages that are not commands, by the id in their subject, with the sequence at which each is known to be
/// stored. It may have been stored at further sequences of which no client was told.
pub(super) type Unreadable = BTreeMap<String, Option<u64>>;

/// The knowledge that all clients share.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Books>);

impl Ledger {
    /// Notes a command before it is sent.
    pub(super) fn send(&self, id: &str, payload: &Payload) {
        let mut books = self.books();
        let known = books.orders.get(&payload.order).copied().unwrap_or_default();
        books.changed.insert(id.to_owned());
        let sent = books.commands.entry(id.to_owned()).or_default();
        let fingerprint = payload.fingerprint();
        if sent.iter().all(|sent| sent.fingerprint != fingerprint) {
            let (payload, answers) = (payload.clone(), Vec::new());
            sent.push(Sent { payload, fingerprint, stored: false, known, answers });
        }
    }

    /// Notes that a command is stored.
    pub(super) fn stored(&self, id: &str, payload: &Payload) {
        self.change(id, payload, |sent| sent.stored = true);
    }

    /// Notes an answer to a client.
    pub(super) fn answered(&self, id: &str, payload: &Payload, answer: &Answer) {
        self.change(id, payload, |sent| {
            if !sent.answers.contains(answer) {
                sent.answers.push(answer.clone());
            }
        });
        let (Answer::Http(_, body) | Answer::Nats(body)) = answer;
        let events = body["events"].as_array();
        if let Some(last) = events.and_then(|events| events.last()?["sequence"].as_u64()) {
            let mut books = self.books();
            let known = books.orders.entry(payload.order.clone()).or_default();
            *known = last.max(*known);
        }
    }

    fn change(&self, id: &str, payload: &Payload, change: impl FnOnce(&mut Sent)) {
        let fingerprint = payload.fingerprint();
        let mut books = self.books();
        books.changed.insert(id.to_owned());
        let sent = books.commands.get_mut(id).into_iter().flatten();
        if let Some(sent) = sent.into_iter().find(|sent| sent.fingerprint == fingerprint) {
            change(sent);
        }
    }

    /// Notes a message that is not a command before it is sent.
    pub(super) fn send_unreadable(&self, id: &str) {
        self.books().unreadable.insert(id.to_owned(), None);
    }

    /// Notes the sequence at which it is stored.
    pub(super) fn stored_unreadable(&self, id: &str, at: u64) {
        self.books().unreadable.insert(id.to_owned(), Some(at));
    }

    /// The messages that are not commands.
    pub(super) fn unreadable(&self) -> Unreadable {
        self.books().unreadable.clone()
    }

    /// The number of commands that were sent.
    pub(super) fn len(&self) -> usize {
        self.books().commands.len()
    }

    /// The payloads that were sent under this id.
    pub(super) fn sent(&self, id: &str) -> Vec<Sent> {
        self.books().commands.get(id).cloned().unwrap_or_default()
    }

    /// The commands that have changed since the last call; all commands if `all` is set.
    pub(super) fn take_changed(&self, all: bool) -> BTreeSet<String> {
        let mut books = self.books();
        let changed = std::mem::take(&mut books.changed);
        if all { books.commands.keys().cloned().collect() } else { changed }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

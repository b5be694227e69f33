use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::network::FlakyNetwork;
use crate::id::{CommandId, InstanceId};
use crate::message::Headers;
use crate::saga::model::SagaRecord;
use crate::saga::ports::SagaStore;
use crate::store::{CommitError, Unavailable};

/// The instances of one saga, and the commands that it sent, in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemorySagas {
    network: Arc<FlakyNetwork>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    instances: HashMap<InstanceId, (SagaRecord, u64)>,
    sent: Vec<SentCommand>,
    answers_to_lose: u32,
    foreign: HashSet<CommandId>,
}

/// A command as it was sent.
#[derive(Debug, Clone)]
pub struct SentCommand {
    /// Its id.
    pub id: CommandId,
    /// Its type.
    pub r#type: String,
    /// Its headers.
    pub headers: Headers,
    /// Its data.
    pub data: Bytes,
}

impl MemorySagas {
    /// A store without instances.
    #[must_use]
    pub fn new(network: Arc<FlakyNetwork>) -> Self {
        Self { network, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every command that was sent, in order, as many times as it was sent.
    #[must_use]
    pub fn sent(&self) -> Vec<SentCommand> {
        self.kept().sent.clone()
    }

    /// Lets another sender send a command under this id first.
    pub fn occupy(&self, id: CommandId) {
        self.kept().foreign.insert(id);
    }

    /// Sends the next `count` commands without confirming them to their sender.
    pub fn lose_answers(&self, count: u32) {
        self.kept().answers_to_lose = count;
    }
}

impl Kept {
    fn save(
        &mut self,
        instance: &InstanceId,
        record: &SagaRecord,
        revision: u64,
    ) -> Result<u64, CommitError> {
        if self.instances.get(instance).map_or(0, |(_, revision)| *revision) != revision {
            return Err(CommitError::Conflict);
        }
        // The record takes its stored form and back, as in a stream.
        let stored = serde_json::to_vec(record).and_then(|json| serde_json::from_slice(&json));
        let stored = stored.map_err(|error| CommitError::Refused(error.to_string()))?;
        self.instances.insert(instance.clone(), (stored, revision + 1));
        Ok(revision + 1)
    }
}

impl SagaStore for MemorySagas {
    async fn load(&self, instance: &InstanceId) -> Result<(Option<SagaRecord>, u64), Unavailable> {
        let look = || match self.kept().instances.get(instance).cloned() {
            Some((record, revision)) => (Some(record), revision),
            None => (None, 0),
        };
        self.network.request("loading an instance", look).await
    }

    async fn save(
        &self,
        instance: &InstanceId,
        record: &SagaRecord,
        revision: u64,
    ) -> Result<u64, CommitError> {
        let save = || self.kept().save(instance, record, revision);
        self.network.request("saving an instance", save).await?
    }

    async fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> Result<(), CommitError> {
        if self.kept().foreign.contains(id) {
            return Err(CommitError::Refused(format!("another command has the id {id}")));
        }
        let command = SentCommand { id: id.clone(), r#type: r#type.to_owned(), headers, data };
        let send = || {
            let mut kept = self.kept();
            kept.sent.push(command);
            let lost = kept.answers_to_lose > 0;
            kept.answers_to_lose = kept.answers_to_lose.saturating_sub(1);
            lost
        };
        match self.network.request("sending a command", send).await? {
            true => {
                Err(Unavailable { doing: "sending a command".to_owned(), cause: "no answer".to_owned() }
                    .into())
            }
            false => Ok(()),
        }
    }
}

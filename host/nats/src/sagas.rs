//! Instances of sagas, one message each, and the commands that they send.

use bytes::Bytes;
use pelton_core::id::{CommandId, InstanceId, Name};
use pelton_core::message::Headers;
use pelton_core::saga::model::SagaRecord;
use pelton_core::saga::ports::SagaStore;
use pelton_core::store::{CommitError, Unavailable};

use crate::commands::log;
use crate::connection::Nats;
use crate::subjects::{self, COMMANDS, SAGAS};
use crate::wire::{self, PublishError};

/// The [`SagaStore`] of one saga: an instance is the last message on `saga.<saga>.<instance>.state`.
#[derive(Debug)]
pub struct SagaStates {
    nats: Nats,
    saga: Name,
}

impl SagaStates {
    /// The instances of the saga of this name.
    #[must_use]
    pub fn new(nats: &Nats, saga: Name) -> Self {
        Self { nats: nats.clone(), saga }
    }

    /// Whether the command that is logged under this id is the very one that is to be sent, from an earlier try.
    async fn is_sent(
        &self,
        id: &CommandId,
        subject: &str,
        headers: &Headers,
        data: &Bytes,
    ) -> Result<(), CommitError> {
        let Some(waiting) =
            wire::leader_last(&self.nats, COMMANDS, &subjects::command_of_id(id.as_str())).await?
        else {
            return Ok(()); // it has been decided, and let go of since
        };
        let source = |headers: &Headers| headers.get("ce-source").map(str::to_owned);
        if waiting.subject == subject
            && waiting.payload == *data
            && source(&waiting.headers) == source(headers)
        {
            return Ok(());
        }
        Err(CommitError::Refused(format!(
            "message {} of stream {COMMANDS} is another command with the id {id}; remove it, then have the saga try again",
            waiting.sequence
        )))
    }
}

impl SagaStore for SagaStates {
    async fn load(&self, instance: &InstanceId) -> Result<(Option<SagaRecord>, u64), Unavailable> {
        let Some(message) =
            wire::leader_last(&self.nats, SAGAS, &subjects::saga_state(&self.saga, instance)).await?
        else {
            return Ok((None, 0));
        };
        let record = serde_json::from_slice(&message.payload).map_err(|e| Unavailable {
            doing: format!("loading instance {instance} of saga {}", self.saga),
            cause: format!("message {} of stream {SAGAS} is not an instance: {e}", message.sequence),
        })?;
        Ok((Some(record), message.sequence.0))
    }

    async fn save(
        &self,
        instance: &InstanceId,
        record: &SagaRecord,
        revision: u64,
    ) -> Result<u64, CommitError> {
        let payload = serde_json::to_vec(record).map_err(|e| CommitError::Refused(e.to_string()))?;
        let headers = wire::expecting(revision);
        Ok(wire::publish(&self.nats, &subjects::saga_state(&self.saga, instance), headers, payload.into())
            .await?
            .sequence)
    }

    async fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> Result<(), CommitError> {
        let mut wired = wire::to_wire(&headers).map_err(|e| CommitError::Refused(e.to_string()))?;
        log::expect_no_command(&mut wired, id.as_str());
        let subject = subjects::command(r#type, id);
        match wire::publish(&self.nats, &subject, wired, data.clone()).await {
            Ok(_) => Ok(()),
            Err(PublishError::WrongSequence(_) | PublishError::SubjectFull(_)) => {
                self.is_sent(id, &subject, &headers, &data).await
            }
            Err(error) => Err(error.into()),
        }
    }
}

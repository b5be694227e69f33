//! Instances of sagas, one message each, and the commands that they send.

use bytes::Bytes;
use pelton_core::id::{CommandId, InstanceId, Name};
use pelton_core::message::Headers;
use pelton_core::saga::model::SagaRecord;
use pelton_core::saga::ports::SagaStore;
use pelton_core::store::{CommitError, Unavailable};

use crate::commands::register;
use crate::connection::Nats;
use crate::subjects::{self, SAGAS};
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
            cause: format!("message {} of stream {SAGAS} is no instance: {e}", message.sequence),
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
        let mut headers = wire::to_wire(&headers).map_err(|e| CommitError::Refused(e.to_string()))?;
        register::expect_no_command(&mut headers, id.as_str());
        match wire::publish(&self.nats, &subjects::command(r#type, id), headers, data).await {
            // The same command from an earlier try: nobody else makes ids like a saga's.
            Ok(_) | Err(PublishError::WrongSequence(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

//! What operators did to instances of sagas, in the audit stream. Resuming and skipping are noted with the dead letters.

use pelton_core::id::{InstanceId, Name, Sequence};
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::view::StoredInstance;
use crate::connection::Nats;
use crate::subjects;
use crate::wire::{self, PublishError};

/// Something that an operator did to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub(super) enum Act {
    /// The instance was ended.
    Cancelled,
    /// One of its timers went off before it was due.
    Fired {
        /// The timer.
        timer: String,
    },
}

/// An entry of the audit stream about an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// The saga's id.
    saga: Name,
    /// The instance.
    instance: InstanceId,
    /// Its place in the saga's stream when the operator looked at it.
    revision: Sequence,
    /// When, by the writer's clock.
    at: Timestamp,
    /// Who.
    by: String,
    /// What.
    #[serde(flatten)]
    act: Act,
}

/// Notes what is about to be done: what is done is never without its entry, and what was overtaken has one, too.
pub(super) async fn note(
    nats: &Nats,
    saga: &Name,
    of: &StoredInstance,
    by: &str,
    act: Act,
) -> Result<(), Unavailable> {
    let doing = || format!("noting what is done to instance {}", of.id);
    let unique = match &act {
        Act::Cancelled => format!("cancelled-{}", of.revision),
        Act::Fired { .. } => format!("fired-{:016x}", rand::random::<u64>()),
    };
    let (saga, instance, at) = (saga.clone(), of.id.clone(), Timestamp::now());
    let subject = subjects::saga_entry(&saga, &instance, &unique);
    let entry = Entry { saga, instance, revision: of.revision, at, by: by.to_owned(), act };
    let payload = serde_json::to_vec(&entry)
        .map_err(|error| Unavailable { doing: doing(), cause: error.to_string() })?;
    match wire::publish(nats, &subject, wire::expecting(0), payload.into()).await {
        Ok(_) | Err(PublishError::WrongSequence(_)) => Ok(()),
        Err(error) => Err(Unavailable { doing: doing(), cause: error.to_string() }),
    }
}

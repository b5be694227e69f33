//! The register of commands: what the audit stream holds under each id.
//!
//! The entries of an id are claims and outcomes. The last one counts, and each is published only if the one that its
//! writer has seen still is the last. The expectation is on one filter for both kinds, the same string everywhere:
//! replicas check expectations by it.

use std::collections::HashMap;

use async_nats::HeaderMap;
use pelton_core::command::outcome::{Claim, Entry, OutcomeRecord, Registered, Revision};
use pelton_core::id::CommandId;
use pelton_core::store::Unavailable;
use serde::Serialize;

use crate::connection::Nats;
use crate::subjects::{self, AUDIT};
use crate::wire::{self, BatchMessage, ConditionalWrite, PublishError, Stored, StoredMessage, header};

/// How much of an answer the server sends, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The last entry under this id. Asks the leader where replicas could be behind.
pub(crate) async fn last(nats: &Nats, id: &CommandId, replicated: bool) -> Result<Registered, Unavailable> {
    let filter = subjects::registered(id);
    let message = if replicated {
        wire::leader_last(nats, AUDIT, &filter).await?
    } else {
        wire::direct_last(nats, AUDIT, &filter).await?
    };
    message.map_or_else(|| Ok(Registered::vacant()), |message| read(&message))
}

/// The last entries under these ids, where there are any, as one replica has them. An entry that cannot be read is only
/// its own id's error.
pub(crate) async fn lasts(
    nats: &Nats,
    ids: &[CommandId],
) -> Result<HashMap<CommandId, Result<Registered, Unavailable>>, Unavailable> {
    let mut missing: Vec<&CommandId> = ids.iter().collect();
    let mut found = HashMap::new();
    loop {
        let filters: Vec<String> = missing.iter().map(|id| subjects::registered(id)).collect();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let lasts = wire::direct_lasts(nats, AUDIT, &filters, MAX_ANSWER_BYTES).await?;
        if !lasts.more {
            // Claims and outcomes come in the order of their sequences: the last one stays.
            for message in &lasts.messages {
                if let Some(id) = message.subject.rsplit('.').next().and_then(|id| CommandId::new(id).ok()) {
                    found.insert(id, read(message));
                }
            }
            return Ok(found);
        }
        if let [id] = missing[..] {
            let too_large = Unavailable {
                doing: format!("looking up command {id}"),
                cause: format!("what is registered has more than {MAX_ANSWER_BYTES} bytes"),
            };
            found.insert(id.clone(), Err(too_large));
            return Ok(found);
        }
        // Rare: so many retries, with so large outcomes. One half now, the other after it.
        let rest = missing.split_off(missing.len() / 2);
        found.extend(Box::pin(self::lasts(nats, &rest.into_iter().cloned().collect::<Vec<_>>())).await?);
    }
}

fn read(message: &StoredMessage) -> Result<Registered, Unavailable> {
    let entry = if subjects::is_outcome(&message.subject) {
        serde_json::from_slice(&message.payload).map(Entry::Outcome)
    } else {
        serde_json::from_slice(&message.payload).map(Entry::Claimed)
    };
    let entry = entry.map_err(|e| Unavailable {
        doing: format!("reading {} at {} from stream {AUDIT}", message.subject, message.sequence),
        cause: format!("it holds something else: {e}"),
    })?;
    Ok(Registered { entry, revision: Revision(message.sequence.0) })
}

/// The outcome under this id, if its last entry is one.
pub(crate) async fn outcome(
    nats: &Nats,
    id: &CommandId,
    replicated: bool,
) -> Result<Option<OutcomeRecord>, Unavailable> {
    match last(nats, id, replicated).await?.entry {
        Entry::Outcome(outcome) => Ok(Some(outcome)),
        Entry::Vacant | Entry::Claimed(_) => Ok(None),
    }
}

/// Claims the id. None: the entry with this revision is no longer the last.
pub(crate) async fn claim(
    nats: &Nats,
    id: &CommandId,
    claim: Claim,
    over: Revision,
) -> Result<Option<Revision>, Unavailable> {
    written(claiming(id, claim, over)?.store(nats).await)
}

/// A claim of the id, if the entry with this revision is still the last.
pub(crate) fn claiming(
    id: &CommandId,
    claim: Claim,
    over: Revision,
) -> Result<ConditionalWrite, Unavailable> {
    entry(id, subjects::claim(id), &claim, over)
}

/// The record of an outcome, if the entry with this revision is still the last.
pub(crate) fn recording(outcome: &OutcomeRecord, over: Revision) -> Result<ConditionalWrite, Unavailable> {
    let id = &outcome.command_id;
    entry(id, subjects::outcome(id), outcome, over)
}

fn entry(
    id: &CommandId,
    subject: String,
    entry: &impl Serialize,
    over: Revision,
) -> Result<ConditionalWrite, Unavailable> {
    let payload = serde_json::to_vec(entry).map_err(|e| impossible(e.to_string()))?;
    let message = BatchMessage { subject, headers: HeaderMap::new(), payload: payload.into() };
    Ok(ConditionalWrite::new(AUDIT, subjects::registered(id), over.0, vec![message]))
}

/// The revision of an entry that was written. None: another was written before it.
pub(crate) fn written(stored: Result<Stored, PublishError>) -> Result<Option<Revision>, Unavailable> {
    match stored {
        Ok(stored) => Ok(stored.sequences.last().map(|sequence| Revision(sequence.0))),
        Err(PublishError::WrongSequence(_)) => Ok(None),
        Err(PublishError::Unclear(away)) => Err(away),
        Err(error) => Err(impossible(error.to_string())),
    }
}

/// Has a command stored only if none with its id waits to be decided.
pub(crate) fn expect_no_command(headers: &mut HeaderMap, id: &str) {
    headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, "0");
    headers.insert(header::EXPECTED_SUBJECT, subjects::command_of_id(id));
}

fn impossible(cause: String) -> Unavailable {
    Unavailable { doing: format!("registering in stream {AUDIT}"), cause }
}

//! The register of commands: what the audit stream holds under each id.
//!
//! The entries of an id are claims and outcomes. The last one counts, and each is published only if the one that its
//! writer has seen still is the last. The expectation is on one filter for both kinds, the same string everywhere:
//! replicas check expectations by it.

use async_nats::HeaderMap;
use pelton_core::id::CommandId;
use pelton_core::outcome::{Claim, Entry, OutcomeRecord, Registered, Revision};
use pelton_core::ports::Unavailable;
use serde::Serialize;

use crate::connection::Nats;
use crate::topology::{AUDIT, claim_subject, outcome_subject, register_filter};
use crate::wire::{self, PublishError, header};

/// The last entry under this id. Asks the leader where replicas could be behind.
pub(crate) async fn last(nats: &Nats, id: &CommandId, replicated: bool) -> Result<Registered, Unavailable> {
    let filter = register_filter(id);
    let message = if replicated {
        wire::leader_last(nats, AUDIT, &filter).await?
    } else {
        wire::direct_last(nats, AUDIT, &filter).await?
    };
    let Some(message) = message else {
        return Ok(Registered { entry: Entry::Vacant, revision: Revision::NONE });
    };
    let revision = Revision(message.sequence.0);
    let entry = if message.subject == outcome_subject(id) {
        serde_json::from_slice(&message.payload).map(Entry::Outcome)
    } else {
        serde_json::from_slice(&message.payload).map(Entry::Claimed)
    };
    let entry = entry.map_err(|e| Unavailable {
        doing: format!("reading {} at {} from stream {AUDIT}", message.subject, message.sequence),
        cause: format!("it holds something else: {e}"),
    })?;
    Ok(Registered { entry, revision })
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
    write(nats, id, &claim_subject(id), &claim, over).await
}

/// Records an outcome. False: the entry with this revision is no longer the last.
pub(crate) async fn record(
    nats: &Nats,
    outcome: &OutcomeRecord,
    over: Revision,
) -> Result<bool, Unavailable> {
    let id = &outcome.command_id;
    Ok(write(nats, id, &outcome_subject(id), outcome, over).await?.is_some())
}

async fn write(
    nats: &Nats,
    id: &CommandId,
    subject: &str,
    entry: &impl Serialize,
    over: Revision,
) -> Result<Option<Revision>, Unavailable> {
    let impossible = |cause: String| Unavailable { doing: format!("publishing to {subject}"), cause };
    let payload = serde_json::to_vec(entry).map_err(|e| impossible(e.to_string()))?;
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_STREAM, AUDIT);
    headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, over.0.to_string());
    headers.insert(header::EXPECTED_SUBJECT, register_filter(id));
    match wire::publish(nats, subject, headers, payload.into()).await {
        Ok(ack) => Ok(Some(Revision(ack.sequence))),
        Err(PublishError::WrongSequence(_)) => Ok(None),
        Err(PublishError::Unclear(away)) => Err(away),
        Err(error) => Err(impossible(error.to_string())),
    }
}

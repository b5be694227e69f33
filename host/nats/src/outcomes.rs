//! Outcomes of commands: one message each in the audit stream, the first one stands.

use async_nats::HeaderMap;
use pelton_core::id::CommandId;
use pelton_core::outcome::OutcomeRecord;
use pelton_core::ports::Unavailable;

use crate::connection::Nats;
use crate::topology::{AUDIT, outcome_subject};
use crate::wire::{self, PublishError, header};

/// What a subject must begin with for an outcome to be announced there. Senders choose it, so it must not be one where
/// a message means something: an event, a row of a view, a request to the server.
pub(crate) const REPLY_PREFIX: &str = "_INBOX.";
/// The longest subject for an announcement, in bytes.
const MAX_REPLY_BYTES: usize = 512;
/// How often a record is written again because the one that stood in its way has just expired.
const MAX_TRIES: usize = 3;

/// The outcome recorded under this id. Asks the leader where replicas could be behind.
pub(crate) async fn outcome(
    nats: &Nats,
    id: &CommandId,
    replicated: bool,
) -> Result<Option<OutcomeRecord>, Unavailable> {
    let subject = outcome_subject(id);
    let message = if replicated {
        wire::leader_last(nats, AUDIT, &subject).await?
    } else {
        wire::direct_last(nats, AUDIT, &subject).await?
    };
    let decode = |payload: &[u8]| {
        serde_json::from_slice(payload).map_err(|e| Unavailable {
            doing: format!("reading {subject} from stream {AUDIT}"),
            cause: format!("it holds no outcome: {e}"),
        })
    };
    message.map(|message| decode(&message.payload)).transpose()
}

/// Records an outcome unless there is one. Answers the one that stands.
pub(crate) async fn record(nats: &Nats, outcome: OutcomeRecord) -> Result<OutcomeRecord, Unavailable> {
    let subject = outcome_subject(&outcome.command_id);
    let doing = || format!("recording the outcome of command {}", outcome.command_id);
    let away = |cause: String| Unavailable { doing: doing(), cause };
    let payload = serde_json::to_vec(&outcome).map_err(|e| away(e.to_string()))?;
    for _ in 0..MAX_TRIES {
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECTED_STREAM, AUDIT);
        match wire::publish(nats, &subject, headers, payload.clone().into()).await {
            Ok(_) => return Ok(outcome),
            // The stream holds one message per subject and refuses a second.
            Err(PublishError::SubjectFull(_)) => {}
            Err(error) => return Err(away(error.to_string())),
        }
        if let Some(first) = self::outcome(nats, &outcome.command_id, true).await? {
            return Ok(first);
        }
    }
    Err(away("the server refuses it, but has none either".to_owned()))
}

/// Tells whoever waits. Best effort.
pub(crate) async fn announce(nats: &Nats, reply_to: &str, outcome: &OutcomeRecord) {
    if !is_inbox(reply_to) {
        tracing::warn!(command = %outcome.command_id, "the outcome is not announced to {reply_to:?}: only subjects under `{REPLY_PREFIX}` are taken");
        return;
    }
    let announced = match serde_json::to_vec(outcome) {
        Ok(payload) => wire::fire(nats.client(), reply_to.to_owned(), HeaderMap::new(), payload.into())
            .await
            .map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = announced {
        tracing::debug!(command = %outcome.command_id, "announcing the outcome: {error}");
    }
}

/// Whether a sender may have an outcome announced there: an inbox, one subject, no wildcard.
fn is_inbox(subject: &str) -> bool {
    let plain = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'*' | b'>'))
    };
    let rest = subject.strip_prefix(REPLY_PREFIX);
    subject.len() <= MAX_REPLY_BYTES && rest.is_some_and(|rest| rest.split('.').all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_go_to_inboxes_only() {
        for good in ["_INBOX.a", "_INBOX.abc.1", "_INBOX.x-1.$y"] {
            assert!(is_inbox(good), "{good}");
        }
        for bad in [
            "",
            "_INBOX",
            "_INBOX.",
            "_INBOX..a",
            "_INBOX.a.",
            "_INBOX.*",
            "_INBOX.>",
            "_INBOX.a b",
            "_INBOX.a\r\nPUB x",
            "_inbox.a",
            "booking.1.room-booked.v1",
            "$KV.bookings-v1.r.1",
            "$JS.API.STREAM.PURGE.hotel",
            "pelton.x",
        ] {
            assert!(!is_inbox(bad), "{bad}");
        }
        assert!(!is_inbox(&format!("_INBOX.{}", "x".repeat(600))));
    }
}

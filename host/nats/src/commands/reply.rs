//! Replies with outcomes to those who wait for them.

use async_nats::HeaderMap;
use pelton_core::command::outcome::Answer;

use crate::connection::Nats;
use crate::wire;

/// What a subject must begin with for an outcome to be sent there. Senders choose it, so it must not be one where
/// a message means something: an event, a row of a view, a request to the server.
pub(crate) const REPLY_PREFIX: &str = "_INBOX.";
/// The longest subject for a reply, in bytes.
const MAX_REPLY_BYTES: usize = 512;

/// Tells whoever waits. Best effort.
pub(crate) async fn reply(nats: &Nats, reply_to: &str, answer: &Answer) {
    if !is_inbox(reply_to) {
        tracing::warn!(command = %answer.command_id(), "the answer is not sent to {reply_to:?}: only subjects under `{REPLY_PREFIX}` are taken");
        return;
    }
    let sent = match serde_json::to_vec(answer) {
        Ok(payload) => wire::fire(nats.client(), reply_to.to_owned(), HeaderMap::new(), payload.into())
            .await
            .map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = sent {
        tracing::debug!(command = %answer.command_id(), "sending the answer: {error}");
    }
}

/// Whether a client may have an outcome sent there: an inbox, one subject, no wildcard.
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

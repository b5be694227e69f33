//! Sets aside a message that is passed on to nobody.

use bytes::Bytes;
use pelton_core::command::report::report_of_unreadable;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind};
use pelton_core::id::Name;
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;

use crate::connection::Nats;
use crate::dead_letters;
use crate::sagas::outcomes;

/// Keeps a dead letter of the message, tells the saga that sent it, if one did, and has the server hand it out no more.
pub(super) async fn set_aside(
    nats: &Nats,
    consumer: &str,
    owner: &Name,
    message: Incoming,
    cause: &str,
) -> Result<(), Unavailable> {
    let (stream, sequence) = (message.stream.clone(), message.sequence);
    tracing::error!(%stream, %sequence, subject = message.subject, "set aside: {cause}");
    // The subject that the message itself would have brought, as in NATS ADR-15. The server uses the stream sequence;
    // the delivery's own number and time are not known here.
    let reply = format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.1.{}.0", message.stored_at.0);
    let told = report_of_unreadable(&message, cause);
    let dead_letter = DeadLetter {
        consumer: owner.to_string(),
        key: None,
        kind: DeadLetterKind::Failed,
        message,
        cause: cause.to_owned(),
        digest: None,
    };
    dead_letters::keep(nats, &dead_letter).await?;
    if let Some(report) = told {
        outcomes::report(nats, &report).await?;
    }
    let terminated = nats.client().publish(reply, Bytes::from_static(b"+TERM it was set aside")).await;
    terminated.map_err(|error| Unavailable {
        doing: format!("setting aside sequence {sequence} of stream {stream}"),
        cause: error.to_string(),
    })
}

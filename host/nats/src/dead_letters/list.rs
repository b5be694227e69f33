//! Lists dead letters, a page at a time.

use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::{CommandId, Sequence};
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;

use super::{KeptDeadLetter, described};
use crate::connection::Nats;
use crate::subjects::{self, DEAD_LETTERS};
use crate::wire;

/// The most messages of one read. Each may be as large as the server accepts.
const PAGE_MESSAGES: usize = 50;

/// Selects dead letters. `None` matches any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The handler, projection or saga.
    pub consumer: Option<String>,
    /// The entity, view key or instance.
    pub key: Option<String>,
    /// Failed or parked.
    pub kind: Option<DeadLetterKind>,
    /// The stream of the message.
    pub stream: Option<String>,
    /// The command.
    pub command: Option<CommandId>,
    /// Kept at this time or later.
    pub since: Option<Timestamp>,
    /// Kept before this time.
    pub until: Option<Timestamp>,
}

impl Filter {
    pub(super) fn subject(&self) -> String {
        let Self { consumer, key, kind, stream, command, .. } = self;
        let command = command.as_ref().map(CommandId::as_str);
        subjects::dead_letters(consumer.as_deref(), key.as_deref(), *kind, stream.as_deref(), command)
    }

    fn takes(&self, dead_letter: &KeptDeadLetter) -> bool {
        self.since.is_none_or(|since| dead_letter.kept_at >= since)
            && self.until.is_none_or(|until| dead_letter.kept_at < until)
    }
}

/// Some dead letters, in the order in which they were kept.
#[derive(Debug)]
pub struct Page {
    /// The dead letters. One that is kept in parts has no headers and payload here; [`super::read`] returns them.
    pub dead_letters: Vec<KeptDeadLetter>,
    /// The start of the next page. `None` on the last page.
    pub next: Option<Sequence>,
}

/// The dead letters from a position of the dead-letter stream on. `replicated`: the stream has replicas, which may be
/// behind.
pub async fn page(
    nats: &Nats,
    filter: &Filter,
    from: Sequence,
    replicated: bool,
) -> Result<Page, Unavailable> {
    let subject = filter.subject();
    let tail = wire::page(nats, DEAD_LETTERS, &subject, from, PAGE_MESSAGES, replicated).await?;
    let next = tail.next();
    let mut dead_letters = Vec::new();
    for message in tail.messages {
        dead_letters.extend(described(message)?.filter(|dead_letter| filter.takes(dead_letter)));
    }
    Ok(Page { dead_letters, next })
}

//! Listing letters, a page at a time.

use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::{CommandId, Sequence};
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;

use super::{KeptLetter, described};
use crate::connection::Nats;
use crate::subjects::{self, DEAD_LETTERS};
use crate::wire;

/// The most messages that are read at a time; each may be as large as the server takes.
const PAGE_MESSAGES: usize = 50;

/// Which letters. What is none is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this handler, projection or saga.
    pub consumer: Option<String>,
    /// Of this entity, view key or instance.
    pub key: Option<String>,
    /// That failed, or that wait.
    pub kind: Option<DeadLetterKind>,
    /// From this stream.
    pub stream: Option<String>,
    /// With this command.
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

    fn takes(&self, letter: &KeptLetter) -> bool {
        self.since.is_none_or(|since| letter.kept_at >= since)
            && self.until.is_none_or(|until| letter.kept_at < until)
    }
}

/// Some letters, in the order in which they were kept.
#[derive(Debug)]
pub struct Page {
    /// The letters. One that is kept in parts comes without its message's headers and payload; [`super::read`] has them.
    pub letters: Vec<KeptLetter>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<Sequence>,
}

/// The letters from a position of the dead-letter stream on. `replicated`: the stream has replicas, which may be behind.
pub async fn page(
    nats: &Nats,
    filter: &Filter,
    from: Sequence,
    replicated: bool,
) -> Result<Page, Unavailable> {
    let subject = filter.subject();
    let tail = wire::page(nats, DEAD_LETTERS, &subject, from, PAGE_MESSAGES, replicated).await?;
    let next = tail.next();
    let mut letters = Vec::new();
    for message in tail.messages {
        letters.extend(described(message)?.filter(|letter| filter.takes(letter)));
    }
    Ok(Page { letters, next })
}

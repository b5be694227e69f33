//! Reads streams message by message, as they are stored, to record them.

use std::ops::RangeInclusive;

use pelton_core::command::ports::Cause;
use pelton_core::id::{Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;
use pelton_core::subject::Entity;
use pelton_core::time::Timestamp;

use crate::commands::{cause_of, log};
use crate::connection::Nats;
use crate::subjects::{self, COMMANDS};
use crate::wire;

/// The number of messages that are read at a time.
const PAGE_MESSAGES: usize = 100;

/// A part of a stream.
#[derive(Debug)]
pub struct Page {
    /// Its messages, in order.
    pub messages: Vec<Stored>,
    /// Where the next part begins. `None`: this was the last.
    pub next: Option<Sequence>,
}

/// A message as it is stored.
#[derive(Debug)]
pub struct Stored {
    /// The message.
    pub message: Incoming,
    /// Whether it is the mark of a command that ended without events.
    pub is_mark: bool,
    /// The command that it followed from. `None`: Pelton did not write it.
    pub cause: Option<Cause>,
}

/// The first messages of a part of an event stream, of all entities or of one. The part has an end, because more may be
/// stored meanwhile than can be read.
///
/// # Errors
///
/// The server does not answer, or has no such stream.
pub async fn events(
    nats: &Nats,
    stream: &Name,
    entity: Option<&Entity>,
    part: RangeInclusive<Sequence>,
    replicated: bool,
) -> Result<Page, Unavailable> {
    let filter = entity.map_or_else(|| ">".to_owned(), subjects::entity_filter);
    page(nats, stream, &filter, part, replicated).await
}

/// The first commands of a part of the log.
///
/// # Errors
///
/// The server does not answer, or has no log.
pub async fn commands(
    nats: &Nats,
    part: RangeInclusive<Sequence>,
    replicated: bool,
) -> Result<Page, Unavailable> {
    let log = Name::new(COMMANDS)
        .map_err(|error| Unavailable { doing: format!("reading {COMMANDS}"), cause: error.to_string() })?;
    page(nats, &log, ">", part, replicated).await
}

/// The sequence of the last command that was logged; none where there is no log.
///
/// # Errors
///
/// The server does not answer.
pub async fn last_command(nats: &Nats) -> Result<Sequence, Unavailable> {
    log::last_if_any(nats, COMMANDS).await
}

/// The sequence of the last message of a stream; none where there is no such stream.
///
/// # Errors
///
/// The server does not answer.
pub async fn last(nats: &Nats, stream: &Name) -> Result<Sequence, Unavailable> {
    log::last_if_any(nats, stream.as_str()).await
}

/// The sequence of the first message of a stream that was stored at this time or later. `None`: there is none.
///
/// # Errors
///
/// The server does not answer, or has no such stream.
pub async fn first_since(
    nats: &Nats,
    stream: &Name,
    time: Timestamp,
) -> Result<Option<Sequence>, Unavailable> {
    wire::first_since(nats, stream.as_str(), ">", time).await
}

async fn page(
    nats: &Nats,
    stream: &Name,
    filter: &str,
    part: RangeInclusive<Sequence>,
    replicated: bool,
) -> Result<Page, Unavailable> {
    let (from, until) = part.into_inner();
    let page = wire::page(nats, stream.as_str(), filter, from, PAGE_MESSAGES, replicated).await?;
    let next = page.next().filter(|next| *next <= until);
    let messages = page.messages.into_iter().filter(|message| message.sequence <= until).map(|message| {
        let is_mark = subjects::is_mark(&message.subject);
        let message = message.into_incoming(stream.clone());
        let cause = cause_of(&message.headers);
        Stored { message, is_mark, cause }
    });
    Ok(Page { messages: messages.collect(), next })
}

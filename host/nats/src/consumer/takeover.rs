//! What comes first after a gap in the deliveries to this host.
//!
//! A consumer numbers its deliveries. A host that gets one whose number does not follow its last begins with what was delivered
//! before and is not acknowledged, to another host or over a connection that was lost: the commands behind it would
//! overtake it otherwise, because the server hands it out again only after the ack wait. The host before may go on with
//! it, too: it does so in the same order, and whoever comes second finds each command's end.

use pelton_core::id::{Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;

use super::aside;
use super::delivered::Delivered;
use super::delivery::PullDelivery;
use super::unfinished::{Care, Unfinished};
use super::unreadable;
use crate::connection::Nats;
use crate::wire::{self, RawMessage, StoredMessage};

/// The messages that may have been left, and the delivery behind the gap.
pub(super) struct Takeover {
    /// None: it is not known yet.
    rest: Option<(Rest, Unfinished)>,
    /// The next of them, if it is known.
    found: Option<Incoming>,
    /// The one before, if it was handled alone.
    alone: Option<Sequence>,
    /// To be passed on when there are no more.
    pub(super) first: PullDelivery,
}

/// A message that may have been left.
pub(super) struct Left {
    pub(super) message: Incoming,
    /// Whether nothing else may be handled meanwhile.
    pub(super) alone: bool,
}

/// Whose messages are taken over.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) consumer: &'a str,
    /// The handler that owns the consumer.
    pub(super) owner: &'a Name,
}

impl Takeover {
    pub(super) fn before(first: PullDelivery) -> Self {
        Self { rest: None, found: None, alone: None, first }
    }

    /// The next message that may have been left. `set_aside` is told of those that hosts never finished.
    pub(super) async fn next(
        &mut self,
        nats: &Nats,
        of: Of<'_>,
        mut set_aside: impl FnMut(Sequence),
    ) -> Result<Option<Left>, Unavailable> {
        let stream = self.first.message.stream.clone();
        let (rest, unfinished) = match &mut self.rest {
            Some(rest) => rest,
            None => {
                let rest = Rest::before(nats, stream.as_str(), of.consumer, &self.first.message).await?;
                let unfinished = match rest.from < rest.end {
                    true => Unfinished::taken_over(nats, of.consumer, rest.from).await?,
                    false => Unfinished::default(),
                };
                self.rest.insert((rest, unfinished))
            }
        };
        loop {
            if self.found.is_none() {
                self.found = rest.next(nats, &stream).await?;
            }
            let Some(message) = &self.found else { return Ok(None) };
            let sequence = message.sequence;
            let alone = match unfinished.care(sequence) {
                Care::None => false,
                Care::Alone => {
                    unfinished.begin(nats, of.consumer, sequence, self.alone).await?;
                    self.alone = Some(sequence);
                    true
                }
                Care::SetAside(cause) => {
                    aside::set_aside(nats, of.consumer, of.owner, message.clone(), &cause).await?;
                    set_aside(sequence);
                    self.found = None;
                    continue;
                }
            };
            return Ok(self.found.take().map(|message| Left { message, alone }));
        }
    }
}

/// What was delivered before, to another client or over a lost connection, and may not be settled, in order.
struct Rest {
    from: Sequence,
    end: Sequence,
    heads: Vec<Head>,
}

/// Where the reading of one filter is. What other consumers take, and lies between, is not read.
struct Head {
    filter: String,
    next: Sequence,
    found: Option<RawMessage>,
}

impl Rest {
    /// The rest before this message, which does not follow the last that this client was given.
    async fn before(
        nats: &Nats,
        stream: &str,
        consumer: &str,
        first: &Incoming,
    ) -> Result<Self, Unavailable> {
        let Delivered { filters, from, to } = Delivered::by(nats, stream, consumer).await?;
        // A message that comes again tells nothing of what was delivered after it.
        let end = if first.attempt == 1 { first.sequence } else { Sequence(to.0 + 1) };
        let heads = filters.into_iter().map(|filter| Head { filter, next: from, found: None }).collect();
        Ok(Self { from, end, heads })
    }

    /// Its next message, read from the stream's leader.
    async fn next(&mut self, nats: &Nats, stream: &Name) -> Result<Option<Incoming>, Unavailable> {
        loop {
            for head in &mut self.heads {
                head.find(nats, stream, self.end).await?;
            }
            let first = self.heads.iter_mut().filter_map(|head| Some((head.found.as_ref()?.sequence, head)));
            let Some((_, head)) = first.min_by_key(|(sequence, _)| *sequence) else { return Ok(None) };
            let Some(raw) = head.found.take() else { return Ok(None) };
            // One that cannot be read is set aside where it is looked for.
            if unreadable::why_unreadable(&raw.header_block).is_none() {
                return Ok(Some(StoredMessage::from(raw).into_incoming(stream.clone())));
            }
        }
    }
}

impl Head {
    async fn find(&mut self, nats: &Nats, stream: &Name, end: Sequence) -> Result<(), Unavailable> {
        if self.found.is_some() || self.next >= end {
            return Ok(());
        }
        let found = wire::leader_next(nats, stream.as_str(), self.next, &self.filter).await?;
        self.found = found.filter(|raw| raw.sequence < end);
        self.next = self.found.as_ref().map_or(end, |raw| Sequence(raw.sequence.0 + 1));
        Ok(())
    }
}

//! What comes first after a gap in the deliveries to this host.
//!
//! A consumer numbers its deliveries. A host that gets one whose number does not follow its last begins with what was delivered
//! before and is not acknowledged, to another host or over a connection that was lost: the commands behind it would
//! overtake it otherwise, because the server hands it out again only after the ack wait. The host before may go on with
//! it, too: it does so in the same order, and whoever comes second finds each command's end.

use pelton_core::id::{Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;

use super::delivered::Delivered;
use super::delivery::PullDelivery;
use super::unreadable;
use crate::connection::Nats;
use crate::wire::{self, RawMessage, StoredMessage};

/// The messages that may have been left, and the delivery behind the gap.
pub(super) struct Takeover {
    /// None: it is not known yet.
    rest: Option<Rest>,
    /// To be passed on when there are no more.
    pub(super) first: PullDelivery,
}

impl Takeover {
    pub(super) fn before(first: PullDelivery) -> Self {
        Self { rest: None, first }
    }

    /// The next message that may have been left.
    pub(super) async fn next(
        &mut self,
        nats: &Nats,
        consumer: &str,
    ) -> Result<Option<Incoming>, Unavailable> {
        let first = &self.first.message;
        let rest = match &mut self.rest {
            Some(rest) => rest,
            None => {
                let rest = Rest::before(nats, first.stream.as_str(), consumer, first).await?;
                self.rest.insert(rest)
            }
        };
        rest.next(nats, &first.stream).await
    }
}

/// What was delivered before, to another client or over a lost connection, and may not be settled, in order.
struct Rest {
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
        Ok(Self { end, heads })
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

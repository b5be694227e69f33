//! Reads messages, and finds the instances that they concern.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::SagaFlow;
use super::input::{Input, OwnInput, What};
use super::model::Relation;
use super::ports::{SagaPlugin, SagaStore};
use super::retry::attempt;
use crate::consumer::{EventFeed, FeedItem};
use crate::dead_letter::{DeadLetterKind, Retries};
use crate::id::{InstanceId, Sequence};
use crate::message::{Incoming, RecordedEvent};
use crate::recorded;
use crate::retry::Verdict;

/// The most messages that are read at a time.
const MAX_ITEMS: usize = 256;
/// The most bytes of them.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The wait before a feed or a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// A message that was read, and the inputs that instances get from it.
pub(super) struct Read {
    pub(super) sequence: Sequence,
    pub(super) inputs: Vec<(InstanceId, Input)>,
}

/// The messages of a feed after this place, until the feed is stopped.
pub(super) fn items<F: EventFeed + 'static>(feed: F, after: Sequence) -> BoxStream<'static, Vec<FeedItem>> {
    let next = async |(mut feed, seek): (F, Option<Sequence>)| {
        if let Some(after) = seek {
            while let Err(away) = feed.seek(after).await {
                tracing::warn!("will be tried again: {away}");
                tokio::time::sleep(PAUSE).await;
            }
        }
        loop {
            match feed.next(MAX_ITEMS, MAX_BYTES).await {
                Ok(items) if items.is_empty() => return None,
                Ok(items) => return Some((items, (feed, None))),
                Err(away) => {
                    tracing::warn!("will be tried again: {away}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    Box::pin(stream::unfold((feed, Some(after)), next).fuse())
}

/// The inputs that instances get from events. An event that the plugin cannot correlate is tried again and then set
/// aside. Later events wait meanwhile, because it is not known which instances the event concerns.
pub(super) async fn events<P: SagaPlugin, S: SagaStore, L: Retries>(
    flow: Arc<SagaFlow<P, S, L>>,
    items: Vec<FeedItem>,
) -> Vec<Read> {
    let mut read = Vec::with_capacity(items.len());
    for item in items {
        let sequence = item.message.sequence;
        let inputs = match recorded::of_item(&flow.stream, &item) {
            Ok(event) => {
                let concerned = concerned_in_all(&flow, &item.message, &event).await;
                let input = |(id, relation)| {
                    let (message, position) = (item.message.clone(), event.position());
                    (id, Input { message, position, what: What::Event(Box::new(event.clone()), relation) })
                };
                concerned.into_iter().map(input).collect()
            }
            Err(why) => {
                keep(&flow, &item.message, why).await;
                Vec::new()
            }
        };
        read.push(Read { sequence, inputs });
    }
    read
}

/// The instances that an event concerns in the version that runs, and those only in one that drains.
async fn concerned_in_all<P: SagaPlugin, S: SagaStore, L: Retries>(
    flow: &SagaFlow<P, S, L>,
    message: &Incoming,
    event: &RecordedEvent,
) -> Vec<(InstanceId, Option<Relation>)> {
    let mut all: Vec<(InstanceId, Option<Relation>)> = Vec::new();
    for (version, runs) in flow.readers(event) {
        for (id, relation) in concerned(version, message, event).await {
            if runs || !all.iter().any(|(known, _)| *known == id) {
                all.push((id, runs.then_some(relation)));
            }
        }
    }
    all
}

async fn concerned<P: SagaPlugin, S: SagaStore, L: Retries>(
    flow: &SagaFlow<P, S, L>,
    message: &Incoming,
    event: &RecordedEvent,
) -> Vec<(InstanceId, Relation)> {
    use tracing::Instrument;
    let mut faults = 0;
    loop {
        let what = What::Event(Box::new(event.clone()), None);
        let input = Input { message: message.clone(), position: event.position(), what };
        let span = input.span(&flow.id, &flow.plugin, None);
        let stop = match flow.correlate(event).instrument(span).await {
            Ok(concerned) => return concerned,
            Err(stop) => stop,
        };
        let stop = match flow.correlate_by_version_before(event, stop).await {
            Ok(concerned) => return concerned,
            Err(stop) => stop,
        };
        match flow.retry.verdict(&stop, attempt(&stop, &mut faults)) {
            Verdict::Retry(delay) => {
                tracing::warn!(?delay, "will be tried again: {}", stop.in_short());
                tokio::time::sleep(delay).await;
            }
            Verdict::SetAside => {
                keep(flow, message, stop.to_string()).await;
                return Vec::new();
            }
        }
    }
}

/// The inputs that instances get from messages of the saga's own stream.
pub(super) async fn own<P: SagaPlugin, S: SagaStore, L: Retries>(
    flow: &SagaFlow<P, S, L>,
    items: Vec<FeedItem>,
) -> Vec<Read> {
    let mut read = Vec::with_capacity(items.len());
    for FeedItem { message, unreadable } in items {
        let sequence = message.sequence;
        let decoded = match unreadable {
            Some(why) => Err(why),
            None => OwnInput::from_bytes(&message.payload)
                .and_then(|input| Ok((input.instance().ok_or("it names no instance")?, input))),
        };
        let inputs = match decoded {
            Ok((id, input)) => vec![(id, Input::own(message, input))],
            Err(why) => {
                keep(flow, &message, why).await;
                Vec::new()
            }
        };
        read.push(Read { sequence, inputs });
    }
    read
}

/// Keeps a message as a dead letter, because it is not known which instances it concerns. Nothing waits behind it.
async fn keep<P: SagaPlugin, S: SagaStore, L: Retries>(
    flow: &SagaFlow<P, S, L>,
    message: &Incoming,
    cause: String,
) {
    tracing::error!("set aside: {cause}");
    let dead_letter = flow.dead_letter(message, None, DeadLetterKind::Failed, cause);
    while let Err(away) = flow.dead_letters.keep(dead_letter.clone()).await {
        tracing::warn!("will be tried again: {away}");
        tokio::time::sleep(PAUSE).await;
    }
}

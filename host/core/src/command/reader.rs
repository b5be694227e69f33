//! The reader of a handler: it takes commands from the consumer, hands each to the shard of its entity, and tells the
//! server of all that are in hand. It computes nothing, so a plugin whose calls take long costs no command its lease.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::command::CommandFlow;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::command::shard::{self, Lane};
use crate::command::trial::HandlerVersion;
use crate::consumer::{Consumer, Delivery};
use crate::dead_letter::Retries;
use crate::intake::{Intake, IntakeError};
use crate::message::Command;

/// The bounds of one handler's work.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most commands in hand, waiting ones included.
    pub max_in_flight: usize,
    /// How often the server is told that a command is still being worked on. Well below the consumer's ack wait.
    pub progress_every: Duration,
    /// How many commands of one entity must wait to be decided ahead.
    pub min_ahead: usize,
}

/// A command in hand.
pub(super) struct InHand<D> {
    pub(super) lane: Lane,
    pub(super) delivery: Arc<D>,
    pub(super) command: Result<Command, IntakeError>,
    /// The reader may take another command once this is dropped.
    pub(super) _room: OwnedSemaphorePermit,
}

/// Handles the consumer's messages until it is stopped, and finishes those that are in hand. Each flow is a shard: a task
/// of its own, with its own live entities. `versions` has the version of the plugin that the shards have, and then those
/// that take its place.
///
/// # Panics
///
/// A shard panicked.
pub async fn run<P: HandlerPlugin, S: CommandStore, L: Retries, I: Consumer>(
    consumer: I,
    intake: Arc<Intake>,
    shards: Vec<CommandFlow<P, S, L>>,
    versions: watch::Receiver<HandlerVersion<P>>,
    limits: Limits,
) {
    let room = Arc::new(Semaphore::new(limits.max_in_flight));
    let mut tasks = JoinSet::new();
    let queues: Vec<_> = shards
        .into_iter()
        .map(|flow| {
            let (queue, commands) = mpsc::channel(limits.max_in_flight.max(1));
            tasks.spawn(shard::run(flow, commands, versions.clone(), limits.min_ahead));
            queue
        })
        .collect();
    // `next` may outlive one round of `select!`, so its future is kept.
    let mut deliveries =
        pin!(stream::unfold((consumer, room), async |(mut consumer, room): (I, Arc<Semaphore>)| {
            let permit = room.clone().acquire_owned().await.ok()?;
            let delivery = consumer.next().await?;
            Some(((delivery, permit), (consumer, room)))
        }));
    let mut queues = Some(queues);
    // With some that are settled by now, but never more than twice what may be in hand.
    let mut in_hand: Vec<Weak<I::Delivery>> = Vec::new();
    let mut progress = tokio::time::interval(limits.progress_every);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = progress.tick() => {
                let held: Vec<_> = in_hand.iter().filter_map(Weak::upgrade).collect();
                join_all(held.iter().map(|delivery| delivery.progress())).await;
            }
            next = deliveries.next(), if queues.is_some() => match (next, &queues) {
                (Some((delivery, room)), Some(queues)) => {
                    let delivery = Arc::new(delivery);
                    if in_hand.len() >= 2 * limits.max_in_flight {
                        in_hand.retain(is_held);
                    }
                    in_hand.push(Arc::downgrade(&delivery));
                    let command = intake.decode(delivery.message());
                    let lane = match &command {
                        Ok(command) => Lane::Entity(command.entity.clone()),
                        Err(_) => Lane::Unreadable(delivery.message().sequence),
                    };
                    let queue = &queues[shard_of(&lane, queues.len())];
                    // There is room for all that may be in hand. A shard that is gone has panicked: see below.
                    let _ = queue.try_send(InHand { lane, delivery, command, _room: room });
                }
                // The shards finish what they have.
                _ => queues = None,
            },
            ended = tasks.join_next() => match ended {
                Some(ended) => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
                None => return,
            },
        }
    }
}

fn is_held<D>(delivery: &Weak<D>) -> bool {
    delivery.strong_count() > 0
}

fn shard_of(lane: &Lane, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    lane.hash(&mut hasher);
    usize::try_from(hasher.finish() % shards as u64).unwrap_or_default()
}

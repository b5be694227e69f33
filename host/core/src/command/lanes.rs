//! Lanes: the commands of one entity in order, those of different entities side by side.
//!
//! A lane exists while its entity has commands in hand. What is in hand is bounded, so the lanes are too.
//!
//! Every turn of a lane is a future of its own. What seldom happens in it is boxed, here and in the flow: a future has
//! room for the largest of its ways, and is made and moved for every command.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::{self, FuturesUnordered};
use tokio::time::MissedTickBehavior;

use crate::command::load::TakenSnapshot;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::command::{CommandFlow, MAX_AHEAD_COMMANDS};
use crate::consumer::{Consumer, Delivery, Settlement, with_progress};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::intake::{Intake, IntakeError};
use crate::message::Command;
use crate::subject::Entity;

/// From how many waiting commands of one entity on deciding ahead pays. One batch costs a server with file storage as
/// much as a dozen appends and more.
pub const MIN_AHEAD: usize = 16;

/// The bounds of one handler's work.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The most commands in hand, waiting ones included.
    pub max_in_flight: usize,
    /// How often the server is told that a command is still being worked on. Well below the consumer's ack wait.
    pub progress_every: Duration,
    /// How many commands of one entity must wait to be decided ahead.
    pub min_ahead: usize,
}

/// What a lane is for: an entity, or one message that has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Lane {
    Entity(Entity),
    Unreadable(Sequence),
}

struct Held<D> {
    delivery: D,
    command: Result<Command, IntakeError>,
}

/// Handles the consumer's messages until it is stopped, and finishes those that are in hand.
pub async fn run<P: HandlerPlugin, S: CommandStore, L: Retries, I: Consumer>(
    consumer: I,
    intake: Arc<Intake>,
    flow: &CommandFlow<P, S, L>,
    limits: LaneLimits,
) {
    // `next` may outlive one round of `select!`, so its future is kept.
    let mut deliveries = pin!(stream::unfold(consumer, async |mut consumer: I| consumer
        .next()
        .await
        .map(|next| (next, consumer))));
    let mut waiting: HashMap<Lane, VecDeque<Held<I::Delivery>>> = HashMap::new();
    let mut working = FuturesUnordered::new();
    // As many as the flow gives out at a time.
    let mut keeping = FuturesUnordered::new();
    let mut in_hand = 0;
    let mut open = true;
    let mut progress = tokio::time::interval(limits.progress_every);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while open || !working.is_empty() || !keeping.is_empty() {
        tokio::select! {
            Some(()) = keeping.next(), if !keeping.is_empty() => {}
            _ = progress.tick() => {
                // What waits behind a long one must not be handed out again meanwhile.
                join_all(waiting.values().flatten().map(|held| held.delivery.progress())).await;
            }
            Some(Done { lane, ended, rest, snapshot }) = working.next(), if !working.is_empty() => {
                in_hand -= ended;
                if let Some(snapshot) = snapshot {
                    keeping.push(flow.keep_snapshot(snapshot));
                }
                let Some(queue) = waiting.get_mut(&lane) else { continue };
                rest.into_iter().rev().for_each(|held| queue.push_front(held));
                match next(queue, flow, limits) {
                    Some(turn) => working.push(work(lane, turn, flow, limits.progress_every)),
                    None => drop(waiting.remove(&lane)),
                }
            }
            delivery = deliveries.next(), if open && in_hand < limits.max_in_flight => {
                let Some(delivery) = delivery else { open = false; continue };
                in_hand += 1;
                let command = intake.decode(delivery.message());
                let lane = match &command {
                    Ok(command) => Lane::Entity(command.entity.clone()),
                    Err(_) => Lane::Unreadable(delivery.message().sequence),
                };
                let held = Held { delivery, command };
                match waiting.get_mut(&lane) {
                    Some(queue) => queue.push_back(held),
                    None => {
                        waiting.insert(lane.clone(), VecDeque::new());
                        working.push(work(lane, VecDeque::from([held]), flow, limits.progress_every));
                    }
                }
            }
        }
    }
}

/// What a lane does next: its next command, or many that wait, to be decided ahead.
fn next<D, P: HandlerPlugin, S: CommandStore, L: Retries>(
    queue: &mut VecDeque<Held<D>>,
    flow: &CommandFlow<P, S, L>,
    limits: LaneLimits,
) -> Option<VecDeque<Held<D>>> {
    let ahead = flow.decides_ahead() && queue.len() >= limits.min_ahead;
    let turn = if ahead { queue.len().min(MAX_AHEAD_COMMANDS) } else { queue.len().min(1) };
    (turn > 0).then(|| queue.drain(..turn).collect())
}

/// What a lane has done.
struct Done<D> {
    lane: Lane,
    /// How many commands of its turn have been settled.
    ended: usize,
    /// The others.
    rest: VecDeque<Held<D>>,
    snapshot: Option<TakenSnapshot>,
}

async fn work<P: HandlerPlugin, S: CommandStore, L: Retries, D: Delivery>(
    lane: Lane,
    mut turn: VecDeque<Held<D>>,
    flow: &CommandFlow<P, S, L>,
    progress_every: Duration,
) -> Done<D> {
    let mut ended = 0;
    if turn.len() > 1 {
        let commands: Vec<&Command> = turn.iter().map_while(|held| held.command.as_ref().ok()).collect();
        let deliveries: Vec<&D> = turn.iter().map(|held| &held.delivery).collect();
        ended = with_progress(&deliveries, progress_every, Box::pin(flow.handle_ahead(&commands))).await;
        for Held { delivery, .. } in turn.drain(..ended) {
            delivery.settle(Settlement::Ack).await;
        }
    }
    if ended == 0
        && let Some(Held { delivery, command }) = turn.pop_front()
    {
        let settlement = {
            let handled = pin!(flow.handle(delivery.message(), command));
            with_progress(&[&delivery], progress_every, handled).await
        };
        delivery.settle(settlement).await;
        ended = 1;
    }
    // Nobody waits for it by now, but the lane's next command: the state must not change meanwhile.
    let snapshot = match &lane {
        Lane::Entity(entity) => flow.take_snapshot(entity).await,
        Lane::Unreadable(_) => None,
    };
    Done { lane, ended, rest: turn, snapshot }
}

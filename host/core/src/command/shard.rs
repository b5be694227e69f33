//! A shard: a task that handles the commands of its entities, those of one entity in order and those of different
//! entities side by side.
//!
//! Each entity with commands in hand has a lane. A command that is to be tried again stays at the head of its lane, so
//! that the entity's later commands stay behind it.
//!
//! Every turn of a lane is a future of its own. What seldom happens in it is boxed, here and in the flow: a future has
//! room for the largest of its ways, and is made and moved for every command.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use crate::command::beside::MAX_LOADED_BESIDE;
use crate::command::load::TakenSnapshot;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::command::reader::InHand;
use crate::command::trial::HandlerVersion;
use crate::command::{CommandFlow, MAX_AHEAD_COMMANDS};
use crate::consumer::{Delivery, Settlement};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::message::{Command, Incoming};
use crate::subject::Entity;

/// From how many waiting commands of one entity on deciding ahead pays. One batch costs a server with file storage as
/// much as a dozen appends and more.
pub const MIN_AHEAD: usize = 16;

/// What a lane is for: an entity, or one message that has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Entity(Entity),
    Unreadable(Sequence),
}

/// The commands of a lane that wait.
struct Waiting<D> {
    queue: VecDeque<Held<D>>,
    /// How long its first command waits before it is tried again. Nobody works on the lane meanwhile.
    resting: Option<Duration>,
}

struct Held<D> {
    in_hand: InHand<D>,
    /// How often this shard has tried it in vain.
    tries: u32,
}

/// Handles commands until no more can come, and finishes those that are in hand. Those that were tried in vain are handed
/// back then, with all behind them.
pub(super) async fn run<P: HandlerPlugin, S: CommandStore, L: Retries, D: Delivery>(
    flow: CommandFlow<P, S, L>,
    mut commands: mpsc::Receiver<InHand<D>>,
    mut versions: watch::Receiver<HandlerVersion<P>>,
    min_ahead: usize,
) {
    // Every turn goes on with the generation that it began with.
    let mut flow = Arc::new(flow);
    let mut lanes: HashMap<Lane, Waiting<D>> = HashMap::new();
    let mut working = FuturesUnordered::new();
    let mut resting = FuturesUnordered::new();
    // As many as the flow gives out at a time.
    let mut keeping = FuturesUnordered::new();
    let mut loading = FuturesUnordered::new();
    let mut open = true;
    while open || !working.is_empty() || !keeping.is_empty() {
        tokio::select! {
            Some(()) = keeping.next(), if !keeping.is_empty() => {}
            Some(()) = loading.next(), if !loading.is_empty() => {}
            Some(Done { lane, rest, again, snapshot }) = working.next(), if !working.is_empty() => {
                if let Some(snapshot) = snapshot {
                    let flow = flow.clone();
                    keeping.push(async move { flow.keep_snapshot(snapshot).await });
                }
                while open && loading.len() < MAX_LOADED_BESIDE
                    && let Some(entity) = flow.next_beside()
                {
                    loading.push(flow.clone().load_beside(entity));
                }
                let Some(waiting) = lanes.get_mut(&lane) else { continue };
                rest.into_iter().rev().for_each(|held| waiting.queue.push_front(held));
                match again {
                    Some(delay) if open => {
                        waiting.resting = Some(delay);
                        resting.push(rest_for(delay, lane));
                    }
                    Some(delay) => {
                        if let Some(waiting) = lanes.remove(&lane) {
                            hand_back(waiting.queue, delay).await;
                        }
                    }
                    None => match next(&mut waiting.queue, &flow, min_ahead) {
                        Some(turn) => working.push(work(lane, turn, flow.clone())),
                        None => drop(lanes.remove(&lane)),
                    },
                }
            }
            Some(lane) = resting.next(), if !resting.is_empty() => {
                let Some(waiting) = lanes.get_mut(&lane) else { continue };
                waiting.resting = None;
                if let Some(first) = waiting.queue.pop_front() {
                    working.push(work(lane, VecDeque::from([first]), flow.clone()));
                }
            }
            Ok(()) = versions.changed(), if open => {
                let version = versions.borrow_and_update().for_shard();
                flow = Arc::new(flow.succeeded_by(version));
                // What the version before could not do, this one may be able to.
                resting.clear();
                let lanes = lanes.iter().filter(|(_, waiting)| waiting.resting.is_some());
                resting.extend(lanes.map(|(lane, _)| rest_for(Duration::ZERO, lane.clone())));
            }
            command = commands.recv(), if open => {
                let Some(in_hand) = command else {
                    open = false;
                    resting.clear();
                    for (_, waiting) in lanes.extract_if(|_, waiting| waiting.resting.is_some()) {
                        hand_back(waiting.queue, waiting.resting.unwrap_or_default()).await;
                    }
                    continue;
                };
                let lane = in_hand.lane.clone();
                let held = Held { in_hand, tries: 0 };
                match lanes.get_mut(&lane) {
                    Some(waiting) => waiting.queue.push_back(held),
                    None => {
                        lanes.insert(lane.clone(), Waiting { queue: VecDeque::new(), resting: None });
                        working.push(work(lane, VecDeque::from([held]), flow.clone()));
                    }
                }
            }
        }
    }
}

async fn rest_for(delay: Duration, lane: Lane) -> Lane {
    tokio::time::sleep(delay).await;
    lane
}

async fn hand_back<D: Delivery>(queue: VecDeque<Held<D>>, delay: Duration) {
    for held in queue {
        held.in_hand.delivery.settle(Settlement::RetryAfter(delay)).await;
    }
}

/// What a lane does next: its next command, or many that wait, to be decided ahead.
fn next<D, P: HandlerPlugin, S: CommandStore, L: Retries>(
    queue: &mut VecDeque<Held<D>>,
    flow: &CommandFlow<P, S, L>,
    min_ahead: usize,
) -> Option<VecDeque<Held<D>>> {
    let ahead = flow.decides_ahead() && queue.len() >= min_ahead;
    let turn = if ahead { queue.len().min(MAX_AHEAD_COMMANDS) } else { queue.len().min(1) };
    (turn > 0).then(|| queue.drain(..turn).collect())
}

/// What a lane has done.
struct Done<D> {
    lane: Lane,
    /// The commands of its turn that have not been settled.
    rest: VecDeque<Held<D>>,
    /// The first of them is to be tried again after this time.
    again: Option<Duration>,
    snapshot: Option<TakenSnapshot>,
}

async fn work<P: HandlerPlugin, S: CommandStore, L: Retries, D: Delivery>(
    lane: Lane,
    mut turn: VecDeque<Held<D>>,
    flow: Arc<CommandFlow<P, S, L>>,
) -> Done<D> {
    let mut ended = 0;
    if turn.len() > 1 {
        let commands: Vec<&Command> =
            turn.iter().map_while(|held| held.in_hand.command.as_ref().ok()).collect();
        ended = Box::pin(flow.handle_ahead(&commands)).await;
        for held in turn.drain(..ended) {
            held.in_hand.delivery.settle(Settlement::Ack).await;
        }
    }
    let mut again = None;
    if ended == 0
        && let Some(mut first) = turn.pop_front()
    {
        match handle(&first, &flow).await {
            // It keeps no entity's later commands behind it, and another host may be able to read it.
            back @ Settlement::RetryAfter(_) if matches!(lane, Lane::Unreadable(_)) => {
                first.in_hand.delivery.settle(back).await;
            }
            Settlement::RetryAfter(delay) => {
                first.tries += 1;
                turn.push_front(first);
                again = Some(delay);
            }
            ended => first.in_hand.delivery.settle(ended).await,
        }
    }
    // Nobody waits for it by now, but the lane's next command: the state must not change meanwhile.
    let snapshot = match &lane {
        Lane::Entity(entity) => flow.take_snapshot(entity).await,
        Lane::Unreadable(_) => None,
    };
    Done { lane, rest: turn, again, snapshot }
}

async fn handle<P: HandlerPlugin, S: CommandStore, L: Retries, D: Delivery>(
    held: &Held<D>,
    flow: &CommandFlow<P, S, L>,
) -> Settlement {
    let (message, command) = (held.in_hand.delivery.message(), held.in_hand.command.as_ref());
    match held.tries {
        0 => flow.handle(message, command).await,
        tries => {
            let again = Incoming { attempt: message.attempt + tries, ..message.clone() };
            Box::pin(flow.handle(&again, command)).await
        }
    }
}

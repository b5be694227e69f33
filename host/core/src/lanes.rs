//! Lanes: the commands of one entity in order, those of different entities side by side.
//!
//! A lane exists while its entity has commands in hand. What is in hand is bounded, so the lanes are too.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::command::CommandFlow;
use crate::id::Sequence;
use crate::intake::{Intake, IntakeError};
use crate::message::Command;
use crate::ports::{CommandStore, Delivery, HandlerPlugin, Inbox};
use crate::settle::Settlement;
use crate::subject::Entity;

/// The bounds of one handler's work.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The most commands in hand, waiting ones included.
    pub max_in_flight: usize,
    /// How often the server is told that a command is still being worked on. Well below the consumer's ack wait.
    pub progress_every: Duration,
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

/// Handles what the inbox gives until it has been stopped, and finishes what is in hand.
pub async fn run<P: HandlerPlugin, S: CommandStore, I: Inbox>(
    mut inbox: I,
    intake: Arc<Intake>,
    flow: &CommandFlow<P, S>,
    limits: LaneLimits,
) {
    let mut waiting: HashMap<Lane, VecDeque<Held<I::Delivery>>> = HashMap::new();
    let mut working = FuturesUnordered::new();
    let mut in_hand = 0;
    let mut open = true;
    while open || !working.is_empty() {
        tokio::select! {
            Some(lane) = working.next(), if !working.is_empty() => {
                in_hand -= 1;
                match waiting.get_mut(&lane).and_then(VecDeque::pop_front) {
                    Some(next) => working.push(work(lane, next, flow, limits.progress_every)),
                    None => drop(waiting.remove(&lane)),
                }
            }
            delivery = inbox.next(), if open && in_hand < limits.max_in_flight => {
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
                        working.push(work(lane, held, flow, limits.progress_every));
                    }
                }
            }
        }
    }
}

async fn work<P: HandlerPlugin, S: CommandStore, D: Delivery>(
    lane: Lane,
    held: Held<D>,
    flow: &CommandFlow<P, S>,
    progress_every: Duration,
) -> Lane {
    let Held { delivery, command } = held;
    let settlement = with_progress(&delivery, progress_every, flow.handle(delivery.message(), command)).await;
    delivery.settle(settlement).await;
    lane
}

/// Does the work and tells the server meanwhile that it is being done.
pub async fn with_progress<D: Delivery>(
    delivery: &D,
    every: Duration,
    work: impl Future<Output = Settlement>,
) -> Settlement {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            settlement = &mut work => return settlement,
            () = tokio::time::sleep(every) => delivery.progress().await,
        }
    }
}

//! Deciding ahead: while many commands of one entity wait, the events of the first are folded before they are stored, the
//! next is decided on them, and so on; then all of them are stored in one batch on the state that the first was decided
//! on. Each command has an end of its own in the batch: its events or its mark.
//!
//! This is an optimisation; correctness does not depend on it. Whatever is in its way, the commands are handled one by
//! one.

use std::collections::HashSet;

use super::CommandFlow;
use super::generation::Taken;
use crate::command::answer;
use crate::command::decision::Batch;
use crate::command::entity::{LiveEntity, as_stored};
use crate::command::ports::{CommandStore, HandlerPlugin, NewMessage};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::message::Command;
use crate::retry::NotProcessed;

/// The most commands that are decided ahead at a time.
pub const MAX_AHEAD_COMMANDS: usize = 256;
/// The most messages that are stored for them in one batch; a server takes 1,000.
const MAX_AHEAD_MESSAGES: usize = 500;
/// The most bytes of events' data in one batch.
const MAX_AHEAD_BYTES: usize = 4 * 1024 * 1024;

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// Whether the plugin allows it.
    pub fn decides_ahead(&self) -> bool {
        self.plugin.descriptor().decides_ahead
    }

    /// Handles the first of these waiting commands of one entity together. Answers how many have ended; none have where
    /// they have to be handled one by one.
    pub async fn handle_ahead(&self, commands: &[&Command]) -> usize {
        self.decide_ahead(commands).await.unwrap_or_else(|stop| {
            tracing::debug!(handler = %self.name, "not decided ahead: {stop}");
            0
        })
    }

    async fn decide_ahead(&self, commands: &[&Command]) -> Result<usize, NotProcessed> {
        let Some(first) = commands.first() else { return Ok(0) };
        let Taken::Alive(mut entity) = self.take(&first.entity).await else { return Ok(0) };
        if entity.may_have_marked(first) {
            self.learn_marks(&mut entity, first).await?;
        }
        let commands = &commands[..self.new_ones(&entity, commands)];
        if entity.is_held() || commands.len() < 2 {
            self.put(first.entity.clone(), entity);
            return Ok(0);
        }
        let Planned { messages, ends, broke } = self.plan(&mut entity, commands).await?;
        // Whatever is not for sure stored drops the entity with the state that went ahead.
        let Ok(sequences) = self.store.append(&first.entity, entity.last_message(), &messages).await else {
            return Ok(0);
        };
        let stored = as_stored(&self.stream, messages, &sequences);
        if !broke {
            entity.was_stored(&stored);
            self.put(first.entity.clone(), entity);
        }
        let (mut from, mut told) = (0, 0);
        for (command, end) in commands.iter().zip(&ends) {
            let answer = answer::to_stored(command, self.plugin.digest(), &stored[from..*end]);
            // The others are handled one by one, and found to have ended.
            if let Err(stop) = self.tell(command, answer).await {
                tracing::warn!("will be tried again: {stop}");
                break;
            }
            (from, told) = (*end, told + 1);
        }
        Ok(told)
    }

    /// How many of the first commands nothing is known of, nor can be, and can be decided on any state.
    fn new_ones(&self, entity: &LiveEntity<P::Instance>, commands: &[&Command]) -> usize {
        let (descriptor, mut ids) = (self.plugin.descriptor(), HashSet::new());
        let is_new = |command: &&&Command| {
            command.expected.is_none()
                && descriptor.takes(command.r#type.as_str())
                && !entity.may_have_marked(command)
                && entity.history().end_of(&command.id).is_none()
                && ids.insert(command.id.clone())
        };
        commands.iter().take(MAX_AHEAD_COMMANDS).take_while(is_new).count()
    }

    /// Decides one command after the other, each on what follows from those before it.
    async fn plan(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        commands: &[&Command],
    ) -> Result<Planned, NotProcessed> {
        let backlinks = entity.history().backlinks().clone();
        let mut batch = Batch::new(self.author(false), &backlinks);
        let (mut ends, mut bytes, mut broke) = (Vec::new(), 0, false);
        for command in commands {
            let decision = match self.decide(entity, command).await {
                Ok(decision) => decision,
                Err(stop) if ends.is_empty() => return Err(stop),
                Err(_) => {
                    broke = true;
                    break;
                }
            };
            bytes += decision.data_bytes();
            if batch.messages().len() + decision.messages() > MAX_AHEAD_MESSAGES || bytes > MAX_AHEAD_BYTES {
                break;
            }
            let from = batch.messages().len();
            batch.push(command, decision);
            let new = &batch.messages()[from..];
            let behind = entity.last_message().0 + from as u64;
            let expected: Vec<_> = (1..=new.len() as u64).map(|n| Sequence(behind + n)).collect();
            entity.fold_ahead(&as_stored(&self.stream, new.to_vec(), &expected)).await?;
            ends.push(batch.messages().len());
        }
        Ok(Planned { messages: batch.into_messages(), ends, broke })
    }
}

/// The messages of commands that were decided ahead.
struct Planned {
    messages: Vec<NewMessage>,
    /// Where each command's messages end.
    ends: Vec<usize>,
    /// The sandbox broke at the command after these.
    broke: bool,
}

//! The instance's next form, which follows from a reaction.

use super::instance::{Instance, OpenCommand, OutgoingCommand, Place, Turn};
use super::model::{Reaction, SagaInput};
use super::ports::{SagaPlugin, SagaStore, TimerWrite};
use super::prepare::Prepared;
use super::{MAX_OPEN_COMMANDS, SagaFlow};
use crate::cloudevents::{DEPTH, is_plugin_extension};
use crate::contract::MAX_COMMANDS;
use crate::dead_letter::Retries;
use crate::id::{CommandId, InputKey, InstanceId};
use crate::message::NewCommand;
use crate::plugin::PluginFault;
use crate::saga::input::Input;
use crate::saga::model::TimerChange;

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Makes the instance what it is after the reaction. Returns the changes of its timers.
    pub(super) fn follow(
        &self,
        id: &InstanceId,
        next: &mut Instance,
        prepared: Prepared,
        reaction: Reaction,
        source: &Input,
    ) -> Result<Vec<TimerWrite>, PluginFault> {
        let Prepared { input, key, mut process, depth, what, context } = prepared;
        if next.state.is_none() {
            *next = Instance {
                handled: std::mem::take(&mut next.handled),
                life: Some(key.clone()),
                ..Instance::default()
            };
        }
        match &input {
            SagaInput::Event(_) => {}
            // The timer is no longer set.
            SagaInput::Timer(due) => drop(next.timers.remove(&due.timer.id)),
            SagaInput::Outcome(outcome) => {
                next.number();
                let command = CommandId::new(&outcome.command_id).ok();
                if let Some(command) = command.as_ref().and_then(CommandId::in_instance) {
                    if outcome.result.is_final() {
                        next.open.remove(command);
                    } else if let Some(open) = next.open.get_mut(command) {
                        open.set_aside = true;
                    }
                }
            }
        }
        let then = told(&reaction);
        if !reaction.commands.is_empty() {
            let depth = depth.saturating_add(1);
            if depth > self.max_depth {
                return Err(self.plugin.fault(format!(
                    "{depth} reactions of sagas led to one another without a pause; `max-depth` allows {}: is it in a loop?",
                    self.max_depth
                )));
            }
            process.push((DEPTH.to_owned(), depth.to_string()));
            next.process = process;
            next.outbox = self.outbox(id, &key, reaction.commands)?;
            let stream = source.message.stream.to_string();
            next.outbox_of = Some(Place { stream, sequence: source.message.sequence });
            if self.plugin.descriptor().takes_outcomes && reaction.state.is_some() {
                self.open(next)?;
            }
        }
        next.correlation_id = context.correlation_id;
        next.state_version = self.plugin.descriptor().state_version;
        next.digest = self.plugin.digest().to_owned();
        next.remember(Turn { time: context.time, input: key.to_string(), what, then });
        next.state = reaction.state;
        let changes = match next.state {
            Some(_) => reaction.timers,
            // A timer that is set at the end would find no instance.
            None => next.timers.keys().cloned().map(TimerChange::Cancel).collect(),
        };
        if next.state.is_none() {
            next.open.clear();
        }
        self.change_timers(next, changes)
    }

    fn open(&self, next: &mut Instance) -> Result<(), PluginFault> {
        for command in &next.outbox {
            let place = command.id.in_instance().unwrap_or_default().to_owned();
            next.open.insert(place, OpenCommand { r#type: command.r#type.clone(), set_aside: false });
        }
        match next.open.len() {
            open if open > MAX_OPEN_COMMANDS => Err(self.plugin.fault(format!(
                "it has {open} commands without an outcome; at most {MAX_OPEN_COMMANDS} are allowed"
            ))),
            _ => Ok(()),
        }
    }

    fn outbox(
        &self,
        id: &InstanceId,
        key: &InputKey,
        commands: Vec<NewCommand>,
    ) -> Result<Vec<OutgoingCommand>, PluginFault> {
        if commands.len() > MAX_COMMANDS {
            return Err(self.plugin.fault(format!(
                "{} commands in one reaction; at most {MAX_COMMANDS} are allowed",
                commands.len()
            )));
        }
        let numbered = commands.into_iter().enumerate().map(|(n, command)| {
            if !self.plugin.descriptor().commands.contains(&command.r#type) {
                return Err(self.plugin.fault(format!(
                    "it sends a command of type {:?}, which its descriptor does not list",
                    command.r#type
                )));
            }
            if let Some((name, _)) = command.metadata.iter().find(|(name, _)| !is_plugin_extension(name)) {
                return Err(self.plugin.fault(format!(
                    "it sends a command with the metadata {name:?}, a name that it may not use"
                )));
            }
            let id = CommandId::of_saga(&self.id, id, key, n);
            Ok(OutgoingCommand {
                id: id.map_err(|e| self.plugin.fault(format!("the id of its command {n} {e}")))?,
                r#type: command.r#type,
                reference: command.reference,
                datacontenttype: command.datacontenttype.unwrap_or_else(|| "application/json".to_owned()),
                extensions: command.metadata,
                data: command.data,
            })
        });
        numbered.collect()
    }
}

/// The effects of a reaction, for people.
fn told(reaction: &Reaction) -> Vec<String> {
    let commands = reaction.commands.iter().map(|command| command.r#type.clone());
    let timers = reaction.timers.iter().map(|change| match change {
        TimerChange::Set(timer) => format!("timer {} {}", timer.id, timer.due),
        TimerChange::Cancel(id) => format!("no timer {id}"),
    });
    let end = reaction.state.is_none().then(|| "the end".to_owned());
    commands.chain(timers).chain(end).collect()
}

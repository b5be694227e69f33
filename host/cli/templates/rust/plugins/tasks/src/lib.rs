//! Tasks: what may happen to a task, and what follows from it.

use pelton_plugin::{CommandHandler, Context, Rejection};
use serde::{Deserialize, Serialize};

/// What somebody wants. The names on the wire are `add-task` and `finish-task`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    AddTask { task: String, title: String, then: Option<String> },
    FinishTask { task: String },
}

/// What has happened. Events are kept for ever: add new ones, do not change these.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    TaskAdded { task: String, title: String, then: Option<String> },
    TaskFinished { task: String },
}

/// Why a command is rejected. The codes that clients see are `already-added` and `not-open`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    AlreadyAdded,
    NotOpen,
}

/// The state of one task, folded from its events.
#[derive(Debug, Default)]
pub enum Task {
    #[default]
    Unknown,
    Open,
    Finished,
}

impl CommandHandler for Task {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;

    fn evolve(&mut self, event: Event) {
        *self = match event {
            Event::TaskAdded { .. } => Self::Open,
            Event::TaskFinished { .. } => Self::Finished,
        };
    }

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
        match (command, self) {
            (Command::AddTask { task, title, then }, Self::Unknown) => {
                Ok(vec![Event::TaskAdded { task, title, then }])
            }
            (Command::AddTask { .. }, _) => Err(Rejection::new(Rule::AlreadyAdded, "the task is there already")),
            (Command::FinishTask { task }, Self::Open) => Ok(vec![Event::TaskFinished { task }]),
            (Command::FinishTask { .. }, _) => Err(Rejection::new(Rule::NotOpen, "there is no such open task")),
        }
    }
}

pelton_plugin::export_command_handler!(Task);

#[cfg(test)]
mod tests {
    use pelton_plugin::testing::TestCommandHandler;

    use super::*;

    const ADD: &str = r#"{"task":"tea","title":"Make tea"}"#;

    fn added() -> Event {
        Event::TaskAdded { task: "tea".into(), title: "Make tea".into(), then: None }
    }

    #[test]
    fn a_task_is_added_once() {
        Task::given([]).when_sent("add-task", ADD).then([added()]);
        Task::given([added()]).when_sent("add-task", ADD).then_rejected("already-added");
    }

    #[test]
    fn only_an_open_task_is_finished() {
        let finish = || Command::FinishTask { task: "tea".into() };
        Task::given([added()]).when(finish()).then([Event::TaskFinished { task: "tea".into() }]);
        Task::given([]).when(finish()).then_rejected("not-open");
    }
}

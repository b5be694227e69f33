//! What an instance has done, and how it is undone.

use serde::{Deserialize, Serialize};

use crate::Outgoing;

/// The steps that an instance has taken, each with the command that undoes it: a part of its state.
///
/// A step is noted when it has *taken effect*, that is when its outcome is accepted; what is set aside may take effect yet.
/// [`Reaction::undo`](crate::Reaction::undo) sends what undoes them, the last step first.
///
/// ```
/// # use pelton_plugin::{CommandResult, Correlation, EventMeta, Failure, Input, InputContext, NoTimers, Outcomes};
/// # use pelton_plugin::{Outgoing, Reaction, Saga, Undo};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] #[serde(rename_all = "kebab-case")] enum Event { Ordered {} }
/// # #[derive(Serialize, Deserialize)] #[serde(rename_all = "kebab-case")]
/// # enum Command { Charge {}, Refund {}, Ship {}, Recall {} }
/// # struct Order;
/// # impl Saga for Order {
/// #     type Event = Event; type Command = Command; type Timer = NoTimers; type State = Undo<Command>;
/// #     const OUTCOMES: Outcomes = Outcomes::Required;
/// #     fn correlate(_: &Event, _: &EventMeta) -> Vec<Correlation> { vec![Correlation::start("1")] }
/// #     fn react(state: Option<Undo<Command>>, input: Input<Event>, _: &InputContext) -> Result<Reaction<Self>, Failure> {
/// let mut undo = state.unwrap_or_default();
/// Ok(match input {
///     Input::Event(Event::Ordered {}, _) => {
///         Reaction::keep(undo).send(Outgoing::new(Command::Charge {}).reference("charge"))
///     }
///     Input::Outcome(outcome) => match (outcome.reference.as_deref(), outcome.result) {
///         (Some("charge"), CommandResult::Accepted(_)) => {
///             undo.done("charge", Command::Refund {});
///             Reaction::keep(undo).send(Outgoing::new(Command::Ship {}).reference("ship"))
///         }
///         (Some("ship"), CommandResult::Rejected(_) | CommandResult::Failed(_)) => Reaction::end().undo(undo),
///         _ => Reaction::keep(undo),
///     },
///     Input::Timer(none, _) => match none {},
/// })
/// #     }
/// # }
/// # pelton_plugin::export_saga!(Order, name = "order");
/// # use pelton_plugin::testing::TestSaga;
/// # let refused = CommandResult::Rejected(pelton_plugin::Rejection::new("sold-out".to_owned(), ""));
/// # Order::given([Event::Ordered {}])
/// #     .when_outcome("1", "charge", CommandResult::Accepted(vec![]))
/// #     .when_outcome("1", "ship", refused)
/// #     .then_sends([Command::Refund {}]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Undo<C>(Vec<Step<C>>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Step<C> {
    name: String,
    by: C,
}

impl<C> Default for Undo<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C> Undo<C> {
    /// A step has taken effect, and this command undoes it. A step of the same name is replaced, in its place.
    pub fn done(&mut self, step: impl Into<String>, by: C) {
        let name = step.into();
        match self.0.iter_mut().find(|known| known.name == name) {
            Some(known) => known.by = by,
            None => self.0.push(Step { name, by }),
        }
    }

    /// There is nothing to undo of this step any more.
    pub fn forget(&mut self, step: &str) {
        self.0.retain(|known| known.name != step);
    }

    /// Whether the step has taken effect and was not forgotten.
    #[must_use]
    pub fn is_done(&self, step: &str) -> bool {
        self.0.iter().any(|known| known.name == step)
    }

    /// The commands that undo the steps, the last step first. Each has the reference `undo <step>`.
    pub fn into_commands(self) -> impl Iterator<Item = Outgoing<C>> {
        self.0.into_iter().rev().map(|Step { name, by }| Outgoing::new(by).reference(format!("undo {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_undone_from_the_last_to_the_first() {
        let mut undo = Undo::default();
        undo.done("a", 1);
        undo.done("b", 2);
        undo.done("c", 3);
        undo.done("a", 4);
        undo.forget("b");
        assert!(undo.is_done("a") && !undo.is_done("b"));
        let json = serde_json::to_string(&undo).expect("it has a JSON form");
        let undo: Undo<i32> = serde_json::from_str(&json).expect("it comes back");
        let commands: Vec<_> = undo.into_commands().collect();
        assert_eq!(commands, [Outgoing::new(3).reference("undo c"), Outgoing::new(4).reference("undo a")]);
    }
}

//! Command handlers: the rules of one kind of entity.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, EventContext, Rejection};

/// The state of one entity, and its rules. `Default` is an entity that has no events yet.
///
/// The host folds the entity's events with [`evolve`](Self::evolve), asks [`decide`](Self::decide), and stores the
/// events only if this state has seen every event of the entity. Both functions are pure: they use no clock and no
/// random numbers, and have no effect but their result, because the host calls them again after a crash or a conflict.
pub trait CommandHandler: Default + 'static {
    /// The commands that the plugin takes: an enum whose variants are the command types.
    type Command: DeserializeOwned;

    /// The events that the plugin emits and folds: an enum whose variants are the event types. A variant that is no
    /// longer emitted stays as long as a stream may hold such an event, and is listed in [`RETIRED`](Self::RETIRED). An
    /// event of the entity that the enum does not have makes the entity's commands fail, because a rule must not decide
    /// on a part of the events.
    type Event: Serialize + DeserializeOwned;

    /// The rules that forbid commands: an enum of variants without content, whose names are the codes of rejections.
    /// An enum without variants for a plugin that never rejects.
    type Rule: Serialize + DeserializeOwned;

    /// The events that the plugin still folds and no longer emits, by the names of their variants on the wire:
    /// `book-lent`, or `book-lent.v2`. The host refuses a decision with one of them.
    const RETIRED: &'static [&'static str] = &[];

    /// The version of the form of snapshots. Raise it with every change of the state's form or meaning.
    const STATE_VERSION: u32 = 1;

    /// Folds one event. Events are stored facts, so they cannot be refused.
    fn evolve(&mut self, event: Self::Event);

    /// Folds one event together with its attributes. Override it if a rule depends on the event's time or sender.
    fn evolve_with(&mut self, event: Self::Event, context: &EventContext) {
        let _ = context;
        self.evolve(event);
    }

    /// The events that follow from the command, on the state as folded so far. An empty list means that the command is
    /// accepted and changes nothing.
    ///
    /// # Errors
    /// The rule that forbids the command. The sender gets it as the answer, and the same answer whenever it sends the
    /// command again.
    fn decide(
        &self,
        command: Self::Command,
        context: &Context,
    ) -> Result<Vec<Self::Event>, Rejection<Self::Rule>>;

    /// Checks the [`settings`](crate::settings), when the plugin is loaded. The host does not run a plugin that cannot work
    /// with them. `decide` may depend on settings, `evolve` may not.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn check_settings() -> Result<(), String> {
        Ok(())
    }

    /// The state as bytes for [`restore`](Self::restore). Return `None`, the default, if folding is cheap. See
    /// [`snapshot_as_json!`](crate::snapshot_as_json) for states that serde can write.
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    /// The state from the bytes of [`snapshot`](Self::snapshot) under the same [`STATE_VERSION`](Self::STATE_VERSION).
    ///
    /// # Errors
    /// Why the bytes cannot be read. The host logs it and folds all events instead.
    fn restore(snapshot: &[u8]) -> Result<Self, String> {
        let _ = snapshot;
        Err("this plugin takes no snapshots".to_owned())
    }
}

/// Snapshots as JSON, for a [`CommandHandler`] whose state is `Serialize` and `Deserialize`: one line inside the
/// `impl`.
///
/// It pays off if entities grow to hundreds of events. A short history is folded faster than a snapshot is read.
#[macro_export]
macro_rules! snapshot_as_json {
    () => {
        fn snapshot(&self) -> ::core::option::Option<::std::vec::Vec<u8>> {
            $crate::export::snapshot_to_json(self)
        }

        fn restore(snapshot: &[u8]) -> ::core::result::Result<Self, ::std::string::String> {
            $crate::export::snapshot_from_json(snapshot)
        }
    };
}

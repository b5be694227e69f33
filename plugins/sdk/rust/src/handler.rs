//! Command handlers: the rules of one kind of entity.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, EventContext, Rejection};

/// The state of one entity, and its rules. `Default` is an entity that has no events yet.
///
/// The host folds the entity's events with [`evolve`](Self::evolve), asks [`decide`](Self::decide), and stores the
/// events on the condition that there are none that this state has not seen. Both are pure: no clock, no random, no
/// effect but the result, because the host calls them again after a crash or a conflict.
pub trait CommandHandler: Default + 'static {
    /// The commands that it takes: an enum whose variants are the command types.
    type Command: DeserializeOwned;

    /// The events that it emits and folds: an enum whose variants are the event types. Variants that are no longer
    /// emitted stay, as long as a stream may hold one: an event of the entity that is not among them makes the
    /// entity's commands fail, because a rule that has not seen everything must not decide.
    type Event: Serialize + DeserializeOwned;

    /// The version of the form of snapshots: raise it with every change of the state's form or meaning.
    const STATE_VERSION: u32 = 1;

    /// Folds one event. Events are facts: there is no refusing them.
    fn evolve(&mut self, event: Self::Event);

    /// Folds one event together with what comes with it. Override it where a rule depends on time or sender.
    fn evolve_with(&mut self, event: Self::Event, context: &EventContext) {
        let _ = context;
        self.evolve(event);
    }

    /// What follows from the command, on the state as folded so far. No events means: accepted, and nothing changes.
    ///
    /// # Errors
    /// The rule that says no. The sender gets it as an answer, and the same answer whenever the command comes again.
    fn decide(&self, command: Self::Command, context: &Context) -> Result<Vec<Self::Event>, Rejection>;

    /// The state as bytes that [`restore`](Self::restore) takes. None, the default, where folding is cheap. See
    /// [`snapshot_as_json!`](crate::snapshot_as_json) for states that serde knows.
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    /// The state from what [`snapshot`](Self::snapshot) gave under the same [`STATE_VERSION`](Self::STATE_VERSION).
    ///
    /// # Errors
    /// Why it cannot be read. The host logs it and folds all events instead.
    fn restore(snapshot: &[u8]) -> Result<Self, String> {
        let _ = snapshot;
        Err("this plugin takes no snapshots".to_owned())
    }
}

/// Snapshots as JSON, for a [`CommandHandler`] whose state is `Serialize` and `Deserialize`: one line inside the
/// `impl`.
///
/// Worth it where entities grow to hundreds of events; a short history is folded faster than a snapshot is read.
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

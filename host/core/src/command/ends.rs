//! Which commands of an entity have ended, and where: a few bytes for each, so that a million entities fit in memory.
//!
//! What a command ended with is read back from the stream when somebody asks again, which is rare.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::id::{CommandId, Sequence};

/// A command's id as its first 16 bytes of SHA-256: two ids that share them do not occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CommandKey(pub(crate) [u8; 16]);

impl CommandKey {
    pub(crate) fn of(id: &CommandId) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(id.as_str())[..16]);
        Self(key)
    }
}

/// Where a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With events, one behind the other in the stream.
    Events {
        /// The sequence of the first.
        first: Sequence,
        /// How many there are.
        count: u32,
    },
    /// With a mark.
    Mark,
}

/// The commands that are known to have ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ends(HashMap<CommandKey, End>);

impl Ends {
    pub(crate) fn of(&self, id: &CommandId) -> Option<End> {
        if self.0.is_empty() { None } else { self.0.get(&CommandKey::of(id)).copied() }
    }

    /// One more event of a command that has this many, one behind the other: all of them are known with the first, though
    /// a read may have ended before the others. Whatever was known of the command before counts no more.
    pub(crate) fn push_event(&mut self, command: CommandKey, sequence: Sequence, count: u32) {
        let end = self.0.entry(command).or_insert(End::Mark);
        let is_known = match end {
            End::Events { first, count } => (first.0..first.0 + u64::from(*count)).contains(&sequence.0),
            End::Mark => false,
        };
        if !is_known {
            *end = End::Events { first: sequence, count };
        }
    }

    /// The command's mark. Events say more than a mark.
    pub(crate) fn push_mark(&mut self, command: CommandKey) {
        self.0.entry(command).or_insert(End::Mark);
    }

    /// The command's mark is there no more.
    pub(crate) fn forget_mark(&mut self, id: &CommandId) {
        let key = CommandKey::of(id);
        if self.0.get(&key) == Some(&End::Mark) {
            self.0.remove(&key);
        }
    }

    pub(crate) fn insert(&mut self, command: CommandKey, end: End) {
        self.0.insert(command, end);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that ended with events, in stream order.
    pub(crate) fn with_events(&self) -> Vec<(CommandKey, Sequence, u32)> {
        let mut events: Vec<_> = self
            .0
            .iter()
            .filter_map(|(key, end)| match end {
                End::Events { first, count } => Some((*key, *first, *count)),
                End::Mark => None,
            })
            .collect();
        events.sort_unstable_by_key(|(_, first, _)| *first);
        events
    }
}

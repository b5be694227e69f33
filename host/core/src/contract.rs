//! The limits that the contract in `wit/` states, each in one place.
//!
//! A plugin that exceeds a limit is at fault; the host stores nothing of its answer.

use std::time::Duration;

/// The longest name of a plugin, a type or a rejection code, and the longest version of a plugin, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The most command types, event types or codes of rejections of one descriptor.
pub const MAX_TYPES: usize = 1000;
/// The most entries of metadata or extensions in anything that a plugin or a sender gives.
pub const MAX_EXTENSIONS: usize = 64;
/// The most bytes of the value of a CloudEvents attribute, and of one entry of metadata (name and value together).
pub const MAX_ATTRIBUTE_BYTES: usize = 4096;

/// The most schemas of a plugin.
pub const MAX_SCHEMAS: usize = 1000;
/// The most bytes of one schema.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// What begins with this belongs to the host: codes of rejections, extensions and metadata.
pub const RESERVED_PREFIX: &str = "pelton";

/// The longest wait that `failure.retry` may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The most events that one call of `evolve` gets.
pub const MAX_FOLDED_EVENTS: usize = 1000;
/// The most events of one decision.
pub const MAX_EVENTS: usize = 100;
/// The most bytes of one event's data.
pub const MAX_EVENT_BYTES: usize = 512 * 1024;
/// The most bytes of one decision's events together. With headers they fit the server's default `max_payload` of 1 MiB.
pub const MAX_DECISION_BYTES: usize = 900 * 1024;
/// The most bytes of a snapshot's state.
pub const MAX_STATE_BYTES: usize = 512 * 1024;
/// The most bytes of a rejection as JSON. The allowed details fit, unless JSON has to escape most of their characters.
/// A recorded rejection fits the server's default `max_payload` of 1 MiB.
pub const MAX_REJECTION_BYTES: usize = 512 * 1024;

/// The longest key of a view, in bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// The most keys that one event may touch.
pub const MAX_KEYS_PER_EVENT: usize = 16;
/// The most bytes of one value of a view.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

/// The longest id of an instance or a timer, in bytes. With saga and stream names of 48 bytes a command's id still fits
/// a token.
pub const MAX_INSTANCE_BYTES: usize = 128;
/// The most instances that one event may concern.
pub const MAX_CORRELATIONS: usize = 16;
/// The most bytes of an instance's state.
pub const MAX_INSTANCE_STATE_BYTES: usize = 256 * 1024;
/// The most commands of one reaction.
pub const MAX_COMMANDS: usize = 100;
/// The most bytes of one reaction's commands together: their data, and the rest of them as JSON. With the state they fit
/// the record of an instance, which holds data in Base64, and the server's default `max_payload` of 1 MiB.
pub const MAX_COMMANDS_BYTES: usize = 400 * 1024;
/// The most bytes of the reference of a command.
pub const MAX_REFERENCE_BYTES: usize = 256;
/// The most changes of timers of one reaction.
pub const MAX_TIMER_CHANGES: usize = 100;
/// The most bytes of one timer's data.
pub const MAX_TIMER_BYTES: usize = 64 * 1024;

//! The functions that the host calls, written in terms of the traits that an author implements.
//!
//! Each role has a few functions over the generated types, which the test harness calls natively, and an adapter that
//! the export macro turns into the component's exports.

mod handler;
pub mod migration;
mod projection;
mod saga;
#[cfg(feature = "schemas")]
pub mod schemas;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use handler::{Entity, Handler};
pub use projection::View;
pub use saga::Process;

#[cfg(not(target_family = "wasm"))]
pub(crate) use {
    handler::{decide, describe as describe_handler, evolve},
    projection::{describe as describe_projection, keys, project},
    saga::{correlate, describe as describe_saga, react},
};

use crate::bindings::types::{EventType, Identity};
use crate::codec::{DecodeError, Encoded, decode_event, encode, split_variant, variants};
use crate::{EventMeta, Failure};

/// The facts that an export macro states about a plugin.
pub trait Plugin: 'static {
    /// The type that implements the role.
    type Role;
    /// The plugin's name.
    const NAME: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
}

/// A name that the host accepts. Any other name is a compile error.
#[must_use]
pub const fn checked_name(name: &'static str) -> &'static str {
    let bytes = name.as_bytes();
    assert!(!bytes.is_empty() && bytes.len() <= 64, "a plugin's name has 1 to 64 characters");
    let mut at = 0;
    while at < bytes.len() {
        let plain = matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-');
        assert!(
            plain,
            "a plugin's name has only the characters a-z, 0-9 and -; give one: export_…!(Type, name = \"…\")"
        );
        at += 1;
    }
    name
}

/// For `snapshot_as_json!`.
pub fn snapshot_to_json<T: Serialize>(state: &T) -> Option<Vec<u8>> {
    // If JSON cannot hold a state, the host folds events instead: slower, and still correct.
    serde_json::to_vec(state).ok()
}

/// For `snapshot_as_json!`.
///
/// # Errors
/// serde's message.
pub fn snapshot_from_json<T: DeserializeOwned>(snapshot: &[u8]) -> Result<T, String> {
    serde_json::from_slice(snapshot).map_err(|error| error.to_string())
}

fn identity(name: &str, version: &str) -> Identity {
    Identity { name: name.to_owned(), version: version.to_owned(), metadata: Vec::new() }
}

/// Panics if the plugin cannot work with its settings. The host shows the message and does not run the plugin.
#[track_caller]
fn accept_settings(checked: Result<(), String>) {
    if let Err(why) = checked {
        panic!("it cannot work with its settings: {why}");
    }
}

/// The variants of an author's enum. Panics if the type is not such an enum. This is a mistake in the type that no
/// input causes: it shows when the plugin is loaded, and in the author's first test.
fn wire_enum<T: DeserializeOwned>() -> &'static [&'static str] {
    variants::<T>().unwrap_or_else(|| {
        panic!(
            "{} must be an enum that derives Deserialize, without serde's `tag`, `content` or `untagged`",
            std::any::type_name::<T>()
        )
    })
}

fn event_types<T: DeserializeOwned>() -> Vec<EventType> {
    wire_enum::<T>().iter().map(|variant| event_type(variant)).collect()
}

fn event_type(variant: &str) -> EventType {
    let (kind, version) = split_variant(variant);
    EventType { type_: kind.to_owned(), version }
}

/// The names of an enum's variants: command types, or codes of rejections.
fn names<T: DeserializeOwned>() -> Vec<String> {
    wire_enum::<T>().iter().map(|variant| (*variant).to_owned()).collect()
}

/// The wire form of a value that an author's rule returned. Panics if it has none: a mistake in the type, which no
/// input causes.
pub(crate) fn to_wire<T: Serialize>(value: &T) -> Encoded {
    encode(value).unwrap_or_else(|error| panic!("{} has no wire form: {error}", std::any::type_name::<T>()))
}

/// The event, or `None` if the author's enum does not have it: projections and sagas skip unknown events.
fn read_known<T: DeserializeOwned>(meta: &EventMeta, data: &[u8]) -> Result<Option<T>, Failure> {
    match decode_event(&meta.event_type, meta.version, data) {
        Ok(event) => Ok(Some(event)),
        Err(DecodeError::Unknown) => Ok(None),
        Err(DecodeError::Unreadable(error)) => {
            Err(Failure::Invalid(format!("{} cannot be read: {error}", meta.label())))
        }
    }
}

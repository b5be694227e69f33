//! The limits that the contract sets on what a plugin says, where only the sandbox sees it. The errors say what it did.

use std::collections::HashSet;

use pelton_core::cloudevents::{MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS};
use pelton_core::id::check_token;
use pelton_core::message::{EventType, Rejection};
use pelton_core::ports::Identity;

const MAX_NAME_BYTES: usize = 64;
/// The most command or event types of one descriptor.
const MAX_TYPES: usize = 1000;

/// Checks who a plugin says it is.
pub(crate) fn identity(
    name: String,
    version: String,
    metadata: &[(String, String)],
) -> Result<Identity, String> {
    if !is_code(&name) {
        return Err(format!(
            "its name is {name:?}; 1 to {MAX_NAME_BYTES} characters `a`-`z`, `0`-`9`, `-` are allowed"
        ));
    }
    if version.is_empty() || version.len() > MAX_NAME_BYTES {
        return Err(format!("its version is {version:?}; 1 to {MAX_NAME_BYTES} bytes are allowed"));
    }
    pairs("its identity", metadata)?;
    Ok(Identity { name, version })
}

/// Checks the event types of a descriptor, given as type and version.
pub(crate) fn event_types(
    declared: impl ExactSizeIterator<Item = (String, u32)>,
) -> Result<Vec<EventType>, String> {
    count("event types", declared.len())?;
    let declared: Vec<_> = declared.map(|(r#type, version)| EventType { r#type, version }).collect();
    let mut seen = HashSet::new();
    for event_type in &declared {
        let EventType { r#type, version } = event_type;
        type_name("event", r#type)?;
        if *version == 0 {
            return Err(format!("it lists the event type {type:?} with version 0; versions count from 1"));
        }
        if !seen.insert(event_type) {
            return Err(format!("it lists the event type {type:?} version {version} twice"));
        }
    }
    Ok(declared)
}

/// Checks the command types of a descriptor.
pub(crate) fn command_types(declared: Vec<String>) -> Result<Vec<String>, String> {
    count("command types", declared.len())?;
    let mut seen = HashSet::new();
    for name in &declared {
        type_name("command", name)?;
        if !seen.insert(name) {
            return Err(format!("it lists the command type {name:?} twice"));
        }
    }
    Ok(declared)
}

/// Checks a rejection.
pub(crate) fn rejection(rejection: &Rejection) -> Result<(), String> {
    let code = &rejection.code;
    if !is_code(code) {
        return Err(format!(
            "it rejects with the code {:?}; 1 to {MAX_NAME_BYTES} characters `a`-`z`, `0`-`9`, `-` are allowed",
            excerpt(code)
        ));
    }
    pairs("its rejection", &rejection.details)
}

/// Checks `metadata`: few entries, none long, no name twice.
pub(crate) fn pairs(whose: &str, pairs: &[(String, String)]) -> Result<(), String> {
    if pairs.len() > MAX_EXTENSIONS {
        return Err(format!(
            "{whose} has {} entries of metadata; at most {MAX_EXTENSIONS} are allowed",
            pairs.len()
        ));
    }
    let mut seen = HashSet::new();
    for (name, value) in pairs {
        let bytes = name.len() + value.len();
        if bytes > MAX_ATTRIBUTE_BYTES {
            let name = excerpt(name);
            return Err(format!(
                "{whose} has metadata {name:?} of {bytes} bytes; at most {MAX_ATTRIBUTE_BYTES} are allowed"
            ));
        }
        if !seen.insert(name) {
            return Err(format!("{whose} has the metadata {name:?} twice"));
        }
    }
    Ok(())
}

/// Checks the size of something.
pub(crate) fn at_most(what: &str, size: usize, limit: usize, unit: &str) -> Result<(), String> {
    if size > limit {
        return Err(format!("{what} has {size} {unit}; at most {limit} are allowed"));
    }
    Ok(())
}

fn count(what: &str, n: usize) -> Result<(), String> {
    if n > MAX_TYPES {
        return Err(format!("it lists {n} {what}; at most {MAX_TYPES} are allowed"));
    }
    Ok(())
}

fn type_name(what: &str, name: &str) -> Result<(), String> {
    let shown = excerpt(name);
    check_token(name).map_err(|e| format!("it lists the {what} type {shown:?}, which {e}"))?;
    at_most(&format!("the {what} type {shown:?}"), name.len(), MAX_NAME_BYTES, "bytes")
}

/// Whether programs can rely on it: 1 to 64 characters `a`-`z`, `0`-`9`, `-`.
fn is_code(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The beginning of a text that may be of any length.
fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

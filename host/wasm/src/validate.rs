//! The contract's limits on a plugin's answers, as far as only the sandbox sees them. The errors state what the plugin
//! did.

use std::collections::HashSet;

use pelton_core::contract::{
    MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS, MAX_NAME_BYTES, MAX_REJECTION_BYTES, MAX_TYPES, RESERVED_PREFIX,
};
use pelton_core::id::check_token;
use pelton_core::message::{EventType, Rejection};
use pelton_core::plugin::Identity;
use pelton_core::text::excerpt;

/// Checks the plugin's name and version.
pub(crate) fn identity(
    name: String,
    version: String,
    metadata: &[(String, String)],
) -> Result<Identity, String> {
    if !is_code(&name) {
        return Err(format!(
            "its name is {:?}; 1 to {MAX_NAME_BYTES} characters `a`-`z`, `0`-`9`, `-` are allowed",
            excerpt(&name)
        ));
    }
    if version.is_empty() || version.len() > MAX_NAME_BYTES {
        let version = excerpt(&version);
        return Err(format!("its version is {version:?}; 1 to {MAX_NAME_BYTES} bytes are allowed"));
    }
    pairs("its identity", metadata)?;
    Ok(Identity { name, version })
}

/// The metadata of a descriptor that this host knows and that ask it for something. None so far: what begins so and is not
/// listed here asks for something that came later.
const KNOWN_REQUIREMENTS: [&str; 0] = [];
const REQUIREMENT: &str = "requires-";

/// Checks the metadata of a descriptor: as all metadata, and that it requires nothing that this host does not know.
pub(crate) fn descriptor_metadata(metadata: &[(String, String)]) -> Result<(), String> {
    pairs("it", metadata)?;
    let required =
        metadata.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with(REQUIREMENT));
    match required.into_iter().find(|name| !KNOWN_REQUIREMENTS.contains(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "it says {:?}, which this host does not know and so cannot meet; run it on a newer host",
            excerpt(name)
        )),
    }
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
    types("command", declared)
}

fn types(what: &str, declared: Vec<String>) -> Result<Vec<String>, String> {
    count(&format!("{what} types"), declared.len())?;
    let mut seen = HashSet::new();
    for name in &declared {
        type_name(what, name)?;
        if !seen.insert(name) {
            return Err(format!("it lists the {what} type {name:?} twice"));
        }
    }
    Ok(declared)
}

/// Checks that a handler can read what it writes.
pub(crate) fn folds_what_it_emits(emits: &[EventType], folds: &[EventType]) -> Result<(), String> {
    match emits.iter().find(|emitted| !folds.contains(emitted)) {
        None => Ok(()),
        Some(EventType { r#type, version }) => Err(format!(
            "it emits the event type {type:?} version {version} and does not fold it; its `folds` has to list what its \
             `emits` lists"
        )),
    }
}

/// Checks the types of timers of a descriptor.
pub(crate) fn timer_types(declared: Vec<String>) -> Result<Vec<String>, String> {
    types("timer", declared)
}

/// Checks the codes of rejections of a descriptor.
pub(crate) fn codes(declared: Vec<String>) -> Result<Vec<String>, String> {
    count("codes of rejections", declared.len())?;
    let mut seen = HashSet::new();
    for code in &declared {
        if !is_code(code) {
            return Err(format!(
                "it lists the rejection code {:?}; 1 to {MAX_NAME_BYTES} characters `a`-`z`, `0`-`9`, `-` are allowed",
                excerpt(code)
            ));
        }
        if Rejection::is_of_host(code) {
            return Err(format!("it lists the rejection code {code:?}, which only the host rejects with"));
        }
        if !seen.insert(code) {
            return Err(format!("it lists the rejection code {code:?} twice"));
        }
    }
    Ok(declared)
}

/// Checks a rejection.
pub(crate) fn rejection(rejection: &Rejection) -> Result<(), String> {
    pairs("its rejection", &rejection.details)?;
    let bytes = serde_json::to_vec(rejection).map_err(|e| format!("its rejection: {e}"))?.len();
    at_most("its rejection, as JSON,", bytes, MAX_REJECTION_BYTES, "bytes")
}

/// Checks `metadata`: the number of entries, their size, that no name occurs twice, and that none is the host's.
pub(crate) fn pairs(whose: &str, pairs: &[(String, String)]) -> Result<(), String> {
    if pairs.len() > MAX_EXTENSIONS {
        return Err(format!(
            "{whose} has {} entries of metadata; at most {MAX_EXTENSIONS} are allowed",
            pairs.len()
        ));
    }
    let mut seen = HashSet::new();
    for (name, value) in pairs {
        if name.starts_with(RESERVED_PREFIX) {
            let name = excerpt(name);
            return Err(format!(
                "{whose} has the metadata {name:?}; names that begin with `{RESERVED_PREFIX}` are the host's"
            ));
        }
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

/// Checks a size.
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

/// Whether a text is a code: 1 to 64 characters `a`-`z`, `0`-`9`, `-`.
pub(crate) fn is_code(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(checked: Result<T, String>, expected: &str) {
        let what = checked.expect_err(expected);
        assert!(what.contains(expected), "{expected:?} is not said in: {what}");
    }

    #[test]
    fn a_descriptor_that_breaks_the_contract_is_refused_with_the_place() {
        let who = |name: &str, version: &str| identity(name.to_owned(), version.to_owned(), &[]);
        assert!(who("booking-2", "1.4.2").is_ok());
        refused(who("Booking", "1"), "its name is \"Booking\"");
        refused(who("", "1"), "its name is \"\"");
        refused(who(&"b".repeat(65), "1"), "1 to 64 characters");
        refused(who("booking", ""), "its version is \"\"");
        let events = |list: &[(&str, u32)]| {
            event_types(
                list.iter()
                    .map(|(name, version)| ((*name).to_owned(), *version))
                    .collect::<Vec<_>>()
                    .into_iter(),
            )
        };
        assert_eq!(events(&[("room-booked", 1), ("room-booked", 2)]).map(|list| list.len()), Ok(2));
        refused(events(&[("room.booked", 1)]), "event type \"room.booked\", which contains '.'");
        refused(events(&[("", 1)]), "is empty");
        refused(events(&[("room-booked", 0)]), "versions count from 1");
        refused(events(&[("a", 1), ("a", 1)]), "\"a\" version 1 twice");
        refused(events(&[(&"e".repeat(65), 1)]), "has 65 bytes; at most 64");
        let commands = |list: &[&str]| command_types(list.iter().map(|name| (*name).to_owned()).collect());
        assert!(commands(&["book-room"]).is_ok());
        refused(commands(&["book-room", "book-room"]), "twice");
        refused(commands(&["book room"]), "command type \"book room\", which contains ' '");
        refused(command_types((0..1001).map(|n| n.to_string()).collect()), "it lists 1001 command types");
    }

    #[test]
    fn what_a_descriptor_requires_the_host_has_to_know() {
        let says = |name: &str| descriptor_metadata(&[(name.to_owned(), "true".to_owned())]);
        assert_eq!(says("decide-ahead"), Ok(()));
        assert_eq!(says("anything-else"), Ok(()));
        refused(says("requires-reservations"), "\"requires-reservations\", which this host does not know");
        refused(says("requires-"), "this host does not know");
        refused(says("pelton-own"), "names that begin with `pelton` are the host's");
    }

    #[test]
    fn a_handler_folds_what_it_emits() {
        let event = |version| EventType { r#type: "room-booked".to_owned(), version };
        assert_eq!(folds_what_it_emits(&[event(2)], &[event(1), event(2)]), Ok(()));
        refused(
            folds_what_it_emits(&[event(2)], &[event(1)]),
            "\"room-booked\" version 2 and does not fold it",
        );
    }

    #[test]
    fn a_rejection_has_a_code_for_programs_and_few_details() {
        assert_eq!(rejection(&Rejection::new("room-already-booked", "it is")), Ok(()));
        let listed = |list: &[&str]| codes(list.iter().map(|code| (*code).to_owned()).collect());
        assert!(listed(&["room-already-booked", "invalid-command"]).is_ok());
        refused(listed(&["Room already booked"]), "code \"Room already booked\"");
        refused(listed(&["a", "a"]), "\"a\" twice");
        for of_host in ["command-id-reused", "version-mismatch", "pelton-is-full"] {
            refused(listed(&[of_host]), "which only the host rejects with");
        }
        let entries = |n: usize| (0..n).map(|n| (n.to_string(), "x".to_owned())).collect::<Vec<_>>();
        let with = |details| Rejection { details, ..Rejection::new("no", "no") };
        assert_eq!(rejection(&with(entries(64))), Ok(()));
        refused(rejection(&with(entries(65))), "has 65 entries of metadata; at most 64");
        let full =
            |filling: &str| with((10..74).map(|n| (n.to_string(), filling.repeat(4094))).collect::<Vec<_>>());
        assert_eq!(rejection(&full("x")), Ok(()));
        refused(rejection(&full("\u{1}")), "its rejection, as JSON, has 1572");
        refused(
            rejection(&with(vec![("a".to_owned(), "x".repeat(4096))])),
            "\"a\" of 4097 bytes; at most 4096",
        );
    }
}

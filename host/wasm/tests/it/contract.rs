//! The contract in `wit/`: that it says what the host holds, and says it of every item.

use std::path::PathBuf;

use pelton_core::contract::*;
use pelton_wasm::{Limits, PluginSettings};
use wit_parser::{Docs, Resolve, Stability, TypeDefKind};

pub(crate) fn wit() -> PathBuf {
    let folders = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.map(|folder| folder.join("wit")).find(|wit| wit.is_dir()).expect("the contract")
}

/// The prose of a file, without the breaks of its lines.
fn prose(file: &str) -> String {
    let text = std::fs::read_to_string(wit().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    text.lines().map(|line| line.trim().trim_start_matches("///").trim()).collect::<Vec<_>>().join(" ")
}

fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

fn kib(bytes: usize) -> String {
    assert_eq!(bytes % 1024, 0, "a whole number of KiB");
    format!("{} KiB", bytes / 1024)
}

/// Every limit of a file, as its prose says it: the constants are the one place where the numbers stand.
fn limits_of(file: &str) -> Vec<String> {
    let token = format!("1 to {MAX_NAME_BYTES} bytes");
    let types = format!("at most {}", grouped(MAX_TYPES));
    match file {
        "command-handler.wit" => vec![
            token,
            format!("at most {} a call", grouped(MAX_FOLDED_EVENTS)),
            format!("at most {MAX_EVENTS} of them, and {} together", kib(MAX_DECISION_BYTES)),
            format!("at most {}. Return none", kib(MAX_STATE_BYTES)),
            types,
        ],
        "log.wit" => {
            let Limits { log_lines, log_bytes, .. } = Limits::default();
            vec![format!("the first {log_lines} lines and the first {} of a call", kib(log_bytes))]
        }
        "projection.wit" => vec![
            format!("1 to {MAX_KEY_BYTES} bytes. The host escapes"),
            format!("At most {}. value", kib(MAX_VALUE_BYTES)),
            format!("At most {MAX_KEYS_PER_EVENT} keys an event"),
            types,
        ],
        "saga.wit" => vec![
            format!("1 to {MAX_INSTANCE_BYTES} bytes, no `.`"),
            format!("The new state, at most {}", kib(MAX_INSTANCE_STATE_BYTES)),
            format!("at most {MAX_COMMANDS}, of at most {} together", kib(MAX_COMMANDS_BYTES)),
            format!("applies them in this order, at most {MAX_TIMER_CHANGES}"),
            format!("each once, at most {MAX_CORRELATIONS}"),
            types,
        ],
        "saga-migration.wit" => vec![
            format!("The state, at most {}", kib(MAX_INSTANCE_STATE_BYTES)),
            format!("that go on, at most {MAX_TIMER_CHANGES}"),
        ],
        "schemas.wit" => vec![
            format!("at most {}, each kind", grouped(MAX_SCHEMAS)),
            format!("at most {}: what the data", kib(MAX_SCHEMA_BYTES)),
        ],
        "settings.wit" => vec![
            format!(
                "at most {} entries of at most {} each",
                PluginSettings::MAX_ENTRIES,
                kib(MAX_ATTRIBUTE_BYTES)
            ),
            format!("1 to {MAX_NAME_BYTES} characters"),
        ],
        "types.wit" => vec![
            format!("at most {MAX_EXTENSIONS} entries of at most {} each", kib(MAX_ATTRIBUTE_BYTES)),
            "1 to 20 characters".to_owned(),
            format!("The payload, at most {}", kib(MAX_EVENT_BYTES)),
            token,
            format!("goes off, at most {}", kib(MAX_TIMER_BYTES)),
            format!("at most {MAX_REFERENCE_BYTES} bytes"),
            format!("1 to {MAX_NAME_BYTES} characters"),
            format!("At most {} as JSON", kib(MAX_REJECTION_BYTES)),
            format!("at most {}", grouped(usize::try_from(MAX_RETRY_AFTER.as_millis()).unwrap())),
        ],
        _ => Vec::new(),
    }
}

#[test]
fn the_contract_states_the_limits_that_the_host_holds_and_no_others() {
    let files = std::fs::read_dir(wit()).expect("the contract");
    let files = files.map(|file| file.expect("a file").file_name().into_string().expect("a name"));
    for file in files.filter(|file| file.ends_with(".wit")) {
        let mut rest = prose(&file);
        for limit in limits_of(&file) {
            assert!(rest.contains(&limit), "{file} does not say {limit:?}");
            rest = rest.replace(&limit, "");
        }
        let lower = rest.to_lowercase();
        for before in ["at most ", "the first ", "1 to "] {
            for (at, _) in lower.match_indices(before) {
                let after = lower[at + before.len()..].chars().next();
                let said: String = rest[at..].chars().take(40).collect();
                assert!(
                    !after.is_some_and(|c| c.is_ascii_digit()),
                    "{file} says {said:?}, which no constant holds"
                );
            }
        }
    }
}

/// The items of the contract that lack a word on what they are, or since when they are there.
fn bare(resolve: &Resolve) -> Vec<String> {
    let mut bare = Vec::new();
    let mut look = |item: String, docs: &Docs, stability: Option<&Stability>| {
        if docs.contents.as_ref().is_none_or(|text| text.trim().is_empty()) {
            bare.push(format!("{item} has no documentation"));
        }
        if stability.is_some_and(|stability| !matches!(stability, Stability::Stable { .. })) {
            bare.push(format!("{item} has no @since"));
        }
    };
    for (_, world) in &resolve.worlds {
        look(world.name.clone(), &world.docs, Some(&world.stability));
    }
    for (_, interface) in &resolve.interfaces {
        let named = interface.name.clone().expect("a name");
        look(named.clone(), &interface.docs, Some(&interface.stability));
        for (name, function) in &interface.functions {
            look(format!("{named}.{name}"), &function.docs, Some(&function.stability));
        }
        for (name, id) in &interface.types {
            let defined = &resolve.types[*id];
            let item = format!("{named}.{name}");
            match &defined.kind {
                // `use` of another interface's type.
                TypeDefKind::Type(wit_parser::Type::Id(_)) => {}
                _ => look(item, &defined.docs, Some(&defined.stability)),
            }
        }
    }
    bare
}

#[test]
fn every_item_says_what_it_is_and_since_when() {
    let mut resolve = Resolve::default();
    resolve.push_path(wit()).expect("the contract parses");
    assert_eq!(bare(&resolve), [""; 0]);
    let mut resolve = Resolve::default();
    let text =
        "package a:b@0.1.0; interface i { record r { a: u8 } f: func(); @since(version = 0.1.0) g: func(); }";
    resolve.push_str("b.wit", text).expect("it parses");
    assert_eq!(bare(&resolve).len(), 7, "{:?}", bare(&resolve));
}

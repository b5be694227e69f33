//! What a change of a setting means: for what is stored, and for hosts that run with the old configuration.

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::Kind;
use super::plan::Effect;
use crate::subjects::{self, COMMANDS};

/// Whether a change may be made, and what to tell whoever decides that.
pub(super) struct Meaning {
    pub(super) effect: Effect,
    pub(super) text: String,
}

fn meaning(effect: Effect, text: impl Into<String>) -> Meaning {
    Meaning { effect, text: text.into() }
}

/// The meaning of a change of this field.
pub(super) fn of(kind: &Kind, field: &str, exists: &Value, configured: &Value) -> Meaning {
    match kind {
        Kind::Stream { name } => of_stream(name, field, exists, configured),
        Kind::Consumer { .. } => of_consumer(field, exists, configured),
    }
}

fn of_stream(name: &str, field: &str, exists: &Value, configured: &Value) -> Meaning {
    use Effect::{Additive, Impossible, Other};
    let turned_on = configured == &Value::Bool(true);
    match field {
        "subjects" => subjects_of(name, exists, configured),
        "max_age" if is_longer(exists, configured) => meaning(Additive, "messages are kept longer"),
        "max_age" => meaning(Other, "the server deletes at once, and for good, what is older than that"),
        "duplicate_window" if is_longer(exists, configured) => {
            meaning(Additive, "the server remembers message ids longer, and needs memory for them")
        }
        "duplicate_window" => meaning(
            Other,
            "the server forgets message ids sooner; commands still end once, a copy of one costs more",
        ),
        "num_replicas" => {
            let more = exists.as_u64() < configured.as_u64();
            let text = match more {
                true => {
                    "the server copies the stream to more servers. Stop the hosts that run with the old configuration \
                     first: they read from any server, and a copy may be behind"
                }
                false => "the stream lives on fewer servers, and is lost with them",
            };
            meaning(Other, text)
        }
        "max_msgs" | "max_bytes" if has_more_room(exists, configured) => {
            meaning(Additive, "the stream may hold more")
        }
        "max_msgs" | "max_bytes" => meaning(
            Other,
            "the stream may hold less. Where it holds more already, it refuses what is new, or deletes the oldest if `when-full` \
             says so",
        ),
        "max_msg_size" | "max_msgs_per_subject" | "max_consumers" => meaning(
            Other,
            "the limit that somebody gave the stream is replaced; with a limit, the server would delete or refuse \
             messages that Pelton counts on",
        ),
        "discard" | "discard_new_per_subject" => {
            meaning(Other, "the stream refuses, or replaces, a message where it is full")
        }
        "allow_msg_ttl" | "allow_msg_schedules" if turned_on => {
            meaning(Other, "the server cannot turn this off again; nothing that is stored changes")
        }
        "deny_delete" | "deny_purge" if turned_on => meaning(
            Other,
            "nobody can delete messages from then on, and the server cannot turn this off again",
        ),
        "deny_delete"
        | "deny_purge"
        | "allow_msg_ttl"
        | "allow_msg_schedules"
        | "allow_msg_counter"
        | "storage"
        | "retention"
        | "persist_mode"
        | "mirror"
        | "sealed" => meaning(Impossible, in_place("stream")),
        _ => meaning(Other, "the server does at once what Pelton counts on; nothing that is stored changes"),
    }
}

fn subjects_of(stream: &str, exists: &Value, configured: &Value) -> Meaning {
    let (old, new) = (strings(exists), strings(configured));
    let gone: Vec<&str> = old.difference(&new).copied().collect();
    match (gone.as_slice(), stream) {
        ([], COMMANDS) => meaning(Effect::Additive, "clients can send more commands"),
        ([], _) => meaning(Effect::Additive, "the stream takes messages of more subjects"),
        (gone, COMMANDS) if is_divided_anew(gone, &old, &new) => meaning(
            Effect::Other,
            "the commands are divided into other partitions: clients are refused until the last of the old ones is decided, \
             and a running host with the old configuration decides none until it is restarted",
        ),
        (gone, COMMANDS) => {
            let types: Vec<&str> = gone.iter().map(|filter| subjects::type_of_commands(filter)).collect();
            let text = format!("whoever sends {} is refused; what is logged stays", types.join(" or "));
            meaning(Effect::Other, text)
        }
        (gone, _) => {
            let text = format!(
                "messages at {} are refused from then on, and what is stored stays. A running host that decides such \
                 events tries them again until it is stopped",
                gone.join(" ")
            );
            meaning(Effect::Other, text)
        }
    }
}

/// Whether the log takes the same types as before, in other partitions.
fn is_divided_anew(gone: &[&str], old: &BTreeSet<&str>, new: &BTreeSet<&str>) -> bool {
    let of_type = |filter: &str| {
        let r#type = subjects::type_of_commands(filter);
        new.difference(old).any(|new| subjects::type_of_commands(new) == r#type)
    };
    gone.iter().all(|filter| of_type(filter))
}

fn of_consumer(field: &str, exists: &Value, configured: &Value) -> Meaning {
    use Effect::{Additive, Impossible, Other};
    match field {
        "filter_subjects" => {
            let (old, new) = (strings(exists), strings(configured));
            let types = |filters: &BTreeSet<&str>, others: &BTreeSet<&str>| {
                let only: Vec<&str> =
                    filters.difference(others).map(|filter| subjects::type_of_commands(filter)).collect();
                only.join(" and ")
            };
            let (gone, more) = (types(&old, &new), types(&new, &old));
            let not_known = format!(
                "a running host with the old configuration does not know {more} and leaves it to a host with the new one"
            );
            let no_more = format!(
                "the handler gets no {gone} any more, once it has decided those in the log; clients are refused while it moves \
                 to another handler"
            );
            match (gone.as_str(), more.as_str()) {
                ("", _) => meaning(Additive, not_known),
                (_, "") => meaning(Other, no_more),
                _ => meaning(Other, format!("{no_more}; {not_known}")),
            }
        }
        "max_ack_pending" => {
            meaning(Other, "it counts for all hosts at once: so many commands may be in work at a time")
        }
        "ack_wait" if is_longer(exists, configured) => {
            meaning(Other, "what a killed host held is handed out again later, for all hosts")
        }
        "ack_wait" => meaning(
            Other,
            "what a killed host held is handed out again sooner. A running host with the old configuration reports \
             progress too seldom for it, so that messages are handed out twice (and end once) until it is restarted",
        ),
        "deliver_policy" | "ack_policy" | "replay_policy" | "mem_storage" | "deliver_subject" => {
            meaning(Impossible, in_place("consumer"))
        }
        _ => meaning(Other, "the server does at once what Pelton counts on; nothing is handed out twice"),
    }
}

fn in_place(what: &str) -> String {
    format!(
        "the server cannot change this. Change the configuration, or delete the {what} (with all that it holds) with \
         NATS' own tools, so that `pelton run` creates it"
    )
}

/// Whether a time grows. 0 is no limit for an age.
fn is_longer(exists: &Value, configured: &Value) -> bool {
    let nanoseconds = |value: &Value| match value.as_u64() {
        None | Some(0) => u64::MAX,
        Some(some) => some,
    };
    nanoseconds(configured) > nanoseconds(exists)
}

/// Whether a limit grows. -1 is none.
fn has_more_room(exists: &Value, configured: &Value) -> bool {
    let room = |value: &Value| match value.as_i64() {
        None | Some(..=0) => i64::MAX,
        Some(some) => some,
    };
    room(configured) > room(exists)
}

fn strings(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_adds_is_told_from_what_takes_away() {
        let stream = |name: &str| Kind::Stream { name: name.to_owned() };
        let consumer = || Kind::Consumer { stream: COMMANDS.to_owned(), name: "booking".to_owned() };
        for (kind, field, exists, configured, effect) in [
            (stream("hotel"), "subjects", json!(["a.>"]), json!(["a.>", "b.>"]), Effect::Additive),
            (stream("hotel"), "subjects", json!(["a.>", "c.>"]), json!(["a.>", "b.>"]), Effect::Other),
            (stream("AUDIT"), "max_age", json!(1), json!(2), Effect::Additive),
            (stream("AUDIT"), "max_age", json!(1), json!(0), Effect::Additive),
            (stream("AUDIT"), "max_age", json!(0), json!(2), Effect::Other),
            (stream("hotel"), "storage", json!("memory"), json!("file"), Effect::Impossible),
            (stream("hotel"), "deny_delete", json!(false), json!(true), Effect::Other),
            (stream("hotel"), "deny_delete", json!(true), json!(false), Effect::Impossible),
            (stream("hotel"), "max_msgs", json!(5), json!(-1), Effect::Additive),
            (stream("hotel"), "max_bytes", json!(-1), json!(1024), Effect::Other),
            (
                consumer(),
                "filter_subjects",
                json!(["command.a.>"]),
                json!(["command.a.>", "command.b.>"]),
                Effect::Additive,
            ),
            (consumer(), "filter_subjects", json!(["command.a.>"]), json!(["command.b.>"]), Effect::Other),
            (consumer(), "ack_wait", json!(1), json!(2), Effect::Other),
            (consumer(), "ack_policy", json!("none"), json!("explicit"), Effect::Impossible),
        ] {
            let found = of(&kind, field, &exists, &configured);
            assert_eq!(found.effect, effect, "{field} from {exists} to {configured}: {}", found.text);
        }
    }
}

//! Whole numbers are not cut to fewer bits.

use std::cell::Cell;

use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;
use serde_json::{Value, json};

use super::{NO_HANDLER, Trial, not_applicable, over_decisions};
use crate::guest::{Handler, History};
use crate::inputs::read;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-11",
    name: "numbers-whole",
    level: Level::Required,
    asserts: "a whole number that a command has and its event repeats is not cut to fewer bits: it is repeated whole, or refused, up to 2⁵³ − 1",
    why: "4,294,967,297 cents would be booked as one",
    mend: "read numbers as 64 bits, and reject what is out of range",
    after: &["AL-02", "CH-01"],
    test,
};

/// How many decisions are looked at.
const DECISIONS: usize = 60;
/// Numbers that fewer bits would cut, or that are another number after a way through a hundredth, and that every language can
/// hold.
const CUT: [u64; 14] = [
    29,
    57,
    58,
    113,
    115,
    1_001,
    1_010_101,
    257,
    65_537,
    16_777_217,
    2_147_483_653,
    4_294_967_301,
    1_099_511_627_783,
    9_007_199_254_740_991,
];

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let missing = "no command has a whole number that its event repeats";
    let looked_at = Cell::new(0);
    let found =
        over_decisions(subject, "commands with large numbers", missing, |history, command, answer| {
            let Ok(Ok(_)) = answer else { return Trial::Skipped };
            if looked_at.get() == DECISIONS {
                return Trial::Skipped;
            }
            looked_at.set(looked_at.get() + 1);
            let data = read(&command.data);
            let mut held = Trial::Skipped;
            for (at, value) in crate::json::leaves(&data) {
                let Some(small) = value.as_u64() else { continue };
                for (n, to) in repeated(&handler, history, command, &data, &at, small) {
                    if let Some(how) = cut(&handler, history, command, &data, &at, n, &to) {
                        return Trial::Broken(how);
                    }
                    held = Trial::Held;
                }
            }
            held
        });
    match found {
        Finding::NotTested { why } => not_applicable(&why),
        found => found,
    }
}

/// The data of the events, if the command has another number at this place.
fn events_with(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    data: &Value,
    at: &str,
    number: u64,
) -> Option<Vec<Value>> {
    let data = crate::json::with(data, at, json!(number)).to_string().into();
    let command = Command { data, ..command.clone() };
    match handler.decided(Isolation::Shared, history, &command) {
        Ok(Ok(events)) => Some(events.iter().map(|event| read(&event.data)).collect()),
        _ => None,
    }
}

/// The places of events that repeat the number. They have to repeat a second number, too.
fn repeated(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    data: &Value,
    at: &str,
    small: u64,
) -> Vec<(usize, String)> {
    let places = |number: u64| -> Vec<(usize, String)> {
        let events = events_with(handler, history, command, data, at, number).unwrap_or_default();
        let each = events.iter().enumerate().flat_map(|(n, event)| {
            crate::json::leaves(event)
                .into_iter()
                .filter(|(_, leaf)| *leaf == json!(number))
                .map(move |(at, _)| (n, at))
        });
        each.collect()
    };
    let first = places(small);
    if first.is_empty() {
        return first;
    }
    // The handler may accept none of these; then no place is known.
    let others = [small + 1, small.saturating_sub(1), small + 7, small * 2];
    let second =
        others.iter().filter(|other| **other != small).map(|other| places(*other)).find(|p| !p.is_empty());
    let second = second.unwrap_or_default();
    first.into_iter().filter(|place| second.contains(place)).collect()
}

/// How a large number is cut at this place of the events, if it is.
fn cut(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    data: &Value,
    at: &str,
    n: usize,
    to: &str,
) -> Option<String> {
    for large in CUT {
        let Some(events) = events_with(handler, history, command, data, at, large) else { continue };
        let Some(got) = events.get(n).and_then(|event| event.pointer(to)) else { continue };
        if *got != json!(large) && is_cut(large, got) {
            return Some(format!("with {at} {large}, its event says {to} {got}"));
        }
    }
    None
}

/// Whether `got` is what fewer bits, or a way through a float, leave of the number.
fn is_cut(large: u64, got: &Value) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "that is what is looked for"
    )]
    let cuts = [
        json!(large as u8),
        json!(large as u16),
        json!(large as u32),
        json!(large as i8),
        json!(large as i16),
        json!(large as i32),
        json!((large as f32) as u64),
        json!(large - 1),
        json!(large + 1),
    ];
    cuts.contains(got)
}

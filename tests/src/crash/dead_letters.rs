//! Whether every message that is no command was set aside once, and nothing else was.

use std::collections::BTreeSet;

use super::clients::UNREADABLE;
use super::ledger::Unreadable;
use super::world::HANDLER;
use crate::streams::Stored;

/// Compares the dead letters with what was sent. `noted` are the letters that the audit stream says were kept.
pub(super) fn check(
    dead_letters: &[Stored],
    noted: &BTreeSet<u64>,
    sent: &Unreadable,
    violations: &mut Vec<String>,
) {
    let mut set_aside = BTreeSet::new();
    for dead_letter in dead_letters {
        let at = format!("DEAD_LETTERS {} ({})", dead_letter.sequence, dead_letter.subject);
        let subject: Vec<&str> = dead_letter.subject.split('.').collect();
        match subject.as_slice() {
            ["dead-letter", HANDLER, "-", "failed", "COMMANDS", message, id] if sent.contains_key(*id) => {
                if !set_aside.insert(message.parse::<u64>().ok()) {
                    violations.push(format!("{at}: another letter holds the same message"));
                }
            }
            _ => violations.push(format!("{at}: was set aside: {:?}", dead_letter.headers)),
        }
        if dead_letter.payload != UNREADABLE {
            violations.push(format!("{at}: it holds something else than was sent: {}", dead_letter.payload));
        }
        if dead_letter.header("Pelton-Cause").is_empty() {
            violations.push(format!("{at}: it has no cause: {:?}", dead_letter.headers));
        }
        if !noted.contains(&dead_letter.sequence) {
            violations.push(format!("{at}: AUDIT does not say that it was kept"));
        }
    }
    for (id, stored) in sent {
        if stored.is_some() && !set_aside.contains(stored) {
            violations.push(format!("{id}: COMMANDS {stored:?}: it was stored and is nowhere"));
        }
    }
}

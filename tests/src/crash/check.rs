//! The properties that must hold once all work is done, checked from the streams and from what clients were told.
//!
//! A [`Checker`] continues where it stopped, because streams only grow. A new one checks everything from the start.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_nats::jetstream::Context;
use serde_json::Value;

use super::ledger::{Ledger, Sent};
use super::reader::read_from;
use super::rules::{Happened, State};
use super::world::EVENTS;
use super::{answers, letters};
use crate::streams::{Stored, Streams};

/// The most by which the clocks of servers on one machine may differ, in milliseconds.
const CLOCKS_MS: i128 = 50;

/// The known part of the streams.
#[derive(Debug, Default)]
pub(super) struct Checker {
    events_read: u64,
    outcomes_read: u64,
    orders: HashMap<String, Vec<Happened>>,
    event_ids: HashSet<String>,
    /// The events of each command: the order, and the index among the order's events.
    effects: HashMap<String, Vec<(String, usize)>>,
    /// The outcomes, by command.
    outcomes: HashMap<String, Recorded>,
    /// The dead letters that the audit stream says were kept.
    kept: BTreeSet<u64>,
}

/// The additions of one check.
#[derive(Debug, Default)]
struct News {
    commands: BTreeSet<String>,
    orders: BTreeSet<String>,
    violations: Vec<String>,
}

/// An outcome, and where and when it was recorded.
#[derive(Debug, Clone)]
struct Recorded {
    sequence: u64,
    at_ms: i128,
    outcome: Value,
}

/// A refusal whose reason must be found in the order's earlier states.
struct Refusal {
    command: String,
    sequence: u64,
    at_ms: i128,
    sent: Sent,
    rejection: Value,
}

impl Checker {
    /// Checks what is new. Returns the violations.
    pub(super) async fn check(
        &mut self,
        jetstream: &Context,
        ledger: &Ledger,
    ) -> anyhow::Result<Vec<String>> {
        let from_start = self.events_read == 0 && self.outcomes_read == 0;
        let mut news = News { commands: ledger.take_changed(from_start), ..News::default() };
        self.take_events(jetstream, &mut news).await?;
        self.take_outcomes(jetstream, &mut news).await?;
        let mut refusals: BTreeMap<String, Vec<Refusal>> = BTreeMap::new();
        for id in std::mem::take(&mut news.commands) {
            let sent = ledger.sent(&id);
            if let Some(refusal) = self.check_command(&id, &sent, &mut news.violations) {
                refusals.entry(refusal.sent.payload.order.clone()).or_default().push(refusal);
            }
        }
        news.orders.extend(refusals.keys().cloned());
        for order in std::mem::take(&mut news.orders) {
            let refusals = refusals.remove(&order).unwrap_or_default();
            self.check_order(&order, refusals, ledger, &mut news.violations);
        }
        let letters = read_from(jetstream, "DEAD_LETTERS", 1).await?;
        letters::check(&letters, &self.kept, &ledger.unreadable(), &mut news.violations);
        for left in Streams::of(jetstream.clone()).read("COMMANDS").await? {
            let Stored { sequence, subject, headers, .. } = left;
            news.violations.push(format!("COMMANDS: was never settled: {sequence} {subject}: {headers:?}"));
        }
        Ok(news.violations)
    }

    async fn take_events(&mut self, jetstream: &Context, news: &mut News) -> anyhow::Result<()> {
        for stored in read_from(jetstream, EVENTS, self.events_read + 1).await? {
            self.events_read = stored.sequence;
            let event = Happened::of(&stored);
            let at = format!("{EVENTS} {} ({})", event.sequence, event.id);
            let order = stored.subject.split('.').nth(1).unwrap_or_default().to_owned();
            let earlier = self.orders.entry(order.clone()).or_default();
            let effect = self.effects.entry(event.cause.clone()).or_default();
            if !self.event_ids.insert(event.id.clone()) {
                news.violations.push(format!("{at}: an event with this id lies earlier in the stream"));
            }
            if event.id != format!("{}:{}", event.cause, effect.len()) {
                let before = effect.len();
                news.violations
                    .push(format!("{at}: {before} events of command {} lie before it", event.cause));
            }
            if let Some(what) = event.history_violation(earlier) {
                news.violations.push(format!("{at}: order {order}: {what}"));
            }
            effect.push((order.clone(), earlier.len()));
            news.commands.insert(event.cause.clone());
            news.orders.insert(order);
            earlier.push(event);
        }
        Ok(())
    }

    async fn take_outcomes(&mut self, jetstream: &Context, news: &mut News) -> anyhow::Result<()> {
        for stored in read_from(jetstream, "AUDIT", self.outcomes_read + 1).await? {
            self.outcomes_read = stored.sequence;
            if stored.subject.starts_with("audit.claim.") {
                continue;
            }
            if let Some(kept) = stored.subject.strip_prefix("audit.dead-letter.") {
                self.kept.extend(kept.strip_suffix(".kept").and_then(|letter| letter.parse::<u64>().ok()));
                continue;
            }
            let (at, outcome) = (format!("AUDIT {} ({})", stored.sequence, stored.subject), stored.data());
            let Some(id) = stored.subject.strip_prefix("audit.outcome.") else {
                news.violations.push(format!("{at}: this is no outcome"));
                continue;
            };
            if outcome["commandId"] != id {
                news.violations.push(format!("{at}: it names another command: {outcome}"));
            }
            let recorded = Recorded { sequence: stored.sequence, at_ms: stored.stored_at_ms, outcome };
            if let Some(first) = self.outcomes.insert(id.to_owned(), recorded) {
                let first = first.sequence;
                news.violations.push(format!("{at}: the command has another outcome at {first}"));
            }
            news.commands.insert(id.to_owned());
        }
        Ok(())
    }

    /// Checks that a command has one outcome, exactly the events that the outcome names, and that every client was told
    /// this outcome. Returns a refusal whose reason must still be found.
    fn check_command(&self, id: &str, sent: &[Sent], violations: &mut Vec<String>) -> Option<Refusal> {
        let effect = self.effects.get(id).map_or(&[][..], Vec::as_slice);
        let events: Vec<&Happened> =
            effect.iter().map(|(order, place)| &self.orders[order][*place]).collect();
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        if sent.is_empty() {
            violations.push(format!("{id}: nobody sent this command; its events: {EVENTS} {sequences:?}"));
        }
        let Some(Recorded { sequence, at_ms, outcome }) = self.outcomes.get(id) else {
            if sent.iter().any(|sent| sent.stored) {
                violations.push(format!(
                    "{id}: it was stored and has no outcome; its events: {EVENTS} {sequences:?}"
                ));
            } else if !events.is_empty() {
                violations.push(format!("{id}: it has events and no outcome: {EVENTS} {sequences:?}"));
            }
            return None;
        };
        let at = format!("{id}: AUDIT {sequence}");
        let told: Option<Vec<_>> = outcome["events"].as_array().map(|events| {
            events.iter().map(|e| (e["id"].as_str(), e["type"].as_str(), e["sequence"].as_u64())).collect()
        });
        let found =
            || events.iter().map(|e| (Some(&*e.id), Some(&*e.kind), Some(e.sequence))).collect::<Vec<_>>();
        let status = outcome["status"].as_str().unwrap_or_default();
        match status {
            "accepted" if told.as_ref() != Some(&found()) => {
                violations.push(format!(
                    "{at}: it names other events than there are ({EVENTS} {sequences:?}): {outcome}"
                ));
            }
            "accepted" if events.is_empty() => {
                violations.push(format!("{at}: it has no events, which the rules never decide: {outcome}"));
            }
            "accepted" => {}
            _ if !events.is_empty() => {
                violations
                    .push(format!("{at}: it is {status}, but has events: {EVENTS} {sequences:?}: {outcome}"));
            }
            "rejected" => {}
            _ => violations.push(format!("{at}: a good command is {status}: {outcome}")),
        }
        for event in events.iter().filter(|event| outcome["fingerprint"] != *event.fingerprint) {
            let (sequence, other) = (event.sequence, &event.fingerprint);
            violations
                .push(format!("{at}: {EVENTS} {sequence} followed from another payload, {other}: {outcome}"));
        }
        answers::check(&at, outcome, sent, violations);
        let decided = sent.iter().find(|sent| outcome["fingerprint"] == *sent.fingerprint.0);
        let Some(decided) = decided else {
            violations.push(format!("{at}: nobody sent what was decided: {outcome}"));
            return None;
        };
        (status == "rejected").then(|| Refusal {
            command: id.to_owned(),
            sequence: *sequence,
            at_ms: *at_ms,
            sent: decided.clone(),
            rejection: outcome["rejection"].clone(),
        })
    }

    /// Checks that every decision on an order follows from the rules and the state before it, and that every refusal
    /// follows from the rules and some state between the time when the command was sent and the time when the refusal
    /// was recorded.
    fn check_order(
        &self,
        order: &str,
        mut refusals: Vec<Refusal>,
        ledger: &Ledger,
        violations: &mut Vec<String>,
    ) {
        let (mut state, mut at, mut since_ms) = (State::default(), 0, i128::MIN);
        let events = self.orders.get(order).map_or(&[][..], Vec::as_slice);
        let explained = |state: &State, at: u64, since_ms: i128, refusal: &Refusal| {
            at >= refusal.sent.known
                && since_ms <= refusal.at_ms + CLOCKS_MS
                && state.refuses(&refusal.sent.payload, &refusal.rejection)
        };
        for decision in events.chunk_by(|a, b| a.cause == b.cause) {
            refusals.retain(|refusal| !explained(&state, at, since_ms, refusal));
            let (first, last) = (&decision[0], &decision[decision.len() - 1]);
            let place =
                format!("{}: order {order}: {EVENTS} {} to {}", first.cause, first.sequence, last.sequence);
            let sent = ledger.sent(&first.cause);
            match sent.iter().find(|sent| *sent.fingerprint.0 == *first.fingerprint) {
                Some(sent) => {
                    let wrong = state.decision_violation(&sent.payload, decision);
                    violations.extend(wrong.map(|what| format!("{place}: {what}")));
                }
                None => violations.push(format!("{place}: nobody sent a command that leads to this")),
            }
            for event in decision {
                violations.extend(state.fold(event).err());
            }
            (at, since_ms) = (last.sequence, last.stored_at_ms);
        }
        refusals.retain(|refusal| !explained(&state, at, since_ms, refusal));
        for Refusal { command, sequence, sent, rejection, .. } in refusals {
            violations.push(format!(
                "{command}: AUDIT {sequence}: order {order}: the rules say this in no state from {EVENTS} {} on until then: {rejection}",
                sent.known
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plan::Payload;
    use super::*;

    #[test]
    fn an_acceptance_without_events_is_a_violation() {
        let payload = Payload { kind: "refund", order: "1".to_owned(), data: "{}".to_owned() };
        let fingerprint = payload.fingerprint();
        let outcome = json!({ "status": "accepted", "events": [], "fingerprint": *fingerprint.0 });
        let outcomes = HashMap::from([("c1".to_owned(), Recorded { sequence: 7, at_ms: 0, outcome })]);
        let sent = Sent { payload, fingerprint, stored: true, known: 0, answers: Vec::new() };
        let mut violations = Vec::new();
        Checker { outcomes, ..Checker::default() }.check_command("c1", &[sent], &mut violations);
        assert!(violations.len() == 1 && violations[0].contains("it has no events"), "{violations:?}");
    }
}

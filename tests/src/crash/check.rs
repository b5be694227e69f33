//! The properties that must hold once all work is done, checked from the streams and from what clients were told.
//!
//! A [`Checker`] continues where it stopped, because streams only grow. A new one checks everything from the start.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_nats::jetstream::Context;
use pelton_nats::subjects::is_mark;
use serde_json::{Value, json};

use super::ledger::{Ledger, Sent};
use super::reader::read_from;
use super::rules::{Happened, State};
use super::world::{EVENTS, consumers};
use super::{answers, dead_letters};
use crate::streams::Stored;

/// The known part of the streams.
#[derive(Debug, Default)]
pub(super) struct Checker {
    events_read: u64,
    notes_read: u64,
    orders: HashMap<String, Vec<Happened>>,
    event_ids: HashSet<String>,
    /// The events of each command: the order, and the index among the order's events.
    effects: HashMap<String, Vec<(String, usize)>>,
    /// The outcomes of the commands that ended without events, by command.
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

/// An outcome, and where it lies: its sequence, and how many events of its order lie before it.
#[derive(Debug, Clone)]
struct Recorded {
    sequence: u64,
    place: usize,
    outcome: Value,
}

/// A refusal that must follow from the rules and the state in which it lies.
struct Refusal {
    command: String,
    sequence: u64,
    place: usize,
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
        let from_start = self.events_read == 0 && self.notes_read == 0;
        let mut news = News { commands: ledger.take_changed(from_start), ..News::default() };
        self.take_events(jetstream, &mut news).await?;
        self.take_notes(jetstream).await?;
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
            self.check_order(&order, &refusals, ledger, &mut news.violations);
        }
        let kept = read_from(jetstream, "DEAD_LETTERS", 1).await?;
        dead_letters::check(&kept, &self.kept, &ledger.unreadable(), &mut news.violations);
        let log = jetstream.get_stream("COMMANDS").await?;
        for consumer in consumers() {
            let left = log.consumer_info(consumer).await?;
            if (left.num_pending, left.num_ack_pending) != (0, 0) {
                news.violations.push(format!("COMMANDS: some were never settled: {left:?}"));
            }
        }
        Ok(news.violations)
    }

    async fn take_events(&mut self, jetstream: &Context, news: &mut News) -> anyhow::Result<()> {
        for stored in read_from(jetstream, EVENTS, self.events_read + 1).await? {
            self.events_read = stored.sequence;
            if is_mark(&stored.subject) {
                self.take_mark(&stored, news);
                continue;
            }
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

    /// The end of a command without events, with its place among the events of its order.
    fn take_mark(&mut self, stored: &Stored, news: &mut News) {
        let at = format!("{EVENTS} {} ({})", stored.sequence, stored.subject);
        let tokens: Vec<&str> = stored.subject.split('.').collect();
        let (order, id) = (tokens[1].to_owned(), *tokens.last().unwrap_or(&""));
        let outcome = stored.data();
        if outcome["commandId"] != id {
            news.violations.push(format!("{at}: it names another command: {outcome}"));
        }
        let place = self.orders.get(&order).map_or(0, Vec::len);
        let recorded = Recorded { sequence: stored.sequence, place, outcome };
        if let Some(first) = self.outcomes.insert(id.to_owned(), recorded) {
            let first = first.sequence;
            news.violations.push(format!("{at}: the command has another outcome at {first}"));
        }
        news.commands.insert(id.to_owned());
    }

    async fn take_notes(&mut self, jetstream: &Context) -> anyhow::Result<()> {
        for stored in read_from(jetstream, "AUDIT", self.notes_read + 1).await? {
            self.notes_read = stored.sequence;
            let kept =
                stored.subject.strip_prefix("audit.dead-letter.").and_then(|s| s.strip_suffix(".kept"));
            self.kept.extend(kept.and_then(|letter| letter.parse::<u64>().ok()));
        }
        Ok(())
    }

    /// Checks that a command ended once and that every client was told this end. Returns a refusal whose reason must still
    /// be checked.
    fn check_command(&self, id: &str, sent: &[Sent], violations: &mut Vec<String>) -> Option<Refusal> {
        let effect = self.effects.get(id).map_or(&[][..], Vec::as_slice);
        let events: Vec<&Happened> =
            effect.iter().map(|(order, place)| &self.orders[order][*place]).collect();
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        if sent.is_empty() {
            violations.push(format!("{id}: nobody sent this command; its events: {EVENTS} {sequences:?}"));
        }
        if sequences.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            violations.push(format!("{id}: its events do not lie together: {EVENTS} {sequences:?}"));
        }
        let recorded = match (self.outcomes.get(id), events.first()) {
            (Some(mark), None) => mark.clone(),
            (None, Some(first)) => {
                let events: Vec<_> = events.iter().map(|e| e.named(EVENTS)).collect();
                let outcome = json!({
                    "commandId": id, "fingerprint": first.fingerprint, "status": "accepted", "events": events,
                });
                Recorded { sequence: first.sequence, place: 0, outcome }
            }
            (Some(Recorded { sequence, .. }), Some(_)) => {
                violations
                    .push(format!("{id}: it has a mark at {EVENTS} {sequence} and events: {sequences:?}"));
                return None;
            }
            (None, None) => {
                if sent.iter().any(|sent| sent.stored) {
                    violations.push(format!("{id}: it was stored and has no end"));
                }
                return None;
            }
        };
        let Recorded { sequence, place, outcome } = recorded;
        let at = format!("{id}: {EVENTS} {sequence}");
        let status = outcome["status"].as_str().unwrap_or_default();
        match status {
            "accepted" if events.is_empty() => {
                violations.push(format!("{at}: it has no events, which the rules never decide: {outcome}"));
            }
            "accepted" | "rejected" => {}
            _ => violations.push(format!("{at}: a good command is {status}: {outcome}")),
        }
        for event in events.iter().filter(|event| outcome["fingerprint"] != *event.fingerprint) {
            let (sequence, other) = (event.sequence, &event.fingerprint);
            violations
                .push(format!("{at}: {EVENTS} {sequence} followed from another payload, {other}: {outcome}"));
        }
        answers::check(&at, &outcome, sent, violations);
        let decided = sent.iter().find(|sent| outcome["fingerprint"] == *sent.fingerprint.0);
        let Some(decided) = decided else {
            violations.push(format!("{at}: nobody sent what was decided: {outcome}"));
            return None;
        };
        if sequence <= decided.known {
            let known = decided.known;
            violations
                .push(format!("{at}: a client knew of {EVENTS} {known} before it sent this: {outcome}"));
        }
        (status == "rejected").then(|| Refusal {
            command: id.to_owned(),
            sequence,
            place,
            sent: decided.clone(),
            rejection: outcome["rejection"].clone(),
        })
    }

    /// Checks that every decision on an order, and every refusal, follows from the rules and the state in which it lies.
    fn check_order(&self, order: &str, refusals: &[Refusal], ledger: &Ledger, violations: &mut Vec<String>) {
        let mut state = State::default();
        let events = self.orders.get(order).map_or(&[][..], Vec::as_slice);
        let check_refusals = |state: &State, place: usize, violations: &mut Vec<String>| {
            for Refusal { command, sequence, sent, rejection, .. } in
                refusals.iter().filter(|r| r.place == place)
            {
                if !state.refuses(&sent.payload, rejection) {
                    violations.push(format!(
                        "{command}: {EVENTS} {sequence}: order {order}: the rules say something else here than {rejection}"
                    ));
                }
            }
        };
        let mut place = 0;
        for decision in events.chunk_by(|a, b| a.cause == b.cause) {
            check_refusals(&state, place, violations);
            let (first, last) = (&decision[0], &decision[decision.len() - 1]);
            let at =
                format!("{}: order {order}: {EVENTS} {} to {}", first.cause, first.sequence, last.sequence);
            let sent = ledger.sent(&first.cause);
            match sent.iter().find(|sent| *sent.fingerprint.0 == *first.fingerprint) {
                Some(sent) => {
                    let wrong = state.decision_violation(&sent.payload, decision);
                    violations.extend(wrong.map(|what| format!("{at}: {what}")));
                }
                None => violations.push(format!("{at}: nobody sent a command that leads to this")),
            }
            for event in decision {
                violations.extend(state.fold(event).err());
            }
            place += decision.len();
        }
        check_refusals(&state, place, violations);
    }
}

#[cfg(test)]
mod tests {

    use super::super::plan::Payload;
    use super::*;

    #[test]
    fn an_acceptance_without_events_is_a_violation() {
        let payload = Payload { kind: "refund", order: "1".to_owned(), data: "{}".to_owned() };
        let fingerprint = payload.fingerprint();
        let outcome = json!({ "status": "accepted", "events": [], "fingerprint": *fingerprint.0 });
        let outcomes = HashMap::from([("c1".to_owned(), Recorded { sequence: 7, place: 0, outcome })]);
        let sent = Sent { payload, fingerprint, stored: true, known: 0, answers: Vec::new() };
        let mut violations = Vec::new();
        Checker { outcomes, ..Checker::default() }.check_command("c1", &[sent], &mut violations);
        assert!(violations.len() == 1 && violations[0].contains("it has no events"), "{violations:?}");
    }
}

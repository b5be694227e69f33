//! The rules of the payment example, run natively on the contents of the stream.

use payment_order::{Command, Event, Payment};
use pelton_core::command::backlinks::Backlinks;
use pelton_core::id::Sequence;
use pelton_plugin::{CommandHandler, Context, Timestamp};
use serde_json::{Value, json};

use super::plan::Payload;
use crate::streams::Stored;

/// An event of an order, as the stream holds it.
#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub(super) sequence: u64,
    pub(super) id: String,
    /// The command that led to it.
    pub(super) cause: String,
    /// The fingerprint of that command.
    pub(super) fingerprint: String,
    pub(super) kind: String,
    time: String,
    data: Value,
    history: String,
}

impl Happened {
    pub(super) fn of(stored: &Stored) -> Self {
        let header = |name| stored.header(name).to_owned();
        Self {
            sequence: stored.sequence,
            id: header("ce-id"),
            cause: header("ce-causationid"),
            fingerprint: stored.header("Pelton-Command").split(' ').nth(1).unwrap_or_default().to_owned(),
            kind: header("ce-type"),
            time: header("ce-time"),
            data: stored.data(),
            history: header("Pelton-Backlinks"),
        }
    }

    /// As an outcome names it.
    pub(super) fn named(&self, stream: &str) -> Value {
        json!({ "id": self.id, "type": self.kind, "version": 1, "stream": stream, "sequence": self.sequence })
    }

    fn as_decided(&self) -> Value {
        json!({ self.kind.as_str(): self.data })
    }

    /// The mistakes in the event's list of earlier events, given those that exist.
    pub(super) fn history_violation(&self, earlier: &[Self]) -> Option<String> {
        let history = match Backlinks::parse(&self.history) {
            Ok(history) => history,
            Err(error) => return Some(error.to_string()),
        };
        let listed: Vec<u64> = history.resolve(Sequence(self.sequence)).iter().map(|s| s.0).collect();
        let have: Vec<u64> = earlier.iter().map(|event| event.sequence).collect();
        let right = history.count() == have.len() as u64 && have.ends_with(&listed);
        let recent = &have[have.len().saturating_sub(listed.len().max(4))..];
        (!right).then(|| {
            format!(
                "Pelton-Backlinks is {:?}, but {} events lie before it, the last at {recent:?}",
                self.history,
                have.len()
            )
        })
    }
}

/// An order's state, folded natively.
#[derive(Default)]
pub(super) struct State(Payment);

impl State {
    /// Folds an event. Fails if the event cannot be read.
    pub(super) fn fold(&mut self, event: &Happened) -> Result<(), String> {
        let read: Event = serde_json::from_value(event.as_decided())
            .map_err(|error| format!("event {} at {} cannot be read: {error}", event.id, event.sequence))?;
        self.0.evolve(read);
        Ok(())
    }

    /// The mistakes in these events as the decision on this command in this state.
    pub(super) fn decision_violation(&self, payload: &Payload, events: &[Happened]) -> Option<String> {
        let time = events.first().map_or("", |event| event.time.as_str());
        let expected = match self.decide(payload, time) {
            Ok(events) => events,
            Err(refusal) => return Some(format!("the rules refuse it there: {refusal}")),
        };
        let found: Vec<_> = events.iter().map(Happened::as_decided).collect();
        (found != expected).then(|| format!("the rules decide {expected:?} there, the stream has {found:?}"))
    }

    /// Whether the rules refuse this command in this state with this rejection.
    pub(super) fn refuses(&self, payload: &Payload, rejection: &Value) -> bool {
        let refused = self.decide(payload, "1970-01-01T00:00:00Z").err();
        refused.is_some_and(|refused| {
            refused["code"] == rejection["code"] && refused["message"] == rejection["message"]
        })
    }

    fn decide(&self, payload: &Payload, time: &str) -> Result<Vec<Value>, Value> {
        let refuse = |what: String| json!({ "code": "cannot-be-checked", "message": what });
        let data: Value = serde_json::from_str(&payload.data).map_err(|e| refuse(e.to_string()))?;
        let command: Command =
            serde_json::from_value(json!({ payload.kind: data })).map_err(|e| refuse(e.to_string()))?;
        let context = Context {
            entity: payload.order.clone(),
            time: time.parse::<Timestamp>().map_err(|error| refuse(format!("{time:?} is {error}")))?,
            ..Context::default()
        };
        let events = self.0.decide(command, &context);
        let events = events.map_err(|no| json!({ "code": no.code, "message": no.message }))?;
        events.iter().map(|event| serde_json::to_value(event).map_err(|e| refuse(e.to_string()))).collect()
    }
}

//! Given events, then values under keys.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde_json::{Value, json};

use super::events::{Stream, data};
use super::report::Report;
use super::{IntoTestEvent, raw_event};
use crate::bindings::projection::exports::pelton::plugin::projection::View;
use crate::bindings::types;
use crate::export::{describe_projection, keys, project};
use crate::{Failure, Projection};

/// Adds `given` to every [`Projection`].
pub trait TestProjection: Projection {
    /// The view after these events. They may be of any enum whose variants are event types: the view's own, or those of
    /// the handlers that emit them. With [`event`](super::event) their attributes can be set.
    #[track_caller]
    fn given<E: IntoTestEvent>(events: impl IntoIterator<Item = E>) -> ViewAfter<Self>
    where
        Self: Sized,
    {
        ViewAfter { stream: Stream::default(), projection: PhantomData }.and(events)
    }
}

impl<P: Projection> TestProjection for P {}

/// A view after some events.
#[derive(Debug)]
pub struct ViewAfter<P> {
    stream: Stream,
    projection: PhantomData<fn() -> P>,
}

type Values = BTreeMap<String, Vec<u8>>;

impl<P: Projection> ViewAfter<P> {
    /// Adds events after the given ones.
    #[track_caller]
    pub fn and<E: IntoTestEvent>(mut self, events: impl IntoIterator<Item = E>) -> Self {
        for event in events {
            self.stream.push(event);
        }
        self
    }

    /// Adds one more event in its stored form: of another version, unknown to the view, or unreadable.
    #[track_caller]
    pub fn recorded(self, event_type: &str, version: u32, data: &str) -> Self {
        self.and([raw_event(event_type, version, data)])
    }

    /// Asserts the value under `key`.
    ///
    /// # Panics
    /// If the key has another value or none, or if the events cannot be folded.
    #[track_caller]
    pub fn then(self, key: &str, expected: &P::View) -> Self {
        let values = self.values();
        let got = values.get(key).map_or(Value::Null, |value| data(value));
        let expected = serde_json::to_value(expected).expect("a value under test has a JSON form");
        let what = match values.get(key) {
            Some(_) => format!("`{key}` has another value than expected"),
            None => format!("`{key}` has no value; there are {:?}", values.keys().collect::<Vec<_>>()),
        };
        self.report(what).assert(&expected, &got);
        self
    }

    /// Asserts the keys that have values, in byte order.
    ///
    /// # Panics
    /// If the view has other keys, or if the events cannot be folded.
    #[track_caller]
    pub fn then_keys<const N: usize>(self, expected: [&str; N]) -> Self {
        let got = self.values().into_keys().collect::<Vec<_>>();
        self.report("other keys have values than expected".to_owned())
            .assert(&json!(expected.to_vec()), &json!(got));
        self
    }

    /// The value under `key`.
    ///
    /// # Panics
    /// If the events cannot be folded.
    #[track_caller]
    #[must_use]
    pub fn view(&self, key: &str) -> Option<P::View> {
        self.values()
            .get(key)
            .map(|value| serde_json::from_slice(value).expect("the view reads what it wrote"))
    }

    /// Asserts that the events cannot be folded, and returns the cause.
    ///
    /// # Panics
    /// If they can be folded.
    #[track_caller]
    pub fn then_failure(self) -> Failure {
        fold::<P>(&self.stream.0, 1).expect_err("no given event fails")
    }

    /// The values of the view. Asserts that they do not depend on how the events are cut into batches.
    #[track_caller]
    fn values(&self) -> Values {
        let _ = describe_projection::<P>("test", "0");
        let one_by_one =
            fold::<P>(&self.stream.0, 1).unwrap_or_else(|failure| panic!("an event fails: {failure:?}"));
        let at_once = fold::<P>(&self.stream.0, usize::MAX)
            .unwrap_or_else(|failure| panic!("a batch fails: {failure:?}"));
        if one_by_one != at_once {
            let what = "the view depends on how the host cuts the events into batches; expected: event by event, got: all at once";
            self.report(what.to_owned()).fail(&show(&one_by_one), &show(&at_once));
        }
        one_by_one
    }

    fn report(&self, what: String) -> Report {
        Report { given: self.stream.show(), when: Vec::new(), what }
    }
}

fn show(values: &Values) -> Value {
    values.iter().map(|(key, value)| (key.clone(), data(value))).collect::<serde_json::Map<_, _>>().into()
}

/// Does the host's work on a map.
fn fold<P: Projection>(events: &[types::RecordedEvent], batch: usize) -> Result<Values, Failure> {
    let mut values = Values::new();
    for batch in events.chunks(batch) {
        let mut touched: Vec<String> = keys::<P>(batch.to_vec())?.into_iter().flatten().collect();
        touched.sort_unstable();
        touched.dedup();
        let views = touched.into_iter().map(|key| View { value: values.get(&key).cloned(), key }).collect();
        for view in project::<P>(batch.to_vec(), views)? {
            match view.value {
                Some(value) => values.insert(view.key, value),
                None => values.remove(&view.key),
            };
        }
    }
    Ok(values)
}

//! An example as data: steps over HTTP with their expected answers, and the expected streams at the end.

use anyhow::Context;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::http::{Answer, Http, Request};
use crate::streams::{Stored, Streams};
use crate::{PATIENCE, PAUSE};

/// An example.
#[derive(Debug)]
pub struct Example {
    /// Its name.
    pub name: &'static str,
    /// Its configuration, from the root of the repository.
    pub config: &'static str,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The subjects of the events that each stream holds after the steps, in order.
    pub events: Vec<(&'static str, Vec<&'static str>)>,
    /// Its views.
    pub views: Vec<&'static str>,
}

/// One step: a request and its expected answer.
#[derive(Debug)]
pub struct Step {
    /// What happens, for people.
    pub title: &'static str,
    /// The request.
    pub request: Request,
    expected: Expected,
}

#[derive(Debug)]
struct Expected {
    status: u16,
    /// The expected values of the body at JSON pointers.
    parts: Vec<(&'static str, &'static str)>,
    /// Whether the body must be that of the step before.
    same: bool,
    /// Whether to ask until the answer is as expected, because a saga or a view takes a moment.
    patient: bool,
    /// The number of requests at once. All answers must be the same.
    at_once: usize,
}

impl Step {
    /// A request that changes something.
    #[must_use]
    pub fn put(title: &'static str, path: &str, body: &str) -> Self {
        Self::new(title, Request::put(path, body))
    }

    /// A request that reads something.
    #[must_use]
    pub fn get(title: &'static str, path: &str) -> Self {
        Self::new(title, Request::get(path))
    }

    fn new(title: &'static str, request: Request) -> Self {
        let expected = Expected { status: 200, parts: Vec::new(), same: false, patient: false, at_once: 1 };
        Self { title, request, expected }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.with(name, value);
        self
    }

    /// Expects acceptance, with one event of this type.
    #[must_use]
    pub fn accepted(mut self, event: &'static str) -> Self {
        self.expected.parts =
            vec![("/status", "accepted"), ("/events/0/type", event), ("/events/1", "nothing")];
        self.expected.status = 201;
        self
    }

    /// Expects acceptance, with three events of these types.
    #[must_use]
    pub fn accepted_with(mut self, events: [&'static str; 3]) -> Self {
        self.expected.parts = vec![
            ("/status", "accepted"),
            ("/events/0/type", events[0]),
            ("/events/1/type", events[1]),
            ("/events/2/type", events[2]),
            ("/events/3", "nothing"),
        ];
        self.expected.status = 201;
        self
    }

    /// Sends the request this many times at once. All answers must be the same, byte for byte.
    #[must_use]
    pub fn at_once(mut self, times: usize) -> Self {
        self.expected.at_once = times;
        self
    }

    /// Expects acceptance with the answer of the step before, byte for byte.
    #[must_use]
    pub fn same(mut self) -> Self {
        self.expected.status = 201;
        self.expected.same = true;
        self
    }

    /// Expects a rejection by this rule of the domain.
    #[must_use]
    pub fn rejected(self, code: &'static str) -> Self {
        self.refused(409, code)
    }

    /// Expects a refusal with this status for this reason.
    #[must_use]
    pub fn refused(mut self, status: u16, code: &'static str) -> Self {
        self.expected.status = status;
        self.expected.parts = vec![("/code", code)];
        self
    }

    /// Expects this status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.expected.status = status;
        self
    }

    /// Expects these values in the first answer.
    #[must_use]
    pub fn shows(mut self, parts: &[(&'static str, &'static str)]) -> Self {
        self.expected.parts = parts.to_vec();
        self
    }

    /// Expects these values before long.
    #[must_use]
    pub fn will_show(mut self, parts: &[(&'static str, &'static str)]) -> Self {
        self.expected.patient = true;
        self.shows(parts)
    }

    /// The differences between an answer and the expected one.
    fn differences(&self, answer: &Answer, before: Option<&Answer>) -> Vec<String> {
        let Expected { status, parts, same, .. } = &self.expected;
        let mut wrong = Vec::new();
        if answer.status != *status {
            wrong.push(format!("expected status {status}, got {}", answer.status));
        }
        for (pointer, expected) in parts {
            let got = answer.at(pointer);
            if got != *expected {
                wrong.push(format!("expected {pointer} to be {expected}, got {got}"));
            }
        }
        if let Some(before) = before.filter(|before| *same && before.body != answer.body) {
            wrong.push(format!("expected the body of the step before, {}", before.body.trim()));
        }
        wrong
    }
}

/// A step that was taken.
#[derive(Debug)]
pub struct Taken<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// The step.
    pub step: &'a Step,
    /// The answer, the last one after several tries; or why there is none.
    pub answer: Result<Answer, String>,
    /// The number of tries.
    pub tries: usize,
    /// The differences from the expected answer.
    pub wrong: Vec<String>,
}

impl Example {
    /// Takes every step, at one host after the other, and passes each to `show` once it was taken. Returns the number
    /// that went as expected.
    pub async fn run(&self, hosts: &[&Http], mut show: impl FnMut(&Taken<'_>)) -> usize {
        let mut before = None;
        let mut good = 0;
        for ((number, step), http) in (1..).zip(&self.steps).zip(hosts.iter().cycle()) {
            let taken = take(number, step, http, before.as_ref()).await;
            show(&taken);
            good += usize::from(taken.wrong.is_empty());
            before = taken.answer.ok();
        }
        good
    }

    /// Reads the example's streams, without the marks. Returns for each its name, its events, and the differences from the
    /// expected ones.
    pub async fn events(
        &self,
        streams: &Streams,
    ) -> anyhow::Result<Vec<(&'static str, Vec<Stored>, Vec<String>)>> {
        let mut all = Vec::new();
        for (stream, subjects) in &self.events {
            let events = streams.events(stream).await.with_context(|| format!("reading stream {stream}"))?;
            let found: Vec<_> = events.iter().map(|event| event.subject.as_str()).collect();
            let wrong = if found == *subjects {
                Vec::new()
            } else {
                vec![format!("expected the subjects {subjects:?}"), format!("got {found:?}")]
            };
            all.push((*stream, events, wrong));
        }
        Ok(all)
    }
}

async fn take<'a>(number: usize, step: &'a Step, http: &Http, before: Option<&Answer>) -> Taken<'a> {
    let deadline = Instant::now() + PATIENCE;
    for tries in 1.. {
        let asked = join_all((0..step.expected.at_once).map(|_| http.send(&step.request))).await;
        let mut answers = asked.into_iter().map(|answer| answer.map_err(|error| format!("{error:#}")));
        let answer = answers.next().unwrap_or_else(|| Err("it was not asked".to_owned()));
        let mut wrong = match &answer {
            Ok(answer) => step.differences(answer, before),
            Err(error) => vec![format!("no answer: {error}")],
        };
        for other in answers {
            match (&answer, other) {
                (Ok(first), Ok(other)) if (first.status, &first.body) == (other.status, &other.body) => {}
                (_, other) => wrong.push(format!("expected the same answer to all, got also {other:?}")),
            }
        }
        if wrong.is_empty() || !step.expected.patient || Instant::now() > deadline {
            return Taken { number, step, answer, tries, wrong };
        }
        sleep(PAUSE).await;
    }
    unreachable!("the loop has no other end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: Vec::new(), body: body.to_owned() }
    }

    #[test]
    fn a_difference_says_what_was_expected_and_what_came() {
        let accepted = r#"{"status":"accepted","events":[{"type":"room-booked"}]}"#;
        let refused = r#"{"code":"room-already-booked","status":409}"#;
        let put = || Step::put("", "/", "{}");
        for (step, status, body, expected) in [
            (put().accepted("room-booked"), 201, accepted, &[] as &[&str]),
            (
                put().accepted("room-cleaned"),
                201,
                accepted,
                &["expected /events/0/type to be room-cleaned, got room-booked"],
            ),
            (put().rejected("room-already-booked"), 409, refused, &[]),
            (put().refused(404, "room-already-booked"), 409, refused, &["expected status 404, got 409"]),
            (put().same(), 201, accepted, &["expected the body of the step before, {}"]),
            (Step::get("", "/").shows(&[("/rooms/0", "nothing")]), 200, "no JSON", &[]),
            (Step::get("", "/").shows(&[("/code", "7")]), 200, r#"{"code":7}"#, &[]),
        ] {
            let before = answer(201, "{}");
            assert_eq!(step.differences(&answer(status, body), Some(&before)), expected);
        }
    }
}

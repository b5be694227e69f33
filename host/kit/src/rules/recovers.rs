//! A refused input leaves nothing behind.

use bytes::Bytes;
use pelton_core::command::ports::Isolation;
use pelton_core::message::RecordedEvent;
use pelton_core::projection::view::ViewChange;
use pelton_core::saga::model::SagaInput;

use super::{differs, differs_in, failed, on, passed, same, same_reaction};
use crate::guest::Projection;
use crate::hostile;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::saga::Reacted;
use crate::view::{self, View};

pub(super) static RULE: Rule = Rule {
    id: "AL-04",
    name: "recovers",
    level: Level::Required,
    asserts: "after inputs that it refused or failed at, an instance answers as before",
    why: "the instance serves others: what one bad message leaves behind, they would pay for",
    mend: "keep nothing between calls; where something is kept, put it right before every return, errors included",
    after: &["AL-02", "AL-03", "CH-05", "CH-06", "PR-04", "SG-02"],
    test,
};

/// How many hostile data are made, about.
const BAD: usize = 40;
/// How many good inputs are tried again after bad ones.
const GOOD: usize = 30;
/// How many streams of events are tried.
const STREAMS: usize = 4;

fn test(subject: &Subject<'_>) -> Finding {
    let mut random = subject.random();
    let right: Vec<Bytes> =
        subject.corpus.events.iter().map(|event| event.event.data.clone()).take(20).collect();
    let bad = hostile::data(&right, &mut random, BAD);
    let mut tried = 0;
    if let Some(handler) = subject.handler() {
        let shared = handler.apart();
        let decisions: Vec<_> = subject.corpus.decisions.iter().filter(|d| d.answer.is_ok()).collect();
        let _lives_on =
            decisions.first().and_then(|first| shared.folded(Isolation::Shared, &first.history).ok());
        for (n, decision) in decisions.iter().take(GOOD).enumerate() {
            for data in bad.iter().skip(n % 9).step_by(9) {
                let mut command = decision.command.clone();
                command.data = data.clone();
                let _ = shared.decided(Isolation::Shared, &decision.history, &command);
                let mut history = decision.history.clone();
                if let Some(last) = history.events.last_mut() {
                    last.event.data = data.clone();
                    let _ = shared.folded(Isolation::Shared, &history);
                }
                let _ = shared.restore(&history.entity, data, Isolation::Shared);
                let answer = shared.decided(Isolation::Shared, &decision.history, &decision.command);
                if !same(&decision.answer, &answer) {
                    let how = differs(&decision.answer, &answer);
                    let on = on(&decision.command, &decision.history);
                    return failed(format!("{on}: after a refusal, it decides {how}"));
                }
                tried += 1;
            }
        }
    }
    if let (Some(fresh), Some(warm)) = (subject.fresh_projection(), subject.projection()) {
        for stream in subject.corpus.streams.iter().take(STREAMS) {
            let mut view = View::new();
            for event in stream.iter().take(GOOD) {
                let one = std::slice::from_ref(event);
                let Ok(expected) = view::changes(&fresh, one, &view, false) else { continue };
                let keys = view::keys(&fresh, one).unwrap_or_default().concat();
                for data in bad.iter().skip(tried % 9).step_by(9) {
                    for refused in refusals(event, data, &keys) {
                        refused(&warm);
                        let again = view::changes(&warm, one, &view, false);
                        if again.as_ref() != Ok(&expected) {
                            let (mut right, mut wrong) = (view.clone(), view.clone());
                            view::write(&mut right, expected);
                            view::write(&mut wrong, again.unwrap_or_default());
                            let place =
                                view::difference(&right, &wrong).unwrap_or_else(|| "it fails".to_owned());
                            return failed(format!("{} after a refusal: {place}", event.event.r#type));
                        }
                        tried += 1;
                    }
                }
                view::write(&mut view, expected);
            }
        }
    }
    if let Some(saga) = subject.saga() {
        let all = &subject.corpus.reactions;
        for (n, reacted) in all.iter().take(GOOD).enumerate() {
            // What another instance does must not be left behind either.
            let is_other = |other: &&Reacted| other.instance != reacted.instance;
            let other = all.iter().cycle().skip(n).take(all.len()).find(is_other).unwrap_or(reacted);
            for data in bad.iter().skip(tried % 9).step_by(9) {
                for bad in bad_inputs(reacted, data) {
                    let _ = bad.again(&saga);
                    if let SagaInput::Event(event) = &bad.input {
                        let _ = saga.correlate(event);
                    }
                    for reacted in [reacted, other, reacted] {
                        let again = reacted.again(&saga);
                        if !same_reaction(&reacted.reaction, &again) {
                            let how = differs_in(&reacted.reaction, &again);
                            return failed(format!("{} after a refusal: {how}", reacted.shown()));
                        }
                        let _ = bad.again(&saga);
                    }
                    tried += 1;
                }
            }
        }
    }
    passed(tried, "answers after refusals", super::NO_EVENTS)
}

/// A call with an input that the projection cannot take.
type Refusal<'a> = Box<dyn Fn(&Projection<'_>) + 'a>;

/// Calls of the projection's functions with inputs that it cannot take, one each.
fn refusals<'a>(event: &'a RecordedEvent, data: &'a Bytes, keys: &'a [String]) -> Vec<Refusal<'a>> {
    let mut broken = event.clone();
    broken.event.data = data.clone();
    let both = vec![event.clone(), broken.clone()];
    let given = |value: Option<Bytes>| -> Vec<ViewChange> {
        keys.iter().map(|key| ViewChange { key: key.clone(), value: value.clone() }).collect()
    };
    let (none, odd) = (given(None), given(Some(data.clone())));
    let (of_keys, of_project, with_none) = (both.clone(), both, none.clone());
    vec![
        Box::new(move |projection| drop(projection.keys(&of_keys))),
        Box::new(move |projection| drop(projection.project(&of_project, &with_none))),
        Box::new(move |projection| drop(projection.project(std::slice::from_ref(&broken), &none))),
        Box::new(move |projection| drop(projection.project(std::slice::from_ref(event), &odd))),
    ]
}

/// The input on a state that the saga cannot read, and an event that it cannot read.
fn bad_inputs(reacted: &Reacted, data: &Bytes) -> Vec<Reacted> {
    let mut all = vec![Reacted { state: Some(data.to_vec()), ..reacted.clone() }];
    if let SagaInput::Event(event) = &reacted.input {
        let mut broken = event.clone();
        broken.event.data = data.clone();
        all.push(Reacted { input: SagaInput::Event(broken), ..reacted.clone() });
    }
    all
}

//! What was refused leaves nothing behind.

use bytes::Bytes;
use pelton_core::command::ports::Isolation;

use super::{differs, differs_in, failed, on, passed, same, same_reaction};
use crate::hostile;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
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

/// How many inputs are refused in between.
const BAD: usize = 40;
/// How many answers are asked for afterwards.
const GOOD: usize = 60;

fn test(subject: &Subject<'_>) -> Finding {
    let mut random = subject.random();
    let right: Vec<Bytes> = subject.corpus.events.iter().map(|event| event.event.data.clone()).take(20).collect();
    let bad = hostile::data(&right, &mut random, BAD);
    let mut tried = 0;
    if let Some(handler) = subject.handler() {
        let shared = handler.apart();
        let decisions: Vec<_> = subject.corpus.decisions.iter().filter(|d| d.answer.is_ok()).collect();
        let _lives_on = decisions.first().and_then(|first| shared.folded(Isolation::Shared, &first.history).ok());
        for decision in decisions.iter().take(BAD) {
            for data in bad.iter().take(BAD) {
                let mut command = decision.command.clone();
                command.data = data.clone();
                let _ = shared.decided(Isolation::Shared, &decision.history, &command);
                let mut history = decision.history.clone();
                if let Some(last) = history.events.last_mut() {
                    last.event.data = data.clone();
                    let _ = shared.folded(Isolation::Shared, &history);
                }
                let _ = shared.restore(&history.entity, data, Isolation::Shared);
                if tried % 8 == 0 {
                    break;
                }
            }
            let answer = shared.decided(Isolation::Shared, &decision.history, &decision.command);
            if !same(&decision.answer, &answer) {
                let how = differs(&decision.answer, &answer);
                return failed(format!("{}: after refusals, it decides {how}", on(&decision.command, &decision.history)));
            }
            tried += 1;
        }
    }
    if let (Some(fresh), Some(warm)) = (subject.fresh_projection(), subject.projection()) {
        for stream in &subject.corpus.streams {
            let (mut expected, mut view) = (View::new(), View::new());
            for event in stream.iter().take(GOOD) {
                let mut broken = event.clone();
                for data in bad.iter().skip(tried % 7).step_by(7) {
                    broken.event.data = data.clone();
                    let _ = view::changes(&warm, &[event.clone(), broken.clone()], &view, false);
                    let _ = view::changes(&warm, std::slice::from_ref(&broken), &view, false);
                }
                let one = [std::slice::from_ref(event)];
                let (first, second) = (view::fold(&fresh, &mut expected, one), view::fold(&warm, &mut view, one));
                if first.is_ok() != second.is_ok() || view::difference(&expected, &view).is_some() {
                    let place = view::difference(&expected, &view).or(second.err().map(|stop| stop.what().to_owned()));
                    return failed(format!("{} after refusals: {}", event.event.r#type, place.unwrap_or_default()));
                }
                tried += 1;
            }
        }
    }
    if let Some(saga) = subject.saga() {
        for reacted in subject.corpus.reactions.iter().take(GOOD) {
            for data in bad.iter().skip(tried % 7).step_by(7) {
                let _ = saga.react(&reacted.instance, Some(data), &reacted.input, &reacted.context);
                if let pelton_core::saga::model::SagaInput::Event(event) = &reacted.input {
                    let mut broken = event.clone();
                    broken.event.data = data.clone();
                    let _ = saga.correlate(&broken);
                    let input = pelton_core::saga::model::SagaInput::Event(broken);
                    let _ = saga.react(&reacted.instance, reacted.state.as_deref(), &input, &reacted.context);
                }
            }
            let again = reacted.again(&saga);
            if !same_reaction(&reacted.reaction, &again) {
                let how = differs_in(&reacted.reaction, &again);
                return failed(format!("{} after refusals: {how}", reacted.shown()));
            }
            tried += 1;
        }
    }
    passed(tried, "answers after refusals", super::NO_EVENTS)
}

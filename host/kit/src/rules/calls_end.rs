//! Every call ends with an answer.

use std::time::Duration;

use pelton_core::command::ports::Isolation;

use super::{NO_EVENTS, Trial, failed, on, passed, shrunk};
use crate::corpus::decisions::command_on;
use crate::guest::{Handler, broke};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::view::{self, Stop, View};

pub(super) static RULE: Rule = Rule {
    id: "AL-02",
    name: "calls-end",
    level: Level::Required,
    asserts: "every call with what cases and schemas say, and what follows from it, ends with an answer: it traps nothing, and keeps to the limits of time, memory and bytes",
    why: "a call that breaks costs its neighbours a load, and its message becomes a dead letter",
    mend: "mend what traps or does not end; where a limit is too low for the work, raise it in the configuration",
    after: &[],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let mut tried = 0;
    for decision in &subject.corpus.decisions {
        if decision.answer.as_ref().is_err_and(broke) {
            let check = |_: &_, _: &_, answer: &crate::guest::Answer| match answer {
                Err(fault) if broke(fault) => Trial::Broken(fault.what.clone()),
                _ => Trial::Held,
            };
            let how = decision.answer.as_ref().err().map_or_else(String::new, |fault| fault.what.clone());
            return failed(shrunk(subject, &decision.history, &decision.command, how, check));
        }
        tried += 1;
    }
    if let (Some(handler), Some(decision)) = (subject.handler(), subject.corpus.decisions.first()) {
        for history in subject.corpus.histories.iter().chain(&subject.corpus.long) {
            let ended = handler.folded(Isolation::Alone, history);
            let ended = ended.and_then(|mut entity| entity.snapshot());
            if let Err(fault) = ended
                && broke(&fault)
            {
                return failed(format!("{}: {}", on(&decision.command, history), fault.what));
            }
        }
    }
    if let Some(handler) = subject.handler()
        && let Some(how) = breaks_among_others(subject, &handler)
    {
        return failed(how);
    }
    if let Some(projection) = subject.fresh_projection() {
        for stream in &subject.corpus.streams {
            let mut view = View::new();
            for event in stream {
                if let Err(Stop::Broke(what)) =
                    view::fold(&projection, &mut view, [std::slice::from_ref(event)])
                {
                    return failed(format!(
                        "{} {}: {what}",
                        event.event.r#type,
                        super::short(&event.event.data)
                    ));
                }
                tried += 1;
            }
        }
    }
    if let Some(saga) = subject.fresh_saga() {
        for event in subject.corpus.streams.iter().flatten() {
            if let Err(fault) = saga.correlate(event)
                && broke(&fault)
            {
                let (r#type, data) = (&event.event.r#type, super::short(&event.event.data));
                return failed(format!("{type} {data}: correlate: {}", fault.what));
            }
        }
        for reacted in &subject.corpus.reactions {
            if let Err(fault) = &reacted.reaction
                && broke(fault)
            {
                return failed(format!("{}: react: {}", reacted.shown(), fault.what));
            }
            tried += 1;
        }
    }
    let usage = subject.meter.so_far();
    passed(tried, &format!("inputs, {} calls", usage.calls), NO_EVENTS)
}

/// Has entities decide many commands, one after the other, as other rules do.
fn breaks_among_others(subject: &Subject<'_>, handler: &Handler<'_>) -> Option<String> {
    let templates: Vec<_> = subject.corpus.templates.iter().filter(|template| !template.unreadable).collect();
    let per_history = subject.suite.effort.decisions / subject.corpus.histories.len().max(1);
    for (n, history) in subject.corpus.histories.iter().enumerate() {
        let Ok(mut entity) = handler.folded(Isolation::Alone, history) else { continue };
        for (m, template) in templates.iter().cycle().skip(n * per_history).take(per_history).enumerate() {
            let wait = Duration::from_secs(if m % 3 == 0 { 90_000_000 } else { 0 });
            let id = format!("also-{n}-{m}");
            let Some(command) = command_on(template, history, wait, &id) else { continue };
            if let Err(fault) = entity.decide(&command)
                && broke(&fault)
            {
                return Some(format!("{}: {}", on(&command, history), fault.what));
            }
        }
    }
    None
}

//! Each part of a stored event is an event.

use super::parts::differ;
use super::project_batches::readable;
use super::{NO_PROJECTION, failed, not_applicable, passed};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::view::{self, View};

pub(super) static RULE: Rule = Rule {
    id: "PR-05",
    name: "project-parts",
    level: Level::Required,
    asserts: "events that share a sequence, as the parts that an upcaster makes of one, are all in the view",
    why: "after an upcaster splits an old event, the view would lack what its second part says",
    mend: "tell events apart by `sequence` and `part` together, or by neither",
    after: &["AL-02", "PR-01", "PR-02", "PR-03", "PR-04"],
    test,
};

/// How many events of a stream are tried.
const EVENTS: usize = 8;
/// How many pairs of events of a stream are tried.
const WINDOWS: usize = 16;

fn test(subject: &Subject<'_>) -> Finding {
    let Some(projection) = subject.projection() else { return not_applicable(NO_PROJECTION) };
    let mut tried = 0;
    for stream in &subject.corpus.streams {
        let events = readable(&projection, stream);
        for events in events.windows(2).take(WINDOWS).chain(events.chunks(EVENTS).take(2)) {
            let made = |events: &[_]| {
                let mut view = View::new();
                view::fold(&projection, &mut view, events.chunks(1)).ok()?;
                let text = |value: &bytes::Bytes| String::from_utf8(value.to_vec()).ok();
                let all: Option<Vec<_>> =
                    view.iter().map(|(key, value)| Some(format!("/{key} {}", text(value)?))).collect();
                Some(all?.join(", "))
            };
            match differ(events, made) {
                Ok(true) => tried += 1,
                Ok(false) => {}
                Err((own, pairs)) => {
                    let types: Vec<_> = events.iter().map(|event| event.event.r#type.as_str()).collect();
                    let shown = |text: &str| text.chars().take(200).collect::<String>();
                    return failed(format!(
                        "{}: where two events share a sequence, {} → {}",
                        types.join(", "),
                        shown(&own),
                        shown(&pairs)
                    ));
                }
            }
        }
    }
    passed(tried, "views of events in parts", "no case has two events, or its values are not text")
}

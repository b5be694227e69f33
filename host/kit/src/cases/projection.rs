//! Cases of projections.

use serde_json::{Map, Value, json};

use super::{Context, Outcome};
use crate::case::{GivenEvent, Step, When};
use crate::guest::Projection;
use crate::inputs::{self, later, read};
use crate::matcher::differences;
use crate::view::{self, View};

pub(super) fn run(
    steps: &[Step],
    given: &[GivenEvent],
    projection: &Projection<'_>,
    context: Context<'_>,
) -> Result<Outcome, String> {
    let Context { entity, start, given: all, used, .. } = context;
    let mut outcome = Outcome::default();
    let mut time = start;
    let mut stream = inputs::events(given, entity, time);
    let mut view = View::new();
    let mut applied = 0;
    for (n, step) in steps.iter().enumerate() {
        time = later(time, step.after.map_or_else(Default::default, |after| after.0));
        match &step.when {
            Some(When::Event(event)) => {
                stream.push(inputs::event(event, entity, time, stream.len() as u64 + 1));
            }
            Some(_) => return Err("a projection has events only in its steps".to_owned()),
            None => {}
        }
        // The host skips events that the descriptor does not list.
        let new: Vec<_> = stream[applied..]
            .iter()
            .filter(|event| event.event.is_of(&projection.descriptor().events))
            .cloned()
            .collect();
        applied = stream.len();
        used.events.extend(new.iter().map(|event| (event.event.r#type.clone(), event.event.version)));
        let folded = view::fold(projection, &mut view, new.iter().map(std::slice::from_ref));
        let got: Map<String, Value> = view.iter().map(|(key, value)| (key.clone(), read(value))).collect();
        let found = match (folded, &step.then.views) {
            (Err(stop), _) => vec![stop.what().to_owned()],
            (Ok(()), Some(expected)) => differences("/views", &json!(expected), &json!(got)),
            (Ok(()), None) => Vec::new(),
        };
        outcome.step(n, steps.len(), found, vec![("views", Value::Object(got))]);
    }
    all.streams.push(stream);
    Ok(outcome)
}

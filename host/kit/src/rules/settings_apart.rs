//! States and views do not depend on settings.

use pelton_core::command::ports::Isolation;
use pelton_wasm::{LoadedPlugin, PluginSettings};

use super::{differs, failed, not_applicable, passed, same};
use crate::guest::{Handler, Projection, Saga};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::view::{self, View};

pub(super) static RULE: Rule = Rule {
    id: "AL-05",
    name: "settings-apart",
    level: Level::Required,
    asserts: "`evolve`, `keys`, `project` and `correlate` give the same under other settings",
    why: "the host keeps what they gave when the settings change: states and views would be of two kinds",
    mend: "read settings in `decide` and `react` only",
    after: &["AL-02", "CH-09", "PR-04", "SG-01"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    if !subject.plugin.imports().iter().any(|import| import.contains("/settings")) {
        return not_applicable("the plugin imports no settings");
    }
    let others: Vec<LoadedPlugin> = others(subject)
        .into_iter()
        .filter_map(|settings| {
            let mut activation = subject.suite.activation.clone();
            activation.settings = settings;
            // The plugin may not work with these settings.
            subject.suite.sandbox.load_again(subject.plugin, activation).ok()
        })
        .collect();
    let mut tried = 0;
    for other in &others {
        match differ(subject, other) {
            Ok(count) => tried += count,
            Err(how) => return failed(how),
        }
    }
    match tried {
        0 => not_applicable("the plugin works with these settings only, or gives no snapshots to compare"),
        tried => passed(tried, "inputs under other settings", ""),
    }
}

/// No settings, and all settings with other numbers and texts: larger, none, and huge ones.
fn others(subject: &Subject<'_>) -> Vec<PluginSettings> {
    let changed = |text: &str| match text.parse::<u64>() {
        Ok(number) => (number * 2 + 1).to_string(),
        Err(_) => format!("{text}x"),
    };
    let zero = |text: &str| if text.parse::<u64>().is_ok() { "0".to_owned() } else { text.to_lowercase() };
    let huge = |text: &str| {
        if text.parse::<u64>().is_ok() { "9007199254740991".to_owned() } else { text.to_uppercase() }
    };
    let with = |change: &dyn Fn(&str) -> String| {
        let mut all = PluginSettings::default();
        for (name, value) in subject.suite.activation.settings.iter() {
            let _ = all.set(name, &change(value));
        }
        all
    };
    vec![PluginSettings::default(), with(&changed), with(&zero), with(&huge)]
}

fn differ(subject: &Subject<'_>, other: &LoadedPlugin) -> Result<usize, String> {
    let mut tried = 0;
    if let (Some(handler), Some(changed)) = (subject.handler(), other.handler()) {
        let changed = Handler::new(changed, subject.meter);
        for decision in
            subject.corpus.decisions.iter().filter(|decision| !decision.history.events.is_empty()).take(60)
        {
            let (history, command) = (&decision.history, &decision.command);
            // The entity folds under the other settings, and decides under these.
            let snapshot = changed.folded(Isolation::Alone, history).and_then(|mut entity| entity.snapshot());
            let Ok(Some(snapshot)) = snapshot else { continue };
            let Ok(Ok(mut entity)) = handler.restore(&history.entity, &snapshot, Isolation::Alone) else {
                continue;
            };
            let answer = entity.decide(command);
            if !same(&decision.answer, &answer) {
                let how = differs(&decision.answer, &answer);
                return Err(format!(
                    "{}: folded under other settings, it decides {how}",
                    super::on(command, history)
                ));
            }
            tried += 1;
        }
    }
    if let (Some(projection), Some(changed)) = (subject.fresh_projection(), other.projection()) {
        let changed = Projection::new(changed, subject.meter);
        for stream in &subject.corpus.streams {
            let (mut expected, mut view) = (View::new(), View::new());
            let first = view::fold(&projection, &mut expected, stream.chunks(1));
            let second = view::fold(&changed, &mut view, stream.chunks(1));
            if first.is_ok() != second.is_ok() {
                return Err("under other settings, it does not take the same events".to_owned());
            }
            if let Some(place) = view::difference(&expected, &view) {
                return Err(format!("under other settings, the view differs: {place}"));
            }
            tried += 1;
        }
    }
    if let (Some(saga), Some(changed)) = (subject.fresh_saga(), other.saga()) {
        let changed = Saga::new(changed, subject.meter);
        for event in subject.corpus.streams.iter().flatten().take(200) {
            let (first, second) = (saga.correlate(event), changed.correlate(event));
            if let (Ok(Ok(first)), Ok(Ok(second))) = (&first, &second)
                && first != second
            {
                return Err(format!(
                    "{}: under other settings, it concerns {second:?} and not {first:?}",
                    event.event.r#type
                ));
            }
            tried += 1;
        }
    }
    Ok(tried)
}

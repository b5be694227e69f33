//! Runs the cases, and collects inputs for the rules from them.

mod handler;
mod projection;
mod saga;

use std::collections::BTreeSet;

use pelton_core::time::Timestamp;
use pelton_wasm::LoadedPlugin;
use serde_json::Value;

pub(crate) use handler::shown;
pub(crate) use saga::undeclared;

use crate::case::{Case, CaseFile, When};
use crate::corpus::Given;
use crate::guest::{Handler, Projection, Saga};
use crate::meter::Meter;
use crate::report::{CaseResult, GotStep};

/// The results of all cases.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) results: Vec<CaseResult>,
    pub(crate) given: Given,
    pub(crate) used: Used,
    /// Cases that cannot be run, each with the reason.
    pub(crate) wrong: Vec<String>,
}

/// The declarations of a plugin that cases use.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Commands that a handler was given, or that a saga sent.
    pub(crate) commands: BTreeSet<String>,
    /// Events that a handler emitted, or that a projection or saga read.
    pub(crate) events: BTreeSet<(String, u32)>,
    pub(crate) rejections: BTreeSet<String>,
    pub(crate) timers: BTreeSet<String>,
}

/// The result of one case.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) differences: Vec<String>,
    pub(crate) got: Vec<GotStep>,
}

impl Outcome {
    fn step(&mut self, n: usize, of: usize, differences: Vec<String>, got: Vec<(&'static str, Value)>) {
        let at = |difference: String| match of {
            1 => difference,
            _ => format!("step {}: {difference}", n + 1),
        };
        self.differences.extend(differences.into_iter().map(at));
        self.got.push(GotStep { then: got });
    }
}

/// What a case runs on, and the collections that it adds to.
struct Context<'a> {
    plugin: &'a LoadedPlugin,
    meter: &'a Meter,
    entity: &'a str,
    start: Timestamp,
    given: &'a mut Given,
    used: &'a mut Used,
}

/// Runs all cases of all files, each in fresh instances.
pub(crate) fn run(files: &[CaseFile], plugin: &LoadedPlugin, meter: &Meter) -> Ran {
    let mut ran = Ran::default();
    for file in files {
        for case in &file.cases {
            let entity = case.entity.as_ref().or(file.entity.as_ref()).map_or("1", String::as_str);
            let Ran { given, used, .. } = &mut ran;
            let context = Context { plugin, meter, entity, start: crate::inputs::START, given, used };
            match one(case, context) {
                Ok(Outcome { differences, got }) => {
                    let (file, name) = (file.path.clone(), case.name.clone());
                    ran.results.push(CaseResult { file, name, differences, got });
                }
                Err(what) => {
                    ran.wrong.push(format!("{}: the case {:?}: {what}", file.path.display(), case.name));
                }
            }
        }
    }
    ran
}

fn one(case: &Case, context: Context<'_>) -> Result<Outcome, String> {
    let steps = case.all_steps();
    let inputs = || steps.iter().filter_map(|step| step.when.as_ref());
    let is_command = inputs().any(|when| matches!(when, When::Command(_)));
    let is_of_saga = inputs().any(|when| matches!(when, When::Timer(_) | When::Outcome(_)))
        || steps.iter().any(|step| {
            step.then.commands.is_some() || step.then.timers.is_some() || step.then.instances.is_some()
        });
    let is_of_view = steps.iter().any(|step| step.then.views.is_some());
    let Context { plugin, meter, .. } = context;
    if is_command {
        let handler = plugin.handler().ok_or("a command is for a handler, and the plugin is none")?;
        return handler::run(case, &steps, &Handler::new(handler, meter), context);
    }
    match (plugin.saga(), plugin.projection()) {
        (Some(saga), _) if is_of_saga || !is_of_view => {
            saga::run(&steps, &case.given, &Saga::new(saga, meter), context)
        }
        (_, Some(projection)) if !is_of_saga => {
            projection::run(&steps, &case.given, &Projection::new(projection, meter), context)
        }
        (Some(_), None) => Err("`views` are of a projection, and the plugin is none".to_owned()),
        (None, _) if is_of_saga => {
            Err("timers, outcomes, commands and instances are of a saga, and the plugin is none".to_owned())
        }
        (None, None) => {
            Err("a case without a command is for a projection or a saga, and the plugin is neither"
                .to_owned())
        }
        (_, Some(_)) => unreachable_case(),
    }
}

fn unreachable_case() -> Result<Outcome, String> {
    Err("it says both what a view shows and what a saga does; write two cases".to_owned())
}

//! Declarations of a plugin that no case uses.

use std::collections::BTreeSet;

use pelton_core::command::ports::HandlerPlugin;
use pelton_core::message::{EventType, Rejection};
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::saga::ports::SagaPlugin;
use pelton_wasm::LoadedPlugin;

use crate::case::{CaseFile, LeftOut};
use crate::cases::Used;

/// The kind and the name of something that a plugin declares.
type Named = (&'static str, String);

/// What no case uses and no file leaves out, and entries of `left-out` that are wrong or not needed.
pub(crate) fn unused(files: &[CaseFile], plugin: &LoadedPlugin, used: &Used) -> Vec<String> {
    let declared = declared(plugin);
    let used = self::used(used);
    let mut wrong = Vec::new();
    let mut left_out = BTreeSet::new();
    for file in files {
        for entry in &file.left_out {
            let path = file.path.display();
            match named(entry) {
                Err(what) => wrong.push(format!("{path}: {what}")),
                Ok(named) if !declared.contains(&named) => {
                    let (kind, name) = named;
                    wrong.push(format!(
                        "{path}: it leaves out the {kind} {name}, which the plugin does not declare"
                    ));
                }
                Ok(named) if used.contains(&named) => {
                    let (kind, name) = named;
                    wrong.push(format!("{path}: it leaves out the {kind} {name}, which a case uses"));
                }
                Ok(named) => drop(left_out.insert(named)),
            }
        }
    }
    let missing = declared.iter().filter(|named| !used.contains(*named) && !left_out.contains(*named));
    wrong.extend(missing.map(|(kind, name)| format!("no case uses the {kind} {name}")));
    wrong
}

fn event(r#type: &str, version: u32) -> Named {
    ("event", if version == 1 { r#type.to_owned() } else { format!("{type} version {version}") })
}

fn declared(plugin: &LoadedPlugin) -> BTreeSet<Named> {
    let mut all = BTreeSet::new();
    let mut events = |types: &[EventType]| {
        all.extend(types.iter().map(|t| event(&t.r#type, t.version)));
    };
    if let Some(handler) = plugin.handler() {
        events(&handler.descriptor().emits);
    }
    if let Some(projection) = plugin.projection() {
        events(&projection.descriptor().events);
    }
    if let Some(saga) = plugin.saga() {
        events(&saga.descriptor().events);
    }
    if let Some(handler) = plugin.handler() {
        let descriptor = handler.descriptor();
        all.extend(descriptor.commands.iter().map(|name| ("command", name.clone())));
        let codes = descriptor.rejections.iter().filter(|code| *code != Rejection::INVALID_COMMAND);
        all.extend(codes.map(|code| ("rejection", code.clone())));
    }
    if let Some(saga) = plugin.saga() {
        let descriptor = saga.descriptor();
        all.extend(descriptor.commands.iter().map(|name| ("command", name.clone())));
        all.extend(descriptor.timers.iter().map(|name| ("timer", name.clone())));
    }
    all
}

fn used(used: &Used) -> BTreeSet<Named> {
    let Used { commands, events, rejections, timers } = used;
    let mut all: BTreeSet<Named> = commands.iter().map(|name| ("command", name.clone())).collect();
    all.extend(events.iter().map(|(r#type, version)| event(r#type, *version)));
    all.extend(rejections.iter().map(|code| ("rejection", code.clone())));
    all.extend(timers.iter().map(|name| ("timer", name.clone())));
    all
}

fn named(entry: &LeftOut) -> Result<Named, String> {
    let LeftOut { command, event, version, rejection, timer, .. } = entry;
    match (command, event, rejection, timer) {
        (Some(name), None, None, None) => Ok(("command", name.clone())),
        (None, Some(name), None, None) => Ok(self::event(name, *version)),
        (None, None, Some(code), None) => Ok(("rejection", code.clone())),
        (None, None, None, Some(name)) => Ok(("timer", name.clone())),
        _ => Err("an entry of `left-out` names one command, event, rejection or timer".to_owned()),
    }
}

//! `pelton plugin diff-contract`: what another version takes, writes and reads that the one before does not.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use pelton_core::message::EventType;
use pelton_wasm::{Activation, LoadedPlugin, Tier};

use super::client::{Client, sandbox};
use crate::args::plugin::DiffArgs;
use crate::descriptors::Inspected;
use crate::exit::Failure;
use crate::terminal::{escaped, say};

/// Compares, and says every difference on a line of its own.
pub(super) async fn run(arguments: &DiffArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let plugin = &arguments.plugin.plugin;
    let is = client.find(plugin, arguments.plugin.version.as_deref()).await?;
    let was = match &arguments.from {
        Some(version) => client.find(plugin, Some(version)).await?.digest,
        None => {
            let nothing = || anyhow!("nothing was activated for the plugin {plugin} yet; use --from VERSION");
            client.active(plugin).await?.with_context(nothing).map_err(Failure::Run)?.runs.component
        }
    };
    let was = load(&client, plugin.as_str(), &was).await.map_err(Failure::Run)?;
    let is = load(&client, plugin.as_str(), &is.digest).await.map_err(Failure::Run)?;
    let differences = differences(&Inspected::of(&was), &Inspected::of(&is));
    if client.json {
        say(&serde_json::json!({ "plugin": plugin, "differences": differences }).to_string());
    } else if differences.is_empty() {
        say("both take, write and read the same");
    } else {
        differences.iter().for_each(|difference| say(&escaped(difference)));
    }
    Ok(())
}

async fn load(client: &Client, plugin: &str, digest: &str) -> anyhow::Result<LoadedPlugin> {
    let bytes = client.store.fetch(digest).await?;
    let sandbox = sandbox(&client.config)?;
    // Its descriptor is the same in every tier.
    let with = Activation { tier: Tier::Deterministic, ..Activation::default() };
    Ok(sandbox.load(plugin, bytes, with).await?)
}

fn differences(was: &Inspected, is: &Inspected) -> Vec<String> {
    let mut found = Differences::default();
    found.set("role", was.roles(), is.roles());
    if let (Some(was), Some(is)) = (&was.handler, &is.handler) {
        found.set("command", &was.commands, &is.commands);
        found.set("rejection", &was.rejections, &is.rejections);
        found.set("emits", types(&was.emits), types(&is.emits));
        found.set("folds", types(&was.folds), types(&is.folds));
        found.number("state version of the handler", was.state_version, is.state_version);
    }
    if let (Some(was), Some(is)) = (&was.projection, &is.projection) {
        found.set("the projection reads", types(&was.events), types(&is.events));
        found.number("view version", was.view_version, is.view_version);
    }
    if let (Some(was), Some(is)) = (&was.saga, &is.saga) {
        found.set("the saga reads", types(&was.events), types(&is.events));
        found.set("the saga sends", &was.commands, &is.commands);
        found.set("the saga's timer", &was.timers, &is.timers);
        found.number("state version of the saga", was.state_version, is.state_version);
    }
    found.0
}

fn types(types: &[EventType]) -> Vec<String> {
    types.iter().map(|EventType { r#type, version }| format!("{type} v{version}")).collect()
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn set<T: ToString>(
        &mut self,
        what: &str,
        was: impl IntoIterator<Item = T>,
        is: impl IntoIterator<Item = T>,
    ) {
        let set =
            |items: &mut dyn Iterator<Item = T>| items.map(|item| item.to_string()).collect::<BTreeSet<_>>();
        let (was, is) = (set(&mut was.into_iter()), set(&mut is.into_iter()));
        self.0.extend(was.difference(&is).map(|gone| format!("- {what} {gone}")));
        self.0.extend(is.difference(&was).map(|new| format!("+ {what} {new}")));
    }

    fn number(&mut self, what: &str, was: u32, is: u32) {
        if was != is {
            self.0.push(format!("~ {what} {was} -> {is}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use pelton_core::command::ports::HandlerDescriptor;
    use pelton_core::plugin::Identity;

    use super::*;

    fn handler(commands: &[&str], emits: &[(&str, u32)], state_version: u32) -> Inspected {
        let emits: Vec<EventType> = emits
            .iter()
            .map(|(r#type, version)| EventType { r#type: (*r#type).to_owned(), version: *version })
            .collect();
        let handler = HandlerDescriptor {
            identity: Identity { name: "books".to_owned(), version: "1".to_owned() },
            commands: commands.iter().map(|&command| command.to_owned()).collect(),
            folds: emits.clone(),
            emits,
            rejections: Vec::new(),
            state_version,
            decides_ahead: false,
        };
        Inspected { handler: Some(handler), ..Inspected::default() }
    }

    #[test]
    fn every_difference_has_a_line() {
        let was = handler(&["lend", "return"], &[("lent", 1)], 1);
        let is = handler(&["lend", "reserve"], &[("lent", 1), ("lent", 2)], 2);
        assert_eq!(
            differences(&was, &is),
            [
                "- command return",
                "+ command reserve",
                "+ emits lent v2",
                "+ folds lent v2",
                "~ state version of the handler 1 -> 2"
            ]
        );
        assert!(differences(&was, &was).is_empty());
    }
}

//! `pelton plugin list` and `show`

use std::collections::BTreeMap;

use pelton_core::id::Name;
use pelton_nats::hosts;
use pelton_nats::plugin_store::activation::{Activation, Cause};
use serde_json::json;

use super::client::Client;
use super::drain;
use crate::args::plugin::{ListArgs, ShowArgs};
use crate::config::PluginSource;
use crate::exit::Failure;
use crate::terminal::{escaped, say, table};

/// Every plugin of the configuration and of the store.
pub(super) async fn list(arguments: &ListArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let mut active = client.store.activations().await.map_err(|error| Failure::Run(error.into()))?;
    let mut plugins: BTreeMap<Name, Option<Activation>> = client
        .config
        .plugins
        .iter()
        .filter(|(_, plugin)| plugin.source == PluginSource::Store)
        .map(|(name, _)| (name.clone(), active.remove(name)))
        .collect();
    plugins.extend(active.into_iter().map(|(name, activation)| (name, Some(activation))));
    if client.json {
        for (name, activation) in &plugins {
            say(&json!({ "plugin": name, "activation": activation.as_ref().map(described) }).to_string());
        }
        return Ok(());
    }
    let rows = plugins.iter().map(|(name, activation)| match activation {
        None => vec![name.to_string(), "nothing".to_owned()],
        Some(Activation { runs, by, at, revision, .. }) => {
            vec![name.to_string(), runs.to_string(), revision.to_string(), at.to_string(), by.clone()]
        }
    });
    let width = 5;
    let rows = rows.map(|mut row| {
        row.resize(width, "-".to_owned());
        row
    });
    let listed = table(&["PLUGIN", "RUNS", "REVISION", "SINCE", "BY"], rows);
    say(listed.as_deref().map_or("no plugin comes from the plugin store", str::trim_end));
    Ok(())
}

/// Everything about one plugin.
pub(super) async fn show(arguments: &ShowArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let plugin = &arguments.plugin;
    let active = client.active(plugin).await?;
    let components = client.store.components(Some(plugin)).await.map_err(|e| Failure::Run(e.into()))?;
    let hosts = hosts::ask(&client.nats).await.map_err(|away| Failure::Run(away.into()))?;
    if client.json {
        let activation = active.as_ref().map(described);
        say(&json!({ "plugin": plugin, "activation": activation, "components": components }).to_string());
        return Ok(());
    }
    match &active {
        None => say("runs     nothing yet"),
        Some(activation) => {
            let Activation { runs, cause, by, at, revision, .. } = activation;
            say(&escaped(&format!("runs     {runs}, revision {revision}")));
            say(&escaped(&format!("since    {at}, {} by {by}", in_words(cause))));
            for (name, value) in &runs.settings {
                say(&escaped(&format!("setting  {name} = {value:?}")));
            }
            match activation.rollback() {
                Ok(before) => say(&escaped(&format!("before   {before}: pelton plugin rollback {plugin}"))),
                Err(why) => say(&escaped(&format!("before   {why}"))),
            }
        }
    }
    let draining = active.iter().flat_map(|activation| &activation.draining);
    let instances = match draining.clone().next() {
        Some(_) => drain::instances(&client, plugin).await.map_err(Failure::Run)?,
        None => BTreeMap::new(),
    };
    for version in draining {
        say(&escaped(&format!(
            "drains   {version}: {} instances go on with it",
            drain::of(version, &instances)
        )));
    }
    for host in &hosts {
        let prefix = format!("{plugin}: ");
        for unfit in host.unfit.iter().filter(|why| why.starts_with(&prefix)) {
            say(&escaped(&format!("unfit    {}:{}: {}", host.machine, host.process, &unfit[prefix.len()..])));
        }
    }
    let rows = components.iter().map(|component| {
        let digest = component.digest.get(..19).unwrap_or(&component.digest).to_owned();
        vec![
            component.version.clone(),
            digest,
            component.bytes.to_string(),
            component.roles.join(" "),
            component.at.to_string(),
            component.by.clone(),
        ]
    });
    let listed = table(&["VERSION", "COMPONENT", "BYTES", "ROLES", "PUSHED", "BY"], rows);
    if let Some(listed) = listed {
        say("");
        say(listed.trim_end());
    }
    Ok(())
}

/// The record with its revision.
fn described(activation: &Activation) -> serde_json::Value {
    let mut described = json!(activation);
    described["revision"] = json!(activation.revision);
    described
}

/// Why a plugin was switched, as part of a sentence.
pub(super) fn in_words(cause: &Cause) -> String {
    match cause {
        Cause::Activated => "activated".to_owned(),
        Cause::RolledBack => "rolled back".to_owned(),
        Cause::Broke { fault } => format!("rolled back because the version after it broke ({fault})"),
    }
}

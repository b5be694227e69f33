//! `pelton plugin push`

use anyhow::Context;
use pelton_core::time::Timestamp;
use pelton_nats::plugin_store::{Act, Component};

use super::client::{Client, sandbox};
use super::conformance;
use crate::args::plugin::PushArgs;
use crate::descriptors::Inspected;
use crate::exit::Failure;
use crate::operator;
use crate::terminal::say;

/// Loads the component as a host would, and stores it.
pub(super) async fn run(arguments: &PushArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let configured = client.configured(&arguments.plugin)?;
    let plugin = &arguments.plugin;
    let Some(file) = arguments.file.as_ref().or(configured.component.as_ref()) else {
        return Err(Failure::Usage(format!(
            "which file? Name one, or write component = \"…\" into [plugins.{plugin}]"
        )));
    };
    let unreadable = || format!("the component {} cannot be read", file.display());
    let bytes = tokio::fs::read(file).await.with_context(unreadable).map_err(Failure::Unusable)?;
    let sandbox = sandbox(&client.config).map_err(Failure::Run)?;
    let loaded = sandbox.load(plugin.as_str(), bytes.clone(), configured.activation()).await;
    let loaded =
        loaded.with_context(|| format!("{} cannot be pushed", file.display())).map_err(Failure::Unusable)?;
    let inspected = Inspected::of(&loaded);
    let own = inspected.identity().map_or_else(|| "unknown".to_owned(), |who| who.version.clone());
    let by = operator::name(arguments.operator.by.as_deref());
    let component = Component {
        plugin: plugin.clone(),
        digest: loaded.component_digest().to_owned(),
        version: arguments.version.clone().unwrap_or(own),
        bytes: bytes.len() as u64,
        roles: inspected.roles().into_iter().map(str::to_owned).collect(),
        by: by.clone(),
        at: Timestamp::now(),
        verdict: conformance::beside(file).await,
    };
    let is_new = client.store.push(&component, &bytes).await.map_err(|error| Failure::Run(error.into()))?;
    if is_new {
        let act = Act::Pushed { component: component.digest.clone(), version: component.version.clone() };
        client.store.note(plugin, &by, act).await.map_err(|error| Failure::Run(error.into()))?;
    }
    if client.json {
        say(&serde_json::json!({ "component": component, "new": is_new }).to_string());
    } else {
        let Component { digest, version, .. } = &component;
        let what = if is_new { "pushed" } else { "already pushed:" };
        say(&format!("{what} {plugin}@{version} {digest}"));
        say(&format!("run it with: pelton plugin activate {plugin}@{digest}"));
    }
    Ok(())
}

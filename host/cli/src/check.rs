//! `pelton check`: checks a configuration and its components without running them.

use std::fmt::{self, Display, Formatter};
use std::io::Write;

use anyhow::anyhow;
use pelton_nats::topology::Change;
use pelton_wasm::{LoadedPlugin, Schema, Tier};

use crate::apply;
use crate::args::check::CheckArgs;
use crate::config::{RouteConfig, reference};
use crate::descriptors::Inspected;
use crate::exit::Failure;
use crate::run;
use crate::run::from_store::{self, Patience};
use crate::run::prepare::{FromStore, Prepared, prepare};
use crate::server::reach;
use crate::terminal::one_line;

/// Checks, and prints a summary; or prints the reference.
pub(crate) async fn run(arguments: &CheckArgs) -> Result<(), Failure> {
    let servers = arguments.servers().map_err(Failure::Usage)?;
    let text = if arguments.reference {
        reference::render()
    } else {
        let from_store = if servers.is_some() { FromStore::Later } else { FromStore::AsFiles };
        let mut prepared = prepare(&arguments.config, None, from_store).await?;
        prepared.warn();
        if let Some(urls) = servers {
            return compare(&mut prepared, arguments, &urls).await;
        }
        Summary(&prepared).to_string()
    };
    print(&text);
    Ok(())
}

/// Compares the server with the configuration. A missing object is not an error, because a start creates it.
async fn compare(prepared: &mut Prepared, arguments: &CheckArgs, urls: &[String]) -> Result<(), Failure> {
    let nats = reach(&mut prepared.config, urls, &arguments.store).await?;
    from_store::load(prepared, &arguments.config, &nats, Patience::None).await?;
    print(&Summary(prepared).to_string());
    let topology = run::topology(prepared).map_err(Failure::Run)?;
    let plan = topology.plan(&nats).await.map_err(|error| Failure::Run(error.into()))?;
    let changes: Vec<Change> = plan.changes().cloned().collect();
    print(&apply::describe(&changes));
    match plan.differences().count() {
        0 => Ok(()),
        count => Err(Failure::Run(anyhow!(
            "{count} settings on the NATS server differ from the configuration; `pelton apply` changes them"
        ))),
    }
}

/// A closed stdout is not an error: the output may be piped into `head`.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A summary for people: the tables and how they relate.
struct Summary<'a>(&'a Prepared);

/// The name of what a schema describes.
fn described(schema: &Schema) -> String {
    let Schema { kind, r#type, version, .. } = schema;
    match (r#type.as_str(), version) {
        ("", version) => format!("{kind} v{version}"),
        (name, 1) => format!("{kind} {name}"),
        (name, version) => format!("{kind} {name} v{version}"),
    }
}

/// The imports of a component by the tier that allows them.
fn imports(plugin: &LoadedPlugin) -> String {
    let by_tier = Tier::ALL.into_iter().filter_map(|tier| {
        let of_tier = plugin.imports().iter().filter(|import| Tier::of_import(import) == Some(tier));
        let of_tier: Vec<_> = of_tier.map(String::as_str).collect();
        (!of_tier.is_empty()).then(|| format!("{} (tier {tier})", of_tier.join(", ")))
    });
    let by_tier: Vec<_> = by_tier.collect();
    let imports = if by_tier.is_empty() { "nothing".to_owned() } else { by_tier.join(" and ") };
    match plugin.tier() {
        Tier::Pure => format!("imports {imports}"),
        tier @ Tier::Deterministic => format!("imports {imports}, may import what the tier {tier} allows"),
    }
}

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Prepared { config, plugins, .. } = self.0;
        let mut rows = Vec::new();
        for (name, stream) in &config.streams {
            rows.push(("stream", format!("{name}: {}", stream.subjects.join(", "))));
        }
        for (name, handler) in &config.handlers {
            let commands: Vec<_> = handler.commands.keys().map(ToString::to_string).collect();
            let line = format!(
                "{name}: {} on {} by {}, takes {}",
                handler.entity,
                handler.stream,
                handler.plugin,
                commands.join(", ")
            );
            rows.push(("handler", line));
        }
        for (name, projection) in &config.projections {
            rows.push(("projection", format!("{name}: of {} by {}", projection.stream, projection.plugin)));
        }
        for (name, saga) in &config.sagas {
            rows.push(("saga", format!("{name}: on {} by {}", saga.stream, saga.plugin)));
        }
        for RouteConfig { route, .. } in &config.routes {
            rows.push(("route", format!("{} {} sends {}", route.method(), route.path(), route.command())));
        }
        for (name, plugin) in plugins {
            let inspected = Inspected::of(plugin);
            let who = inspected
                .identity()
                .map_or_else(String::new, |who| format!("{} {}, ", who.name, who.version));
            rows.push((
                "plugin",
                format!("{name}: {who}{}, {}", inspected.roles().join(" and "), imports(plugin)),
            ));
            rows.push(("", plugin.digest().to_owned()));
            let described: Vec<_> = plugin.schemas().iter().map(described).collect();
            if !described.is_empty() {
                rows.push(("", format!("schemas: {}", described.join(", "))));
            }
            let settings: Vec<_> =
                plugin.settings().iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
            if !settings.is_empty() {
                rows.push(("", format!("settings: {}", settings.join(", "))));
            }
        }
        let mut last = "";
        for (kind, line) in rows {
            let shown = if kind == last { "" } else { kind };
            // The component's descriptor has its name and version.
            writeln!(f, "{shown:<11} {}", one_line(&line))?;
            if !kind.is_empty() {
                last = kind;
            }
        }
        Ok(())
    }
}

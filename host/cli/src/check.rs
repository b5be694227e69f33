//! `pelton check`: what would be run, without running it.

use std::fmt::{self, Display, Formatter};

use crate::components::Inspected;
use crate::config::RouteConfig;
use crate::prepare::Prepared;

/// A summary for people: what there is, and how it hangs together.
#[derive(Debug)]
pub struct Summary<'a>(pub &'a Prepared);

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
            let imports = match plugin.imports() {
                [] => "nothing".to_owned(),
                imports => imports.join(", "),
            };
            let who = inspected
                .identity()
                .map_or_else(String::new, |who| format!("{} {}, ", who.name, who.version));
            rows.push((
                "plugin",
                format!("{name}: {who}{}, imports {imports}", inspected.roles().join(" and ")),
            ));
            rows.push(("", plugin.digest().to_owned()));
        }
        let mut last = "";
        for (kind, line) in rows {
            let shown = if kind == last { "" } else { kind };
            writeln!(f, "{shown:<11} {line}")?;
            if !kind.is_empty() {
                last = kind;
            }
        }
        Ok(())
    }
}

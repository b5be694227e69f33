//! `pelton check`: what would be run, without running it.

use std::fmt::{self, Display, Formatter};
use std::io::Write;

use crate::args::check::CheckArgs;
use crate::config::{RouteConfig, reference};
use crate::descriptors::Inspected;
use crate::exit::Failure;
use crate::run::prepare::{Prepared, prepare};
use crate::terminal::one_line;

/// Checks, and prints a summary; or prints the reference.
pub(crate) async fn run(arguments: &CheckArgs) -> Result<(), Failure> {
    let text = if arguments.reference {
        reference::render()
    } else {
        let prepared = prepare(&arguments.config, None).await?;
        prepared.warn();
        Summary(&prepared).to_string()
    };
    // Who pipes it into `head` has seen enough.
    let _ = write!(std::io::stdout(), "{text}");
    Ok(())
}

/// A summary for people: what there is, and how it hangs together.
struct Summary<'a>(&'a Prepared);

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
            // A component says its name and version itself.
            writeln!(f, "{shown:<11} {}", one_line(&line))?;
            if !kind.is_empty() {
                last = kind;
            }
        }
        Ok(())
    }
}

//! Whether the components do what the configuration wants of them.
//!
//! What is wrong is reported in the configuration, where it names the component or relies on it.

use std::collections::BTreeMap;

use pelton_core::command::ports::{HandlerDescriptor, HandlerPlugin};
use pelton_core::plugin::Identity;
use pelton_core::projection::ports::{ProjectionDescriptor, ProjectionPlugin};
use pelton_core::saga::ports::{SagaDescriptor, SagaPlugin};
use pelton_wasm::LoadedPlugin;

use crate::config::typed::{Follower, Handler, Plugin, Typed};
use crate::config::{At, Problem, suggestion};

/// What a component says of itself.
#[derive(Debug, Clone, Default)]
pub struct Inspected {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// What it imports.
    pub imports: Vec<String>,
    /// In the role `command-handler`.
    pub handler: Option<HandlerDescriptor>,
    /// In the role `projection`.
    pub projection: Option<ProjectionDescriptor>,
    /// In the role `saga`.
    pub saga: Option<SagaDescriptor>,
}

impl Inspected {
    /// What a loaded component has said.
    #[must_use]
    pub fn of(plugin: &LoadedPlugin) -> Self {
        Self {
            digest: plugin.digest().to_owned(),
            imports: plugin.imports().to_vec(),
            handler: plugin.handler().map(|handler| handler.descriptor().clone()),
            projection: plugin.projection().map(|projection| projection.descriptor().clone()),
            saga: plugin.saga().map(|saga| saga.descriptor().clone()),
        }
    }

    /// Who it says it is, in whichever role.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        let handler = self.handler.as_ref().map(|handler| &handler.identity);
        let projection = self.projection.as_ref().map(|projection| &projection.identity);
        handler.or(projection).or(self.saga.as_ref().map(|saga| &saga.identity))
    }

    /// The roles that it has, as the contract calls them.
    #[must_use]
    pub fn roles(&self) -> Vec<&'static str> {
        let roles = [
            ("command-handler", self.handler.is_some()),
            ("projection", self.projection.is_some()),
            ("saga", self.saga.is_some()),
        ];
        roles.into_iter().filter(|(_, has)| *has).map(|(role, _)| role).collect()
    }
}

/// The components by plugin name, or why there is none.
pub type Inspections = BTreeMap<String, Result<Inspected, String>>;

/// Everything that is wrong with the components, as far as the configuration could be read.
#[must_use]
pub fn check(typed: &Typed, inspections: &Inspections) -> Vec<Problem> {
    let mut check = Check { typed, inspections, problems: Vec::new() };
    typed.plugins.iter().for_each(|plugin| check.plugin(plugin));
    typed.handlers.iter().for_each(|handler| check.handler(handler));
    typed.projections.iter().for_each(|projection| {
        check.role(projection.plugin.as_ref(), "projection", |i| i.projection.as_ref());
    });
    typed.sagas.iter().for_each(|saga| check.saga(saga));
    check.problems
}

struct Check<'a> {
    typed: &'a Typed,
    inspections: &'a Inspections,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn plugin(&mut self, plugin: &Plugin) {
        let name = plugin.name.value.as_str();
        let (Some(component), Some(inspection)) = (&plugin.component, self.inspections.get(name)) else {
            return;
        };
        match inspection {
            Err(cause) => {
                let title = format!("the plugin `{name}` cannot be used: {cause}");
                self.problems.push(Problem::new(component.span, title));
            }
            Ok(inspected) => {
                let pinned =
                    plugin.sha256.as_ref().filter(|pin| !inspected.digest.ends_with(pin.value.as_str()));
                self.problems.extend(pinned.map(|pin| {
                    Problem::new(pin.span, format!("the component of the plugin `{name}` has another digest"))
                        .help(format!("{} is {}", component.value.display(), inspected.digest))
                }));
            }
        }
    }

    /// What the plugin says of itself in a role that it needs to have.
    fn role<T>(
        &mut self,
        plugin: Option<&At<String>>,
        role: &str,
        descriptor: impl Fn(&'a Inspected) -> Option<&'a T>,
    ) -> Option<&'a T> {
        let plugin = plugin?;
        let inspected = self.inspections.get(&plugin.value)?.as_ref().ok()?;
        let found = descriptor(inspected);
        if found.is_none() {
            let title = format!("the plugin `{}` is no {role}", plugin.value);
            let label = match inspected.roles().as_slice() {
                [] => "it exports no role of the contract".to_owned(),
                roles => format!("it exports {}", roles.join(", ")),
            };
            let problem = Problem::new(plugin.span, title).label(label);
            let defined = self.typed.plugins.iter().find(|p| p.name.value.as_str() == plugin.value);
            let component = defined.and_then(|plugin| plugin.component.as_ref());
            self.problems.push(match component {
                Some(component) => problem.also(component.span, "its component"),
                None => problem,
            });
        }
        found
    }

    fn handler(&mut self, handler: &Handler) {
        let Some(descriptor) = self.role(handler.plugin.as_ref(), "command-handler", |i| i.handler.as_ref())
        else {
            return;
        };
        let plugin = handler.plugin.as_ref().map_or("", |plugin| plugin.value.as_str());
        for command in &handler.commands {
            let name = command.r#type.value.as_str();
            if !descriptor.commands.iter().any(|taken| taken == name) {
                let problem = Problem::new(
                    command.r#type.span,
                    format!("the plugin `{plugin}` takes no command `{name}`"),
                );
                let help = suggestion(name, descriptor.commands.iter().map(String::as_str));
                self.problems.push(problem.help_if(help));
            }
        }
        let of_plugin = |other: &&Handler| other.plugin.as_ref().is_some_and(|other| other.value == plugin);
        if self.typed.handlers.iter().find(of_plugin).is_none_or(|first| first.name.span != handler.name.span)
        {
            return; // the first handler of this plugin has said what follows
        }
        let configured = |command: &str| {
            let mut commands =
                self.typed.handlers.iter().filter(of_plugin).flat_map(|handler| &handler.commands);
            commands.any(|configured| configured.r#type.value.as_str() == command)
        };
        let idle: Vec<_> = descriptor.commands.iter().filter(|command| !configured(command)).collect();
        for command in idle {
            let title =
                format!("the plugin `{plugin}` takes the command `{command}`, which no handler is given");
            self.problems.push(Problem::new(handler.name.span, title).warning());
        }
    }

    fn saga(&mut self, saga: &Follower) {
        let Some(descriptor) = self.role(saga.plugin.as_ref(), "saga", |i| i.saga.as_ref()) else { return };
        let taken: Vec<_> =
            self.typed.handlers.iter().flat_map(|h| &h.commands).map(|c| c.r#type.value.as_str()).collect();
        let span = saga.plugin.as_ref().map_or(saga.name.span, |plugin| plugin.span);
        let needs = descriptor.needs;
        for (what, needed) in [("timers", needs.timers), ("the outcomes of its commands", needs.outcomes)] {
            if needed {
                let title =
                    format!("the saga `{}` needs {what}, which this host does not give yet", saga.name.value);
                let help = "a saga that runs today reacts to events alone; CHANGELOG.md lists what is missing, under known gaps";
                self.problems.push(Problem::new(span, title).help(help));
            }
        }
        for command in descriptor.commands.iter().filter(|command| !taken.contains(&command.as_str())) {
            let title = format!(
                "the saga `{}` sends the command `{command}`, which no handler takes",
                saga.name.value
            );
            self.problems.push(Problem::new(span, title).help_if(suggestion(command, taken.iter().copied())));
        }
    }
}

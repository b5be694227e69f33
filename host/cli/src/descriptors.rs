//! Checks the plugins' descriptors against the configuration: exported roles, commands taken and sent.
//!
//! Problems are reported at the place in the configuration that names the component or relies on it.

use std::collections::BTreeMap;

use pelton_core::command::ports::{HandlerDescriptor, HandlerPlugin};
use pelton_core::plugin::Identity;
use pelton_core::projection::ports::{ProjectionDescriptor, ProjectionPlugin};
use pelton_core::saga::ports::{SagaDescriptor, SagaPlugin};
use pelton_wasm::LoadedPlugin;

use crate::config::typed::{Handler, Plugin, Saga, Typed, TypedRole};
use crate::config::{At, PluginSource, Problem, suggestion};
use crate::role::Role;
use crate::terminal::one_line;

/// The descriptors of a component.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inspected {
    /// `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: String,
    /// Its descriptor as a `command-handler`.
    pub(crate) handler: Option<HandlerDescriptor>,
    /// Its descriptor as a `projection`.
    pub(crate) projection: Option<ProjectionDescriptor>,
    /// Its descriptor as a `saga`.
    pub(crate) saga: Option<SagaDescriptor>,
}

impl Inspected {
    /// The descriptors of a loaded component.
    #[must_use]
    pub(crate) fn of(plugin: &LoadedPlugin) -> Self {
        Self {
            digest: plugin.component_digest().to_owned(),
            handler: plugin.handler().map(|handler| handler.descriptor().clone()),
            projection: plugin.projection().map(|projection| projection.descriptor().clone()),
            saga: plugin.saga().map(|saga| saga.descriptor().clone()),
        }
    }

    /// Its name and version, from any of its descriptors.
    #[must_use]
    pub(crate) fn identity(&self) -> Option<&Identity> {
        let handler = self.handler.as_ref().map(|handler| &handler.identity);
        let projection = self.projection.as_ref().map(|projection| &projection.identity);
        handler.or(projection).or(self.saga.as_ref().map(|saga| &saga.identity))
    }

    /// Its roles by their names in the contract.
    #[must_use]
    pub(crate) fn roles(&self) -> Vec<&'static str> {
        Role::ALL.into_iter().filter(|role| self.has(*role)).map(Role::in_contract).collect()
    }

    /// Whether it takes commands of this type.
    #[must_use]
    pub(crate) fn takes(&self, command: &str) -> bool {
        self.handler.as_ref().is_some_and(|handler| handler.takes(command))
    }

    fn has(&self, role: Role) -> bool {
        match role {
            Role::Handler => self.handler.is_some(),
            Role::Projection => self.projection.is_some(),
            Role::Saga => self.saga.is_some(),
        }
    }
}

/// Why a component cannot be used.
#[derive(Debug, Clone)]
pub(crate) struct Unusable {
    pub(crate) cause: String,
    /// The file does not exist.
    pub(crate) is_missing: bool,
}

/// The component of each plugin, or why it cannot be used.
pub(crate) type Inspections = BTreeMap<String, Result<Inspected, Unusable>>;

/// All problems of the components, as far as the configuration could be read.
#[must_use]
pub(crate) fn compare(typed: &Typed, inspections: &Inspections) -> Vec<Problem> {
    let mut comparison = Comparison { typed, inspections, problems: Vec::new() };
    typed.plugins.iter().for_each(|plugin| comparison.plugin(plugin));
    typed.roles().for_each(|role| comparison.role(role));
    typed.handlers.iter().for_each(|handler| comparison.handler(handler));
    typed.sagas.iter().for_each(|saga| comparison.saga(saga));
    comparison.routes();
    comparison.problems
}

/// One or several commands as part of a sentence.
fn commands<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{}`", one_line(name))).collect();
    let noun = if names.len() == 1 { "command" } else { "commands" };
    format!("{noun} {}", names.join(", "))
}

struct Comparison<'a> {
    typed: &'a Typed,
    inspections: &'a Inspections,
    problems: Vec<Problem>,
}

impl<'a> Comparison<'a> {
    fn plugin(&mut self, plugin: &Plugin) {
        let name = plugin.name.value.as_str();
        let (Some(component), Some(inspection)) = (&plugin.component, self.inspections.get(name)) else {
            return;
        };
        match inspection {
            Err(Unusable { cause, is_missing }) => {
                let title = format!("the plugin `{name}` cannot be used: {}", one_line(cause));
                let how = is_missing.then(|| match &plugin.crate_dir {
                    Some(folder) => format!("`pelton build` makes it of the crate in {}", folder.display()),
                    None => format!(
                        "`pelton build` makes it, once [plugins.{name}] names the folder of its `crate`"
                    ),
                });
                self.problems.push(Problem::new(component.span, title).help_if(how));
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

    /// The component of a plugin, if it could be loaded.
    fn inspected(&self, plugin: Option<&At<String>>) -> Option<&'a Inspected> {
        self.inspections.get(&plugin?.value)?.as_ref().ok()
    }

    fn is_from_the_store(&self, plugin: &str) -> bool {
        let mut plugins = self.typed.plugins.iter();
        plugins.any(|known| known.name.value.as_str() == plugin && known.source == PluginSource::Store)
    }

    /// Checks that the plugin exports the role that it is used in.
    fn role(&mut self, used: TypedRole<'_>) {
        let (Some(plugin), Some(inspected)) = (used.plugin, self.inspected(used.plugin)) else { return };
        if inspected.has(used.role) {
            return;
        }
        let title = format!("the plugin `{}` is not a {}", plugin.value, used.role.in_contract());
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

    fn handler(&mut self, handler: &Handler) {
        let Some(descriptor) = self.inspected(handler.plugin.as_ref()).and_then(|i| i.handler.as_ref())
        else {
            return;
        };
        let plugin = handler.plugin.as_ref().map_or("", |plugin| plugin.value.as_str());
        for command in &handler.commands {
            let name = command.r#type.value.as_str();
            if !descriptor.takes(name) {
                let help = suggestion(name, descriptor.commands.iter().map(String::as_str));
                let span = command.r#type.span;
                let problem = match self.is_from_the_store(plugin) {
                    // A version with the command can only be activated where the configuration has it.
                    true => Problem::new(
                        span,
                        format!(
                            "this version of the plugin `{plugin}` takes no command `{name}`: clients are told \
                             that it is not served yet"
                        ),
                    )
                    .warning(),
                    false => Problem::new(span, format!("the plugin `{plugin}` takes no command `{name}`")),
                };
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
        if !idle.is_empty() {
            let title = format!(
                "the plugin `{plugin}` takes the {}, which no handler is given",
                commands(idle.iter().map(|command| command.as_str()))
            );
            self.problems.push(Problem::new(handler.name.span, title).warning());
        }
    }

    /// Commands that no client can send by a route of their own, and no saga sends. A configuration without any route is
    /// for clients that use NATS.
    fn routes(&mut self) {
        let Some(routed) = self.typed.routed_commands().filter(|routed| !routed.is_empty()) else { return };
        let sagas = self.typed.sagas.iter().map(|saga| {
            let inspected = self.inspected(saga.plugin.as_ref())?;
            inspected.saga.as_ref().map(|saga| &saga.commands)
        });
        // A saga that could not be read may send any command.
        let Some(sent) = sagas.collect::<Option<Vec<_>>>() else { return };
        let is_sent = |command: &str| {
            routed.contains(&command) || sent.iter().any(|sent| sent.iter().any(|sent| sent == command))
        };
        for handler in &self.typed.handlers {
            let of_handler = handler.commands.iter().map(|command| command.r#type.value.as_str());
            let unsent: Vec<&str> = of_handler.filter(|command| !is_sent(command)).collect();
            if !unsent.is_empty() {
                let title = format!(
                    "no route and no saga sends the {} of the handler `{}`",
                    commands(unsent.iter().copied()),
                    handler.name.value
                );
                let help = "add [[routes]]; without one, clients send it over NATS";
                self.problems.push(Problem::new(handler.name.span, title).help(help).warning());
            }
        }
    }

    fn saga(&mut self, saga: &Saga) {
        let Some(descriptor) = self.inspected(saga.plugin.as_ref()).and_then(|i| i.saga.as_ref()) else {
            return;
        };
        let taken: Vec<_> =
            self.typed.handlers.iter().flat_map(|h| &h.commands).map(|c| c.r#type.value.as_str()).collect();
        let span = saga.plugin.as_ref().map_or(saga.name.span, |plugin| plugin.span);
        for command in descriptor.commands.iter().filter(|command| !taken.contains(&command.as_str())) {
            let title = format!(
                "the saga `{}` sends the command `{}`, which no handler takes",
                saga.name.value,
                one_line(command)
            );
            self.problems.push(Problem::new(span, title).help_if(suggestion(command, taken.iter().copied())));
        }
    }
}

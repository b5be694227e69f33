//! Whether the things in the file fit together.

use std::collections::HashMap;

use pelton_core::intake::Intake;
use pelton_nats::subjects;

use super::problem::{At, Problem, Problems, Span, suggestion};
use super::typed::{Handler, Route, Stream, Typed};
use super::value;

pub(super) fn check(typed: &Typed, problems: &Problems) {
    Check { typed, problems }.all();
}

struct Check<'a> {
    typed: &'a Typed,
    problems: &'a Problems,
}

impl<'a> Check<'a> {
    fn all(&self) {
        let Typed { streams, handlers, projections, sagas, routes, .. } = self.typed;
        self.streams(streams);
        for (index, handler) in handlers.iter().enumerate() {
            self.plugin(handler.plugin.as_ref());
            self.handler_stream(handler);
            self.tokens(handler);
            handlers[..index].iter().for_each(|earlier| self.entities_apart(earlier, handler));
        }
        for follower in projections.iter().chain(sagas) {
            self.plugin(follower.plugin.as_ref());
            self.stream(follower.stream.as_ref());
        }
        self.names_apart();
        self.commands_apart();
        self.routes(routes);
        self.idle_plugins();
    }

    /// Every subject belongs to one stream, and none to Pelton.
    fn streams(&self, streams: &[Stream]) {
        let subjects: Vec<_> =
            streams.iter().flat_map(|s| s.subjects.iter().map(move |subject| (s, subject))).collect();
        for (index, (stream, subject)) in subjects.iter().enumerate() {
            if let Some(own) = subjects::RESERVED.iter().find(|own| value::overlap(own, &subject.value)) {
                let owner = if own.starts_with(['$', '_']) { "the server" } else { "Pelton" };
                let title = format!("the subject {:?} overlaps with {owner}'s own `{own}`", subject.value);
                self.problems.add(Problem::new(subject.span, title));
            } else if subject.value.starts_with('$') {
                let title =
                    format!("the subject {:?} begins with `$`, which is the server's own", subject.value);
                self.problems.add(Problem::new(subject.span, title));
            }
            for (other, earlier) in &subjects[..index] {
                if value::overlap(&earlier.value, &subject.value) {
                    let title = if stream.name.span == other.name.span {
                        format!("the subjects {:?} and {:?} overlap", earlier.value, subject.value)
                    } else {
                        format!(
                            "the subject {:?} of the stream `{}` overlaps with {:?} of the stream `{}`",
                            subject.value, stream.name.value, earlier.value, other.name.value
                        )
                    };
                    self.problems
                        .add(Problem::new(subject.span, title).also(earlier.span, "the other subject"));
                }
            }
        }
    }

    fn plugin(&self, name: Option<&At<String>>) {
        self.refer("plugin", name, &self.typed.known.plugins);
    }

    fn stream(&self, name: Option<&At<String>>) {
        self.refer("stream", name, &self.typed.known.streams);
    }

    /// A name that has to be one of those defined elsewhere.
    fn refer(&self, kind: &str, name: Option<&At<String>>, known: &[String]) {
        let Some(name) = name else { return };
        if !known.contains(&name.value) {
            let help = suggestion(&name.value, known.iter().map(String::as_str))
                .unwrap_or_else(|| format!("define it in [{kind}s.{}]", name.value));
            self.problems.add(
                Problem::new(name.span, format!("unknown {kind} `{}`", name.value)).help(help).from_absence(),
            );
        }
    }

    /// The stream takes in every event that the handler can emit.
    fn handler_stream(&self, handler: &Handler) {
        self.stream(handler.stream.as_ref());
        let (Some(entity), Some(typed)) = (&handler.entity, &handler.stream) else { return };
        let Some(stream) = self.typed.streams.iter().find(|s| s.name.value.as_str() == typed.value) else {
            return;
        };
        let events = subjects::template_pattern(&entity.value);
        if !stream.incomplete && !stream.subjects.iter().any(|subject| value::covers(&subject.value, &events))
        {
            let filter = subjects::template_filter(&entity.value);
            let title = format!(
                "the stream `{}` does not take in the events of the handler `{}`",
                typed.value, handler.name.value
            );
            let problem = Problem::new(entity.span, title).label(format!("its events lie at `{events}`"));
            let problem = stream
                .subjects
                .first()
                .map_or(problem.clone(), |first| problem.also(first.span, "the stream's subjects"));
            self.problems
                .add(problem.help(format!("add \"{filter}\" to the subjects of the stream")).from_absence());
        }
    }

    /// Each command supplies the tokens of the template, all of them and no others.
    fn tokens(&self, handler: &Handler) {
        let Some(entity) = &handler.entity else { return };
        let names: Vec<_> = entity.value.names().collect();
        for command in &handler.commands {
            let supplied = |name: &str| command.tokens.iter().any(|(token, _)| token.value == name);
            let missing: Vec<_> = names.iter().copied().filter(|name| !supplied(name)).collect();
            for (token, _) in &command.tokens {
                if !names.contains(&token.value.as_str()) {
                    let title = format!("the template of the handler has no `{{{}}}`", token.value);
                    let problem = Problem::new(token.span, title).also(entity.span, "the template");
                    self.problems.add(problem.help_if(suggestion(&token.value, missing.iter().copied())));
                }
            }
            for name in missing {
                let title =
                    format!("the command `{}` does not say where `{{{name}}}` is", command.r#type.value);
                let problem = Problem::new(command.r#type.span, title).also(entity.span, "the template");
                let help = format!("add {name} = \"/…\", a JSON pointer to its value in the command's data");
                self.problems.add(problem.help(help).from_absence());
            }
        }
    }

    /// No entity belongs to two handlers: each would append on what only it has seen.
    fn entities_apart(&self, earlier: &Handler, later: &Handler) {
        let (Some(one), Some(other)) = (&earlier.entity, &later.entity) else { return };
        if value::overlap(&subjects::template_filter(&one.value), &subjects::template_filter(&other.value)) {
            let (earlier, later) = (&earlier.name.value, &later.name.value);
            let title = format!("the entities of the handlers `{earlier}` and `{later}` overlap");
            let help = "give each handler a first token of its own";
            self.problems
                .add(Problem::new(other.span, title).also(one.span, "the other template").help(help));
        }
    }

    /// Consumers, dead letters and metrics are named after handlers, projections and sagas.
    fn names_apart(&self) {
        let Typed { handlers, projections, sagas, .. } = self.typed;
        let handlers = handlers.iter().map(|handler| ("handler", &handler.name));
        let projections = projections.iter().map(|projection| ("projection", &projection.name));
        let sagas = sagas.iter().map(|saga| ("saga", &saga.name));
        let mut names: Vec<_> = handlers.chain(projections).chain(sagas).collect();
        names.sort_by_key(|(_, name)| name.span);
        let mut taken: HashMap<&str, (&str, Span)> = HashMap::new();
        for (kind, name) in names {
            let text = name.value.as_str();
            if let Some((other, span)) = taken.get(text) {
                let title = format!("the {kind} `{text}` has the name of a {other}");
                let help = "consumers, dead letters and metrics go by this name; give each its own";
                self.problems
                    .add(Problem::new(name.span, title).also(*span, format!("the {other}")).help(help));
            } else {
                taken.insert(text, (kind, name.span));
            }
        }
    }

    /// A command has one handler.
    fn commands_apart(&self) {
        let mut commands: Vec<_> = self
            .typed
            .handlers
            .iter()
            .flat_map(|h| h.commands.iter().map(move |command| (h, &command.r#type)))
            .collect();
        commands.sort_by_key(|(_, command)| command.span);
        let mut taken: HashMap<&str, (&Handler, Span)> = HashMap::new();
        for (handler, command) in commands {
            let text = command.value.as_str();
            if let Some((other, span)) = taken.get(text) {
                let title = format!(
                    "the command `{text}` has two handlers, `{}` and `{}`",
                    other.name.value, handler.name.value
                );
                self.problems
                    .add(Problem::new(command.span, title).also(*span, "the other handler takes it here"));
            } else {
                taken.insert(text, (handler, command.span));
            }
        }
    }

    fn routes(&self, routes: &'a [Route]) {
        let commands =
            self.typed.handlers.iter().flat_map(|h| h.commands.iter().map(|c| c.r#type.value.as_str()));
        let mut taken: HashMap<(&str, &str), Span> = HashMap::new();
        for route in routes {
            if let Some(command) = &route.command
                && !commands.clone().any(|known| known == command.value)
            {
                let problem =
                    Problem::new(command.span, format!("no handler takes the command `{}`", command.value));
                self.problems
                    .add(problem.help_if(suggestion(&command.value, commands.clone())).from_absence());
            }
            self.example(route);
            let (Some(method), Some(path)) = (&route.method, &route.path) else { continue };
            if let Some(earlier) = taken.insert((method, &path.value), path.span) {
                let title = format!("{method} {} is routed twice", path.value);
                self.problems.add(Problem::new(path.span, title).also(earlier, "the first route"));
            }
        }
    }

    /// The example is data that a command could have: its entity can be found in it.
    fn example(&self, route: &Route) {
        let (Some(example), Some(command)) = (&route.example, &route.command) else { return };
        let handler = self
            .typed
            .handlers
            .iter()
            .find(|h| h.commands.iter().any(|c| c.r#type.value.as_str() == command.value));
        let routed = handler.and_then(|handler| handler.route(&command.value));
        // Without a route the command or its handler is wrong, which has been reported.
        let Some(routed) = routed else { return };
        let intake = Intake::new([(command.value.clone(), routed)].into());
        if let Err(error) = intake.entity(&command.value, example.value.as_bytes()) {
            self.problems.add(Problem::new(
                example.span,
                format!("the example is no data of `{}`: {error}", command.value),
            ));
        }
    }

    fn idle_plugins(&self) {
        let Typed { plugins, handlers, projections, sagas, .. } = self.typed;
        let used = handlers.iter().map(|handler| &handler.plugin);
        let used = used.chain(projections.iter().chain(sagas).map(|follower| &follower.plugin));
        // Where a use could not be read, it may have been of any plugin.
        let Some(used) = used.map(|name| Some(name.as_ref()?.value.as_str())).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        for plugin in plugins.iter().filter(|plugin| !used.contains(&plugin.name.value.as_str())) {
            let title = format!("no handler, projection or saga uses the plugin `{}`", plugin.name.value);
            self.problems.add(Problem::new(plugin.name.span, title).warning().from_absence());
        }
    }
}

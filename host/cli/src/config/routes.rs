//! `[[routes]]`: a command over HTTP.

use std::collections::HashMap;

use pelton_core::id::CommandType;
use pelton_core::intake::Intake;
use pelton_gateway::RouteError;

use super::text::key::{Key, Optional, Required, Table, Text};
use super::text::problem::{At, Problem, Problems, Span, suggestion};
use super::text::reader::Reader;
use super::typed::Typed;

static METHOD: Key<Text, Optional> = Key {
    name: "method",
    form: Text("`\"PUT\"`, `\"POST\"`, `\"PATCH\"` or `\"DELETE\"`"),
    default: Optional("`\"PUT\"`"),
    example: "\"POST\"",
    doc: "The method of the request.",
};
static PATH: Key<Text, Required> = Key {
    name: "path",
    form: Text("path"),
    default: Required("\"/…\""),
    example: "\"/mutation/book-room\"",
    doc: "The path of the request. A method and a path together send one command.",
};
static COMMAND: Key<Text, Required> = Key {
    name: "command",
    form: Text("command that a handler takes"),
    default: Required("\"…\", one that a handler takes"),
    example: "\"book-room\"",
    doc: "The type of the command.",
};
static EXAMPLE: Key<Text, Optional> = Key {
    name: "example",
    form: Text("JSON"),
    default: Optional("made from the entity's tokens"),
    example: "'{\"room\":{\"id\":1},\"date\":\"2022-12-12\"}'",
    doc: "Data of the command, for people who try it.",
};

pub(super) static TABLE: Table = Table {
    name: "routes",
    header: "[[routes]]",
    doc: "A command over HTTP. Every command can also be sent over NATS.",
    keys: &[&METHOD, &PATH, &COMMAND, &EXAMPLE],
    tables: &[],
    free: None,
};

/// The table as it was typed.
#[derive(Debug, Clone)]
pub(super) struct Route {
    method: Option<&'static str>,
    path: Option<At<String>>,
    pub(super) command: Option<At<String>>,
    example: Option<At<String>>,
}

/// The checked values.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// The route's method, path and command.
    pub route: pelton_gateway::Route,
    /// Example data for the command, as JSON. `None`: it is made from the entity's tokens.
    pub example: Option<String>,
}

impl Route {
    pub(super) fn read(table: &Reader<'_>) -> Self {
        let path = table.at(&PATH);
        let route = Self {
            method: match table.has(METHOD.name) {
                true => table.at(&METHOD).and_then(|method| checked_method(&method, table)),
                false => judge(None, "/any").ok().map(|route| route.method()),
            },
            path: path.and_then(|path| checked_path(path, table)),
            command: table.at(&COMMAND),
            example: table.at(&EXAMPLE),
        };
        table.finish();
        route
    }

    pub(super) fn used(&self) -> Option<RouteConfig> {
        let command = CommandType::new(&self.command.as_ref()?.value).ok()?;
        let route =
            pelton_gateway::Route::new(Some(self.method?), &self.path.as_ref()?.value, command).ok()?;
        Some(RouteConfig { route, example: self.example.as_ref().map(|example| example.value.clone()) })
    }
}

/// The gateway checks path and method. That check needs some command, so it gets a placeholder.
fn judge(method: Option<&str>, path: &str) -> Result<pelton_gateway::Route, RouteError> {
    pelton_gateway::Route::new(method, path, CommandType::new("any").expect("a token"))
}

fn checked_method(method: &At<String>, table: &Reader<'_>) -> Option<&'static str> {
    let judged = judge(Some(&method.value), "/any").map(|route| route.method());
    if judged.is_err() {
        let problem = Problem::new(method.span, format!("`method` cannot be {:?}", method.value));
        table.add(problem.help("it can be PUT, POST, PATCH or DELETE"));
    }
    judged.ok()
}

fn checked_path(path: At<String>, table: &Reader<'_>) -> Option<At<String>> {
    let Err(error) = judge(None, &path.value) else { return Some(path) };
    let slashed = format!("/{}", path.value.trim_matches('/'));
    let help = judge(None, &slashed).is_ok().then(|| format!("did you mean \"{slashed}\"?"));
    table.add(Problem::new(path.span, error.to_string()).help_if(help));
    None
}

/// Checks that a handler takes each route's command, and that no two routes are the same.
pub(super) fn check(typed: &Typed, problems: &Problems) {
    let commands = typed.handlers.iter().flat_map(|h| h.commands.iter().map(|c| c.r#type.value.as_str()));
    let mut taken: HashMap<(&str, &str), Span> = HashMap::new();
    for route in &typed.routes {
        if let Some(command) = &route.command
            && !commands.clone().any(|known| known == command.value)
        {
            let problem =
                Problem::new(command.span, format!("no handler takes the command `{}`", command.value));
            problems.add(problem.help_if(suggestion(&command.value, commands.clone())).from_absence());
        }
        check_example(typed, route, problems);
        let (Some(method), Some(path)) = (&route.method, &route.path) else { continue };
        if let Some(earlier) = taken.insert((method, &path.value), path.span) {
            let title = format!("{method} {} is routed twice", path.value);
            problems.add(Problem::new(path.span, title).also(earlier, "the first route"));
        }
    }
}

/// Checks that the entity's tokens can be found in the example.
fn check_example(typed: &Typed, route: &Route, problems: &Problems) {
    let (Some(example), Some(command)) = (&route.example, &route.command) else { return };
    let handler =
        typed.handlers.iter().find(|h| h.commands.iter().any(|c| c.r#type.value.as_str() == command.value));
    let routed = handler.and_then(|handler| handler.route(&command.value));
    // `None` means that the command or its handler is wrong, which has been reported.
    let Some(routed) = routed else { return };
    let intake = Intake::new([(command.value.clone(), routed)].into());
    if let Err(error) = intake.entity(&command.value, example.value.as_bytes()) {
        let title = format!("the example is not data of `{}`: {error}", command.value);
        problems.add(Problem::new(example.span, title));
    }
}

//! The paths that accept commands and the views that can be read, checked before the gateway serves.

use std::collections::BTreeSet;

use axum::routing::MethodFilter;
use pelton_core::id::{CommandType, Name};

/// The longest path of a route, in bytes.
const MAX_PATH_BYTES: usize = 256;

/// The gateway's own paths begin with one of these.
const RESERVED: [&str; 4] = ["commands", "views", "healthz", "readyz"];

/// A path that accepts commands of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    method: Method,
    path: String,
    command: CommandType,
}

/// The methods that may change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Method {
    Put,
    Post,
    Patch,
    Delete,
}

/// Why a route cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The method is not one that may change something.
    #[error("method {0:?} is not one of PUT, POST, PATCH and DELETE")]
    Method(String),
    /// The path is one that requests could write in several ways.
    #[error("path {path:?} {cause}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The path is the gateway's own.
    #[error("path {0:?} is the gateway's own: `/commands`, `/views`, `/healthz` and `/readyz` are taken")]
    Reserved(String),
    /// An earlier route has the same method and path.
    #[error("{method} {path} is already the route of command {command:?}")]
    Repeated {
        /// The index of the later route in the list, from 0.
        at: usize,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// The command type of the earlier route.
        command: CommandType,
    },
}

impl Route {
    /// A route for commands of this type. The default method is `PUT`; the path is literal.
    pub fn new(method: Option<&str>, path: &str, command: CommandType) -> Result<Self, RouteError> {
        let method = match method {
            None => Method::Put,
            Some(text) => Method::parse(text).ok_or_else(|| RouteError::Method(text.to_owned()))?,
        };
        check_path(path)?;
        Ok(Self { method, path: path.to_owned(), command })
    }

    /// The method, in capitals.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method.name()
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The type of the commands that the route accepts.
    #[must_use]
    pub fn command(&self) -> &CommandType {
        &self.command
    }

    pub(crate) fn filter(&self) -> MethodFilter {
        match self.method {
            Method::Put => MethodFilter::PUT,
            Method::Post => MethodFilter::POST,
            Method::Patch => MethodFilter::PATCH,
            Method::Delete => MethodFilter::DELETE,
        }
    }
}

impl Method {
    const ALL: [Self; 4] = [Self::Put, Self::Post, Self::Patch, Self::Delete];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(text))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Allows only characters that no client escapes or normalizes: the router compares paths as they were sent, and gives
/// braces a meaning of its own.
fn check_path(path: &str) -> Result<(), RouteError> {
    let bad = |cause: String| RouteError::Path { path: path.to_owned(), cause };
    let Some(segments) = path.strip_prefix('/') else {
        return Err(bad("does not begin with `/`".to_owned()));
    };
    if path.len() > MAX_PATH_BYTES {
        return Err(bad(format!("has {} bytes; at most {MAX_PATH_BYTES} are allowed", path.len())));
    }
    for segment in segments.split('/') {
        if segment.is_empty() {
            return Err(bad("has an empty segment: two slashes in a row, or one at the end".to_owned()));
        }
        if segment == "." || segment == ".." {
            return Err(bad(format!("has the segment `{segment}`, which clients remove")));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        if let Some(character) = segment.chars().find(|c| !plain(*c)) {
            return Err(bad(format!("contains {character:?}; use letters, digits, `-`, `.`, `_` and `~`")));
        }
    }
    if RESERVED.contains(&segments.split('/').next().unwrap_or_default()) {
        return Err(RouteError::Reserved(path.to_owned()));
    }
    Ok(())
}

/// All that a gateway serves under names from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    commands: Vec<Route>,
    views: BTreeSet<Name>,
}

impl Routes {
    /// Combines routes and views. The error has every route that repeats an earlier one.
    pub fn new(commands: Vec<Route>, views: impl IntoIterator<Item = Name>) -> Result<Self, Vec<RouteError>> {
        let repeated = |(at, route): (usize, &Route)| {
            let same = |other: &&Route| other.method == route.method && other.path == route.path;
            commands[..at].iter().find(same).map(|earlier| RouteError::Repeated {
                at,
                method: route.method(),
                path: route.path.clone(),
                command: earlier.command.clone(),
            })
        };
        let errors: Vec<RouteError> = commands.iter().enumerate().filter_map(repeated).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { commands, views: views.into_iter().collect() })
    }

    /// The paths that accept commands.
    #[must_use]
    pub fn commands(&self) -> &[Route] {
        &self.commands
    }

    /// The views that can be read.
    #[must_use]
    pub fn views(&self) -> &BTreeSet<Name> {
        &self.views
    }

    pub(crate) fn view(&self, name: &str) -> Option<&Name> {
        self.views.iter().find(|view| view.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str) -> CommandType {
        CommandType::new(name).unwrap()
    }

    #[test]
    fn what_is_wrong_with_a_route_is_said() {
        let long = format!("/{}", "x".repeat(256));
        for (method, path, part) in [
            (Some("GET"), "/a", "not one of PUT"),
            (Some(""), "/a", "not one of PUT"),
            (None, "a", "does not begin"),
            (None, "", "does not begin"),
            (None, "/", "empty segment"),
            (None, "/a/", "empty segment"),
            (None, "/a//b", "empty segment"),
            (None, "/a/../b", "clients remove"),
            (None, "/a/{id}", "contains '{'"),
            (None, "/a/:id", "contains ':'"),
            (None, "/a b", "contains ' '"),
            (None, "/a%20b", "contains '%'"),
            (None, "/größe", "contains 'ö'"),
            (None, &long, "has 257 bytes"),
            (None, "/healthz", "gateway's own"),
            (None, "/commands/x", "gateway's own"),
        ] {
            let error = Route::new(method, path, command("c")).unwrap_err().to_string();
            assert!(error.contains(part), "{method:?} {path}: {error}");
        }
        assert_eq!(Route::new(None, "/a", command("c")).unwrap().method(), "PUT");
        assert_eq!(Route::new(Some("post"), "/commandsx/a.b_~-1", command("c")).unwrap().method(), "POST");
    }

    #[test]
    fn a_method_and_path_lead_to_one_command() {
        let route = |method, name| Route::new(Some(method), "/a", command(name)).unwrap();
        let errors =
            Routes::new(vec![route("PUT", "c"), route("POST", "d"), route("PUT", "e")], []).unwrap_err();
        let [error @ RouteError::Repeated { at: 2, .. }] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.to_string(), "PUT /a is already the route of command \"c\"");
    }
}

//! Cases, as somebody writes them: TOML files.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The cases of one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaseFile {
    /// Where it was read.
    #[serde(skip)]
    pub path: PathBuf,
    /// The entity of cases that name none.
    #[serde(default)]
    pub entity: Option<String>,
    /// The cases.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
}

/// Given events, an input, and what follows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The entity of a handler's case, as its id reads.
    #[serde(default)]
    pub entity: Option<String>,
    /// What happened before, in order.
    #[serde(default)]
    pub given: Vec<GivenEvent>,
    /// What is asked of a handler, or happens to a saga. A projection has nothing.
    #[serde(default)]
    pub when: Option<When>,
    /// What follows.
    #[serde(default)]
    pub then: Then,
}

/// An event that happened.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GivenEvent {
    /// Its type.
    pub event: String,
    /// The version of its type.
    #[serde(default = "one")]
    pub version: u32,
    /// The entity that it happened to, where it is not that of the case.
    #[serde(default)]
    pub entity: Option<String>,
    /// Its data.
    #[serde(default)]
    pub data: Value,
}

fn one() -> u32 {
    1
}

/// The input of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum When {
    /// A command, for a handler.
    Command(GivenCommand),
    /// An event, for a saga.
    Event(GivenEvent),
}

/// A command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GivenCommand {
    /// Its type.
    pub command: String,
    /// Its data.
    #[serde(default)]
    pub data: Value,
}

/// What follows. What is left out is not looked at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Then {
    /// Exactly these events, in order.
    #[serde(default)]
    pub events: Option<Vec<ExpectedEvent>>,
    /// A rejection with this code.
    #[serde(default)]
    pub rejection: Option<String>,
    /// The whole view: each key with its value.
    #[serde(default)]
    pub views: Option<serde_json::Map<String, Value>>,
    /// Exactly these commands of a saga, in order.
    #[serde(default)]
    pub commands: Option<Vec<GivenCommand>>,
}

/// An event that is expected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedEvent {
    /// Its type.
    pub event: String,
    /// The version of its type.
    #[serde(default = "one")]
    pub version: u32,
    /// Its data; none: any.
    #[serde(default)]
    pub data: Option<Value>,
}

/// A file of cases that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MalformedCases {
    /// The file is not there, or may not be read.
    #[error("{}: {cause}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not what a file of cases is.
    #[error("{}:{line}:{column}: {what}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The place, from 1.
        line: usize,
        /// The place, from 1.
        column: usize,
        /// What is wrong.
        what: String,
    },
}

impl CaseFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not a file of cases; the error has the place.
    pub fn read(path: &Path) -> Result<Self, MalformedCases> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| MalformedCases::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(path, &text)
    }

    /// Reads this text of a file.
    ///
    /// # Errors
    ///
    /// As for [`CaseFile::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, MalformedCases> {
        match toml::from_str::<Self>(text) {
            Ok(file) => Ok(Self { path: path.to_owned(), ..file }),
            Err(error) => {
                let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                Err(MalformedCases::Malformed {
                    path: path.to_owned(),
                    line: before.matches('\n').count() + 1,
                    column: before[line_start..].chars().count() + 1,
                    what: error.message().to_owned(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let text = "[[case]]\nname = \"a\"\ngiven = [{ evnt = \"x\" }]\n";
        let error = CaseFile::parse(Path::new("cases/a.toml"), text).unwrap_err().to_string();
        assert!(error.starts_with("cases/a.toml:3:12: unknown field `evnt`"), "{error}");
    }
}

//! Cases, as somebody writes them: files in TOML or YAML.
//!
//! [`form`] says what may stand in a file, once: the reader checks against it, and the published JSON Schema and the
//! reference page are made from it.

mod check;
pub(crate) mod form;
mod schema;
mod toml;
mod tree;
mod values;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pelton_core::time::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use schema::schema;
pub(crate) use values::parse_duration;

/// The cases of one file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaseFile {
    /// The file's path.
    #[serde(skip)]
    pub path: PathBuf,
    /// Its text.
    #[serde(skip)]
    pub text: String,
    /// The entity of cases that name none.
    #[serde(default)]
    pub entity: Option<String>,
    /// What no case uses, each with the reason.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// The cases.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
}

/// Something that the plugin declares and no case uses.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LeftOut {
    /// A command.
    #[serde(default)]
    pub command: Option<String>,
    /// An event.
    #[serde(default)]
    pub event: Option<String>,
    /// The event's version.
    #[serde(default = "one")]
    pub version: u32,
    /// The code of a rejection.
    #[serde(default)]
    pub rejection: Option<String>,
    /// A timer.
    #[serde(default)]
    pub timer: Option<String>,
    /// Why no case uses it.
    pub reason: String,
}

/// A case: given events, an input and the expected result, or several such steps.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// The case's name.
    pub name: String,
    /// The entity's id. `None` means the file's entity.
    #[serde(default)]
    pub entity: Option<String>,
    /// The events before the input, in order.
    #[serde(default)]
    pub given: Vec<GivenEvent>,
    /// How much time passes between the given events and the input.
    #[serde(default)]
    pub after: Option<Span>,
    /// The input.
    #[serde(default)]
    pub when: Option<When>,
    /// The expected result.
    #[serde(default)]
    pub then: Option<Then>,
    /// The next steps, in order.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

/// One step of a case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// How much time passes before the input.
    #[serde(default)]
    pub after: Option<Span>,
    /// The input. If `None`, only time passes.
    #[serde(default)]
    pub when: Option<When>,
    /// The expected result.
    #[serde(default)]
    pub then: Then,
}

impl Case {
    /// All steps. The case's own `when` and `then` are the first.
    pub(crate) fn all_steps(&self) -> Vec<Step> {
        let own =
            Step { after: self.after, when: self.when.clone(), then: self.then.clone().unwrap_or_default() };
        let has_own = self.when.is_some() || self.then.is_some() || self.steps.is_empty();
        has_own.then_some(own).into_iter().chain(self.steps.iter().cloned()).collect()
    }
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
    /// The entity that it happened to. `None` means the case's entity.
    #[serde(default)]
    pub entity: Option<String>,
    /// When it happened. `None` means the case's current time.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// CloudEvents extensions that are added to it.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Its data.
    #[serde(default)]
    pub data: Value,
}

fn one() -> u32 {
    1
}

/// The input of a step.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum When {
    /// A command, for a handler.
    Command(GivenCommand),
    /// An event, for a projection or a saga.
    Event(GivenEvent),
    /// A timer that a saga has set goes off.
    Timer(GivenTimer),
    /// A command that a saga has sent has ended.
    Outcome(GivenOutcome),
}

/// A command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GivenCommand {
    /// Its type.
    pub command: String,
    /// The sender, whom the host vouches for.
    #[serde(default)]
    pub principal: Option<String>,
    /// The sender's metadata.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Its data.
    #[serde(default)]
    pub data: Value,
}

/// A timer that goes off.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GivenTimer {
    /// Its id or its type.
    pub timer: String,
}

/// How a command of a saga has ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GivenOutcome {
    /// The command's reference or its type.
    pub outcome: String,
    /// How it ended.
    pub result: Ended,
    /// The code of its rejection.
    #[serde(default)]
    pub code: Option<String>,
    /// The message of its rejection, or the cause of its failure.
    #[serde(default)]
    pub message: Option<String>,
    /// The details of its rejection.
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It took effect.
    Accepted,
    /// A rule forbids it.
    Rejected,
    /// It is a dead letter.
    SetAside,
    /// It was given up.
    Failed,
}

/// The expected result. A missing key is not checked, but a rejection without `rejection` is a difference.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Then {
    /// Exactly these events, in order.
    #[serde(default)]
    pub events: Option<Vec<ExpectedEvent>>,
    /// A rejection.
    #[serde(default)]
    pub rejection: Option<ExpectedRejection>,
    /// The whole view: each key with its value.
    #[serde(default)]
    pub views: Option<Map<String, Value>>,
    /// Exactly these commands of a saga, in order.
    #[serde(default)]
    pub commands: Option<Vec<ExpectedCommand>>,
    /// Exactly these timers are set, in the order of their ids.
    #[serde(default)]
    pub timers: Option<Vec<ExpectedTimer>>,
    /// The states of a saga's instances: each id with its state.
    #[serde(default)]
    pub instances: Option<Map<String, Value>>,
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
    /// Its data. `None` accepts any.
    #[serde(default)]
    pub data: Option<Value>,
}

/// A rejection that is expected: its code, or more of it.
#[derive(Debug, Clone)]
pub struct ExpectedRejection {
    /// Its code.
    pub code: String,
    /// Its message. `None` accepts any.
    pub message: Option<Value>,
    /// Its details. `None` accepts any.
    pub details: Option<Map<String, Value>>,
}

impl<'de> Deserialize<'de> for ExpectedRejection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Code(String),
            More {
                code: String,
                #[serde(default)]
                message: Option<Value>,
                #[serde(default)]
                details: Option<Map<String, Value>>,
            },
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Code(code) => Self { code, message: None, details: None },
            Written::More { code, message, details } => Self { code, message, details },
        })
    }
}

/// A command of a saga that is expected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedCommand {
    /// Its type.
    pub command: String,
    /// Its reference. `None` accepts any.
    #[serde(default)]
    pub reference: Option<String>,
    /// Its data. `None` accepts any.
    #[serde(default)]
    pub data: Option<Value>,
}

/// A timer that is expected to be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedTimer {
    /// Its type.
    pub timer: String,
    /// Its id. `None` accepts any.
    #[serde(default)]
    pub id: Option<String>,
    /// How long after the step's time it is due. `None` accepts any time.
    #[serde(default, rename = "in")]
    pub due_in: Option<Span>,
    /// When it is due. `None` accepts any time.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Its data. `None` accepts any.
    #[serde(default)]
    pub data: Option<Value>,
}

/// An amount of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A file of cases that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MalformedCases {
    /// The file is missing, or cannot be read.
    #[error("{}: {cause}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The text is not a file of cases.
    #[error("{}", lines(.path, .mistakes))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// All mistakes, in the order of their places.
        mistakes: Vec<Mistake>,
    },
}

fn lines(path: &Path, mistakes: &[Mistake]) -> String {
    let lines = mistakes.iter().map(|mistake| format!("{}:{mistake}", path.display()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The most mistakes of a file that are told.
const MOST_MISTAKES: usize = 50;

/// The language of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Toml,
    Yaml,
}

impl Language {
    /// By the end of its name; TOML, if that says nothing.
    fn of(path: &Path) -> Self {
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Toml,
        }
    }
}

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The place, from 1.
    pub line: usize,
    /// The place, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

impl Mistake {
    fn new(at: tree::Place, what: String) -> Self {
        Self { line: at.line, column: at.column, what }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, what } = self;
        write!(f, "{line}:{column}: {what}")
    }
}

impl CaseFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a file of cases. The error lists the mistakes with their places.
    pub fn read(path: &Path) -> Result<Self, MalformedCases> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| MalformedCases::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// As for [`CaseFile::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, MalformedCases> {
        match Self::of(text, Language::of(path)) {
            Ok(file) => Ok(Self { path: path.to_owned(), ..file }),
            Err(mut mistakes) => {
                mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
                mistakes.truncate(MOST_MISTAKES);
                Err(MalformedCases::Malformed { path: path.to_owned(), mistakes })
            }
        }
    }

    fn of(text: &str, language: Language) -> Result<Self, Vec<Mistake>> {
        let tree = match language {
            Language::Toml => toml::read(text)?,
            Language::Yaml => yaml::read(text)?,
        };
        let mistakes = check::mistakes(&tree);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let file: Self = serde_json::from_value(tree.into_json())
            .map_err(|error| vec![Mistake::new(tree::Place::START, error.to_string())])?;
        Ok(Self { text: text.to_owned(), ..file })
    }

    /// Whether files of this name are read as cases.
    #[must_use]
    pub fn is_named(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "toml") || Language::of(path) == Language::Yaml
    }

    pub(crate) fn is_yaml(&self) -> bool {
        Language::of(&self.path) == Language::Yaml
    }
}

//! The kinds of failure, divided by what the caller does next.

use std::process::ExitCode;

use crate::config::Report;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The configuration or a component is wrong.
    Configuration(Box<Report>),
    /// A named file cannot be used at all, so the error has no line and column.
    Unusable(anyhow::Error),
    /// The run failed. Another try may succeed.
    Run(anyhow::Error),
    /// The tested plugin failed a rule or a case. The report has been printed.
    Verdict,
}

impl Failure {
    /// The exit code. `pelton --help` lists all codes.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Configuration(_) | Self::Unusable(_) => 3,
            Self::Run(_) => 4,
            Self::Verdict => 1,
        })
    }

    /// The message for people.
    #[must_use]
    pub(crate) fn render(&self, colour: bool) -> String {
        match self {
            Self::Usage(what) => format!("error: {what}\n"),
            Self::Configuration(report) => report.render(colour),
            Self::Unusable(error) | Self::Run(error) => format!("error: {error:#}\n"),
            Self::Verdict => String::new(),
        }
    }
}

//! How a command ends when it does not end well, told apart by what its caller does next.

use std::process::ExitCode;

use crate::config::Report;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line has to change.
    Usage(String),
    /// The configuration or a component has to change.
    Configuration(Box<Report>),
    /// A file that was named cannot be used at all, so there is no place in it to point at.
    Unusable(anyhow::Error),
    /// The run failed; another try may work.
    Run(anyhow::Error),
    /// What was tested does not keep a rule or a case, as has been said.
    Verdict,
}

impl Failure {
    /// What a script sees; `pelton --help` lists the codes.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Configuration(_) | Self::Unusable(_) => 3,
            Self::Run(_) => 4,
            Self::Verdict => 1,
        })
    }

    /// What a person sees.
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

//! `pelton record`

use std::path::PathBuf;

use clap::Args;

use super::common::ServerArgs;

/// `pelton record`
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The event stream, as the configuration names it
    #[arg(value_name = "STREAM")]
    pub(crate) stream: String,
    /// Record only the entity whose subjects begin so, such as `book.emma`
    #[arg(long, value_name = "ENTITY")]
    pub(crate) entity: Option<String>,
    /// Replace the values at this JSON pointer in the data of events and commands; equal ones stay equal; may be given
    /// several times
    #[arg(long = "redact", value_name = "POINTER")]
    pub(crate) redact: Vec<String>,
    /// The file for the recording; without it, STREAM.recording
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

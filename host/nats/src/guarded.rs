//! Writes that are made only if the last message of their subject is still the expected one.

use async_nats::HeaderMap;
use pelton_core::ports::CommitError;

use crate::wire::{PublishError, header};

/// The headers of a message that is stored only if its subject's last message is at this sequence (0: there is none).
pub(crate) fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, revision.to_string());
    headers
}

/// Has a command stored only if none with its id waits to be decided. The filter is for all types, the same string
/// everywhere: replicas check expectations by it.
pub(crate) fn expect_no_command(headers: &mut HeaderMap, id: &str) {
    headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, "0");
    headers.insert(header::EXPECTED_SUBJECT, format!("command.*.{id}"));
}

impl From<PublishError> for CommitError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::WrongSequence(_) => Self::Conflict,
            PublishError::Unclear(away) => Self::Unclear(away),
            PublishError::NotNow(_) => Self::Unclear(pelton_core::ports::Unavailable {
                doing: "a guarded write".to_owned(),
                cause: error.to_string(),
            }),
            PublishError::SubjectFull(_) | PublishError::TooLarge(_) | PublishError::Refused(_) => {
                Self::Refused(error.to_string())
            }
        }
    }
}

//! An operator's actions on dead letters: retry and drop.
//!
//! Every step can be repeated: after an interruption the action starts anew and finds what was done. A retried command
//! keeps its id, so it takes effect once, whatever the number of retries and of operators.

use std::time::Duration;

use async_nats::HeaderMap;
use pelton_core::command::outcome::{Answer, Outcome};
use pelton_core::command::report::{report_of, report_of_unreadable};
use pelton_core::dead_letter::{DeadLetterKind, RETRY_OF, RETRY_SUFFIX, first_subject};
use pelton_core::id::Sequence;
use pelton_core::message::{Command, Headers, Incoming};
use pelton_core::outcomes::{CommandReport, CommandResult};
use pelton_core::store::Unavailable;
use tokio::time::Instant;

use super::queue::{self, Queue};
use super::requests;
use super::{Happening, KeptDeadLetter, described, journal, read};
use crate::commands::{Commands, log};
use crate::connection::Nats;
use crate::sagas::outcomes;
use crate::subjects::{self, ALL_DEAD_LETTERS, COMMANDS, DEAD_LETTERS};
use crate::wire::{self, PublishError, header_bytes};

/// The wait before the second check of a retried message. It doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The longest such wait.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Works on dead letters in an operator's name.
#[derive(Debug)]
pub struct Operator {
    nats: Nats,
    commands: Commands,
    /// Whether the streams have more than one replica, so that a replica that is behind may answer a read.
    replicated: bool,
    by: String,
    patience: Duration,
}

/// The result of a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// The message was processed, now or before, and the dead letter is removed. Holds the name of the command's
    /// outcome.
    Settled(String),
    /// It failed again, for this cause. The dead letter stays.
    Failed(String),
    /// Another dead letter comes first: this one, or that of an event which shares another key. The dead letter stays.
    Waits(Option<Sequence>),
    /// There is no result within the operator's patience. The dead letter stays, and the message waits for a host: it
    /// may still be processed.
    Unanswered,
    /// It cannot be retried, for this reason. Nothing was done.
    Impossible(String),
    /// The dead letter does not exist any more.
    Gone,
}

impl Operator {
    /// An operator of this name, who waits up to `patience` for a retried command to end.
    #[must_use]
    pub fn new(nats: &Nats, commands: Commands, replicated: bool, by: String, patience: Duration) -> Self {
        Self { nats: nats.clone(), commands, replicated, by, patience }
    }

    /// Retries the message in a dead letter. The dead letter is removed when that has succeeded.
    pub async fn retry(&self, dead_letter: &KeptDeadLetter) -> Result<Retried, Unavailable> {
        if wire::leader_at(&self.nats, DEAD_LETTERS, dead_letter.sequence).await?.is_none() {
            return self.gone(dead_letter).await;
        }
        match dead_letter.dead_letter.message.stream.as_str() {
            COMMANDS => self.retry_command(dead_letter).await,
            _ => self.retry_event(dead_letter).await,
        }
    }

    /// Retries a command. Its dead letter is removed once the command has ended without failing.
    async fn retry_command(&self, dead_letter: &KeptDeadLetter) -> Result<Retried, Unavailable> {
        if let Some(first) = self.first(dead_letter).await?
            && dead_letter.dead_letter.kind == DeadLetterKind::Parked
            && first != dead_letter.sequence
        {
            return Ok(Retried::Waits(Some(first)));
        }
        let Some(whole) = read(&self.nats, dead_letter.sequence).await? else {
            queue::remove(&self.nats, dead_letter).await?;
            return Ok(Retried::Gone);
        };
        let command = match self.commands.decode(&whole.dead_letter.message) {
            Ok(command) => command,
            Err(why) => return Ok(Retried::Impossible(why)),
        };
        if let Some(ended) = self.ended(&command).await? {
            return self.settle(dead_letter, ended).await;
        }
        let headers = match self.headers(&whole) {
            Ok(headers) => headers,
            Err(why) => return Ok(Retried::Impossible(why)),
        };
        journal::note(&self.nats, dead_letter, Happening::Retried { by: self.by.clone() }).await?;
        let sent = self.publish(&whole, headers).await?;
        self.outcome(dead_letter, &command, sent).await
    }

    /// Retries an event, which the host that runs the projection or saga does.
    async fn retry_event(&self, dead_letter: &KeptDeadLetter) -> Result<Retried, Unavailable> {
        let Some(key) = &dead_letter.dead_letter.key else {
            let why = "nothing waits behind it: its keys or instance went on without it";
            return Ok(Retried::Impossible(why.to_owned()));
        };
        journal::note(&self.nats, dead_letter, Happening::Retried { by: self.by.clone() }).await?;
        let before = journal(&self.nats, dead_letter.sequence, self.replicated).await?.len();
        if !self.ask(&dead_letter.dead_letter.consumer, key).await? {
            return Ok(Retried::Unanswered);
        }
        if wire::leader_at(&self.nats, DEAD_LETTERS, dead_letter.sequence).await?.is_none() {
            return self.gone(dead_letter).await;
        }
        let since =
            journal(&self.nats, dead_letter.sequence, self.replicated).await?.into_iter().skip(before);
        let mut again = since.filter_map(|entry| match entry.what {
            Happening::FailedAgain { cause } => Some(cause),
            _ => None,
        });
        Ok(match (again.next_back(), self.first(dead_letter).await?) {
            (Some(cause), _) => Retried::Failed(cause),
            (None, first) => Retried::Waits(first.filter(|first| *first != dead_letter.sequence)),
        })
    }

    /// Asks a projection or saga to retry the dead letters of a key. Returns whether it has done so within the operator's
    /// patience, all of it after this call. If not, a request stays for the next host, or a host still works on one.
    pub async fn ask(&self, consumer: &str, key: &str) -> Result<bool, Unavailable> {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        // A host that works on another request may be past this dead letter, so this waits for that request and then
        // makes a new one.
        let mut made = requests::make(&self.nats, consumer, key).await?;
        loop {
            if let Some(at) = made
                && !requests::is_open(&self.nats, at).await?
            {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
            if made.is_none() {
                made = requests::make(&self.nats, consumer, key).await?;
            }
        }
    }

    /// The result for a dead letter that does not exist any more.
    async fn gone(&self, dead_letter: &KeptDeadLetter) -> Result<Retried, Unavailable> {
        // This is not always the last entry: a retry may have been noted after it was settled.
        let journal = journal(&self.nats, dead_letter.sequence, self.replicated).await?;
        let settled = journal.into_iter().find_map(|entry| match entry.what {
            Happening::Settled { outcome } => Some(outcome),
            _ => None,
        });
        Ok(settled.map_or(Retried::Gone, Retried::Settled))
    }

    /// Drops a dead letter, and notes the reason in the audit stream. A command that had not ended is marked as failed. A
    /// command that has ended without failing cannot be dropped any more: its dead letter is removed as after a retry, and
    /// the answer is the name of its outcome.
    pub async fn drop(
        &self,
        dead_letter: &KeptDeadLetter,
        reason: &str,
    ) -> Result<Option<&'static str>, Unavailable> {
        let what = Happening::Dropped { by: self.by.clone(), reason: reason.to_owned() };
        if dead_letter.dead_letter.message.stream.as_str() == COMMANDS
            && let Some(whole) = read(&self.nats, dead_letter.sequence).await?
        {
            let cause = format!("dropped by {}: {reason}", self.by);
            let given_up = match self.commands.decode(&whole.dead_letter.message) {
                Ok(command) => {
                    let record = self.commands.give_up(&whole.dead_letter, &command, &cause).await?;
                    if let Some(ended) = unfailed(&record.outcome) {
                        self.settle(dead_letter, ended).await?;
                        return Ok(Some(ended));
                    }
                    report_of(&command, &Answer::Ended(record))
                }
                Err(_) => report_of_unreadable(&whole.dead_letter.message, &cause),
            };
            if let Some(report) = given_up {
                let report = CommandReport { result: CommandResult::Failed(cause), ..report };
                outcomes::report(&self.nats, &report).await?;
            }
        }
        journal::note(&self.nats, dead_letter, what).await?;
        queue::remove(&self.nats, dead_letter).await?;
        Ok(None)
    }

    /// The next dead letter after this one that waits for the same entity.
    pub async fn next(&self, after: &KeptDeadLetter) -> Result<Option<KeptDeadLetter>, Unavailable> {
        let Some(key) = &after.dead_letter.key else { return Ok(None) };
        let from = Sequence(after.sequence.0 + 1);
        match Queue::of(&after.dead_letter.consumer, key).next(&self.nats, from).await? {
            Some(message) => described(message),
            None => Ok(None),
        }
    }

    /// The position of the last dead letter.
    pub async fn end(&self) -> Result<Sequence, Unavailable> {
        let last = wire::leader_last(&self.nats, DEAD_LETTERS, ALL_DEAD_LETTERS).await?;
        Ok(last.map_or(Sequence::NONE, |last| last.sequence))
    }

    async fn first(&self, dead_letter: &KeptDeadLetter) -> Result<Option<Sequence>, Unavailable> {
        let Some(key) = &dead_letter.dead_letter.key else { return Ok(None) };
        let first = Queue::of(&dead_letter.dead_letter.consumer, key).first(&self.nats).await?;
        Ok(first.map(|first| first.sequence))
    }

    /// The name of the command's outcome, if it has ended and did not fail.
    async fn ended(&self, command: &Command) -> Result<Option<&'static str>, Unavailable> {
        Ok(self.commands.end_of(command).await?.and_then(|record| unfailed(&record.outcome)))
    }

    /// The headers of a retry: those of the message, and the mark. The error says why it cannot be sent.
    fn headers(&self, whole: &KeptDeadLetter) -> Result<HeaderMap, String> {
        let message = &whole.dead_letter.message;
        let forged = |name: &str| name.eq_ignore_ascii_case(RETRY_OF);
        let mut headers: Headers =
            message.headers.iter().filter(|(name, _)| !forged(name)).map(owned).collect();
        headers.push(RETRY_OF, whole.sequence.to_string());
        let headers = wire::to_wire(&headers).map_err(|bad| bad.to_string())?;
        let bytes = header_bytes(&headers) + message.payload.len();
        let max_bytes = self.nats.client().max_payload();
        if bytes > max_bytes {
            return Err(format!(
                "it has {bytes} bytes with the mark of a retry; the server takes {max_bytes}"
            ));
        }
        Ok(headers)
    }

    /// Logs the command once more, in place of an earlier retry. Returns its place.
    async fn publish(&self, whole: &KeptDeadLetter, headers: HeaderMap) -> Result<Sequence, Unavailable> {
        let Incoming { subject, payload, .. } = &whole.dead_letter.message;
        let first = first_subject(subject);
        let mut subject = format!("{first}{RETRY_SUFFIX}");
        loop {
            match wire::publish(&self.nats, &subject, headers.clone(), payload.clone()).await {
                Ok(ack) => return Ok(Sequence(ack.sequence)),
                Err(PublishError::SubjectFull(_)) => {}
                Err(PublishError::NobodyTakes(away)) => match self.present_subject(first, payload).await? {
                    Some(present) if present != subject => {
                        subject = present;
                        continue;
                    }
                    _ => return Err(away),
                },
                Err(PublishError::Unclear(away)) => return Err(away),
                Err(error) => {
                    let doing = format!("publishing to {subject}");
                    return Err(Unavailable { doing, cause: error.to_string() });
                }
            }
            // Whoever has it in hand still ends it, and whoever ends it first counts.
            if let Some(earlier) = wire::leader_last(&self.nats, COMMANDS, &subject).await? {
                wire::delete(&self.nats, COMMANDS, earlier.sequence).await?;
            }
        }
    }

    /// Where the log takes a retry of the command that was logged at this subject, before the number of partitions changed.
    async fn present_subject(&self, first: &str, data: &[u8]) -> Result<Option<String>, Unavailable> {
        let Some(r#type) = subjects::type_of_command(first) else { return Ok(None) };
        let Some(partitions) = log::partitions(&self.nats, r#type).await? else { return Ok(None) };
        let partition = self.commands.intake().partition(partitions, r#type, data);
        Ok(subjects::in_partition(first, partition).map(|subject| subject + RETRY_SUFFIX))
    }

    /// Waits for the end of the command that was logged here.
    async fn outcome(
        &self,
        dead_letter: &KeptDeadLetter,
        command: &Command,
        sent: Sequence,
    ) -> Result<Retried, Unavailable> {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(ended) = self.ended(command).await? {
                return self.settle(dead_letter, ended).await;
            }
            if let Some(cause) = journal::failed_again(&self.nats, dead_letter, sent).await? {
                return Ok(Retried::Failed(cause));
            }
            if Instant::now() >= deadline {
                return Ok(match self.first(dead_letter).await? {
                    Some(first) if first != dead_letter.sequence => Retried::Waits(Some(first)),
                    _ => Retried::Unanswered,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn settle(
        &self,
        dead_letter: &KeptDeadLetter,
        outcome: &'static str,
    ) -> Result<Retried, Unavailable> {
        let what = Happening::Settled { outcome: outcome.to_owned() };
        journal::note(&self.nats, dead_letter, what).await?;
        queue::remove(&self.nats, dead_letter).await?;
        Ok(Retried::Settled(outcome.to_owned()))
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The name of an outcome, unless the command failed.
fn unfailed(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Accepted { .. } => Some("accepted"),
        Outcome::Rejected { .. } => Some("rejected"),
        Outcome::Failed { .. } => None,
    }
}

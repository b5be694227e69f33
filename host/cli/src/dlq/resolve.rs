//! `pelton dlq retry` and `pelton dlq drop`. The dead letters of one key are resolved in order.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::anyhow;
use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::Sequence;
use pelton_core::store::Unavailable;
use pelton_nats::dead_letters::{KeptDeadLetter, Operator, Retried};
use serde_json::{Value, json};

use super::causes::short;
use super::client::{DlqClient, run_failed};
use super::output::{Output, described};
use crate::args::dlq::{DropArgs, RetryArgs};
use crate::exit::Failure;
use crate::operator;
use crate::terminal::{one_line, say};

/// The time that a drop waits for the view to continue.
const VIEW_WAIT: Duration = Duration::from_secs(10);

/// The result for one dead letter.
pub(super) struct Done {
    /// The result in one word, for programs.
    result: &'static str,
    /// Details, for people.
    pub(super) detail: String,
    /// Whether the dead letter is removed, or would be in a dry run.
    pub(super) settled: bool,
}

impl Done {
    fn new(result: &'static str, detail: impl Into<String>, settled: bool) -> Self {
        Self { result, detail: detail.into(), settled }
    }
}

/// Where results go.
pub(super) trait Results {
    /// Takes one.
    fn add(&mut self, kept: &KeptDeadLetter, done: &Done);
}

/// Counts results and writes them.
struct Report {
    output: Output,
    dead_letters: usize,
    left: usize,
}

impl Report {
    fn new(output: Output) -> Self {
        Self { output, dead_letters: 0, left: 0 }
    }

    fn finish(self) -> Result<(), Failure> {
        let Self { dead_letters, left, .. } = self;
        match (dead_letters, left) {
            (0, _) => tracing::warn!("no dead letter matches"),
            (_, 0) => {}
            _ => {
                let what =
                    anyhow!("{left} of {dead_letters} dead letters are left; `pelton dlq show` says why");
                return Err(Failure::Run(what));
            }
        }
        Ok(())
    }
}

impl Results for Report {
    fn add(&mut self, kept: &KeptDeadLetter, done: &Done) {
        self.dead_letters += 1;
        self.left += usize::from(!done.settled);
        if self.output.json {
            let mut members = described(kept);
            members.insert("result".to_owned(), json!(done.result));
            members.insert("detail".to_owned(), json!(done.detail));
            say(&Value::Object(members).to_string());
        } else {
            let what = kept.command().unwrap_or(&kept.dead_letter.message.subject);
            let key = kept.dead_letter.key.as_deref().unwrap_or("-");
            let colon = if done.detail.is_empty() { "" } else { ": " };
            let line = format!(
                "{} {} {key} {what}: {}{colon}{}",
                kept.sequence,
                kept.dead_letter.consumer,
                done.result,
                short(&done.detail, kept.dead_letter.digest.as_deref())
            );
            say(&one_line(&line));
        }
    }
}

/// `pelton dlq retry`
pub(crate) async fn retry(arguments: &RetryArgs) -> Result<(), Failure> {
    let RetryArgs { server, selection, wait } = arguments;
    let selected = selection.selection().map_err(Failure::Usage)?;
    let client = DlqClient::open(server).await?;
    let operator = client.operator(operator::name(selection.operator.by.as_deref()), *wait);
    let mut report = Report::new(client.output);
    // Dead letters that join a fully selected queue from now on belong to the selection.
    let end = operator.end().await.map_err(run_failed)?;
    let dead_letters = client.select(&selected).await?;
    if selection.dry_run {
        dead_letters
            .iter()
            .for_each(|dead_letter| report.add(dead_letter, &Done::new("would-be-retried", "", true)));
        return report.finish();
    }
    for queue in queues(dead_letters) {
        retry_queue(&operator, queue, end, &mut report).await.map_err(run_failed)?;
    }
    report.finish()
}

/// The dead letters by consumer and key. One without a key is its own queue.
fn queues(dead_letters: Vec<KeptDeadLetter>) -> Vec<Vec<KeptDeadLetter>> {
    let mut queues: Vec<Vec<KeptDeadLetter>> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for dead_letter in dead_letters {
        let key =
            dead_letter.dead_letter.key.clone().map(|key| (dead_letter.dead_letter.consumer.clone(), key));
        match key.map(|key| *places.entry(key).or_insert(queues.len())) {
            Some(place) if place < queues.len() => queues[place].push(dead_letter),
            _ => queues.push(vec![dead_letter]),
        }
    }
    queues
}

/// Retries one dead letter after the other. What is parked behind one that is left is not tried; one that failed itself may
/// be of a handler that does not park, and is.
pub(super) async fn retry_queue(
    operator: &Operator,
    queue: Vec<KeptDeadLetter>,
    end: Sequence,
    results: &mut impl Results,
) -> Result<(), Unavailable> {
    let mut left = queue.into_iter();
    let (mut next, mut blocked): (_, Option<(Sequence, bool)>) = (left.next(), None);
    while let Some(dead_letter) = next {
        let done = match blocked {
            Some((by, failed)) if !failed || dead_letter.dead_letter.kind == DeadLetterKind::Parked => {
                Done::new("not-tried", format!("it waits behind {by}"), false)
            }
            _ => {
                let retried = operator.retry(&dead_letter).await?;
                let failed = matches!(retried, Retried::Failed(_));
                let done = done(retried);
                blocked = blocked.or((!done.settled).then_some((dead_letter.sequence, failed)));
                done
            }
        };
        results.add(&dead_letter, &done);
        next = match left.next() {
            None if blocked.is_none() => {
                operator.next(&dead_letter).await?.filter(|joined| joins(joined, end))
            }
            next => next,
        };
    }
    Ok(())
}

/// Whether a dead letter was parked during the retry. Earlier ones outside the selection are left alone.
fn joins(dead_letter: &KeptDeadLetter, end: Sequence) -> bool {
    dead_letter.sequence > end && dead_letter.dead_letter.kind == DeadLetterKind::Parked
}

fn done(retried: Retried) -> Done {
    match retried {
        Retried::Settled(outcome) => Done::new("settled", outcome, true),
        Retried::Gone => Done::new("gone", "somebody else has dealt with it", true),
        Retried::Failed(cause) => Done::new("failed", cause, false),
        Retried::Waits(Some(first)) => Done::new("waits", format!("dead letter {first} comes first"), false),
        Retried::Waits(None) => Done::new("waits", "an event of another of its keys comes first", false),
        Retried::Unanswered => {
            let what = "nothing has become of it yet; it goes on when a host runs, then retry again";
            Done::new("unanswered", what, false)
        }
        Retried::Impossible(why) => Done::new("impossible", why, false),
    }
}

/// `pelton dlq drop`
pub(crate) async fn drop(arguments: &DropArgs) -> Result<(), Failure> {
    let DropArgs { server, selection, reason } = arguments;
    let selected = selection.selection().map_err(Failure::Usage)?;
    let client = DlqClient::open(server).await?;
    let by = operator::name(selection.operator.by.as_deref());
    let operator = client.operator(by, VIEW_WAIT);
    let mut report = Report::new(client.output);
    let mut views = BTreeSet::new();
    for dead_letter in client.select(&selected).await? {
        if selection.dry_run {
            report.add(&dead_letter, &Done::new("would-be-dropped", "", true));
            continue;
        }
        let done = dropped(&operator, &dead_letter, reason).await.map_err(run_failed)?;
        report.add(&dead_letter, &done);
        if let Some(key) = dead_letter.dead_letter.key
            && is_projection(&client, &dead_letter.dead_letter.consumer)
        {
            views.insert((dead_letter.dead_letter.consumer, key));
        }
    }
    // A view's key is live again when none of its events is left. Only the projection knows that.
    for (consumer, key) in views {
        if !operator.ask(&consumer, &key).await.map_err(run_failed)? {
            tracing::warn!(
                "the view {consumer} has not gone on with {key} yet: it does when a host runs it, or with the next \
                 retry or drop of its dead_letters"
            );
        }
    }
    report.finish()
}

/// Drops one dead letter.
pub(super) async fn dropped(
    operator: &Operator,
    dead_letter: &KeptDeadLetter,
    reason: &str,
) -> Result<Done, Unavailable> {
    Ok(match operator.drop(dead_letter, reason).await? {
        Some(outcome) => done(Retried::Settled(outcome.to_owned())),
        None => Done::new("dropped", reason, true),
    })
}

fn is_projection(client: &DlqClient, consumer: &str) -> bool {
    client.config.projections.keys().any(|name| name.as_str() == consumer)
}

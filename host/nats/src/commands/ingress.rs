//! The way in for commands: into their log, and the outcome back.
//!
//! An ingress has one subscription for all the outcomes that clients wait for. Every waiter has a subject of its own under
//! it, so that many who send the same command each get their answer. The subscription has a connection of its own, which
//! is opened again when it breaks: the subject stands in every stored command, so outsiders can send anything there.
//!
//! A command is logged only if none with its id is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::StreamExt;
use pelton_core::client::{CommandStatus, Ingress, Submission, SubmitError};
use pelton_core::command::outcome::{Answer, UnreadableCommand};
use pelton_core::id::CommandId;
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Commands, log};
use crate::connection::Nats;
use crate::subjects;
use crate::wire::{self, PublishError, header_bytes};

/// The `ce-source` of commands that come through an ingress.
pub const SOURCE: &str = "/gateway";
/// The most waiters of one ingress. Commands beyond are stored like all others, but nobody waits for their outcome.
pub const MAX_WAITERS: usize = 10_000;
/// The wait before the second look whether the command with the same id has ended; it doubles with every further one. The
/// outcome itself comes sooner, unless the command came in through another ingress.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest such wait.
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// How long the server may take to say that it is there.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// A [`Ingress`] over the command stream.
#[derive(Debug)]
pub struct StreamIngress {
    nats: Nats,
    commands: Commands,
    waiters: Arc<Waiters>,
    stop: CancellationToken,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

impl StreamIngress {
    /// Subscribes to outcomes. [`StreamIngress::close`] ends it.
    ///
    /// An outcome that is told while the connection is away is missed: who waits for it waits in vain, and finds it with
    /// [`Ingress::status`].
    pub async fn open(nats: &Nats, commands: Commands) -> Result<Self, Unavailable> {
        let waiters = Arc::new(Waiters::new(nats.client().new_inbox()));
        let answers = Answers::open(nats, &waiters.inbox).await?;
        let stop = CancellationToken::new();
        let dispatcher = tokio::spawn(dispatch(nats.clone(), answers, waiters.clone(), stop.clone()));
        Ok(Self { nats: nats.clone(), commands, waiters, stop, dispatcher: Mutex::new(Some(dispatcher)) })
    }

    /// How many wait for an outcome now.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.waiters.lock().as_ref().map_or(0, |waiting| waiting.senders.len() + waiting.count_of_copies)
    }

    /// Ends the subscription. Whoever still waits is told that the command has not ended yet.
    pub async fn close(&self) {
        self.stop.cancel();
        let dispatcher = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(dispatcher) = dispatcher
            && let Err(error) = dispatcher.await
        {
            tracing::error!("the ingress's dispatcher ended: {error}");
        }
    }

    /// Logs the command. False: there is one with its id, and nothing was stored.
    async fn publish(&self, submission: &Submission, reply_to: Option<&str>) -> Result<bool, SubmitError> {
        let r#type = submission.r#type.as_str();
        let unavailable =
            |cause: String| Unavailable { doing: format!("storing command {}", submission.id), cause };
        let mut partitions = self.commands.intake().partitions(r#type);
        loop {
            let partition = self.commands.intake().partition(partitions, r#type, &submission.data);
            let subject = subjects::command(r#type, partition, &submission.id);
            let headers = submission.headers(SOURCE, reply_to);
            let mut headers = wire::to_wire(&headers).map_err(|e| unavailable(e.to_string()))?;
            log::expect_no_command(&mut headers, &submission.id);
            let bytes = header_bytes(&headers) + submission.data.len();
            let max_bytes = self.nats.client().max_payload();
            if bytes > max_bytes {
                return Err(SubmitError::TooLarge { bytes, max_bytes });
            }
            match wire::publish(&self.nats, &subject, headers, submission.data.clone()).await {
                Ok(_) => return Ok(true),
                Err(PublishError::WrongSequence(_) | PublishError::SubjectFull(_)) => return Ok(false),
                Err(PublishError::TooLarge(_)) => return Err(SubmitError::TooLarge { bytes, max_bytes }),
                Err(PublishError::Unclear(away)) => return Err(away.into()),
                Err(PublishError::NobodyTakes(away)) => match log::partitions(&self.nats, r#type).await {
                    Ok(Some(present)) if present != partitions => partitions = present,
                    _ => return Err(away.into()),
                },
                Err(refused) => return Err(unavailable(refused.to_string()).into()),
            }
        }
    }

    /// Waits until the same command, which is logged, has ended.
    async fn end_of_same(
        &self,
        id: &CommandId,
        patience: &mut Patience,
    ) -> Result<Option<Answer>, Unavailable> {
        // Before the look: an outcome that is told behind it is not missed.
        let mut told = self.waiters.enter_for(id);
        loop {
            let answer = match self.commands.status(id).await? {
                CommandStatus::Ended(record) => Answer::Ended(record),
                CommandStatus::Parked(parked) => Answer::Parked(parked),
                CommandStatus::Unreadable(cause) => {
                    Answer::Unreadable(UnreadableCommand { command_id: id.to_string(), cause })
                }
                CommandStatus::Pending | CommandStatus::Unknown => {
                    tokio::select! {
                        Some(answer) = heard(&mut told) => answer,
                        goes_on = patience.pause(&self.stop) => match goes_on {
                            true => continue,
                            false => return Ok(None),
                        },
                    }
                }
            };
            return Ok(Some(answer));
        }
    }
}

/// How long somebody still waits, and the pauses between his looks.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    fn of(wait: Duration) -> Self {
        Self { until: Instant::now() + wait, pause: FIRST_PAUSE }
    }

    /// Waits a little. False: there is no time left, or the ingress is closed.
    async fn pause(&mut self, stop: &CancellationToken) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep_until(self.until.min(Instant::now() + self.pause)) => {}
        }
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        true
    }
}

impl Drop for StreamIngress {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Ingress for StreamIngress {
    async fn submit(&self, submission: Submission, wait: Duration) -> Result<Option<Answer>, SubmitError> {
        let mut patience = Patience::of(wait);
        let waiter = if wait.is_zero() { None } else { self.waiters.enter() };
        let reply_to = waiter.as_ref().map(|waiter| waiter.reply_to.as_str());
        let is_same = |first: &Incoming| {
            subjects::is_command(&first.subject, submission.r#type.as_str(), &submission.id)
                && first.payload == submission.data
        };
        while !self.publish(&submission, reply_to).await? {
            match self.commands.logged(&submission.id).await? {
                Some(first) if is_same(&first) => {
                    // The outcome goes to whoever sent the first.
                    drop(waiter);
                    return Ok(self.end_of_same(&submission.id, &mut patience).await?);
                }
                Some(_) => return Err(SubmitError::IdInUse),
                // The log has just let go of it.
                None if patience.pause(&self.stop).await => {}
                None => return Ok(None),
            }
        }
        let Some(mut waiter) = waiter else { return Ok(None) };
        let answer = tokio::time::timeout_at(patience.until, &mut waiter.answer).await;
        Ok(answer.ok().and_then(Result::ok))
    }

    async fn status(&self, id: &CommandId) -> Result<CommandStatus, Unavailable> {
        self.commands.status(id).await
    }

    async fn alive(&self) -> Result<(), Unavailable> {
        match self.nats.is_closed().await {
            false => Ok(()),
            true => Err(Unavailable {
                doing: "using the connection to NATS".to_owned(),
                cause: "it has ended for good; this host ends too and has to be started again".to_owned(),
            }),
        }
    }

    async fn ready(&self) -> Result<(), Unavailable> {
        match tokio::time::timeout(READY_TIMEOUT, self.commands.ready()).await {
            Ok(ready) => ready,
            Err(_) => Err(Unavailable {
                doing: "asking for the log of commands".to_owned(),
                cause: format!("no answer within {READY_TIMEOUT:?}"),
            }),
        }
    }
}

/// Who waits for an outcome, by the last token of the subject where it is awaited.
#[derive(Debug)]
struct Waiters {
    inbox: String,
    next: AtomicU64,
    /// None once the ingress is closed.
    waiting: Mutex<Option<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Who sent a command, by the last token of the subject.
    senders: HashMap<u64, oneshot::Sender<Answer>>,
    /// Who sent a copy of it, by its id, each under a token of its own.
    copies: HashMap<CommandId, HashMap<u64, oneshot::Sender<Answer>>>,
    /// How many copies there are.
    count_of_copies: usize,
}

/// The outcome, once it is told. `None`: nobody will tell it here.
async fn heard(told: &mut Option<Copy>) -> Option<Answer> {
    let answer = match told {
        Some(copy) => (&mut copy.answer).await.ok(),
        None => None,
    };
    *told = None;
    answer
}

impl Waiters {
    fn new(inbox: String) -> Self {
        Self { inbox, next: AtomicU64::new(1), waiting: Mutex::new(Some(Waiting::default())) }
    }

    /// A new waiter, unless there are too many or the ingress is closed.
    fn enter(self: &Arc<Self>) -> Option<Waiter> {
        let mut waiting = self.lock();
        let waiting = waiting.as_mut().filter(|waiting| waiting.senders.len() < MAX_WAITERS)?;
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        waiting.senders.insert(token, sender);
        Some(Waiter { waiters: self.clone(), token, reply_to: format!("{}.{token}", self.inbox), answer })
    }

    /// One who sent a copy of a command, under the same bound.
    fn enter_for(self: &Arc<Self>, id: &CommandId) -> Option<Copy> {
        let mut waiting = self.lock();
        let waiting = waiting.as_mut().filter(|waiting| waiting.count_of_copies < MAX_WAITERS)?;
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        waiting.copies.entry(id.clone()).or_default().insert(token, sender);
        waiting.count_of_copies += 1;
        Some(Copy { waiters: self.clone(), id: id.clone(), token, answer })
    }

    fn leave(&self, token: u64) -> Option<oneshot::Sender<Answer>> {
        self.lock().as_mut()?.senders.remove(&token)
    }

    /// Those who sent copies of a command.
    fn copies_of(&self, id: &str) -> Vec<oneshot::Sender<Answer>> {
        let mut waiting = self.lock();
        let (Some(waiting), Ok(id)) = (waiting.as_mut(), CommandId::new(id)) else { return Vec::new() };
        let copies = waiting.copies.remove(&id).unwrap_or_default();
        waiting.count_of_copies -= copies.len();
        copies.into_values().collect()
    }

    fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. Dropped, it is forgotten.
struct Waiter {
    waiters: Arc<Waiters>,
    token: u64,
    reply_to: String,
    answer: oneshot::Receiver<Answer>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.leave(self.token);
    }
}

/// One who sent a copy of a command. Dropped, it is forgotten.
struct Copy {
    waiters: Arc<Waiters>,
    id: CommandId,
    token: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        let Some(Waiting { copies, count_of_copies, .. }) = waiting.as_mut() else { return };
        let Some(of_id) = copies.get_mut(&self.id) else { return };
        *count_of_copies -= usize::from(of_id.remove(&self.token).is_some());
        if of_id.is_empty() {
            copies.remove(&self.id);
        }
    }
}

/// The subscription for outcomes, with its connection.
struct Answers {
    /// Dropped, the connection ends.
    _line: Nats,
    messages: Subscriber,
}

impl Answers {
    async fn open(nats: &Nats, inbox: &str) -> Result<Self, Unavailable> {
        let line = nats.open_another("outcomes").await?;
        let messages = line.client().subscribe(format!("{inbox}.*")).await;
        let messages = messages
            .map_err(|e| Unavailable { doing: "subscribing to outcomes".to_owned(), cause: e.to_string() })?;
        Ok(Self { _line: line, messages })
    }

    /// After the connection has ended for good. Those who wait keep their subjects.
    async fn open_again(nats: &Nats, inbox: &str) -> Self {
        loop {
            match Self::open(nats, inbox).await {
                Ok(answers) => return answers,
                Err(away) => tracing::debug!("{away}"),
            }
            tokio::time::sleep(MAX_PAUSE).await;
        }
    }
}

/// Hands outcomes to those who wait for them, until told to stop.
async fn dispatch(nats: Nats, mut answers: Answers, waiters: Arc<Waiters>, stop: CancellationToken) {
    let hand_out = async {
        loop {
            match answers.messages.next().await {
                Some(answer) => deliver(&answer, &waiters),
                None => {
                    tracing::warn!("the connection for outcomes has ended; another one is opened");
                    answers = Answers::open_again(&nats, &waiters.inbox).await;
                }
            }
        }
    };
    stop.run_until_cancelled(hand_out).await;
    waiters.close();
}

fn deliver(answer: &Message, waiters: &Waiters) {
    let token = answer.subject.rsplit('.').next().and_then(|token| token.parse().ok());
    // Who has stopped waiting finds the outcome where it is recorded. Without a waiter it may be from anybody.
    let Some(waiter) = token.and_then(|token| waiters.leave(token)) else { return };
    match serde_json::from_slice::<Answer>(&answer.payload) {
        Ok(answer) => {
            for copy in waiters.copies_of(answer.command_id()) {
                let _ = copy.send(answer.clone());
            }
            let _ = waiter.send(answer);
        }
        Err(error) => tracing::warn!(subject = %answer.subject, "what came as an outcome is none: {error}"),
    }
}

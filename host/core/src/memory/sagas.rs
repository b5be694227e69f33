use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::log::MemoryLog;
use super::network::FlakyNetwork;
use crate::id::{CommandId, InstanceId, Name, Sequence};
use crate::message::{EventType, Headers};
use crate::outcomes::CommandReport;
use crate::saga::input::{FIRED_BY, FiredTimer, OwnInput};
use crate::saga::instance::{ArmedTimer, Instance};
use crate::saga::lead::{SagaPosition, Start};
use crate::saga::ports::{SagaFeeds, SagaStore, Sent, TimerWrite};
use crate::store::{CommitError, ReadError, Unavailable};
use crate::time::Timestamp;

/// One saga's instances, timers and inputs, and the commands that it sent, in memory. Clones share them.
///
/// The stream of its events and its own stream are [`MemoryLog`]s. Timers go off when [`MemorySagas::advance`] says so, those
/// that are due in any order.
#[derive(Debug, Clone)]
pub struct MemorySagas {
    network: Arc<FlakyNetwork>,
    events: MemoryLog,
    own: MemoryLog,
    kept: Arc<Mutex<Kept>>,
    stopped: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Kept {
    revision: u64,
    instances: HashMap<InstanceId, (Bytes, u64)>,
    /// As the server has them: by instance and id.
    timers: BTreeMap<(InstanceId, String), FiredTimer>,
    position: Option<(SagaPosition, u64)>,
    sent: Vec<SentCommand>,
    reported: HashSet<(CommandId, bool)>,
    answers_to_lose: u32,
    foreign: HashSet<CommandId>,
    nobody_takes: HashSet<String>,
    let_go: Sequence,
}

/// A command as it was sent.
#[derive(Debug, Clone)]
pub struct SentCommand {
    /// Its id.
    pub id: CommandId,
    /// Its type.
    pub r#type: String,
    /// Its headers.
    pub headers: Headers,
    /// Its data.
    pub data: Bytes,
}

impl MemorySagas {
    /// A store without instances, for a saga that reads these events.
    #[must_use]
    pub fn new(network: Arc<FlakyNetwork>, events: MemoryLog, own: Name) -> Self {
        Self {
            network,
            events,
            own: MemoryLog::new(own),
            kept: Arc::default(),
            stopped: watch::Sender::new(false),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another host's end of it: it is stopped by itself.
    #[must_use]
    pub fn feeds(&self) -> Self {
        Self { stopped: watch::Sender::new(false), ..self.clone() }
    }

    /// Stops the host that has this end.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// The saga's own stream.
    #[must_use]
    pub fn own_log(&self) -> &MemoryLog {
        &self.own
    }

    /// Every command that was sent, in order, as many times as it was sent.
    #[must_use]
    pub fn sent(&self) -> Vec<SentCommand> {
        self.kept().sent.clone()
    }

    /// The instances that are stored.
    ///
    /// # Panics
    /// One cannot be read.
    #[must_use]
    pub fn instances(&self) -> BTreeMap<InstanceId, Instance> {
        let kept = self.kept();
        let read = |bytes: &Bytes| Instance::from_bytes(bytes).unwrap_or_else(|why| panic!("{why}"));
        kept.instances.iter().map(|(id, (bytes, _))| (id.clone(), read(bytes))).collect()
    }

    /// How far the saga has read, as it is stored.
    #[must_use]
    pub fn position_now(&self) -> Option<SagaPosition> {
        self.kept().position.clone().map(|(position, _)| position)
    }

    /// The timers that the server has.
    #[must_use]
    pub fn timers(&self) -> Vec<FiredTimer> {
        self.kept().timers.values().cloned().collect()
    }

    /// Up to where inputs were deleted.
    #[must_use]
    pub fn let_go_up_to(&self) -> Sequence {
        self.kept().let_go
    }

    /// Lets another sender send a command under this id first.
    pub fn occupy(&self, id: CommandId) {
        self.kept().foreign.insert(id);
    }

    /// No handler takes commands of this type.
    pub fn nobody_takes(&self, r#type: &str) {
        self.kept().nobody_takes.insert(r#type.to_owned());
    }

    /// Sends the next `count` commands without confirming them to their sender.
    pub fn lose_answers(&self, count: u32) {
        self.kept().answers_to_lose = count;
    }

    /// Forgets an ended instance, as the server does after a while.
    pub fn expire(&self, instance: &InstanceId) {
        self.kept().instances.remove(instance);
    }

    /// It is this time now: the timers that are due go off, the last of them first.
    ///
    /// # Panics
    /// A timer has no JSON form.
    pub fn advance(&self, now: Timestamp) {
        let due: Vec<FiredTimer> = {
            let mut kept = self.kept();
            let due = kept.timers.extract_if(.., |_, fired| fired.armed.due <= now);
            due.map(|(_, fired)| fired).collect()
        };
        for fired in due.into_iter().rev() {
            self.store_input(&OwnInput::Timer(fired), Headers::default(), now);
        }
    }

    /// An operator lets a timer go off before it is due.
    pub fn fire(&self, instance: &InstanceId, id: &str, now: Timestamp) {
        let fired = self.kept().timers.remove(&(instance.clone(), id.to_owned()));
        if let Some(fired) = fired {
            let by = [(FIRED_BY, "operator")].into_iter().collect();
            self.store_input(&OwnInput::Timer(fired), by, now);
        }
    }

    /// Stores an input of the saga's own, whatever it says.
    ///
    /// # Panics
    /// It has no JSON form.
    pub fn store_input(&self, input: &OwnInput, headers: Headers, now: Timestamp) {
        self.own.push("input", headers, input.to_bytes().unwrap_or_else(|why| panic!("{why}")), now);
    }

    /// A handler's host tells how a command ended.
    pub fn told(&self, report: &CommandReport, now: Timestamp) {
        if self.kept().reported.insert((report.command_id.clone(), report.result.is_final())) {
            self.store_input(&OwnInput::Outcome(report.clone()), Headers::default(), now);
        }
    }
}

impl Kept {
    fn save(
        &mut self,
        id: &InstanceId,
        instance: &Instance,
        timers: &[TimerWrite],
        revision: u64,
    ) -> Result<u64, CommitError> {
        if self.instances.get(id).map_or(0, |(_, revision)| *revision) != revision {
            return Err(CommitError::Conflict);
        }
        let bytes = instance.to_bytes().map_err(CommitError::Refused)?;
        for write in timers {
            match write.clone() {
                TimerWrite::Set { id: timer, armed, data } => {
                    let key = (id.clone(), timer.clone());
                    self.timers.insert(key, FiredTimer { instance: id.clone(), id: timer, armed, data });
                }
                TimerWrite::Cancel { id: timer } => drop(self.timers.remove(&(id.clone(), timer))),
            }
        }
        self.revision += 1;
        self.instances.insert(id.clone(), (bytes, self.revision));
        Ok(self.revision)
    }

    fn keep_position(&mut self, position: SagaPosition, revision: u64) -> Result<u64, CommitError> {
        if self.position.as_ref().map_or(0, |(_, revision)| *revision) != revision {
            return Err(CommitError::Conflict);
        }
        self.revision += 1;
        self.position = Some((position, self.revision));
        Ok(self.revision)
    }
}

impl SagaStore for MemorySagas {
    async fn load(&self, instance: &InstanceId) -> Result<(Option<Instance>, u64), ReadError> {
        let look = || self.kept().instances.get(instance).cloned();
        let Some((bytes, revision)) = self.network.request("loading an instance", look).await? else {
            return Ok((None, 0));
        };
        let instance = Instance::from_bytes(&bytes)
            .map_err(|cause| Unavailable { doing: "loading an instance".to_owned(), cause })?;
        Ok((Some(instance), revision))
    }

    async fn save(
        &self,
        id: &InstanceId,
        instance: &Instance,
        timers: &[TimerWrite],
        revision: u64,
    ) -> Result<u64, CommitError> {
        let save = || self.kept().save(id, instance, timers, revision);
        self.network.request("saving an instance", save).await?
    }

    async fn timer_data(
        &self,
        instance: &InstanceId,
        id: &str,
        armed: &ArmedTimer,
    ) -> Result<Option<Bytes>, Unavailable> {
        let look = || {
            let is_meant =
                |fired: &FiredTimer| fired.instance == *instance && fired.armed == *armed && fired.id == id;
            let waits = self.kept().timers.get(&(instance.clone(), id.to_owned())).cloned();
            let gone_off = || {
                let inputs = self.own.messages().into_iter().rev();
                let mut timers = inputs.filter_map(|message| match OwnInput::from_bytes(&message.payload) {
                    Ok(OwnInput::Timer(fired)) => Some(fired),
                    _ => None,
                });
                timers.find(is_meant)
            };
            waits.filter(is_meant).or_else(gone_off).map(|fired| fired.data)
        };
        self.network.request("reading a timer", look).await
    }

    async fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> Result<Sent, CommitError> {
        if self.kept().foreign.contains(id) {
            return Err(CommitError::Refused(format!("another command has the id {id}")));
        }
        if self.kept().nobody_takes.contains(r#type) {
            return Ok(Sent::NobodyTakes);
        }
        let command = SentCommand { id: id.clone(), r#type: r#type.to_owned(), headers, data };
        let send = || {
            let mut kept = self.kept();
            kept.sent.push(command);
            let lost = kept.answers_to_lose > 0;
            kept.answers_to_lose = kept.answers_to_lose.saturating_sub(1);
            lost
        };
        match self.network.request("sending a command", send).await? {
            true => {
                Err(Unavailable { doing: "sending a command".to_owned(), cause: "no answer".to_owned() }
                    .into())
            }
            false => Ok(Sent::Logged),
        }
    }

    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        self.network.request("storing an outcome", || self.told(report, Timestamp(1))).await
    }

    async fn position(&self) -> Result<Option<(SagaPosition, u64)>, Unavailable> {
        self.network.request("reading a position", || self.kept().position.clone()).await
    }

    async fn keep_position(&self, position: &SagaPosition, revision: u64) -> Result<u64, CommitError> {
        let (to, position) = (self.clone(), position.clone());
        let keep = async move {
            to.network.request("keeping a position", || to.kept().keep_position(position, revision)).await
        };
        // What is on its way arrives, whatever becomes of its sender.
        match tokio::spawn(keep).await {
            Ok(kept) => kept?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn begin(&self, start: &Start) -> Result<Sequence, Unavailable> {
        let messages = self.events.messages();
        let last = self.events.last();
        Ok(match start {
            Start::Beginning => Sequence::NONE,
            Start::Now => last,
            Start::Sequence(first) => Sequence(first.0.saturating_sub(1)),
            Start::Time(time) => {
                let first = messages.iter().find(|message| message.stored_at >= *time);
                first.map_or(last, |first| Sequence(first.sequence.0 - 1))
            }
        })
    }

    async fn let_go(&self, up_to: Sequence) -> Result<(), Unavailable> {
        let delete = || {
            self.own.delete(up_to);
            self.kept().let_go = up_to;
        };
        self.network.request("deleting inputs", delete).await
    }
}

impl SagaFeeds for MemorySagas {
    type Feed = super::log::MemoryLogFeed;

    fn events(&self, _: &[EventType]) -> Self::Feed {
        self.events.feed()
    }

    fn own(&self) -> Self::Feed {
        self.own.feed()
    }

    fn own_stream(&self) -> String {
        self.own.stream().to_string()
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.subscribe();
        async move {
            if stopped.wait_for(|stopped| *stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

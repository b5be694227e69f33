//! Storms: hosts that crash, pause and run side by side, answers that get lost, inputs that come twice; and afterwards every
//! instance is the fold of its inputs. `PELTON_SIM_SEED=n` replays one storm, `PELTON_SIM_STORMS=n` runs more.
//!
//! The same storms find bugs that are planted: a storm that finds none would prove nothing. The bug of a handler's host that
//! tells an outcome too late is planted where such hosts run, in the storms of `sim/reports.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::dead_letter::OnFailure;
use pelton_core::id::{CommandId, InstanceId, Name, Sequence};
use pelton_core::memory::{FlakyNetwork, MemoryDeadLetters, MemoryLog, MemorySagas};
use pelton_core::message::{EventType, Failure, Headers, NewCommand, RecordedEvent};
use pelton_core::outcomes::{CommandReport, CommandResult};
use pelton_core::plugin::{Identity, Plugin, PluginFault};
use pelton_core::retry::RetryPolicy;
use pelton_core::saga::SagaFlow;
use pelton_core::saga::instance::{ArmedTimer, Instance};
use pelton_core::saga::lead::{SagaPosition, Start};
use pelton_core::saga::model::{
    Correlation, InputContext, Reaction, Relation, SagaInput, Timer, TimerChange,
};
use pelton_core::saga::ports::{Migration, SagaDescriptor, SagaPlugin, SagaStore, Sent, TimerWrite};
use pelton_core::store::{CommitError, ReadError, Unavailable};
use pelton_core::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Native, event};

/// The instances of a storm.
const INSTANCES: u64 = 4;
/// What happens in a storm.
const STEPS: u32 = 60;
const MILLISECOND: u64 = 1_000_000;

/// Its state is the list of its inputs. An event's data is the instance; what it does follows from its sequence alone, see
/// [`timers_of`].
#[derive(Clone)]
struct Ledger(Arc<SagaDescriptor>);

impl Default for Ledger {
    fn default() -> Self {
        Self(Arc::new(SagaDescriptor {
            identity: Identity { name: "ledger".to_owned(), version: "1.0.0".to_owned() },
            events: vec![EventType { r#type: "happened".to_owned(), version: 1 }],
            commands: vec!["do".to_owned()],
            timers: vec!["late".to_owned()],
            takes_outcomes: true,
            state_version: 1,
            migrates: true,
        }))
    }
}

/// What an event with this sequence does to timers: the id, and after how many milliseconds it is due, or nothing to cancel it.
fn timers_of(sequence: u64) -> Vec<(String, Option<u64>)> {
    let timer = |n: u64| format!("t{}", n % 3);
    match sequence % 5 {
        0 => vec![(timer(sequence), None)],
        1 => Vec::new(),
        n => vec![(timer(sequence), Some(n * 300)), (timer(sequence + 1), Some(5_000 * (sequence % 2) + 10))],
    }
}

impl Plugin for Ledger {
    fn name(&self) -> &str {
        Native.name()
    }

    fn digest(&self) -> &str {
        Native.digest()
    }
}

impl SagaPlugin for Ledger {
    fn descriptor(&self) -> &SagaDescriptor {
        &self.0
    }

    async fn correlate(
        &self,
        event: &RecordedEvent,
    ) -> Result<Result<Vec<Correlation>, Failure>, PluginFault> {
        let instance = String::from_utf8_lossy(&event.event.data).into_owned();
        Ok(Ok(vec![Correlation { instance, relation: Relation::Start }]))
    }

    async fn react(
        &self,
        _: &InstanceId,
        state: Option<&[u8]>,
        input: &SagaInput,
        context: &InputContext,
    ) -> Result<Result<Reaction, Failure>, PluginFault> {
        let mut inputs: Vec<String> =
            state.map_or_else(Vec::new, |state| serde_json::from_slice(state).unwrap());
        let (mut commands, mut timers) = (Vec::new(), Vec::new());
        match input {
            SagaInput::Event(recorded) => {
                inputs.push(format!("event {}", recorded.sequence));
                for (id, after) in timers_of(recorded.sequence.0) {
                    timers.push(match after {
                        None => TimerChange::Cancel(id),
                        Some(after) => {
                            let due = Timestamp(context.time.0 + after * MILLISECOND);
                            let data = Bytes::from(recorded.sequence.to_string());
                            TimerChange::Set(Timer { id, r#type: "late".to_owned(), due, data })
                        }
                    });
                }
                commands.push(NewCommand {
                    r#type: "do".to_owned(),
                    reference: Some(recorded.sequence.to_string()),
                    datacontenttype: None,
                    metadata: Vec::new(),
                    data: Bytes::from(recorded.sequence.to_string()),
                });
            }
            SagaInput::Timer(due) => {
                let late = due.time.0.checked_sub(due.timer.due.0).expect("never before it is due");
                let set_by = String::from_utf8_lossy(&due.timer.data);
                inputs.push(format!("timer {} of {set_by} {}", due.timer.id, late / MILLISECOND));
            }
            SagaInput::Outcome(outcome) => {
                inputs.push(format!("outcome {}", outcome.reference.as_deref().unwrap_or_default()));
            }
        }
        Ok(Ok(Reaction { state: Some(serde_json::to_vec(&inputs).unwrap()), commands, timers }))
    }

    async fn migrate(&self, _: &InstanceId, _: u32, _: &[u8], _: &[Timer]) -> Result<Migration, PluginFault> {
        Ok(None)
    }
}

/// A mistake that a host could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// Timers are changed after the instance was stored.
    TimersOutsideTheWrite,
    /// Commands are sent some time after their input was settled.
    OutboxAfterTheInput,
    /// The ids of commands have a random part.
    RandomIds,
    /// What an instance has handled is not stored with it.
    ForgottenInputs,
}

/// A host's store, perhaps with a bug.
struct Store {
    inner: MemorySagas,
    bug: Bug,
    rng: Mutex<fastrand::Rng>,
    /// Whether its signs get lost, so that another host takes over while it goes on.
    is_silent: Arc<AtomicBool>,
    unsent: Mutex<Vec<(Headers, String, CommandId, Bytes)>>,
}

impl SagaStore for Store {
    async fn load(&self, instance: &InstanceId) -> Result<(Option<Instance>, u64), ReadError> {
        self.inner.load(instance).await
    }

    async fn save(
        &self,
        id: &InstanceId,
        instance: &Instance,
        timers: &[TimerWrite],
        revision: u64,
    ) -> Result<u64, CommitError> {
        match self.bug {
            Bug::TimersOutsideTheWrite => {
                let revision = self.inner.save(id, instance, &[], revision).await?;
                self.inner.save(id, instance, timers, revision).await
            }
            Bug::ForgottenInputs => {
                let forgetful = Instance { handled: BTreeMap::new(), ..instance.clone() };
                self.inner.save(id, &forgetful, timers, revision).await
            }
            _ => self.inner.save(id, instance, timers, revision).await,
        }
    }

    async fn timer_data(
        &self,
        instance: &InstanceId,
        id: &str,
        armed: &ArmedTimer,
    ) -> Result<Option<Bytes>, Unavailable> {
        self.inner.timer_data(instance, id, armed).await
    }

    async fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> Result<Sent, CommitError> {
        match self.bug {
            Bug::OutboxAfterTheInput => {
                self.unsent.lock().unwrap().push((headers, r#type.to_owned(), id.clone(), data));
                Ok(Sent::Logged)
            }
            Bug::RandomIds => {
                let random = self.rng.lock().unwrap().u16(..);
                let id = CommandId::new(format!("{id}{random}")).unwrap();
                self.inner.send(headers, r#type, &id, data).await
            }
            _ => self.inner.send(headers, r#type, id, data).await,
        }
    }

    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        SagaStore::report(&self.inner, report).await
    }

    async fn position(&self) -> Result<Option<(SagaPosition, u64)>, Unavailable> {
        self.inner.position().await
    }

    async fn keep_position(&self, position: &SagaPosition, revision: u64) -> Result<u64, CommitError> {
        if self.is_silent.load(Ordering::Relaxed) {
            return Err(Unavailable { doing: "a sign".to_owned(), cause: "it was lost".to_owned() }.into());
        }
        let kept = self.inner.keep_position(position, revision).await;
        let unsent = std::mem::take(&mut *self.unsent.lock().unwrap());
        for (headers, r#type, id, data) in unsent {
            while self.inner.send(headers.clone(), &r#type, &id, data.clone()).await.is_err() {}
        }
        kept
    }

    async fn begin(&self, start: &Start) -> Result<Sequence, Unavailable> {
        self.inner.begin(start).await
    }

    async fn let_go(&self, up_to: Sequence) -> Result<(), Unavailable> {
        self.inner.let_go(up_to).await
    }
}

struct Storm {
    rng: fastrand::Rng,
    began: tokio::time::Instant,
    events: MemoryLog,
    sagas: MemorySagas,
    dead_letters: MemoryDeadLetters,
    bug: Bug,
    hosts: Vec<Host>,
    started: u32,
}

struct Host {
    task: JoinHandle<()>,
    end: MemorySagas,
    is_silent: Arc<AtomicBool>,
}

impl Storm {
    fn new(seed: u64, bug: Bug) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let network = Arc::new(FlakyNetwork::flaky(rng.u64(..), 30, 40));
        let events = MemoryLog::new(Name::new("stream").unwrap());
        let sagas = MemorySagas::new(network.clone(), events.clone(), Name::new("SAGA-ledger").unwrap());
        let dead_letters = MemoryDeadLetters::new(network);
        let (began, hosts) = (tokio::time::Instant::now(), Vec::new());
        Self { rng, began, events, sagas, dead_letters, bug, hosts, started: 0 }
    }

    /// The server's time.
    fn now(&self) -> Timestamp {
        Timestamp(1 + u64::try_from(self.began.elapsed().as_nanos()).unwrap())
    }

    fn host(&mut self) {
        let is_silent = Arc::new(AtomicBool::new(false));
        let store = Store {
            is_silent: is_silent.clone(),
            inner: self.sagas.clone(),
            bug: self.bug,
            rng: Mutex::new(self.rng.fork()),
            unsent: Mutex::default(),
        };
        let flow = SagaFlow {
            id: Name::new("ledger").unwrap(),
            stream: "stream".into(),
            plugin: Ledger::default(),
            on_trial: None,
            draining: Vec::new(),
            store: Arc::new(store),
            dead_letters: Arc::new(self.dead_letters.clone()),
            retry: RetryPolicy { max_delay: Duration::from_millis(400), ..RetryPolicy::default() },
            on_failure: OnFailure::Park,
            max_depth: 100,
        };
        self.started += 1;
        let (end, versions) = (self.sagas.feeds(), watch::channel(Ledger::default().into()).1);
        let task =
            tokio::spawn(flow.run(end.clone(), Start::Beginning, format!("h{}", self.started), versions));
        self.hosts.push(Host { task, end, is_silent });
    }

    fn publish(&mut self) {
        let instance = format!("i{}", self.rng.u64(..INSTANCES));
        let event = event("happened", &instance);
        self.events.push("test.1.happened.v1", cloudevents::encode(&event), event.data.clone(), self.now());
    }

    /// The hosts of handlers tell how commands ended, some of them again.
    fn tell(&mut self, all: bool) {
        for command in self.sagas.sent() {
            if all || self.rng.bool() {
                let reference = command.headers.get("Pelton-Reference").map(str::to_owned);
                let result = CommandResult::Accepted(Vec::new());
                let report = CommandReport {
                    command_id: command.id,
                    r#type: "do".to_owned(),
                    reference,
                    depth: 1,
                    result,
                };
                self.sagas.told(&report, self.now());
            }
        }
    }

    async fn step(&mut self) {
        match self.rng.u32(0..10) {
            0..=4 => (0..self.rng.u32(1..6)).for_each(|_| self.publish()),
            5 => self.tell(false),
            6 if !self.hosts.is_empty() => {
                let at = self.rng.usize(..self.hosts.len());
                let Host { task, .. } = self.hosts.swap_remove(at);
                task.abort();
                let _ = task.await;
            }
            7 if !self.hosts.is_empty() => {
                let at = self.rng.usize(..self.hosts.len());
                let Host { task, end, .. } = self.hosts.swap_remove(at);
                end.stop();
                task.await.unwrap();
            }
            8 if !self.hosts.is_empty() => {
                let at = self.rng.usize(..self.hosts.len());
                self.hosts[at].is_silent.fetch_xor(true, Ordering::Relaxed);
            }
            _ if self.hosts.len() < 3 => self.host(),
            _ => {}
        }
        for _ in 0..self.rng.u32(0..8) {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..150))).await;
            self.sagas.advance(self.now());
        }
    }

    async fn run(mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step().await;
        }
        self.hosts.iter().for_each(|host| host.is_silent.store(false, Ordering::Relaxed));
        self.host();
        let mut quiet = 0;
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            self.sagas.advance(self.now());
            self.tell(true);
            let position = self.sagas.position_now().unwrap_or_default();
            let is_done = position.of("stream") >= self.events.last()
                && position.of("SAGA-ledger") >= self.sagas.own_log().last()
                && self.sagas.timers().is_empty();
            quiet = if is_done { quiet + 1 } else { 0 };
            if quiet == 3 {
                for host in self.hosts.drain(..) {
                    host.task.abort();
                }
                return self.check();
            }
        }
        Err("the saga does not get on".to_owned())
    }

    /// Each instance is the fold of its inputs, every command was sent under one id and has one outcome, and every timer went
    /// off once, unless it was cancelled or set again before.
    fn check(&self) -> Result<(), String> {
        let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for message in self.events.messages() {
            let instance = String::from_utf8_lossy(&message.payload).into_owned();
            expected.entry(instance).or_default().push(message.sequence.0);
        }
        if !self.dead_letters.all().is_empty() {
            return Err("an input was set aside".to_owned());
        }
        let instances = self.sagas.instances();
        for (id, events) in &expected {
            let instance =
                instances.get(&InstanceId::new(id).unwrap()).ok_or(format!("{id} never started"))?;
            check_instance(id, events, instance)?;
        }
        let ids = |(id, events): (&String, &Vec<u64>)| {
            events.iter().map(|event| format!("saga:ledger:{id}:stream:{event}:0")).collect::<Vec<_>>()
        };
        let expected: BTreeSet<String> = expected.iter().flat_map(ids).collect();
        let sent: BTreeSet<String> = self.sagas.sent().into_iter().map(|sent| sent.id.to_string()).collect();
        if sent != expected {
            return Err(format!("other commands were sent: {:?}", sent.symmetric_difference(&expected)));
        }
        Ok(())
    }
}

fn check_instance(id: &str, events: &[u64], instance: &Instance) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{id}: {what}"));
    let inputs: Vec<String> = serde_json::from_slice(instance.state.as_deref().unwrap_or(b"[]")).unwrap();
    let (mut seen, mut outcomes) = (Vec::new(), BTreeSet::new());
    let mut armed: BTreeMap<String, u64> = BTreeMap::new();
    for input in &inputs {
        let words: Vec<&str> = input.split(' ').collect();
        match words[..] {
            ["event", sequence] => {
                let sequence: u64 = sequence.parse().unwrap();
                seen.push(sequence);
                for (timer, after) in timers_of(sequence) {
                    match after {
                        Some(_) => drop(armed.insert(timer, sequence)),
                        None => drop(armed.remove(&timer)),
                    }
                }
            }
            ["timer", timer, "of", set_by, _] => {
                if armed.remove(timer) != set_by.parse().ok() {
                    return wrong(format!("{input} went off and was not set"));
                }
            }
            ["outcome", of] => {
                if !outcomes.insert(of.to_owned()) {
                    return wrong(format!("{input} came twice"));
                }
            }
            _ => panic!("{input}"),
        }
    }
    if seen != events {
        return wrong(format!("it has the events {seen:?}, not {events:?}"));
    }
    if outcomes.len() != events.len() || !instance.open.is_empty() {
        return wrong(format!("{} outcomes of {} commands came", outcomes.len(), events.len()));
    }
    if !armed.is_empty() || !instance.timers.is_empty() {
        return wrong(format!("these timers never went off: {armed:?}"));
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn storms_leave_every_instance_as_the_fold_of_its_inputs() {
    let seeds = match number("PELTON_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PELTON_SIM_STORMS").unwrap_or(25),
    };
    for seed in seeds {
        if let Err(wrong) = Storm::new(seed, Bug::None).run().await {
            panic!("storm {seed}: {wrong}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn planted_bugs_are_found() {
    for bug in [Bug::TimersOutsideTheWrite, Bug::OutboxAfterTheInput, Bug::RandomIds, Bug::ForgottenInputs] {
        let mut found = None;
        for seed in 0..40 {
            if let Err(wrong) = Storm::new(seed, bug).run().await {
                found = Some((seed, wrong));
                break;
            }
        }
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

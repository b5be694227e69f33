//! A saga that counts its inputs and does what they say, and a host that runs it in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::dead_letter::{DeadLetter, OnFailure};
use pelton_core::id::{CommandId, InstanceId, Name, Sequence};
use pelton_core::memory::{FlakyNetwork, MemoryDeadLetters, MemoryLog, MemorySagas};
use pelton_core::message::{Event, EventType, Failure, NewCommand, RecordedEvent, Rejection};
use pelton_core::outcomes::{CommandReport, CommandResult};
use pelton_core::plugin::{Identity, Plugin, PluginFault};
use pelton_core::retry::RetryPolicy;
use pelton_core::saga::SagaFlow;
use pelton_core::saga::drain::SagaVersions;
use pelton_core::saga::instance::Instance;
use pelton_core::saga::lead::Start;
use pelton_core::saga::model::{
    Correlation, InputContext, Migrated, Reaction, Relation, SagaInput, Timer, TimerChange,
};
use pelton_core::saga::ports::{Migration, SagaDescriptor, SagaPlugin};
use pelton_core::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Native, event};

/// Events whose data is instances, joined by commas. `start` and `once` start one, `end` ends it. Behind a colon an instance
/// has orders, joined by `/`:
///
/// | order | what it does |
/// |---|---|
/// | `set <id> <due>` | sets a timer, whose data is its id |
/// | `odd <id>` | sets a timer of a type that is not declared |
/// | `cancel <id>` | cancels a timer |
/// | `fail` | fails for good |
/// | `later` | asks for another try after 90 s, once |
/// | `away` | fails twice |
///
/// Each input sends one command, `count`, whose data is how many inputs there were.
#[derive(Clone)]
pub(crate) struct Counter {
    pub(crate) descriptor: Arc<SagaDescriptor>,
    /// What the plugin was called with, in order.
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    pub(crate) tries: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Whether every reaction fails for good.
    pub(crate) is_off: bool,
}

/// The form that this version of the plugin does not read.
pub(crate) const UNREADABLE_FORM: u32 = 9;

impl Default for Counter {
    fn default() -> Self {
        let identity = Identity { name: "counter".to_owned(), version: "1.0.0".to_owned() };
        let types = ["start", "once", "go", "end"];
        let descriptor = SagaDescriptor {
            identity,
            events: types.map(|t| EventType { r#type: t.to_owned(), version: 1 }).to_vec(),
            commands: vec!["count".to_owned()],
            timers: vec!["late".to_owned()],
            takes_outcomes: true,
            state_version: 1,
            migrates: true,
        };
        Self { descriptor: Arc::new(descriptor), calls: Arc::default(), tries: Arc::default(), is_off: false }
    }
}

impl Counter {
    pub(crate) fn of_version(&self, state_version: u32) -> Self {
        let descriptor = SagaDescriptor { state_version, ..(*self.descriptor).clone() };
        Self { descriptor: Arc::new(descriptor), ..self.clone() }
    }

    /// A version with another form of state, which cannot take over the instances of others.
    pub(crate) fn without_migration(&self, state_version: u32, events: &[&str]) -> Self {
        let events = events.iter().map(|t| EventType { r#type: (*t).to_owned(), version: 1 }).collect();
        let descriptor =
            SagaDescriptor { state_version, events, migrates: false, ..(*self.descriptor).clone() };
        Self { descriptor: Arc::new(descriptor), calls: Arc::default(), ..self.clone() }
    }

    /// The number of earlier tries.
    fn tries(&self, what: &str) -> u32 {
        let mut tries = self.tries.lock().unwrap();
        let tries = tries.entry(what.to_owned()).or_default();
        *tries += 1;
        *tries - 1
    }
}

impl Plugin for Counter {
    fn name(&self) -> &str {
        Native.name()
    }

    fn digest(&self) -> &str {
        Native.digest()
    }
}

impl SagaPlugin for Counter {
    fn descriptor(&self) -> &SagaDescriptor {
        &self.descriptor
    }

    async fn correlate(
        &self,
        event: &RecordedEvent,
    ) -> Result<Result<Vec<Correlation>, Failure>, PluginFault> {
        let relation = match event.event.r#type.as_str() {
            "start" => Relation::Start,
            "once" => Relation::StartOnce,
            _ => Relation::Advance,
        };
        let text = std::str::from_utf8(&event.event.data).unwrap();
        if text == "nobody" {
            return Ok(Err(Failure::Invalid("whose is it?".to_owned())));
        }
        let instances = text.split(',').map(|one| one.split(':').next().unwrap_or_default().to_owned());
        Ok(Ok(instances.map(|instance| Correlation { instance, relation }).collect()))
    }

    async fn react(
        &self,
        instance: &InstanceId,
        state: Option<&[u8]>,
        input: &SagaInput,
        context: &InputContext,
    ) -> Result<Result<Reaction, Failure>, PluginFault> {
        tracing::info!("reacting");
        let (what, orders) = match input {
            SagaInput::Event(recorded) => {
                let text = std::str::from_utf8(&recorded.event.data).unwrap();
                let mine = text.split(',').map(|one| one.split_once(':').unwrap_or((one, "")));
                let orders =
                    mine.filter(|(id, _)| *id == instance.as_str()).map(|(_, orders)| orders.to_owned());
                (format!("{} {}", recorded.event.r#type, recorded.position()), orders.collect::<String>())
            }
            SagaInput::Timer(due) => {
                assert_eq!(due.timer.data, due.timer.id.as_bytes());
                assert!(due.time >= due.timer.due && due.time == context.time);
                (format!("timer {} due {} at {}", due.timer.id, due.timer.due.0, due.time.0), String::new())
            }
            SagaInput::Outcome(outcome) => {
                assert!(outcome.command_id.starts_with("saga:counter:"));
                let reference = outcome.reference.clone().unwrap_or_default();
                (format!("outcome {} {}", reference, outcome.result.as_str()), String::new())
            }
        };
        self.calls.lock().unwrap().push(format!("{instance} {what}"));
        assert!(!context.correlation_id.is_empty());
        if self.is_off {
            return Ok(Err(Failure::Invalid("off".to_owned())));
        }
        let count = state.map_or(0, |s| s[0]) + 1;
        let mut timers = Vec::new();
        for order in orders.split('/').filter(|order| !order.is_empty()) {
            let mut words = order.split(' ');
            let (verb, id) = (words.next().unwrap(), words.next().unwrap_or_default().to_owned());
            let set = |r#type: &str, due: u64| {
                let data = Bytes::copy_from_slice(id.as_bytes());
                TimerChange::Set(Timer {
                    id: id.clone(),
                    r#type: r#type.to_owned(),
                    due: Timestamp(due),
                    data,
                })
            };
            match verb {
                "set" => timers.push(set("late", words.next().unwrap().parse().unwrap())),
                "odd" => timers.push(set("early", 0)),
                "cancel" => timers.push(TimerChange::Cancel(id)),
                "fail" => return Ok(Err(Failure::Invalid("it is broken".to_owned()))),
                "later" if self.tries(order) < 1 => return Ok(Err(Failure::Retry(Some(90_000)))),
                "away" if self.tries(instance.as_str()) < 2 => {
                    return Ok(Err(Failure::Other("not yet".to_owned())));
                }
                "later" | "away" => {}
                other => panic!("there is no order {other}"),
            }
        }
        let command = NewCommand {
            r#type: "count".to_owned(),
            reference: Some(format!("c{count}")),
            datacontenttype: None,
            metadata: Vec::new(),
            data: Bytes::from(count.to_string()),
        };
        let ends = matches!(input, SagaInput::Event(recorded) if recorded.event.r#type == "end");
        // An outcome that led to a command would lead to an outcome.
        let commands = if matches!(input, SagaInput::Outcome(_)) { Vec::new() } else { vec![command] };
        Ok(Ok(Reaction { state: (!ends).then(|| vec![count]), commands, timers }))
    }

    /// Counts ten times as many from another version on, and keeps the timers but for `t`.
    async fn migrate(
        &self,
        _: &InstanceId,
        from_version: u32,
        state: &[u8],
        timers: &[Timer],
    ) -> Result<Migration, PluginFault> {
        let timers = timers.iter().filter(|timer| timer.id != "t").cloned().collect();
        Ok(match (self.descriptor.state_version, from_version) {
            _ if !self.descriptor.migrates => None,
            (1, _) => None,
            (_, UNREADABLE_FORM) => Some(Err("too old".to_owned())),
            _ => Some(Ok(Migrated { state: vec![state[0] * 10], timers })),
        })
    }
}

/// Everything that hosts share, in memory.
pub(crate) struct World {
    pub(crate) events: MemoryLog,
    pub(crate) sagas: MemorySagas,
    pub(crate) dead_letters: MemoryDeadLetters,
    pub(crate) plugin: Counter,
    pub(crate) on_failure: OnFailure,
    pub(crate) max_depth: u32,
    pub(crate) start: Start,
}

/// A host that runs the saga.
pub(crate) struct Host {
    task: JoinHandle<()>,
    end: MemorySagas,
    versions: watch::Sender<SagaVersions<Counter>>,
}

impl Host {
    /// Ends it as a crash does.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Ends it in good order.
    pub(crate) async fn stop(self) {
        self.end.stop();
        self.task.await.unwrap();
    }

    /// Gives it another version of the plugin.
    pub(crate) async fn swap(&self, version: impl Into<SagaVersions<Counter>>) {
        self.versions.send_replace(version.into());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(FlakyNetwork::reliable())
    }

    pub(crate) fn with(network: FlakyNetwork) -> Self {
        let network = Arc::new(network);
        let events = MemoryLog::new(Name::new("stream").unwrap());
        Self {
            sagas: MemorySagas::new(network.clone(), events.clone(), Name::new("SAGA-counter").unwrap()),
            dead_letters: MemoryDeadLetters::new(network),
            events,
            plugin: Counter::default(),
            on_failure: OnFailure::Park,
            max_depth: 100,
            start: Start::Beginning,
        }
    }

    pub(crate) fn host(&self, name: &str) -> Host {
        let flow = SagaFlow {
            id: Name::new("counter").unwrap(),
            stream: "stream".into(),
            plugin: self.plugin.clone(),
            on_trial: None,
            draining: Vec::new(),
            store: Arc::new(self.sagas.clone()),
            dead_letters: Arc::new(self.dead_letters.clone()),
            retry: RetryPolicy { max_attempts: 3, ..RetryPolicy::default() },
            on_failure: self.on_failure,
            max_depth: self.max_depth,
        };
        let end = self.sagas.feeds();
        let (versions, runs) = watch::channel(self.plugin.clone().into());
        let task = tokio::spawn(flow.run(end.clone(), self.start, name.to_owned(), runs));
        Host { task, end, versions }
    }

    pub(crate) fn publish(&self, r#type: &str, data: &str) -> Sequence {
        self.publish_event(&event(r#type, data))
    }

    pub(crate) fn publish_event(&self, event: &Event) -> Sequence {
        let at = Timestamp(self.events.last().0 + 1);
        self.events.push(
            &format!("test.1.{}.v1", event.r#type),
            cloudevents::encode(event),
            event.data.clone(),
            at,
        )
    }

    /// Waits until every input was handled that is not held up by a dead letter or a pause.
    pub(crate) async fn settle(&self) {
        for _ in 0..4_000 {
            tokio::time::sleep(Duration::from_millis(600)).await;
            let position = self.sagas.position_now();
            let is_read =
                |stream: &str, last: Sequence| position.as_ref().is_some_and(|p| p.of(stream) >= last);
            if is_read("stream", self.events.last()) && is_read("SAGA-counter", self.sagas.own_log().last()) {
                return;
            }
        }
        panic!("the saga does not get on: {:?}", self.sagas.position_now());
    }

    /// Publishes and waits.
    pub(crate) async fn hand_in(&self, r#type: &str, data: &str) -> Sequence {
        let sequence = self.publish(r#type, data);
        self.settle().await;
        sequence
    }

    /// The commands that were sent: the end of the id and the data.
    pub(crate) fn sent(&self) -> Vec<String> {
        let sent = self.sagas.sent().into_iter().map(|command| {
            let event = cloudevents::decode(&command.headers, &command.data).unwrap();
            assert_eq!((event.id.as_str(), &event.r#type), (command.id.as_str(), &command.r#type));
            assert!(event.extension("causationid").is_some() && event.extension("correlationid").is_some());
            let (saga, instance) = command.id.sender().unwrap();
            assert_eq!(saga.as_str(), "counter");
            let place = command.id.in_instance().unwrap();
            format!("{instance} {place}={}", String::from_utf8_lossy(&command.data))
        });
        sent.collect()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.plugin.calls.lock().unwrap())
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.all().into_iter().map(|(_, dead_letter)| dead_letter).collect()
    }

    pub(crate) fn instance(&self, id: &str) -> Option<Instance> {
        self.sagas.instances().remove(&InstanceId::new(id).unwrap())
    }

    /// How many inputs the instance has counted. `None`: it has ended, or was never there.
    pub(crate) fn count(&self, id: &str) -> Option<u8> {
        self.instance(id)?.state.map(|state| state[0])
    }

    /// The host of the handler tells how a command ended.
    pub(crate) fn tell(&self, instance: &str, place: &str, result: CommandResult) {
        let command_id = CommandId::new(format!("saga:counter:{instance}:{place}")).unwrap();
        let sent = self.sagas.sent().into_iter().find(|command| command.id == command_id);
        let reference = sent.and_then(|command| command.headers.get("Pelton-Reference").map(str::to_owned));
        let report = CommandReport { command_id, r#type: "count".to_owned(), reference, depth: 1, result };
        self.sagas.told(&report, Timestamp(self.sagas.own_log().last().0 + 1_000));
    }
}

pub(crate) fn accepted() -> CommandResult {
    CommandResult::Accepted(vec!["e".to_owned()])
}

pub(crate) fn rejected() -> CommandResult {
    CommandResult::Rejected(Rejection::new("no", "no"))
}

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::consumer::Settlement;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, OnFailure};
use pelton_core::id::{CommandId, InstanceId, Name};
use pelton_core::memory::{FlakyNetwork, MemoryDeadLetters, MemorySagas};
use pelton_core::message::{Failure, NewCommand, RecordedEvent};
use pelton_core::plugin::{Identity, Plugin, PluginFault};
use pelton_core::recorded;
use pelton_core::retry::{Failures, RetryPolicy};
use pelton_core::saga::SagaFlow;
use pelton_core::saga::model::{
    Correlation, InputContext, Migrated, Reaction, Relation, SagaInput, Timer, TimerChange,
};
use pelton_core::saga::ports::{Migration, SagaDescriptor, SagaPlugin, SagaStore};
use pelton_core::time::Timestamp;

use tracing::Level;

use crate::log::{self, Log};
use crate::{Native, event, message};

/// `start`, `go` and `end` events whose data is the instances, joined by commas. Each input sends one command that
/// counts the inputs. `once` starts an instance that was never there. Instances named `broken` fail for good, `away` a few times; `timer` sets a timer, and
/// `odd-timer` one of a type that is not declared. While the
/// switch is on, every reaction fails for good.
struct Counter(Native, SagaDescriptor, Mutex<HashMap<InstanceId, u32>>, AtomicBool);

impl Counter {
    /// The number of earlier inputs of the instance.
    fn tries(&self, instance: &InstanceId) -> u32 {
        let mut tries = self.2.lock().unwrap();
        let tries = tries.entry(instance.clone()).or_default();
        *tries += 1;
        *tries - 1
    }
}

impl Plugin for Counter {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn digest(&self) -> &str {
        self.0.digest()
    }
}

impl SagaPlugin for Counter {
    fn descriptor(&self) -> &SagaDescriptor {
        &self.1
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
        let instances = std::str::from_utf8(&event.event.data).unwrap().split(',');
        Ok(Ok(instances.map(|i| Correlation { instance: i.to_owned(), relation }).collect()))
    }

    async fn react(
        &self,
        instance: &InstanceId,
        state: Option<&[u8]>,
        input: &SagaInput,
        context: &InputContext,
    ) -> Result<Result<Reaction, Failure>, PluginFault> {
        match instance.as_str() {
            _ if self.3.load(Ordering::Relaxed) => return Ok(Err(Failure::Invalid("off".to_owned()))),
            "broken" => return Ok(Err(Failure::Invalid("it is broken".to_owned()))),
            "later" if self.tries(instance) < 1 => {
                return Ok(Err(Failure::Retry(Some(90_000))));
            }
            "away" | "also-away" if self.tries(instance) < 2 => {
                return Ok(Err(Failure::Other("not yet".to_owned())));
            }
            _ => {}
        }
        tracing::info!("reacting");
        let id = context.input_id.split_once(':').unwrap().1;
        assert_eq!(
            (id.split('-').next().unwrap(), context.correlation_id.is_empty()),
            (&*context.time.0.to_string(), false)
        );
        let SagaInput::Event(event) = input else { unreachable!("only events are given") };
        let count = state.map_or(0, |s| s[0]) + 1;
        let commands = vec![NewCommand {
            r#type: "count".to_owned(),
            reference: None,
            datacontenttype: None,
            metadata: Vec::new(),
            data: Bytes::from(format!("{count}")),
        }];
        let known = instance.as_str() == "timer";
        let (id, r#type) = ("t".to_owned(), if known { "late" } else { "early" }.to_owned());
        let timer = Timer { id, r#type, due: Timestamp(0), data: Bytes::new() };
        let timers =
            if instance.as_str().ends_with("timer") { vec![TimerChange::Set(timer)] } else { Vec::new() };
        Ok(Ok(Reaction { state: (event.event.r#type != "end").then(|| vec![count]), commands, timers }))
    }

    /// Counts ten times as many from another version on.
    async fn migrate(
        &self,
        _: &InstanceId,
        from_version: u32,
        state: &[u8],
        _: &[Timer],
    ) -> Result<Migration, PluginFault> {
        Ok(match (self.1.state_version, from_version) {
            (1, _) => None,
            (_, UNREADABLE_FORM) => Some(Err("too old".to_owned())),
            _ => Some(Ok(Migrated { state: vec![state[0] * 10], timers: Vec::new() })),
        })
    }
}

/// The form that this version of the plugin does not read.
const UNREADABLE_FORM: u32 = 9;

type Flow = SagaFlow<Counter, MemorySagas, MemoryDeadLetters>;

fn flow() -> Flow {
    let identity = Identity { name: "counter".to_owned(), version: "1.0.0".to_owned() };
    let events = ["start", "once", "go", "end"]
        .map(|t| pelton_core::message::EventType { r#type: t.to_owned(), version: 1 })
        .to_vec();
    let descriptor = SagaDescriptor {
        identity,
        events,
        commands: vec!["count".to_owned()],
        timers: vec!["late".to_owned()],
        needs_outcomes: false,
        state_version: 1,
    };
    SagaFlow {
        name: Name::new("saga").unwrap(),
        stream: "stream".into(),
        plugin: Counter(Native, descriptor, Mutex::default(), AtomicBool::new(false)),
        store: Arc::new(MemorySagas::new(Arc::new(FlakyNetwork::reliable()))),
        dead_letters: Arc::new(MemoryDeadLetters::new(Arc::new(FlakyNetwork::reliable()))),
        failures: Failures::default(),
        on_failure: OnFailure::Park,
        retry: RetryPolicy { max_attempts: 3, ..RetryPolicy::default() },
    }
}

/// Passes the event until it is settled for good, as the consumer would. Returns the settlements.
async fn hand_in(flow: &Flow, sequence: u64, r#type: &str, instances: &str) -> Vec<Settlement> {
    let mut settlements = Vec::new();
    let mut message = message(sequence, &event(r#type, instances));
    loop {
        let settlement = flow.handle(&message).await;
        settlements.push(settlement.clone());
        if !matches!(settlement, Settlement::RetryAfter(_)) {
            return settlements;
        }
        message.attempt += 1;
    }
}

fn dead_letters(flow: &Flow) -> Vec<DeadLetter> {
    flow.dead_letters.all().into_iter().map(|(_, dead_letter)| dead_letter).collect()
}

fn sent(flow: &Flow) -> Vec<String> {
    let sent = flow.store.sent().into_iter().map(|command| {
        let event = cloudevents::decode(&command.headers, &command.data).unwrap();
        assert_eq!((event.id.as_str(), &event.r#type), (command.id.as_str(), &command.r#type));
        assert!(event.extension("causationid").is_some() && event.extension("correlationid").is_some());
        format!("{}={}", command.id, String::from_utf8_lossy(&command.data))
    });
    sent.collect()
}

#[tokio::test]
async fn an_instance_folds_its_inputs_once_and_its_commands_keep_their_ids() {
    let flow = flow();
    hand_in(&flow, 1, "go", "a").await; // nothing has started yet
    hand_in(&flow, 2, "start", "a,b").await;
    hand_in(&flow, 3, "unknown", "a").await;
    hand_in(&flow, 4, "go", "a").await;
    hand_in(&flow, 4, "go", "a").await; // redelivered: the same command is sent again under the same id
    hand_in(&flow, 2, "start", "a,b").await; // redelivered late: `a` is past it, `b` is not
    hand_in(&flow, 5, "end", "a").await;
    hand_in(&flow, 6, "go", "a").await; // it has ended
    let ids = [
        "saga:saga:a:stream:2:0=1",
        "saga:saga:b:stream:2:0=1",
        "saga:saga:a:stream:4:0=2",
        "saga:saga:a:stream:4:0=2",
        "saga:saga:b:stream:2:0=1",
        "saga:saga:a:stream:5:0=3",
    ];
    assert_eq!(sent(&flow), ids);
}

#[tokio::test]
async fn an_instance_that_starts_once_does_not_start_again_after_its_end() {
    let flow = flow();
    hand_in(&flow, 1, "once", "a").await;
    hand_in(&flow, 2, "once", "a").await; // it is there: an ordinary input
    hand_in(&flow, 3, "end", "a").await;
    hand_in(&flow, 4, "once", "a").await; // it has ended
    let three = ["saga:saga:a:stream:1:0=1", "saga:saga:a:stream:2:0=2", "saga:saga:a:stream:3:0=3"];
    assert_eq!(sent(&flow), three);
    hand_in(&flow, 5, "start", "a").await; // it starts anew
    assert_eq!(sent(&flow)[3..], ["saga:saga:a:stream:5:0=1"]);
    // What was set aside before the instance started has not ended it.
    hand_in(&flow, 6, "once", "broken").await;
    assert_eq!(dead_letters(&flow).len(), 1);
    assert!(!flow.store.load(&InstanceId::new("broken").unwrap()).await.unwrap().0.unwrap().has_ended());
}

/// The instance compared sequences alone, so the second event that an upcaster made of one was taken for handled.
#[tokio::test]
async fn every_part_of_an_event_is_an_input_of_its_own() {
    let flow = flow();
    let message = message(7, &event("start", "a"));
    let first = recorded::of_message(&flow.stream, &message).unwrap();
    let parts =
        [first.clone(), RecordedEvent { part: 1, ..first.clone() }, RecordedEvent { part: 2, ..first }];
    for _ in 0..2 {
        assert_eq!(flow.handle_parts(&message, &parts).await, Settlement::Ack);
    }
    let three = ["saga:saga:a:stream:7:0=1", "saga:saga:a:stream:7-1:0=2", "saga:saga:a:stream:7-2:0=3"];
    assert_eq!(sent(&flow)[..3], three);
    // Of what comes again only the last input's commands are sent once more.
    assert_eq!(sent(&flow)[3..], three[2..]);
}

#[tokio::test]
async fn a_state_of_another_version_is_migrated_once_before_its_next_input() {
    let mut flow = flow();
    hand_in(&flow, 1, "start", "a,b").await;
    flow.plugin.1.state_version = 2;
    hand_in(&flow, 2, "go", "a").await;
    hand_in(&flow, 3, "go", "a").await;
    assert_eq!(sent(&flow)[2..], ["saga:saga:a:stream:2:0=11", "saga:saga:a:stream:3:0=12"]);
    let state_of = async |flow: &Flow, id: &str| {
        let record = flow.store.load(&InstanceId::new(id).unwrap()).await.unwrap().0.unwrap();
        (record.state_version, record.state)
    };
    assert_eq!(state_of(&flow, "a").await, (2, Some(vec![12])));
    // Nothing happened to it since.
    assert_eq!(state_of(&flow, "b").await, (1, Some(vec![1])));
    // A version without a migration gets the state as it is.
    flow.plugin.1.state_version = 1;
    hand_in(&flow, 4, "go", "a").await;
    assert_eq!(sent(&flow).last().unwrap(), "saga:saga:a:stream:4:0=13");
    // One that cannot be migrated sets its input aside, and stays as it is.
    flow.plugin.1.state_version = UNREADABLE_FORM;
    hand_in(&flow, 5, "start", "c").await;
    flow.plugin.1.state_version = 2;
    hand_in(&flow, 6, "go", "c").await;
    assert!(dead_letters(&flow)[0].cause.contains("a state of version 9 for version 2: too old"));
    assert_eq!(state_of(&flow, "c").await, (UNREADABLE_FORM, Some(vec![1])));
}

#[tokio::test]
async fn a_command_that_may_be_lost_is_sent_again_before_the_input_is_done() {
    let flow = flow();
    flow.store.lose_answers(2);
    let settlements = hand_in(&flow, 1, "start", "a").await;
    assert!(
        matches!(settlements[..], [Settlement::RetryAfter(_), Settlement::RetryAfter(_), Settlement::Ack]),
        "{settlements:?}"
    );
    assert_eq!(sent(&flow), ["saga:saga:a:stream:1:0=1"; 3]);
}

// R1: a saga took another sender's command under its id for its own, and its own command was never sent.
#[tokio::test]
async fn a_foreign_command_under_an_id_of_the_saga_quarantines_the_instance() {
    let flow = flow();
    flow.store.occupy(CommandId::new("saga:saga:a:stream:1:0").unwrap());
    hand_in(&flow, 1, "start", "a,b").await;
    assert_eq!(sent(&flow), ["saga:saga:b:stream:1:0=1"]);
    let [dead_letter] = &dead_letters(&flow)[..] else { panic!() };
    assert_eq!(dead_letter.key.as_deref(), Some("a"));
    assert!(
        dead_letter.cause.contains("another command has the id saga:saga:a:stream:1:0"),
        "{}",
        dead_letter.cause
    );
}

#[tokio::test]
async fn an_instance_that_fails_is_quarantined_and_the_others_go_on() {
    let flow = flow();
    hand_in(&flow, 1, "start", "a,broken,b").await;
    hand_in(&flow, 2, "go", "broken,a").await;
    assert_eq!(
        sent(&flow),
        ["saga:saga:a:stream:1:0=1", "saga:saga:b:stream:1:0=1", "saga:saga:a:stream:2:0=2"]
    );
    let dead_letters = dead_letters(&flow);
    let kept: Vec<_> =
        dead_letters.iter().map(|l| (l.message.sequence.0, l.kind, l.key.as_deref())).collect();
    assert_eq!(
        kept,
        [(1, DeadLetterKind::Failed, Some("broken")), (2, DeadLetterKind::Parked, Some("broken"))]
    );
    assert!(
        dead_letters[0].cause.contains("it is broken")
            && dead_letters[1].cause.contains(&dead_letters[0].id())
    );
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again() {
    let flow = flow();
    let settlements = hand_in(&flow, 1, "start", "away").await;
    assert_eq!((settlements.len(), settlements.last()), (3, Some(&Settlement::Ack)));
    assert_eq!(sent(&flow), ["saga:saga:away:stream:1:0=1"]);
}

// R16: the log lines of a plugin could not be matched to a message.
#[tokio::test]
async fn every_log_line_of_an_input_carries_the_input_and_the_instance() {
    let listener = Log::listen(Level::INFO);
    hand_in(&flow(), 3, "start", "a").await;
    let lines = listener.take();
    let line = lines.iter().find(|line| log::message(line) == "reacting").expect("what the plugin wrote");
    let expected = serde_json::json!({
        "name": "saga input", "saga": "saga", "event_id": "start-a", "event_type": "start", "instance": "a",
        "stream": "stream", "sequence": 3, "attempt": 1, "plugin": "native", "digest": "sha256:native",
    });
    assert_eq!(line["span"], expected);
}

// R16: the delay that a plugin asked for was ignored.
#[tokio::test]
async fn an_input_is_tried_again_when_the_plugin_says() {
    let settlements = hand_in(&flow(), 1, "start", "later").await;
    assert_eq!(settlements, [Settlement::RetryAfter(Duration::from_secs(90)), Settlement::Ack]);
}

// R19: the instances of one event shared its attempts, so one used up those of another.
#[tokio::test]
async fn every_instance_of_an_event_has_attempts_of_its_own() {
    let flow = flow();
    let settlements = hand_in(&flow, 1, "start", "away,also-away").await;
    assert_eq!((settlements.len(), dead_letters(&flow).len()), (5, 0));
    assert_eq!(sent(&flow).last().unwrap(), "saga:saga:also-away:stream:1:0=1");
}

#[tokio::test]
async fn what_this_host_cannot_do_is_refused_and_not_forgotten() {
    let flow = flow();
    hand_in(&flow, 1, "start", "timer").await;
    assert!(dead_letters(&flow)[0].cause.contains("timers, which this host does not run yet"));
    assert_eq!(sent(&flow), [""; 0]);
    hand_in(&flow, 2, "start", "a.b").await;
    assert!(dead_letters(&flow)[1].cause.contains("'.' at byte 1"));
    hand_in(&flow, 3, "start", "odd-timer").await;
    assert!(
        dead_letters(&flow)[2]
            .cause
            .contains("a timer of type \"early\", which its descriptor does not list")
    );
}

#[tokio::test]
async fn an_instance_may_go_on_without_the_input_that_failed() {
    let flow = Flow { on_failure: OnFailure::Skip, ..flow() };
    hand_in(&flow, 1, "start", "a.b").await;
    flow.plugin.3.store(true, Ordering::Relaxed);
    hand_in(&flow, 2, "start", "a").await;
    flow.plugin.3.store(false, Ordering::Relaxed);
    hand_in(&flow, 3, "start", "a").await;
    let kinds: Vec<_> = dead_letters(&flow).iter().map(|l| (l.message.sequence.0, l.kind)).collect();
    assert_eq!(kinds, [(1, DeadLetterKind::Failed), (2, DeadLetterKind::Failed)]);
    assert_eq!(sent(&flow), ["saga:saga:a:stream:3:0=1"]);
}

/// An instance `a` that failed at event 2, with events 3 and 4 parked behind it. It would not fail any more.
async fn quarantined() -> Flow {
    let flow = flow();
    hand_in(&flow, 1, "start", "a").await;
    flow.plugin.3.store(true, Ordering::Relaxed);
    hand_in(&flow, 2, "go", "a").await;
    hand_in(&flow, 3, "go", "a,b").await;
    hand_in(&flow, 4, "end", "a").await;
    flow.plugin.3.store(false, Ordering::Relaxed);
    assert_eq!((dead_letters(&flow).len(), sent(&flow)), (3, vec!["saga:saga:a:stream:1:0=1".to_owned()]));
    flow
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_instance_handles_its_inputs_in_order_when_they_are_retried_and_goes_on() {
    let flow = quarantined().await;
    flow.dead_letters.ask("saga", "a");
    flow.retry_if_asked().await.unwrap();
    assert!(dead_letters(&flow).is_empty() && !flow.dead_letters.is_asked());
    hand_in(&flow, 5, "start", "a").await;
    let ids = [
        "saga:saga:a:stream:2:0=2",
        "saga:saga:a:stream:3:0=3",
        "saga:saga:a:stream:4:0=4",
        "saga:saga:a:stream:5:0=1",
    ];
    assert_eq!(sent(&flow)[1..], ids);
}

#[tokio::test(start_paused = true)]
async fn an_input_that_fails_again_keeps_its_place_until_it_is_dropped() {
    let flow = quarantined().await;
    flow.plugin.3.store(true, Ordering::Relaxed);
    flow.dead_letters.ask("saga", "a");
    flow.retry_if_asked().await.unwrap();
    assert_eq!((dead_letters(&flow).len(), flow.dead_letters.failed_again().len()), (3, 1));
    flow.plugin.3.store(false, Ordering::Relaxed);
    flow.dead_letters.remove(flow.dead_letters.all()[0].0);
    flow.dead_letters.ask("saga", "a");
    flow.retry_if_asked().await.unwrap();
    assert_eq!(sent(&flow)[1..], ["saga:saga:a:stream:3:0=2", "saga:saga:a:stream:4:0=3"]);
    assert!(dead_letters(&flow).is_empty());
}

/// Regression: an input waited behind itself if the host had ended before it told the consumer.
#[tokio::test]
async fn an_input_that_failed_is_not_parked_as_well_when_it_comes_again() {
    let flow = quarantined().await;
    assert_eq!(hand_in(&flow, 2, "go", "a").await, [Settlement::Ack]);
    let kinds: Vec<_> = dead_letters(&flow).iter().map(|l| (l.message.sequence.0, l.kind)).collect();
    let (failed, parked) = (DeadLetterKind::Failed, DeadLetterKind::Parked);
    assert_eq!(kinds, [(2, failed), (3, parked), (4, parked)]);
}

#[tokio::test(start_paused = true)]
async fn the_quarantine_ends_with_the_last_letter_however_it_went() {
    let flow = quarantined().await;
    for (at, _) in flow.dead_letters.all() {
        flow.dead_letters.remove(at);
    }
    hand_in(&flow, 5, "go", "a").await;
    assert_eq!(sent(&flow)[1..], ["saga:saga:a:stream:5:0=2"]);
}

#[test]
fn no_input_is_missed_or_handled_twice_whatever_is_lost_while_it_is_retried() {
    for seed in 0..100 {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let network = Arc::new(FlakyNetwork::flaky(seed, 20, 300));
            let flow = Flow { dead_letters: Arc::new(MemoryDeadLetters::new(network)), ..flow() };
            hand_in(&flow, 1, "start", "a").await;
            flow.plugin.3.store(true, Ordering::Relaxed);
            hand_in(&flow, 2, "go", "a").await;
            hand_in(&flow, 3, "go", "a").await;
            flow.plugin.3.store(false, Ordering::Relaxed);
            flow.dead_letters.ask("saga", "a");
            // Two hosts retry, and the next event comes meanwhile.
            let retry = async || {
                while flow.dead_letters.is_asked() {
                    let _ = flow.retry_if_asked().await;
                }
            };
            tokio::join!(retry(), retry(), hand_in(&flow, 4, "go", "a"));
            flow.dead_letters.ask("saga", "a");
            retry().await;
            let once: std::collections::BTreeSet<String> = sent(&flow).into_iter().collect();
            let expected = (1..=4).map(|n| format!("saga:saga:a:stream:{n}:0={n}")).collect();
            assert_eq!((once, dead_letters(&flow).len()), (expected, 0), "seed {seed}");
        });
    }
}

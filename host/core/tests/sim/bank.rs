//! Hosts, clients and a network in memory, and what must be true of what they leave behind.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pelton_core::client::Submission;
use pelton_core::cloudevents::CAUSATION_ID;
use pelton_core::command::entity::CacheLimits;
use pelton_core::command::outcome::{Answer, EventRef, MarkOutcome, Outcome, OutcomeRecord};
use pelton_core::command::ports::{CommandStore, EntityMessage, Stored};
use pelton_core::command::reader::{self, Limits};
use pelton_core::command::snapshot::{SnapshotKey, SnapshotPolicy};
use pelton_core::command::trial::HandlerVersion;
use pelton_core::command::{CommandFlow, HandlerSettings};
use pelton_core::consumer::{Consumer, Delivery};
use pelton_core::dead_letter::{OnFailure, Retries};
use pelton_core::id::{CommandId, CommandType, Name, Sequence};
use pelton_core::intake::{CommandRoute, Intake};
use pelton_core::memory::{FlakyNetwork, MemoryDeadLetters, MemoryQueue, MemoryStore};
use pelton_core::message::{Command, Fingerprint, Headers, Incoming, RecordedEvent};
use pelton_core::retry::RetryPolicy;
use pelton_core::subject::EntityTemplate;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::account::{Account, Manners, effect};

pub(crate) const LIMITS: Limits =
    Limits { max_in_flight: 32, progress_every: Duration::from_secs(1), min_ahead: 2 };

/// A command: its id and type, the account and the amount.
pub(crate) type Sent = (String, &'static str, u32, i64);

/// Ends a host as a crash does. None of its shards runs any more when this returns: one that still settled its copy of a
/// command took another out of the queue, which was sent after the crash.
pub(crate) async fn crash(host: JoinHandle<()>) {
    host.abort();
    let _ = host.await;
}

/// No version of the plugin takes the place of another.
pub(crate) fn no_versions() -> watch::Receiver<HandlerVersion<Account>> {
    watch::channel(Account::new(Manners::default()).into()).1
}

pub(crate) struct Bank {
    pub(crate) network: Arc<FlakyNetwork>,
    pub(crate) store: MemoryStore,
    pub(crate) dead_letters: MemoryDeadLetters,
    pub(crate) queue: MemoryQueue,
    pub(crate) intake: Arc<Intake>,
    /// Of the plugin of every host that is started from now on.
    pub(crate) manners: Manners,
    pub(crate) cache: CacheLimits,
    pub(crate) on_failure: OnFailure,
    pub(crate) max_attempts: u32,
    pub(crate) snapshots: SnapshotPolicy,
    pub(crate) load_beside_from: u64,
    /// Snapshots that there were.
    older: HashMap<SnapshotKey, Bytes>,
}

type Flow = CommandFlow<Account, MemoryStore, MemoryDeadLetters>;

impl Bank {
    pub(crate) fn new(network: FlakyNetwork) -> Self {
        let route = CommandRoute {
            template: EntityTemplate::parse("account.{number}").unwrap(),
            tokens: BTreeMap::from([("number".to_owned(), "/account".to_owned())]),
            partitions: pelton_core::partition::Partitions::ONE,
        };
        let commands = ["deposit", "withdraw", "split", "nothing", "undeclared"];
        let network = Arc::new(network);
        let queue = MemoryQueue::new(Name::new("commands").unwrap(), Duration::from_secs(5));
        Self {
            store: MemoryStore::new("bank", network.clone(), queue.clone()),
            dead_letters: MemoryDeadLetters::new(network.clone()),
            network,
            queue,
            intake: Arc::new(Intake::new(commands.map(|c| (c.to_owned(), route.clone())).into())),
            manners: Manners::default(),
            cache: CacheLimits::default(),
            on_failure: OnFailure::Skip,
            max_attempts: 3,
            snapshots: SnapshotPolicy::default(),
            load_beside_from: u64::MAX,
            older: HashMap::new(),
        }
    }

    pub(crate) fn flow(&self) -> Flow {
        self.flow_with(self.dead_letters.clone())
    }

    /// A host's flow whose dead letters go here.
    pub(crate) fn flow_with<L: Retries>(&self, dead_letters: L) -> CommandFlow<Account, MemoryStore, L> {
        self.flow_on(self.store.clone(), dead_letters)
    }

    /// A host's flow on these ports.
    pub(crate) fn flow_on<S: CommandStore, L: Retries>(
        &self,
        store: S,
        dead_letters: L,
    ) -> CommandFlow<Account, S, L> {
        let retry = RetryPolicy { max_attempts: self.max_attempts, ..RetryPolicy::default() };
        CommandFlow::new(
            Name::new("account").unwrap(),
            "bank".into(),
            Account::new(self.manners.clone()),
            Arc::new(store),
            Arc::new(dead_letters),
            HandlerSettings {
                retry,
                on_failure: self.on_failure,
                keep: Duration::from_secs(3600),
                cache: self.cache,
                snapshots: self.snapshots,
                load_beside_from: self.load_beside_from,
            },
        )
    }

    /// A host of two shards at work; [`crash`] ends it.
    pub(crate) fn host(&self) -> JoinHandle<()> {
        self.host_with(no_versions())
    }

    /// The same, with the versions of the plugin that take its place.
    pub(crate) fn host_with(&self, versions: watch::Receiver<HandlerVersion<Account>>) -> JoinHandle<()> {
        let (consumer, intake, shards) =
            (self.queue.consumer(), self.intake.clone(), vec![self.flow(), self.flow()]);
        tokio::spawn(async move { reader::run(consumer, intake, shards, versions, LIMITS).await })
    }

    pub(crate) fn send(&self, id: &str, r#type: &str, account: u32, amount: i64) {
        self.send_with(id, r#type, account, amount, &[]);
    }

    pub(crate) fn send_with(&self, id: &str, r#type: &str, account: u32, amount: i64, more: &[(&str, &str)]) {
        self.send_at((id, r#type, account, amount), "", more);
    }

    /// A command whose subject goes on like this.
    pub(crate) fn send_at(&self, command: (&str, &str, u32, i64), suffix: &str, more: &[(&str, &str)]) {
        self.send_from("/test", command, suffix, more);
    }

    /// The same from this sender.
    pub(crate) fn send_from(
        &self,
        source: &str,
        (id, r#type, account, amount): (&str, &str, u32, i64),
        suffix: &str,
        more: &[(&str, &str)],
    ) {
        let mut headers = self.headers(source, id, r#type);
        more.iter().for_each(|(name, value)| headers.push(*name, *value));
        let data = format!(r#"{{"account":{account},"amount":{amount}}}"#);
        self.queue.publish(format!("command.{type}.{id}{suffix}"), headers, data.into());
    }

    /// The headers of a command, whose sender waits for its outcome.
    pub(crate) fn headers(&self, source: &str, id: &str, r#type: &str) -> Headers {
        let submission = Submission {
            id: CommandId::new(id).unwrap(),
            r#type: CommandType::new(r#type).unwrap(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            datacontenttype: "application/json".to_owned(),
            metadata: Vec::new(),
            expected: None,
            data: Bytes::new(),
            fingerprint: Fingerprint::of(&[]),
        };
        submission.headers(source, Some("_INBOX.test"))
    }

    pub(crate) fn decode(&self, message: &Incoming) -> Command {
        self.intake.decode(message).unwrap()
    }

    /// Has one host handle the next message.
    pub(crate) async fn handle_next<L: Retries>(&self, host: &CommandFlow<Account, MemoryStore, L>) {
        let delivery = self.queue.consumer().next().await.unwrap();
        let command = self.intake.decode(delivery.message());
        let entity = command.as_ref().ok().map(|command| command.entity.clone());
        let settlement = host.handle(delivery.message(), command.as_ref()).await;
        delivery.settle(settlement).await;
        if let Some(snapshot) = host.take_snapshot(&entity.unwrap()).await {
            host.keep_snapshot(snapshot).await;
        }
    }

    /// Runs one host until everything is settled.
    pub(crate) async fn settle(&self) {
        let host = self.host();
        self.settled().await;
        crash(host).await;
    }

    pub(crate) async fn settled(&self) {
        while self.queue.unsettled() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The outcomes that waiting senders were told, in order.
    pub(crate) fn endings(&self) -> Vec<OutcomeRecord> {
        let ended = |answer| match answer {
            Answer::Ended(record) => Some(record),
            Answer::Parked(_) | Answer::Unreadable(_) => None,
        };
        self.store.replies().into_iter().filter_map(|(_, answer)| ended(answer)).collect()
    }

    pub(crate) fn outcome(&self, id: &str) -> Outcome {
        self.outcomes()[&CommandId::new(id).unwrap()].clone()
    }

    /// How every command ended, as the stream of its entity says.
    pub(crate) fn outcomes(&self) -> HashMap<CommandId, Outcome> {
        let mut outcomes = HashMap::new();
        for (_, Stored { sequence, links, body }) in self.store.messages() {
            let command = links.unwrap().cause.command;
            match body {
                EntityMessage::Event(RecordedEvent { event, stream, .. }) => {
                    let stored = EventRef {
                        id: event.id,
                        r#type: event.r#type,
                        version: event.version,
                        stream: stream.to_string(),
                        sequence,
                    };
                    match outcomes.entry(command).or_insert(Outcome::Accepted { events: Vec::new() }) {
                        Outcome::Accepted { events } => events.push(stored),
                        // A dead letter was retried.
                        other => *other = Outcome::Accepted { events: vec![stored] },
                    }
                }
                EntityMessage::Mark(mark) => {
                    let outcome = match mark.outcome {
                        MarkOutcome::Accepted { events: 0 } => Outcome::Accepted { events: Vec::new() },
                        MarkOutcome::Accepted { .. } => continue,
                        MarkOutcome::Rejected { rejection } => Outcome::Rejected { rejection },
                        MarkOutcome::Failed { cause } => Outcome::Failed { cause },
                    };
                    outcomes.insert(command, outcome);
                }
            }
        }
        outcomes
    }

    /// Spoils a snapshot, puts it in the place of another, or an older one back.
    pub(crate) fn mix_up_snapshots(&mut self, rng: &mut fastrand::Rng) {
        let mut snapshots = self.store.snapshots();
        let mut all: Vec<_> =
            self.older.iter().chain(&snapshots).map(|(k, v)| (k.clone(), v.clone())).collect();
        all.sort_by(|a, b| (a.0.as_str(), &a.1).cmp(&(b.0.as_str(), &b.1)));
        self.older.extend(snapshots.clone());
        let Some((key, mut bytes)) = rng.choice(all.iter()).cloned() else { return };
        match rng.u32(0..3) {
            0 => bytes.truncate(rng.usize(..=bytes.len())),
            1 => bytes = rng.choice(all).map(|(_, other)| other).unwrap_or_default(),
            _ => {}
        }
        snapshots.insert(key, bytes);
        self.store.replace_snapshots(snapshots);
    }

    /// Checks that everything that was accepted is known when no outcome is kept any more: from a snapshot or from the
    /// events.
    pub(crate) async fn every_accepted_command_is_known(&self, sent: &[Sent]) {
        let (first, events) = (self.outcomes(), self.store.events().len());
        self.store.expire_marks();
        let mut known = Vec::new();
        for (id, r#type, account, amount) in sent {
            let id = CommandId::new(id).unwrap();
            if matches!(first[&id], Outcome::Accepted { .. }) {
                self.send(id.as_str(), r#type, *account, *amount);
                known.push(id);
            }
        }
        self.settle().await;
        assert_eq!(self.store.events().len(), events, "a retry took effect");
        let again = self.outcomes();
        for id in known {
            assert_eq!(again[&id], first[&id], "the outcome of {id}, asked again");
        }
    }

    /// Checks the promises on what is stored: the events of every accepted command once, complete, in order, on a state
    /// that allowed them; none of any other; one outcome a command. Answers how many commands were accepted.
    pub(crate) fn audit(&self, sent: &HashSet<String>) -> usize {
        let mut balances: HashMap<String, i64> = HashMap::new();
        let mut by_command: HashMap<String, Vec<(String, Sequence)>> = HashMap::new();
        let mut histories: HashMap<String, Vec<Sequence>> = HashMap::new();
        for (subject, stored) in self.store.events() {
            let event = &stored.body.event;
            let entity = subject.split('.').nth(1).unwrap().to_owned();
            let balance = balances.entry(entity.clone()).or_default();
            *balance += effect(&event.r#type, &event.data);
            let earlier = histories.entry(entity.clone()).or_default();
            let header = stored.links.unwrap().backlinks;
            assert_eq!(header.count(), earlier.len() as u64, "{subject} at {}", stored.sequence);
            let listed = header.resolve(stored.sequence);
            assert_eq!(
                listed[..],
                earlier[earlier.len() - listed.len()..],
                "{subject} at {}",
                stored.sequence
            );
            earlier.push(stored.sequence);
            let command = event.extension(CAUSATION_ID).unwrap().to_owned();
            by_command.entry(command).or_default().push((event.id.clone(), stored.sequence));
        }
        assert!(
            balances.values().all(|b| *b >= 0),
            "a withdrawal was decided on another state: {balances:?}"
        );
        let outcomes = self.outcomes();
        assert_eq!(outcomes.len(), sent.len(), "every command has one outcome");
        for (id, outcome) in &outcomes {
            let stored = by_command.remove(id.as_str()).unwrap_or_default();
            let told: Vec<_> = match outcome {
                Outcome::Accepted { events } => events.iter().map(|e| (e.id.clone(), e.sequence)).collect(),
                _ => Vec::new(),
            };
            assert_eq!(stored, told, "command {id}");
            assert!(
                stored.iter().enumerate().all(|(n, (event, _))| *event == format!("{id}:{n}")),
                "command {id}: {stored:?}"
            );
        }
        assert!(by_command.is_empty(), "events without an accepted command: {by_command:?}");
        for announced in self.endings() {
            let outcome = &outcomes[&announced.command_id];
            let was_retried =
                self.on_failure == OnFailure::Park && matches!(announced.outcome, Outcome::Failed { .. });
            assert!(
                was_retried || announced.outcome == *outcome,
                "every answer to {} is the first: {announced:?}, {outcome:?}",
                announced.command_id
            );
        }
        outcomes.values().filter(|outcome| matches!(outcome, Outcome::Accepted { .. })).count()
    }
}

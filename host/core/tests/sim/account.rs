//! A bank account as a native plugin: deposits, withdrawals that may not exceed the balance, transfers of two events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pelton_core::command::ports::{EntityInstance, HandlerDescriptor, HandlerPlugin, Isolation};
use pelton_core::message::{Command, EventType, NewEvent, RecordedEvent, Rejection};
use pelton_core::plugin::{FaultKind, Identity, Plugin, PluginFault};

pub(crate) struct Account {
    descriptor: HandlerDescriptor,
    manners: Manners,
    /// How many shared sandboxes of this shard have broken.
    broken: Arc<AtomicU32>,
}

/// How the plugin behaves. Clones share what they count.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// A version of the plugin with a rule more: no odd amounts.
    pub(crate) stricter: bool,
    /// A command that a version from before does not take.
    pub(crate) lacks: Option<&'static str>,
    /// How many of the next decisions break the sandbox. The first may break a shared one, which is no attempt.
    pub(crate) breaks: Arc<AtomicU32>,
    /// How many of the next decisions find no room.
    pub(crate) no_room: Arc<AtomicU32>,
    /// What it says besides when it breaks.
    pub(crate) complaint: String,
    /// How many events were folded.
    pub(crate) folded: Arc<AtomicU32>,
    /// How many snapshots were asked for.
    pub(crate) asked: Arc<AtomicU32>,
    pub(crate) snapshot: Snapshot,
    /// After how many folds a sandbox is worn out; 0: never.
    pub(crate) wears_out_after: u32,
    /// How long a snapshot takes.
    pub(crate) snapshot_time: Duration,
    pub(crate) state_version: u32,
}

/// What it does with snapshots.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Snapshot {
    #[default]
    Works,
    /// It gives none.
    Absent,
    /// To give one breaks the sandbox.
    Breaks,
    /// It does not take one back, and says why.
    IsRefused,
    /// To take one back breaks the sandbox.
    RestoreBreaks,
    /// It takes one back, and what is folded on it breaks the sandbox.
    Spoils,
}

impl Account {
    pub(crate) fn new(manners: Manners) -> Self {
        let event = |name: &str| EventType { r#type: name.to_owned(), version: 1 };
        let identity = Identity { name: "account".to_owned(), version: "1.0.0".to_owned() };
        let commands = ["deposit", "withdraw", "split", "nothing", "undeclared"];
        let commands = commands.iter().filter(|command| manners.lacks != Some(**command));
        let descriptor = HandlerDescriptor {
            identity,
            commands: commands.map(|command| (*command).to_owned()).collect(),
            emits: vec![event("deposited"), event("withdrawn")],
            folds: vec![event("deposited"), event("withdrawn")],
            rejections: ["too-little", "odd"].map(str::to_owned).to_vec(),
            state_version: manners.state_version,
            decides_ahead: true,
        };
        Self { descriptor, manners, broken: Arc::default() }
    }
}

impl Plugin for Account {
    fn name(&self) -> &str {
        "account"
    }

    fn digest(&self) -> &str {
        if self.manners.stricter { "sha256:stricter" } else { "sha256:native" }
    }
}

impl HandlerPlugin for Account {
    type Instance = State;

    fn descriptor(&self) -> &HandlerDescriptor {
        &self.descriptor
    }

    fn for_shard(&self) -> Self {
        Self { descriptor: self.descriptor.clone(), manners: self.manners.clone(), broken: Arc::default() }
    }

    async fn create(&self, _: &str, isolation: Isolation) -> Result<State, PluginFault> {
        Ok(State {
            balance: 0,
            spoiled: false,
            calls: 0,
            manners: self.manners.clone(),
            sandbox: match isolation {
                Isolation::Shared => Some((self.broken.clone(), self.broken.load(Ordering::Relaxed))),
                Isolation::Alone => None,
            },
            fault: PluginFault {
                kind: FaultKind::Broke,
                shared: isolation == Isolation::Shared,
                ..self.fault(format!("it broke{}", self.manners.complaint))
            },
        })
    }

    async fn restore(
        &self,
        id: &str,
        snapshot: &[u8],
        isolation: Isolation,
    ) -> Result<Result<State, String>, PluginFault> {
        let state = self.create(id, isolation).await?;
        let balance = std::str::from_utf8(snapshot).unwrap().parse().unwrap();
        match self.manners.snapshot {
            Snapshot::IsRefused => Ok(Err("another form".to_owned())),
            Snapshot::RestoreBreaks => Err(state.broken()),
            spoils => Ok(Ok(State { balance, spoiled: spoils == Snapshot::Spoils, ..state })),
        }
    }
}

pub(crate) struct State {
    balance: i64,
    spoiled: bool,
    calls: u32,
    manners: Manners,
    /// How many of the shard's sandboxes have broken, and had when this one was made; None: it is alone in its own.
    sandbox: Option<(Arc<AtomicU32>, u32)>,
    fault: PluginFault,
}

impl State {
    fn check(&self) -> Result<(), PluginFault> {
        match self.is_alive() {
            true => Ok(()),
            false => Err(PluginFault { kind: FaultKind::Gone, ..self.fault.clone() }),
        }
    }

    fn broken(&self) -> PluginFault {
        if let Some((broken, _)) = &self.sandbox {
            broken.fetch_add(1, Ordering::Relaxed);
        }
        self.fault.clone()
    }
}

/// The amount that an event adds to the balance.
pub(crate) fn effect(r#type: &str, data: &[u8]) -> i64 {
    let amount: i64 = std::str::from_utf8(data).unwrap().parse().unwrap();
    if r#type == "deposited" { amount } else { -amount }
}

impl EntityInstance for State {
    async fn evolve(&mut self, events: &[RecordedEvent]) -> Result<(), PluginFault> {
        self.check()?;
        self.calls += 1;
        if self.spoiled {
            return Err(self.broken());
        }
        self.manners.folded.fetch_add(u32::try_from(events.len()).unwrap(), Ordering::Relaxed);
        self.balance += events.iter().map(|e| effect(&e.event.r#type, &e.event.data)).sum::<i64>();
        Ok(())
    }

    async fn decide(&mut self, command: &Command) -> Result<Result<Vec<NewEvent>, Rejection>, PluginFault> {
        tokio::task::yield_now().await;
        tracing::info!("deciding");
        let once_less = |n: u32| n.checked_sub(1);
        if self.manners.no_room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, once_less).is_ok() {
            return Err(PluginFault { kind: FaultKind::NoRoom, shared: false, ..self.fault.clone() });
        }
        if self.manners.breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, once_less).is_ok() {
            return Err(self.broken());
        }
        self.check()?;
        let data: serde_json::Value = serde_json::from_slice(&command.data).unwrap();
        let amount = data["amount"].as_i64().unwrap();
        let event = |name: &str, amount: i64| NewEvent {
            r#type: name.to_owned(),
            version: 1,
            datacontenttype: None,
            extensions: Vec::new(),
            data: Bytes::from(amount.to_string()),
        };
        let too_little = || Rejection::new("too-little", format!("the balance is {}", self.balance));
        Ok(match command.r#type.as_str() {
            _ if self.manners.stricter && amount % 2 == 1 => Err(Rejection::new("odd", "an odd amount")),
            "deposit" => Ok(vec![event("deposited", amount)]),
            "withdraw" if amount <= self.balance => Ok(vec![event("withdrawn", amount)]),
            "split" if amount <= self.balance => {
                Ok(vec![event("withdrawn", amount), event("deposited", 1), event("deposited", amount - 1)])
            }
            "withdraw" | "split" => Err(too_little()),
            "nothing" => Ok(Vec::new()),
            _ => Ok(vec![event(&"never-declared".repeat(usize::try_from(amount).unwrap()), amount)]),
        })
    }

    async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        self.manners.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.manners.snapshot_time).await;
        self.check()?;
        match self.manners.snapshot {
            Snapshot::Absent => Ok(None),
            Snapshot::Breaks => Err(self.broken()),
            _ => Ok(Some(self.balance.to_string().into_bytes())),
        }
    }

    fn is_alive(&self) -> bool {
        self.sandbox.as_ref().is_none_or(|(broken, at)| broken.load(Ordering::Relaxed) == *at)
    }

    fn is_retired(&self) -> bool {
        self.manners.wears_out_after > 0 && self.calls >= self.manners.wears_out_after
    }

    fn memory_bytes(&self) -> usize {
        64
    }
}

//! A bank account as a native plugin: deposits, withdrawals that may not exceed the balance, transfers of two events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use pelton_core::message::{Command, EventType, NewEvent, RecordedEvent, Rejection};
use pelton_core::ports::{
    EntityInstance, FaultKind, HandlerDescriptor, HandlerPlugin, Identity, Plugin, PluginFault,
};

pub(crate) struct Account {
    descriptor: HandlerDescriptor,
    /// How many of the next decisions break the sandbox.
    pub(crate) breaks: Arc<AtomicU32>,
}

impl Account {
    pub(crate) fn new() -> Self {
        let event = |name: &str| EventType { r#type: name.to_owned(), version: 1 };
        let identity = Identity { name: "account".to_owned(), version: "1.0.0".to_owned() };
        let commands = ["deposit", "withdraw", "split", "nothing", "undeclared"].map(str::to_owned).to_vec();
        let descriptor = HandlerDescriptor {
            identity,
            commands,
            events: vec![event("deposited"), event("withdrawn")],
            state_version: 1,
            decides_ahead: true,
        };
        Self { descriptor, breaks: Arc::default() }
    }
}

impl Plugin for Account {
    fn name(&self) -> &str {
        "account"
    }

    fn digest(&self) -> &str {
        "sha256:native"
    }
}

impl HandlerPlugin for Account {
    type Instance = State;

    fn descriptor(&self) -> &HandlerDescriptor {
        &self.descriptor
    }

    async fn create(&self, _: &str) -> Result<State, PluginFault> {
        Ok(State { balance: 0, breaks: self.breaks.clone(), fault: self.fault("it broke") })
    }

    async fn restore(&self, id: &str, _: &[u8]) -> Result<Result<State, String>, PluginFault> {
        self.create(id).await.map(Ok)
    }
}

pub(crate) struct State {
    balance: i64,
    breaks: Arc<AtomicU32>,
    fault: PluginFault,
}

/// The amount that an event adds to the balance.
pub(crate) fn effect(r#type: &str, data: &[u8]) -> i64 {
    let amount: i64 = std::str::from_utf8(data).unwrap().parse().unwrap();
    if r#type == "deposited" { amount } else { -amount }
}

impl EntityInstance for State {
    async fn evolve(&mut self, events: &[RecordedEvent]) -> Result<(), PluginFault> {
        self.balance += events.iter().map(|e| effect(&e.event.r#type, &e.event.data)).sum::<i64>();
        Ok(())
    }

    async fn decide(&mut self, command: &Command) -> Result<Result<Vec<NewEvent>, Rejection>, PluginFault> {
        tokio::task::yield_now().await;
        if self.breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
            return Err(PluginFault { kind: FaultKind::Broke, ..self.fault.clone() });
        }
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
            "deposit" => Ok(vec![event("deposited", amount)]),
            "withdraw" if amount <= self.balance => Ok(vec![event("withdrawn", amount)]),
            "split" if amount <= self.balance => {
                Ok(vec![event("withdrawn", amount), event("deposited", 1), event("deposited", amount - 1)])
            }
            "withdraw" | "split" => Err(too_little()),
            "nothing" => Ok(Vec::new()),
            _ => Ok(vec![event("never-declared", amount)]),
        })
    }

    async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        Ok(None)
    }

    fn memory_bytes(&self) -> usize {
        64
    }
}

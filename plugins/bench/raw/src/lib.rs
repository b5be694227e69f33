//! The ledger on raw bytes, written against the contract itself: no SDK, no JSON. A call costs what the sandbox costs;
//! the difference to the other plugins is the price of reading and writing.
//!
//! Commands and events are the same bytes: the account's name (8 bytes), the amount (8 bytes, little endian), and any
//! rest.

use std::cell::Cell;

use bindings::exports::pelton::plugin::{command_handler as handler, projection};
use bindings::pelton::plugin::types::{
    Command, EventType, Failure, Identity, NewEvent, RecordedEvent, Rejection,
};

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        unsafe_code,
        clippy::allow_attributes_without_reason,
        reason = "generated code; its exports are pointers into linear memory"
    )]
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package bench:raw;
                 world raw {
                   export pelton:plugin/command-handler@0.1.0;
                   export pelton:plugin/projection@0.1.0;
                 }",
        world: "bench:raw/raw",
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Raw;
    #[cfg(target_family = "wasm")]
    export!(Raw with_types_in self);
}

const DEPOSITED: &str = "deposited";
const ACCOUNT_FULL: &str = "account-full";
const ACCOUNT_BYTES: usize = 8;
const AMOUNT: std::ops::Range<usize> = 8..16;

struct Raw;

/// The balance.
#[derive(Default)]
struct Entity(Cell<u64>);

fn amount(data: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(AMOUNT)?.try_into().ok()?))
}

fn identity() -> Identity {
    Identity {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        metadata: Vec::new(),
    }
}

fn events() -> Vec<EventType> {
    vec![EventType { type_: DEPOSITED.to_owned(), version: 1 }]
}

impl handler::Guest for Raw {
    type Entity = Entity;

    fn describe() -> handler::Descriptor {
        handler::Descriptor {
            identity: identity(),
            commands: vec!["deposit".to_owned()],
            emits: events(),
            folds: events(),
            rejections: vec![ACCOUNT_FULL.to_owned()],
            state_version: 1,
            metadata: Vec::new(),
        }
    }
}

impl handler::GuestEntity for Entity {
    fn new(_id: String) -> Self {
        Self::default()
    }

    fn restore(_id: String, _snapshot: Vec<u8>) -> Result<handler::Entity, String> {
        Err("it takes no snapshots".to_owned())
    }

    fn evolve(&self, events: Vec<RecordedEvent>) -> Result<(), String> {
        for recorded in events {
            let amount = amount(&recorded.event.data).ok_or("an event without an amount")?;
            self.0.set(self.0.get().wrapping_add(amount));
        }
        Ok(())
    }

    fn decide(&self, command: Command) -> Result<Vec<NewEvent>, Rejection> {
        match amount(&command.data).and_then(|amount| self.0.get().checked_add(amount)) {
            Some(_) => Ok(vec![NewEvent {
                type_: DEPOSITED.to_owned(),
                version: 1,
                datacontenttype: None,
                extensions: Vec::new(),
                data: command.data,
            }]),
            None => Err(Rejection {
                code: ACCOUNT_FULL.to_owned(),
                message: "the account cannot hold so much".to_owned(),
                details: Vec::new(),
            }),
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }
}

impl projection::Guest for Raw {
    fn describe() -> projection::Descriptor {
        projection::Descriptor {
            identity: identity(),
            events: events(),
            view_version: 1,
            metadata: Vec::new(),
        }
    }

    fn keys(events: Vec<RecordedEvent>) -> Result<Vec<Vec<String>>, Failure> {
        events.iter().map(|recorded| Ok(vec![account(recorded)?])).collect()
    }

    fn project(
        events: Vec<RecordedEvent>,
        views: Vec<projection::View>,
    ) -> Result<Vec<projection::View>, Failure> {
        let mut views = views;
        for recorded in events {
            let key = account(&recorded)?;
            let view = views.iter_mut().find(|view| view.key == key);
            let view = view.ok_or_else(|| Failure::Other(format!("the view of {key} is missing")))?;
            view.value = Some(recorded.event.data);
        }
        Ok(views)
    }
}

fn account(recorded: &RecordedEvent) -> Result<String, Failure> {
    let name = recorded.event.data.get(..ACCOUNT_BYTES).map(<[u8]>::to_vec);
    let name = name.and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| Failure::Invalid("an event without an account".to_owned()))
}

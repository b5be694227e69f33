//! Commands and events of the ledger, in the host's types.

use std::collections::BTreeMap;

use anyhow::anyhow;
use bytes::Bytes;
use pelton_core::id::{CommandId, CommandType, Name, Sequence};
use pelton_core::intake::CommandRoute;
use pelton_core::message::{Command, Event, Fingerprint, Headers, Incoming, RecordedEvent};
use pelton_core::partition::Partitions;
use pelton_core::subject::{Entity, EntityTemplate};
use pelton_core::time::Timestamp;

/// The data of a command, and of an event, in bytes.
const DATA_BYTES: usize = 256;

/// The route of deposits, which finds their account.
pub(crate) fn route() -> anyhow::Result<CommandRoute> {
    let template = EntityTemplate::parse("ledger.{account}")?;
    let tokens = BTreeMap::from([("account".to_owned(), "/account".to_owned())]);
    Ok(CommandRoute { template, tokens, partitions: Partitions::ONE })
}

pub(crate) fn account(number: usize) -> String {
    format!("a{number:06}")
}

pub(crate) fn entity(number: usize) -> anyhow::Result<Entity> {
    let account = account(number);
    let tokens = BTreeMap::from([("account", account)]);
    route()?.template.entity(&tokens).map_err(|(name, cause)| anyhow!("{name} {cause}"))
}

/// JSON of 256 bytes.
pub(crate) fn json(start: &str) -> Bytes {
    let rest = DATA_BYTES.saturating_sub(start.len() + r#","note":""}"#.len());
    format!(r#"{start},"note":"{}"}}"#, "n".repeat(rest)).into()
}

/// The same content in 256 raw bytes: a name, an amount, padding.
pub(crate) fn raw(number: usize) -> Bytes {
    let mut bytes = vec![0; DATA_BYTES];
    bytes[..8].copy_from_slice(format!("{number:08}").as_bytes());
    bytes[8..16].copy_from_slice(&7_u64.to_le_bytes());
    bytes.into()
}

pub(crate) fn deposit(number: usize) -> Bytes {
    json(&format!(r#"{{"account":"{}","amount":7"#, account(number)))
}

/// A deposit as the command stream delivers it.
pub(crate) fn incoming(number: usize, sequence: u64) -> anyhow::Result<Incoming> {
    let id = format!("bench-{sequence:026}");
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", &id),
        ("ce-source", "/bench"),
        ("ce-type", "deposit"),
        ("ce-datacontenttype", "application/json"),
        ("Pelton-Reply-To", "_INBOX.bench.nobody"),
    ];
    Ok(Incoming {
        stream: Name::new("COMMANDS")?,
        sequence: Sequence(sequence),
        subject: format!("command.deposit.{id}"),
        headers: headers.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Headers>(),
        payload: deposit(number),
        stored_at: Timestamp(1_700_000_000_123_456_789 + sequence),
        attempt: 1,
    })
}

pub(crate) fn command(data: Bytes) -> anyhow::Result<Command> {
    Ok(Command {
        id: CommandId::new("bench-00000000000000000000000001")?,
        r#type: CommandType::new("deposit")?,
        entity: entity(1)?,
        logged_at: Sequence(1),
        time: Timestamp(1_700_000_000_123_456_789),
        correlation_id: "bench-00000000000000000000000001".to_owned(),
        causation_id: None,
        traceparent: None,
        principal: None,
        datacontenttype: Some("application/json".to_owned()),
        metadata: Vec::new(),
        context: Vec::new(),
        fingerprint: Fingerprint::of(&[&data]),
        data,
        reply_to: None,
        expected: None,
        reference: None,
        depth: 0,
    })
}

pub(crate) fn event(data: Bytes) -> RecordedEvent {
    let id = "bench-00000000000000000000000001".to_owned();
    RecordedEvent {
        event: Event {
            id: format!("{id}:0"),
            source: format!("/ledger/{}", account(1)),
            r#type: "deposited".to_owned(),
            version: 1,
            subject: Some(account(1)),
            time: Some(Timestamp(1_700_000_000_123_456_789)),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: vec![("correlationid".to_owned(), id.clone()), ("causationid".to_owned(), id)],
            data,
        },
        stream: "ledger".into(),
        sequence: Sequence(1),
        part: 0,
        recorded_at: Timestamp(1_700_000_000_123_456_789),
    }
}

//! Measures what a call costs on this machine: `cargo run --release -p pelton-wasm --example call_cost PLUGIN.wasm
//! COMMAND DATA [LIVE]`.
//!
//! PLUGIN is a command handler that accepts the command COMMAND with the JSON DATA on a fresh entity.
//! LIVE entities (5,000) are kept alive at once.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::id::{CommandId, CommandType, Sequence};
use pelton_core::message::{Command, Event, Fingerprint, RecordedEvent};
use pelton_core::subject::EntityTemplate;
use pelton_core::time::Timestamp;
use pelton_wasm::{Limits, Plugins, Settings};

/// The number of batches of which the fastest is shown. The slower ones show the other load of the machine.
const BATCHES: u32 = 50;
const CALLS: u32 = 1_000;

macro_rules! fastest {
    ($what:literal, $call:expr) => {
        let mut fastest = Duration::MAX;
        for _ in 0..BATCHES {
            let started = Instant::now();
            for _ in 0..CALLS {
                $call;
            }
            fastest = fastest.min(started.elapsed());
        }
        print($what, fastest, CALLS);
    };
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, r#type, data, live) = match arguments.as_slice() {
        [path, r#type, data] => (path, r#type, data, 5_000),
        [path, r#type, data, live] => (path, r#type, data, live.parse()?),
        _ => bail!("usage: call_cost PLUGIN.wasm COMMAND DATA [LIVE]"),
    };
    let plugins = Plugins::new(&Settings::default())?;
    let started = Instant::now();
    let loaded = plugins.load("measured", std::path::PathBuf::from(path), Limits::default()).await?;
    println!("load                {:?}", started.elapsed());
    let handler = loaded.handler().context("the plugin is not a command handler")?;

    let template = EntityTemplate::parse("measured.{id}").map_err(|e| anyhow::anyhow!("{e}"))?;
    let tokens = BTreeMap::from([("id", "1".to_owned())]);
    let entity = template.entity(&tokens).map_err(|(_, e)| anyhow::anyhow!("{e}"))?;
    let command = Command {
        id: CommandId::new("c1")?,
        r#type: CommandType::new(r#type)?,
        entity: entity.clone(),
        logged_at: Sequence(1),
        time: Timestamp(1),
        correlation_id: "c1".to_owned(),
        causation_id: None,
        traceparent: None,
        principal: None,
        datacontenttype: Some("application/json".to_owned()),
        metadata: Vec::new(),
        context: Vec::new(),
        data: data.clone().into(),
        fingerprint: Fingerprint::of(&[data.as_bytes()]),
        reply_to: None,
        expected: None,
        reference: None,
        depth: 0,
    };
    let mut instance = handler.create(entity.id(), Isolation::Shared).await?;
    let decided = instance
        .decide(&command)
        .await?
        .map_err(|no| anyhow::anyhow!("rejected: {} {}", no.code, no.message))?;
    let events: Vec<RecordedEvent> = (1..)
        .zip(&decided)
        .map(|(sequence, new)| RecordedEvent {
            event: Event {
                id: format!("c1:{sequence}"),
                source: "/measured/1".to_owned(),
                r#type: new.r#type.clone(),
                version: new.version,
                subject: Some("1".to_owned()),
                time: Some(Timestamp(1)),
                datacontenttype: new.datacontenttype.clone(),
                dataschema: None,
                extensions: vec![
                    ("correlationid".to_owned(), "c1".to_owned()),
                    ("causationid".to_owned(), "c1".to_owned()),
                ],
                data: new.data.clone(),
            },
            stream: "measured".into(),
            sequence: Sequence(sequence),
            part: 0,
            recorded_at: Timestamp(1),
        })
        .collect();

    fastest!("snapshot", instance.snapshot().await?);
    fastest!("decide", instance.decide(&command).await?.ok());
    fastest!("evolve", instance.evolve(&events).await?);
    fastest!("decide, rejected", instance.decide(&command).await?.err());

    let (started, before) = (Instant::now(), resident_kib());
    let mut alive = Vec::new();
    for n in 0..live {
        let mut entity = handler
            .create("1", Isolation::Shared)
            .await
            .with_context(|| format!("after {n} live entities"))?;
        entity.evolve(&events).await?;
        alive.push(entity);
    }
    print("create and evolve", started.elapsed(), live);
    println!("live entity         {} KiB resident", resident_kib().saturating_sub(before) / u64::from(live));
    let started = Instant::now();
    for entity in alive.iter_mut().rev() {
        entity.decide(&command).await?.err();
    }
    print("decide, cold", started.elapsed(), live);
    Ok(())
}

fn print(what: &str, took: Duration, times: u32) {
    println!("{what:<19} {:?}", took / times);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

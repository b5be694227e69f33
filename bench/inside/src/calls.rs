//! Measures what a call into a plugin costs, from the host's own types to the host's own types.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::projection::view::ViewChange;
use pelton_wasm::{LoadedPlugin, WasmHandler, WasmProjection};
use serde_json::{Map, Value, json};

use crate::{load, made};

/// The number of timed batches; each is one figure.
const BATCHES: usize = 51;
/// The calls of one batch.
const CALLS: usize = 1_000;
/// The instances that one batch makes.
const INSTANCES: usize = 100;

/// Measures calls with one event or command of 256 bytes: with JSON and the SDK, and on raw bytes without it.
pub(crate) async fn measure(plugins: &Path) -> anyhow::Result<Value> {
    let deposited = made::json(&format!(r#"{{"account":"{}","amount":7,"balance":7"#, made::account(1)));
    let (ledger, accounts) = (load(plugins, "bench-ledger").await?, load(plugins, "bench-accounts").await?);
    let view = Bytes::from(format!(r#"{{"account":"{}","balance":7,"deposits":1}}"#, made::account(1)));
    let with_sdk = Subject {
        handler: handler(&ledger)?,
        projection: projection(&accounts)?,
        command: made::deposit(1),
        event: deposited,
        view: ViewChange { key: made::account(1), value: Some(view) },
    };
    let raw = load(plugins, "bench-raw").await?;
    let on_raw_bytes = Subject {
        handler: handler(&raw)?,
        projection: projection(&raw)?,
        command: made::raw(1),
        event: made::raw(1),
        view: ViewChange { key: "00000001".to_owned(), value: Some(made::raw(1)) },
    };
    Ok(json!({ "call": with_sdk.measure().await?, "call_raw": on_raw_bytes.measure().await? }))
}

fn handler(plugin: &LoadedPlugin) -> anyhow::Result<WasmHandler> {
    plugin.handler().cloned().context("it is not a command handler")
}

fn projection(plugin: &LoadedPlugin) -> anyhow::Result<WasmProjection> {
    plugin.projection().cloned().context("it is not a projection")
}

/// The functions to call, and their arguments.
struct Subject {
    handler: WasmHandler,
    projection: WasmProjection,
    command: Bytes,
    event: Bytes,
    view: ViewChange,
}

/// Times batches of an expression. Evaluates to the nanoseconds of one call, batch by batch.
macro_rules! batches {
    ($calls:expr, $call:expr) => {{
        let mut figures = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            let began = Instant::now();
            for _ in 0..$calls {
                $call;
            }
            figures.push(began.elapsed().as_secs_f64() * 1e9 / $calls as f64);
        }
        figures
    }};
}

impl Subject {
    async fn measure(self) -> anyhow::Result<Value> {
        let Self { handler, projection, command, event, view } = self;
        let (command, events, views) = (made::command(command)?, [made::event(event)], [view]);
        let mut figures = Map::new();
        let mut entity = handler.create(command.entity.id(), Isolation::Shared).await?;
        let decided = entity.decide(&command).await?;
        decided.map_err(|no| anyhow!("the command is rejected: {} {}", no.code, no.message))?;
        figures.insert("decide_ns".to_owned(), batches!(CALLS, drop(entity.decide(&command).await?)).into());
        figures.insert("evolve_ns".to_owned(), batches!(CALLS, entity.evolve(&events).await?).into());
        let failed = |failure| anyhow!("the event is not taken: {failure:?}");
        projection.keys(&events).await?.map_err(failed)?;
        projection.project(&events, &views).await?.map_err(failed)?;
        figures.insert("keys_ns".to_owned(), batches!(CALLS, drop(projection.keys(&events).await?)).into());
        let project = batches!(CALLS, drop(projection.project(&events, &views).await?));
        figures.insert("project_ns".to_owned(), project.into());
        // Kept while the clock runs, so that dropping an instance is not measured.
        for (key, isolation) in [("instantiate_us", Isolation::Alone), ("entity_us", Isolation::Shared)] {
            let mut made = Vec::with_capacity(BATCHES);
            for _ in 0..BATCHES {
                let mut alive = Vec::with_capacity(INSTANCES);
                let began = Instant::now();
                for _ in 0..INSTANCES {
                    alive.push(handler.create(command.entity.id(), isolation).await?);
                }
                made.push(began.elapsed().as_secs_f64() * 1e6 / INSTANCES as f64);
            }
            figures.insert(key.to_owned(), made.into());
        }
        Ok(figures.into())
    }
}

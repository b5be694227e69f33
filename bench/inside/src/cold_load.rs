//! Measures the load of an entity that is not alive: read from a large stream, instantiated, folded.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use pelton_core::command::entity::LiveEntity;
use pelton_core::command::history::EntityHistory;
use pelton_core::command::ports::{CommandStore, HandlerPlugin, Isolation, StoredMessage};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_nats::{ConnectSettings, Nats, StoreSettings, StreamStore};
use serde_json::{Value, json};

use crate::{load, made};

/// The number of events of every account.
const EVENTS: usize = 20;

/// Loads accounts drawn at random, one after the other. Returns the milliseconds of each load.
pub(crate) async fn measure(
    plugins: &Path,
    url: &str,
    accounts: usize,
    loads: usize,
) -> anyhow::Result<Value> {
    let ledger = load(plugins, "bench-ledger").await?;
    let handler = ledger.handler().context("it is not a command handler")?;
    let nats = Nats::connect(&ConnectSettings::new(url)).await?;
    let store = StreamStore::start(&nats, &Name::new("ledger")?, StoreSettings::default());
    let nobody = CommandId::new("nobody")?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut figures = Vec::with_capacity(loads);
    for _ in 0..loads {
        let entity = made::entity(random.usize(..accounts))?;
        let began = Instant::now();
        let last = store.last(&entity).await?.context("it has no events")?;
        // As a handler does it: with what tells which commands have ended.
        let (events, end, mark) = tokio::try_join!(
            store.history(&entity, Sequence::NONE, last),
            async { Ok(store.last_command().await?) },
            store.mark(&entity, &nobody),
        )?;
        ensure!(end >= Sequence::NONE && mark.is_none(), "{} has a mark of nobody's", entity.id());
        let count = events.len();
        let mut live =
            LiveEntity::new(handler.create(entity.id(), Isolation::Shared).await, EntityHistory::default());
        live.fold(events.into_iter().map(StoredMessage::from).collect()).await;
        figures.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(count == EVENTS, "{} has {count} events", entity.id());
        live.instance()?;
    }
    store.close().await;
    nats.close().await?;
    Ok(json!({ "cold_load": figures }))
}

//! The path of a command through Pelton's own code: decoded, decided in the sandbox, appended, folded, recorded. The
//! store is in memory, so nothing here waits.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pelton_core::command::entity::CacheLimits;
use pelton_core::command::ports::{HandlerPlugin, Isolation};
use pelton_core::command::snapshot::SnapshotPolicy;
use pelton_core::command::{CommandFlow, HandlerSettings};
use pelton_core::consumer::Settlement;
use pelton_core::dead_letter::OnFailure;
use pelton_core::id::Name;
use pelton_core::intake::Intake;
use pelton_core::memory::{FlakyNetwork, MemoryDeadLetters, MemoryQueue, MemoryStore};
use pelton_core::retry::RetryPolicy;

use crate::{load, made};

/// Handles `commands` commands for each of `entities` entities, all of which stay alive. Returns the time of one
/// command, without the first command of each entity, which creates the entity.
pub(crate) async fn handle(plugins: &Path, entities: usize, commands: usize) -> anyhow::Result<Duration> {
    let ledger = load(plugins, "bench-ledger").await?;
    let handler = ledger.handler().context("it is not a command handler")?.clone();
    // The handler's errors about a plugin go to its log, which is not read here.
    handler.create("nobody", Isolation::Shared).await?;
    let intake = Intake::new(HashMap::from([("deposit".to_owned(), made::route()?)]));
    let network = Arc::new(FlakyNetwork::reliable());
    let log = MemoryQueue::new(Name::new("commands")?, Duration::from_secs(30));
    let flow = CommandFlow::new(
        Name::new("ledger")?,
        "ledger".into(),
        handler,
        Arc::new(MemoryStore::new("ledger", network.clone(), log)),
        Arc::new(MemoryDeadLetters::new(network)),
        HandlerSettings {
            retry: RetryPolicy::default(),
            on_failure: OnFailure::Skip,
            keep: Duration::from_secs(3600),
            cache: CacheLimits { entities, bytes: usize::MAX },
            snapshots: SnapshotPolicy::default(),
            load_beside_from: u64::MAX,
        },
    );
    let mut sequence = 0;
    let mut began = Instant::now();
    for nth in 0..commands {
        if nth == 1 {
            began = Instant::now();
        }
        for number in 0..entities {
            sequence += 1;
            let message = made::incoming(number, sequence)?;
            let command = intake.decode(&message);
            let settlement = flow.handle(&message, command.as_ref()).await;
            ensure!(matches!(settlement, Settlement::Ack), "a command is not settled: {settlement:?}");
        }
    }
    Ok(began.elapsed().div_f64((entities * commands.saturating_sub(1)).max(1) as f64))
}

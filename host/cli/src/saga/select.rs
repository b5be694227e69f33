//! The instances that a filter shows.

use std::ops::ControlFlow;

use pelton_core::id::Name;
use pelton_core::saga::instance::Instance;
use pelton_nats::Nats;
use pelton_nats::sagas::{SagaView, StoredInstance};

use super::{failed, find, status};
use crate::args::saga::{FilterArgs, InstanceStatus};
use crate::config::{Config, SagaConfig};
use crate::exit::Failure;

/// Whether the filter shows the instance, if it shows the saga.
pub(super) fn takes(filter: &FilterArgs, instance: &Instance) -> bool {
    let is_wanted = match filter.status {
        Some(wanted) => status(instance) == wanted,
        None => status(instance) != InstanceStatus::Ended,
    };
    is_wanted && filter.timer.as_ref().is_none_or(|timer| instance.timers.contains_key(timer))
}

/// Finds the instances that the filter shows, one saga after the other. One instance at a time is in memory, and the ids that
/// the server lists at once.
pub(super) async fn each(
    config: &Config,
    nats: &Nats,
    filter: &FilterArgs,
    mut found: impl FnMut(&Name, &SagaConfig, StoredInstance) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let sagas: Vec<_> = match &filter.saga {
        Some(saga) => vec![find(config, saga)?],
        None => config.sagas.iter().collect(),
    };
    for (name, saga) in sagas {
        let (view, mut from) = (SagaView::new(nats, &saga.id), Some(0));
        while let Some(seen) = from {
            let page = view.page(seen).await.map_err(failed)?;
            for id in page.ids {
                let Some(stored) = view.instance(&id).await.map_err(failed)? else { continue };
                if takes(filter, &stored.instance) && found(name, saga, stored).is_break() {
                    return Ok(());
                }
            }
            from = page.next;
        }
    }
    Ok(())
}

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

/// Finds the instances that the filter shows, one saga after the other, until `found` has seen enough.
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
        let view = SagaView::new(nats, &saga.id);
        let all = view.each(|stored| match takes(filter, &stored.instance) {
            true => found(name, saga, stored),
            false => ControlFlow::Continue(()),
        });
        if all.await.map_err(failed)?.is_break() {
            break;
        }
    }
    Ok(())
}

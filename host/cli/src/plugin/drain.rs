//! Instances of sagas whose state is in another form: which version each of them goes on with.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use pelton_core::id::Name;
use pelton_core::saga::ports::SagaPlugin;
use pelton_nats::plugin_store::activation::{Activation, PluginVersion, SagaForm};
use pelton_nats::sagas::SagaView;
use pelton_wasm::WasmSaga;

use super::client::Client;

/// The form of a saga's instances.
pub(super) fn form(saga: &WasmSaga) -> SagaForm {
    let descriptor = saga.descriptor();
    SagaForm { state_version: descriptor.state_version, migrates: descriptor.migrates }
}

/// Leaves out the versions that drain and have no instances any more.
pub(super) async fn forget_ended(
    client: &Client,
    plugin: &Name,
    activation: &mut Activation,
) -> anyhow::Result<()> {
    if !activation.draining.is_empty() {
        let instances = instances(client, plugin).await?;
        activation.draining.retain(|version| of(version, &instances) > 0);
    }
    Ok(())
}

/// How many instances of the plugin's sagas go on with this version.
pub(super) fn of(version: &PluginVersion, instances: &BTreeMap<u32, usize>) -> usize {
    version.saga.and_then(|form| instances.get(&form.state_version)).copied().unwrap_or_default()
}

/// How many instances have a state of each version.
pub(super) async fn instances(client: &Client, plugin: &Name) -> anyhow::Result<BTreeMap<u32, usize>> {
    let mut of_version = BTreeMap::new();
    for saga in client.config.sagas.values().filter(|saga| saga.plugin == *plugin) {
        let view = SagaView::new(&client.nats, &saga.id);
        let all = view.each(|stored| {
            if stored.instance.state.is_some() {
                *of_version.entry(stored.instance.state_version).or_default() += 1;
            }
            ControlFlow::Continue(())
        });
        let _ = all.await?;
    }
    Ok(of_version)
}

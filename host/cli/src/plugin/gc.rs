//! `pelton plugin gc`: removes components that nothing runs and no rollback needs.

use std::collections::{BTreeMap, BTreeSet};

use pelton_core::id::Name;
use pelton_nats::hosts;
use pelton_nats::plugin_store::activation::Activation;
use pelton_nats::plugin_store::{Act, Component};
use pelton_wasm::component_of;

use super::client::Client;
use crate::args::plugin::GcArgs;
use crate::exit::Failure;
use crate::operator;
use crate::terminal::say;

/// Removes them, or says which it would remove.
pub(super) async fn run(arguments: &GcArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let failed = |error| Failure::Run(anyhow::Error::from(error));
    let components = client.store.components(arguments.plugin.as_ref()).await.map_err(failed)?;
    let activations = client.store.activations().await.map_err(failed)?;
    let hosts = hosts::ask(&client.nats).await.map_err(|away| Failure::Run(away.into()))?;
    let running: BTreeSet<&str> =
        hosts.iter().flat_map(|host| host.plugins.values()).map(|digest| component_of(digest)).collect();
    let by = operator::name(arguments.operator.by.as_deref());
    for component in unused(&components, &activations, &running, arguments.keep) {
        let Component { plugin, digest, version, .. } = component;
        if arguments.dry_run {
            say(&format!("would remove {plugin}@{version} {digest}"));
            continue;
        }
        client.store.remove(component).await.map_err(failed)?;
        let act = Act::Removed { component: digest.clone(), version: version.clone() };
        client.store.note(plugin, &by, act).await.map_err(failed)?;
        say(&format!("removed {plugin}@{version} {digest}"));
    }
    Ok(())
}

/// What can go: not what a record names, a rollback brings back, or instances of a saga go on with, not what a host runs, not
/// the last ones of a plugin.
fn unused<'a>(
    components: &'a [Component],
    activations: &BTreeMap<Name, Activation>,
    running: &BTreeSet<&str>,
    keep: usize,
) -> Vec<&'a Component> {
    let mut kept: BTreeMap<&Name, usize> = BTreeMap::new();
    let mut unused = Vec::new();
    for component in components.iter().rev() {
        let named = activations.get(&component.plugin).is_some_and(|activation| {
            let Activation { before, runs, draining, .. } = activation;
            let mut versions = before.iter().chain([runs]).chain(draining);
            versions.any(|version| version.component == component.digest)
        });
        if named || running.contains(component.digest.as_str()) {
            continue;
        }
        let kept = kept.entry(&component.plugin).or_default();
        if *kept < keep {
            *kept += 1;
        } else {
            unused.push(component);
        }
    }
    unused
}

#[cfg(test)]
mod tests {
    use pelton_core::id::Sequence;
    use pelton_core::time::Timestamp;
    use pelton_nats::plugin_store::activation::{Cause, PluginVersion};

    use super::*;

    fn component(digest: &str) -> Component {
        Component {
            plugin: Name::new("booking").unwrap(),
            digest: digest.to_owned(),
            version: digest.to_owned(),
            bytes: 1,
            roles: Vec::new(),
            by: String::new(),
            at: Timestamp(0),
            verdict: None,
        }
    }

    fn version(digest: &str) -> PluginVersion {
        let settings = BTreeMap::new();
        PluginVersion {
            component: digest.to_owned(),
            version: digest.to_owned(),
            settings,
            one_way: false,
            saga: None,
        }
    }

    #[test]
    fn what_runs_or_could_run_again_stays() {
        let components: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(component).into();
        let plugin = Name::new("booking").unwrap();
        let activation = Activation {
            plugin: plugin.clone(),
            runs: version("c"),
            cause: Cause::Activated,
            by: String::new(),
            at: Timestamp(0),
            before: vec![version("b")],
            withdrawn: Vec::new(),
            draining: vec![version("f")],
            revision: Sequence(1),
        };
        let activations = BTreeMap::from([(plugin, activation)]);
        let running = BTreeSet::from([component_of("e+settings:01")]);
        let removed = |keep| -> Vec<_> {
            let unused = unused(&components, &activations, &running, keep);
            unused.into_iter().map(|component| component.digest.as_str()).collect()
        };
        assert_eq!(removed(0), ["d", "a"]);
        assert_eq!(removed(1), ["a"]);
        assert_eq!(removed(9), [""; 0]);
    }
}

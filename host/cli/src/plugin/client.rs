//! The plugin store of one server, with lookup of versions.

use anyhow::{Context, anyhow, bail};
use pelton_core::id::Name;
use pelton_nats::Nats;
use pelton_nats::plugin_store::activation::{Activation, PluginVersion};
use pelton_nats::plugin_store::{Component, PluginStore};
use pelton_wasm::{Plugins, Settings};

use crate::args::common::ServerArgs;
use crate::compile;
use crate::config::{Config, PluginConfig, PluginSource};
use crate::exit::Failure;
use crate::run::from_store;
use crate::server;
use crate::terminal::one_line;

/// The plugin store of one server.
pub(super) struct Client {
    pub(super) config: Config,
    pub(super) nats: Nats,
    pub(super) store: PluginStore,
    pub(super) json: bool,
}

impl Client {
    /// Reads the configuration, connects, and creates the store if there is none.
    pub(super) async fn open(arguments: &ServerArgs) -> Result<Self, Failure> {
        let (config, nats) = server::connect(arguments).await?;
        let store = from_store::open(&config, &nats).await.map_err(Failure::Run)?;
        Ok(Self { config, nats, store, json: arguments.json })
    }

    /// The plugin's table in the configuration. Its source must be the store.
    pub(super) fn configured(&self, plugin: &Name) -> Result<&PluginConfig, Failure> {
        let Some(configured) = self.config.plugins.get(plugin) else {
            let known: Vec<_> = self.config.plugins.keys().map(Name::as_str).collect();
            return Err(Failure::Usage(format!(
                "the configuration has no plugin {plugin}; it has {}",
                known.join(", ")
            )));
        };
        if configured.source == PluginSource::File {
            return Err(Failure::Usage(format!(
                "hosts run the plugin {plugin} from its file, so nothing can be activated; \
                 write source = \"store\" into [plugins.{plugin}] and start them again"
            )));
        }
        Ok(configured)
    }

    /// The plugin's activation record.
    pub(super) async fn active(&self, plugin: &Name) -> Result<Option<Activation>, Failure> {
        self.store.active(plugin).await.map_err(|error| Failure::Run(error.into()))
    }

    /// The component of a version; without one, the component that was pushed last.
    pub(super) async fn find(&self, plugin: &Name, version: Option<&str>) -> Result<Component, Failure> {
        let components = self.store.components(Some(plugin)).await.map_err(|e| Failure::Run(e.into()))?;
        select(components, plugin, version).map_err(Failure::Run)
    }

    /// A version with the settings of the configuration, as `activate` would write it. It does not know its saga's form.
    pub(super) fn version(configured: &PluginConfig, component: &Component, one_way: bool) -> PluginVersion {
        let settings = configured.settings.iter();
        PluginVersion {
            component: component.digest.clone(),
            version: component.version.clone(),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            one_way,
            saga: None,
        }
    }
}

fn select(components: Vec<Component>, plugin: &Name, version: Option<&str>) -> anyhow::Result<Component> {
    let Some(version) = version else {
        let nothing =
            || anyhow!("nothing was pushed for the plugin {plugin}; `pelton plugin push` does that");
        return components.into_iter().next_back().ok_or_else(nothing);
    };
    let named = |component: &&Component| match version.strip_prefix("sha256:") {
        Some(digits) => component.digest.trim_start_matches("sha256:").starts_with(digits),
        None => component.version == version,
    };
    let found: Vec<_> = components.iter().filter(named).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => bail!(
            "the plugin store has no {plugin}@{version}; it has {}",
            listed(components.iter().map(|component| component.version.as_str()))
        ),
        several => bail!(
            "several components are {plugin}@{version}; name one by its digest: {}",
            listed(several.iter().map(|component| component.digest.as_str()))
        ),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(one_line).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// A loader with the options that a host uses. It shares compiled code with hosts of this machine, if they are this user's.
pub(super) fn sandbox(config: &Config) -> anyhow::Result<Plugins> {
    let with = |cache_dir| Settings { cache_dir, compiler: compile::program(), ..Settings::default() };
    let shared = Plugins::new(&with(config.wasm.compiled_code.clone()));
    shared.or_else(|_| Plugins::new(&with(None))).context("the sandbox cannot be set up")
}

#[cfg(test)]
mod tests {
    use pelton_core::time::Timestamp;

    use super::*;

    fn component(digest: &str, version: &str) -> Component {
        Component {
            plugin: Name::new("booking").unwrap(),
            verdict: None,
            digest: format!("sha256:{digest}"),
            version: version.to_owned(),
            bytes: 1,
            roles: Vec::new(),
            by: String::new(),
            at: Timestamp(0),
        }
    }

    #[test]
    fn a_version_is_found_by_its_name_or_as_many_digits_as_tell_it_from_others() {
        let all = || vec![component("aa1", "1"), component("ab2", "2"), component("b3", "2")];
        let find = |version: Option<&str>| {
            let plugin = Name::new("booking").unwrap();
            select(all(), &plugin, version)
                .map(|component| component.digest)
                .map_err(|error| error.to_string())
        };
        assert_eq!(find(None).unwrap(), "sha256:b3", "the last one");
        assert_eq!(find(Some("1")).unwrap(), "sha256:aa1");
        assert_eq!(find(Some("sha256:ab")).unwrap(), "sha256:ab2");
        for (version, expected) in [
            ("2", "several components are booking@2; name one by its digest: sha256:ab2, sha256:b3"),
            ("sha256:a", "several components"),
            ("3", "has no booking@3; it has 1, 2, 2"),
        ] {
            let refused = find(Some(version)).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}

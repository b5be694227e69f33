//! The activation record: what a plugin runs, and what a rollback brings back.

use std::collections::BTreeMap;
use std::fmt;

use pelton_core::id::{Name, Sequence};
use pelton_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The most versions that rollbacks can bring back, one after the other.
const MAX_BEFORE: usize = 16;
/// The most versions that were taken back and are remembered.
const MAX_WITHDRAWN: usize = 64;

/// A version of a plugin: its component with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginVersion {
    /// `sha256:` and 64 hexadecimal digits.
    pub component: String,
    /// The version's name, from the operator who pushed it.
    pub version: String,
    /// The settings that it reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Whether there is no way back from it, because the version before cannot read what it writes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_way: bool,
    /// The form of its saga's instances, if it has this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga: Option<SagaForm>,
}

/// The form of a saga's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SagaForm {
    /// The version of their state.
    pub state_version: u32,
    /// Whether the plugin takes over instances of other forms.
    pub migrates: bool,
}

impl PluginVersion {
    /// Whether the two run the same component with the same settings.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.component == other.component && self.settings == other.settings
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.component.get(..19).unwrap_or(&self.component);
        write!(f, "{} ({digest}", self.version)?;
        if !self.settings.is_empty() {
            write!(f, ", {} settings", self.settings.len())?;
        }
        f.write_str(")")
    }
}

/// Why a plugin was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// An operator activated it.
    Activated,
    /// An operator went back to it.
    RolledBack,
    /// A host went back to it, because the version after it failed where this one did not.
    Broke {
        /// The fault of the version after it.
        fault: String,
    },
}

/// What a plugin runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activation {
    /// The plugin's name in configurations.
    pub plugin: Name,
    /// The version that it runs.
    pub runs: PluginVersion,
    /// Why it was switched.
    pub cause: Cause,
    /// Who switched it.
    pub by: String,
    /// When it was switched.
    pub at: Timestamp,
    /// The versions that rollbacks bring back, the next one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<PluginVersion>,
    /// The versions that were taken back and not activated again since. What they made of events is not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<PluginVersion>,
    /// The versions with which a saga's instances in other forms go on until they end, one for each form, the last one that ran
    /// in front. Each is needed as long as such instances exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<PluginVersion>,
    /// The position of the record in the bucket's stream: one for every switch.
    #[serde(skip, default)]
    pub revision: Sequence,
}

impl Activation {
    /// The version that a rollback brings back. The error says why there is no way back.
    pub fn rollback(&self) -> Result<&PluginVersion, String> {
        let Self { plugin, runs, before, .. } = self;
        if runs.one_way {
            return Err(format!(
                "{plugin} {runs} was activated with --one-way: the version before cannot read what it has written; activate a version that can"
            ));
        }
        before.last().ok_or_else(|| {
            format!("{plugin} {runs} is the first version that was activated; there is none before it")
        })
    }

    pub(super) fn after(
        plugin: &Name,
        now: Option<&Self>,
        to: PluginVersion,
        cause: Cause,
        by: &str,
    ) -> Self {
        let mut before = now.map_or_else(Vec::new, |now| now.before.clone());
        let mut withdrawn = now.map_or_else(Vec::new, |now| now.withdrawn.clone());
        let draining = draining(&to, now);
        match (&cause, now) {
            (Cause::Activated, Some(now)) => before.push(now.runs.clone()),
            (_, None) => {}
            // A version that was taken back is not one to go back to.
            (Cause::RolledBack | Cause::Broke { .. }, Some(now)) => {
                before.pop();
                withdrawn.push(now.runs.clone());
            }
        }
        withdrawn.retain(|version| !version.is_same(&to));
        before.drain(..before.len().saturating_sub(MAX_BEFORE));
        withdrawn.drain(..withdrawn.len().saturating_sub(MAX_WITHDRAWN));
        Self {
            plugin: plugin.clone(),
            runs: to,
            cause,
            by: by.to_owned(),
            at: Timestamp::now(),
            before,
            withdrawn,
            draining,
            revision: Sequence(0),
        }
    }
}

fn draining(to: &PluginVersion, now: Option<&Activation>) -> Vec<PluginVersion> {
    let Some(SagaForm { state_version, migrates: false }) = to.saga else { return Vec::new() };
    let mut forms = vec![state_version];
    let mut draining = Vec::new();
    for version in now.into_iter().flat_map(|now| [&now.runs].into_iter().chain(&now.draining)) {
        if let Some(SagaForm { state_version, .. }) = version.saga
            && !forms.contains(&state_version)
        {
            forms.push(state_version);
            draining.push(version.clone());
        }
    }
    draining
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: &str) -> PluginVersion {
        let component = format!("sha256:{version}");
        let settings = BTreeMap::new();
        PluginVersion { component, version: version.to_owned(), settings, one_way: false, saga: None }
    }

    fn activated(versions: &[&str]) -> Activation {
        let name = Name::new("booking").unwrap();
        let mut now = None;
        for v in versions {
            now = Some(Activation::after(&name, now.as_ref(), version(v), Cause::Activated, "anna"));
        }
        now.unwrap()
    }

    #[test]
    fn rollbacks_go_back_one_version_after_the_other_and_never_forth() {
        let mut now = activated(&["1", "2", "3"]);
        for expected in ["2", "1"] {
            let to = now.rollback().unwrap().clone();
            assert_eq!(to.version, expected);
            now = Activation::after(&now.plugin, Some(&now), to, Cause::RolledBack, "anna");
        }
        assert_eq!(now.withdrawn, [version("3"), version("2")]);
        let again = Activation::after(&now.plugin, Some(&now), version("2"), Cause::Activated, "anna");
        assert_eq!(again.withdrawn, [version("3")], "it is used again");
        assert!(now.rollback().unwrap_err().contains("first version"));
    }

    #[test]
    fn there_is_no_way_back_from_a_version_that_went_one_way() {
        let mut now = activated(&["1", "2"]);
        now.runs.one_way = true;
        assert!(now.rollback().unwrap_err().contains("--one-way"));
    }

    #[test]
    fn as_many_versions_are_kept_as_the_record_has_room_for() {
        let versions: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let now = activated(&versions.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(now.before.len(), MAX_BEFORE);
        assert_eq!(now.rollback().unwrap().version, "38");
    }

    #[test]
    fn instances_of_other_forms_go_on_with_the_last_version_that_has_theirs() {
        let name = Name::new("waiting").unwrap();
        let saga = |v: &str, state_version, migrates| {
            let saga = Some(SagaForm { state_version, migrates });
            PluginVersion { saga, ..version(v) }
        };
        let mut now = None;
        for (to, cause, drains) in [
            (saga("1", 1, false), Cause::Activated, vec![]),
            (saga("2", 1, false), Cause::Activated, vec![]),
            (saga("3", 2, false), Cause::Activated, vec!["2"]),
            (saga("4", 3, false), Cause::Activated, vec!["3", "2"]),
            // Those that began with version 4 go on with it.
            (saga("3", 2, false), Cause::RolledBack, vec!["4", "2"]),
            (saga("1", 1, false), Cause::Activated, vec!["3", "4"]),
            (saga("5", 4, true), Cause::Activated, vec![]),
        ] {
            let next = Activation::after(&name, now.as_ref(), to, cause, "anna");
            let draining: Vec<_> = next.draining.iter().map(|version| version.version.as_str()).collect();
            assert_eq!(draining, drains, "{}", next.runs);
            now = Some(next);
        }
    }
}

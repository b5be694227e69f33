//! What an operator sets for a plugin.

use std::collections::BTreeMap;

use pelton_core::contract::{MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS, MAX_NAME_BYTES};
use pelton_core::message::Fingerprint;
use pelton_core::text::excerpt;

use crate::limits::Limits;
use crate::tier::Tier;
use crate::validate::is_code;

/// Stands between the digest of a component and that of its settings.
const SETTINGS: &str = "+settings:";
/// The hexadecimal digits of the digest of settings that are shown.
const DIGEST_DIGITS: usize = 16;

/// The settings of a plugin, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginSettings(BTreeMap<String, String>);

impl PluginSettings {
    /// The most settings of a plugin.
    pub const MAX_ENTRIES: usize = MAX_EXTENSIONS;

    /// Adds a setting, in place of one of the same name. The error states what is wrong with it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !is_code(name) {
            let name = excerpt(name);
            return Err(format!(
                "the name {name:?}; 1 to {MAX_NAME_BYTES} characters `a`-`z`, `0`-`9`, `-` are allowed"
            ));
        }
        let bytes = name.len() + value.len();
        if bytes > MAX_ATTRIBUTE_BYTES {
            return Err(format!("{bytes} bytes with its name; at most {MAX_ATTRIBUTE_BYTES} are allowed"));
        }
        if self.0.len() >= Self::MAX_ENTRIES && !self.0.contains_key(name) {
            return Err(format!("one more than the {} that are allowed", Self::MAX_ENTRIES));
        }
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// The settings, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The digest of a component with these settings: that of the component alone if nothing is set.
    #[must_use]
    pub fn with_digest(&self, component: &str) -> String {
        if self.0.is_empty() {
            return component.to_owned();
        }
        let parts: Vec<_> =
            self.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
        format!("{component}{SETTINGS}{}", &Fingerprint::of(&parts).0[..DIGEST_DIGITS])
    }
}

/// The digest of the component in that of a version, which names its settings, too.
#[must_use]
pub fn component_of(digest: &str) -> &str {
    digest.split_once(SETTINGS).map_or(digest, |(component, _)| component)
}

/// What a component is loaded with.
#[derive(Debug, Clone, Default)]
pub struct Activation {
    /// What each instance may use.
    pub limits: Limits,
    /// What the operator has set.
    pub settings: PluginSettings,
    /// What it may import.
    pub tier: Tier,
}

impl From<Limits> for Activation {
    fn from(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(entries: &[(&str, &str)]) -> PluginSettings {
        let mut settings = PluginSettings::default();
        entries.iter().for_each(|(name, value)| settings.set(name, value).expect("allowed"));
        settings
    }

    #[test]
    fn other_settings_make_another_version() {
        let of = |entries| settings(entries).with_digest("sha256:0");
        assert_eq!(of(&[]), "sha256:0");
        assert_eq!(component_of("sha256:0"), "sha256:0");
        let one = of(&[("a", "1"), ("b", "2")]);
        assert_eq!(one.len(), "sha256:0+settings:".len() + DIGEST_DIGITS);
        assert_eq!(component_of(&one), "sha256:0");
        assert_eq!(one, of(&[("b", "2"), ("a", "1")]), "the order does not matter");
        for other in [&[("a", "1")][..], &[("a", "12"), ("b", "")], &[("a", "1"), ("b", "3")]] {
            assert_ne!(one, of(other));
        }
    }

    #[test]
    fn settings_have_bounds() {
        let mut full = settings(&[]);
        (0..64).for_each(|n| full.set(&format!("s{n}"), "").expect("allowed"));
        assert!(full.set("s1", "again").is_ok());
        for (name, value, expected) in [
            ("one-more", "", "one more than the 64"),
            ("", "", "1 to 64 characters"),
            ("Upper", "", "\"Upper\""),
            ("a", &"x".repeat(4096), "4097 bytes with its name"),
        ] {
            let refused = full.set(name, value).expect_err(expected);
            assert!(refused.contains(expected), "{refused}");
        }
    }
}

//! The roles that a component exports, and its imports, compared with the contract.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc,
};

use crate::fault;
use crate::guest::Guest;
use crate::load::{self, LoadedPlugin};
use crate::refusal::Refusal;
use crate::sandbox::Blueprint;
use crate::tier::Tier;

const PACKAGE: &str = "pelton:plugin/";

/// The version of the contract that the bindings of this crate are generated from.
const VERSION: &str = "0.1.0";

/// The versions of the contract that this host runs. A breaking change is a new track, beside this one, with bindings of its
/// own.
pub(crate) const TRACKS: &[Track] = &[Track {
    version: VERSION,
    prefix: "0.1.",
    exports: &EXPORTS,
    imports: &["log", "settings"],
    load: load::interfaces_0_1,
}];
/// How the reason ends where another tier has an import.
const BEYOND_TIER: &str = "(the tier `deterministic` has it)";
const ROLES: [&str; 3] = ["command-handler", "projection", "saga"];
/// The roles, and what a plugin may export beside them.
const EXPORTS: [&str; 5] = ["command-handler", "projection", "saga", "saga-migration", "schemas"];

/// Versions of the contract that link with each other: they differ in the patch number alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Track {
    /// The version that the track's bindings are generated from.
    pub(crate) version: &'static str,
    /// What the versions begin with.
    pub(crate) prefix: &'static str,
    /// The interfaces that the host calls.
    pub(crate) exports: &'static [&'static str],
    /// The interfaces that the host offers.
    pub(crate) imports: &'static [&'static str],
    /// Loads what a component exports of the track.
    pub(crate) load: Load,
}

/// Adds to a plugin what its component exports of one track.
pub(crate) type Load = fn(&Blueprint, &Exported<'_>, &mut LoadedPlugin) -> Result<(), Refusal>;

/// What a component exports of one track.
#[derive(Debug)]
pub(crate) struct Exported<'a> {
    surface: &'a Surface,
    version: &'static str,
}

impl Exported<'_> {
    /// Whether the component exports this interface.
    pub(crate) fn has(&self, interface: &str) -> bool {
        self.surface.contract.contains(&(interface, self.version))
    }
}

impl Track {
    fn has(&self, version: &str) -> bool {
        version
            .strip_prefix(self.prefix)
            .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// The exports and imports of a component, by name, with the roles that this host runs.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
    /// The interfaces of the contract that it exports, each with the version of its track.
    contract: Vec<(&'static str, &'static str)>,
}

impl Surface {
    /// Reads the component's type. Refuses a component that exports or imports what this host does not know of the
    /// contract, imports more than the contract and its tier offer, or has no role.
    pub(crate) fn of(component: &Component, tracks: &[Track], tier: Tier) -> Result<Self, Refusal> {
        let engine = component.engine();
        let kind = component.component_type();
        let mut surface = Self::default();
        let (mut unknown, mut forbidden) = (Vec::new(), Vec::new());
        for (name, item) in kind.exports(engine) {
            surface.exports.push(name.to_owned());
            let Some(own) = name.strip_prefix(PACKAGE) else { continue };
            match find(own, tracks, |track| track.exports) {
                Ok(Some(found)) => surface.contract.push(found),
                Ok(None) if is_types(own, &item.ty, engine) => {}
                Ok(None) => unknown.push(format!("{name} (this host does not know it)")),
                Err(OtherVersion) => unknown.push(format!("{name} (of a version that {})", versions(tracks))),
            }
        }
        for (name, item) in kind.imports(engine) {
            surface.imports.push(name.to_owned());
            if let Some(reason) = why_forbidden(name, &item.ty, engine, tracks, tier) {
                forbidden.push(format!("{name} ({reason})"));
            }
        }
        // What it exports besides does not matter where nothing of it can run.
        if !surface.contract.iter().any(|(interface, _)| ROLES.contains(interface)) {
            return Err(Refusal::NoRole(surface.exports));
        }
        let lone = |&(interface, version): &(&str, &str)| {
            interface == "saga-migration" && !surface.contract.contains(&("saga", version))
        };
        if surface.contract.iter().any(lone) {
            unknown.push("saga-migration (it exports no saga)".to_owned());
        }
        if !unknown.is_empty() {
            return Err(Refusal::Unknown(unknown));
        }
        if !forbidden.is_empty() {
            let is_wasi = |import: &String| import.starts_with("wasi:");
            let hint = if forbidden.iter().all(|import| import.ends_with(BEYOND_TIER)) {
                "set `tier = \"deterministic\"` for the plugin, or build it without WASI: Rust for \
                 wasm32-unknown-unknown, JavaScript and Python with --stub-wasi"
            } else if forbidden.iter().any(is_wasi) {
                "build it without these: no plugin has files, a network, or any other way out"
            } else {
                "a plugin may import pelton:plugin/log and pelton:plugin/settings, and what its tier has of WASI"
            };
            return Err(Refusal::Forbidden { imports: forbidden, hint });
        }
        Ok(surface)
    }

    /// What the component exports of this track.
    pub(crate) fn of_track(&self, track: &Track) -> Exported<'_> {
        Exported { surface: self, version: track.version }
    }
}

/// An interface of the contract, in a version that the host does not have.
struct OtherVersion;

/// The interface and the version of its track, if the host has it.
fn find<'a>(
    versioned: &str,
    tracks: &'a [Track],
    known: impl Fn(&'a Track) -> &'static [&'static str],
) -> Result<Option<(&'static str, &'static str)>, OtherVersion> {
    let (interface, version) = versioned.split_once('@').ok_or(OtherVersion)?;
    let track = tracks.iter().find(|track| track.has(version)).ok_or(OtherVersion)?;
    Ok(known(track).iter().find(|known| **known == interface).map(|known| (*known, track.version)))
}

/// The versions that the host has, for people.
fn versions(tracks: &[Track]) -> String {
    let listed: Vec<_> = tracks.iter().map(|track| track.prefix.trim_end_matches('.')).collect();
    format!("this host does not have; it has {}", listed.join(" and "))
}

/// Why a plugin may not import this. `None` if it may.
fn why_forbidden(
    name: &str,
    item: &ComponentItem,
    engine: &wasmtime::Engine,
    tracks: &[Track],
    tier: Tier,
) -> Option<String> {
    if let Some(own) = name.strip_prefix(PACKAGE) {
        return match find(own, tracks, |track| track.imports) {
            Ok(Some(_)) => None,
            Ok(None) if is_types(own, item, engine) => None,
            Ok(None) => Some("the host offers a plugin no such interface".to_owned()),
            Err(OtherVersion) => Some(format!("of a version that {}", versions(tracks))),
        };
    }
    match Tier::of_import(name) {
        Some(needed) if needed <= tier => return None,
        Some(_) => return Some("the tier `deterministic` has it".to_owned()),
        None if name.starts_with("wasi:") => return Some("no tier of this host has it".to_owned()),
        None => {}
    }
    (!is_type(item)).then(|| "the host does not have it".to_owned())
}

fn is_type(item: &ComponentItem) -> bool {
    matches!(item, ComponentItem::Type(_))
}

/// Whether it is the interface of the contract's types, and has nothing but types.
fn is_types(versioned: &str, item: &ComponentItem, engine: &wasmtime::Engine) -> bool {
    let only_types = |item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => instance.exports(engine).all(|(_, e)| is_type(&e.ty)),
        _ => false,
    };
    versioned.starts_with("types@") && only_types(item)
}

/// A role that an instance exports. Its functions are checked one by one, so that the error names the wrong one; the
/// generated bindings do not.
pub(crate) struct Interface<'a> {
    name: String,
    index: ComponentExportIndex,
    component: &'a Component,
    store: &'a mut Store<Guest>,
    instance: &'a Instance,
}

impl<'a> Interface<'a> {
    /// The role of this name.
    pub(crate) fn of(
        role: &str,
        blueprint: &'a Blueprint,
        store: &'a mut Store<Guest>,
        instance: &'a Instance,
    ) -> Result<Self, Refusal> {
        let name = format!("{PACKAGE}{role}@{}", VERSION);
        let component = blueprint.pre.component();
        match component.get_export_index(None, &name) {
            Some(index) => Ok(Self { name, index, component, store, instance }),
            None => Err(Refusal::Interface(format!("{name} cannot be found among its exports"))),
        }
    }

    /// Checks that the role has this function, with the parameters and results of the binding.
    pub(crate) fn function<G: 'static, P, R>(
        &mut self,
        function: &str,
        _binding: fn(&'static G) -> TypedFunc<P, R>,
    ) -> Result<(), Refusal>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let Some(index) = self.component.get_export_index(Some(&self.index), function) else {
            return Err(Refusal::Interface(format!("{} has no function `{function}`", self.name)));
        };
        match self.instance.get_typed_func::<P, R>(&mut *self.store, index) {
            Ok(_) => Ok(()),
            Err(e) => {
                let why = fault::chain(&e);
                Err(Refusal::Interface(format!("`{function}` of {} has another type: {why}", self.name)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_track_link() {
        for (version, is_of_track) in [
            ("0.1.0", true),
            ("0.1.17", true),
            ("0.2.0", false),
            ("1.1.0", false),
            ("0.1.0-rc.1", false),
            ("0.1.", false),
            ("", false),
        ] {
            assert_eq!(TRACKS[0].has(version), is_of_track, "{version}");
        }
    }

    fn component(exports: &[&str]) -> Component {
        let exports: String =
            exports.iter().map(|name| format!("(export \"{name}\" (instance $e))")).collect();
        let text = format!("(component (instance $e) {exports})");
        let mut config = wasmtime::Config::new();
        config.wasm_component_model(true);
        let engine = wasmtime::Engine::new(&config).expect("an engine");
        Component::new(&engine, wat::parse_str(&text).expect("valid text")).expect("a component")
    }

    #[test]
    fn two_versions_of_the_contract_are_served_beside_each_other() {
        let of_0_1 = Track { exports: &ROLES, ..TRACKS[0] };
        let of_0_2 = Track { version: "0.2.0", prefix: "0.2.", exports: &["saga"], ..TRACKS[0] };
        let both = [of_0_1, of_0_2];
        let of = |exports: &[&str]| {
            Surface::of(&component(exports), &both, Tier::Pure).map(|surface| surface.contract)
        };
        assert_eq!(of(&["pelton:plugin/saga@0.1.3"]).unwrap(), [("saga", "0.1.0")]);
        assert_eq!(of(&["pelton:plugin/saga@0.2.0"]).unwrap(), [("saga", "0.2.0")]);
        let mixed = of(&["pelton:plugin/projection@0.1.0", "pelton:plugin/saga@0.2.9"]);
        assert_eq!(mixed.unwrap(), [("projection", "0.1.0"), ("saga", "0.2.0")]);
        let refused = of(&["pelton:plugin/saga@0.2.0", "pelton:plugin/projection@0.2.0"]).unwrap_err();
        assert!(refused.to_string().contains("projection@0.2.0 (this host does not know it)"), "{refused}");
        let refused = of(&["pelton:plugin/saga@0.2.0", "pelton:plugin/saga@0.3.0"]).unwrap_err();
        assert!(refused.to_string().contains("it has 0.1 and 0.2"), "{refused}");
    }
}

//! The roles that a component exports, and its imports, compared with the contract.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc,
};

use crate::fault;
use crate::guest::Guest;
use crate::refusal::Refusal;
use crate::sandbox::Blueprint;

const PACKAGE: &str = "pelton:plugin/";
/// The version of the contract that this host runs. Versions of the same track link with it.
const VERSION: &str = "0.1.0";
const TRACK: &str = "0.1.";

/// The exports and imports of a component, by name, with the roles that this host runs.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
    pub(crate) command_handler: bool,
    pub(crate) projection: bool,
    pub(crate) saga: bool,
}

impl Surface {
    /// Reads the component's type. Refuses a component that imports more than a log, or has no role.
    pub(crate) fn of(component: &Component) -> Result<Self, Refusal> {
        let engine = component.engine();
        let kind = component.component_type();
        let mut surface = Self::default();
        for (name, _) in kind.exports(engine) {
            surface.exports.push(name.to_owned());
            match name.strip_prefix(PACKAGE).and_then(of_this_track) {
                Some("command-handler") => surface.command_handler = true,
                Some("projection") => surface.projection = true,
                Some("saga") => surface.saga = true,
                _ => {}
            }
        }
        let mut forbidden = Vec::new();
        for (name, item) in kind.imports(engine) {
            surface.imports.push(name.to_owned());
            if let Some(reason) = why_forbidden(name, &item.ty, engine) {
                forbidden.push(format!("{name} ({reason})"));
            }
        }
        if !(surface.command_handler || surface.projection || surface.saga) {
            return Err(Refusal::NoRole(surface.exports));
        }
        if !forbidden.is_empty() {
            let hint = if forbidden.iter().any(|import| import.starts_with("wasi:")) {
                "build it without WASI: Rust for wasm32-unknown-unknown, JavaScript and Python with --stub-wasi"
            } else {
                "a plugin may import nothing but pelton:plugin/log"
            };
            return Err(Refusal::Forbidden { imports: forbidden, hint });
        }
        Ok(surface)
    }
}

/// Why a plugin may not import this. `None` if it may.
fn why_forbidden(name: &str, item: &ComponentItem, engine: &wasmtime::Engine) -> Option<&'static str> {
    let is_instance_of_types = |item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => instance.exports(engine).all(|(_, e)| is_type(&e.ty)),
        _ => false,
    };
    if let Some(own) = name.strip_prefix(PACKAGE) {
        return match of_this_track(own) {
            Some("log") => None,
            Some("types") if is_instance_of_types(item) => None,
            Some(_) => Some("the host offers a plugin no such interface"),
            None => Some("of a version that this host does not have; it has 0.1"),
        };
    }
    if name.starts_with("wasi:") {
        return Some("a plugin is pure: no files, network, clock or randomness");
    }
    (!is_type(item)).then_some("the host does not have it")
}

fn is_type(item: &ComponentItem) -> bool {
    matches!(item, ComponentItem::Type(_))
}

/// The interface's name, if its version links with the host's.
fn of_this_track(versioned: &str) -> Option<&str> {
    let (interface, version) = versioned.split_once('@')?;
    let patch = version.strip_prefix(TRACK)?;
    (!patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit())).then_some(interface)
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
        let name = format!("{PACKAGE}{role}@{VERSION}");
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
    use super::of_this_track;

    #[test]
    fn versions_of_one_track_link() {
        for (name, role) in [
            ("saga@0.1.0", Some("saga")),
            ("saga@0.1.17", Some("saga")),
            ("saga@0.2.0", None),
            ("saga@1.1.0", None),
            ("saga@0.1.0-rc.1", None),
            ("saga", None),
        ] {
            assert_eq!(of_this_track(name), role, "{name}");
        }
    }
}

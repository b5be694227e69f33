//! `pelton:plugin/settings`: what the operator has set for the plugin.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::guest::Guest;

/// Links the function for guests.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut settings = linker.instance("pelton:plugin/settings@0.1.0")?;
    settings.func_wrap("all", |store: StoreContextMut<'_, Guest>, (): ()| {
        let set = store.data().origin.settings.iter();
        let set: Vec<_> = set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok((set,))
    })
}

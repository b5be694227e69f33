//! What the operator has set for the plugin, under `[plugins.X.settings]` in the configuration.
//!
//! Settings are constant while a plugin runs, and part of its version. Rules that decide may depend on them; what is folded
//! from stored events may not. In native tests nothing is set until a test does
//! ([`testing::settings`](crate::testing::settings)).

use std::fmt::Display;
use std::str::FromStr;

/// All settings, in the order of their names.
#[must_use]
pub fn all() -> Vec<(String, String)> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::command_handler::pelton::plugin::settings::all();
    #[cfg(not(target_family = "wasm"))]
    native::SET.with_borrow(Clone::clone)
}

/// The value of one setting, if it is set.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    all().into_iter().find(|(set, _)| set == name).map(|(_, value)| value)
}

/// The value of one setting as a `T`, if it is set.
///
/// # Errors
/// What is wrong with the value, for `check_settings`.
pub fn parse<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, String> {
    let Some(value) = get(name) else { return Ok(None) };
    value.parse().map(Some).map_err(|error| format!("the setting `{name}` is {value:?}: {error}"))
}

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native {
    use std::cell::RefCell;

    thread_local! {
        /// The settings of the test that runs on this thread.
        pub(crate) static SET: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
    }
}

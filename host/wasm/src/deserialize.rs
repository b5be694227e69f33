//! The one place with `unsafe`: compiled code becomes a component without being compiled again.
#![allow(unsafe_code, reason = "wasmtime offers no safe way to load compiled code")]

use wasmtime::component::Component;

use crate::cache::Trusted;

/// The component that was compiled into these bytes. Fails if they were made by another wasmtime or other settings.
pub(crate) fn deserialize(engine: &wasmtime::Engine, code: &Trusted<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be the unmodified output of `Component::serialize`, since crafted ones are native code that
    // would run as the host. That is the promise of `Trusted`, and only the cache can make one.
    unsafe { Component::deserialize(engine, code.bytes()) }
}

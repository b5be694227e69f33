//! The one place with `unsafe`: compiled code becomes a component without being compiled again.
#![allow(unsafe_code, reason = "wasmtime offers no safe way to load compiled code")]

use wasmtime::component::Component;

/// Bytes that this host itself wrote with `Component::serialize`, and that came back unchanged from a place where nobody
/// else can write. Only `cache.rs` makes one, after it has checked just that.
pub(crate) struct Trusted<'a>(pub(crate) &'a [u8]);

/// The component that was compiled into these bytes. Fails if they were made by another wasmtime or other settings.
pub(crate) fn deserialize(engine: &wasmtime::Engine, code: Trusted<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be the unmodified output of `Component::serialize`, since crafted ones are native code that
    // would run as the host. That is the promise of `Trusted`.
    unsafe { Component::deserialize(engine, code.0) }
}

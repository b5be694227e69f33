//! The one place with `unsafe`: it turns compiled code into a component without compiling again.
#![allow(unsafe_code, reason = "wasmtime offers no safe way to load compiled code")]

use wasmtime::component::Component;

use crate::cache::Trusted;
use crate::compiler::Compiled;

/// The component that was compiled into these bytes. Fails if another wasmtime or other settings made them.
pub(crate) fn deserialize(engine: &wasmtime::Engine, code: &Trusted<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be the unmodified output of `Component::serialize`, because crafted bytes are native code
    // that would run as the host. `Trusted` guarantees this, and only the cache can make one.
    unsafe { Component::deserialize(engine, code.bytes()) }
}

/// The component that a child of this process has compiled.
pub(crate) fn of_child(engine: &wasmtime::Engine, code: &Compiled) -> wasmtime::Result<Component> {
    // SAFETY: as above. `Compiled` holds what a child that this process started, of a program that the operator chose, has written
    // to a pipe that nobody else has.
    unsafe { Component::deserialize(engine, code.bytes()) }
}

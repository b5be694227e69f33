//! Pelton's sandbox: WebAssembly components on wasmtime, behind the ports of [`pelton_core`].
//!
//! A component is loaded once ([`Plugins::load`]), which finds everything that can be wrong with it. It then plays the
//! roles that it exports: [`WasmHandler`] keeps live entities ([`WasmEntity`]), many of them in one sandbox;
//! [`WasmProjection`] and [`WasmSaga`] keep a few warm instances. A guest that traps, loops, allocates without end or
//! lies costs its own instance; the caller gets a [`PluginFault`](pelton_core::plugin::PluginFault) with what the guest did, where, and
//! what it logged.
//!
//! ```no_run
//! use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
//! use pelton_wasm::{Limits, Plugins, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let plugins = Plugins::new(&Settings { cache_dir: Some("/var/cache/pelton".into()), ..Settings::default() })?;
//! let booking = plugins.load("booking", std::path::Path::new("booking.wasm"), Limits::default()).await?;
//! println!("{} {} imports {:?}", booking.name(), booking.digest(), booking.imports());
//! let handler = booking.handler().ok_or("booking.wasm is not a command handler")?.clone();
//! println!("takes {:?}", handler.descriptor().commands);
//! let mut entity = handler.create("1.2022-12-12", Isolation::Shared).await?;
//! entity.evolve(&[]).await?;
//! # Ok(())
//! # }
//! ```

// `deserialize.rs` is the one exception, so this is `deny` and not `forbid`.
#![deny(unsafe_code)]

mod bindings;
mod cache;
mod call_log;
pub mod compiler;
pub mod component;
mod context;
mod deserialize;
mod engine;
mod entities;
mod fault;
mod guest;
mod handler;
mod imports;
mod limits;
mod load;
mod migration;
mod projection;
mod refusal;
mod role;
mod room;
mod saga;
mod sandbox;
mod schemas;
mod settings;
mod tier;
mod validate;
mod values;
mod warm;

pub use cache::CacheError;
pub use engine::EngineError;
pub use handler::{WasmEntity, WasmHandler};
pub use limits::Limits;
pub use load::{LoadedPlugin, Plugins, Settings, Source};
pub use projection::WasmProjection;
pub use refusal::{LoadError, Refusal};
pub use room::max_instances_of_a_plugin;
pub use saga::WasmSaga;
pub use schemas::{Schema, SchemaKind};
pub use settings::{Activation, PluginSettings, component_of};
pub use tier::Tier;

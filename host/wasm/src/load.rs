//! Loads a plugin from bytes: read, refuse, compile, audit, link, try.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pelton_core::plugin::PluginFault;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wasmparser::Parser;
use wasmtime::component::{Component, Linker};

use crate::cache::{Cache, Cached};
use crate::compiler;
use crate::deserialize;
use crate::engine::{Engine, EngineError};
use crate::guest::{Guest, Origin};
use crate::handler::WasmHandler;
use crate::imports;
use crate::limits::Limits;
use crate::projection::WasmProjection;
use crate::refusal::{LoadError, Refusal};
use crate::role::{Exported, Surface, TRACKS, Track};
use crate::room::Room;
use crate::saga::WasmSaga;
use crate::sandbox::Blueprint;
use crate::schemas::{self, Schema};
use crate::settings::{Activation, PluginSettings};
use crate::tier::Tier;

/// The process's settings for plugins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory for compiled code. It belongs to the host alone (mode 0700), and is created if it is missing.
    /// Without one, every start compiles every component.
    pub cache_dir: Option<PathBuf>,
    /// The memories and tables of all sandboxes together, in bytes.
    pub memory_bytes: usize,
    /// The program that compiles, see [`crate::compiler`]. `None`: this process compiles, without bounds.
    pub compiler: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { cache_dir: None, memory_bytes: 2 << 30, compiler: None }
    }
}

/// The source of a component.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// The sandbox of the process: one engine for all plugins. Make one and keep it. Clones share the engine.
#[derive(Debug, Clone)]
pub struct Plugins {
    engine: Arc<Engine>,
    cache: Option<Arc<Cache>>,
    compiler: Option<Arc<Path>>,
    room: Arc<Room>,
    /// The versions of the contract that it serves.
    tracks: &'static [Track],
}

impl Plugins {
    /// Starts the engine.
    pub fn new(settings: &Settings) -> Result<Self, EngineError> {
        let cache = settings.cache_dir.as_deref().map(Cache::open).transpose()?;
        let room = Room::new(settings.memory_bytes);
        let compiler = settings.compiler.as_deref().map(Arc::from);
        let engine = Arc::new(Engine::new()?);
        Ok(Self { engine, cache: cache.map(Arc::new), compiler, room, tracks: TRACKS })
    }

    /// Loads a component under the plugin's name in the configuration, with limits or with limits and settings.
    ///
    /// The result has been compiled (off the async runtime), audited, linked and instantiated, and has described itself
    /// in each of its roles. Must be called within a Tokio runtime that has time.
    ///
    /// # Errors
    ///
    /// Each [`Refusal`] states what is wrong with the component and what to do about it.
    pub async fn load(
        &self,
        name: &str,
        source: impl Into<Source>,
        with: impl Into<Activation>,
    ) -> Result<LoadedPlugin, LoadError> {
        let with = with.into();
        let unread = |refusal| LoadError { plugin: name.to_owned(), digest: None, refusal };
        let bytes = read(source.into(), with.limits.component_bytes).await.map_err(unread)?;
        let origin = Arc::new(Origin::new(name.to_owned(), digest(&bytes), with, &self.room));
        let refused = |refusal| LoadError::of(&origin, refusal);
        refuse_other_kinds(&bytes).map_err(refused)?;
        let compiled = self.compile(bytes, origin.component.clone()).await.map_err(refused)?;
        origin.keep(compiled.entry);
        self.build(compiled.component, &origin).map_err(refused)
    }

    /// Loads the component of this plugin once more, with other limits or settings. It is not compiled again, and shares
    /// no instance with the first.
    ///
    /// # Errors
    ///
    /// As for [`Plugins::load`].
    pub fn load_again(
        &self,
        plugin: &LoadedPlugin,
        with: impl Into<Activation>,
    ) -> Result<LoadedPlugin, LoadError> {
        let Origin { name, component, .. } = &*plugin.origin;
        let origin = Arc::new(Origin::new(name.clone(), component.clone(), with.into(), &self.room));
        origin.keep(plugin.origin.entry.get().cloned());
        let loaded = self.build(plugin.component.clone(), &origin);
        loaded.map_err(|refusal| LoadError::of(&origin, refusal))
    }

    fn build(&self, component: Component, origin: &Arc<Origin>) -> Result<LoadedPlugin, Refusal> {
        let surface = Surface::of(&component, self.tracks, origin.tier)?;
        let has_wasi =
            surface.imports.iter().any(|import| Tier::of_import(import) == Some(Tier::Deterministic));
        let mut linker = Linker::<Guest>::new(self.engine.wasmtime());
        let linked = imports::log::link(&mut linker).and_then(|()| imports::settings::link(&mut linker));
        let linked = linked.and_then(|()| if has_wasi { imports::wasi::link(&mut linker) } else { Ok(()) });
        let pre = linked.and_then(|()| linker.instantiate_pre(&component));
        let pre = pre.map_err(|e| Refusal::interface(&e))?;
        let memories = component.resources_required().map_or(origin.limits.memories, |needs| {
            usize::try_from(needs.num_memories).unwrap_or(usize::MAX)
        });
        let blueprint =
            Blueprint { origin: origin.clone(), pre, engine: self.engine.clone(), memories, has_wasi };
        let mut plugin = LoadedPlugin {
            origin: origin.clone(),
            component,
            exports: Vec::new(),
            imports: Vec::new(),
            handler: None,
            projection: None,
            saga: None,
            schemas: Vec::new(),
        };
        for track in self.tracks {
            (track.load)(&blueprint, &surface.of_track(track), &mut plugin)?;
        }
        Ok(LoadedPlugin { exports: surface.exports, imports: surface.imports, ..plugin })
    }

    async fn compile(&self, bytes: Vec<u8>, digest: String) -> Result<Cached, Refusal> {
        let Self { engine, cache, compiler, .. } = self.clone();
        // Dropped with this future, it has the compiler end.
        let (waits, cancelled) = oneshot::channel();
        let compile = move || {
            let engine = engine.wasmtime();
            let compile = || {
                let refused = |error: &wasmtime::Error| Refusal::Compile(crate::fault::chain(error));
                match compiler {
                    None => Component::from_binary(engine, &bytes).map_err(|error| refused(&error)),
                    Some(program) => {
                        let code = compiler::in_child(&program, &bytes, cancelled);
                        let code = Handle::current().block_on(code)?;
                        deserialize::of_child(engine, &code).map_err(|error| refused(&error))
                    }
                }
            };
            match cache {
                Some(cache) => cache.get_or_compile(engine, &digest, compile),
                None => compile().map(|component| Cached { component, entry: None }),
            }
        };
        let compiled = tokio::task::spawn_blocking(compile).await;
        drop(waits);
        match compiled {
            Ok(compiled) => compiled,
            Err(stopped) => Err(Refusal::Interrupted(stopped.to_string())),
        }
    }
}

/// Loads what a component exports of version 0.1 of the contract.
pub(crate) fn interfaces_0_1(
    blueprint: &Blueprint,
    exported: &Exported<'_>,
    plugin: &mut LoadedPlugin,
) -> Result<(), Refusal> {
    if exported.has("command-handler") {
        plugin.handler = Some(WasmHandler::new(blueprint.clone())?);
    }
    if exported.has("projection") {
        plugin.projection = Some(WasmProjection::new(blueprint.clone())?);
    }
    if exported.has("saga") {
        plugin.saga = Some(WasmSaga::new(blueprint.clone(), exported.has("saga-migration"))?);
    }
    if exported.has("schemas") {
        plugin.schemas = schemas::read(blueprint, plugin)?;
    }
    Ok(())
}

/// A component that passed every check, with the roles that it exports: at least one.
#[derive(Clone)]
pub struct LoadedPlugin {
    origin: Arc<Origin>,
    component: Component,
    exports: Vec<String>,
    imports: Vec<String>,
    handler: Option<WasmHandler>,
    projection: Option<WasmProjection>,
    saga: Option<WasmSaga>,
    schemas: Vec<Schema>,
}

impl fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, exports, imports, .. } = self;
        f.debug_struct("LoadedPlugin")
            .field("origin", origin)
            .field("exports", exports)
            .field("imports", imports)
            .finish_non_exhaustive()
    }
}

impl LoadedPlugin {
    /// The plugin's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.origin.name
    }

    /// The digest of the component alone: `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn component_digest(&self) -> &str {
        &self.origin.component
    }

    /// What decides: the component's digest, followed by that of its settings if it has any.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.origin.digest
    }

    /// What the plugin says of the form of its data; empty if it says nothing.
    #[must_use]
    pub fn schemas(&self) -> &[Schema] {
        &self.schemas
    }

    /// What the operator has set.
    #[must_use]
    pub fn settings(&self) -> &PluginSettings {
        &self.origin.settings
    }

    /// What the operator allows it to import.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.origin.tier
    }

    /// The limits of the plugin.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.origin.limits
    }

    /// What all its instances take together now: memories and tables, and what the host needs for them, in bytes.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        self.origin.room.used_bytes()
    }

    /// The most linear memory that one of its instances has had, in bytes.
    #[must_use]
    pub fn largest_memory_bytes(&self) -> usize {
        self.origin.room.largest_memory_bytes()
    }

    /// Has one fresh instance of each role describe itself so many times, and gives what each said, in the order of roles
    /// and calls. A host asks once; a plugin must always give the same answer.
    ///
    /// # Errors
    ///
    /// An instance faults, or says what the contract forbids.
    pub fn descriptions(&self, times: usize) -> Result<Vec<Vec<String>>, PluginFault> {
        let roles = [
            self.handler.as_ref().map(|handler| handler.descriptions(times)),
            self.projection.as_ref().map(|projection| projection.descriptions(times)),
            self.saga.as_ref().map(|saga| saga.descriptions(times)),
        ];
        roles.into_iter().flatten().collect()
    }

    /// The names of all exports.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// The names of all imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// The plugin as a command handler, if it has this role.
    #[must_use]
    pub fn handler(&self) -> Option<&WasmHandler> {
        self.handler.as_ref()
    }

    /// The plugin as a projection, if it has this role.
    #[must_use]
    pub fn projection(&self) -> Option<&WasmProjection> {
        self.projection.as_ref()
    }

    /// The plugin as a saga, if it has this role.
    #[must_use]
    pub fn saga(&self) -> Option<&WasmSaga> {
        self.saga.as_ref()
    }
}

/// Reads a component. Never reads more than `limit_bytes` of a file, so a file that grows meanwhile is refused too.
async fn read(source: Source, limit_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let bytes = match source {
        Source::Bytes(bytes) => bytes,
        Source::File(path) => {
            let unreadable = |cause| Refusal::Unreadable { path: path.clone(), cause };
            let file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
            let mut bytes = Vec::new();
            let one_more = u64::try_from(limit_bytes).unwrap_or(u64::MAX).saturating_add(1);
            file.take(one_more).read_to_end(&mut bytes).await.map_err(unreadable)?;
            bytes
        }
    };
    if bytes.len() > limit_bytes {
        return Err(Refusal::TooLarge(limit_bytes));
    }
    Ok(bytes)
}

fn refuse_other_kinds(bytes: &[u8]) -> Result<(), Refusal> {
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(Refusal::Precompiled);
    }
    if Parser::is_component(bytes) {
        return Ok(());
    }
    if Parser::is_core_wasm(bytes) {
        return Err(Refusal::CoreModule);
    }
    const SHOWN_BYTES: usize = 16;
    let beginning = &bytes[..bytes.len().min(SHOWN_BYTES)];
    Err(Refusal::NotWasm(format!("{:?}", String::from_utf8_lossy(beginning))))
}

fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::CallContext;
    use crate::schemas::SchemaKind;

    /// A later version of the contract, whose sagas say only how many types they read.
    fn interfaces_0_2(
        blueprint: &Blueprint,
        exported: &Exported<'_>,
        plugin: &mut LoadedPlugin,
    ) -> Result<(), Refusal> {
        if !exported.has("saga") {
            return Ok(());
        }
        let (mut sandbox, instance) = blueprint.build()?;
        let component = blueprint.pre.component();
        let saga = component.get_export_index(None, "pelton:plugin/saga@0.2.0").expect("the saga");
        let describe = component.get_export_index(Some(&saga), "describe").expect("the function");
        let describe = instance.get_typed_func::<(), (u32,)>(sandbox.store(), describe);
        let describe = describe.map_err(|e| Refusal::interface(&e))?;
        let (types,) = sandbox.call(&CallContext::CONSTANT, |store| describe.call(store, ()))?;
        let (kind, schema) = (SchemaKind::Event, String::new());
        plugin.schemas.push(Schema { kind, r#type: "read".to_owned(), version: types, schema });
        Ok(())
    }

    const BOTH: &[Track] = &[
        TRACKS[0],
        Track {
            version: "0.2.0",
            prefix: "0.2.",
            exports: &["saga"],
            imports: &["log"],
            load: interfaces_0_2,
        },
    ];

    fn saga_0_2() -> Vec<u8> {
        let text = r#"(component
            (core module $m (func (export "describe") (result i32) (i32.const 7)))
            (core instance $i (instantiate $m))
            (func $describe (result u32) (canon lift (core func $i "describe")))
            (instance $e (export "describe" (func $describe)))
            (export "pelton:plugin/saga@0.2.0" (instance $e)))"#;
        wat::parse_str(text).expect("valid text")
    }

    #[tokio::test]
    async fn a_host_loads_components_of_two_versions_of_the_contract() {
        let mut plugins = Plugins::new(&Settings::default()).expect("an engine");
        let released = include_str!("../tests/contract/0.1.0/plugin.wat");
        let released = wat::parse_str(released).expect("valid text");
        let refused = plugins.load("later", saga_0_2(), Limits::default()).await.expect_err("unknown");
        assert!(matches!(refused.refusal, Refusal::NoRole(_)), "{refused}");
        plugins.tracks = BOTH;
        let first = plugins.load("first", released, Limits::default()).await.expect("loads");
        assert!(first.handler().is_some() && first.projection().is_some() && first.saga().is_some());
        let later = plugins.load("later", saga_0_2(), Limits::default()).await.expect("loads");
        assert!(later.saga().is_none(), "its bindings are those of the other track");
        assert_eq!(later.schemas()[0].version, 7);
    }
}

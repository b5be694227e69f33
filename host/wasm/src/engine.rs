//! The one engine of the process, and the clock that interrupts guests.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, WasmBacktraceDetails};

/// The time between two ticks of the clock that times calls. A call's time counts from the first tick in the call, and
/// is checked at each further tick.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(5);

/// The guest's part of the calling thread's stack. Tokio's threads have 2 MiB.
const MAX_WASM_STACK_BYTES: usize = 512 * 1024;

/// Why there is no engine. The host cannot run plugins at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime does not run with Pelton's settings on this machine.
    #[error("wasmtime cannot run here: {0}")]
    Unsupported(String),
    /// The thread of the clock cannot be started.
    #[error("the epoch thread cannot be started: {0}")]
    Ticker(#[source] std::io::Error),
    /// The directory for compiled code cannot be used.
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
}

/// wasmtime with Pelton's settings. While it lives, its epoch advances every [`EPOCH_TICK`].
#[derive(Debug)]
pub(crate) struct Engine {
    wasmtime: wasmtime::Engine,
    // Stopped and joined when the last user of the engine is dropped.
    _ticker: Ticker,
}

impl Engine {
    pub(crate) fn new() -> Result<Self, EngineError> {
        let wasmtime = Self::to_compile()?;
        let ticker = Ticker::start(wasmtime.clone()).map_err(EngineError::Ticker)?;
        Ok(Self { wasmtime, _ticker: ticker })
    }

    /// wasmtime with the same settings and without a clock: code that it compiles runs on the engine.
    pub(crate) fn to_compile() -> Result<wasmtime::Engine, EngineError> {
        wasmtime::Engine::new(&config()).map_err(|e| EngineError::Unsupported(format!("{e:#}")))
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

/// Instances are allocated on demand, not from a pool. An instance that is made once and lives for many calls gains
/// nothing from a pool's slots (31 µs against 34 to 91 µs to create). A pool also reaches the kernel's
/// `vm.max_map_count` at half as many live entities, and sizes every slot for the greediest plugin.
///
/// Memories start as a copy-on-write image, and have a guard region before them. Without both an instance would take 2
/// mappings, not 5. But a guest with a heavy runtime would then cost megabytes for each entity, and the guard protects
/// the host from a mistake of the compiler.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false) // the contract is synchronous; the support costs every call 0.7 µs
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .memory_init_cow(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false) // its results differ from machine to machine
        .cranelift_nan_canonicalization(true) // so would the bits of a NaN
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

/// A thread that advances the engine's epoch until it is dropped.
#[derive(Debug)]
struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let tick = move || {
            while stopped.recv_timeout(EPOCH_TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new().name("pelton-epoch".into()).spawn(tick)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot panic
        }
    }
}

//! The one engine of the process, and the clock that lets it take the processor back from a guest.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, WasmBacktraceDetails};

/// The time between two ticks of the clock that calls are timed by. A call's time counts from the first tick in it, and
/// whether it is over is looked at with each that follows.
pub(crate) const EPOCH_TICK: Duration = Duration::from_millis(5);

/// Of the stack of the thread that calls: Tokio's have 2 MiB.
const MAX_WASM_STACK_BYTES: usize = 512 * 1024;

/// Why there is no engine. The host cannot run plugins at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime does not run with Pelton's settings on this machine.
    #[error("wasmtime cannot run here: {0}")]
    Unsupported(String),
    /// The thread that counts time cannot be started.
    #[error("the epoch thread cannot be started: {0}")]
    Ticker(#[source] std::io::Error),
    /// The directory for compiled code cannot be used.
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
}

/// wasmtime with Pelton's settings. While it lives its epoch advances every [`EPOCH_TICK`].
#[derive(Debug)]
pub(crate) struct Engine {
    wasmtime: wasmtime::Engine,
    // Stopped and joined when the last user of the engine goes.
    _ticker: Ticker,
}

impl Engine {
    pub(crate) fn new() -> Result<Self, EngineError> {
        let wasmtime =
            wasmtime::Engine::new(&config()).map_err(|e| EngineError::Unsupported(format!("{e:#}")))?;
        let ticker = Ticker::start(wasmtime.clone()).map_err(EngineError::Ticker)?;
        Ok(Self { wasmtime, _ticker: ticker })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

/// Instances are allocated on demand, not from a pool: one that is made once and lives for many calls gains nothing from
/// a pool's slots (31 µs against 34 to 91 µs to create), while a pool meets the kernel's `vm.max_map_count` at half as
/// many live entities, and sizes every slot for the greediest plugin.
///
/// Memories start as a copy-on-write image, and have a guard region before them. Without both an instance would take 2
/// mappings, not 5; but a guest of a heavy runtime would then cost megabytes for each entity, and the guard stands
/// between the host and a mistake of the compiler.
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

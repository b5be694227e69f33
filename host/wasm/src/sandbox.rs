//! One instance of a component in a store of its own, and the rules of calling into it.
//!
//! Every call lies between [`Sandbox::begin`] and [`Sandbox::end`]. After any error that is not a result of the
//! contract the instance may be halfway through something: the sandbox is poisoned and runs nothing any more.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use pelton_core::ports::{FaultKind, PluginFault};
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use crate::engine::Engine;
use crate::fault;
use crate::limits::{Limits, Meter};
use crate::log::CallLog;
use crate::mappings::{Mappings, Reserved};

/// Which plugin a sandbox runs, shared by all of them.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The plugin's name in the configuration.
    pub(crate) name: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: String,
    pub(crate) limits: Limits,
}

impl Origin {
    pub(crate) fn fault(&self, kind: FaultKind, what: String) -> PluginFault {
        let (plugin, digest) = (self.name.clone(), self.digest.clone());
        PluginFault { plugin, digest, kind, what, backtrace: Vec::new(), log: Vec::new() }
    }
}

/// What the host holds for one instance.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) origin: Arc<Origin>,
    pub(crate) meter: Meter,
    pub(crate) log: CallLog,
    /// When the call in hand must be over.
    deadline: Instant,
}

/// The guest computed past its deadline; it stops where it is.
#[derive(Debug, thiserror::Error)]
#[error("out of time")]
pub(crate) struct OutOfTime;

/// A component that is checked, linked and ready to be instantiated any number of times.
#[derive(Clone)]
pub(crate) struct Blueprint {
    pub(crate) origin: Arc<Origin>,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) engine: Arc<Engine>,
    /// The memory mappings of an instance.
    pub(crate) mappings: usize,
}

impl std::fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blueprint").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Blueprint {
    /// A fresh instance in a store of its own, within the time limit of a call.
    pub(crate) async fn build(&self) -> Result<(Sandbox, Instance), PluginFault> {
        let limits = &self.origin.limits;
        let reserved = Mappings::of_this_process().reserve(self.mappings).ok_or_else(|| {
            let room = Mappings::of_this_process().instances();
            let what = format!(
                "cannot be instantiated: about {room} instances are alive, and the machine's vm.max_map_count allows no \
                 more; keep fewer entities alive or raise it"
            );
            self.origin.fault(FaultKind::Broke, what)
        })?;
        let guest = Guest {
            origin: self.origin.clone(),
            meter: Meter::new(limits),
            log: CallLog::default(),
            deadline: Instant::now(),
        };
        let mut store = Store::new(self.engine.wasmtime(), guest);
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(limits.result_bytes);
        store.set_max_component_handles(limits.handles);
        // Stops the guest itself at its deadline: only then is known where it was. Before that it makes way, behind
        // timers and sockets too (which wasmtime's own `Yield` overtakes for as long as others are ready).
        store.epoch_deadline_callback(|store| {
            if Instant::now() >= store.data().deadline {
                return Err(OutOfTime.into());
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let mut sandbox = Sandbox {
            store,
            state: State::Ready,
            memory_bytes_at_start: 0,
            _reserved: reserved,
            _engine: self.engine.clone(),
        };
        let deadline = sandbox.begin()?;
        let outcome = within(deadline, self.pre.instantiate_async(&mut sandbox.store)).await;
        let instance = match outcome {
            Ok(Err(error)) => return Err(fault::of_instantiation(&error, sandbox.store.data_mut())),
            outcome => sandbox.end(outcome)?,
        };
        sandbox.memory_bytes_at_start = sandbox.store.data().meter.memory_bytes();
        Ok((sandbox, instance))
    }
}

/// The call's result, or nothing at the deadline. Nearly every call is over at the first poll, before a timer would be
/// worth its price.
pub(crate) async fn within<F: Future>(deadline: tokio::time::Instant, call: F) -> Result<F::Output, Elapsed> {
    let mut call = pin!(call);
    match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => timeout_at(deadline, call).await,
    }
}

/// An instance in its store.
pub(crate) struct Sandbox {
    store: Store<Guest>,
    state: State,
    memory_bytes_at_start: usize,
    // After the store: given back when its mappings are gone.
    _reserved: Reserved,
    // An instance may outlive its plugin, and must not outlive the epoch: nothing else would stop it.
    _engine: Arc<Engine>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("guest", self.store.data())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// A call has begun. Where it was never ended, its future was dropped, and the guest stands halfway.
    Calling,
    Poisoned,
}

impl Sandbox {
    pub(crate) fn store(&mut self) -> &mut Store<Guest> {
        &mut self.store
    }

    /// Opens a call and says when it must be over. Refuses if the instance cannot be trusted any more.
    pub(crate) fn begin(&mut self) -> Result<tokio::time::Instant, PluginFault> {
        let guest = self.store.data_mut();
        let what = match self.state {
            State::Ready => None,
            State::Calling => {
                Some("its instance is poisoned: an earlier call was abandoned halfway; it must be dropped")
            }
            State::Poisoned => Some("its instance is poisoned by an earlier fault; it must be dropped"),
        };
        if let Some(what) = what {
            return Err(guest.origin.fault(FaultKind::Broke, what.to_owned()));
        }
        let deadline = tokio::time::Instant::now() + guest.origin.limits.call_time;
        guest.deadline = deadline.into_std();
        guest.log.clear();
        guest.meter.forget_refused();
        self.store.set_epoch_deadline(1);
        self.state = State::Calling;
        Ok(deadline)
    }

    /// Closes a call. An error poisons the sandbox and is put into words.
    pub(crate) fn end<R>(&mut self, outcome: Result<wasmtime::Result<R>, Elapsed>) -> Result<R, PluginFault> {
        let error = match outcome {
            Ok(Ok(result)) => {
                self.state = State::Ready;
                return Ok(result);
            }
            Ok(Err(error)) => error,
            Err(_) => OutOfTime.into(),
        };
        self.state = State::Poisoned;
        Err(fault::of_call(&error, self.store.data_mut()))
    }

    /// What the last call returned breaks the contract. Poisons the sandbox: such a plugin is not trusted further.
    pub(crate) fn refuse(&mut self, what: String) -> PluginFault {
        self.state = State::Poisoned;
        let guest = self.store.data_mut();
        PluginFault { log: guest.log.take(), ..guest.origin.fault(FaultKind::Refused, what) }
    }

    /// The linear memories, whether touched or not.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().meter.memory_bytes()
    }

    /// What it can be taken to hold of the machine's memory: what every live instance was measured to hold, and what
    /// its memories have grown since it was made. Untouched pages of the first image are shared by all instances.
    pub(crate) fn resident_bytes(&self) -> usize {
        const LIVE_INSTANCE_BYTES: usize = 48 * 1024;
        LIVE_INSTANCE_BYTES + self.memory_bytes().saturating_sub(self.memory_bytes_at_start)
    }
}

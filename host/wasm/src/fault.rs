//! Faults of a guest, in words.

use pelton_core::plugin::{FaultKind, PluginFault};
use wasmtime::{Trap, WasmBacktrace};

use crate::guest::{Guest, OutOfTime};
use crate::limits::InBytes;

/// The fault of a call that ended in an error.
pub(crate) fn of_call(error: &wasmtime::Error, guest: &mut Guest) -> PluginFault {
    let (kind, what) = words(error, guest);
    assemble(kind, what, error, guest)
}

/// The fault of an instantiation that failed: the faults of a call, and what the machine lacks.
pub(crate) fn of_instantiation(error: &wasmtime::Error, guest: &mut Guest) -> PluginFault {
    let what = if error.is::<Trap>() || error.is::<OutOfTime>() {
        format!("cannot be instantiated: it {}", words(error, guest).1)
    } else if let Some(refused) = guest.meter.refused() {
        raise(guest, &format!("cannot be instantiated: it {refused}"), refused.key())
    } else if chain(error).contains("Cannot allocate memory") {
        format!(
            "cannot be instantiated: the machine has no memory or no mappings left ({}); keep fewer entities alive or raise \
             vm.max_map_count",
            chain(error)
        )
    } else {
        format!("cannot be instantiated: {}", chain(error))
    };
    assemble(FaultKind::Broke, what, error, guest)
}

fn words(error: &wasmtime::Error, guest: &Guest) -> (FaultKind, String) {
    let limits = &guest.origin.limits;
    if error.is::<OutOfTime>() {
        return (
            FaultKind::Broke,
            raise(guest, &format!("ran longer than {:?}", limits.call_time), "call-timeout"),
        );
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let trapped = match trap {
            // Its own words first: what follows them says less.
            Trap::UnreachableCodeReached => match guest.log.last_panic() {
                Some(panic) => format!("{panic} (trapped: unreachable)"),
                None => "trapped: unreachable (a panic or an abort of its language)".to_owned(),
            },
            trap => format!("trapped: {}", trap.to_string().trim_start_matches("wasm trap: ")),
        };
        let what = match guest.meter.refused() {
            Some(refused) => raise(guest, &format!("{refused}, and {trapped}"), refused.key()),
            None => trapped,
        };
        return (FaultKind::Broke, what);
    }
    let cause = chain(error);
    // The type of this error is private to wasmtime; a test checks its text.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return (
            FaultKind::Refused,
            raise(
                guest,
                &format!("handed the host more than {} in one call", InBytes(limits.result_bytes)),
                "result-bytes",
            ),
        );
    }
    if error.is::<WasmBacktrace>() {
        return (FaultKind::Broke, format!("was stopped by the host: {cause}"));
    }
    (FaultKind::Refused, format!("broke the rules of the component model: {cause}"))
}

/// With the key that raises a limit; its present value is in what happened.
fn raise(guest: &Guest, what: &str, key: &str) -> String {
    format!("{what}; if it needs more, raise `{key}` in [plugins.{}.limits]", guest.origin.name)
}

fn assemble(kind: FaultKind, what: String, error: &wasmtime::Error, guest: &mut Guest) -> PluginFault {
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    PluginFault { backtrace, log: guest.log.take(), ..guest.origin.fault(kind, what) }
}

/// One line a frame, innermost first, with the function's name if the component has kept it.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    const MAX_LINES: usize = 64;
    backtrace.to_string().lines().skip(1).take(MAX_LINES).map(|line| line.trim().to_owned()).collect()
}

/// The error and its causes. The backtrace is reported elsewhere.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let causes = error
        .chain()
        .map(ToString::to_string)
        .filter(|cause| !cause.starts_with("error while executing at wasm backtrace"));
    causes.collect::<Vec<_>>().join(": ")
}

//! Faults of a guest, in words.

use pelton_core::plugin::{FaultKind, PluginFault};
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::guest::{Guest, Origin, OutOfTime};
use crate::limits::{InBytes, Refused};

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
        if refused.is_shortage() {
            return of_shortage(&guest.origin, refused);
        }
        raise(&guest.origin, &format!("cannot be instantiated: it {refused}"), refused.key())
    } else if chain(error).contains("Cannot allocate memory") {
        let what = format!(
            "cannot be instantiated: the machine has no memory or no mappings left ({}); keep fewer entities alive or raise \
             vm.max_map_count",
            chain(error)
        );
        return assemble(FaultKind::NoRoom, what, error, guest);
    } else {
        format!("cannot be instantiated: {}", chain(error))
    };
    assemble(FaultKind::Broke, what, error, guest)
}

fn words(error: &wasmtime::Error, guest: &Guest) -> (FaultKind, String) {
    let limits = &guest.origin.limits;
    if error.is::<OutOfTime>() {
        let what = format!("ran longer than {:?}", limits.call_time);
        return (FaultKind::Broke, raise(&guest.origin, &what, Some("call-timeout")));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let trapped = match trap {
            // Its own words first: what follows them says less.
            Trap::UnreachableCodeReached => match guest.log.last_words() {
                Some(words) => format!("{words} (trapped: unreachable)"),
                None => "trapped: unreachable (a panic or an abort of its language)".to_owned(),
            },
            trap => format!("trapped: {}", trap.to_string().trim_start_matches("wasm trap: ")),
        };
        return match guest.meter.refused() {
            Some(refused) => {
                let kind = if refused.is_shortage() { FaultKind::NoRoom } else { FaultKind::Broke };
                (kind, raise(&guest.origin, &format!("{refused}, and {trapped}"), refused.key()))
            }
            None => (FaultKind::Broke, trapped),
        };
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        let said = guest.log.last_words().map_or_else(String::new, |words| format!("{words} "));
        return (FaultKind::Broke, format!("{said}(ended itself: exit status {status})"));
    }
    let cause = chain(error);
    // The type of this error is private to wasmtime; a test checks its text.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        let what = format!("handed the host more than {} in one call", InBytes(limits.result_bytes));
        return (FaultKind::Refused, raise(&guest.origin, &what, Some("result-bytes")));
    }
    if error.is::<WasmBacktrace>() {
        return (FaultKind::Broke, format!("was stopped by the host: {cause}"));
    }
    (FaultKind::Refused, format!("broke the rules of the component model: {cause}"))
}

/// The fault that there is no room for an instance, which is nobody's fault.
pub(crate) fn of_shortage(origin: &Origin, refused: Refused) -> PluginFault {
    let what = raise(origin, &format!("cannot be instantiated: it {refused}"), refused.key());
    origin.fault(FaultKind::NoRoom, what)
}

/// With the key that raises a limit; its present value is in what happened.
fn raise(origin: &Origin, what: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("{what}; if it needs more, raise `{key}` in [plugins.{}.limits]", origin.name),
        None => what.to_owned(),
    }
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

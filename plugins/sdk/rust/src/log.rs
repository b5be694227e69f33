//! Lines for the host's log. They have no effect on a result; the host keeps the first 64 lines of a call.
//!
//! Natively, in tests, they go to standard error.

use crate::bindings::command_handler::pelton::plugin::log::{Level, log};

/// What helps to find a mistake.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// What an operator may want to know.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// What an operator should look at some day.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// What an operator should look at now.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

fn write(level: Level, message: &str) {
    if cfg!(target_family = "wasm") {
        log(level, message);
    } else {
        eprintln!("{level:?}: {message}");
    }
}

/// Sends the message of a panic to the host's log, which is the only place where its cause can be seen: what the host
/// sees of a panic itself is a trap without words. Only the first call has an effect.
pub(crate) fn panics() {
    #[cfg(target_family = "wasm")]
    {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|panic| error(panic.to_string().replace('\n', " "))))
        });
    }
}

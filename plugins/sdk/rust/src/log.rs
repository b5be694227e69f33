//! Lines for the host's log. They have no effect on a result. The host keeps the first 64 lines of a call.
//!
//! In native tests they go to standard error.

use crate::bindings::command_handler::pelton::plugin::log::{Level, log};

/// A line that helps to find a mistake.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// A line that an operator may want to know.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// A line that an operator should look at some day.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// A line that an operator should look at now.
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

/// Sends the message of a panic to the host's log. The host itself sees only a trap without a message, so this is the
/// only place where the cause of a panic shows. Only the first call has an effect.
pub(crate) fn panics() {
    #[cfg(target_family = "wasm")]
    {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|panic| error(panic.to_string().replace('\n', " "))))
        });
    }
}

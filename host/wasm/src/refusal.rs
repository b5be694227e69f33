//! Why a component was not loaded. A retry with the same bytes helps only for [`Refusal::Unreadable`].

use std::path::PathBuf;

use pelton_core::plugin::PluginFault;

use crate::fault;
use crate::guest::Origin;
use crate::limits::InBytes;

/// A component that the host refuses, with the name of its plugin.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin}{} is not loaded: {refusal}", .digest.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
pub struct LoadError {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The digest of the component, once it was read.
    pub digest: Option<String>,
    /// The reason.
    pub refusal: Refusal,
}

impl LoadError {
    pub(crate) fn of(origin: &Origin, refusal: Refusal) -> Self {
        Self { plugin: origin.name.clone(), digest: Some(origin.digest.clone()), refusal }
    }
}

/// Why a component was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// It has more bytes than [`crate::Limits::component_bytes`].
    #[error("it has more than {}; if it needs more, raise `component-bytes` in the limits of its plugin", InBytes(*.0))]
    TooLarge(usize),
    /// It is native code that wasmtime wrote. Whoever wrote such code would have to be trusted like the host itself.
    #[error(
        "it is compiled code, which is never taken from outside; load the component that it was compiled from"
    )]
    Precompiled,
    /// It is a module, as a compiler writes it.
    #[error("it is a core module; turn it into a component with `pelton component`")]
    CoreModule,
    /// It is not WebAssembly.
    #[error("it is not a WebAssembly component: the file begins with {0}")]
    NotWasm(String),
    /// It does not validate, or uses a proposal that the host does not run.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It exports no role.
    #[error(
        "it exports no role that this host runs (command-handler, projection or saga of pelton:plugin@0.1); it exports {}{}",
        listed(.0),
        without_macro(.0)
    )]
    NoRole(Vec<String>),
    /// It exports what only another version of the contract has. It would never be called.
    #[error(
        "it exports interfaces of the contract that it would wait for in vain: {}; leave them out, or run it on a newer \
         host",
        listed(.0)
    )]
    Unknown(Vec<String>),
    /// It imports what a pure plugin may not import.
    #[error("it imports what a plugin may not: {}; {hint}", listed(.imports))]
    Forbidden {
        /// Each import, with the reason.
        imports: Vec<String>,
        /// How to avoid the imports.
        hint: &'static str,
    },
    /// It exports a role, but not as in the contract, or expects another `log`.
    #[error("it does not keep to the contract: {0}; build it against the WIT of this host")]
    Interface(String),
    /// Its descriptor breaks the contract.
    #[error("its descriptor breaks the contract: {0}")]
    Descriptor(String),
    /// Its schemas break the contract.
    #[error("its schemas break the contract: {0}")]
    Schemas(String),
    /// It cannot be instantiated, or its `describe` does not work.
    #[error("it was tried and failed: {}", tried(.0))]
    Fault(Box<PluginFault>),
    /// The host stopped while it was compiling.
    #[error("the host stopped compiling it: {0}")]
    Interrupted(String),
}

impl Refusal {
    pub(crate) fn interface(error: &wasmtime::Error) -> Self {
        Self::Interface(fault::chain(error))
    }
}

impl From<PluginFault> for Refusal {
    fn from(fault: PluginFault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

/// What a plugin that exports nothing at all most likely lacks.
fn without_macro(exports: &[String]) -> &'static str {
    match exports {
        [] => {
            "; a Rust plugin needs one of the macros `pelton_plugin::export_command_handler!`, `export_projection!` and \
             `export_saga!` in its src/lib.rs"
        }
        _ => "",
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        _ => names.join(", "),
    }
}

/// The fault without name and digest, which the load error states already.
fn tried(fault: &PluginFault) -> String {
    let lines = fault.backtrace.iter().chain(&fault.log);
    lines.fold(fault.what.clone(), |text, line| text + "\n  " + line)
}

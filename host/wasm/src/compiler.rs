//! Compiles a component in a child process, with bounds: a component that the compiler takes too long for, or too much memory,
//! costs the host nothing but the refusal.
//!
//! The child is a program that calls [`compile`] as its only work: it gets the component on stdin and writes compiled code to
//! stdout.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::oneshot;
use wasmtime::component::Component;

use crate::engine::Engine;
use crate::fault;
use crate::refusal::Refusal;

/// The longest time that the child takes.
const MAX_TIME: Duration = Duration::from_secs(300);
/// The most address space that the child takes, in bytes.
const MAX_BYTES: u64 = 8 << 30;
/// The most of what the child says that becomes part of an error, in bytes.
const MAX_SAID: usize = 4 << 10;
/// The argument with which the child is started.
pub const ARGUMENT: &str = "compile-component";

/// The work of the child: reads a component and writes its code, within [`MAX_BYTES`] of memory.
///
/// # Errors
///
/// The component does not compile, or cannot be read or written.
pub fn compile(mut from: impl Read, mut to: impl Write) -> Result<(), String> {
    let limit = Rlimit { current: Some(MAX_BYTES), maximum: Some(MAX_BYTES) };
    setrlimit(Resource::As, limit).map_err(|error| format!("bounding the memory: {error}"))?;
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(|error| format!("reading the component: {error}"))?;
    let engine = Engine::to_compile().map_err(|error| error.to_string())?;
    let component = Component::from_binary(&engine, &bytes).map_err(|error| fault::chain(&error))?;
    let code = component.serialize().map_err(|error| fault::chain(&error))?;
    to.write_all(&code).and_then(|()| to.flush()).map_err(|error| format!("writing the code: {error}"))
}

/// Compiled code that a child of this process has written.
pub(crate) struct Compiled(Vec<u8>);

impl Compiled {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Has a child compile the component. It is killed when `cancelled` is told, or dropped.
pub(crate) async fn in_child(
    program: &Path,
    component: &[u8],
    cancelled: oneshot::Receiver<()>,
) -> Result<Compiled, Refusal> {
    let failed = |what: String| Refusal::Compile(what);
    let mut command = Command::new(program);
    command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.kill_on_drop(true).spawn();
    let mut child = child.map_err(|error| failed(format!("the compiler cannot be started: {error}")))?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A child that ends before it has read everything says why.
            let _ = stdin.write_all(component).await;
        }
    };
    let work = async { tokio::join!(write, child.wait_with_output()).1 };
    tokio::select! {
        done = tokio::time::timeout(MAX_TIME, work) => match done {
            Ok(Ok(output)) if output.status.success() => Ok(Compiled(output.stdout)),
            Ok(Ok(output)) => Err(failed(why(output.status, &output.stderr))),
            Ok(Err(error)) => Err(failed(format!("the compiler's answer is lost: {error}"))),
            Err(_) => Err(failed(format!("the compiler took longer than {MAX_TIME:?}"))),
        },
        _ = cancelled => Err(Refusal::Interrupted("nobody waits for it any more".to_owned())),
    }
}

fn why(status: ExitStatus, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(&said[..said.len().min(MAX_SAID)]);
    match (status.code(), said.trim().trim_start_matches("error: ")) {
        (Some(_), said) if !said.is_empty() => said.to_owned(),
        _ => format!("the compiler was ended ({status}): perhaps it needs more than {} GiB", MAX_BYTES >> 30),
    }
}

//! Measures Pelton's own crates, without the rest of the host around them.
//!
//! ```text
//! bench-inside calls PLUGINS
//! bench-inside cold-load PLUGINS URL ACCOUNTS LOADS
//! bench-inside commands PLUGINS ENTITIES COMMANDS
//! ```
//!
//! PLUGINS is the folder with the components. The first two commands print a JSON object with a list of figures under
//! every key. The third prints the microseconds of a command; its caller may count its instructions.
#![forbid(unsafe_code)]

mod calls;
mod cold_load;
mod commands;
mod made;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use mimalloc::MiMalloc;
use pelton_wasm::{Limits, LoadedPlugin, Plugins, Settings};

/// A command makes and drops some hundred small values, while thousands of entities live long.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-inside: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["calls", plugins] => println!("{}", calls::measure(Path::new(plugins)).await?),
        ["cold-load", plugins, url, accounts, loads] => {
            let plugins = Path::new(plugins);
            println!("{}", cold_load::measure(plugins, url, accounts.parse()?, loads.parse()?).await?);
        }
        ["commands", plugins, entities, commands] => {
            let took = commands::handle(Path::new(plugins), entities.parse()?, commands.parse()?).await?;
            println!("{}", took.as_secs_f64() * 1e6);
        }
        _ => bail!("usage: bench-inside calls|cold-load|commands …; its source has the details"),
    }
    Ok(())
}

/// A component of the benchmark. Compiled code is kept beside the components, so that a second run compiles nothing.
async fn load(plugins: &Path, name: &str) -> anyhow::Result<LoadedPlugin> {
    let cache: PathBuf = plugins.with_file_name("bench").join("compiled");
    let sandbox =
        Plugins::new(&Settings { cache_dir: Some(cache), memory_bytes: usize::MAX, compiler: None })?;
    let component = plugins.join(name).with_extension("wasm");
    // While instructions are counted, everything takes many times as long.
    let limits = Limits { call_time: Duration::from_secs(60), ..Limits::default() };
    sandbox
        .load(name, component, limits)
        .await
        .with_context(|| format!("loading {name} from {}", plugins.display()))
}

//! The `pelton` command.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use mimalloc::MiMalloc;
use pelton::args::{Arguments, Command, ConfigArgs, DevArgs, LogFormat, RunArgs};
use pelton::check::Summary;
use pelton::failure::Failure;
use pelton::prepare::{Prepared, prepare};
use pelton::signals::Signals;
use pelton::{component, dev, dlq, host, telemetry};
use tokio_util::sync::CancellationToken;

/// A command makes and drops some hundred small values, and thousands of entities live for long in between.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done =
        telemetry::start(arguments.log_format, arguments.log()).map_err(Failure::Usage).and_then(|()| {
            match &arguments.command {
                Command::Component(component) => component::run(component),
                Command::Check(check) => on_runtime(checked(check)),
                Command::Dlq(command) => on_runtime(dlq::run(command)),
                Command::Run(run) => on_runtime(until_stopped(|stop| running(run, stop))),
                Command::Dev(dev) => on_runtime(until_stopped(|stop| developing(dev, stop))),
            }
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match (arguments.log_format, &failure) {
                // A usage error may mean that there is no log.
                (LogFormat::Json, Failure::Configuration(_) | Failure::Unusable(_) | Failure::Run(_)) => {
                    tracing::error!("{}", failure.render(false).trim_end());
                }
                // Where nobody reads stderr any more, the exit code has to do.
                _ => drop(write!(std::io::stderr(), "{}", failure.render(telemetry::colour()))),
            }
            failure.exit_code()
        }
    }
}

fn on_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the async runtime").map_err(Failure::Run)?.block_on(work)
}

/// Works until it is done, or has stopped cleanly after a signal.
async fn until_stopped<F: Future<Output = Result<(), Failure>>>(
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<(), Failure> {
    let signals = Signals::listen().context("cannot listen for signals").map_err(Failure::Run)?;
    let stop = CancellationToken::new();
    tokio::select! {
        done = work(stop.clone()) => done,
        never = signals.stop_then_exit(stop) => match never {},
    }
}

async fn checked(arguments: &ConfigArgs) -> Result<(), Failure> {
    let prepared = prepare(arguments, None).await?;
    warn(&prepared);
    // Who pipes it into `head` has seen enough.
    let _ = write!(std::io::stdout(), "{}", Summary(&prepared));
    Ok(())
}

async fn running(arguments: &RunArgs, stop: CancellationToken) -> Result<(), Failure> {
    let mut prepared = prepare_until(&arguments.config, None, &stop).await?;
    let Some(prepared) = &mut prepared else { return Ok(()) };
    if !arguments.nats.is_empty() {
        prepared.config.nats.urls.clone_from(&arguments.nats);
    }
    prepared.config.gateway.listen = arguments.listen.unwrap_or(prepared.config.gateway.listen);
    let ready = |address| tracing::info!("ready: http://{address}");
    host::run(prepared, stop, ready).await.map_err(Failure::Run)
}

async fn developing(arguments: &DevArgs, stop: CancellationToken) -> Result<(), Failure> {
    let compiled = Some(arguments.store.join("compiled"));
    let Some(mut prepared) = prepare_until(&arguments.config, compiled, &stop).await? else { return Ok(()) };
    prepared.config.gateway.listen = arguments.listen.unwrap_or(prepared.config.gateway.listen);
    dev::run(arguments, prepared, stop).await.map_err(Failure::Run)
}

/// Prepares, unless it is told to stop meanwhile; then there is nothing.
async fn prepare_until(
    arguments: &ConfigArgs,
    compiled_code: Option<PathBuf>,
    stop: &CancellationToken,
) -> Result<Option<Prepared>, Failure> {
    let prepared = tokio::select! {
        prepared = prepare(arguments, compiled_code) => prepared?,
        () = stop.cancelled() => return Ok(None),
    };
    warn(&prepared);
    Ok(Some(prepared))
}

fn warn(prepared: &Prepared) {
    if !prepared.warnings.is_empty() {
        tracing::warn!("{}", prepared.warnings.render(false).trim_end());
    }
}

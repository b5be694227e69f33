//! The `pelton` command as a library, so that tests can use its parts.
//!
//! [`main`] reads the command line ([`args`]) and does what it asks for. [`run`] is the life of a host: prepare the
//! configuration ([`config`]) and its components ([`descriptors`] compares the two), connect, start every role, wait,
//! stop.
#![forbid(unsafe_code)]

mod apply;
mod args;
mod build;
mod check;
mod compile;
mod componentize;
pub mod config;
mod describe;
mod descriptors;
mod dev;
mod dlq;
mod examples;
mod exit;
mod gate;
mod hosts;
mod nats;
mod new;
mod operator;
mod plugin;
mod record;
mod repeats;
mod role;
mod run;
mod saga;
mod server;
mod status;
mod telemetry;
mod terminal;
mod test;
mod why;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio_util::sync::CancellationToken;

use args::common::LogFormat;
use args::{Arguments, Command};
use exit::Failure;
use run::signals::Signals;

/// Does what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    compile::by_this_program();
    let arguments = Arguments::parse();
    let done = telemetry::start(arguments.log_format, arguments.log())
        .map_err(Failure::Usage)
        .and_then(|()| execute(&arguments.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match (arguments.log_format, &failure) {
                // After a usage error there may be no log.
                (LogFormat::Json, Failure::Configuration(_) | Failure::Unusable(_) | Failure::Run(_)) => {
                    tracing::error!("{}", failure.render(false).trim_end());
                }
                // If stderr is closed, the exit code must suffice.
                _ => drop(write!(std::io::stderr(), "{}", failure.render(telemetry::colour()))),
            }
            failure.exit_code()
        }
    }
}

fn execute(command: &Command) -> Result<(), Failure> {
    match command {
        Command::New(new) => new::run(new),
        Command::Build(build) => on_runtime(build::run(build)),
        Command::Completions(completions) => describe::completions(completions),
        Command::CompileComponent => compile::run(),
        Command::Man => describe::man(),
        Command::Component(component) => componentize::run(component),
        Command::Check(check) => on_runtime(check::run(check)),
        Command::Test(test) => on_runtime(test::run(test)),
        Command::Record(record) => on_runtime(record::run(record)),
        Command::CanIActivate(asked) => on_runtime(test::can_i_activate(asked)),
        Command::Apply(apply) => on_runtime(apply::run(apply)),
        Command::Nats(command) => {
            nats::run(command);
            Ok(())
        }
        Command::Status(status) => on_runtime(status::run(status)),
        Command::Hosts(hosts) => on_runtime(hosts::run(hosts)),
        Command::Why(why) => on_runtime(why::run(why)),
        Command::Dlq(command) => on_runtime(dlq::run(command)),
        Command::Plugin(command) => on_runtime(plugin::run(command)),
        Command::Saga(command) => on_runtime(saga::run(command)),
        Command::Run(run) => on_runtime(until_stopped(|stop| run::run(run, stop))),
        Command::Dev(dev) => on_runtime(until_stopped(|stop| dev::run(dev, stop))),
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

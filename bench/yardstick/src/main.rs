//! `yardstick bare|same|view|saga URLS REPLICAS`: one side of the benchmark, written by hand.
//!
//! `bare` and `same` decide commands, `view` keeps a view, `saga` sends commands; their modules state what each does and
//! leaves out. All receive messages and spread them over lanes, see `lanes`. None of them has recovery: when the server refuses
//! something, the process and the run end.
//!
//! The streams and the consumer of commands exist when it starts. It prints `ready` and works until it is killed.
#![forbid(unsafe_code)]

mod bare;
mod lanes;
mod ledger;
mod saga;
mod same;
mod view;

use std::process::ExitCode;

use anyhow::{Context, bail};
use async_nats::ServerAddr;
use async_nats::jetstream;
use mimalloc::MiMalloc;

/// The stream that holds commands, and its consumer.
const COMMANDS: &str = "COMMANDS";
/// The stream that holds events, and the name of the handler and of its consumer of commands.
const LEDGER: &str = "ledger";
/// The bucket of the view.
const BUCKET: &str = "accounts-v1";

/// A command makes and drops some hundred small values, while thousands of entities live long.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("yardstick: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<std::convert::Infallible> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [side, urls, replicas] = arguments.as_slice() else {
        bail!("usage: yardstick bare|same|view|saga URLS REPLICAS");
    };
    let replicas: usize = replicas.parse().context("REPLICAS is not a number")?;
    let urls: Vec<ServerAddr> = urls.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let client = async_nats::connect(urls).await.context("no connection to NATS")?;
    let jetstream = jetstream::new(client.clone());
    match side.as_str() {
        "bare" => lanes::run(commands(&jetstream).await?, bare::Bare::new(jetstream)).await,
        "same" => lanes::run(commands(&jetstream).await?, same::Same::new(client, replicas)).await,
        "view" => lanes::run(view::events(&jetstream).await?, view::View::open(&jetstream).await?).await,
        "saga" => lanes::run(saga::events(&jetstream).await?, saga::Saga::open(jetstream).await?).await,
        other => bail!("there is no side {other:?}"),
    }
}

async fn commands(jetstream: &jetstream::Context) -> anyhow::Result<lanes::Consumer> {
    jetstream.get_consumer_from_stream(LEDGER, COMMANDS).await.context("there is no consumer of commands")
}

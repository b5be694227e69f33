//! `pelton status`: the state of streams, handlers, views, sagas and hosts, as text or JSON.

use std::io::{IsTerminal, Write, stdout};

use pelton_core::id::Name;
use pelton_nats::status::{self, ConsumerStatus, SagaStatus, Status, Wanted, WantedSaga};

use crate::args::status::StatusArgs;
use crate::config::{Config, SagaConfig};
use crate::exit::Failure;
use crate::hosts;
use crate::server;
use crate::terminal::table;

/// The escape sequence that clears the terminal and moves to its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Shows the status once, or repeatedly with `--watch`.
pub(crate) async fn run(arguments: &StatusArgs) -> Result<(), Failure> {
    let (config, nats) = server::connect(&arguments.server).await?;
    let wanted = wanted(&config);
    loop {
        let status = status::read(&nats, &wanted).await.map_err(|away| Failure::Run(away.into()))?;
        let text = match arguments.server.json {
            true => serde_json::json!(status).to_string() + "\n",
            false => screen(&status),
        };
        let clear = if arguments.watch.is_some() && stdout().is_terminal() { CLEAR } else { "" };
        let written = write!(stdout(), "{clear}{text}").and_then(|()| stdout().flush());
        match arguments.watch {
            Some(every) if written.is_ok() => tokio::time::sleep(every).await,
            _ => return Ok(()),
        }
    }
}

fn wanted(config: &Config) -> Wanted {
    let of = |name: &Name, stream: &Name| (name.clone(), stream.clone());
    Wanted {
        streams: config.streams.keys().cloned().collect(),
        handlers: config.handlers.values().map(|handler| (handler.id.clone(), handler.partitions)).collect(),
        views: config.projections.iter().map(|(name, view)| of(name, &view.stream)).collect(),
        sagas: config.sagas.iter().map(|(name, saga)| wanted_saga(name, saga)).collect(),
    }
}

fn wanted_saga(name: &Name, saga: &SagaConfig) -> WantedSaga {
    WantedSaga { name: name.clone(), id: saga.id.clone(), stream: saga.stream.clone() }
}

/// The tables of the status.
fn screen(status: &Status) -> String {
    let Status { streams, handlers, views, sagas, dead_letters, hosts } = status;
    let streams = streams.iter().map(|stream| {
        vec![
            stream.name.clone(),
            stream.messages.to_string(),
            stream.bytes.to_string(),
            stream.last.to_string(),
            stream.last_stored_at.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let views = views.iter().map(|view| {
        vec![
            format!("{}-v{}", view.name, view.version),
            view.stream.to_string(),
            view.position.to_string(),
            view.lag.to_string(),
            view.parked_keys.to_string(),
        ]
    });
    let dead_letters = dead_letters
        .iter()
        .map(|count| vec![count.consumer.clone(), count.failed.to_string(), count.parked.to_string()]);
    let consumer = |title| [title, "STREAM", "WAITING", "IN WORK", "AGAIN", "ENDED UP TO", "ASKED"];
    let tables = [
        table(&["STREAM", "MESSAGES", "BYTES", "LAST", "STORED AT"], streams),
        table(&consumer("HANDLER"), handlers.iter().map(consumer_row)),
        table(&["VIEW", "STREAM", "POSITION", "LAG", "PARKED KEYS"], views),
        table(&["SAGA", "ID", "STREAM", "HANDLED UP TO", "LAST SIGN", "RUNS"], sagas.iter().map(saga_row)),
        table(&["DEAD LETTERS OF", "FAILED", "PARKED"], dead_letters),
        hosts::overview(hosts),
    ];
    let shown: Vec<String> = tables.into_iter().flatten().collect();
    match shown.is_empty() {
        true => "nothing of this configuration is on the server; `pelton run` creates it\n".to_owned(),
        false => shown.join("\n"),
    }
}

fn saga_row(saga: &SagaStatus) -> Vec<String> {
    vec![
        saga.name.to_string(),
        saga.id.to_string(),
        saga.stream.to_string(),
        saga.handled_up_to.to_string(),
        saga.last_sign.to_string(),
        (if saga.is_run { "yes" } else { "no" }).to_owned(),
    ]
}

fn consumer_row(consumer: &ConsumerStatus) -> Vec<String> {
    vec![
        consumer.name.clone(),
        consumer.stream.clone(),
        consumer.waiting.to_string(),
        consumer.in_work.to_string(),
        consumer.again.to_string(),
        consumer.ended_up_to.to_string(),
        (if consumer.is_asked { "yes" } else { "no" }).to_owned(),
    ]
}

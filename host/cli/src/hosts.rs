//! `pelton hosts`: the hosts that answer, their partitions and their plugin versions.

use std::collections::BTreeMap;
use std::io::{Write, stdout};

use pelton_core::partition::Partition;
use pelton_nats::hosts::{self, HostStatus};

use crate::args::hosts::HostsArgs;
use crate::exit::Failure;
use crate::server;
use crate::terminal::table;

/// Asks all hosts and prints their answers.
pub(crate) async fn run(arguments: &HostsArgs) -> Result<(), Failure> {
    let (_, nats) = server::connect(&arguments.server).await?;
    let hosts = hosts::ask(&nats).await.map_err(|away| Failure::Run(away.into()))?;
    let text = match arguments.server.json {
        true => serde_json::json!(hosts).to_string() + "\n",
        false => screen(&hosts),
    };
    // A closed stdout is not an error.
    let _ = stdout().write_all(text.as_bytes());
    Ok(())
}

fn screen(hosts: &[HostStatus]) -> String {
    let runs = hosts.iter().flat_map(|host| {
        host.plugins.iter().map(move |(role, digest)| vec![name(host), role.clone(), digest.clone()])
    });
    let unfit = hosts.iter().flat_map(|host| host.unfit.iter().map(move |why| vec![name(host), why.clone()]));
    let tables = [
        overview(hosts),
        table(&["HOST", "RUNS", "DIGEST"], runs),
        table(&["HOST", "CANNOT RUN WHAT IT SHOULD"], unfit),
    ];
    let shown: Vec<String> = tables.into_iter().flatten().collect();
    match shown.is_empty() {
        true => "no host answers: none runs, or none is connected to this server\n".to_owned(),
        false => shown.join("\n"),
    }
}

/// A line for each host.
pub(crate) fn overview(hosts: &[HostStatus]) -> Option<String> {
    let lines = hosts.iter().map(|host| {
        vec![
            name(host),
            host.version.clone(),
            host.address.clone(),
            host.started_at.clone(),
            commands_of(&host.handlers),
        ]
    });
    table(&["HOST", "VERSION", "ADDRESS", "SINCE", "HAS THE COMMANDS OF"], lines)
}

fn name(host: &HostStatus) -> String {
    format!("{}:{}", host.machine, host.process)
}

/// The handlers behind these consumers, each with the partitions where it has several: `cleaning, booking (0 3 5 of 8)`.
fn commands_of(consumers: &[String]) -> String {
    let mut handlers: BTreeMap<&str, Vec<Partition>> = BTreeMap::new();
    for consumer in consumers {
        if let (handler, Some(partition)) = Partition::split(consumer) {
            handlers.entry(handler).or_default().push(partition);
        }
    }
    let shown = handlers.into_iter().map(|(handler, mut partitions)| {
        partitions.sort_unstable();
        match partitions.as_slice() {
            [Partition::WHOLE] | [] => handler.to_owned(),
            [first, ..] => {
                let all = first.siblings().count();
                let indices: Vec<String> = partitions.iter().map(|p| p.index().to_string()).collect();
                format!("{handler} ({} of {all})", indices.join(" "))
            }
        }
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partitions_of_a_handler_are_on_one_line() {
        let consumers = ["booking@3of8", "cleaning", "booking@0of8"].map(str::to_owned);
        assert_eq!(commands_of(&consumers), "booking (0 3 of 8), cleaning");
        assert_eq!(commands_of(&[]), "-");
    }
}

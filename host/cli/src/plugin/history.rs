//! `pelton plugin history`

use pelton_nats::plugin_store::{Act, Entry, Verdict};

use super::client::Client;
use super::show::in_words;
use crate::args::plugin::ShowArgs;
use crate::exit::Failure;
use crate::terminal::{escaped, say};

/// Prints the history of a plugin, latest entry last.
pub(super) async fn run(arguments: &ShowArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let history = client.store.history(&arguments.plugin).await.map_err(|away| Failure::Run(away.into()))?;
    for entry in &history {
        if client.json {
            say(&serde_json::json!(entry).to_string());
        } else {
            let Entry { at, by, act, .. } = entry;
            say(&escaped(&format!("{at}  {by}  {}", described(act))));
        }
    }
    Ok(())
}

fn described(act: &Act) -> String {
    match act {
        Act::Pushed { component, version } => format!("pushed {version} {component}"),
        Act::Removed { component, version } => format!("removed {version} {component}"),
        Act::Switched { to, cause, revision, gate } => {
            format!("{} {to}, revision {revision}{}", in_words(cause), checks(gate))
        }
        Act::Refused { version, gate } => format!("refused {version}{}", checks(gate)),
    }
}

fn checks(gate: &[Verdict]) -> String {
    let checks = gate.iter().map(|Verdict { step, passed, found }| {
        let passed = if *passed { "ok" } else { "FAILED" };
        format!("\n    {step} {passed}: {found}")
    });
    checks.collect()
}

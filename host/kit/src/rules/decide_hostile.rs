//! Whatever a client sends is answered.

use futures::FutureExt;
use pelton_core::command::ports::{HandlerPlugin, Isolation};
use pelton_core::id::CommandType;
use pelton_core::message::Command;

use super::{MOST, NO_COMMANDS, NO_HANDLER, failed, not_tested, passed};
use crate::hostile;
use crate::rule::{Finding, Rule};
use crate::run::{Subject, decided};

pub(super) static RULE: Rule = Rule {
    id: "CH-08",
    name: "decide-hostile",
    asserts: "a command with any data is decided or rejected, and traps nothing",
    why: "a client's mistake would become a dead letter, and cost the entity's neighbours a load",
    mend: "reject what cannot be read; do not index, unwrap or multiply what a client sends without a look",
    after: &["CH-01"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    let mut random = subject.random();
    let right = subject.decisions(MOST);
    let mut tried = 0;
    for r#type in &handler.descriptor().commands {
        let of_type: Vec<_> = right.iter().filter(|(_, command)| command.r#type.as_str() == r#type).collect();
        let data: Vec<_> = of_type.iter().map(|(_, command)| command.data.clone()).collect();
        let Some((history, like)) = of_type.first().copied().or(right.first()) else { break };
        let Ok(kind) = CommandType::new(r#type) else { continue };
        for data in hostile::data(&data, &mut random) {
            let command = Command { r#type: kind.clone(), data, ..like.clone() };
            let answer = decided(handler, Isolation::Shared, history, &command).await;
            if let Err(fault) = answer {
                let shown: String = String::from_utf8_lossy(&command.data).chars().take(80).collect();
                return failed(format!("{type} with the data {shown:?}: {}", fault.what));
            }
            tried += 1;
        }
    }
    passed(tried, "commands", NO_COMMANDS)
}

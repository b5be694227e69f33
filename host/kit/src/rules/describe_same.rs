//! What a plugin says of itself never changes.

use futures::FutureExt;
use pelton_core::command::ports::HandlerPlugin;
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::saga::ports::SagaPlugin;
use pelton_wasm::LoadedPlugin;

use super::failed;
use crate::rule::{Finding, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "AL-01",
    name: "describe-same",
    asserts: "a plugin says the same of itself each time that it is loaded",
    why: "hosts would check different plugins against the configuration, and run them",
    mend: "return constants from `describe`",
    after: &[],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let suite = subject.suite;
    let again = suite.sandbox.load(&suite.name, suite.component.clone(), suite.activation.clone()).await;
    let again = match again {
        Ok(again) => again,
        Err(error) => return failed(format!("loaded again, it is refused: {error}")),
    };
    let says = |plugin: &LoadedPlugin| {
        let handler = plugin.handler().map(|handler| format!("{:?}", handler.descriptor()));
        let projection = plugin.projection().map(|projection| format!("{:?}", projection.descriptor()));
        let saga = plugin.saga().map(|saga| format!("{:?}", saga.descriptor()));
        [handler, projection, saga].into_iter().flatten().collect::<Vec<_>>()
    };
    match (says(subject.plugin), says(&again)) {
        (first, second) if first == second => {
            Finding::Passed { tried: format!("{} roles, twice", first.len()) }
        }
        (first, second) => failed(format!("first it said {first:?}, then {second:?}")),
    }
}

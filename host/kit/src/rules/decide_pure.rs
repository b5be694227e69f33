//! To decide changes nothing.

use futures::FutureExt;
use pelton_core::command::ports::{EntityInstance, Isolation};

use super::{MOST, NO_COMMANDS, NO_HANDLER, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::{Subject, decided, folded, same, shown};

pub(super) static RULE: Rule = Rule {
    id: "CH-03",
    name: "decide-pure",
    asserts: "`decide` does not change the entity: asked again, also after other commands, it decides the same",
    why: "the host asks again after every conflict, and decides other commands on the same entity",
    mend: "change the state in `evolve` only",
    after: &["CH-01"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    let decisions = subject.decisions(MOST);
    for history in &subject.histories {
        let commands: Vec<_> = decisions
            .iter()
            .filter(|(of, _)| std::ptr::eq(*of, history))
            .map(|(_, command)| command)
            .collect();
        let Ok(mut entity) = folded(handler, Isolation::Alone, history).await else { continue };
        let mut first = Vec::new();
        for command in &commands {
            first.push(decided(handler, Isolation::Alone, history, command).await);
        }
        for round in ["first", "again"] {
            for (command, first) in commands.iter().zip(&first) {
                let answer = entity.decide(command).await;
                if !same(first, &answer) {
                    return failed(format!(
                        "{} on {} decided otherwise when it was asked {round} after others: {}, and by itself {}",
                        command.r#type,
                        history.entity,
                        shown(&answer),
                        shown(first)
                    ));
                }
            }
        }
    }
    passed(decisions.len(), "decisions, asked twice", NO_COMMANDS)
}

//! A plugin's descriptor never changes.

use super::failed;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "AL-01",
    name: "describe-same",
    level: Level::Required,
    asserts: "a plugin says the same of itself each time that it is asked, in an old and in a fresh instance",
    why: "hosts would check different plugins against the configuration, and run them",
    mend: "return constants from `describe`",
    after: &[],
    test,
};

/// How often one instance is asked.
const TIMES: usize = 3;

fn test(subject: &Subject<'_>) -> Finding {
    let mut first = None;
    for plugin in [subject.plugin, subject.fresh] {
        let said = match plugin.descriptions(TIMES) {
            Ok(said) => said,
            Err(fault) => return failed(format!("asked again, `describe` fails: {}", fault.what)),
        };
        for role in &said {
            if let Some(other) = role.iter().find(|other| **other != role[0]) {
                return failed(format!("asked again, it says {}", difference(&role[0], other)));
            }
        }
        match &first {
            None => first = Some(said),
            Some(first) if *first == said => {}
            Some(first) => {
                let pairs = first.iter().flatten().zip(said.iter().flatten());
                let other = pairs.into_iter().find(|(one, other)| one != other);
                let how = other.map_or_else(String::new, |(one, other)| difference(one, other));
                return failed(format!("loaded again, it says {how}"));
            }
        }
    }
    if subject.plugin.schemas() != subject.fresh.schemas() {
        return failed("loaded again, it has other schemas");
    }
    let roles = first.map_or(0, |roles| roles.len());
    Finding::Passed { tried: format!("{roles} roles, asked {} times", 2 * TIMES) }
}

/// The first difference of two descriptions.
fn difference(one: &str, other: &str) -> String {
    let common = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let part = |text: &str| {
        let text: String = text.chars().collect();
        let from =
            text.char_indices().map(|(at, _)| at).rfind(|at| *at <= common.saturating_sub(20)).unwrap_or(0);
        text[from..].chars().take(60).collect::<String>()
    };
    format!("…{}… after …{}…", part(other), part(one))
}

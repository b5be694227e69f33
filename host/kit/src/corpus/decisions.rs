//! Decisions: commands on histories that may occur, with the answers of fresh instances.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use pelton_core::command::decision;
use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;
use pelton_wasm::{LoadedPlugin, SchemaKind};

use super::variants::{Pool, other_id};
use super::{Corpus, Given, Origin, Template, of_schema};
use crate::case::GivenCommand;
use crate::guest::{Answer, Handler, History, broke};
use crate::inputs::{self, START, later};
use crate::run::Effort;

/// The most changed commands that are made from one.
const VARIANTS: usize = 3;
/// The most events of the long history. One call of `evolve` gets fewer.
const LONG: usize = 1_100;
/// The search stops after this many broken calls.
pub(crate) const ENOUGH: usize = 2;
/// The long history ends after this many commands in a row that add no event.
const PATIENCE: usize = 200;

/// A command on a history, and the answer of a fresh instance.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) history: History,
    pub(crate) command: Command,
    pub(crate) answer: Answer,
}

/// Commands of every type: from cases, from schemas, and changed ones.
pub(crate) fn templates(
    handler: &Handler<'_>,
    plugin: &LoadedPlugin,
    given: &Given,
    random: &mut Rng,
) -> Vec<Template> {
    let mut all = given.commands.clone();
    let entity = given.commands.first().map_or("1", |command| command.entity.as_str()).to_owned();
    for r#type in &handler.descriptor().commands {
        for data in of_schema(plugin, SchemaKind::Command, r#type, 1, random) {
            let given = given_command(r#type, &data);
            all.push(Template { origin: Origin::Schema, entity: entity.clone(), given, unreadable: false });
        }
    }
    let data: Vec<_> = all.iter().map(|template| inputs::bytes(&template.given.data)).collect();
    let pool = Pool::of(&data);
    let mut changed = Vec::new();
    for (template, data) in all.iter().zip(&data).filter(|(template, _)| !template.unreadable) {
        for data in pool.variants(data, VARIANTS, random) {
            let given = GivenCommand { data: inputs::read(&data), ..template.given.clone() };
            changed.push(Template { origin: Origin::Changed, given, ..template.clone() });
        }
    }
    all.extend(changed);
    all
}

fn given_command(r#type: &str, data: &[u8]) -> GivenCommand {
    GivenCommand {
        command: r#type.to_owned(),
        principal: None,
        metadata: serde_json::Map::new(),
        data: inputs::read(data),
    }
}

/// The command of a template on a history.
pub(crate) fn command_on(
    template: &Template,
    history: &History,
    wait: Duration,
    id: &str,
) -> Option<Command> {
    let last = history.events.last().map_or(START, |event| event.recorded_at);
    inputs::command(&template.given, &history.entity, later(last, wait), id).ok()
}

/// Decides commands on histories, and on the histories that result from them, breadth first.
pub(crate) fn explore(
    corpus: &mut Corpus,
    handler: &Handler<'_>,
    given: &Given,
    effort: &Effort,
    random: &mut Rng,
) {
    let waits = [Duration::from_secs(1), Duration::from_secs(3_600), Duration::from_secs(40 * 86_400)];
    let mut seen = BTreeSet::new();
    let mut queue: Vec<History> = Vec::new();
    let add = |history: History, seen: &mut BTreeSet<(String, Vec<String>)>, queue: &mut Vec<History>| {
        let types =
            history.events.iter().map(|e| format!("{} {}", e.event.r#type, e.event.version)).collect();
        if queue.len() < effort.histories && seen.insert((history.entity.clone(), types)) {
            queue.push(history);
        }
    };
    for history in &given.histories {
        add(history.clone(), &mut seen, &mut queue);
    }
    for template in &corpus.templates {
        add(History { entity: template.entity.clone(), events: Vec::new() }, &mut seen, &mut queue);
    }
    let mut at = 0;
    let mut broken = 0;
    while at < queue.len() && corpus.decisions.len() < effort.decisions && broken < ENOUGH {
        let history = queue[at].clone();
        let left = effort.decisions - corpus.decisions.len();
        let (mut own, mut others): (Vec<&Template>, Vec<&Template>) =
            corpus.templates.iter().partition(|template| template.entity == history.entity);
        own.sort_by_key(|template| template.origin);
        // On the first history, every command of a case on its entity is decided.
        let of_cases = own.iter().filter(|template| at == 0 && template.origin == Origin::Case).count();
        let share = (left / (queue.len() - at)).max(4).max(of_cases);
        random.shuffle(&mut others);
        let mut made = Vec::new();
        for (n, template) in own.into_iter().chain(others).take(share.min(left)).enumerate() {
            let wait = if n % 4 == 3 { waits[random.usize(0..waits.len())] } else { waits[0] };
            let id = format!("c{}", corpus.decisions.len() + made.len());
            let Some(command) = command_on(template, &history, wait, &id) else { continue };
            let answer = handler.reference(&history, &command);
            broken += usize::from(answer.as_ref().is_err_and(broke));
            if let Ok(Ok(events)) = &answer
                && !events.is_empty()
                && decision::check(events, handler.descriptor()).is_ok()
            {
                let mut next = history.clone();
                next.events.extend(inputs::stored(&command, events, &history.events));
                add(next, &mut seen, &mut queue);
            }
            made.push(Decision { history: history.clone(), command, answer });
            if broken == ENOUGH {
                break;
            }
        }
        corpus.decisions.extend(made);
        at += 1;
    }
    if broken > 0 {
        // The long history is left out: each of its calls may run into the time limit.
        corpus.histories = queue;
        return;
    }
    let longest = LONG.min(effort.calls as usize / 5);
    corpus.long = long(handler, &queue, &corpus.templates, longest, random);
    corpus.histories = queue;
}

/// A long history of one entity, made from accepted commands.
fn long(
    handler: &Handler<'_>,
    histories: &[History],
    templates: &[Template],
    longest: usize,
    random: &mut Rng,
) -> Option<History> {
    let mut best: Option<History> = None;
    for start in histories.iter().filter(|history| history.events.is_empty()).take(2) {
        let own: Vec<&Template> = templates
            .iter()
            .filter(|template| template.entity == start.entity && !template.unreadable)
            .collect();
        let mut history = start.clone();
        let Ok(mut entity) = handler.folded(Isolation::Alone, &history) else { continue };
        let mut idle = 0;
        let mut asked = 0;
        while history.events.len() < longest && idle < PATIENCE {
            let Some(template) = random.choice(&own) else { break };
            asked += 1;
            let wait = Duration::from_secs(if asked % 3 == 0 { 90_000 } else { 1 });
            let Some(command) = command_on(template, &history, wait, &format!("long-{asked}")) else { break };
            match entity.decide(&command) {
                Ok(Ok(events)) if !events.is_empty() => {
                    let stored = inputs::stored(&command, &events, &history.events);
                    if entity.evolve(&stored).is_err() {
                        break;
                    }
                    history.events.extend(stored);
                    idle = 0;
                }
                Ok(_) => idle += 1,
                Err(_) => break,
            }
        }
        if best.as_ref().is_none_or(|best| best.events.len() < history.events.len()) {
            best = Some(history);
        }
    }
    best.filter(|history| history.events.len() > 2)
}

/// The same history, of an entity with another id.
pub(crate) fn elsewhere(history: &History, nth: u8) -> History {
    let mut other = history.clone();
    other.entity = other_id(&history.entity, nth);
    for event in &mut other.events {
        if event.event.subject.as_deref() == Some(&history.entity) {
            event.event.subject = Some(other.entity.clone());
            event.event.source = event.event.source.replace(&history.entity, &other.entity);
        }
    }
    other
}

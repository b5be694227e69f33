//! Decisions: commands on histories that may occur, with the answers of fresh instances.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use pelton_core::command::decision;
use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;
use pelton_wasm::{LoadedPlugin, SchemaKind};
use serde_json::Value;

use super::frontier::Frontier;
use super::variants::{self, Pool, Texts, of_another, other_id};
use super::{Corpus, Given, Origin, Template, of_schema};
use crate::case::GivenCommand;
use crate::guest::{Answer, Handler, History, broke};
use crate::inputs::{self, START, later};
use crate::json;
use crate::run::Effort;

/// The most changed commands that are made from one.
const VARIANTS: usize = 6;
/// How often a value is replaced everywhere.
const RENAMED: u8 = 10;
/// The most events of the long history. One call of `evolve` gets fewer.
const LONG: usize = 1_100;
/// The search stops after this many broken calls.
pub(crate) const ENOUGH: usize = 2;
/// The lengths of the parts of the long history on which commands are decided, and how many commands.
const LATER: [usize; 4] = [6, 12, 24, 48];
const OF_LATER: usize = 12;
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
            all.push(Template {
                origin: Origin::Schema,
                group: 0,
                entity: entity.clone(),
                given,
                unreadable: false,
            });
        }
    }
    let data: Vec<_> = all.iter().map(|template| inputs::bytes(&template.given.data)).collect();
    let pool = Pool::of(&data, Texts::Any);
    let mut changed = Vec::new();
    for (template, data) in all.iter().zip(&data).filter(|(template, _)| !template.unreadable) {
        for data in pool.variants(data, VARIANTS, random) {
            let given = GivenCommand { data: inputs::read(&data), ..template.given.clone() };
            changed.push(Template { origin: Origin::Changed, given, ..template.clone() });
        }
    }
    all.extend(changed);
    let renamed = (1..=RENAMED).flat_map(|group| renamed(&all, group, random)).collect::<Vec<_>>();
    all.extend(renamed);
    all
}

/// The templates in which some text or number occurs that several have, with another one in its place.
fn renamed(templates: &[Template], group: u8, random: &mut Rng) -> Vec<Template> {
    let right = || templates.iter().filter(|t| !t.unreadable && t.origin != Origin::Changed);
    let all: Vec<Value> = right().flat_map(|t| json::leaves(&t.given.data)).map(|(_, leaf)| leaf).collect();
    let often: Vec<&Value> = all
        .iter()
        .filter(|leaf| !leaf.is_boolean() && !leaf.is_null())
        .filter(|leaf| all.iter().filter(|other| other == leaf).count() > 1)
        .collect();
    let Some(old) = random.choice(often) else { return Vec::new() };
    let Some(new) = variants::in_place_of(old, group, random) else { return Vec::new() };
    let of_this = |template: &Template| {
        let mut data = template.given.data.clone();
        let places = json::leaves(&data).into_iter().filter(|(_, leaf)| leaf == old);
        let places: Vec<_> = places.map(|(at, _)| at).collect();
        places.iter().for_each(|at| data = json::with(&data, at, new.clone()));
        let given = GivenCommand { data, ..template.given.clone() };
        (!places.is_empty()).then(|| Template { origin: Origin::Changed, group, given, ..template.clone() })
    };
    right().filter_map(of_this).collect()
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
    // No time is a whole second or millisecond, and they lie years apart.
    let waits = [
        Duration::new(1, 234_567_891),
        Duration::new(3_600, 7),
        Duration::new(40 * 86_400, 999_999_999),
        Duration::new(900 * 86_400, 1_000_001),
    ];
    let mut frontier = Frontier::of(effort.histories);
    given.histories.iter().for_each(|history| frontier.add(history.clone(), 0));
    for template in &corpus.templates {
        frontier.add(History { entity: template.entity.clone(), events: Vec::new() }, 0);
    }
    let mut at = 0;
    let mut broken = 0;
    while at < frontier.queue.len() && corpus.decisions.len() < effort.decisions && broken < ENOUGH {
        let (history, group) = frontier.queue[at].clone();
        let left = effort.decisions - corpus.decisions.len();
        let (mut own, mut others): (Vec<&Template>, Vec<&Template>) =
            corpus.templates.iter().partition(|template| template.entity == history.entity);
        // On the first history, every command of a case on its entity is decided; on others, each type in turn.
        let of_cases = own.iter().filter(|template| at == 0 && template.origin == Origin::Case).count();
        if at == 0 {
            own.sort_by_key(|template| template.origin);
        } else {
            own = each_type_in_turn(own, group, random);
        }
        let share = (left / (frontier.queue.len() - at)).max(4).max(of_cases);
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
                frontier.add(next, template.group);
            }
            made.push(Decision { history: history.clone(), command, answer });
            if broken == ENOUGH {
                break;
            }
        }
        corpus.decisions.extend(made);
        at += 1;
    }
    let histories: Vec<History> = frontier.queue.into_iter().map(|(history, _)| history).collect();
    // Where calls break, the long history is left out: each of its calls may run into the time limit.
    if broken == 0 {
        let longest = LONG.min(effort.calls as usize / 5);
        corpus.long = long(handler, &histories, &corpus.templates, longest, random);
    }
    corpus.histories = histories;
    decide_later(corpus, handler, random);
}

/// Decides commands on parts of the long history, in which the entity has much in hand.
fn decide_later(corpus: &mut Corpus, handler: &Handler<'_>, random: &mut Rng) {
    let Some(long) = &corpus.long else { return };
    let own: Vec<&Template> =
        corpus.templates.iter().filter(|t| t.entity == long.entity && !t.unreadable).collect();
    for length in LATER.into_iter().filter(|length| *length <= long.events.len()) {
        let history = long.first(length);
        for (n, template) in each_type_in_turn(own.clone(), 0, random).into_iter().take(OF_LATER).enumerate()
        {
            let id = format!("later-{length}-{n}");
            let Some(command) = command_on(template, &history, Duration::from_secs(1), &id) else { continue };
            let answer = handler.reference(&history, &command);
            corpus.decisions.push(Decision { history: history.clone(), command, answer });
        }
        corpus.histories.push(history);
    }
}

/// The templates in an order left to chance, in which each type comes once before one comes twice. Those of the group come
/// first of their type, or, every second time, those of cases.
fn each_type_in_turn<'a>(mut templates: Vec<&'a Template>, group: u8, random: &mut Rng) -> Vec<&'a Template> {
    random.shuffle(&mut templates);
    if group > 0 {
        templates.sort_by_key(|template| template.group != group);
    } else if random.bool() {
        templates.sort_by_key(|template| template.origin != Origin::Case);
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ordered: Vec<(usize, &Template)> = Vec::with_capacity(templates.len());
    for template in templates {
        let nth = seen.entry(template.given.command.as_str()).or_default();
        ordered.push((*nth, template));
        *nth += 1;
    }
    ordered.sort_by_key(|(nth, _)| *nth);
    ordered.into_iter().map(|(_, template)| template).collect()
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

/// The same history, of an entity with another id and with other data.
pub(crate) fn elsewhere(history: &History, nth: u8) -> History {
    let mut other = history.clone();
    other.entity = other_id(&history.entity, nth);
    for event in &mut other.events {
        event.event.data = of_another(&event.event.data, &history.entity, nth);
        if event.event.subject.as_deref() == Some(&history.entity) {
            event.event.subject = Some(other.entity.clone());
            event.event.source = event.event.source.replace(&history.entity, &other.entity);
        }
    }
    other
}

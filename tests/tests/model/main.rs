//! The protocol of `host/core/src/command.rs` as a small model, searched state by state.
//!
//! Two hosts are handed one command M of one entity, several times and also after it was acknowledged, as by a consumer
//! that was made anew. Anybody appends another command's event D at any time; hosts crash and forget their entity at any
//! time; answers get lost. Whether M is accepted depends on the state, or on the host.
//!
//! Every mistake that is planted must be found, or the model proves nothing.

use std::collections::{HashMap, VecDeque};

/// How often the first and the second host are handed M.
const TURNS: [u8; 2] = [2, 1];
/// How many events of other commands there are.
const OTHERS: usize = 1;
/// How many messages the log has at most.
const LOGGED: u8 = 2;

/// A message of the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Message {
    /// An event of another command.
    Other,
    /// M's events, which lie together.
    Events,
    /// M's mark.
    Mark(Outcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Accepted,
    Rejected,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct State {
    /// Where M lies in the log; 0 before it is logged.
    logged_at: u8,
    log: u8,
    stream: Vec<Message>,
    /// A write that its host has given up, and how many messages it expects.
    under_way: Option<(usize, Message)>,
    hosts: [Host; 2],
    acknowledged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Host {
    entity: Entity,
    hand: Hand,
    told: Option<Outcome>,
    turns: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
enum Entity {
    #[default]
    Unknown,
    /// The first of a load's two reads is made.
    Loading { messages: usize, log: u8 },
    /// It knows the stream up to `to`, with the marks from `from` on. A command up to `log` may have an earlier one.
    Live { from: usize, to: usize, log: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Hand {
    #[default]
    Empty,
    Taken,
    /// It was looked for a mark, and there was none.
    Looked,
    Decided(Outcome),
    Ended,
}

/// What is planted, or only different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    AsItIs,
    /// The second host rejects whatever the state is.
    HostsDiffer,
    /// The second host fails.
    OneFails,
    /// Somebody logs a copy of M under another subject, as a retry does.
    LoggedTwice,
    // Mistakes.
    MarkWithoutExpectation,
    AcknowledgedBeforeTheEnd,
    NoLookAfterAColdLoad,
    LookAtAStaleReplica,
    LogReadBeforeTheEntity,
    NoLookForACopy,
    ToldBeforeItIsStored,
}

impl State {
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    fn mark(&self, from: usize, to: usize) -> Option<Outcome> {
        self.stream[from..to].iter().find_map(|message| match message {
            Message::Mark(outcome) => Some(*outcome),
            _ => None,
        })
    }

    fn decision(&self, way: Way, host: usize, known: usize) -> Outcome {
        match way {
            Way::HostsDiffer | Way::MarkWithoutExpectation if host == 1 => Outcome::Rejected,
            Way::OneFails if host == 1 => Outcome::Failed,
            _ if self.stream[..known].contains(&Message::Other) => Outcome::Accepted,
            _ => Outcome::Rejected,
        }
    }

    fn next(&self, way: Way) -> Vec<(String, Self)> {
        let mut next = Vec::new();
        if self.logged_at == 0 || matches!(way, Way::LoggedTwice | Way::NoLookForACopy) && self.log < LOGGED {
            next.push((
                "M is logged".to_owned(),
                self.with(|s| (s.log, s.logged_at) = (s.log + 1, s.log + 1)),
            ));
        }
        if self.log < LOGGED {
            next.push(("another command is logged".to_owned(), self.with(|s| s.log += 1)));
        }
        if self.stream.iter().filter(|message| **message == Message::Other).count() < OTHERS {
            next.push(("D".to_owned(), self.with(|s| s.stream.push(Message::Other))));
        }
        if let Some((expected, message)) = self.under_way {
            next.push((
                "a late write arrives".to_owned(),
                self.with(|s| {
                    s.under_way = None;
                    if expected == s.stream.len() {
                        s.stream.push(message);
                    }
                }),
            ));
        }
        for host in 0..2 {
            self.steps(way, host, &mut next);
        }
        next
    }

    fn steps(&self, way: Way, n: usize, next: &mut Vec<(String, Self)>) {
        let Host { entity, hand, turns, .. } = &self.hosts[n];
        let mut step = |what: &str, change: &dyn Fn(&mut Self)| {
            next.push((format!("{}: {what}", ["A", "B"][n]), self.with(|s| change(s))));
        };
        if *entity != Entity::Unknown || *hand != Hand::Empty {
            step("crashes, or forgets", &|s| (s.hosts[n].entity, s.hosts[n].hand) = Default::default());
        }
        if self.logged_at > 0 && *hand == Hand::Empty && *turns < TURNS[n] {
            step("is handed M", &|s| (s.hosts[n].hand, s.hosts[n].turns) = (Hand::Taken, turns + 1));
        }
        let (len, log) = (self.stream.len(), self.log);
        let (from, to, known_log) = match *entity {
            Entity::Unknown if way == Way::LogReadBeforeTheEntity => {
                return step("reads the log's end", &|s| {
                    s.hosts[n].entity = Entity::Loading { messages: 0, log };
                });
            }
            Entity::Loading { log, .. } if way == Way::LogReadBeforeTheEntity => {
                for to in 0..=len {
                    step("reads the entity", &|s| s.hosts[n].entity = Entity::Live { from: to, to, log });
                }
                return;
            }
            Entity::Unknown => {
                // Perhaps from a replica that is behind.
                for messages in 0..=len {
                    step("reads the entity", &|s| s.hosts[n].entity = Entity::Loading { messages, log: 0 });
                }
                return;
            }
            Entity::Loading { messages, .. } => {
                return step("reads the log's end", &|s| {
                    s.hosts[n].entity = Entity::Live { from: messages, to: messages, log };
                });
            }
            Entity::Live { from, to, log } => (from, to, log),
        };
        let tell = |s: &mut Self, outcome| (s.hosts[n].told, s.hosts[n].hand) = (Some(outcome), Hand::Ended);
        match *hand {
            Hand::Empty => {}
            Hand::Taken | Hand::Looked if self.stream[..to].contains(&Message::Events) => {
                step("finds M's events", &|s| tell(s, Outcome::Accepted));
            }
            Hand::Taken | Hand::Looked if self.mark(from, to).is_some() => {
                let outcome = self.mark(from, to).unwrap_or(Outcome::Rejected);
                step("knows M's mark", &|s| tell(s, outcome));
            }
            Hand::Taken if self.looks(way, known_log) => {
                let replicas = if way == Way::LookAtAStaleReplica { 0..=len } else { len..=len };
                for up_to in replicas {
                    match self.mark(0, up_to) {
                        Some(outcome) => step("finds M's mark", &|s| tell(s, outcome)),
                        None => step("finds no mark", &|s| s.hosts[n].hand = Hand::Looked),
                    }
                }
            }
            Hand::Taken | Hand::Looked => {
                let outcome = self.decision(way, n, to);
                step("decides", &|s| {
                    s.hosts[n].hand = Hand::Decided(outcome);
                    if way == Way::ToldBeforeItIsStored {
                        s.hosts[n].told = Some(outcome);
                    }
                    s.acknowledged |= way == Way::AcknowledgedBeforeTheEnd;
                });
            }
            Hand::Decided(outcome) => {
                let message = match outcome {
                    Outcome::Accepted => Message::Events,
                    other => Message::Mark(other),
                };
                let expected = to == len || way == Way::MarkWithoutExpectation && message != Message::Events;
                let caught_up = Entity::Live { from, to: len, log: known_log };
                if self.under_way.is_none() {
                    step("gives its write up, and reads the entity again", &|s| {
                        s.under_way = Some((to, message));
                        (s.hosts[n].entity, s.hosts[n].hand) = (caught_up.clone(), Hand::Looked);
                    });
                }
                if expected {
                    step("stores the end", &|s| {
                        s.stream.push(message);
                        s.hosts[n].entity = Entity::Live { from, to: len + 1, log: known_log };
                        tell(s, outcome);
                    });
                    step("stores the end, and the answer is lost", &|s| {
                        s.stream.push(message);
                        s.hosts[n].entity = Entity::Live { from, to: len + 1, log: known_log };
                        s.hosts[n].hand = Hand::Looked;
                    });
                } else {
                    step("meets a conflict", &|s| {
                        (s.hosts[n].entity, s.hosts[n].hand) = (caught_up.clone(), Hand::Looked);
                    });
                }
            }
            Hand::Ended => step("acknowledges", &|s| (s.acknowledged, s.hosts[n].hand) = (true, Hand::Empty)),
        }
    }

    /// A copy of M may have ended before it was logged, so it is looked for always.
    fn looks(&self, way: Way, known_log: u8) -> bool {
        match way {
            Way::NoLookAfterAColdLoad => false,
            Way::LoggedTwice => true,
            _ => self.logged_at <= known_log,
        }
    }

    fn violation(&self) -> Option<&'static str> {
        let events = self.stream.iter().filter(|message| **message == Message::Events).count();
        let marks: Vec<_> = self.stream.iter().filter(|m| matches!(m, Message::Mark(_))).collect();
        if events + marks.len() > 1 {
            return Some("M has ended twice");
        }
        if self.acknowledged && events + marks.len() == 0 {
            return Some("M is acknowledged and has no end");
        }
        let is_stored = |told: Outcome| match told {
            Outcome::Accepted => events == 1,
            other => marks.first() == Some(&&Message::Mark(other)),
        };
        let lies = self.hosts.iter().filter_map(|host| host.told).any(|told| !is_stored(told));
        lies.then_some("somebody was told what is not stored")
    }
}

/// How many states there are, or the shortest way to a violation.
fn search(way: Way) -> Result<usize, String> {
    let start = State::default();
    let mut from: HashMap<State, Option<(State, String)>> = HashMap::from([(start.clone(), None)]);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        if let Some(violation) = state.violation() {
            let (mut steps, mut at) = (vec![violation.to_owned()], state);
            while let Some(Some((before, step))) = from.get(&at) {
                steps.push(step.clone());
                at = before.clone();
            }
            steps.reverse();
            return Err(steps.join("\n"));
        }
        for (step, next) in state.next(way) {
            if !from.contains_key(&next) {
                from.insert(next.clone(), Some((state.clone(), step)));
                queue.push_back(next);
            }
        }
    }
    Ok(from.len())
}

#[test]
fn a_command_ends_once_whatever_two_hosts_do() {
    for way in [Way::AsItIs, Way::HostsDiffer, Way::OneFails, Way::LoggedTwice] {
        let states = search(way).unwrap_or_else(|steps| panic!("{way:?}:\n{steps}"));
        assert!(states > 10_000, "{way:?}: only {states} states");
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for (way, expected) in [
        (Way::MarkWithoutExpectation, "M has ended twice"),
        (Way::AcknowledgedBeforeTheEnd, "M is acknowledged and has no end"),
        (Way::NoLookAfterAColdLoad, "M has ended twice"),
        (Way::LookAtAStaleReplica, "M has ended twice"),
        (Way::LogReadBeforeTheEntity, "M has ended twice"),
        (Way::NoLookForACopy, "M has ended twice"),
        (Way::ToldBeforeItIsStored, "somebody was told what is not stored"),
    ] {
        let steps = search(way).expect_err("a mistake");
        assert!(steps.ends_with(expected), "{way:?}:\n{steps}");
    }
}

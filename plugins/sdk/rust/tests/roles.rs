//! What the SDK does beside calling the author's functions.

use std::time::Duration;

use pelton_plugin::testing::{START, TestCommandHandler, TestProjection, TestSaga, TestSagaMigration, event};
use pelton_plugin::{
    CommandHandler, CommandResult, Context, Correlation, EventContext, EventMeta, Failure, Input,
    InputContext, Migrated, NoTimers, OldInstance, Outcomes, Outgoing, Projection, Reaction, Rejection, Saga,
    SagaMigration,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Counted {
        by: u64,
    },
    #[serde(rename = "counted.v2")]
    CountedTwice {
        by: u64,
    },
    Closed,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Command {
    Count { by: u64 },
    Close,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Rule {
    Open,
}

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    sum: u64,
    last: String,
}

impl CommandHandler for Counter {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;
    const RETIRED: &'static [&'static str] = &["closed"];

    fn evolve(&mut self, event: Event) {
        match event {
            Event::Counted { by } => self.sum += by,
            Event::CountedTwice { by } => self.sum += 2 * by,
            Event::Closed => self.sum = 0,
        }
    }

    fn evolve_with(&mut self, event: Event, context: &EventContext) {
        self.last.clone_from(&context.id);
        self.evolve(event);
    }

    fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
        match command {
            Command::Count { by: 0 } => Ok(vec![]),
            Command::Count { by } => Ok(vec![Event::CountedTwice { by }, Event::Counted { by: self.sum }]),
            Command::Close => Err(Rejection::new(Rule::Open, context.entity.clone())
                .detail("last", self.last.clone())
                .detail("time", context.time.to_string())
                .detail("who", context.metadata("who").unwrap_or("nobody"))),
        }
    }

    pelton_plugin::snapshot_as_json!();
}

pelton_plugin::export_command_handler!(Counter, name = "counter");

#[test]
fn events_keep_their_order_and_versions() {
    Counter::given([Event::Counted { by: 1 }, Event::CountedTwice { by: 2 }])
        .when(Command::Count { by: 7 })
        .then([Event::CountedTwice { by: 7 }, Event::Counted { by: 5 }]);
    Counter::given([]).when_sent("count", r#"{"by":0,"more":1}"#).then::<Event>([]);
}

#[test]
fn a_rule_sees_what_comes_with_command_and_event() {
    let rejection = Counter::given([Event::Closed, Event::Closed])
        .entity("a.b")
        .metadata("who", "ada")
        .at(START)
        .when(Command::Close)
        .then_rejected("open");
    assert_eq!(rejection.message, "a.b");
    let details = [("last", "event-2"), ("time", "2000-01-01T00:00:00Z"), ("who", "ada")];
    assert_eq!(rejection.details, details.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
#[should_panic(expected = "it emits `closed`, which it lists as RETIRED")]
fn a_retired_event_is_folded_and_no_longer_emitted() {
    #[derive(Default)]
    struct Closing;
    impl CommandHandler for Closing {
        type Command = Command;
        type Event = Event;
        type Rule = Rule;
        const RETIRED: &'static [&'static str] = &["closed"];

        fn evolve(&mut self, _: Event) {}

        fn decide(&self, _: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
            Ok(vec![Event::Closed])
        }
    }
    let _ = Closing::given([Event::Closed]).when(Command::Close);
}

#[test]
fn a_rule_sees_who_asked_and_what_the_host_added() {
    #[derive(Default)]
    struct Asked;
    impl CommandHandler for Asked {
        type Command = Command;
        type Event = Event;
        type Rule = Rule;

        fn evolve(&mut self, _: Event) {}

        fn decide(&self, _: Command, context: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
            let said = (context.principal.as_deref(), context.host("zone"), context.metadata("zone"));
            Err(Rejection::new(Rule::Open, format!("{said:?}")))
        }
    }
    let asked = Asked::given([]).principal("ada").host("zone", "host").metadata("zone", "sender");
    let rejection = asked.when(Command::Close).then_rejected("open");
    assert_eq!(rejection.message, r#"(Some("ada"), Some("host"), Some("sender"))"#);
    let rejection = Asked::given([]).when(Command::Close).then_rejected("open");
    assert_eq!(rejection.message, "(None, None, None)");
}

#[test]
fn a_command_that_cannot_be_read_is_rejected_with_the_place() {
    let cases = [
        ("count", "{", "the data of `count` cannot be read: EOF while parsing an object at line 1 column 1"),
        (
            "count",
            r#"{"by":-1}"#,
            "the data of `count` cannot be read: invalid value: integer `-1`, expected u64 at line 1 column 8",
        ),
        (
            "close",
            "[1]",
            "the data of `close` cannot be read: invalid type: sequence, expected an object or null at line 1 column 1",
        ),
        ("counted", "{}", "there is no command `counted`"),
        ("count.v1", "{}", "there is no command `count.v1`"),
        ("", "", "there is no command ``"),
    ];
    for (command, data, message) in cases {
        assert_eq!(
            Counter::given([]).when_sent(command, data).then_rejected("invalid-command").message,
            message
        );
    }
}

#[test]
fn an_entity_with_an_event_that_is_not_understood_takes_no_commands() {
    let unknown = Counter::given([Event::Closed]).recorded("counted", 3, "{}").then_unreadable();
    assert_eq!(unknown, "event event-2 (counted version 3, sequence 2) is unknown to this plugin");
    let unreadable = Counter::given([]).recorded("counted", 1, "{}").then_unreadable();
    assert_eq!(
        unreadable,
        "event event-1 (counted version 1, sequence 1) cannot be read: missing field `by` at line 1 column 2"
    );
}

struct Sums;

impl Projection for Sums {
    type Event = Event;
    type View = u64;

    fn keys(event: &Event, _: &EventMeta) -> Vec<String> {
        match event {
            Event::Counted { .. } => vec!["one".into(), "all".into(), "all".into()],
            Event::CountedTwice { .. } => vec!["all".into()],
            Event::Closed => vec!["one".into()],
        }
    }

    fn apply(_: &str, view: Option<u64>, event: &Event, _: &EventMeta) -> Option<u64> {
        match event {
            Event::Counted { by } | Event::CountedTwice { by } => Some(view.unwrap_or(0) + by),
            Event::Closed => None,
        }
    }
}

pelton_plugin::export_projection!(Sums, name = "sums");

#[test]
fn a_view_is_the_fold_of_the_events_of_each_key() {
    Sums::given([Event::Counted { by: 1 }, Event::CountedTwice { by: 2 }, Event::Counted { by: 4 }])
        .then("one", &5)
        .then("all", &7)
        .and([Event::Closed])
        .then_keys(["all"])
        .and([Event::Counted { by: 1 }])
        .then("one", &1);
}

#[test]
fn a_view_skips_what_it_does_not_know_and_fails_on_what_it_cannot_read() {
    Sums::given([Event::Counted { by: 1 }])
        .recorded("counted", 3, "?")
        .recorded("painted", 1, "?")
        .then("all", &1);
    let failure = Sums::given([Event::Closed]).recorded("counted", 1, r#"{"by":"1"}"#).then_failure();
    let Failure::Invalid(cause) = failure else { panic!("{failure:?}") };
    assert!(
        cause.starts_with("event event-2 (counted version 1, sequence 2) cannot be read: invalid type"),
        "{cause}"
    );
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Timer {
    Close { by: u64 },
}

struct Closer;

impl Saga for Closer {
    type Event = Event;
    type Command = Command;
    type Timer = Timer;
    type State = u64;

    const OUTCOMES: Outcomes = Outcomes::Required;

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        match event {
            Event::Counted { .. } => vec![Correlation::start("all")],
            Event::CountedTwice { .. } | Event::Closed => vec![Correlation::advance("all")],
        }
    }

    fn react(
        state: Option<u64>,
        input: Input<Event, Timer>,
        context: &InputContext,
    ) -> Result<Reaction<Self>, Failure> {
        assert_eq!(context.instance, "all");
        let sum = state.unwrap_or(0);
        Ok(match input {
            Input::Event(Event::Counted { by }, meta) => Reaction::keep(sum + by).set_timer(
                "close",
                meta.time + Duration::from_secs(60),
                &Timer::Close { by },
            ),
            Input::Event(Event::CountedTwice { by }, _) => Reaction::keep(sum + 2 * by).cancel_timer("close"),
            Input::Event(Event::Closed, _) => Reaction::end(),
            Input::Timer(Timer::Close { by }, timer) => {
                assert_eq!((context.time, timer.id.as_str()), (timer.time, "close"));
                let late = timer.time.as_nanos() - timer.due.as_nanos();
                let count =
                    Outgoing::new(Command::Count { by }).reference(late.to_string()).metadata("who", "me");
                Reaction::keep(sum).send(count).send(Command::Close)
            }
            Input::Outcome(outcome) => match outcome.result {
                CommandResult::Accepted(_) => Reaction::end(),
                CommandResult::Rejected(_) => {
                    Reaction::keep(outcome.reference.map_or(0, |late| late.parse().expect("a number")))
                }
                CommandResult::SetAside(_) => Reaction::keep(sum),
                CommandResult::Failed(cause) => return Err(Failure::Other(cause)),
            },
        })
    }
}

pelton_plugin::export_saga!(Closer, name = "closer");

#[test]
fn a_saga_sets_timers_and_sends_commands_in_order() {
    let counted = || [Event::Counted { by: 3 }];
    Closer::given(counted())
        .then_state("all", &3)
        .then_timer("all", "close", Some(START + Duration::from_secs(61)))
        .when_timer("all", "close")
        .then_sends([Command::Count { by: 3 }, Command::Close])
        .when_outcome("all", "count", CommandResult::Rejected(Rejection::new("a".to_owned(), "b")))
        .then_state("all", &0)
        .when_outcome("all", "close", CommandResult::SetAside("x".into()))
        .then_state("all", &0)
        .when_outcome("all", "close", CommandResult::Accepted(vec![]))
        .then_ended("all");
    // The timer is handed over after its time.
    Closer::given([event(Event::Counted { by: 3 })])
        .when([event(Event::Counted { by: 4 }).at(START + Duration::from_secs(5))])
        .when([event(Event::Counted { by: 5 }).at(START)])
        .when_timer("all", "close")
        .then_sends([Command::Count { by: 5 }, Command::Close])
        .when_outcome_of("all", "0", CommandResult::Rejected(Rejection::new("a".to_owned(), "b")))
        .then_state("all", &0);
    Closer::given(counted())
        .when([Event::CountedTwice { by: 1 }])
        .then_state("all", &5)
        .then_timer("all", "close", None);
    Closer::given(counted()).when([Event::Closed]).then_ended("all").then_timer("all", "close", None);
    Closer::given([Event::CountedTwice { by: 1 }]).then_ended("all").then_sends([]);
}

#[test]
fn a_saga_skips_what_it_does_not_know_and_fails_on_what_it_cannot_read() {
    let begun = || Closer::given([Event::Counted { by: 3 }]);
    begun().when_recorded("counted", 3, "?").then_state("all", &3);
    assert!(matches!(begun().when_recorded("counted", 1, "?").then_failure(), Failure::Invalid(_)));
    let failed =
        begun().when_timer("all", "close").when_outcome("all", "close", CommandResult::Failed("x".into()));
    assert_eq!(failed.then_failure(), Failure::Other("x".into()));
}

/// What a saga or view sees of an event, as text.
fn told(meta: &EventMeta) -> String {
    let EventMeta { entity, time, sequence, .. } = meta;
    let correlation = meta.extension("correlationid").unwrap_or("none");
    format!("{} {time} {sequence} {correlation}", entity.as_deref().unwrap_or("none"))
}

struct Told;

impl Projection for Told {
    type Event = Event;
    type View = String;

    fn keys(_: &Event, meta: &EventMeta) -> Vec<String> {
        meta.entity.clone().into_iter().collect()
    }

    fn apply(_: &str, _: Option<String>, _: &Event, meta: &EventMeta) -> Option<String> {
        Some(told(meta))
    }
}

impl Saga for Told {
    type Event = Event;
    type Command = Command;
    type Timer = NoTimers;
    type State = String;

    fn correlate(_: &Event, meta: &EventMeta) -> Vec<Correlation> {
        meta.entity.clone().into_iter().map(Correlation::start).collect()
    }

    fn react(
        _: Option<String>,
        input: Input<Event>,
        context: &InputContext,
    ) -> Result<Reaction<Self>, Failure> {
        let Input::Event(_, meta) = input else { return Ok(Reaction::end()) };
        assert_eq!((&context.instance, context.time), (meta.entity.as_ref().unwrap(), meta.recorded_at));
        assert_eq!(context.correlation_id, meta.extension("correlationid").unwrap_or(&meta.id));
        Ok(Reaction::keep(told(&meta)))
    }
}

impl SagaMigration for Closer {
    /// Version 0 kept the sum as text, and its timers held a number alone.
    fn migrate(old: OldInstance) -> Result<Migrated<Self>, String> {
        if old.version != 0 {
            return Err(format!("{} is of version {}", old.instance, old.version));
        }
        let sum: String = old.state()?;
        let mut new = Migrated::new(sum.parse().map_err(|e| format!("{sum:?}: {e}"))?);
        for timer in old.timers.iter().filter(|timer| timer.timer_type == "closing") {
            new = new.timer(&timer.id, timer.due, &Timer::Close { by: timer.data()? });
        }
        Ok(new)
    }
}

pelton_plugin::export_saga_migration!(Closer);

#[test]
fn an_instance_of_another_version_is_taken_over_with_its_timers() {
    let timers = [("close", "closing", START, "3"), ("other", "forgotten", START, "{}")];
    Closer::given_old("all", 0, r#""7""#, &timers)
        .then_state("all", &7)
        .then_timer("all", "close", Some(START))
        .then_timer("all", "other", None)
        .when_timer("all", "close")
        .then_sends([Command::Count { by: 3 }, Command::Close])
        .when([Event::Counted { by: 1 }])
        .then_state("all", &8);
}

#[test]
#[should_panic(expected = "the instance cannot be taken over: all is of version 5")]
fn what_cannot_be_taken_over_fails_with_the_cause() {
    let _ = Closer::given_old("all", 5, "7", &[]);
}

struct Once;

impl Saga for Once {
    type Event = Event;
    type Command = Command;
    type Timer = NoTimers;
    type State = u64;

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        match event {
            Event::Closed => vec![Correlation::advance("all")],
            _ => vec![Correlation::start_once("all")],
        }
    }

    fn react(inputs: Option<u64>, input: Input<Event>, _: &InputContext) -> Result<Reaction<Self>, Failure> {
        Ok(match input {
            Input::Event(Event::Closed, _) => Reaction::end(),
            _ => Reaction::keep(inputs.unwrap_or(0) + 1),
        })
    }
}

#[test]
fn an_instance_that_starts_once_is_not_started_again() {
    Once::given([Event::Closed, Event::Counted { by: 1 }, Event::Counted { by: 1 }])
        .then_state("all", &2)
        .when([Event::Closed, Event::Counted { by: 1 }])
        .then_ended("all");
}

/// N10: the harness fixed what comes with an event of projections and sagas.
#[test]
fn what_comes_with_an_event_can_be_set_in_every_role() {
    let closed = || event(Event::Closed).entity("a").at(START).sequence(7).correlation("p");
    let expected = "a 2000-01-01T00:00:00Z 7 p".to_owned();
    let next = "test 2000-01-01T00:00:01Z 8 none".to_owned();
    <Told as TestProjection>::given([closed()]).and([Event::Closed]).then("a", &expected).then("test", &next);
    <Told as TestSaga>::given([closed()])
        .when([Event::Closed])
        .then_state("a", &expected)
        .then_state("test", &next);
    let rejection = Counter::given([])
        .and([event(Event::Closed).id("seventh")])
        .when(Command::Close)
        .then_rejected("open");
    assert_eq!(rejection.details[0].1, "seventh");
}

#[test]
#[should_panic(expected = "sequences only grow: 3 comes after 3")]
fn a_sequence_that_does_not_grow_is_a_mistake_of_the_test() {
    let _ = Counter::given([]).and([event(Event::Closed).sequence(3), event(Event::Closed).sequence(3)]);
}

#[test]
#[should_panic(expected = "no host gives outcomes to a saga that does not say")]
fn a_test_gives_no_outcomes_that_no_host_would_give() {
    let _ = <Told as TestSaga>::given([Event::Closed]).when_outcome(
        "test",
        "count",
        CommandResult::Accepted(vec![]),
    );
}

/// What a failed assertion prints.
fn printed(assertion: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(assertion).expect_err("it fails");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn a_failed_assertion_prints_given_when_expected_and_got() {
    let decided = printed(|| {
        Counter::given([Event::Counted { by: 2 }])
            .when(Command::Count { by: 7 })
            .then([Event::CountedTwice { by: 7 }]);
    });
    for part in [
        "other events happen than expected",
        "given\n  {\"counted\":{\"by\":2},\"entity\":\"test\",\"sequence\":1,\"time\":\"2000-01-01T00:00:01Z\"}",
        "when\n  {\"count\":{\"by\":7},\"entity\":\"test\",\"time\":\"2000-01-01T01:00:00Z\"}",
        "expected",
        "| got",
    ] {
        assert!(decided.contains(part), "{part:?} is not in:\n{decided}");
    }
    let rejected = printed(|| {
        Counter::given([]).when_sent("count", "{}").then::<Event>([]);
    });
    assert!(rejected.contains("\"code\": \"invalid-command\""), "{rejected}");
    let viewed = printed(|| {
        Sums::given([Event::Counted { by: 1 }]).then("two", &1);
    });
    assert!(viewed.contains("`two` has no value; there are [\"all\", \"one\"]"), "{viewed}");
    let sent = printed(|| {
        Closer::given([Event::Counted { by: 3 }]).when_timer("all", "close").then_sends([]);
    });
    assert!(
        sent.contains("{\"due\":\"2000-01-01T00:01:01Z\",\"instance\":\"all\",\"timer\":\"close\"}"),
        "{sent}"
    );
}

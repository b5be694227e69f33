//! Guests that import WASI, in the tier `deterministic`: what they see of the world, and what they cannot do.

use std::time::Duration;

use bytes::Bytes;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::id::{CommandId, Sequence};
use pelton_core::message::{Command, Event, RecordedEvent};
use pelton_core::plugin::{FaultKind, PluginFault};
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::projection::view::ViewChange;
use pelton_core::time::Timestamp;
use pelton_wasm::{Activation, Limits, LoadError, LoadedPlugin, Tier, WasmEntity, WasmHandler};

use crate::guests::{Beside, handler_beside, one_event, projection_beside};
use crate::{command, event, plugins};

/// The part of WASI that the guests use.
const WASI: Beside = Beside { wit: include_str!("wasi.wit"), imports: include_str!("wasi.wat") };

/// All that a guest can find out of the world, at addresses 0 to 64, in this order: the wall clock, the monotonic clock,
/// random numbers, a seed.
const LOOK: &str = "
    (call $wall (i32.const 0))
    (i64.store (i32.const 16) (call $monotonic))
    (i64.store (i32.const 24) (call $random))
    (call $random_bytes (i64.const 8) (i32.const 512))
    (i64.store (i32.const 32) (i64.load (i32.load (i32.const 512))))
    (call $seed (i32.const 40))";
const LOOK_BYTES: u32 = 56;
const HOUR_NANOS: u64 = 3_600_000_000_000;

fn limits() -> Limits {
    Limits { call_time: Duration::from_secs(1), ..Limits::default() }
}

async fn load(component: Vec<u8>, limits: Limits, tier: Tier) -> Result<LoadedPlugin, LoadError> {
    plugins().load("guest", component, Activation { limits, tier, ..Activation::default() }).await
}

async fn plugin_with(parts: &[(&str, &str)], limits: Limits) -> WasmHandler {
    let loaded = load(handler_beside(Some(WASI), parts), limits, Tier::Deterministic).await;
    loaded.unwrap_or_else(|e| panic!("{e}")).handler().expect("a handler").clone()
}

async fn plugin(parts: &[(&str, &str)]) -> WasmHandler {
    plugin_with(parts, limits()).await
}

/// A body of `decide` that does this, and then says what is at the first addresses.
fn says(body: &str) -> String {
    format!("{body} {}", one_event(*b"done", LOOK_BYTES))
}

fn sent(id: &str, time: u64) -> Command {
    Command { id: CommandId::new(id).expect("an id"), time: Timestamp(time), ..command("do", id, "{}") }
}

async fn decide(entity: &mut WasmEntity, command: &Command) -> Result<Bytes, PluginFault> {
    entity.decide(command).await.map(|decided| decided.expect("it accepts")[0].data.clone())
}

async fn said(plugin: &WasmHandler, command: &Command) -> Bytes {
    let mut entity = plugin.create("1", Isolation::Shared).await.expect("an entity");
    decide(&mut entity, command).await.unwrap_or_else(|fault| panic!("{fault}"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The wall clock, in nanoseconds.
fn wall(bytes: &[u8]) -> u64 {
    let nanos = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    u64_at(bytes, 0) * 1_000_000_000 + u64::from(nanos)
}

#[tokio::test]
async fn a_plugin_imports_what_its_tier_allows() {
    let component = || handler_beside(Some(WASI), &[]);
    let refused = load(component(), limits(), Tier::Pure).await.expect_err("it is not pure").to_string();
    for part in [
        "it imports what a plugin may not",
        "wasi:clocks/wall-clock@0.2.0 (the tier `deterministic` has it)",
        "wasi:sockets/udp-create-socket@0.2.0 (the tier `deterministic` has it)",
        "set `tier = \"deterministic\"` for the plugin",
    ] {
        assert!(refused.contains(part), "{part:?} is not said in: {refused}");
    }
    let loaded = load(component(), limits(), Tier::Deterministic).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.tier(), Tier::Deterministic);
    assert!(loaded.imports().iter().filter(|import| import.starts_with("wasi:")).count() > 10);
    let pure = crate::guests::handler(&[]);
    assert!(load(pure, limits(), Tier::Deterministic).await.is_ok(), "a tier is leave, and no duty");
}

#[tokio::test]
async fn the_clock_is_the_messages_time_and_random_numbers_follow_from_its_id() {
    let plugin = plugin(&[("decide", &says(LOOK))]).await;
    let first = said(&plugin, &sent("c1", 1_670_803_200_123_456_789)).await;
    assert_eq!(wall(&first), 1_670_803_200_123_456_789);
    assert_eq!(said(&plugin, &sent("c1", 1_670_803_200_123_456_789)).await, first, "the same command again");
    let later = said(&plugin, &sent("c1", 1_670_803_200_123_456_790)).await;
    assert_eq!(
        (wall(&later), &later[16..]),
        (wall(&first) + 1, &first[16..]),
        "the time changes the clock alone"
    );
    let other = said(&plugin, &sent("c2", 1_670_803_200_123_456_789)).await;
    assert_eq!((&other[..24]), (&first[..24]), "the id changes no clock");
    for at in [24, 32, 40, 48] {
        assert_ne!(u64_at(&other, at), u64_at(&first, at), "the number at {at}");
    }
}

/// What a host says after a restart, or another host, is what these bytes say, for ever.
#[tokio::test]
async fn what_a_guest_sees_is_the_same_on_every_host() {
    let plugin = plugin(&[("decide", &says(LOOK))]).await;
    let said = said(&plugin, &sent("c1", 1_670_803_200_000_000_007)).await;
    let shown: String = said.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "006f96630000000007000000000000000\
                    0ca9a3b00000000791c6b61b45e5aff987b14e31248d2e23399c7f606742717c988edab2cba37c1";
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn neighbours_change_nothing_of_what_a_guest_sees() {
    let busy = format!("{LOOK} (call $block (call $timer (i64.const 7)))");
    let plugin = plugin(&[
        ("decide", &says(LOOK)),
        ("evolve", &format!("{busy} (i32.const 60000)")),
        ("snapshot", &format!("{busy} (i32.const 60000)")),
    ])
    .await;
    let (alone, shared) =
        (plugin.create("1", Isolation::Alone).await, plugin.create("1", Isolation::Shared).await);
    let (mut alone, mut shared) = (alone.expect("an entity"), shared.expect("an entity"));
    let mut neighbours = Vec::new();
    for n in 0..50 {
        let mut neighbour = plugin.create(&n.to_string(), Isolation::Shared).await.expect("an entity");
        neighbour.evolve(&[event("done", n, Bytes::new())]).await.expect("folds");
        decide(&mut neighbour, &sent(&format!("n{n}"), n)).await.expect("decides");
        neighbour.snapshot().await.expect("answers");
        neighbours.push(neighbour);
        let command = sent(&format!("c{n}"), 1_000 + n);
        assert_eq!(
            decide(&mut alone, &command).await.expect("decides"),
            decide(&mut shared, &command).await.expect("decides")
        );
    }
}

/// The state of an entity must not follow from which events happened to be loaded together.
#[tokio::test]
async fn an_event_is_folded_at_its_own_time_however_it_comes() {
    let plugin = plugin(&[("evolve", &format!("{LOOK} (i32.const 60000)")), ("decide", &says(""))]).await;
    let at = |sequence: u64, nanos: u64| {
        let event = event("done", sequence, Bytes::new());
        RecordedEvent { recorded_at: Timestamp(nanos), ..event }
    };
    let events = [at(1, 1_000), at(2, 2_000)];
    let mut seen = Vec::new();
    for pieces in [vec![&events[..]], vec![&events[..1], &events[1..]], vec![&events[1..]]] {
        let mut entity = plugin.create("1", Isolation::Shared).await.expect("an entity");
        for piece in pieces {
            entity.evolve(piece).await.expect("folds");
        }
        seen.push(decide(&mut entity, &sent("c1", 9)).await.expect("decides"));
    }
    assert_eq!(wall(&seen[0]), 2_000);
    assert!(seen.iter().all(|bytes| *bytes == seen[0]), "{seen:?}");
    // An event that is folded before its place in the stream is known has no other numbers then.
    let mut entity = plugin.create("1", Isolation::Shared).await.expect("an entity");
    let later = RecordedEvent { sequence: Sequence(77), ..events[1].clone() };
    entity.evolve(&[later]).await.expect("folds");
    assert_eq!(decide(&mut entity, &sent("c1", 9)).await.expect("decides"), seen[0]);
    let mut entity = plugin.create("1", Isolation::Shared).await.expect("an entity");
    entity.evolve(&events[..1]).await.expect("folds");
    assert_ne!(
        decide(&mut entity, &sent("c1", 9)).await.expect("decides")[24..],
        seen[0][24..],
        "another event"
    );
}

#[tokio::test]
async fn what_belongs_to_no_message_sees_constants_of_its_entity() {
    let look_and_say = |part: &'static str, rest: &str| {
        [(part, format!("{LOOK} {rest}")), ("decide", says(""))].map(|(name, body)| (name, body))
    };
    let constructor = look_and_say("constructor", "(call $new (i32.const 1))");
    let parts = constructor.each_ref().map(|(name, body)| (*name, body.as_str()));
    let plugin = plugin(&parts).await;
    let of = async |id: &str, command: &Command| {
        let mut entity = plugin.create(id, Isolation::Alone).await.expect("an entity");
        decide(&mut entity, command).await.expect("decides")
    };
    let one = of("1", &sent("c1", 5)).await;
    assert_eq!(wall(&one), 0);
    assert_eq!(of("1", &sent("c2", 6)).await, one, "whichever command it is loaded for");
    assert_ne!(of("2", &sent("c1", 5)).await[24..], one[24..]);
    // A runtime that reads the time or random numbers when it starts sees the same in every instance.
    let start = format!("(func (export \"_initialize\") {LOOK})");
    let plugin = plugin_with(&[("more", &start), ("decide", &says(""))], limits()).await;
    let of = async |id: &str| {
        let mut entity = plugin.create(id, Isolation::Alone).await.expect("an entity");
        decide(&mut entity, &sent(id, 5)).await.expect("decides")
    };
    assert_eq!(of("1").await, of("2").await);
}

#[tokio::test]
async fn to_wait_moves_the_clock_and_takes_no_time() {
    let wait = "(call $block (call $timer (i64.const 3600000000000)))";
    // Of two timers, the first to go off; the list of both is at 600.
    let poll = "
        (i32.store (i32.const 600) (call $timer (i64.const 7200000000000)))
        (i32.store (i32.const 604) (call $timer (i64.const 3600000000000)))
        (call $poll (i32.const 600) (i32.const 2) (i32.const 512))
        (if (i32.ne (i32.load (i32.const 516)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load (i32.load (i32.const 512))) (i32.const 1)) (then unreachable))";
    for waits in [wait, poll] {
        let plugin = plugin(&[("decide", &says(&format!("{waits} {LOOK}")))]).await;
        let seen = said(&plugin, &sent("c1", 1_000)).await;
        assert_eq!(wall(&seen), 1_000 + HOUR_NANOS);
        assert_eq!(u64_at(&seen, 16), 1_000_000_000 + HOUR_NANOS);
        assert_eq!(said(&plugin, &sent("c1", 1_000)).await, seen, "the next call begins at its own time");
    }
}

#[tokio::test]
async fn a_guest_that_waits_prints_or_hoards_for_ever_is_stopped() {
    let endless = |body: &str| format!("(loop $on {body} (br $on)) (i32.const 512)");
    for (what, body, expected) in [
        (
            "sleeps",
            endless("(call $block (call $timer (i64.const 3600000000000)))"),
            "table has no free keys",
        ),
        (
            "sleeps and lets go",
            endless(
                "(i32.store (i32.const 600) (call $timer (i64.const 3600000000000)))
                 (call $block (i32.load (i32.const 600))) (call $drop_pollable (i32.load (i32.const 600)))",
            ),
            "ran longer than 1s",
        ),
        (
            "prints",
            endless(
                "(call $write (i32.load (i32.const 700)) (i32.const 1024) (i32.const 7) (i32.const 512))",
            ),
            "ran longer than 1s",
        ),
        ("hoards streams", endless("(drop (call $stdout))"), "table has no free keys"),
        (
            "asks for all random numbers",
            "(call $random_bytes (i64.const -1) (i32.const 512)) (i32.const 512)".to_owned(),
            "at most 65536 are given at a time",
        ),
        (
            "waits for nothing",
            "(call $poll (i32.const 600) (i32.const 0) (i32.const 512)) (i32.const 512)".to_owned(),
            "waits for nothing",
        ),
        (
            "ends itself",
            "(call $exit (i32.const 1)) (i32.const 512)".to_owned(),
            "ended itself: exit status 1",
        ),
    ] {
        let body = format!("(i32.store (i32.const 700) (call $stdout)) {body}");
        let plugin = plugin(&[("decide", &body)]).await;
        let mut entity = plugin.create("1", Isolation::Alone).await.expect("an entity");
        let fault = entity.decide(&sent("c1", 1)).await.expect_err(what);
        assert_eq!(fault.kind, FaultKind::Broke, "{what}: {fault}");
        assert!(fault.what.contains(expected), "{what}: {expected:?} is not said in: {fault}");
        assert!(fault.log.len() <= 65, "{what}: {}", fault.log.len());
    }
}

#[tokio::test]
async fn there_are_no_files_no_sockets_and_no_environment() {
    // Each answers with a word at 512 + 4: the length of a list, or the code of an error; `1` at 512 is an error.
    let access_denied = 1;
    for (what, body, is_error, word) in [
        ("environment", "(call $environment (i32.const 512))", false, 0),
        ("files", "(call $directories (i32.const 512))", false, 0),
        ("TCP", "(call $tcp (i32.const 0) (i32.const 512))", true, access_denied),
        ("UDP", "(call $udp (i32.const 0) (i32.const 512))", true, access_denied),
    ] {
        let check = match is_error {
            true => format!(
                "(i32.ne (i32.load8_u (i32.const 512)) (i32.const 1)) (i32.ne (i32.load8_u (i32.const 516)) (i32.const {word})) (i32.or)"
            ),
            false => format!("(i32.ne (i32.load (i32.const 516)) (i32.const {word}))"),
        };
        let plugin = plugin(&[("decide", &says(&format!("{body} {check} (if (then unreachable))")))]).await;
        let mut entity = plugin.create("1", Isolation::Alone).await.expect("an entity");
        decide(&mut entity, &sent("c1", 1)).await.unwrap_or_else(|fault| panic!("{what}: {fault}"));
    }
}

#[tokio::test]
async fn what_is_printed_is_lines_of_the_log_and_tells_the_cause_of_a_trap() {
    let text = r#"(data (i32.const 8192) "half a \1b[31mline, and the rest\nValueError: no room\n")"#;
    let write = |handle: &str, at: u32, bytes: u32| {
        format!("(call $write (call ${handle}) (i32.const {at}) (i32.const {bytes}) (i32.const 512))")
    };
    let body = [
        write("stdout", 8192, 16),
        write("stderr", 8192 + 31, 20),
        write("stdout", 8192 + 16, 15),
        write("stdout", 8192, 6),
        "(unreachable)".to_owned(),
    ];
    let plugin = plugin(&[("more", text), ("decide", &body.concat())]).await;
    let mut entity = plugin.create("1", Isolation::Alone).await.expect("an entity");
    let fault = entity.decide(&sent("c1", 1)).await.expect_err("traps");
    assert_eq!(fault.what, "ValueError: no room (trapped: unreachable)");
    assert_eq!(
        fault.log,
        ["stderr: ValueError: no room", "stdout: half a \\u{1b}[31mline, and the rest", "stdout: half a"],
    );
}

#[tokio::test]
async fn a_flood_on_stdout_is_cut_at_the_limits_of_the_log() {
    // 200 lines in one write, and one that is longer than all that is kept.
    let more = "(data (i32.const 8192) \"line of ten\\n\")";
    let fill = "(local $n i32)
        (loop $on
          (memory.copy (i32.add (i32.const 8192) (i32.mul (local.get $n) (i32.const 12))) (i32.const 8192) (i32.const 12))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $on (i32.lt_u (local.get $n) (i32.const 300))))";
    let body = format!(
        "{fill} (call $write (call $stdout) (i32.const 8192) (i32.const 3600) (i32.const 512)) (unreachable)"
    );
    let plugin = plugin(&[("more", more), ("decide", &body)]).await;
    let mut entity = plugin.create("1", Isolation::Alone).await.expect("an entity");
    let fault = entity.decide(&sent("c1", 1)).await.expect_err("traps");
    assert_eq!((fault.log.len(), fault.log[0].as_str()), (65, "stdout: line of ten"));
    assert_eq!(fault.log[64], "(236 more lines were cut)");
}

#[tokio::test]
async fn a_shared_sandbox_that_is_worn_out_is_retired_and_works_on() {
    let small = |limits: Limits| Limits { call_time: Duration::from_secs(1), ..limits };
    let grows = format!("(drop (memory.grow (i32.const 16))) {}", says(LOOK));
    for (what, limits) in [
        ("calls", small(Limits { retire_after_calls: 10, ..Limits::default() })),
        ("bytes", small(Limits { retire_after_bytes: 20, ..Limits::default() })),
        ("memory", small(Limits { memory_bytes: 24 << 20, retire_at_bytes: 2 << 20, ..Limits::default() })),
    ] {
        let plugin = plugin_with(&[("decide", &grows)], limits).await;
        let mut first = plugin.create("1", Isolation::Shared).await.expect("an entity");
        let mut neighbour = plugin.create("2", Isolation::Shared).await.expect("an entity");
        assert!(!first.is_retired(), "{what}");
        let mut answers = Vec::new();
        for n in 0..14 {
            answers.push(decide(&mut first, &sent(&format!("c{n}"), n)).await.expect("it works on"));
        }
        assert!(first.is_retired() && first.is_alive() && neighbour.is_retired(), "{what}");
        decide(&mut neighbour, &sent("c1", 1)).await.expect("so does its neighbour");
        let mut moved = plugin.create("1", Isolation::Shared).await.expect("an entity");
        assert!(!moved.is_retired(), "{what}: it is in another sandbox");
        assert_eq!(decide(&mut moved, &sent("c0", 0)).await.expect("decides"), answers[0], "{what}");
    }
}

/// A pure plugin does not wear out by calls: thousands of entities share its sandbox, and nothing leaks.
#[tokio::test]
async fn a_sandbox_without_wasi_does_not_wear_out_by_its_calls() {
    let limits = Limits { retire_after_calls: 1, retire_after_bytes: 1, ..Limits::default() };
    let loaded = load(crate::guests::handler(&[]), limits, Tier::Pure).await.expect("loads");
    let mut entity =
        loaded.handler().expect("a handler").create("1", Isolation::Shared).await.expect("an entity");
    for _ in 0..10 {
        entity.decide(&sent("c1", 1)).await.expect("decides").expect("accepts");
    }
    assert!(!entity.is_retired());
}

#[tokio::test]
async fn a_projection_sees_each_event_at_its_own_time_in_every_batch() {
    // One key, `done`; the value is what the guest sees, with the value before it.
    let keys = "
        (i32.store (i32.const 600) (i32.const 608)) (i32.store (i32.const 604) (i32.const 1))
        (i32.store (i32.const 608) (i32.const 2040)) (i32.store (i32.const 612) (i32.const 4))
        (i32.store (i32.const 2040) (i32.const 0x656e6f64))
        (i32.store8 (i32.const 512) (i32.const 0)) (i32.store (i32.const 520) (i32.const 600))
        (i32.store (i32.const 524) (i32.const 1)) (i32.const 512)";
    let project = format!(
        "{LOOK} (i32.store (i32.const 2040) (i32.const 0x656e6f64))
        (i32.store (i32.const 600) (i32.const 2040)) (i32.store (i32.const 604) (i32.const 4))
        (i32.store8 (i32.const 608) (i32.const 1)) (i32.store (i32.const 612) (i32.const 0))
        (i32.store (i32.const 616) (i32.const {LOOK_BYTES}))
        (i32.store8 (i32.const 512) (i32.const 0)) (i32.store (i32.const 520) (i32.const 600))
        (i32.store (i32.const 524) (i32.const 1)) (i32.const 512)"
    );
    let component = projection_beside(Some(WASI), &[("keys", keys), ("project", &project)]);
    let loaded = load(component, limits(), Tier::Deterministic).await.unwrap_or_else(|e| panic!("{e}"));
    let projection = loaded.projection().expect("a projection");
    let at = |sequence: u64| RecordedEvent {
        event: Event { id: sequence.to_string(), ..event("done", sequence, Bytes::new()).event },
        recorded_at: Timestamp(sequence * 1_000),
        ..event("done", sequence, Bytes::new())
    };
    let events = [at(1), at(2), at(3)];
    assert_eq!(projection.keys(&events).await.expect("answers"), Ok(vec![vec!["done".to_owned()]; 3]));
    let present = [ViewChange { key: "done".to_owned(), value: None }];
    let batch = projection.project(&events, &present).await.expect("answers").expect("folds");
    let alone = projection.project(&events[2..], &present).await.expect("answers").expect("folds");
    assert_eq!(batch, alone);
    assert_eq!(wall(batch[0].value.as_ref().expect("a value")), 3_000);
}

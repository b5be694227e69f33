//! Guests that load and then misbehave. Each costs its own instance, and the fault states what it did.

use std::time::Duration;

use bytes::Bytes;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::message::{Event, RecordedEvent};
use pelton_core::plugin::{FaultKind, PluginFault};
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_wasm::{Limits, WasmEntity, WasmHandler};

use crate::guests::{decided, handler, one_event, projection};
use crate::{command, event, load};

fn limits() -> Limits {
    Limits { call_time: Duration::from_secs(1), result_bytes: 64 * 1024, ..Limits::default() }
}

async fn hostile(parts: &[(&str, &str)]) -> WasmHandler {
    load(handler(parts), limits()).await.expect("loads").handler().expect("a handler").clone()
}

async fn decide(entity: &mut WasmEntity) -> Result<(), PluginFault> {
    entity.decide(&command("do", "c1", "{}")).await.map(|_| ())
}

#[tokio::test]
async fn whatever_decide_does_is_a_fault_with_its_cause() {
    let far = decided(8, 0x7fff_ffff);
    let large = one_event(*b"done", 100_000);
    let text = one_event([0xff; 4], 0);
    let hoard =
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let deep =
        ("more", "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))");
    use FaultKind::{Broke, Refused};
    for (what, parts, kind, expected) in [
        ("a trap", vec![("decide", "(unreachable)")], Broke, &["trapped: unreachable", "guest!decide"][..]),
        (
            "a division",
            vec![("decide", "(i32.div_u (i32.const 1) (i32.const 0))")],
            Broke,
            &["trapped: integer divide"],
        ),
        (
            "a wild read",
            vec![("decide", "(i32.load (i32.const -4))")],
            Broke,
            &["trapped: out of bounds memory"],
        ),
        (
            "no end",
            vec![("decide", "(loop $on (br $on)) (i32.const 512)")],
            Broke,
            &["ran longer than 1s", "!decide"],
        ),
        (
            "no bottom",
            vec![deep, ("decide", "(call $deep (i32.const 0))")],
            Broke,
            &["call stack exhausted", "!deep"],
        ),
        ("a hoard", vec![("decide", hoard)], Broke, &["asked for more than 64 MiB of memory, and trapped"]),
        (
            "a wild pointer",
            vec![("decide", "(i32.const -8)")],
            Refused,
            &["broke the rules", "out of bounds"],
        ),
        ("a wild list", vec![("decide", far.as_str())], Refused, &["broke the rules", "out of bounds"]),
        ("a large result", vec![("decide", large.as_str())], Refused, &["more than 64 KiB in one call"]),
        ("no text", vec![("decide", text.as_str())], Refused, &["broke the rules", "utf-8"]),
        (
            "a discriminant",
            vec![("decide", "(i32.store8 (i32.const 512) (i32.const 7)) (i32.const 512)")],
            Refused,
            &["broke the rules", "discriminant"],
        ),
        (
            "no code",
            vec![("decide", "(i32.store8 (i32.const 512) (i32.const 1)) (i32.const 512)")],
            Refused,
            &["it rejects with the code \"\"", "does not list in `rejections`"],
        ),
        (
            "a log of no text",
            vec![("decide", "(call $log (i32.const 0) (i32.const -1) (i32.const 9)) (i32.const 512)")],
            Broke,
            &["stopped by the host", "out of bounds"],
        ),
        (
            "a bad realloc",
            vec![("decide", "(global.set $heap (i32.const 0x7ffffff0)) (i32.const 512)")],
            Refused,
            &["broke the rules", "realloc"],
        ),
    ] {
        let plugin = hostile(&parts).await;
        let mut entity = plugin.create("1", Isolation::Alone).await.expect(what);
        let mut outcome = decide(&mut entity).await;
        if what == "a bad realloc" {
            outcome = decide(&mut entity).await; // the next arguments have no place to go
        }
        let fault = outcome.expect_err(what);
        assert_eq!(fault.kind, kind, "{what}: {fault}");
        for part in expected {
            assert!(fault.to_string().contains(part), "{what}: {part:?} is not said in: {fault}");
        }
        if what == "no code" {
            assert!(entity.is_alive(), "the call itself went well");
            continue;
        }
        assert!(!entity.is_alive(), "{what}");
        assert_eq!(decide(&mut entity).await.expect_err("it is gone").kind, FaultKind::Gone, "{what}");
        assert!(plugin.create("1", Isolation::Alone).await.is_ok(), "{what}: another entity lives");
    }
}

/// The first long call blocks its thread. Later calls of the plugin do not block other work.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_loop_does_not_keep_others_from_working() {
    let endless = hostile(&[("decide", "(loop $on (br $on)) (i32.const 512)")]).await;
    let good = hostile(&[]).await;
    let (first_is_over, over) = tokio::sync::oneshot::channel();
    let looping = tokio::spawn(async move {
        let mut faults = Vec::new();
        let mut entity = endless.create("1", Isolation::Alone).await.expect("an entity");
        faults.push(decide(&mut entity).await.expect_err("out of time").what);
        first_is_over.send(()).expect("is awaited");
        tokio::task::yield_now().await;
        let mut entity = endless.create("2", Isolation::Alone).await.expect("an entity");
        faults.push(decide(&mut entity).await.expect_err("out of time").what);
        faults
    });
    let others = tokio::spawn(async move {
        let mut entity = good.create("3", Isolation::Alone).await.expect("an entity");
        over.await.expect("the first is over");
        let mut done = 0;
        while !looping.is_finished() {
            decide(&mut entity).await.expect("decides");
            done += 1;
            tokio::task::yield_now().await;
        }
        (done, looping.await.expect("joins"))
    });
    let (done, faults) = others.await.expect("joins");
    // Kept from working, it would have made a few before and after.
    assert!(done > 100, "only {done} calls while the other looped");
    assert!(faults.iter().all(|what| what.starts_with("ran longer than")), "{faults:?}");
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_the_rest_shown() {
    // 1,000 lines of 11 bytes.
    let flood = "(local $n i32)
        (loop $on
          (call $log (i32.const 1) (i32.const 1024) (i32.const 11))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $on (i32.lt_u (local.get $n) (i32.const 1000))))
        (unreachable)";
    let mut entity =
        hostile(&[("decide", flood)]).await.create("1", Isolation::Alone).await.expect("an entity");
    let fault = decide(&mut entity).await.expect_err("traps");
    assert_eq!(fault.log.len(), 65);
    assert_eq!(fault.log[0], "info: hostile1.0.");
    assert_eq!(fault.log[64], "(936 more lines were cut)");
    let long = "(call $log (i32.const 3) (i32.const 0) (i32.const 60000)) (unreachable)";
    let mut entity =
        hostile(&[("decide", long)]).await.create("1", Isolation::Alone).await.expect("an entity");
    let fault = decide(&mut entity).await.expect_err("traps");
    assert!(fault.log[0].starts_with("error: ") && fault.log[0].len() < 200_000, "{}", fault.log[0].len());
    assert_eq!(fault.log.len(), 1);
}

#[tokio::test]
async fn events_are_handed_over_a_thousand_at_a_time() {
    // Traps when a call brings more than 1,000 events, and states the number of calls in its snapshot.
    let parts = [
        ("evolve", "(if (i32.gt_u (local.get 2) (i32.const 1000)) (then unreachable)) (i32.const 512)"),
        ("pages", "64"),
    ];
    let mut entity = hostile(&parts).await.create("1", Isolation::Alone).await.expect("an entity");
    let events: Vec<_> = (1..=2500).map(|n| event("done", n, Bytes::from_static(b"{}"))).collect();
    entity.evolve(&events).await.expect("folds");
    let unreadable = [(
        "evolve",
        "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 1024)) (i32.store (i32.const 520) (i32.const 7)) (i32.const 512)",
    )];
    let mut entity = hostile(&unreadable).await.create("1", Isolation::Alone).await.expect("an entity");
    let fault = entity.evolve(&events[..1]).await.expect_err("broke the rules");
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Refused, "cannot read an event: hostile"));
}

/// A rule that has seen only a part of the events must not decide.
#[tokio::test]
async fn an_event_that_the_plugin_does_not_fold_is_not_passed_to_it() {
    let mut entity =
        hostile(&[("evolve", "(unreachable)")]).await.create("1", Isolation::Alone).await.expect("an entity");
    let newer = RecordedEvent {
        event: Event { version: 2, ..event("done", 7, Bytes::new()).event },
        ..event("done", 7, Bytes::new())
    };
    for (foreign, named) in
        [(event("other", 7, Bytes::new()), "\"other\" version 1"), (newer, "\"done\" version 2")]
    {
        let mut entity = hostile(&[("evolve", "(unreachable)")])
            .await
            .create("1", Isolation::Alone)
            .await
            .expect("an entity");
        let fault = entity.evolve(&[foreign]).await.expect_err("it does not fold it");
        assert_eq!(fault.kind, FaultKind::Refused);
        for part in [named, "sequence 7", "does not list in `folds`"] {
            assert!(fault.what.contains(part), "{part:?} is not said in: {fault}");
        }
    }
    let fault = entity.evolve(&[event("done", 7, Bytes::new())]).await.expect_err("it traps");
    assert_eq!(fault.kind, FaultKind::Broke, "it was passed");
}

#[tokio::test]
async fn a_snapshot_over_the_contracts_limit_is_refused() {
    let parts = [
        (
            "snapshot",
            "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 520) (i32.const 600000)) (i32.const 512)",
        ),
        ("pages", "16"),
    ];
    let limits = Limits { result_bytes: 1 << 20, ..limits() };
    let loaded = load(handler(&parts), limits).await.expect("loads");
    let mut entity =
        loaded.handler().expect("a handler").create("1", Isolation::Alone).await.expect("an entity");
    let fault = entity.snapshot().await.expect_err("too large");
    assert_eq!(fault.what, "its snapshot has 600000 bytes; at most 512 KiB are allowed");
}

#[tokio::test]
async fn a_restore_that_traps_is_a_fault_and_leaves_the_plugin_usable() {
    let handler = hostile(&[("restore", "(unreachable)")]).await;
    let fault = handler.restore("1", b"state", Isolation::Alone).await.expect_err("it traps");
    assert_eq!(fault.kind, FaultKind::Broke);
    assert!(fault.what.contains("unreachable"), "{fault}");
    let mut entity = handler.create("1", Isolation::Alone).await.expect("an entity");
    decide(&mut entity).await.expect("decides");
}

#[tokio::test]
async fn a_projection_goes_on_with_a_fresh_instance_after_a_fault() {
    // Counts its calls in memory, and traps at the second.
    let parts = [(
        "keys",
        "(i32.store (i32.const 256) (i32.add (i32.load (i32.const 256)) (i32.const 1)))
         (if (i32.eq (i32.load (i32.const 256)) (i32.const 2)) (then unreachable)) (i32.const 512)",
    )];
    let loaded = load(projection(&parts), limits()).await.expect("loads");
    let projection = loaded.projection().expect("a projection").clone();
    let events = [event("done", 1, Bytes::from_static(b"{}"))];
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        outcomes.push(projection.keys(&events).await.is_ok());
    }
    assert_eq!(outcomes, [true, false, true, false, true]);
    let views = [pelton_core::projection::view::ViewChange {
        key: "k".to_owned(),
        value: Some(Bytes::from_static(b"v")),
    }];
    assert!(projection.project(&events, &views).await.expect("projects").expect("no failure").is_empty());

    let retiring = Limits { retire_after_calls: 1, ..limits() };
    let projection = load(crate::guests::projection(&parts), retiring)
        .await
        .expect("loads")
        .projection()
        .expect("a projection")
        .clone();
    for call in 1..=4 {
        let keys = projection
            .keys(&events)
            .await
            .unwrap_or_else(|fault| panic!("call {call} is the first of its instance: {fault}"));
        assert!(keys.is_ok());
    }
}

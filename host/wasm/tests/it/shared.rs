//! Entities that share sandboxes, and the room that all sandboxes have.

use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::plugin::{FaultKind, PluginFault};
use pelton_wasm::{Limits, WasmEntity, WasmHandler};

use crate::guests::handler;
use crate::{command, load};

const PAGE_BYTES: usize = 64 * 1024;
const GROWS: (&str, &str) = ("decide", "(drop (memory.grow (i32.const 1))) (i32.const 512)");
const BREAKS: (&str, &str) = ("snapshot", "(unreachable)");

async fn plugin(parts: &[(&str, &str)], limits: Limits) -> WasmHandler {
    load(handler(parts), limits).await.expect("loads").handler().expect("a handler").clone()
}

async fn create(handler: &WasmHandler, isolation: Isolation) -> WasmEntity {
    handler.create("1", isolation).await.expect("an entity")
}

async fn decide(entity: &mut WasmEntity) -> Result<(), PluginFault> {
    entity.decide(&command("do", "c1", "{}")).await.map(|_| ())
}

#[tokio::test]
async fn what_breaks_a_shared_sandbox_is_no_proof_against_its_entities_and_hurts_no_others() {
    let handler = plugin(&[BREAKS], Limits::default()).await;
    let other_shard = handler.for_shard();
    let mut culprit = create(&handler, Isolation::Shared).await;
    let mut neighbour = create(&handler, Isolation::Shared).await;
    let mut alone = create(&handler, Isolation::Alone).await;
    let mut elsewhere = create(&other_shard, Isolation::Shared).await;
    let fault = culprit.snapshot().await.expect_err("traps");
    assert_eq!((fault.kind, fault.shared), (FaultKind::Broke, true));
    assert!(!culprit.is_alive() && !neighbour.is_alive());
    let fault = decide(&mut neighbour).await.expect_err("its sandbox is gone");
    assert_eq!((fault.kind, fault.shared), (FaultKind::Gone, true));
    decide(&mut alone).await.expect("decides");
    decide(&mut elsewhere).await.expect("decides");
    decide(&mut create(&handler, Isolation::Shared).await).await.expect("a new sandbox is made");
    let fault = alone.snapshot().await.expect_err("traps");
    assert_eq!((fault.kind, fault.shared), (FaultKind::Broke, false));
}

#[tokio::test]
async fn a_plugin_that_isolates_shares_nothing() {
    let handler = plugin(&[BREAKS], Limits::default()).await.isolating().for_shard();
    let mut culprit = create(&handler, Isolation::Shared).await;
    let mut neighbour = create(&handler, Isolation::Shared).await;
    assert!(!culprit.snapshot().await.expect_err("traps").shared);
    decide(&mut neighbour).await.expect("decides");
}

#[tokio::test]
async fn a_full_sandbox_takes_no_more_entities_until_half_of_them_are_gone() {
    // The guest starts with 4 pages.
    let limits = Limits { retire_at_bytes: 6 * PAGE_BYTES, ..Limits::default() };
    let handler = plugin(&[GROWS, BREAKS], limits).await;
    let mut first = create(&handler, Isolation::Shared).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(create(&handler, Isolation::Shared).await);
    }
    decide(&mut first).await.expect("5 pages");
    decide(&mut first).await.expect("6 pages");
    let mut in_another = create(&handler, Isolation::Shared).await;
    in_another.snapshot().await.expect_err("breaks its own sandbox");
    assert!(first.is_alive(), "the sandbox that was full");
    others.truncate(1);
    let mut in_the_first = create(&handler, Isolation::Shared).await;
    in_the_first.snapshot().await.expect_err("breaks the first");
    assert!(!first.is_alive());
}

#[tokio::test]
async fn entities_that_leave_make_room_for_others_in_their_sandbox() {
    let handler = plugin(&[], Limits { handles: 20, ..Limits::default() }).await;
    let mut stays = create(&handler, Isolation::Shared).await;
    for _ in 0..1_000 {
        decide(&mut create(&handler, Isolation::Shared).await).await.expect("decides");
    }
    decide(&mut stays).await.expect("decides");
}

#[tokio::test]
async fn more_entities_than_a_sandbox_has_handles_for_get_another() {
    let handler = plugin(&[], Limits { handles: 20, ..Limits::default() }).await;
    let mut alive = Vec::new();
    for _ in 0..100 {
        alive.push(create(&handler, Isolation::Shared).await);
    }
    for entity in &mut alive {
        decide(entity).await.expect("decides");
    }
}

#[tokio::test]
async fn the_memory_of_a_sandbox_is_shared_out_among_its_entities() {
    let handler = plugin(&[], Limits::default()).await;
    let alone = create(&handler, Isolation::Alone).await.memory_bytes();
    assert!(alone >= 4 * PAGE_BYTES, "R23: with all that it started with, and not only its growth: {alone}");
    let mut alive = Vec::new();
    for _ in 0..10 {
        alive.push(create(&handler, Isolation::Shared).await);
    }
    assert_eq!(alive.iter().map(EntityInstance::memory_bytes).sum::<usize>(), alone / 10 * 10);
}

/// R24: where there was no room for one more sandbox, or for one to grow, commands became dead letters.
#[tokio::test]
async fn a_lack_of_room_is_nobodys_fault_and_passes() {
    let handler = plugin(
        &[(
            "decide",
            "(if (i32.eq (memory.grow (i32.const 8)) (i32.const -1)) (then unreachable)) (i32.const 512)",
        )],
        Limits { total_bytes: Some(24 * PAGE_BYTES), ..Limits::default() },
    )
    .await;
    let mut shared = create(&handler, Isolation::Shared).await;
    decide(&mut shared).await.expect("12 pages");
    let alone = create(&handler, Isolation::Alone).await;
    let fault = decide(&mut shared).await.expect_err("there are not 8 pages more");
    assert_eq!((fault.kind, fault.shared), (FaultKind::NoRoom, false), "{fault}");
    assert!(fault.what.contains("raise `total-bytes` in [plugins.guest.limits]"), "{fault}");
    drop(shared);
    let mut alive = vec![alone];
    let fault = loop {
        match handler.create("1", Isolation::Alone).await {
            Ok(entity) => alive.push(entity),
            Err(fault) => break fault,
        }
    };
    assert_eq!((fault.kind, alive.len()), (FaultKind::NoRoom, 5), "{fault}");
    alive.pop();
    create(&handler, Isolation::Alone).await;
}

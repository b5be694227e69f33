//! The real plugins of the examples, as `make plugins` builds them.

use std::path::{Path, PathBuf};

use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::message::{NewEvent, RecordedEvent, Rejection};
use pelton_core::plugin::Plugin;
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::saga::ports::SagaPlugin;
use pelton_wasm::{Activation, Limits, LoadedPlugin, PluginSettings, SchemaKind, WasmEntity};

use crate::{command, entity, event, plugins};

const ROOM: &str = r#"{"room":{"id":1},"client":{"id":1},"date":"2022-12-12"}"#;

async fn hotel(name: &str) -> LoadedPlugin {
    example(&format!("hotel-{name}")).await
}

pub(crate) fn path(name: &str) -> PathBuf {
    let built = std::env::var_os("PELTON_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins"), PathBuf::from);
    let path = built.join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not there; run: make plugins plugins-polyglot", path.display());
    path
}

async fn example(name: &str) -> LoadedPlugin {
    plugins().load(name, path(name), Limits::default()).await.unwrap_or_else(|e| panic!("{e}"))
}

async fn decide(entity: &mut WasmEntity, r#type: &str) -> Result<Vec<NewEvent>, Rejection> {
    entity.decide(&command(r#type, "c1", ROOM)).await.unwrap_or_else(|fault| panic!("{fault}"))
}

fn stored(decided: Vec<NewEvent>, first: u64) -> Vec<RecordedEvent> {
    (first..).zip(decided).map(|(sequence, new)| event(&new.r#type, sequence, new.data)).collect()
}

#[tokio::test]
async fn a_booking_is_decided_folded_and_decided_again() {
    let loaded = hotel("booking").await;
    assert_eq!(loaded.imports().iter().filter(|name| name.starts_with("wasi:")).count(), 0);
    let handler = loaded.handler().expect("a handler").clone();
    let descriptor = handler.descriptor();
    for r#type in ["book-room", "make-room-available", "check-in"] {
        assert!(descriptor.commands.iter().any(|c| c == r#type), "{:?}", descriptor.commands);
    }
    let mut booking = handler.create(entity().id(), Isolation::Alone).await.expect("an entity");
    assert_eq!(
        decide(&mut booking, "check-in").await.expect_err("nothing to check into").code,
        "nothing-booked"
    );
    let booked = decide(&mut booking, "book-room").await.expect("free");
    assert_eq!(
        booked.iter().map(|e| (e.r#type.as_str(), e.version)).collect::<Vec<_>>(),
        [("room-booked", 1)]
    );
    booking.evolve(&stored(booked, 7)).await.expect("folds");
    assert_eq!(decide(&mut booking, "book-room").await.expect_err("taken").code, "room-already-booked");
    // Another entity knows nothing of it.
    let mut other = handler.create("2.2022-12-12", Isolation::Alone).await.expect("an entity");
    assert!(decide(&mut other, "book-room").await.is_ok());
    let garbled =
        booking.decide(&command("book-room", "c2", "{")).await.expect("no fault").expect_err("no JSON");
    assert_eq!(garbled.code, Rejection::INVALID_COMMAND);
    let fault = booking.evolve(&[event("room-booked", 9, "{".into())]).await.expect_err("no event");
    assert!(fault.what.starts_with("cannot read an event: "), "{fault}");
}

#[tokio::test]
async fn the_other_roles_of_the_hotel_answer() {
    let handler = hotel("booking").await.handler().expect("a handler").clone();
    let mut booking = handler.create(entity().id(), Isolation::Alone).await.expect("an entity");
    let events = stored(decide(&mut booking, "book-room").await.expect("free"), 1);

    let loaded = hotel("booking-view").await;
    let view = loaded.projection().expect("a projection");
    let keys = view.keys(&events).await.expect("no fault").expect("no failure");
    assert_eq!(keys.len(), 1);
    let views: Vec<_> = keys[0]
        .iter()
        .map(|key| pelton_core::projection::view::ViewChange { key: key.clone(), value: None })
        .collect();
    let changes = view.project(&events, &views).await.expect("no fault").expect("no failure");
    assert!(changes.iter().any(|change| change.value.is_some()), "{changes:?}");

    let loaded = hotel("housekeeping").await;
    let saga = loaded.saga().expect("a saga");
    let correlations = saga.correlate(&events[0]).await.expect("no fault").expect("no failure");
    let instance = pelton_core::id::InstanceId::new(&correlations[0].instance).expect("an id");
    let input = pelton_core::saga::model::SagaInput::Event(events[0].clone());
    let context = pelton_core::saga::model::InputContext::of_event(&events[0]);
    let reaction =
        saga.react(&instance, None, &input, &context).await.expect("no fault").expect("no failure");
    assert!(!reaction.commands.is_empty(), "{reaction:?}");
    assert_eq!(reaction.commands[0].reference.as_deref(), Some("cleaning"));
}

#[tokio::test]
async fn an_order_comes_back_from_its_snapshot() {
    let handler = example("payment-order").await.handler().expect("a handler").clone();
    let mut order = handler.create("1", Isolation::Alone).await.expect("an entity");
    let lines = r#"{"order":{"id":1},"lines":[{"item":"a desk","amountCents":25000}]}"#;
    let placed = order.decide(&command("place-order", "c1", lines)).await.expect("no fault").expect("new");
    order.evolve(&stored(placed, 7)).await.expect("folds");
    let snapshot = order.snapshot().await.expect("no fault").expect("it gives one");

    let restored = handler.restore("1", &snapshot, Isolation::Alone).await.expect("no fault");
    let mut restored = restored.unwrap_or_else(|why| panic!("{why}"));
    for order in [&mut order, &mut restored] {
        let again = order.decide(&command("place-order", "c2", lines)).await.expect("no fault");
        assert_eq!(again.expect_err("placed before").code, "order-already-placed");
    }
    let pay = command("withdraw", "c3", r#"{"order":{"id":1},"amountCents":25000}"#);
    let paid = restored.decide(&pay).await.expect("no fault").expect("not paid yet");
    restored.evolve(&stored(paid, 9)).await.expect("folds what comes after");
    assert_ne!(restored.snapshot().await.expect("no fault"), Some(snapshot));

    let why = handler.restore("1", b"{", Isolation::Alone).await.expect("no fault").expect_err("no order");
    assert!(why.starts_with("EOF while parsing"), "{why}");
}

#[tokio::test]
async fn a_plugin_gets_the_settings_of_its_activation() {
    let order = |limit: &'static str| async move {
        let mut settings = PluginSettings::default();
        settings.set("unapproved-limit-cents", limit).expect("a setting");
        plugins().load("order", path("payment-order"), Activation { settings, ..Activation::default() }).await
    };
    let sent = [
        ("place-order", r#"{"order":{"id":1},"lines":[{"item":"a desk","amountCents":25000}]}"#),
        ("withdraw", r#"{"order":{"id":1},"amountCents":25000}"#),
        ("refund", r#"{"order":{"id":1},"amountCents":700}"#),
    ];
    let (small, large) = (order("699").await.expect("loads"), order("700").await.expect("loads"));
    for (loaded, is_paid) in [(&small, false), (&large, true)] {
        let handler = loaded.handler().expect("a handler");
        let mut order = handler.create("1", Isolation::Alone).await.expect("an entity");
        let mut last = Ok(Vec::new());
        for (n, (kind, data)) in (1..).zip(sent) {
            last = order.decide(&command(kind, &format!("c{n}"), data)).await.expect("no fault");
            if let Ok(events) = &last {
                order.evolve(&stored(events.clone(), n * 10)).await.expect("folds");
            }
        }
        assert_eq!(last.is_ok(), is_paid, "{last:?}");
        assert_eq!(handler.digest(), loaded.digest());
    }
    // Whoever reads who decided sees which settings it had.
    assert_ne!(small.digest(), large.digest());
    assert_eq!(small.component_digest(), large.component_digest());
    assert!(small.digest().starts_with(&format!("{}+settings:", small.component_digest())));
    let refused = order("much").await.expect_err("cannot work with it").to_string();
    for part in ["it cannot work with its settings", "`unapproved-limit-cents` is \"much\"", "+settings:"] {
        assert!(refused.contains(part), "{part:?} is not said in: {refused}");
    }
}

#[tokio::test]
async fn a_plugin_tells_what_its_data_looks_like() {
    let loaded = example("library-notices").await;
    let named = loaded.schemas().iter().map(|s| (s.kind, s.r#type.as_str(), s.version)).collect::<Vec<_>>();
    let expected = [
        (SchemaKind::Command, "remind-reader", 1),
        (SchemaKind::Event, "reader-reminded", 1),
        (SchemaKind::EntityState, "", 1),
    ];
    assert_eq!(named, expected);
    let command: serde_json::Value = serde_json::from_str(&loaded.schemas()[0].schema).expect("JSON");
    assert_eq!(command["properties"]["reader"]["type"], "string");
    assert!(hotel("booking").await.schemas().is_empty());
}

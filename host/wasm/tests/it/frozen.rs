//! What was built against the contract goes on working: `contract/<version>/` holds a copy of every released form, and a
//! component that was built against it. Neither is ever changed.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::id::InstanceId;
use pelton_core::message::{EventType, Rejection};
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::projection::view::ViewChange;
use pelton_core::saga::model::{InputContext, Relation, SagaInput, TimerChange};
use pelton_core::saga::ports::SagaPlugin;
use pelton_core::time::Timestamp;
use pelton_wasm::{Limits, LoadedPlugin, SchemaKind};
use wit_parser::{PackageId, Resolve};

use crate::contract::wit;
use crate::guests::wat;
use crate::{command, event, load};

fn released() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/0.1.0")
}

/// Reads a contract under another version of its package, so that two can be compared.
fn read(resolve: &mut Resolve, folder: &Path, version: &str) -> PackageId {
    let copy = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|ending| ending == "wit") {
            let text = std::fs::read_to_string(&path).expect("a text");
            let text =
                text.replace("package pelton:plugin@0.1.0;", &format!("package pelton:plugin@{version};"));
            std::fs::write(copy.path().join(path.file_name().expect("a name")), text).expect("a copy");
        }
    }
    resolve.push_path(copy.path()).unwrap_or_else(|e| panic!("{}: {e:#}", folder.display())).0
}

/// Whether every world of one contract can be served by the same world of the other.
fn compare(old: &Path, new: &Path) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let (old, new) = (read(&mut resolve, old, "0.1.0"), read(&mut resolve, new, "0.1.1"));
    for (name, old_world) in &resolve.packages[old].worlds {
        let new_world = resolve.packages[new].worlds.get(name).ok_or(format!("there is no world {name}"))?;
        wit_component::semver_check(resolve.clone(), *old_world, *new_world)
            .map_err(|error| format!("{name}: {error:#}"))?;
    }
    Ok(())
}

#[test]
fn the_contract_serves_what_was_built_against_its_released_form() {
    compare(&released(), &wit()).unwrap_or_else(|why| {
        panic!("wit/ does not keep what tests/contract/0.1.0 promises; a breaking change is a new version of the package: {why}")
    });
}

#[test]
fn a_change_that_breaks_plugins_is_found() {
    for (file, before, after) in [
        ("types.wit", "    part: u32,\n", ""),
        ("types.wit", "    code: string,\n", "    code: string,\n    fatal: bool,\n"),
        ("saga.wit", "    start-once,\n", ""),
        ("command-handler.wit", "result<list<new-event>, rejection>", "result<list<new-event>, string>"),
        ("projection.wit", "  keys: func(", "  keys-of: func("),
        ("saga-migration.wit", "from-version: u32, ", ""),
        ("settings.wit", "-> metadata", "-> list<string>"),
        ("worlds.wit", "world saga-plugin", "world process-plugin"),
    ] {
        let copy = tempfile::tempdir().expect("a folder");
        for entry in std::fs::read_dir(wit()).expect("the contract") {
            let path = entry.expect("a file").path();
            let mut text = std::fs::read_to_string(&path).expect("a text");
            if path.ends_with(file) {
                assert!(text.contains(before), "{file} has no {before:?}");
                text = text.replacen(before, after, 1);
            }
            std::fs::write(copy.path().join(path.file_name().expect("a name")), text).expect("a copy");
        }
        assert!(compare(&released(), copy.path()).is_err(), "{file}: {before:?} became {after:?}");
    }
}

async fn plugin() -> LoadedPlugin {
    let text = std::fs::read_to_string(released().join("plugin.wat")).expect("the component");
    load(wat(&text), Limits::default()).await.unwrap_or_else(|e| panic!("{e}"))
}

#[tokio::test]
async fn a_handler_of_the_released_form_works() {
    let plugin = plugin().await;
    let handler = plugin.handler().expect("a handler");
    let done = |version| EventType { r#type: "done".to_owned(), version };
    let descriptor = handler.descriptor();
    assert_eq!((descriptor.emits.clone(), descriptor.folds.clone()), (vec![done(2)], vec![done(1), done(2)]));
    assert_eq!((descriptor.commands[0].as_str(), descriptor.rejections[0].as_str()), ("do", "not-now"));
    assert_eq!((descriptor.state_version, descriptor.decides_ahead), (3, true));
    let mut entity = handler.create("1", Isolation::Alone).await.expect("an entity");
    entity.evolve(&[event("done", 1, Bytes::new())]).await.expect("folds");
    let decided = entity.decide(&command("do", "c1", "many bytes")).await.expect("decides").expect("accepts");
    let decided = &decided[0];
    assert_eq!((decided.r#type.as_str(), decided.version, &decided.data[..]), ("done", 2, &b"payload"[..]));
    assert_eq!(decided.extensions, [("tenant".to_owned(), "a".to_owned())]);
    let rejected = entity.decide(&command("do", "c2", "{}")).await.expect("decides").expect_err("rejects");
    let details = vec![("when".to_owned(), "soon".to_owned())];
    assert_eq!(rejected, Rejection { details, ..Rejection::new("not-now", "later") });
    assert_eq!(entity.snapshot().await.expect("answers").as_deref(), Some(&b"state"[..]));
    assert!(handler.restore("1", b"state", Isolation::Alone).await.expect("restores").is_ok());
}

#[tokio::test]
async fn a_projection_of_the_released_form_works() {
    let plugin = plugin().await;
    let projection = plugin.projection().expect("a projection");
    assert_eq!(projection.descriptor().view_version, 4);
    let events = [event("done", 1, Bytes::new())];
    assert_eq!(projection.keys(&events).await.expect("answers"), Ok(vec![vec!["key".to_owned()]]));
    let view = |value: Option<&'static [u8]>| ViewChange {
        key: "key".to_owned(),
        value: value.map(Bytes::from_static),
    };
    let changed = projection.project(&events, &[view(None)]).await.expect("answers").expect("folds");
    assert_eq!((changed[0].key.as_str(), changed[0].value.as_deref()), ("key", Some(&b"value"[..])));
}

#[tokio::test]
async fn a_saga_of_the_released_form_works() {
    let plugin = plugin().await;
    let saga = plugin.saga().expect("a saga");
    let descriptor = saga.descriptor();
    assert_eq!((descriptor.timers[0].as_str(), descriptor.state_version), ("unpaid", 5));
    let event = event("done", 1, Bytes::new());
    let correlations = saga.correlate(&event).await.expect("answers").expect("correlates");
    assert_eq!((correlations[0].instance.as_str(), correlations[0].relation), ("one", Relation::StartOnce));
    let (instance, context) = (InstanceId::new("one").expect("an id"), InputContext::of_event(&event));
    let reaction = saga.react(&instance, None, &SagaInput::Event(event), &context).await;
    let reaction = reaction.expect("answers").expect("reacts");
    assert_eq!(reaction.state.as_deref(), Some(&b"state"[..]));
    assert_eq!(
        (reaction.commands[0].r#type.as_str(), reaction.commands[0].reference.as_deref()),
        ("do", Some("first"))
    );
    let [TimerChange::Set(timer), TimerChange::Cancel(id)] = &reaction.timers[..] else {
        panic!("{reaction:?}")
    };
    assert_eq!((timer.id.as_str(), timer.r#type.as_str(), timer.due), ("t", "unpaid", Timestamp(1_000)));
    assert_eq!((&timer.data[..], id.as_str()), (&b"payload"[..], "t"));
}

#[tokio::test]
async fn what_a_plugin_of_the_released_form_exports_besides_works() {
    let plugin = plugin().await;
    let settings = plugin.imports().iter().any(|import| import == "pelton:plugin/settings@0.1.0");
    assert!(settings, "evolve asks for its settings: {:?}", plugin.imports());
    let [schema] = plugin.schemas() else { panic!("{:?}", plugin.schemas()) };
    assert_eq!((schema.kind, schema.r#type.as_str(), schema.version), (SchemaKind::Event, "done", 2));
    assert_eq!(schema.schema, r#"{"type":"string"}"#);
    let (saga, instance) = (plugin.saga().expect("a saga"), InstanceId::new("one").expect("an id"));
    let migrated = saga.migrate(&instance, 4, b"old", &[]).await.expect("answers");
    let migrated = migrated.expect("it has a migration").expect("takes over");
    assert_eq!((&migrated.state[..], migrated.timers[0].r#type.as_str()), (&b"state"[..], "unpaid"));
}

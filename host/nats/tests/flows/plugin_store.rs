//! The plugin store: components, the record of what a plugin runs, and who follows it.

use std::collections::BTreeMap;
use std::time::Duration;

use pelton_core::id::Sequence;
use pelton_core::time::Timestamp;
use pelton_nats::permissions::Role;
use pelton_nats::plugin_store::activation::{Activation, Cause, PluginVersion};
use pelton_nats::plugin_store::preparation::{self, Candidate, Questions, Readiness};
use pelton_nats::plugin_store::{Act, Component, PluginStore, StoreError};
use pelton_nats::server::Options;
use pelton_nats::{Credentials, Nats, Topology};
use sha2::{Digest, Sha256};

use crate::entities::hotel;
use crate::support::{PATIENCE, TestServer, name, soon};

async fn open(nats: &Nats) -> PluginStore {
    Topology::default().ensure_plugin_store(nats).await.unwrap();
    PluginStore::open(nats, false).await.unwrap()
}

fn component(plugin: &str, bytes: &[u8]) -> Component {
    Component {
        plugin: name(plugin),
        verdict: None,
        digest: format!("sha256:{:x}", Sha256::digest(bytes)),
        version: "1".to_owned(),
        bytes: bytes.len() as u64,
        roles: Vec::new(),
        by: "ada".to_owned(),
        at: Timestamp::now(),
    }
}

fn version(component: &str) -> PluginVersion {
    let settings = BTreeMap::new();
    PluginVersion {
        component: component.to_owned(),
        version: "1".to_owned(),
        settings,
        one_way: false,
        saga: None,
    }
}

async fn activate(store: &PluginStore, now: Option<&Activation>, to: &str) -> Result<Activation, StoreError> {
    store.switch(&name("books"), now, version(to), Cause::Activated, "ada").await
}

#[tokio::test]
async fn a_component_is_stored_once_and_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let store = open(&server.connect().await).await;
    // More than one piece of an object.
    let bytes = vec![7; 300 * 1024];
    let books = component("books", &bytes);
    assert!(store.push(&books, &bytes).await.unwrap());
    assert!(!store.push(&books, &bytes).await.unwrap(), "it is there");
    assert!(store.push(&component("readers", &bytes), &bytes).await.unwrap(), "for another plugin");
    assert_eq!(store.fetch(&books.digest).await.unwrap(), bytes);
    assert_eq!(store.components(Some(&name("books"))).await.unwrap(), std::slice::from_ref(&books));
    // Another plugin has the component still.
    store.remove(&books).await.unwrap();
    assert_eq!(store.components(Some(&name("books"))).await.unwrap(), []);
    assert_eq!(store.fetch(&books.digest).await.unwrap(), bytes);
    store.remove(&component("readers", &bytes)).await.unwrap();
    assert!(matches!(store.fetch(&books.digest).await, Err(StoreError::Missing { .. })));
    assert!(store.push(&books, &bytes).await.unwrap(), "it can come back");
    assert_eq!(store.fetch(&books.digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn what_is_damaged_is_noticed_and_mended_by_another_push() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = open(&nats).await;
    let books = component("books", b"whole");
    let objects = nats.jetstream().get_object_store("plugins").await.unwrap();
    objects.put(&books.digest["sha256:".len()..], &mut &b"hole"[..]).await.unwrap();
    let error = store.fetch(&books.digest).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { .. }), "{error}");
    assert!(store.push(&books, b"whole").await.unwrap());
    assert_eq!(store.fetch(&books.digest).await.unwrap(), b"whole");
}

#[tokio::test]
async fn of_two_operators_who_switch_at_once_one_is_refused() {
    let server = TestServer::start().await;
    let store = open(&server.connect().await).await;
    let first = activate(&store, None, "a").await.unwrap();
    let (left, right) =
        tokio::join!(activate(&store, Some(&first), "b"), activate(&store, Some(&first), "c"));
    let (won, lost) = match (left, right) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => panic!("one of them: {other:?}"),
    };
    assert!(matches!(lost, StoreError::Switched { .. }), "{lost}");
    let now = store.active(&name("books")).await.unwrap().unwrap();
    assert_eq!(now, won);
    assert_eq!(now.rollback().unwrap(), &version("a"));
    // Who thinks that nothing was activated yet is wrong, too.
    assert!(matches!(activate(&store, None, "d").await, Err(StoreError::Switched { .. })));
}

#[tokio::test]
async fn who_follows_is_told_of_every_last_switch_also_of_those_before() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = open(&nats).await;
    let first = activate(&store, None, "a").await.unwrap();
    let second = activate(&store, Some(&first), "b").await.unwrap();
    let mut following = store.follow(BTreeMap::from([(name("books"), first.revision)])).await.unwrap();
    assert_eq!(soon(following.next()).await, second, "it came before anybody followed");
    let third = activate(&store, Some(&second), "c").await.unwrap();
    assert_eq!(soon(following.next()).await, third);
    // Another plugin is not followed.
    store.switch(&name("readers"), None, version("x"), Cause::Activated, "ada").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), following.next()).await.is_err());
}

#[tokio::test]
async fn the_history_has_a_switch_once() {
    let server = TestServer::start().await;
    let store = open(&server.connect().await).await;
    let act = || Act::Switched {
        to: version("a"),
        cause: Cause::Broke { fault: "it trapped".to_owned() },
        revision: Sequence(3),
        gate: Vec::new(),
    };
    for host in ["one", "two"] {
        store.note(&name("books"), host, act()).await.unwrap();
    }
    let history = store.history(&name("books")).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].by.as_str(), &history[0].act), ("one", &act()));
}

#[tokio::test]
async fn hosts_say_whether_they_are_ready() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let candidate = Candidate { plugin: name("books"), version: version("a") };
    assert!(preparation::ask(&nats, &candidate, PATIENCE).await.unwrap().is_empty(), "nobody is there");
    let ready = Readiness::Ready { ms: 3, gate: Vec::new() };
    let mut hosts = Vec::new();
    for (host, takes) in [("one", Duration::ZERO), ("two", Duration::from_millis(700))] {
        let mut questions = Questions::to(&nats, host.to_owned()).await.unwrap();
        let (asked, ready) = (candidate.clone(), ready.clone());
        hosts.push(tokio::spawn(async move {
            let question = questions.next().await;
            assert_eq!(question.candidate, asked);
            question.answer(Readiness::Reached).await;
            tokio::time::sleep(takes).await;
            question.answer(ready).await;
        }));
    }
    nats.client().flush().await.unwrap();
    let answers = preparation::ask(&nats, &candidate, PATIENCE).await.unwrap();
    assert_eq!(answers, BTreeMap::from([("one".to_owned(), ready.clone()), ("two".to_owned(), ready)]));
    for host in hosts {
        host.await.unwrap();
    }
}

/// Each may do its own part, and no other's. The store is there already: a host makes it.
#[tokio::test]
async fn whoever_pushes_cannot_release_and_the_other_way_round() {
    let users: String = [Role::Publisher, Role::Releaser, Role::Host]
        .map(|role| format!("{{ user: {0}, password: {0}, {1} }}\n", role.name(), role.permissions()))
        .concat();
    let config = format!("authorization {{ users: [\n{users}] }}");
    let server = TestServer::start_with(|options| Options { extra_config: config, ..options }).await;
    let connect = async |role: Role| {
        let user = Credentials::User { user: role.name().into(), password: role.name().into() };
        let nats = server.connect_with(|settings| {
            settings.credentials = user;
            settings.request_timeout = Duration::from_millis(500);
        });
        nats.await
    };
    let host = connect(Role::Host).await;
    Topology { plugin_store: true, ..hotel() }.ensure(&host).await.unwrap();
    let store = async |role| PluginStore::open(&connect(role).await, false).await.unwrap();
    let (publisher, releaser, host) =
        (store(Role::Publisher).await, store(Role::Releaser).await, store(Role::Host).await);

    let bytes = vec![7; 300_000];
    let pushed = component("booking", &bytes);
    for other in [&releaser, &host] {
        assert!(other.push(&pushed, &bytes).await.is_err());
    }
    assert!(publisher.push(&pushed, &bytes).await.unwrap());
    let act = || Act::Pushed { component: pushed.digest.clone(), version: pushed.version.clone() };
    publisher.note(&name("booking"), "anna", act()).await.unwrap();

    let version = PluginVersion {
        component: pushed.digest.clone(),
        version: "1".into(),
        settings: BTreeMap::new(),
        one_way: false,
        saga: None,
    };
    let switch = async |store: &PluginStore| {
        store.switch(&name("booking"), None, version.clone(), Cause::Activated, "anna").await
    };
    assert!(switch(&publisher).await.is_err());
    assert_eq!(releaser.fetch(&pushed.digest).await.unwrap(), bytes);
    switch(&releaser).await.unwrap();
    releaser.note(&name("booking"), "anna", act()).await.unwrap();
    for any in [&publisher, &releaser, &host] {
        assert_eq!(any.active(&name("booking")).await.unwrap().unwrap().runs, version);
    }
    assert_eq!(host.fetch(&pushed.digest).await.unwrap(), bytes);
}

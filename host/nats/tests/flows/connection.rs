//! The connection: patient with a server that is away, clear about one that says no.

use std::time::Duration;

use futures::StreamExt;
use pelton_core::command::outcome::Revision;
use pelton_core::command::ports::CommandStore;
use pelton_core::id::CommandId;
use pelton_nats::server::Options;
use pelton_nats::{ConnectError, ConnectSettings, Credentials, Nats, StoreSettings, StreamStore};

use crate::entities::{Writer, entity, hotel};
use crate::poison::publish_raw;
use crate::support::{TestServer, name, outcome, soon};

const USERS: &str = r#"
authorization {
  users: [
    { user: admin, password: secret }
    { user: host, password: secret, permissions: { publish: { allow: ["$JS.API.>", "_INBOX.>", "audit.>"] } } }
  ]
}
"#;

async fn guarded() -> TestServer {
    TestServer::start_with(|options| Options { extra_config: USERS.into(), ..options }).await
}

fn user(user: &str, password: &str) -> Credentials {
    Credentials::User { user: user.into(), password: password.into() }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_until_the_deadline() {
    let mut server = TestServer::start().await;
    server.crash().await;
    let settings = ConnectSettings {
        start_deadline: Some(Duration::from_millis(600)),
        ..ConnectSettings::new(server.url())
    };
    let error = Nats::connect(&settings).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Away { .. }) && error.to_string().contains(&server.url()),
        "{error}"
    );

    let patient = ConnectSettings { start_deadline: None, ..settings };
    let connecting = tokio::spawn(async move { Nats::connect(&patient).await });
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.restart().await;
    soon(connecting).await.unwrap().unwrap().flush().await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once() {
    let server = guarded().await;
    for credentials in [Credentials::None, user("admin", "wrong"), Credentials::Token("t".into())] {
        let settings = ConnectSettings { credentials, ..ConnectSettings::new(server.url()) };
        let error = soon(Nats::connect(&settings)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    }
    let missing = Credentials::File("/nowhere/host.creds".into());
    let settings = ConnectSettings { credentials: missing, ..ConnectSettings::new(server.url()) };
    let error = Nats::connect(&settings).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/host.creds"), "{error}");
    let error = Nats::connect(&ConnectSettings::new("nats://:::")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Url { .. }), "{error}");
}

#[tokio::test]
async fn what_permissions_refuse_is_named_and_not_called_a_timeout() {
    let server = guarded().await;
    let admin = server.connect_with(|settings| settings.credentials = user("admin", "secret")).await;
    hotel().ensure(&admin).await.unwrap();
    let host = server
        .connect_with(|settings| {
            settings.credentials = user("host", "secret");
            settings.request_timeout = Duration::from_millis(500);
        })
        .await;
    let store = StreamStore::start(&host, &name("hotel"), StoreSettings::default());
    store.record(&outcome(&CommandId::new("c1").unwrap()), Revision::NONE).await.unwrap();
    let error = Writer::new(&store, "1").append("c1", 1).await.unwrap_err().to_string();
    assert!(error.contains("permissions") && error.contains("booking.1.room-booked.v1"), "{error}");
    store.close().await;
}

#[tokio::test]
async fn secrets_do_not_show() {
    for credentials in [user("host", "hidden"), Credentials::Token("hidden".into())] {
        let settings = ConnectSettings { credentials, ..ConnectSettings::new("nats://127.0.0.1") };
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}

#[tokio::test]
async fn a_closed_connection_is_noticed() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let waiting = tokio::spawn({
        let nats = nats.clone();
        async move { nats.closed().await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    nats.close().await.unwrap();
    soon(waiting).await.unwrap();
}

/// R6: the library's task panics over a bare carriage return in a header, and the client says nothing of it.
#[tokio::test]
async fn a_connection_whose_task_panicked_is_noticed() {
    let server = TestServer::start().await;
    let (nats, forger) = (server.connect().await, server.connect().await);
    let mut questions = forger.client().subscribe("question").await.unwrap();
    forger.flush().await.unwrap();
    let asking = tokio::spawn({
        let client = nats.client().clone();
        async move { client.request("question", "".into()).await }
    });
    let reply = soon(questions.next()).await.unwrap().reply.unwrap();
    assert!(!nats.is_closed().await);
    publish_raw(&server.url(), &[(reply.as_str(), b"NATS/1.0\r\nx: a\rb\r\n\r\n")]).await;
    soon(nats.closed()).await;
    assert!(soon(asking).await.unwrap().is_err());
}

/// R6: what is read over the connection for reads may break it, and nothing else.
#[tokio::test]
async fn an_event_with_a_bad_header_breaks_no_other_read() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = crate::entities::store(&nats, StoreSettings::default()).await;
    Writer::new(&store, "2").append("c1", 1).await.unwrap();
    let poison: [&[u8]; 2] = [b"NATS/1.0\r\nx: a\rb\r\n\r\n", b"NATS/1.0\r\nx: \xff\r\n\r\n"];
    for headers in poison {
        publish_raw(&server.url(), &[("booking.1.room-booked.v1", headers)]).await;
        let error = soon(store.load(&entity("1"))).await.unwrap_err().to_string();
        assert!(error.contains("booking.1.room-booked.v1") && error.contains("only Pelton"), "{error}");
        assert_eq!(soon(store.load(&entity("2"))).await.unwrap().len(), 1);
    }
    assert!(!nats.is_closed().await);
    store.close().await;
}

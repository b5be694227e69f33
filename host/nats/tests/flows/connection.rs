//! The connection waits for an unavailable server, and reports a refusal at once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pelton_core::command::ports::CommandStore;
use pelton_nats::server::Options;
use pelton_nats::{ConnectError, ConnectSettings, Credentials, Nats, StoreSettings, StreamStore};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::entities::{Writer, entity, hotel};
use crate::poison::publish_raw;
use crate::support::{TestServer, name, soon};

const USERS: &str = r#"
authorization {
  users: [
    { user: admin, password: secret }
    { user: host, password: secret, permissions: { publish: { allow: ["$JS.API.>", "_INBOX.>", "audit.>"] } } }
  ]
}
"#;

async fn with_users() -> TestServer {
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
    let server = with_users().await;
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
    let server = with_users().await;
    let admin = server.connect_with(|settings| settings.credentials = user("admin", "secret")).await;
    hotel().ensure(&admin).await.unwrap();
    let host = server
        .connect_with(|settings| {
            settings.credentials = user("host", "secret");
            settings.request_timeout = Duration::from_millis(500);
        })
        .await;
    let store = StreamStore::start(&host, &name("hotel"), StoreSettings::default());
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
        async move { nats.ended().await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    nats.close().await.unwrap();
    soon(waiting).await.unwrap();
}

/// R6: the library's task panics at a bare carriage return in a header, and the client does not report it.
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
    assert!(soon(nats.ended()).await.contains("ended for good"));
    assert!(soon(asking).await.unwrap().is_err());
}

/// R6: a message may break only the connection for reads.
#[tokio::test]
async fn an_event_with_a_bad_header_breaks_no_other_read() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = crate::entities::store(&nats, StoreSettings::default()).await;
    Writer::new(&store, "2").append("c1", 1).await.unwrap();
    let poison: [&[u8]; 2] = [b"NATS/1.0\r\nx: a\rb\r\n\r\n", b"NATS/1.0\r\nx: \xff\r\n\r\n"];
    for headers in poison {
        publish_raw(&server.url(), &[("booking.1.room-booked.v1", headers)]).await;
        let error = soon(store.last(&entity("1"))).await.unwrap_err().to_string();
        assert!(error.contains("booking.1.room-booked.v1") && error.contains("only Pelton"), "{error}");
        assert!(soon(store.last(&entity("2"))).await.unwrap().is_some());
    }
    assert!(!nats.is_closed().await);
    store.close().await;
}

/// Greets every connection with the next of these versions, repeating the last one, and drops a connection when it is
/// told to.
async fn fake_server(versions: &'static [&'static str], drop_it: Arc<Notify>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for n in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let version = versions[n.min(versions.len() - 1)];
            let (read, mut write) = stream.into_split();
            let info = format!(
                "INFO {{\"server_id\":\"s{n}\",\"server_name\":\"old\",\"host\":\"h\",\"port\":1,\"version\":\"{version}\",\"proto\":1,\"go\":\"\",\"headers\":true,\"max_payload\":1048576}}\r\n"
            );
            write.write_all(info.as_bytes()).await.unwrap();
            let mut lines = BufReader::new(read).lines();
            loop {
                tokio::select! {
                    () = drop_it.notified() => break,
                    line = lines.next_line() => match line {
                        Ok(Some(line)) if line == "PING" => drop(write.write_all(b"PONG\r\n").await),
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => break,
                    },
                }
            }
        }
    });
    url
}

/// R5: before 2.12 a server ignores the headers of a batch, and stores each message alone.
#[tokio::test]
async fn a_server_that_is_too_old_is_refused_at_every_connect() {
    let drop_it = Arc::new(Notify::new());
    let url = fake_server(&["2.11.4"], drop_it.clone()).await;
    let error = soon(Nats::connect(&ConnectSettings::new(url))).await.unwrap_err();
    assert!(matches!(error, ConnectError::TooOld { .. }), "{error}");
    assert!(error.to_string().contains("2.11.4") && error.to_string().contains("2.15.1 or later"), "{error}");

    let url = fake_server(&["2.15.1", "2.11.4"], drop_it.clone()).await;
    let nats = soon(Nats::connect(&ConnectSettings::new(url))).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1500), nats.ended()).await.is_err());
    drop_it.notify_waiters();
    let why = soon(nats.ended()).await;
    assert!(why.contains("another server") && why.contains("2.11.4"), "{why}");
}

/// R30: user info in a URL passed the check and was then ignored.
#[tokio::test]
async fn user_info_in_a_url_is_who_the_host_is() {
    let server = with_users().await;
    let with = |user: &str| ConnectSettings::new(server.url().replace("nats://", &format!("nats://{user}@")));
    soon(Nats::connect(&with("admin:secret"))).await.unwrap().flush().await.unwrap();
    let error = soon(Nats::connect(&with("admin:wrong"))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }) && !error.to_string().contains("wrong"), "{error}");
    let twice = ConnectSettings { credentials: user("admin", "secret"), ..with("admin:secret") };
    let error = Nats::connect(&twice).await.unwrap_err();
    assert!(error.to_string().contains("other credentials"), "{error}");
}

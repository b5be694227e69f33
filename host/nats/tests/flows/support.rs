//! A server of its own for every test, and the objects of the tests on it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use pelton_core::cloudevents;
use pelton_core::command::outcome::{Outcome, OutcomeRecord};
use pelton_core::id::{CommandId, CommandType, Name, Sequence};
use pelton_core::message::{Event, Fingerprint};
use pelton_core::time::Timestamp;
use pelton_nats::Bucket;
use pelton_nats::server::{BINARY_VARIABLE, Options, Server};
use pelton_nats::topology::{EventStream, Topology, View};
use pelton_nats::{ConnectSettings, Nats};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::entities::hotel;

/// The time after which anything in a test counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A nats-server with its own port and store.
pub(crate) struct TestServer {
    server: Server,
    _store: TempDir,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|options| options).await
    }

    /// Three servers of one cluster.
    pub(crate) async fn start_cluster() -> Vec<Self> {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let routes =
            ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect::<Vec<_>>().join(", ");
        let starts = ports.iter().enumerate().map(|(n, port)| {
            let cluster =
                format!("cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
            Self::start_with(move |options| Options {
                name: format!("s{n}"),
                extra_config: cluster,
                ..options
            })
        });
        join_all(starts).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(Options) -> Options) -> Self {
        let store = TempDir::new().unwrap();
        let options = Options { binary: binary(), ..Options::new(store.path()) };
        Self { server: Server::start(change(options)).await.unwrap(), _store: store }
    }

    pub(crate) async fn connect(&self) -> Nats {
        self.connect_with(|_| {}).await
    }

    pub(crate) async fn connect_with(&self, change: impl FnOnce(&mut ConnectSettings)) -> Nats {
        let mut settings =
            ConnectSettings { start_deadline: Some(PATIENCE), ..ConnectSettings::new(self.server.url()) };
        change(&mut settings);
        Nats::connect(&settings).await.unwrap()
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Ends the server as a crash would (SIGKILL).
    pub(crate) async fn crash(&mut self) {
        self.server.kill().await.unwrap();
    }

    /// Starts the server again on the same port and store.
    pub(crate) async fn restart(&mut self) {
        self.server.restart().await.unwrap();
    }
}

/// A TCP relay in front of a server, which can lose the server's answers and cut all connections.
pub(crate) struct Relay {
    port: u16,
    /// Whether answers get lost, and how often connections were cut.
    state: watch::Sender<(bool, u32)>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(upstream: String) -> Self {
        let upstream = upstream.trim_start_matches("nats://").to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, states) = watch::channel((false, 0));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.unwrap();
                connections.spawn(Self::connect(client, server, states.clone()));
            }
        });
        Self { port, state, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn loses_answers(&self, loses: bool) {
        self.state.send_modify(|state| state.0 = loses);
    }

    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.1 += 1);
    }

    async fn connect(client: TcpStream, server: TcpStream, mut states: watch::Receiver<(bool, u32)>) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let (answers, cuts) = (states.clone(), states.borrow().1);
        let answering = async {
            let mut chunk = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = from_server.read(&mut chunk).await {
                if !answers.borrow().0 && to_client.write_all(&chunk[..count]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = states.wait_for(|state| state.1 != cuts) => {}
            _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
            () = answering => {}
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The program of `make tools`, unless the environment names another.
pub(crate) fn binary() -> Option<PathBuf> {
    let local = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
    std::env::var_os(BINARY_VARIABLE).is_none().then_some(local).filter(|path| path.exists())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits for an expected event.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it did not come in time")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The event stream `hotel`, the objects of the ingress and of sagas, and version 1 of the view `bookings`.
pub(crate) async fn prepare(nats: &Nats, replicas: u8) -> Bucket {
    let topology = Topology {
        replicas,
        streams: vec![EventStream {
            name: name("hotel"),
            subjects: vec!["booking.>".into()],
            limits: pelton_nats::topology::StreamLimits::default(),
        }],
        views: vec![View { name: name("bookings"), version: 1 }],
        ..hotel()
    };
    topology.ensure(nats).await.unwrap();
    Bucket::new(&name("bookings"), 1).unwrap()
}

pub(crate) fn event(n: u64) -> Event {
    Event {
        id: format!("c-{n}:0"),
        source: "/booking/1".into(),
        r#type: "room-booked".into(),
        version: 1,
        subject: None,
        time: None,
        datacontenttype: Some("application/json".into()),
        dataschema: None,
        extensions: Vec::new(),
        data: n.to_string().into(),
    }
}

/// Stores events `from..=to` with their number as data.
pub(crate) async fn publish_events(nats: &Nats, numbers: std::ops::RangeInclusive<u64>) {
    let mut acks = Vec::new();
    for n in numbers {
        let event = event(n);
        let mut headers = async_nats::HeaderMap::new();
        for (name, value) in cloudevents::encode(&event).iter() {
            headers.insert(name, value);
        }
        acks.push(
            nats.jetstream()
                .publish_with_headers("booking.1.room-booked", headers, event.data)
                .await
                .unwrap(),
        );
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

pub(crate) fn outcome(id: &CommandId) -> OutcomeRecord {
    OutcomeRecord {
        command_id: id.clone(),
        command_type: CommandType::new("book-room").unwrap(),
        entity: "1".into(),
        correlation_id: id.to_string(),
        fingerprint: Fingerprint::of(&[b"x"]),
        decided_by: "sha256:0".into(),
        time: Timestamp::now(),
        outcome: Outcome::Accepted { events: Vec::new() },
    }
}

pub(crate) fn numbers(items: &[pelton_core::consumer::FeedItem]) -> Vec<u64> {
    items.iter().map(|item| item.message.sequence).map(|Sequence(n)| n).collect()
}

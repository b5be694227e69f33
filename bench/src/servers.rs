//! Fresh nats-servers, each with a store of its own that is removed with it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, bail};
use async_nats::ServerAddr;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{FromConsumer, PriorityPolicy, PullConsumer, pull};
use futures::future::try_join_all;
use pelton_core::id::{CommandType, Name};
use pelton_core::intake::CommandRoute;
use pelton_core::partition::Partitions;
use pelton_core::subject::EntityTemplate;
use pelton_nats::server::Options;
use pelton_nats::subjects::COMMANDS;
use pelton_nats::topology::{EventStream, HandlerConsumer, StreamLimits, View};
use pelton_nats::{ConnectSettings, Nats, Server, Topology};
use pelton_tests::place;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::process;

/// The servers that a side works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// One server with file storage.
    File,
    /// Three servers on loopback that keep three replicas, in files.
    Replicated,
    /// One server that forces every write to disk.
    Fsync,
}

/// The handler, its consumer of commands, and the stream of its events.
pub(crate) const LEDGER: &str = "ledger";
/// The view of accounts.
pub(crate) const ACCOUNTS: &str = "accounts";
/// The saga that gives a bonus for deposits.
pub(crate) const BONUS: &str = "bonus";

/// A range below the ports that outgoing connections get.
const PORTS: std::ops::Range<u16> = 18_000..32_000;
/// The longest time for a cluster to form.
const PATIENCE: Duration = Duration::from_secs(60);

/// Running servers. Dropping them kills them and removes their store.
#[derive(Debug)]
pub(crate) struct Servers {
    servers: Vec<Server>,
    folder: TempDir,
    replicas: u8,
}

impl Setup {
    pub(crate) fn replicas(self) -> u8 {
        if self == Self::Replicated { 3 } else { 1 }
    }
}

impl Servers {
    /// Starts the servers, with everything that the ledger needs: the same for every side.
    pub(crate) async fn start(setup: Setup) -> anyhow::Result<Self> {
        let servers = Self::empty(setup).await?;
        servers.prepare().await?;
        Ok(servers)
    }

    /// Starts the servers, with nothing on them.
    pub(crate) async fn empty(setup: Setup) -> anyhow::Result<Self> {
        let base = place::root().join("target/bench");
        std::fs::create_dir_all(&base)?;
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(base)?;
        let replicas = setup.replicas();
        let routes = (0..replicas).map(|_| free_port()).collect::<anyhow::Result<Vec<_>>>()?;
        let starting = (0..usize::from(replicas)).map(|number| {
            Server::start(Options {
                binary: place::nats_server(),
                name: format!("bench-{number}"),
                sync_interval: (setup == Setup::Fsync).then(|| "always".to_owned()),
                extra_config: if replicas > 1 { cluster(&routes, number) } else { String::new() },
                ..Options::new(folder.path().join(format!("nats-{number}")))
            })
        });
        let servers = try_join_all(starting).await?;
        Ok(Self { servers, folder, replicas })
    }

    /// Creates what Pelton would create itself.
    async fn prepare(&self) -> anyhow::Result<()> {
        let nats = self.nats().await?;
        let ledger = Name::new(LEDGER)?;
        let route = CommandRoute {
            template: EntityTemplate::parse("ledger.{account}")?,
            tokens: BTreeMap::from([("account".to_owned(), "/account".to_owned())]),
            partitions: Partitions::ONE,
        };
        let commands = ["deposit", "deposit-in-thirds"]
            .map(|name| CommandType::new(name).map(|r#type| (r#type, route.clone())));
        let topology = Topology {
            replicas: self.replicas,
            streams: vec![EventStream {
                name: ledger.clone(),
                subjects: vec!["ledger.>".to_owned()],
                limits: StreamLimits::default(),
            }],
            handlers: vec![HandlerConsumer {
                id: ledger,
                partitions: Partitions::ONE,
                commands: commands.into_iter().collect::<Result<_, _>>()?,
                max_ack_pending: MAX_ACK_PENDING,
            }],
            views: vec![View { name: Name::new(ACCOUNTS)?, version: 1 }],
            sagas: vec![Name::new(BONUS)?],
            ..Topology::default()
        };
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = topology.ensure(&nats).await {
            if Instant::now() > deadline {
                return Err(error.into());
            }
            sleep(Duration::from_millis(250)).await;
        }
        nats.close().await?;
        Ok(())
    }

    /// Has the consumer of commands give them to whoever asks, and not to one client at a time.
    pub(crate) async fn open_to_all(&self) -> anyhow::Result<()> {
        let jetstream = jetstream::new(self.connect().await?);
        let mut consumer: PullConsumer = jetstream.get_consumer_from_stream(LEDGER, COMMANDS).await?;
        let config = consumer.info().await?.config.clone();
        let config = pull::Config::try_from_consumer_config(config).map_err(|e| anyhow::anyhow!(e))?;
        jetstream.delete_consumer_from_stream(LEDGER, COMMANDS).await?;
        let config = pull::Config {
            priority_policy: PriorityPolicy::None,
            priority_groups: Vec::new(),
            priority_timeout: Duration::ZERO,
            ..config
        };
        jetstream.create_consumer_on_stream(config, COMMANDS).await?;
        Ok(())
    }

    /// Has the server give out no commands: those of the saga stay in the log.
    pub(crate) async fn hold_commands(&self) -> anyhow::Result<()> {
        let jetstream = jetstream::new(self.connect().await?);
        let until = serde_json::json!({ "pause_until": "2099-01-01T00:00:00Z" });
        let subject = format!("CONSUMER.PAUSE.{COMMANDS}.{LEDGER}");
        let paused: serde_json::Value = jetstream.request(subject, &until).await?;
        anyhow::ensure!(paused["paused"] == true, "the consumer is not paused: {paused}");
        Ok(())
    }

    /// Stops the first server and starts it again.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        let server = self.servers.first_mut().context("there is no server")?;
        server.stop().await?;
        Ok(server.restart().await?)
    }

    /// The URLs for clients.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    pub(crate) fn replicas(&self) -> u8 {
        self.replicas
    }

    /// A folder that is removed with the servers.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection of the benchmark itself.
    pub(crate) async fn connect(&self) -> anyhow::Result<async_nats::Client> {
        let urls: Vec<ServerAddr> = self.urls().iter().map(|url| url.parse()).collect::<Result<_, _>>()?;
        async_nats::connect(urls).await.context("no connection to NATS")
    }

    /// A connection of Pelton's own kind.
    pub(crate) async fn nats(&self) -> anyhow::Result<Nats> {
        let settings = ConnectSettings { urls: self.urls(), ..ConnectSettings::new("") };
        Ok(Nats::connect(&settings).await?)
    }

    /// The processor time that the servers have used together.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.servers.iter().filter_map(Server::pid).map(process::cpu).sum()
    }
}

/// The default of a host.
pub(crate) const MAX_ACK_PENDING: u32 = 1024;

fn cluster(routes: &[u16], number: usize) -> String {
    let all: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    format!(
        "cluster {{\n  name: bench\n  listen: \"127.0.0.1:{}\"\n  routes: [{}]\n}}\n",
        routes[number],
        all.join(", ")
    )
}

fn free_port() -> anyhow::Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}

//! Servers, hosts, and the proxies between them.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, bail};
use fastrand::Rng;
use pelton_core::partition::Partitions;
use pelton_nats::Server;
use pelton_nats::server::Options;
use serde_json::json;
use tempfile::TempDir;

use super::host::Host;
use super::proxy::Proxy;
use crate::place;

/// The number of hosts that share the work.
pub(super) const HOSTS: usize = 2;
/// The event stream of the payment example.
pub(super) const EVENTS: &str = "payment";
/// The handler of the payment example.
pub(super) const HANDLER: &str = "order";
/// Its partitions, which the hosts share out.
const PARTITIONS: u16 = 4;

pub(super) fn partitions() -> Partitions {
    Partitions::new(PARTITIONS).unwrap_or(Partitions::ONE)
}

/// Its consumers.
pub(super) fn consumers() -> impl Iterator<Item = String> {
    partitions().all().map(|partition| partition.of_name(HANDLER))
}
/// A range below the ports that outgoing connections get, so that no connection takes a port while its owner is down.
const PORTS: std::ops::Range<u16> = 18_000..32_000;

/// All processes of a run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) servers: Vec<Server>,
    pub(super) hosts: Vec<Host>,
    /// The proxies, by host and server.
    pub(super) proxies: Vec<Vec<Proxy>>,
    pub(super) folder: TempDir,
}

impl World {
    /// Opens one server or a cluster, with hosts behind proxies. The hosts are not started.
    pub(super) async fn open(replicas: usize, swaps: bool, random: &mut Rng) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pelton-crash-").tempdir().context("no folder")?;
        let mut ports = Ports(Vec::new());
        let routes: Vec<u16> = (0..replicas).map(|_| ports.free()).collect::<Result<_, _>>()?;
        let mut servers = Vec::new();
        for number in 0..replicas {
            let options = Options {
                binary: place::nats_server(),
                port: ports.free()?,
                name: format!("crash-{number}"),
                extra_config: if replicas > 1 { cluster(&routes, number) } else { String::new() },
                ..Options::new(folder.path().join(format!("nats-{number}")))
            };
            servers.push(Server::start(options).await.context("nats-server does not start")?);
        }
        let (mut hosts, mut proxies) = (Vec::new(), Vec::new());
        for number in 0..HOSTS {
            let mut own = Vec::new();
            for server in &servers {
                own.push(Proxy::start(ports.free()?, server.port()).await?);
            }
            let urls = own.iter().map(|proxy| format!("nats://127.0.0.1:{}", proxy.port)).collect();
            let host = Host::new(folder.path(), number, ports.free()?, urls, random.fork());
            fs::write(host.config(), config(replicas, swaps)?).context("no configuration")?;
            hosts.push(host);
            proxies.push(own);
        }
        Ok(Self { servers, hosts, proxies, folder })
    }

    /// The addresses of the gateways.
    pub(super) fn gateways(&self) -> Vec<String> {
        self.hosts.iter().map(|host| format!("http://127.0.0.1:{}", host.port)).collect()
    }

    /// The URLs of the servers themselves, which bypass the proxies.
    pub(super) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// Keeps all files on disk and returns their place.
    pub(super) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// The configuration of a cluster. It does not tell clients of the other servers, because they would bypass the
/// proxies.
fn cluster(routes: &[u16], number: usize) -> String {
    let all: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    format!(
        "cluster {{\n  name: crash\n  listen: \"127.0.0.1:{}\"\n  no_advertise: true\n  routes: [{}]\n}}\n",
        routes[number],
        all.join(", ")
    )
}

/// The payment example with short times, so that much happens within a short run, and a cache that is too small for the
/// entities in use, so that they are loaded again and again, also from snapshots.
fn config(replicas: usize, swaps: bool) -> anyhow::Result<String> {
    let original = fs::read_to_string(place::root().join("plugins/payment/pelton.toml"))?;
    let compiled = place::root().join("target/tmp/crash-compiled");
    fs::create_dir_all(place::root().join("target/tmp"))?;
    Ok(format!(
        "[nats]\nreplicas = {replicas}\nduplicate-window = \"1s\"\nrequest-timeout = \"2s\"\n\
         [commands]\nack-wait = \"2s\"\ndecide-ahead-from = 2\n\
         [retry]\nmax-delay = \"1s\"\n[cache]\nentities = 4\n[wasm]\ncompiled-code = {compiled}\n{rest}\n\
         [handlers.order.snapshots]\nevents = 3\n",
        compiled = json!(compiled),
        rest = original
            .replace("../../target/plugins", &place::plugins()?.display().to_string())
            .replace(
                "[plugins.order]\n",
                if swaps { "[plugins.order]\nsource = \"store\"\n" } else { "[plugins.order]\n" }
            )
            .replace("[handlers.order]\n", &format!("[handlers.order]\npartitions = {PARTITIONS}\n"))
    ))
}

/// Unused ports.
struct Ports(Vec<u16>);

impl Ports {
    fn free(&mut self) -> anyhow::Result<u16> {
        for _ in 0..1000 {
            let port = fastrand::u16(PORTS);
            if !self.0.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
                self.0.push(port);
                return Ok(port);
            }
        }
        bail!("no free port in {PORTS:?}")
    }
}

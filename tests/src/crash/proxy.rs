//! A TCP proxy that closes connections, delays data, or loses answers.

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The most bytes that are passed on at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// What happens to data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The proxy passes it on.
    Open,
    /// The proxy holds it back.
    Paused,
    /// The proxy passes requests on and loses answers. The rest of the stream is garbage: cut the connection
    /// afterwards.
    Deaf,
    /// The proxy accepts no connections.
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct State {
    flow: Flow,
    cuts: u64,
}

/// A proxy in front of one port of this machine. Dropping it closes all connections.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy on `port` in front of `upstream`. 0 chooses a free port.
    pub async fn start(port: u16, upstream: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("the proxy has no port")?;
        let port = listener.local_addr().context("the proxy has no port")?.port();
        let (state, states) = watch::channel(State { flow: Flow::Open, cuts: 0 });
        Ok(Self { port, state, task: tokio::spawn(accept(listener, upstream, states)) })
    }

    /// Closes every connection.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Changes what happens to data.
    pub fn set(&self, flow: Flow) {
        self.state.send_modify(|state| {
            let garbage = state.flow == Flow::Deaf && flow != Flow::Deaf;
            state.cuts += u64::from(garbage);
            state.flow = flow;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: u16, states: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if states.borrow().flow != Flow::Closed {
            connections.spawn(connect(client, upstream, states.clone()));
        }
    }
}

async fn connect(client: TcpStream, upstream: u16, mut states: watch::Receiver<State>) {
    let born = states.borrow().cuts;
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    // Sends small messages at once, as without a proxy.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (requests, answers) = (states.clone(), states.clone());
    tokio::select! {
        _ = states.wait_for(|state| state.cuts != born || state.flow == Flow::Closed) => {}
        () = pass(from_client, to_server, requests, |_| true) => {}
        () = pass(from_server, to_client, answers, |flow| flow != Flow::Deaf) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut states: watch::Receiver<State>,
    passes: impl Fn(Flow) -> bool,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let Ok(flow) = states.wait_for(|state| state.flow != Flow::Paused).await.map(|state| state.flow)
        else {
            return;
        };
        if passes(flow) && to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

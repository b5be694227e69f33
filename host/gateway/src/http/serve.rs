//! The server around the service, with bounded connections and a deadline for its end.
//!
//! `axum::serve` bounds neither connections nor the time of a request's head, and leaves requests that are pending at
//! the deadline to the end of the process. So the loop is written out here, on hyper.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::state::Settings;

/// The largest head of a request, in bytes; hyper answers 431 to a larger one.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The pause after the listener failed, most likely for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// See [`crate::Gateway::serve`].
pub(crate) async fn serve(
    router: Router,
    settings: &Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> usize {
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    accept(&router, settings, listener, &mut pin!(shutdown), &mut connections, &stop).await;

    info!(connections = connections.len(), "no more requests are accepted; finishing what is under way");
    stop.cancel();
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(drain, finish).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    warn!(connections = cut, "the deadline has passed; connections are cut off");
    connections.shutdown().await;
    cut
}

/// Accepts connections until it is told to stop, and closes the listener.
async fn accept(
    router: &Router,
    settings: &Settings,
    listener: TcpListener,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
    connections: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(settings.head_timeout).max_header_size(MAX_HEAD_BYTES);
    let places = Arc::new(Semaphore::new(settings.max_connections));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let (stream, _) = listener.accept().await?;
            io::Result::Ok((place, stream))
        };
        tokio::select! {
            () = &mut *shutdown => return,
            Some(ended) = connections.join_next() => report(ended),
            accepted = next => match accepted {
                Ok((place, stream)) => {
                    let connection = connection(http.clone(), stream, router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // The client left before its connection was accepted; the listener did not fail.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Serves one connection until the client leaves, or until it is told to stop and has answered the requests that it has
/// read.
async fn connection(http: http1::Builder, stream: TcpStream, router: Router, stop: CancellationToken) {
    // Answers are small and written at once, so waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY could not be set");
    }
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection's task broke");
    }
}

//! The connection that reads messages which other clients have stored.
//!
//! async-nats 0.51 drops a connection when it receives a message whose headers it cannot read, and its task panics at a
//! bare carriage return in a header value. So messages of other clients never come over the host's main connection.
//! This one may be lost at any time. It is opened again at the next read, and a reader that lost an answer with it
//! reads the message as JSON from the stream's leader.

use std::sync::{Arc, PoisonError, RwLock};

use pelton_core::store::Unavailable;

use super::Nats;

/// The connection for reads, once there was a read.
#[derive(Default)]
pub(super) struct Reading {
    current: RwLock<Option<Arc<Nats>>>,
    /// Held by the task that opens the connection.
    opening: tokio::sync::Mutex<()>,
}

impl Reading {
    fn current(&self) -> Option<Arc<Nats>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, with: Option<Arc<Nats>>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = with;
    }

    pub(super) async fn close(&self) {
        if let Some(nats) = self.current() {
            // The connection was closed before, or it is broken. Either way nothing remains of it.
            let _ = nats.client.drain().await;
            self.replace(None);
        }
    }
}

impl Nats {
    /// The connection for messages that other clients may have stored. Opens it if there is none.
    pub(crate) async fn reading(&self) -> Result<Arc<Self>, Unavailable> {
        if let Some(nats) = self.reading.current() {
            return Ok(nats);
        }
        let _opening = self.reading.opening.lock().await;
        if let Some(nats) = self.reading.current() {
            return Ok(nats);
        }
        let nats = Arc::new(self.open_another("reads").await?);
        self.reading.replace(Some(nats.clone()));
        Ok(nats)
    }

    /// Drops this connection, which is broken, so that the next read opens another.
    pub(crate) fn give_up_reading(&self, broken: &Arc<Self>) {
        if self.reading.current().is_some_and(|current| Arc::ptr_eq(&current, broken)) {
            tracing::warn!(
                "the connection for reads broke, perhaps over a message whose headers cannot be read; opening another"
            );
            self.reading.replace(None);
        }
    }

    /// Opens a separate connection within the time for one answer, and waits until it has counted itself as up.
    pub(crate) async fn open_another(&self, purpose: &str) -> Result<Self, Unavailable> {
        let open = Box::pin(async {
            let nats = self.another(purpose).await.map_err(|error| error.to_string())?;
            let _ = nats.connects().wait_for(|count| *count > 0).await;
            Ok(nats)
        });
        let opened = tokio::time::timeout(self.request_timeout(), open).await;
        opened.unwrap_or_else(|_| Err(format!("no server within {:?}", self.request_timeout()))).map_err(
            |cause| Unavailable { doing: format!("opening a connection to NATS for {purpose}"), cause },
        )
    }
}

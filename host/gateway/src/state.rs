//! What every request shares: the bounds, the routes, and where commands and views are.

use std::sync::Arc;
use std::time::Duration;

use pelton_core::intake::Intake;

use crate::routes::Routes;

/// The bounds of the gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// How long an outcome is waited for when the client does not say.
    pub default_wait: Duration,
    /// The longest that a client may ask to wait.
    pub max_wait: Duration,
    /// How long a client may take to send a request's head, and how long its connection may lie idle.
    pub head_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// The most connections at a time; more wait to be accepted.
    pub max_connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body_bytes: 256 * 1024,
            default_wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(60),
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            max_connections: 4096,
        }
    }
}

/// What every request shares.
pub(crate) struct Shared<I, V> {
    pub(crate) settings: Settings,
    pub(crate) routes: Routes,
    pub(crate) intake: Arc<Intake>,
    pub(crate) ingress: Arc<I>,
    pub(crate) views: Arc<V>,
}

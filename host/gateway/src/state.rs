//! The state that all requests share: the bounds, the routes, the ingress and the views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pelton_core::id::{CommandType, Name};
use pelton_core::intake::Intake;
use tokio::sync::watch;

use crate::routes::Routes;

/// The bounds of the gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The time to wait for an outcome if the client names none.
    pub default_wait: Duration,
    /// The longest time that a client may ask to wait.
    pub max_wait: Duration,
    /// The longest time for a request's head, and for an idle connection.
    pub head_timeout: Duration,
    /// The longest time for a request's body.
    pub body_timeout: Duration,
    /// The most connections at a time. Further ones wait to be accepted.
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

/// The state that all requests share.
pub(crate) struct Shared<I, V> {
    pub(crate) settings: Settings,
    pub(crate) routes: Routes,
    pub(crate) intake: Arc<Intake>,
    pub(crate) ingress: Arc<I>,
    pub(crate) views: Arc<V>,
    pub(crate) plugins: PluginState,
}

/// What the gateway has to know of the plugins of its host. It changes with their versions.
#[derive(Debug, Clone)]
pub struct PluginState {
    /// The plugins that should run another version, and why they do not: the host is not ready then.
    pub unfit: watch::Receiver<BTreeMap<Name, String>>,
    /// The commands that no running version takes yet: they are refused.
    pub unserved: watch::Receiver<BTreeSet<CommandType>>,
}

//! The gateway as a whole: its settings, and which path leads where.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware;
use axum::routing::{get, on};
use axum::{Json, Router};
use pelton_core::client::{Ingress, ViewReader};
use pelton_core::intake::Intake;
use serde_json::json;
use tokio::net::TcpListener;

use crate::refusal::Refusal;
use crate::routes::Routes;
use crate::{commands, serve, trace, views};

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
pub(crate) struct Shared<G, V> {
    pub(crate) settings: Settings,
    pub(crate) routes: Routes,
    pub(crate) intake: Arc<Intake>,
    pub(crate) gate: Arc<G>,
    pub(crate) views: Arc<V>,
}

/// Answers HTTP requests.
#[derive(Debug, Clone)]
pub struct Gateway {
    router: Router,
    settings: Settings,
}

impl Gateway {
    /// A gateway that hands commands to `gate` after `intake` has found their entity, and reads views from `views`.
    #[must_use]
    pub fn new<G: Ingress, V: ViewReader>(
        settings: Settings,
        routes: Routes,
        intake: Arc<Intake>,
        gate: Arc<G>,
        views: Arc<V>,
    ) -> Self {
        let shared = Arc::new(Shared { settings: settings.clone(), routes, intake, gate, views });
        Self { router: router(shared), settings }
    }

    /// The service without a server around it.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Answers requests until `shutdown` resolves; then accepts no more, finishes what is under way, and cuts off what
    /// is left when `drain` has passed. Answers how many connections were cut off.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
        drain: Duration,
    ) -> usize {
        serve::serve(self.router, &self.settings, listener, shutdown, drain).await
    }
}

fn router<G: Ingress, V: ViewReader>(shared: Arc<Shared<G, V>>) -> Router {
    let mut router = Router::new()
        .route("/", get(index::<G, V>))
        .route("/healthz", get(async || Json(json!({ "status": "up" }))))
        .route("/readyz", get(ready::<G, V>))
        .route("/commands/{id}", get(commands::status::<G, V>))
        .route("/views/{view}", get(views::list::<G, V>))
        .route("/views/{view}/{*key}", get(views::value::<G, V>));
    for route in shared.routes.commands() {
        let command = route.command().clone();
        let submit = async move |State(shared): State<Arc<Shared<G, V>>>, request: Request| {
            commands::submit(&shared, command, request).await
        };
        router = router.route(route.path(), on(route.filter(), submit));
    }
    router
        .fallback(async || Refusal::UnknownRoute)
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(middleware::from_fn(trace::trace))
        .with_state(shared)
}

async fn ready<G: Ingress, V: ViewReader>(
    State(shared): State<Arc<Shared<G, V>>>,
) -> Result<Json<serde_json::Value>, Refusal> {
    shared.gate.ready().await.map_err(Refusal::NotReady)?;
    Ok(Json(json!({ "status": "ready" })))
}

/// What there is, for people who open the address in a browser.
async fn index<G: Ingress, V: ViewReader>(
    State(shared): State<Arc<Shared<G, V>>>,
) -> Json<serde_json::Value> {
    let commands: Vec<_> = (shared.routes.commands().iter())
        .map(|route| json!({ "method": route.method(), "path": route.path(), "command": route.command() }))
        .collect();
    let views: Vec<_> = shared.routes.views().iter().map(|view| format!("/views/{view}")).collect();
    Json(json!({
        "name": "pelton",
        "version": env!("CARGO_PKG_VERSION"),
        "commands": commands,
        "views": views,
        "outcomes": "/commands/{id}",
        "health": ["/healthz", "/readyz"],
    }))
}

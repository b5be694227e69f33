//! The gateway as a whole: its paths and their handlers.

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

use crate::http::{serve, trace};
use crate::refusal::Refusal;
use crate::routes::Routes;
use crate::state::{PluginState, Settings, Shared};
use crate::{commands, views};

/// Answers HTTP requests.
#[derive(Debug, Clone)]
pub struct Gateway {
    router: Router,
    settings: Settings,
}

impl Gateway {
    /// A gateway that passes commands to `ingress` after `intake` has found their entity, and reads views from `views`.
    #[must_use]
    pub fn new<I: Ingress, V: ViewReader>(
        settings: Settings,
        routes: Routes,
        intake: Arc<Intake>,
        ingress: Arc<I>,
        views: Arc<V>,
        plugins: PluginState,
    ) -> Self {
        let shared = Arc::new(Shared { settings: settings.clone(), routes, intake, ingress, views, plugins });
        Self { router: router(shared), settings }
    }

    /// The service without a server around it.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Answers requests until `shutdown` resolves. Then it accepts no more, finishes pending requests, and cuts off the
    /// connections that are left after `drain`. Returns the number of connections that were cut off.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
        drain: Duration,
    ) -> usize {
        serve::serve(self.router, &self.settings, listener, shutdown, drain).await
    }
}

fn router<I: Ingress, V: ViewReader>(shared: Arc<Shared<I, V>>) -> Router {
    let mut router = Router::new()
        .route("/", get(index::<I, V>))
        .route("/healthz", get(alive::<I, V>))
        .route("/readyz", get(ready::<I, V>))
        .route("/commands/{id}", get(commands::status::<I, V>))
        .route("/views/{view}", get(views::list::<I, V>))
        .route("/views/{view}/{*key}", get(views::value::<I, V>));
    for route in shared.routes.commands() {
        let command = route.command().clone();
        let submit = async move |State(shared): State<Arc<Shared<I, V>>>, request: Request| {
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

/// For a supervisor that restarts a broken host. An unavailable store is not a reason to restart: the host waits for
/// it.
async fn alive<I: Ingress, V: ViewReader>(
    State(shared): State<Arc<Shared<I, V>>>,
) -> Result<Json<serde_json::Value>, Refusal> {
    shared.ingress.alive().await.map_err(Refusal::Broken)?;
    Ok(Json(json!({ "status": "up" })))
}

/// For a load balancer that sends requests to several hosts: whether this one accepts commands now.
async fn ready<I: Ingress, V: ViewReader>(
    State(shared): State<Arc<Shared<I, V>>>,
) -> Result<Json<serde_json::Value>, Refusal> {
    shared.ingress.ready().await.map_err(Refusal::NotReady)?;
    if let Some((plugin, why)) = shared.plugins.unfit.borrow().iter().next() {
        return Err(Refusal::Unfit { plugin: plugin.to_string(), why: why.clone() });
    }
    Ok(Json(json!({ "status": "ready" })))
}

/// The paths of the gateway, for people who open the address in a browser.
async fn index<I: Ingress, V: ViewReader>(
    State(shared): State<Arc<Shared<I, V>>>,
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

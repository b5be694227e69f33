//! One span for each request, with its method, path and result.

use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument, debug, info_span, warn};
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is accepted from a client, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Runs a request in its span. The answer carries the request's id in `X-Request-Id`, so that it can be found in the
/// logs: the client's id if it is usable, otherwise a fresh one.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let span = info_span!(
        "request",
        request_id = id,
        method = %request.method(),
        path = request.uri().path(),
        command_id = Empty,
        status = Empty,
        duration_ms = Empty,
    );
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    span.record("duration_ms", started.elapsed().as_secs_f64() * 1000.0);
    span.in_scope(|| match response.status().is_server_error() {
        true => warn!("answered"),
        false => debug!("answered"),
    });
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let usable = |id: &&str| {
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
    };
    given.filter(usable).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

//! Views for clients: one value, or values in the order of their keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pelton_core::client::{ViewReader, ViewRow};
use pelton_core::contract::MAX_KEY_BYTES;
use pelton_core::id::Sequence;
use pelton_core::projection::view::ViewKey;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::refusal::{POSITION, Refusal};
use crate::state::Shared;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// `GET /views/{view}/{key}`: the value as the plugin wrote it.
pub(crate) async fn value<I, V: ViewReader>(
    State(shared): State<Arc<Shared<I, V>>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((view, key)) = path.map_err(|_| Refusal::Path)?;
    let Some(name) = shared.routes.view(&view) else {
        return Err(Refusal::UnknownView { view });
    };
    ViewKey::new(&key).map_err(|_| too_long("key", &key))?;
    let (value, position) = shared.views.get(name, &key).await.map_err(|cause| Refusal::unread(&cause))?;
    let Some(value) = value else {
        return Err(Refusal::UnknownKey { view, key, position });
    };
    let media_type = if json(&value).is_some() { "application/json" } else { "application/octet-stream" };
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(media_type)), (POSITION, position.0.into())];
    Ok((headers, value).into_response())
}

#[derive(Serialize)]
struct Page<'a> {
    rows: Vec<Row<'a>>,
    next: Option<&'a str>,
    position: Sequence,
}

/// A value that is not JSON is base64 under a name of its own, as CloudEvents does with data.
#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(rename = "valueBase64", skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'a> Row<'a> {
    fn of(row: &'a ViewRow) -> Self {
        let value = json(&row.value);
        Self { key: &row.key, value, base64: value.is_none().then(|| STANDARD.encode(&row.value)) }
    }
}

/// `GET /views/{view}?prefix=&after=&limit=`.
pub(crate) async fn list<I, V: ViewReader>(
    State(shared): State<Arc<Shared<I, V>>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let Path(view) = path.map_err(|_| Refusal::Path)?;
    let Some(name) = shared.routes.view(&view) else {
        return Err(Refusal::UnknownView { view });
    };
    let Selection { prefix, after, limit } = Selection::read(query.as_deref().unwrap_or_default())?;
    let page = shared
        .views
        .list(name, &prefix, after.as_deref(), limit)
        .await
        .map_err(|cause| Refusal::unread(&cause))?;
    let rows = page.rows.iter().map(Row::of).collect();
    let body = Page { rows, next: page.next.as_deref(), position: page.position };
    Ok(([(POSITION, HeaderValue::from(page.position.0))], Json(body)).into_response())
}

/// The rows that a client asks for.
#[derive(Debug)]
struct Selection {
    prefix: String,
    after: Option<String>,
    limit: usize,
}

impl Selection {
    /// Reads a query strictly, because a misspelt `prefix` would return every row.
    fn read(query: &str) -> Result<Self, Refusal> {
        let bad =
            |name: &str, cause: &str| Refusal::Parameter { name: name.to_owned(), cause: cause.to_owned() };
        let (mut prefix, mut after, mut limit) = (None, None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().map_err(|_| bad(name, "is not UTF-8"))?;
            let place = match name {
                "prefix" => &mut prefix,
                "after" => &mut after,
                "limit" => &mut limit,
                _ => return Err(bad(name, "is not known here; use `prefix`, `after` and `limit`")),
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(bad(name, "is given twice"));
            }
        }
        for (name, key) in [("prefix", &prefix), ("after", &after)] {
            if let Some(key) = key.as_ref().filter(|key| key.len() > MAX_KEY_BYTES) {
                return Err(too_long(name, key));
            }
        }
        let limit = match limit {
            None => DEFAULT_LIMIT,
            Some(text) => (text.parse().ok())
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| bad("limit", &format!("must be a whole number from 1 to {MAX_LIMIT}")))?,
        };
        Ok(Self { prefix: prefix.unwrap_or_default(), after: after.filter(|key| !key.is_empty()), limit })
    }
}

fn too_long(name: &str, key: &str) -> Refusal {
    let cause = format!("has {} bytes; keys have 1 to {MAX_KEY_BYTES}", key.len());
    Refusal::Parameter { name: name.to_owned(), cause }
}

/// The value as JSON, if it is JSON.
fn json(value: &Bytes) -> Option<&RawValue> {
    serde_json::from_slice(value).ok()
}

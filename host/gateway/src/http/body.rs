//! The body of a command's request: read within bounds, then taken apart without changing the bytes of `data`.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// The bytes of a too large body that are read and discarded. Closing a connection while the client is still sending
/// resets it, and the client may never see the answer.
const DISCARDED_BYTES: usize = 1024 * 1024;

/// Reads a body of at most `max_bytes`.
pub(crate) async fn read(body: Body, max_bytes: usize, timeout: Duration) -> Result<Bytes, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes.saturating_add(DISCARDED_BYTES) {
        return Err(Refusal::BodyTooLarge { max_bytes });
    }
    tokio::time::timeout(timeout, collect(body, max_bytes))
        .await
        .unwrap_or(Err(Refusal::BodyTooSlow { timeout }))
}

async fn collect(body: Body, max_bytes: usize) -> Result<Bytes, Refusal> {
    let mut kept = BytesMut::new();
    let mut seen = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::BodyCut)?;
        seen += chunk.len();
        if seen <= max_bytes {
            kept.extend_from_slice(&chunk);
        } else if seen > max_bytes.saturating_add(DISCARDED_BYTES) {
            break;
        }
    }
    if seen > max_bytes { Err(Refusal::BodyTooLarge { max_bytes }) } else { Ok(kept.freeze()) }
}

/// The content of the body of a command's request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// The bytes of the member `data`, as they were sent.
    pub(crate) data: Bytes,
    /// The command's id.
    pub(crate) id: Option<String>,
    /// The process that the command belongs to.
    pub(crate) correlation_id: Option<String>,
}

impl Envelope {
    /// Reads `{"data": …, "id": …, "correlationId": …}`. Other members are refused: a misspelt `id` would silently cost
    /// the client its protection against executing a command twice.
    pub(crate) fn read(body: &Bytes) -> Result<Self, serde_json::Error> {
        let Object(members) = serde_json::from_slice(body)?;
        Ok(Self {
            data: body.slice_ref(members.data.get().as_bytes()),
            id: members.id,
            correlation_id: members.correlation_id,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    id: Option<String>,
    correlation_id: Option<String>,
}

/// The members of a JSON object. What serde derives would also accept an array of their values.
struct Object<'a>(Members<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the member `data`")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Members::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Visitor).map(Object)
    }
}

//! Where the messages lie that a consumer has delivered and that may not be settled.

use bytes::Bytes;
use pelton_core::id::Sequence;
use pelton_core::store::Unavailable;
use serde::Deserialize;

use crate::connection::Nats;
use crate::wire;

/// A range of a stream. Messages of others lie in it too, and messages that are settled.
pub(super) struct Delivered {
    /// What the consumer takes; none: everything.
    pub(super) filters: Vec<String>,
    /// The first that may not be settled.
    pub(super) from: Sequence,
    /// The last that was delivered.
    pub(super) to: Sequence,
}

#[derive(Deserialize)]
struct Info {
    config: Config,
    delivered: Position,
    ack_floor: Position,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    filter_subject: String,
    #[serde(default)]
    filter_subjects: Vec<String>,
}

#[derive(Deserialize)]
struct Position {
    stream_seq: u64,
}

impl Delivered {
    pub(super) async fn by(nats: &Nats, stream: &str, consumer: &str) -> Result<Self, Unavailable> {
        let doing = format!("looking at consumer {consumer} of stream {stream}");
        let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}");
        let info = wire::api::<Info>(nats, &subject, Bytes::new(), &doing).await?;
        let Info { config, delivered, ack_floor } =
            info.map_err(|error| Unavailable { doing, cause: error.to_string() })?;
        let mut filters = config.filter_subjects;
        filters.push(config.filter_subject);
        filters.retain(|filter| !filter.is_empty());
        Ok(Self { filters, from: Sequence(ack_floor.stream_seq + 1), to: Sequence(delivered.stream_seq) })
    }
}

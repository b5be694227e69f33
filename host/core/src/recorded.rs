//! The one conversion from a stored message to a recorded event.

use std::sync::Arc;

use bytes::Bytes;

use crate::cloudevents::{self, CloudEventError};
use crate::consumer::FeedItem;
use crate::id::Sequence;
use crate::message::{Headers, Incoming, RecordedEvent};
use crate::time::Timestamp;

/// Reads the event at this position of a stream, given its name in the configuration.
pub fn read(
    stream: &Arc<str>,
    sequence: Sequence,
    stored_at: Timestamp,
    headers: &Headers,
    payload: &Bytes,
) -> Result<RecordedEvent, CloudEventError> {
    let event = cloudevents::decode(headers, payload)?;
    Ok(RecordedEvent { event, stream: stream.clone(), sequence, part: 0, recorded_at: stored_at })
}

/// Reads the event in a message of a stream, given the stream's name in the configuration.
pub fn of_message(stream: &Arc<str>, message: &Incoming) -> Result<RecordedEvent, CloudEventError> {
    read(stream, message.sequence, message.stored_at, &message.headers, &message.payload)
}

/// Reads the event in an item of a feed. The error says why the item is not an event.
pub fn of_item(stream: &Arc<str>, item: &FeedItem) -> Result<RecordedEvent, String> {
    match &item.unreadable {
        Some(why) => Err(why.clone()),
        None => of_message(stream, &item.message).map_err(|error| error.to_string()),
    }
}

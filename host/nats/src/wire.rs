//! The wire protocol: headers, publishes with their answers, requests to the JetStream API, and conditional writes.

mod batch;
mod conditional;
mod group_commit;
mod headers;
mod pace;
mod read;
mod request;
mod worker;

pub(crate) use batch::{BatchMessage, MAX_BATCH_MESSAGES, header_bytes, publish_batch};
pub(crate) use conditional::{ConditionalWrite, Stored, expecting};
pub use group_commit::Gathered;
pub(crate) use group_commit::GroupCommit;
#[cfg(test)]
pub(crate) use headers::{from_wire, is_servers_own};
pub(crate) use headers::{header, header_map, incoming, to_wire};
pub(crate) use read::{
    Lasts, RawMessage, StoredMessage, delete, direct_at, direct_from, direct_last, direct_lasts, first_since,
    leader_at, leader_last, leader_next, page,
};
pub(crate) use request::{ApiError, PublishError, api, fire, is_jetstream_off, nanoseconds, publish, takes};

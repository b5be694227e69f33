//! Views in key-value buckets: written by projections, read by the gateway.

pub(crate) mod bucket;
mod reader;
mod store;

pub use bucket::Bucket;
pub(crate) use bucket::DELETED;
pub use reader::{BucketReader, MAX_LISTS, MAX_PAGE_BYTES, MAX_PAGE_KEYS};
pub use store::{BucketViews, MAX_ROWS};

//! Commands: the way in, their log, the entities that they end at, and how they ended.

mod append;
mod ingress;
mod load;
pub mod log;
mod reply;
mod snapshots;
mod status;
mod store;
mod trace;

pub use ingress::{MAX_WAITERS, SOURCE, StreamIngress};
pub(crate) use load::cause_of;
pub use status::Commands;
pub use store::{StoreSettings, StreamStore};
pub use trace::{EntityEntry, TracedCommand};

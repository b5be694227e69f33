//! Commands: the way in, the store of what follows from them, and those that no handler takes.

mod append;
mod ingress;
mod load;
mod look_up;
pub(crate) mod register;
mod reply;
mod snapshots;
mod store;
pub mod unroutable;

pub use ingress::{MAX_WAITERS, SOURCE, StreamIngress};
pub use store::{StoreSettings, StreamStore};

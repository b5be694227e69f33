//! Projections: views folded from a stream's events.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::EventMeta;

/// A view: values under keys, each the fold of the events that touch its key.
///
/// The host sees to it that each event is applied once and in stream order. Both functions are pure: the view must
/// come out the same when it is built again from the first event on.
pub trait Projection: 'static {
    /// The events that it reads: an enum whose variants are the event types. The host leaves out all others.
    type Event: DeserializeOwned;

    /// One value of the view. It is stored as JSON and served as stored.
    type View: Serialize + DeserializeOwned;

    /// The version of the form of the view. Under a new one the view is built anew, beside the old one.
    const VIEW_VERSION: u32 = 1;

    /// The keys that the event touches, at most 16; none where the view does not care.
    fn keys(event: &Self::Event, meta: &EventMeta) -> Vec<String>;

    /// The value under `key` after the event, given the value before it. `None` means that there is no value.
    ///
    /// An event that cannot be applied may panic: the host sets it aside with the panic's message, and holds back the
    /// later events of the same keys until somebody has looked.
    fn apply(
        key: &str,
        view: Option<Self::View>,
        event: &Self::Event,
        meta: &EventMeta,
    ) -> Option<Self::View>;
}

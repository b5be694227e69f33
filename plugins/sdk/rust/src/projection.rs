//! Projections: views folded from a stream's events.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::EventMeta;

/// A view: values under keys, each the fold of the events that touch its key.
///
/// The host applies each event once and in stream order. Both functions are pure: a view that is built again from the
/// first event must come out the same.
pub trait Projection: 'static {
    /// The events that the plugin reads: an enum whose variants are the event types. The host skips all others.
    type Event: DeserializeOwned;

    /// One value of the view. It is stored as JSON and served as stored.
    type View: Serialize + DeserializeOwned;

    /// The version of the form of the view. For a new version the host builds the view anew, beside the old one.
    const VIEW_VERSION: u32 = 1;

    /// The keys that the event touches, at most 16. An empty list means that the event does not touch the view.
    fn keys(event: &Self::Event, meta: &EventMeta) -> Vec<String>;

    /// The value under `key` after the event, given the value before it. `None` means that there is no value.
    ///
    /// An event that cannot be applied may panic. The host sets it aside with the panic's message, and parks the later
    /// events of the same keys until an operator retries or drops it.
    fn apply(
        key: &str,
        view: Option<Self::View>,
        event: &Self::Event,
        meta: &EventMeta,
    ) -> Option<Self::View>;
}

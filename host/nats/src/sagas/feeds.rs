//! The feeds of a saga: its events, and the inputs of its own.

use pelton_core::id::Name;
use pelton_core::message::EventType;
use pelton_core::saga::ports::SagaFeeds;
use pelton_core::subject::EntityTemplate;
use tokio_util::sync::CancellationToken;

use crate::connection::Nats;
use crate::consumer::StreamFeed;
use crate::subjects;

/// The [`SagaFeeds`] of one saga.
#[derive(Debug, Clone)]
pub struct SagaStreamFeeds {
    nats: Nats,
    /// The stream of its events, with the subjects that it takes.
    events: (Name, Vec<String>),
    /// The entities whose events are in that stream.
    entities: Vec<EntityTemplate>,
    own: Name,
    inputs: String,
    stop: CancellationToken,
}

impl SagaStreamFeeds {
    /// The feeds of the saga with this id, until `stop` is cancelled.
    ///
    /// # Errors
    /// The id makes no name of a stream.
    pub fn new(
        nats: &Nats,
        saga: &Name,
        events: (Name, Vec<String>),
        entities: Vec<EntityTemplate>,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let own = Name::new(subjects::saga_stream(saga)).map_err(|error| error.to_string())?;
        Ok(Self { nats: nats.clone(), events, entities, own, inputs: subjects::saga_inputs(saga), stop })
    }
}

impl SagaFeeds for SagaStreamFeeds {
    type Feed = StreamFeed;

    fn events(&self, types: &[EventType]) -> StreamFeed {
        let (stream, subjects) = &self.events;
        let filters = subjects::event_filters(subjects, &self.entities, types);
        StreamFeed::filtered(&self.nats, stream.clone(), filters, self.stop.clone())
    }

    fn own(&self) -> StreamFeed {
        StreamFeed::filtered(&self.nats, self.own.clone(), vec![self.inputs.clone()], self.stop.clone())
    }

    fn own_stream(&self) -> String {
        self.own.to_string()
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stop.clone().cancelled_owned()
    }
}

//! Messages that end the process of every host that handles them.
//!
//! Such a message is never settled, so each host that takes over begins with it again. The takeovers of a consumer are
//! counted while nothing below its ack floor moves. After some of them the messages there are handled alone, so that those
//! which only were in hand at the same time come to their ends. One during which hosts end all the same is set aside.
//!
//! The count is in the audit stream, where each takeover adds an entry. A host that is only cut off counts, too: what it left
//! is handled alone for once, and comes to its end.

use std::collections::BTreeMap;

use pelton_core::id::Sequence;
use pelton_core::store::Unavailable;
use serde::{Deserialize, Serialize};

use crate::connection::Nats;
use crate::subjects::{self, AUDIT};
use crate::wire;

/// From this takeover at the same place on, what lies there is handled alone.
const MAX_TAKEOVERS: u32 = 5;
/// How often a message is handled alone before it is set aside.
const MAX_ALONE: u32 = 3;

/// What the hosts of a consumer have taken over and not brought to an end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// The first message that was not settled.
    from: Sequence,
    /// How often it was taken over, with what lies behind it.
    takeovers: u32,
    /// How often each message was begun alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    alone: BTreeMap<Sequence, u32>,
}

/// How a message that was taken over is handled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Beside others.
    None,
    /// Alone, and this is noted first.
    Alone,
    /// No more: it is set aside, for this cause.
    SetAside(String),
}

impl Unfinished {
    /// Notes that this host takes over what lies from here on.
    pub(super) async fn taken_over(nats: &Nats, consumer: &str, from: Sequence) -> Result<Self, Unavailable> {
        let found = wire::leader_last(nats, AUDIT, &subjects::takeovers(consumer)).await?;
        // One of another form is of an earlier version, and counts nothing.
        let before: Option<Self> = found.and_then(|entry| serde_json::from_slice(&entry.payload).ok());
        let taken = before.unwrap_or_default().again_from(from);
        taken.keep(nats, consumer).await?;
        Ok(taken)
    }

    fn again_from(self, from: Sequence) -> Self {
        let takeovers = if self.from == from { self.takeovers.saturating_add(1) } else { 1 };
        let alone = self.alone.into_iter().filter(|(sequence, _)| *sequence >= from);
        Self { from, takeovers, alone: alone.collect() }
    }

    /// How this message is to be handled.
    pub(super) fn care(&self, message: Sequence) -> Care {
        match self.alone.get(&message) {
            Some(times) if *times >= MAX_ALONE => Care::SetAside(format!(
                "it was never finished: {times} times hosts ended, or were cut off, while they handled nothing else; what they \
                 logged last may say why"
            )),
            _ if self.takeovers >= MAX_TAKEOVERS => Care::Alone,
            _ => Care::None,
        }
    }

    /// Notes that this message is begun alone. The one before it has come to its end.
    pub(super) async fn begin(
        &mut self,
        nats: &Nats,
        consumer: &str,
        message: Sequence,
        before: Option<Sequence>,
    ) -> Result<(), Unavailable> {
        let mut next = self.clone();
        if let Some(before) = before {
            next.alone.remove(&before);
        }
        *next.alone.entry(message).or_default() += 1;
        next.keep(nats, consumer).await?;
        *self = next;
        Ok(())
    }

    async fn keep(&self, nats: &Nats, consumer: &str) -> Result<(), Unavailable> {
        let subject = subjects::takeovers(consumer);
        let away = |cause: String| Unavailable { doing: format!("noting a takeover at {subject}"), cause };
        let payload = serde_json::to_vec(self).map_err(|error| away(error.to_string()))?;
        let headers = async_nats::HeaderMap::new();
        wire::publish(nats, &subject, headers, payload.into())
            .await
            .map(drop)
            .map_err(|error| away(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_taken_over_again_and_again_is_handled_alone() {
        let mut taken = Unfinished::default();
        for takeovers in 1..MAX_TAKEOVERS {
            taken = taken.again_from(Sequence(7));
            assert_eq!((taken.takeovers, taken.care(Sequence(9))), (takeovers, Care::None));
        }
        taken = taken.again_from(Sequence(7));
        assert_eq!(taken.care(Sequence(9)), Care::Alone);
        let moved = taken.again_from(Sequence(8));
        assert_eq!(moved.care(Sequence(9)), Care::None, "something was settled");
    }

    #[test]
    fn one_that_was_begun_alone_too_often_is_set_aside() {
        let alone = [(Sequence(8), 1), (Sequence(9), MAX_ALONE)].into();
        let taken = Unfinished { from: Sequence(7), takeovers: 1, alone };
        assert_eq!(taken.care(Sequence(8)), Care::None);
        assert!(matches!(taken.care(Sequence(9)), Care::SetAside(_)));
        let bytes = serde_json::to_vec(&taken).unwrap();
        assert_eq!(serde_json::from_slice::<Unfinished>(&bytes).unwrap(), taken);
        let later = taken.again_from(Sequence(9));
        assert_eq!(later.alone, [(Sequence(9), MAX_ALONE)].into());
    }
}

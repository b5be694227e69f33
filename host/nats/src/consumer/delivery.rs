//! A message that a consumer delivered, and the settlement in the server's words.

use std::sync::Arc;

use async_nats::Subject;
use bytes::Bytes;
use pelton_core::consumer::{Delivery, Settlement};
use pelton_core::message::Incoming;
use serde_json::json;

use crate::connection::Nats;
use crate::wire::nanoseconds;

/// The most bytes of a reason that go to the server with a termination.
const MAX_REASON_BYTES: usize = 256;
/// The fraction by which a retry's delay varies to either side, so that messages that failed together do not return
/// together.
const JITTER: f64 = 0.2;

/// A message that a consumer delivered.
pub struct PullDelivery {
    pub(super) nats: Arc<Nats>,
    pub(super) message: Incoming,
    /// None: it was delivered to another host, which may settle it. The server hands it out again otherwise.
    pub(super) reply: Option<Subject>,
}

impl PullDelivery {
    async fn tell(&self, what: Bytes) {
        let Some(reply) = self.reply.clone() else { return };
        if let Err(error) = self.nats.client().publish(reply, what).await {
            let Incoming { stream, sequence, .. } = &self.message;
            tracing::debug!(%stream, %sequence, "settling a message: {error}; it will be handed out again");
        }
    }
}

impl Delivery for PullDelivery {
    fn message(&self) -> &Incoming {
        &self.message
    }

    async fn progress(&self) {
        self.tell(Bytes::from_static(b"+WPI")).await;
    }

    /// A settlement is sent, but not yet at the server: call [`Nats::flush`] before the host ends.
    async fn settle(&self, settlement: Settlement) {
        self.tell(words(&settlement)).await;
    }
}

/// The settlement in the server's words. Source: NATS ADR-15; the library has no reason for `+TERM`.
fn words(settlement: &Settlement) -> Bytes {
    match settlement {
        Settlement::Ack => Bytes::from_static(b"+ACK"),
        Settlement::RetryAfter(delay) => {
            let delay = delay.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER));
            format!("-NAK {}", json!({ "delay": nanoseconds(delay) })).into()
        }
        Settlement::Terminate(reason) => format!("+TERM {}", one_line(reason)).into(),
    }
}

fn one_line(reason: &str) -> String {
    let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=line.len().min(MAX_REASON_BYTES)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    line[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_server_is_told_in_its_own_words() {
        assert_eq!(words(&Settlement::Ack), "+ACK");
        let reason = format!("bad\nthing\r\n{}", "é".repeat(300));
        let told = String::from_utf8(words(&Settlement::Terminate(reason)).to_vec()).unwrap();
        assert!(told.starts_with("+TERM bad thing"), "{told}");
        assert!(!told.contains(['\n', '\r']) && told.len() <= 6 + MAX_REASON_BYTES, "{told}");
    }

    #[test]
    fn a_delay_varies_a_little() {
        for _ in 0..100 {
            let told =
                String::from_utf8(words(&Settlement::RetryAfter(Duration::from_secs(10))).to_vec()).unwrap();
            let json: serde_json::Value = serde_json::from_str(told.strip_prefix("-NAK ").unwrap()).unwrap();
            let delay = json["delay"].as_u64().unwrap();
            assert!((8_000_000_000..=12_000_000_000).contains(&delay), "{delay}");
        }
    }
}

//! The commands of the clients: the n-th command of a seed is always the same.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use pelton_core::message::Fingerprint;
use pelton_core::subject::EntityTemplate;
use serde_json::{Value, json};

use super::world::partitions;

/// The number of orders in use at a time: few, so that commands compete.
const HOT_ORDERS: u64 = 6;
/// After this many commands other orders take their place, so that histories grow long but not endless.
const COMMANDS_PER_GENERATION: u64 = 500;
/// The number of commands at the start of a generation that mostly place orders.
const OPENING: u64 = 24;
const CENTS_PER_LINE: u64 = 4_000;

/// A command without its id.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) kind: &'static str,
    pub(super) order: String,
    /// JSON, byte by byte as it is sent.
    pub(super) data: String,
}

impl Payload {
    fn new(kind: &'static str, order: &str, data: &Value) -> Self {
        Self { kind, order: order.to_owned(), data: data.to_string() }
    }

    /// Its type with the partition of its order, as subjects have it.
    pub(super) fn place(&self) -> String {
        let template = EntityTemplate::parse("order.{order}").ok();
        let tokens = BTreeMap::from([("order", self.order.clone())]);
        let entity = template.and_then(|template| template.entity(&tokens).ok());
        entity.map_or_else(|| self.kind.to_owned(), |entity| partitions().of(&entity).of_name(self.kind))
    }

    /// The fingerprint of the command, as the host computes it.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let entity = format!("order.{}", self.order);
        Fingerprint::of(&[self.kind.as_bytes(), entity.as_bytes(), self.data.as_bytes()])
    }
}

/// Whether the client waits for the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// The client sends it until there is an answer.
    Insist,
    /// The client sends it once and does not wait. A stored command must take effect all the same.
    Forget,
}

/// One command, and how it is sent.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) payload: Payload,
    pub(super) manner: Manner,
    /// The number of copies that are sent at once at first.
    pub(super) copies: usize,
    /// Another command that another client sends under the same id.
    pub(super) other: Option<Other>,
    /// Sent once more, this long after the answer.
    pub(super) again: Option<Duration>,
    /// For the decisions on the way.
    pub(super) random: Rng,
}

/// Another command under a used id.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) payload: Payload,
    /// It is sent while the first is still pending, and not afterwards.
    pub(super) at_once: bool,
}

/// Whether the n-th message to the command stream is unreadable.
pub(super) fn is_unreadable(seed: u64, n: u64) -> bool {
    Rng::with_seed(seed.wrapping_add(n)).fork().u32(0..100) < 3
}

/// The n-th command.
pub(super) fn plan(seed: u64, n: u64) -> Plan {
    let mut random = Rng::with_seed(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Neighbouring seeds begin with similar numbers.
    random = random.fork();
    let payload = payload(&mut random, n);
    let other = (random.u32(0..100) < 4).then(|| {
        let other = self::payload(&mut random, n);
        Payload { order: if random.bool() { payload.order.clone() } else { other.order.clone() }, ..other }
    });
    let other = other.map(|other| with_order(&other)).filter(|o| o.fingerprint() != payload.fingerprint());
    let other = other.map(|payload| Other { payload, at_once: random.bool() });
    let copies = match random.u32(0..100) {
        0..70 => 1,
        70..97 => 2 + random.usize(0..2),
        _ => 10,
    };
    let again = (random.u32(0..100) < 12).then(|| Duration::from_millis(random.u64(0..3_000)));
    let manner = if random.u32(0..100) < 30 { Manner::Forget } else { Manner::Insist };
    Plan { id: format!("c{n}"), payload, manner, copies, other, again, random }
}

/// Writes the order into the data.
fn with_order(payload: &Payload) -> Payload {
    let mut data: Value = serde_json::from_str(&payload.data).unwrap_or_default();
    data["order"]["id"] = json!(payload.order);
    Payload::new(payload.kind, &payload.order, &data)
}

fn payload(random: &mut Rng, n: u64) -> Payload {
    let (generation, place) = (n / COMMANDS_PER_GENERATION, n % COMMANDS_PER_GENERATION);
    let hot = random.u64(0..HOT_ORDERS);
    let order = format!("g{generation}-{hot}");
    // All `place-order` of one order are equal, so that its price does not depend on which of them comes first.
    let lines = 1 + (generation + hot) % 5;
    let total = lines * CENTS_PER_LINE;
    let place_order = |order: &str| {
        let line = json!({ "item": "thing", "amountCents": CENTS_PER_LINE });
        let lines = vec![line; usize::try_from(lines).unwrap_or(1)];
        Payload::new("place-order", order, &json!({ "order": { "id": order }, "lines": lines }))
    };
    if place < OPENING && random.u32(0..100) < 60 {
        return place_order(&order);
    }
    let id = json!({ "id": order });
    let refund = random.u32(0..12);
    match random.u32(0..100) {
        0..12 => place_order(&format!("cold-{n}")),
        12..18 => place_order(&order),
        18..28 => Payload::new("withdraw", &order, &json!({ "order": id, "amountCents": total })),
        28..65 => {
            let amount = random.u64(1..60);
            Payload::new("refund", &order, &json!({ "order": id, "amountCents": amount }))
        }
        65..78 => {
            let amount = random.u64(1..total / 4);
            let data = json!({ "order": id, "refund": { "id": refund }, "amountCents": amount });
            Payload::new("request-refund", &order, &data)
        }
        _ => {
            let approver = random.u32(0..4);
            let data = json!({ "order": id, "refund": { "id": refund }, "approver": { "id": approver } });
            Payload::new("approve-refund", &order, &data)
        }
    }
}

//! Checks that clients were told what is recorded.

use serde_json::Value;

use super::ledger::{Answer, Sent};

/// The code of the answer to another payload under a used id.
const ID_REUSED: &str = "command-id-reused";

/// Compares everything that clients were told of a command with its recorded outcome.
pub(super) fn check(at: &str, outcome: &Value, sent: &[Sent], violations: &mut Vec<String>) {
    for sent in sent {
        let is_first = outcome["fingerprint"] == *sent.fingerprint.0;
        for answer in &sent.answers {
            let right = if is_first { says(answer, outcome) } else { says_reused(answer) };
            if !right {
                let (kind, order) = (sent.payload.kind, &sent.payload.order);
                let owner = if is_first { "its own" } else { "another command's" };
                violations.push(format!(
                    "{at}: the sender of {kind} to {order} was told {answer:?}, the outcome is {owner}: {outcome}"
                ));
            }
        }
    }
}

/// Whether the answer agrees with the record, or states no outcome.
fn says(answer: &Answer, outcome: &Value) -> bool {
    match answer {
        // What the entity's events say of an accepted command is less than what its sender was told.
        Answer::Nats(record) => outcome
            .as_object()
            .is_some_and(|fields| fields.iter().all(|(name, value)| record[name] == *value)),
        Answer::Http(status, body) => {
            let same = |name: &str| body[name] == outcome[name];
            match status {
                202 | 503 => says_nothing(*status, body),
                200 | 201 => outcome["status"] == "accepted" && same("commandId") && same("events"),
                409 => {
                    let rejection = &outcome["rejection"];
                    same("commandId")
                        && rejection["code"] == body["code"]
                        && rejection["message"] == body["detail"]
                }
                _ => false,
            }
        }
    }
}

/// Whether the answer says that the id was used for another command, or states no outcome.
fn says_reused(answer: &Answer) -> bool {
    match answer {
        Answer::Nats(record) => record["rejection"]["code"] == ID_REUSED,
        Answer::Http(status @ (202 | 503), body) => says_nothing(*status, body),
        Answer::Http(status, body) => *status == 409 && body["code"] == ID_REUSED,
    }
}

/// Whether the answer says that the command waits or that its status is unknown. A client that lost an id to another
/// command may be told this too: its command was stored, and was refused when its turn came. No stream shows later
/// whether it was stored.
fn says_nothing(status: u16, body: &Value) -> bool {
    match status {
        202 => body["status"] == "pending",
        _ => body["code"] == "unavailable",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_lost_an_id_is_told_so_or_nothing() {
        for (status, body, right) in [
            (409, json!({ "code": "command-id-reused" }), true),
            (202, json!({ "status": "pending" }), true),
            (503, json!({ "code": "unavailable" }), true),
            (202, json!({ "status": "accepted" }), false),
            (202, json!({ "status": "parked" }), false),
            (503, json!({ "code": "command-failed" }), false),
            (409, json!({ "code": "already-withdrawn" }), false),
            (201, json!({ "status": "accepted", "events": [] }), false),
        ] {
            assert_eq!(says_reused(&Answer::Http(status, body.clone())), right, "{status} {body}");
        }
    }
}

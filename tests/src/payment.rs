//! The payment: an order is paid once, whatever the number of requests, and never refunds more than was paid.

use crate::example::{Example, Step};

const PLACE: &str = "/payment/place-order";
const WITHDRAW: &str = "/payment/withdraw";
const REFUND: &str = "/payment/refund";
const REQUEST: &str = "/payment/request-refund";
const APPROVE: &str = "/payment/approve-refund";
const ORDER: &str = "/views/orders/1";

/// The example.
#[must_use]
pub fn example() -> Example {
    Example {
        name: "payment",
        config: "plugins/payment/pelton.toml",
        steps: [payment(), small_refund(), large_refund()].into_iter().flatten().collect(),
        events: vec![(
            "payment",
            vec![
                "order.1.order-placed.v1",
                "order.1.line-added.v1",
                "order.1.line-added.v1",
                "order.1.payment-withdrawn.v1",
                "order.1.refund-paid.v1",
                "order.1.refund-requested.v1",
                "order.1.refund-approved.v1",
                "order.1.refund-approved.v1",
                "order.1.refund-paid.v1",
                "order.1.refund-paid.v1",
            ],
        )],
        views: vec!["orders"],
    }
}

fn body(rest: &str) -> String {
    format!(r#"{{"data":{{"order":{{"id":1}},{rest}}}}}"#)
}

/// An order that is placed with several events at once, and paid once.
fn payment() -> Vec<Step> {
    let lines = r#""lines":[{"item":"a desk","amountCents":25000},{"item":"a lamp","amountCents":5000}]"#;
    let all = body(r#""amountCents":30000"#);
    let clicked = r#"{"id":"click-1","data":{"order":{"id":1},"amountCents":30000}}"#;
    vec![
        Step::put("An order that nobody has placed is to be paid.", WITHDRAW, &all).rejected("no-such-order"),
        Step::put("An order is placed: its three events are stored all or none.", PLACE, &body(lines))
            .accepted_with(["order-placed", "line-added", "line-added"]),
        Step::put("A refund before anything is paid.", REFUND, &body(r#""amountCents":100"#))
            .rejected("nothing-paid"),
        Step::put("The wrong amount.", WITHDRAW, &body(r#""amountCents":29999"#)).rejected("amount-mismatch"),
        Step::put("No amount at all.", WITHDRAW, &body(r#""amountCents":-1"#))
            .refused(400, "invalid-command"),
        Step::put(
            "The impatient clicker: ten times at once, one withdrawal, ten equal answers.",
            WITHDRAW,
            clicked,
        )
        .accepted("payment-withdrawn")
        .at_once(10),
        Step::put("And once more, later.", WITHDRAW, clicked).same(),
        Step::put("Somebody else asks for it with an id of its own.", WITHDRAW, &all)
            .rejected("already-withdrawn"),
    ]
}

/// Refunds at once, up to a limit.
fn small_refund() -> Vec<Step> {
    let refund = |cents: u32| body(&format!(r#""amountCents":{cents}"#));
    vec![
        Step::put("A refund over the limit needs approval.", REFUND, &refund(10_001))
            .rejected("refund-needs-approval"),
        Step::put("A small refund is paid at once.", REFUND, &refund(6_000)).accepted("refund-paid"),
        Step::put("Not a second time: the limit is the order's.", REFUND, &refund(6_000))
            .rejected("refund-needs-approval"),
    ]
}

/// A refund that two people approve, paid once.
fn large_refund() -> Vec<Step> {
    let request = |id: &str| body(&format!(r#""refund":{{"id":"{id}"}},"amountCents":20000"#));
    let approve =
        |id: &str, who: &str| body(&format!(r#""refund":{{"id":"{id}"}},"approver":{{"id":"{who}"}}"#));
    let refund = |cents: u32| body(&format!(r#""amountCents":{cents}"#));
    vec![
        Step::put("A large refund is requested.", REQUEST, &request("r1")).accepted("refund-requested"),
        Step::put("Another one would exceed what was paid.", REQUEST, &request("r2"))
            .rejected("refund-exceeds-payment"),
        Step::put("Nobody has requested that one.", APPROVE, &approve("r2", "ada"))
            .rejected("no-such-refund"),
        Step::put("Ada approves.", APPROVE, &approve("r1", "ada")).accepted("refund-approved"),
        Step::put("Ada cannot be both.", APPROVE, &approve("r1", "ada")).rejected("already-approved-by-you"),
        Step::put("Bob approves: it is paid, in the same decision.", APPROVE, &approve("r1", "bob"))
            .shows(&[
                ("/events/0/type", "refund-approved"),
                ("/events/1/type", "refund-paid"),
                ("/events/2", "nothing"),
            ])
            .status(201),
        Step::put("Eve is too late.", APPROVE, &approve("r1", "eve")).rejected("refund-already-paid"),
        Step::put("A cent more than what is left.", REFUND, &refund(4_001))
            .rejected("refund-exceeds-payment"),
        Step::put("What is left.", REFUND, &refund(4_000)).accepted("refund-paid"),
        Step::get("All is given back, and nothing is pending.", ORDER)
            .will_show(&[("/status", "refunded"), ("/refundedCents", "30000")]),
    ]
}

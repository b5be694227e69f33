//! The view of orders: what each costs, what was paid and refunded, and which refunds wait for approval.
//!
//! The key is the order's id.
#![forbid(unsafe_code)]

use payment_types::{
    Amount, Approver, Cents, Currency, LineAdded, Order, OrderPlaced, PaymentWithdrawn, Refund,
    RefundApproved, RefundPaid, RefundRequested, Text,
};
use pelton_plugin::{EventMeta, Projection, Timestamp};
use serde::{Deserialize, Serialize};

/// The events that the view reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The order begins.
    OrderPlaced(OrderPlaced),
    /// It has one more line.
    LineAdded(LineAdded),
    /// It is paid.
    PaymentWithdrawn(PaymentWithdrawn),
    /// A refund waits for approval.
    RefundRequested(RefundRequested),
    /// One person agrees to a refund.
    RefundApproved(RefundApproved),
    /// Money went back.
    RefundPaid(RefundPaid),
}

/// One order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// The order.
    pub order: Order,
    /// The progress of the order.
    pub status: Status,
    /// The sum of the lines.
    pub total_cents: Amount,
    /// The sum that was paid.
    pub paid_cents: Cents,
    /// The sum that was refunded.
    pub refunded_cents: Cents,
    /// The currency of the whole order.
    pub currency: Currency,
    /// Whether every refund needs approval, however small.
    pub needs_approval: bool,
    /// The lines of the order.
    pub lines: Vec<Line>,
    /// The refunds that wait for approval, the oldest first.
    pub pending_refunds: Vec<PendingRefund>,
    /// The time of the last change.
    pub changed_at: Timestamp,
    /// The position of the last change in the stream.
    pub position: u64,
}

/// The progress of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is not paid.
    Placed,
    /// It is paid.
    Paid,
    /// Some of the money went back.
    PartlyRefunded,
    /// All of the money went back.
    Refunded,
}

/// One line of an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The item.
    pub item: Text,
    /// The price.
    pub amount_cents: Amount,
}

/// A refund that waits for approval. Its money is reserved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingRefund {
    /// The refund.
    pub refund: Refund,
    /// The amount.
    pub amount_cents: Amount,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// The people who have approved the refund so far.
    pub approvers: Vec<Approver>,
}

/// The view of orders.
#[derive(Debug)]
pub struct OrdersView;

impl Projection for OrdersView {
    type Event = Event;
    type View = OrderView;

    fn keys(event: &Event, _: &EventMeta) -> Vec<String> {
        vec![event.order().id.to_string()]
    }

    fn apply(_: &str, view: Option<OrderView>, event: &Event, meta: &EventMeta) -> Option<OrderView> {
        let mut view = match (event, view) {
            (Event::OrderPlaced(placed), _) => OrderView::new(placed),
            // `order-placed` is the first event of an order.
            (_, view) => view?,
        };
        match event {
            Event::OrderPlaced(_) => {}
            Event::LineAdded(LineAdded { item, amount_cents, .. }) => {
                view.lines.push(Line { item: item.clone(), amount_cents: *amount_cents });
            }
            Event::PaymentWithdrawn(withdrawn) => view.paid_cents = withdrawn.amount_cents.into(),
            Event::RefundRequested(RefundRequested { refund, amount_cents, reason, .. }) => {
                view.pending_refunds.push(PendingRefund {
                    refund: refund.clone(),
                    amount_cents: *amount_cents,
                    reason: reason.clone(),
                    approvers: Vec::new(),
                });
            }
            Event::RefundApproved(RefundApproved { refund, approver, .. }) => {
                if let Some(pending) =
                    view.pending_refunds.iter_mut().find(|pending| pending.refund == *refund)
                {
                    pending.approvers.push(approver.clone());
                }
            }
            Event::RefundPaid(RefundPaid { refund, amount_cents, .. }) => {
                view.refunded_cents = view.refunded_cents.saturating_add(*amount_cents);
                view.pending_refunds.retain(|pending| Some(&pending.refund) != refund.as_ref());
            }
        }
        view.status = match (view.paid_cents, view.refunded_cents) {
            (Cents::ZERO, _) => Status::Placed,
            (_, Cents::ZERO) => Status::Paid,
            (paid, refunded) if refunded < paid => Status::PartlyRefunded,
            _ => Status::Refunded,
        };
        (view.changed_at, view.position) = (meta.time, meta.sequence);
        Some(view)
    }
}

impl OrderView {
    fn new(placed: &OrderPlaced) -> Self {
        Self {
            order: placed.order.clone(),
            status: Status::Placed,
            total_cents: placed.total_cents,
            paid_cents: Cents::ZERO,
            refunded_cents: Cents::ZERO,
            currency: placed.currency,
            needs_approval: placed.needs_approval,
            lines: Vec::new(),
            pending_refunds: Vec::new(),
            changed_at: Timestamp::default(),
            position: 0,
        }
    }
}

impl Event {
    fn order(&self) -> &Order {
        match self {
            Event::OrderPlaced(e) => &e.order,
            Event::LineAdded(e) => &e.order,
            Event::PaymentWithdrawn(e) => &e.order,
            Event::RefundRequested(e) => &e.order,
            Event::RefundApproved(e) => &e.order,
            Event::RefundPaid(e) => &e.order,
        }
    }
}

pelton_plugin::export_projection!(OrdersView);

#[cfg(test)]
mod tests {
    #![allow(clippy::inconsistent_digit_grouping, reason = "cents stand apart: 100_00 are 100.00")]

    use payment_order::Event as Happened;
    use payment_types::Id;
    use pelton_plugin::Failure;
    use pelton_plugin::testing::{START, TestProjection, ViewAfter};

    use super::*;

    fn order(id: u64) -> Order {
        Order { id: id.into() }
    }

    fn refund() -> Refund {
        Refund { id: Id::from(7) }
    }

    fn placed(id: u64) -> Happened {
        let (total_cents, currency) = (Amount::new(300_00), Currency::EUR);
        Happened::OrderPlaced(OrderPlaced { order: order(id), total_cents, currency, needs_approval: false })
    }

    fn line(item: &str, cents: u64) -> Happened {
        let item = Text::try_from(item.to_owned()).expect("it is a text");
        Happened::LineAdded(LineAdded { order: order(1), item, amount_cents: Amount::new(cents) })
    }

    fn withdrawn() -> Happened {
        let (amount_cents, currency) = (Amount::new(300_00), Currency::EUR);
        Happened::PaymentWithdrawn(PaymentWithdrawn { order: order(1), amount_cents, currency, at: START })
    }

    fn requested(cents: u64) -> Happened {
        let (refund, amount_cents) = (refund(), Amount::new(cents));
        Happened::RefundRequested(RefundRequested { order: order(1), refund, amount_cents, reason: None })
    }

    fn approved(approver: u64) -> Happened {
        let approver = Approver { id: approver.into() };
        Happened::RefundApproved(RefundApproved { order: order(1), refund: refund(), approver })
    }

    fn refunded(refund: Option<Refund>, cents: u64) -> Happened {
        let amount_cents = Amount::new(cents);
        Happened::RefundPaid(RefundPaid { order: order(1), refund, amount_cents, reason: None })
    }

    fn bought() -> [Happened; 4] {
        [placed(1), line("a desk", 299_00), line("a pen", 1_00), withdrawn()]
    }

    #[track_caller]
    fn assert_view(after: &ViewAfter<OrdersView>, status: Status, refunded: &str, pending: &[(&str, usize)]) {
        let view = after.view("1").expect("there is an order");
        assert_eq!((view.status, view.refunded_cents.to_string().as_str()), (status, refunded));
        let found = view.pending_refunds.iter().map(|p| (p.amount_cents.to_string(), p.approvers.len()));
        let pending = pending.iter().map(|(amount, approvers)| ((*amount).to_owned(), *approvers));
        assert_eq!(found.collect::<Vec<_>>(), pending.collect::<Vec<_>>());
    }

    #[test]
    fn an_order_shows_how_far_it_is_and_what_waits_for_whom() {
        assert_view(&OrdersView::given([placed(1)]), Status::Placed, "0.00", &[]);
        let after = OrdersView::given(bought());
        assert_view(&after, Status::Paid, "0.00", &[]);
        let after = after.and([requested(200_00)]);
        assert_view(&after, Status::Paid, "0.00", &[("200.00", 0)]);
        let after = after.and([refunded(None, 50_00)]);
        assert_view(&after, Status::PartlyRefunded, "50.00", &[("200.00", 0)]);
        let after = after.and([approved(1)]);
        assert_view(&after, Status::PartlyRefunded, "50.00", &[("200.00", 1)]);
        let after = after.and([approved(2), refunded(Some(refund()), 200_00)]);
        assert_view(&after, Status::PartlyRefunded, "250.00", &[]);
        assert_view(&after.and([refunded(None, 50_00)]), Status::Refunded, "300.00", &[]);
    }

    #[test]
    fn a_value_is_what_clients_read() {
        let view = OrdersView::given(bought()).and([requested(200_00), approved(9)]).view("1");
        let json = concat!(
            r#"{"order":{"id":"1"},"status":"paid","totalCents":30000,"paidCents":30000,"refundedCents":0,"#,
            r#""currency":"EUR","needsApproval":false,"#,
            r#""lines":[{"item":"a desk","amountCents":29900},{"item":"a pen","amountCents":100}],"#,
            r#""pendingRefunds":[{"refund":{"id":"7"},"amountCents":20000,"approvers":[{"id":"9"}]}],"#,
            r#""changedAt":"2000-01-01T00:00:06Z","position":6}"#,
        );
        assert_eq!(serde_json::to_string(&view).expect("it has a JSON form"), json);
    }

    #[test]
    fn each_order_has_its_own_value() {
        let after = OrdersView::given([placed(1), placed(2), withdrawn()]);
        assert_eq!(after.view("2").expect("there is an order").status, Status::Placed);
        assert_view(&after, Status::Paid, "0.00", &[]);
        after.then_keys(["1", "2"]);
    }

    #[test]
    fn what_happens_to_no_order_shows_nothing() {
        OrdersView::given([line("a pen", 1), withdrawn(), refunded(None, 1), approved(1)]).then_keys([]);
    }

    #[test]
    fn what_is_unknown_is_skipped_and_what_is_unreadable_is_set_aside() {
        let after =
            OrdersView::given([placed(1)]).recorded("order-shipped", 1, "?").recorded("order-placed", 2, "?");
        assert_view(&after, Status::Placed, "0.00", &[]);
        let data = r#"{"order":{"id":"1"},"amountCents":0}"#;
        let failure = after.recorded("refund-paid", 1, data).then_failure();
        assert!(matches!(failure, Failure::Invalid(cause) if cause.contains("an amount has 1 to")));
    }
}

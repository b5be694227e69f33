//! The money of one order: placed once, withdrawn once, and never more of it given back than was paid.
//!
//! The entity is the order. Every rule is decided on the order's events, and the host stores a decision only on the
//! state that it was made on: so each rule holds for ever, however often, however late and from however many clients
//! it is asked. What comes again under the same command id never gets here: the host gives the first answer again.
//! Whoever asks under a new id meets the rules, by the code of their rejection:
//!
//! | command | code | when |
//! |---|---|---|
//! | any but `place-order` | `no-such-order` | it was never placed |
//! | `place-order` | `order-already-placed` | it was placed before |
//! | `withdraw` | `already-withdrawn` | it is paid |
//! | | `currency-mismatch` | the order is in another currency |
//! | | `amount-mismatch` | the order costs more or less |
//! | `refund`, `request-refund` | `nothing-paid` | no money was withdrawn |
//! | | `refund-exceeds-payment` | less than that remains |
//! | `refund` | `refund-needs-approval` | it is more than may go back unapproved |
//! | `request-refund` | `refund-already-requested` | the order has a refund of this id |
//! | | `too-many-refund-requests` | the order has [`MAX_REQUESTS`] |
//! | `approve-refund` | `no-such-refund` | it was never requested |
//! | | `refund-already-paid` | enough people approved it before |
//! | | `already-approved-by-you` | this person did |
//!
//! What **remains** is what was paid, less what was refunded, less what was requested and waits for approval: a request
//! reserves its money. Two requests can therefore not both be approved beyond the payment, an approval is never refused
//! for lack of money, and a request that nobody approves keeps its money reserved.
//!
//! Without approval, [`UNAPPROVED_LIMIT`] may go back for one order **altogether**, in however many pieces; nothing, if
//! the order was placed with `needsApproval`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use payment_types::{
    Amount, Approver, Cents, Currency, Id, LineAdded, Order, OrderPlaced, PaymentWithdrawn, Refund,
    RefundApproved, RefundPaid, RefundRequested, Text,
};
use pelton_plugin::{CommandHandler, Context, INVALID_COMMAND, Rejection, Timestamp};
use serde::{Deserialize, Serialize};

/// What may go back for one order without approval, altogether: 100.00.
pub const UNAPPROVED_LIMIT: Amount = Amount::new(10_000);
/// How many different people have to approve a refund that was requested.
pub const APPROVALS: usize = 2;
/// The most lines of an order: with `order-placed`, as many events as the host takes from one decision.
pub const MAX_LINES: usize = 99;
/// The most refunds that may be requested of one order, paid or not: they are remembered for ever.
pub const MAX_REQUESTS: usize = 100;

/// What may be asked of an order. A number that is no [`Amount`] is not read, and answered with `invalid-command`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Command {
    /// Somebody wants to buy.
    PlaceOrder {
        /// Which order.
        order: Order,
        /// What is bought: 1 to [`MAX_LINES`] lines.
        lines: Vec<Line>,
        /// The currency of all its money; EUR where it is not said.
        currency: Option<Currency>,
        /// Whether every refund needs approval, however small.
        needs_approval: Option<bool>,
    },
    /// Take the money.
    Withdraw {
        /// For which order.
        order: Order,
        /// How much: what the order costs.
        amount_cents: Amount,
        /// Where it is said, it must be the order's.
        currency: Option<Currency>,
    },
    /// Give money back at once. Each is a refund of its own: what is meant once is sent under one command id.
    Refund {
        /// Of which order.
        order: Order,
        /// How much.
        amount_cents: Amount,
        /// Why.
        reason: Option<Text>,
    },
    /// Give money back when enough people have approved.
    RequestRefund {
        /// Of which order.
        order: Order,
        /// Which refund; new to the order.
        refund: Refund,
        /// How much.
        amount_cents: Amount,
        /// Why.
        reason: Option<Text>,
    },
    /// One person agrees to a refund. It is paid with the last one that is needed.
    ApproveRefund {
        /// Of which order.
        order: Order,
        /// Which refund.
        refund: Refund,
        /// Who agrees.
        approver: Approver,
    },
}

/// A line of an order.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What is bought.
    pub item: Text,
    /// What it costs.
    pub amount_cents: Amount,
}

/// What happens to an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Somebody wants to buy.
    OrderPlaced(OrderPlaced),
    /// One line of the order.
    LineAdded(LineAdded),
    /// The money is ours.
    PaymentWithdrawn(PaymentWithdrawn),
    /// Money is to go back once enough people have approved.
    RefundRequested(RefundRequested),
    /// One person agrees.
    RefundApproved(RefundApproved),
    /// Money goes back.
    RefundPaid(RefundPaid),
}

/// The payment of an order, as far as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Payment {
    placed: Option<OrderPlaced>,
    withdrawn: Option<PaymentWithdrawn>,
    /// All that went back.
    refunded: Cents,
    /// What of it went back without approval.
    unapproved: Cents,
    requests: BTreeMap<Id, Request>,
}

/// A refund that was requested.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    amount: Amount,
    reason: Option<Text>,
    approvers: Vec<Approver>,
    paid: bool,
}

impl CommandHandler for Payment {
    type Command = Command;
    type Event = Event;

    // An order is asked about for years.
    pelton_plugin::snapshot_as_json!();

    fn evolve(&mut self, event: Event) {
        match event {
            Event::OrderPlaced(placed) => self.placed = Some(placed),
            // The total says all that the rules need.
            Event::LineAdded(_) => {}
            Event::PaymentWithdrawn(withdrawn) => self.withdrawn = Some(withdrawn),
            Event::RefundRequested(RefundRequested { refund, amount_cents: amount, reason, .. }) => {
                self.requests
                    .insert(refund.id, Request { amount, reason, approvers: Vec::new(), paid: false });
            }
            Event::RefundApproved(RefundApproved { refund, approver, .. }) => {
                if let Some(request) = self.requests.get_mut(&refund.id) {
                    request.approvers.push(approver);
                }
            }
            Event::RefundPaid(paid) => {
                self.refunded = self.refunded.saturating_add(paid.amount_cents);
                match paid.refund {
                    None => self.unapproved = self.unapproved.saturating_add(paid.amount_cents),
                    Some(refund) => {
                        if let Some(request) = self.requests.get_mut(&refund.id) {
                            request.paid = true;
                        }
                    }
                }
            }
        }
    }

    fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::PlaceOrder { order, lines, currency, needs_approval } => {
                self.place(&order, lines, currency.unwrap_or(Currency::EUR), needs_approval.unwrap_or(false))
            }
            Command::Withdraw { order, amount_cents, currency } => {
                self.withdraw(order, amount_cents, currency, context.time)
            }
            Command::Refund { order, amount_cents, reason } => self.refund(order, amount_cents, reason),
            Command::RequestRefund { order, refund, amount_cents, reason } => {
                self.request_refund(order, refund, amount_cents, reason)
            }
            Command::ApproveRefund { order, refund, approver } => {
                self.approve_refund(order, refund, approver)
            }
        }
    }
}

impl Payment {
    fn place(
        &self,
        order: &Order,
        lines: Vec<Line>,
        currency: Currency,
        needs_approval: bool,
    ) -> Result<Vec<Event>, Rejection> {
        // Nor with the same lines: who places again under a new id means another order.
        if self.placed.is_some() {
            return Err(refuse("order-already-placed", order, "was placed before"));
        }
        if !(1..=MAX_LINES).contains(&lines.len()) {
            let why = format!("has {} lines; 1 to {MAX_LINES} are allowed", lines.len());
            return Err(refuse(INVALID_COMMAND, order, &why));
        }
        let total = lines.iter().try_fold(Cents::ZERO, |sum, line| sum.checked_add(line.amount_cents));
        let Some(total_cents) = total.and_then(|total| Amount::try_from(total).ok()) else {
            return Err(refuse(INVALID_COMMAND, order, "costs more money than there is"));
        };
        let placed = OrderPlaced { order: order.clone(), total_cents, currency, needs_approval };
        let lines = lines.into_iter().map(|Line { item, amount_cents }| {
            Event::LineAdded(LineAdded { order: order.clone(), item, amount_cents })
        });
        Ok(std::iter::once(Event::OrderPlaced(placed)).chain(lines).collect())
    }

    fn withdraw(
        &self,
        order: Order,
        amount_cents: Amount,
        currency: Option<Currency>,
        at: Timestamp,
    ) -> Result<Vec<Event>, Rejection> {
        let &OrderPlaced { total_cents: total, currency: ours, .. } = self.placed(&order)?;
        if let Some(before) = &self.withdrawn {
            let PaymentWithdrawn { amount_cents, currency, at, .. } = before;
            let why = format!("was paid at {at}: {amount_cents} {currency} were withdrawn, and only once");
            return Err(refuse("already-withdrawn", &order, &why)
                .detail("withdrawnAt", at.to_string())
                .detail("amountCents", cents(*amount_cents))
                .detail("currency", currency.to_string()));
        }
        if let Some(theirs) = currency.filter(|currency| *currency != ours) {
            let why = format!("is paid in {ours}, not in {theirs}");
            return Err(refuse("currency-mismatch", &order, &why).detail("currency", ours.to_string()));
        }
        if amount_cents != total {
            let why = format!("costs {total} {ours}, not {amount_cents}");
            return Err(refuse("amount-mismatch", &order, &why).detail("totalCents", cents(total)));
        }
        Ok(vec![Event::PaymentWithdrawn(PaymentWithdrawn { order, amount_cents, currency: ours, at })])
    }

    fn refund(
        &self,
        order: Order,
        amount_cents: Amount,
        reason: Option<Text>,
    ) -> Result<Vec<Event>, Rejection> {
        self.check_refund(&order, amount_cents)?;
        let limit = match self.placed(&order)?.needs_approval {
            true => Cents::ZERO,
            false => UNAPPROVED_LIMIT.into(),
        };
        if self.unapproved.checked_add(amount_cents).is_none_or(|unapproved| unapproved > limit) {
            let why = format!(
                "may have {limit} refunded without approval altogether, and had {}: request this refund of \
                 {amount_cents}, and have {APPROVALS} people approve it",
                self.unapproved
            );
            return Err(refuse("refund-needs-approval", &order, &why)
                .detail("limitCents", cents(limit))
                .detail("refundedUnapprovedCents", cents(self.unapproved)));
        }
        Ok(vec![Event::RefundPaid(RefundPaid { order, refund: None, amount_cents, reason })])
    }

    fn request_refund(
        &self,
        order: Order,
        refund: Refund,
        amount_cents: Amount,
        reason: Option<Text>,
    ) -> Result<Vec<Event>, Rejection> {
        self.placed(&order)?;
        // First of all: who asks again for all that was paid is not told that nothing remains.
        if let Some(Request { amount, paid, .. }) = self.requests.get(&refund.id) {
            let why = format!("has a refund {} of {amount} already", refund.id);
            return Err(refuse("refund-already-requested", &order, &why)
                .detail("refund", refund.id.to_string())
                .detail("amountCents", cents(*amount))
                .detail("paid", paid.to_string()));
        }
        self.check_refund(&order, amount_cents)?;
        if self.requests.len() >= MAX_REQUESTS {
            let why = format!("had {MAX_REQUESTS} refunds requested, and may have no more");
            return Err(refuse("too-many-refund-requests", &order, &why));
        }
        Ok(vec![Event::RefundRequested(RefundRequested { order, refund, amount_cents, reason })])
    }

    fn approve_refund(
        &self,
        order: Order,
        refund: Refund,
        approver: Approver,
    ) -> Result<Vec<Event>, Rejection> {
        self.placed(&order)?;
        let id = &refund.id;
        let refuse = |code, why: String| Err(refuse(code, &order, &why).detail("refund", id.to_string()));
        let Some(request) = self.requests.get(id) else {
            return refuse("no-such-refund", format!("had no refund {id} requested"));
        };
        if request.paid {
            return refuse("refund-already-paid", format!("had refund {id} approved and paid before"));
        }
        if request.approvers.contains(&approver) {
            let why = format!("had refund {id} approved by you before: somebody else has to approve it too");
            return refuse("already-approved-by-you", why);
        }
        // What is paid here was reserved when it was requested: it fits.
        let is_last = request.approvers.len() + 1 >= APPROVALS;
        let (amount_cents, reason) = (request.amount, request.reason.clone());
        let paid = RefundPaid { order: order.clone(), refund: Some(refund.clone()), amount_cents, reason };
        let approved = Event::RefundApproved(RefundApproved { order, refund, approver });
        Ok(std::iter::once(approved).chain(is_last.then_some(Event::RefundPaid(paid))).collect())
    }

    fn placed(&self, order: &Order) -> Result<&OrderPlaced, Rejection> {
        self.placed.as_ref().ok_or_else(|| refuse("no-such-order", order, "was never placed"))
    }

    /// Whether so much may be refunded, approved or not.
    fn check_refund(&self, order: &Order, amount: Amount) -> Result<(), Rejection> {
        self.placed(order)?;
        let Some(withdrawn) = &self.withdrawn else {
            return Err(refuse("nothing-paid", order, "is not paid: there is nothing to refund"));
        };
        let paid = Cents::from(withdrawn.amount_cents);
        let waiting = self.requests.values().filter(|request| !request.paid);
        let reserved = waiting.fold(Cents::ZERO, |sum, request| sum.saturating_add(request.amount));
        let remaining = paid.saturating_sub(self.refunded).saturating_sub(reserved);
        if Cents::from(amount) <= remaining {
            return Ok(());
        }
        let why = format!(
            "can have {remaining} refunded, not {amount}: of {paid} paid, {} went back and {reserved} are reserved \
             for refunds that wait for approval",
            self.refunded
        );
        Err(refuse("refund-exceeds-payment", order, &why)
            .detail("remainingCents", cents(remaining))
            .detail("paidCents", cents(paid))
            .detail("refundedCents", cents(self.refunded))
            .detail("reservedCents", cents(reserved)))
    }
}

fn refuse(code: &str, order: &Order, why: &str) -> Rejection {
    Rejection::new(code, format!("order {} {why}", order.id)).detail("order", order.id.to_string())
}

fn cents(money: impl Into<Cents>) -> String {
    money.into().get().to_string()
}

pelton_plugin::export_command_handler!(Payment);

#[cfg(test)]
mod tests;

//! The money of one order: placed once, withdrawn once, and refunded at most up to what was paid.
//!
//! The entity is the order. Every rule is decided on the order's events, and the host stores a decision only on the
//! state that it was made on. So each rule holds for ever, whatever the number, the delay and the senders of the
//! commands. A repeated command id does not reach this plugin: the host returns the first answer. A command with a new
//! id meets the rules, by the code of their rejection:
//!
//! | command | code | when |
//! |---|---|---|
//! | any but `place-order` | `no-such-order` | the order was never placed |
//! | `place-order` | `order-already-placed` | the order was placed before |
//! | `withdraw` | `already-withdrawn` | the order is paid |
//! | | `currency-mismatch` | the order is in another currency |
//! | | `amount-mismatch` | the order costs more or less |
//! | `refund`, `request-refund` | `nothing-paid` | no money was withdrawn |
//! | | `refund-exceeds-payment` | less than that remains |
//! | `refund` | `refund-needs-approval` | the amount is above the limit without approval |
//! | `request-refund` | `refund-already-requested` | the order has a refund of this id |
//! | | `too-many-refund-requests` | the order has [`MAX_REQUESTS`] |
//! | `approve-refund` | `no-such-refund` | the refund was never requested |
//! | | `refund-already-paid` | enough people approved the refund before |
//! | | `already-approved-by-you` | this person approved it before |
//!
//! What **remains** is what was paid, less what was refunded, less what was requested and waits for approval: a request
//! reserves its money. So two requests can never both be approved beyond the payment, an approval is never refused for
//! lack of money, and a request that is never approved keeps its money reserved.
//!
//! Without approval, [`UNAPPROVED_LIMIT`], or what the setting [`UNAPPROVED_SETTING`] says, may be refunded for one order **altogether**, in any number of refunds. If
//! the order was placed with `needsApproval`, every refund needs approval.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use payment_types::{
    Amount, Approver, Cents, Currency, Id, LineAdded, Order, OrderPlaced, PaymentWithdrawn, Refund,
    RefundApproved, RefundPaid, RefundRequested, Text,
};
use pelton_plugin::{CommandHandler, Context, Rejection, Timestamp, settings};
use serde::{Deserialize, Serialize};

/// The sum that may be refunded for one order without approval, altogether: 100.00.
pub const UNAPPROVED_LIMIT: Amount = Amount::new(10_000);
/// The setting that puts another sum, in cents, in its place.
pub const UNAPPROVED_SETTING: &str = "unapproved-limit-cents";
/// The number of different people who have to approve a requested refund.
pub const APPROVALS: usize = 2;
/// The most lines of an order. Together with `order-placed` they are the most events that the host takes from one
/// decision.
pub const MAX_LINES: usize = 99;
/// The most refunds that may be requested for one order, paid or not. The order's state remembers them for ever.
pub const MAX_REQUESTS: usize = 100;

/// The commands of an order. An amount out of range (see [`Amount`]) is answered with `invalid-command`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Command {
    /// Place the order.
    PlaceOrder {
        /// The order.
        order: Order,
        /// The lines: 1 to [`MAX_LINES`].
        lines: Vec<Line>,
        /// The currency of the whole order. The default is EUR.
        currency: Option<Currency>,
        /// Whether every refund needs approval, however small.
        needs_approval: Option<bool>,
    },
    /// Withdraw the payment.
    Withdraw {
        /// The order.
        order: Order,
        /// The amount: the total of the order.
        amount_cents: Amount,
        /// The currency. If it is given, it must be the order's.
        currency: Option<Currency>,
    },
    /// Refund at once. Every command is a refund of its own; a retry of one refund uses the same command id.
    Refund {
        /// The order.
        order: Order,
        /// The amount.
        amount_cents: Amount,
        /// The reason.
        reason: Option<Text>,
    },
    /// Refund when enough people have approved.
    RequestRefund {
        /// The order.
        order: Order,
        /// The refund. Its id is new to the order.
        refund: Refund,
        /// The amount.
        amount_cents: Amount,
        /// The reason.
        reason: Option<Text>,
    },
    /// Approve a refund. With the last approval that is needed, it is paid.
    ApproveRefund {
        /// The order.
        order: Order,
        /// The refund.
        refund: Refund,
        /// The person who agrees.
        approver: Approver,
    },
}

/// The rules of an order: the codes of rejections.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The command makes no sense, whatever the order.
    InvalidCommand,
    /// The order was never placed.
    NoSuchOrder,
    /// The order was placed before.
    OrderAlreadyPlaced,
    /// The order is paid.
    AlreadyWithdrawn,
    /// The order is in another currency.
    CurrencyMismatch,
    /// The order costs more or less.
    AmountMismatch,
    /// No money was withdrawn.
    NothingPaid,
    /// Less than that remains.
    RefundExceedsPayment,
    /// The amount is above the limit without approval.
    RefundNeedsApproval,
    /// The order has a refund of this id.
    RefundAlreadyRequested,
    /// The order has [`MAX_REQUESTS`].
    TooManyRefundRequests,
    /// The refund was never requested.
    NoSuchRefund,
    /// Enough people approved the refund before.
    RefundAlreadyPaid,
    /// This person approved it before.
    AlreadyApprovedByYou,
}

/// A line of an order.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The item.
    pub item: Text,
    /// The price.
    pub amount_cents: Amount,
}

/// The events of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The order is placed.
    OrderPlaced(OrderPlaced),
    /// One line of the order.
    LineAdded(LineAdded),
    /// The order is paid.
    PaymentWithdrawn(PaymentWithdrawn),
    /// A refund waits until enough people have approved it.
    RefundRequested(RefundRequested),
    /// One person approves a refund.
    RefundApproved(RefundApproved),
    /// A refund is paid.
    RefundPaid(RefundPaid),
}

/// The state of an order's payment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Payment {
    placed: Option<OrderPlaced>,
    withdrawn: Option<PaymentWithdrawn>,
    /// The sum of all refunds.
    refunded: Cents,
    /// The part of it that was refunded without approval.
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
    type Rule = Rule;

    // An order lives for years, so its events are many.
    fn check_settings() -> Result<(), String> {
        unapproved_limit().map(drop)
    }

    pelton_plugin::snapshot_as_json!();

    fn evolve(&mut self, event: Event) {
        match event {
            Event::OrderPlaced(placed) => self.placed = Some(placed),
            // The rules need only the total, which `order-placed` holds.
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

    fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
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
    ) -> Result<Vec<Event>, Rejection<Rule>> {
        // This also refuses the same lines: a new command id means another order.
        if self.placed.is_some() {
            return Err(refuse(Rule::OrderAlreadyPlaced, order, "was placed before"));
        }
        if !(1..=MAX_LINES).contains(&lines.len()) {
            let why = format!("has {} lines; 1 to {MAX_LINES} are allowed", lines.len());
            return Err(refuse(Rule::InvalidCommand, order, &why));
        }
        let total = lines.iter().try_fold(Cents::ZERO, |sum, line| sum.checked_add(line.amount_cents));
        let Some(total_cents) = total.and_then(|total| Amount::try_from(total).ok()) else {
            return Err(refuse(Rule::InvalidCommand, order, "costs more money than there is"));
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
    ) -> Result<Vec<Event>, Rejection<Rule>> {
        let &OrderPlaced { total_cents: total, currency: ours, .. } = self.placed(&order)?;
        if let Some(before) = &self.withdrawn {
            let PaymentWithdrawn { amount_cents, currency, at, .. } = before;
            let why = format!("was paid at {at}: {amount_cents} {currency} were withdrawn, and only once");
            return Err(refuse(Rule::AlreadyWithdrawn, &order, &why)
                .detail("withdrawnAt", at.to_string())
                .detail("amountCents", cents(*amount_cents))
                .detail("currency", currency.to_string()));
        }
        if let Some(theirs) = currency.filter(|currency| *currency != ours) {
            let why = format!("is paid in {ours}, not in {theirs}");
            return Err(refuse(Rule::CurrencyMismatch, &order, &why).detail("currency", ours.to_string()));
        }
        if amount_cents != total {
            let why = format!("costs {total} {ours}, not {amount_cents}");
            return Err(refuse(Rule::AmountMismatch, &order, &why).detail("totalCents", cents(total)));
        }
        Ok(vec![Event::PaymentWithdrawn(PaymentWithdrawn { order, amount_cents, currency: ours, at })])
    }

    fn refund(
        &self,
        order: Order,
        amount_cents: Amount,
        reason: Option<Text>,
    ) -> Result<Vec<Event>, Rejection<Rule>> {
        self.check_refund(&order, amount_cents)?;
        let limit = match self.placed(&order)?.needs_approval {
            true => Cents::ZERO,
            // It was checked when the plugin was loaded.
            false => unapproved_limit().unwrap_or(UNAPPROVED_LIMIT).into(),
        };
        if self.unapproved.checked_add(amount_cents).is_none_or(|unapproved| unapproved > limit) {
            let why = format!(
                "may have {limit} refunded without approval altogether, and had {}: request this refund of \
                 {amount_cents}, and have {APPROVALS} people approve it",
                self.unapproved
            );
            return Err(refuse(Rule::RefundNeedsApproval, &order, &why)
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
    ) -> Result<Vec<Event>, Rejection<Rule>> {
        self.placed(&order)?;
        // This check comes first: a repeated request for the whole payment would otherwise be told that nothing
        // remains.
        if let Some(Request { amount, paid, .. }) = self.requests.get(&refund.id) {
            let why = format!("has a refund {} of {amount} already", refund.id);
            return Err(refuse(Rule::RefundAlreadyRequested, &order, &why)
                .detail("refund", refund.id.to_string())
                .detail("amountCents", cents(*amount))
                .detail("paid", paid.to_string()));
        }
        self.check_refund(&order, amount_cents)?;
        if self.requests.len() >= MAX_REQUESTS {
            let why = format!("had {MAX_REQUESTS} refunds requested, and may have no more");
            return Err(refuse(Rule::TooManyRefundRequests, &order, &why));
        }
        Ok(vec![Event::RefundRequested(RefundRequested { order, refund, amount_cents, reason })])
    }

    fn approve_refund(
        &self,
        order: Order,
        refund: Refund,
        approver: Approver,
    ) -> Result<Vec<Event>, Rejection<Rule>> {
        self.placed(&order)?;
        let id = &refund.id;
        let refuse = |rule, why: String| Err(refuse(rule, &order, &why).detail("refund", id.to_string()));
        let Some(request) = self.requests.get(id) else {
            return refuse(Rule::NoSuchRefund, format!("had no refund {id} requested"));
        };
        if request.paid {
            return refuse(Rule::RefundAlreadyPaid, format!("had refund {id} approved and paid before"));
        }
        if request.approvers.contains(&approver) {
            let why = format!("had refund {id} approved by you before: another person has to approve it too");
            return refuse(Rule::AlreadyApprovedByYou, why);
        }
        // The money was reserved when the refund was requested, so it fits.
        let is_last = request.approvers.len() + 1 >= APPROVALS;
        let (amount_cents, reason) = (request.amount, request.reason.clone());
        let paid = RefundPaid { order: order.clone(), refund: Some(refund.clone()), amount_cents, reason };
        let approved = Event::RefundApproved(RefundApproved { order, refund, approver });
        Ok(std::iter::once(approved).chain(is_last.then_some(Event::RefundPaid(paid))).collect())
    }

    fn placed(&self, order: &Order) -> Result<&OrderPlaced, Rejection<Rule>> {
        self.placed.as_ref().ok_or_else(|| refuse(Rule::NoSuchOrder, order, "was never placed"))
    }

    /// Checks that the amount may be refunded, approved or not.
    fn check_refund(&self, order: &Order, amount: Amount) -> Result<(), Rejection<Rule>> {
        self.placed(order)?;
        let Some(withdrawn) = &self.withdrawn else {
            return Err(refuse(Rule::NothingPaid, order, "is not paid: there is nothing to refund"));
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
        Err(refuse(Rule::RefundExceedsPayment, order, &why)
            .detail("remainingCents", cents(remaining))
            .detail("paidCents", cents(paid))
            .detail("refundedCents", cents(self.refunded))
            .detail("reservedCents", cents(reserved)))
    }
}

/// The sum that may be refunded without approval.
fn unapproved_limit() -> Result<Amount, String> {
    let Some(cents) = settings::parse::<u64>(UNAPPROVED_SETTING)? else { return Ok(UNAPPROVED_LIMIT) };
    Amount::try_from(cents).map_err(|error| format!("the setting `{UNAPPROVED_SETTING}` is {cents}: {error}"))
}

fn refuse(rule: Rule, order: &Order, why: &str) -> Rejection<Rule> {
    Rejection::new(rule, format!("order {} {why}", order.id)).detail("order", order.id.to_string())
}

fn cents(money: impl Into<Cents>) -> String {
    money.into().get().to_string()
}

pelton_plugin::export_command_handler!(Payment);

#[cfg(test)]
mod tests;

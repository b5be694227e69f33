//! The data of an order's events. Each event holds all that a view needs, so a view never has to look further.

use pelton_plugin::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Amount, Approver, Currency, Order, Refund, Text};

/// `order-placed`: a customer orders. One `line-added` for each line follows in the same decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    /// The order.
    pub order: Order,
    /// The sum of the lines.
    pub total_cents: Amount,
    /// The currency of the whole order.
    pub currency: Currency,
    /// Whether every refund needs approval, however small.
    pub needs_approval: bool,
}

/// `line-added`: one line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineAdded {
    /// The order.
    pub order: Order,
    /// The item.
    pub item: Text,
    /// The price.
    pub amount_cents: Amount,
}

/// `payment-withdrawn`: the order is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentWithdrawn {
    /// The order.
    pub order: Order,
    /// The amount.
    pub amount_cents: Amount,
    /// The order's currency.
    pub currency: Currency,
    /// The time of the command.
    pub at: Timestamp,
}

/// `refund-requested`: a refund waits until enough people have approved it. Its money is reserved from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundRequested {
    /// The order.
    pub order: Order,
    /// The refund.
    pub refund: Refund,
    /// The amount.
    pub amount_cents: Amount,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// `refund-approved`: one person agrees. With the last approval that is needed, `refund-paid` follows in the same
/// decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundApproved {
    /// The order.
    pub order: Order,
    /// The refund.
    pub refund: Refund,
    /// The person who agrees.
    pub approver: Approver,
}

/// `refund-paid`: money goes back to the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundPaid {
    /// The order.
    pub order: Order,
    /// The refund, if it was requested and approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<Refund>,
    /// The amount.
    pub amount_cents: Amount,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

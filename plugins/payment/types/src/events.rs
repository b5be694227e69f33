//! The data of an order's events. Each says all that a view needs, so that none has to look for more.

use pelton_plugin::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Amount, Approver, Currency, Order, Refund, Text};

/// `order-placed`: somebody wants to buy. One `line-added` for each of its lines follows in the same decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    /// Which order.
    pub order: Order,
    /// What its lines cost together.
    pub total_cents: Amount,
    /// The currency of all its money.
    pub currency: Currency,
    /// Whether every refund needs approval, however small.
    pub needs_approval: bool,
}

/// `line-added`: one line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LineAdded {
    /// Of which order.
    pub order: Order,
    /// What is bought.
    pub item: Text,
    /// What it costs.
    pub amount_cents: Amount,
}

/// `payment-withdrawn`: the order's money is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentWithdrawn {
    /// For which order.
    pub order: Order,
    /// How much.
    pub amount_cents: Amount,
    /// The order's currency.
    pub currency: Currency,
    /// When it was asked for.
    pub at: Timestamp,
}

/// `refund-requested`: money is to go back once enough people have approved. It is set aside from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundRequested {
    /// Of which order.
    pub order: Order,
    /// Which refund.
    pub refund: Refund,
    /// How much.
    pub amount_cents: Amount,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// `refund-approved`: one person agrees. With the last one that is needed, `refund-paid` follows in the same decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundApproved {
    /// Of which order.
    pub order: Order,
    /// Which refund.
    pub refund: Refund,
    /// Who agrees.
    pub approver: Approver,
}

/// `refund-paid`: money goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundPaid {
    /// Of which order.
    pub order: Order,
    /// Which refund, where it was requested and approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<Refund>,
    /// How much.
    pub amount_cents: Amount,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

//! What the payment's plugins share: orders, refunds, approvers, money, and the events that pass between them.
//!
//! Unknown fields are ignored everywhere: a client may send more than a rule needs, and an event of tomorrow may say
//! more than the view of today reads. What is known must be right: a value that breaks its type's promise is not read.
#![forbid(unsafe_code)]

mod events;
mod id;
mod money;
mod text;

pub use events::{LineAdded, OrderPlaced, PaymentWithdrawn, RefundApproved, RefundPaid, RefundRequested};
pub use id::{Approver, Id, Order, Refund};
pub use money::{Amount, Cents, Currency, MAX_CENTS};
pub use text::Text;

//! The types that the payment's plugins share: orders, refunds, approvers, money, and events.
//!
//! Unknown fields are ignored everywhere: a client may send more than a rule needs, and a newer event may hold more
//! than an older view reads. Known fields must be valid: serde refuses a value that breaks the invariant of its type.
#![forbid(unsafe_code)]

mod events;
mod id;
mod money;
mod text;

pub use events::{LineAdded, OrderPlaced, PaymentWithdrawn, RefundApproved, RefundPaid, RefundRequested};
pub use id::{Approver, Id, Order, Refund};
pub use money::{Amount, Cents, Currency, MAX_CENTS};
pub use text::Text;

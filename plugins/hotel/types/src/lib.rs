//! The types that the hotel's plugins share: rooms, clients, dates, and events.
//!
//! Unknown fields are ignored everywhere: a client may send more than a rule needs, and a newer event may hold more
//! than an older view reads. Known fields must be valid: serde refuses a value that breaks the invariant of its type.
#![forbid(unsafe_code)]

mod actor;
mod date;
mod events;
mod id;

pub use actor::Actor;
pub use date::Date;
pub use events::{
    BookingPaid, BookingReleased, CleaningCancelled, CleaningScheduled, GuestCheckedIn, GuestTold,
    NoShowCharged, RoomBooked, RoomCleaned, RoomClosed, RoomMadeAvailable,
};
pub use id::{Client, Id, Room};

//! What the hotel's plugins share: rooms, clients, dates, and the events that pass between them.
//!
//! Unknown fields are ignored everywhere: a client may send more than a rule needs, and an event of tomorrow may say
//! more than the view of today reads. What is known must be right: a value that breaks its type's promise is not read.
#![forbid(unsafe_code)]

mod actor;
mod date;
mod events;
mod id;

pub use actor::Actor;
pub use date::Date;
pub use events::{CleaningScheduled, GuestCheckedIn, RoomBooked, RoomCleaned, RoomMadeAvailable};
pub use id::{Client, Id, Room};

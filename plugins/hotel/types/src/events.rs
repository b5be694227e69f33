//! The data of the hotel's events. Each event holds all that a view needs, so a view never has to look further.

use serde::{Deserialize, Serialize};

use crate::{Actor, Client, Date, Room};

/// `room-booked`: the room is the client's for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomBooked {
    /// The room.
    pub room: Room,
    /// The client of the booking.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// The person who booked it.
    pub by: Actor,
}

/// `room-made-available`: the client may check in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMadeAvailable {
    /// The room.
    pub room: Room,
    /// The client of the booking.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// The person who released it.
    pub by: Actor,
}

/// `guest-checked-in`: the client is in the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestCheckedIn {
    /// The room.
    pub room: Room,
    /// The client who booked it.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// The person who checked in.
    pub by: Actor,
}

/// `cleaning-scheduled`: the room is to be cleaned for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleaningScheduled {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// The person who asked for it.
    pub by: Actor,
}

/// `room-cleaned`: the room is clean for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomCleaned {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// The person who reported it.
    pub by: Actor,
}

/// `booking-paid`: the client has paid for the booking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingPaid {
    /// The room.
    pub room: Room,
    /// The client of the booking.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// The person who paid.
    pub by: Actor,
}

/// `booking-released`: the booking is no more, and the room may be booked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingReleased {
    /// The room.
    pub room: Room,
    /// The client whose booking it was.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// Why.
    pub reason: String,
    /// The person who released it.
    pub by: Actor,
}

/// `no-show-charged`: the guest did not come, and is charged for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoShowCharged {
    /// The room.
    pub room: Room,
    /// The client of the booking.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// The person who charged it.
    pub by: Actor,
}

/// `guest-told`: a message to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestTold {
    /// The room.
    pub room: Room,
    /// The client.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// What the client was told.
    pub message: String,
    /// The sender.
    pub by: Actor,
}

/// `cleaning-cancelled`: the room need not be cleaned for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleaningCancelled {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// The person who cancelled it.
    pub by: Actor,
}

/// `room-closed`: the room cannot be cleaned on the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomClosed {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// The person who closed it.
    pub by: Actor,
}

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

//! The data of the hotel's events. Each says all that a view needs, so that none has to look for more.

use serde::{Deserialize, Serialize};

use crate::{Actor, Client, Date, Room};

/// `room-booked`: the room is the client's for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomBooked {
    /// Which room.
    pub room: Room,
    /// For whom.
    pub client: Client,
    /// For which day.
    pub date: Date,
    /// Who booked it.
    pub by: Actor,
}

/// `room-made-available`: the client may check in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMadeAvailable {
    /// Which room.
    pub room: Room,
    /// For whom it is booked.
    pub client: Client,
    /// For which day.
    pub date: Date,
    /// Who released it.
    pub by: Actor,
}

/// `guest-checked-in`: the client is in the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestCheckedIn {
    /// Which room.
    pub room: Room,
    /// The client who booked it.
    pub client: Client,
    /// For which day.
    pub date: Date,
    /// Who checked in.
    pub by: Actor,
}

/// `cleaning-scheduled`: the room is to be cleaned for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleaningScheduled {
    /// Which room.
    pub room: Room,
    /// For which day.
    pub date: Date,
    /// Who asked for it.
    pub by: Actor,
}

/// `room-cleaned`: the room is clean for the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomCleaned {
    /// Which room.
    pub room: Room,
    /// For which day.
    pub date: Date,
    /// Who reported it.
    pub by: Actor,
}

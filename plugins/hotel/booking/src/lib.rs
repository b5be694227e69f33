//! The booking of one room for one day: booked once, made available once, entered once, by the client who booked it.
//!
//! The entity is `<room>.<day>`. The rules, by the code of their rejection:
//!
//! | command | code | when |
//! |---|---|---|
//! | `book-room` | `room-already-booked` | it is booked, by whomever |
//! | `make-room-available` | `nothing-booked` | there is no booking |
//! | | `already-available` | it was made available before |
//! | `check-in` | `nothing-booked` | there is no booking |
//! | | `booked-by-another-client` | the booking is not this client's |
//! | | `room-not-available` | it was not made available yet |
//! | | `already-checked-in` | the client is in the room |
#![forbid(unsafe_code)]

use hotel_types::{Actor, Client, Date, GuestCheckedIn, Room, RoomBooked, RoomMadeAvailable};
use pelton_plugin::{CommandHandler, Context, Rejection};
use serde::{Deserialize, Serialize};

/// What may be asked of a booking.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A client wants the room for the day.
    BookRoom {
        /// Which room.
        room: Room,
        /// For whom.
        client: Client,
        /// For which day.
        date: Date,
    },
    /// The room is ready for its guest.
    MakeRoomAvailable {
        /// Which room.
        room: Room,
        /// For which day.
        date: Date,
        /// Who says so; the manager where it is not said.
        by: Option<Actor>,
    },
    /// A client wants to enter the room.
    CheckIn {
        /// Which room.
        room: Room,
        /// Who wants to enter.
        client: Client,
        /// For which day.
        date: Date,
    },
}

/// What happens to a booking.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The room is the client's for the day.
    RoomBooked(RoomBooked),
    /// The client may check in.
    RoomMadeAvailable(RoomMadeAvailable),
    /// The client is in the room.
    GuestCheckedIn(GuestCheckedIn),
}

/// A room on a day: how far it is, and for whom.
#[derive(Debug, Default)]
pub enum Booking {
    /// Nobody has booked it.
    #[default]
    Free,
    /// It is booked, and not ready yet.
    Booked(Client),
    /// It waits for its guest.
    Available(Client),
    /// Its guest is there.
    Occupied(Client),
}

impl CommandHandler for Booking {
    type Command = Command;
    type Event = Event;

    fn evolve(&mut self, event: Event) {
        *self = match event {
            Event::RoomBooked(booked) => Booking::Booked(booked.client),
            Event::RoomMadeAvailable(available) => Booking::Available(available.client),
            Event::GuestCheckedIn(checked_in) => Booking::Occupied(checked_in.client),
        };
    }

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::BookRoom { room, client, date } => self.book(room, client, date),
            Command::MakeRoomAvailable { room, date, by } => {
                self.make_available(room, date, by.unwrap_or_else(Actor::manager))
            }
            Command::CheckIn { room, client, date } => self.check_in(room, &client, date),
        }
    }
}

impl Booking {
    fn book(&self, room: Room, client: Client, date: Date) -> Result<Vec<Event>, Rejection> {
        match self {
            Booking::Free => {
                let by = Actor::client(&client);
                Ok(vec![Event::RoomBooked(RoomBooked { room, client, date, by })])
            }
            // Nor by the same client: who books again means another booking, and there is none to be had.
            Booking::Booked(_) | Booking::Available(_) | Booking::Occupied(_) => {
                Err(refuse("room-already-booked", &room, date, "is booked already"))
            }
        }
    }

    fn make_available(&self, room: Room, date: Date, by: Actor) -> Result<Vec<Event>, Rejection> {
        match self {
            Booking::Free => Err(nothing_booked(&room, date)),
            Booking::Booked(client) => {
                let client = client.clone();
                Ok(vec![Event::RoomMadeAvailable(RoomMadeAvailable { room, client, date, by })])
            }
            Booking::Available(_) => Err(refuse("already-available", &room, date, "is available already")),
            Booking::Occupied(_) => Err(refuse(
                "already-available",
                &room,
                date,
                "was made available before, and its guest has checked in",
            )),
        }
    }

    fn check_in(&self, room: Room, client: &Client, date: Date) -> Result<Vec<Event>, Rejection> {
        match self {
            Booking::Free => Err(nothing_booked(&room, date)),
            // First of all: how far a room is, is nobody's business but its booker's.
            Booking::Booked(booker) | Booking::Available(booker) | Booking::Occupied(booker)
                if booker != client =>
            {
                Err(refuse("booked-by-another-client", &room, date, "is booked by another client"))
            }
            Booking::Booked(_) => {
                let still = "is not available yet: it is booked, and has still to be made available";
                Err(refuse("room-not-available", &room, date, still).detail("state", "booked"))
            }
            Booking::Available(booker) => {
                let (client, by) = (booker.clone(), Actor::client(booker));
                Ok(vec![Event::GuestCheckedIn(GuestCheckedIn { room, client, date, by })])
            }
            Booking::Occupied(_) => Err(refuse(
                "already-checked-in",
                &room,
                date,
                "is occupied: its guest has checked in already",
            )),
        }
    }
}

fn nothing_booked(room: &Room, date: Date) -> Rejection {
    refuse("nothing-booked", room, date, "is not booked")
}

fn refuse(code: &str, room: &Room, date: Date, why: &str) -> Rejection {
    Rejection::new(code, format!("on {date}, room {} {why}", room.id))
        .detail("room", room.id.to_string())
        .detail("date", date.to_string())
}

pelton_plugin::export_command_handler!(Booking);

#[cfg(test)]
mod tests;

//! The booking of one room for one day. A room is booked once, made available once, and entered once, by the client who
//! booked it.
//!
//! The entity is `<room>.<day>`. The rules, by the code of their rejection:
//!
//! | command | code | when |
//! |---|---|---|
//! | `book-room` | `room-already-booked` | the room is booked, by any client |
//! | `make-room-available` | `nothing-booked` | there is no booking |
//! | | `already-available` | the room was made available before |
//! | `check-in` | `nothing-booked` | there is no booking |
//! | | `booked-by-another-client` | another client has the booking |
//! | | `room-not-available` | the room was not made available yet |
//! | | `already-checked-in` | the client is in the room |
#![forbid(unsafe_code)]

use hotel_types::{Actor, Client, Date, GuestCheckedIn, Room, RoomBooked, RoomMadeAvailable};
use pelton_plugin::{CommandHandler, Context, Rejection};
use serde::{Deserialize, Serialize};

/// The commands of a booking.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A client wants the room for the day.
    BookRoom {
        /// The room.
        room: Room,
        /// The client of the booking.
        client: Client,
        /// The day.
        date: Date,
    },
    /// The room is ready for its guest.
    MakeRoomAvailable {
        /// The room.
        room: Room,
        /// The day.
        date: Date,
        /// The sender's name; the manager if the sender gives none.
        by: Option<Actor>,
    },
    /// A client wants to enter the room.
    CheckIn {
        /// The room.
        room: Room,
        /// The client who wants to enter.
        client: Client,
        /// The day.
        date: Date,
    },
}

/// The events of a booking.
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

/// The rules of a booking: the codes of rejections.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The room is booked, by any client.
    RoomAlreadyBooked,
    /// There is no booking.
    NothingBooked,
    /// The room was made available before.
    AlreadyAvailable,
    /// Another client has the booking.
    BookedByAnotherClient,
    /// The room was not made available yet.
    RoomNotAvailable,
    /// The client is in the room.
    AlreadyCheckedIn,
}

/// The state of a room on a day, and the client who booked it.
#[derive(Debug, Default)]
pub enum Booking {
    /// It is not booked.
    #[default]
    Free,
    /// It is booked and not ready yet.
    Booked(Client),
    /// It waits for its guest.
    Available(Client),
    /// Its guest is there.
    Occupied(Client),
}

impl CommandHandler for Booking {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;

    fn evolve(&mut self, event: Event) {
        *self = match event {
            Event::RoomBooked(booked) => Booking::Booked(booked.client),
            Event::RoomMadeAvailable(available) => Booking::Available(available.client),
            Event::GuestCheckedIn(checked_in) => Booking::Occupied(checked_in.client),
        };
    }

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
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
    fn book(&self, room: Room, client: Client, date: Date) -> Result<Vec<Event>, Rejection<Rule>> {
        match self {
            Booking::Free => {
                let by = Actor::client(&client);
                Ok(vec![Event::RoomBooked(RoomBooked { room, client, date, by })])
            }
            // This also refuses the same client: a second command means a second booking, and the room has only one.
            Booking::Booked(_) | Booking::Available(_) | Booking::Occupied(_) => {
                Err(refuse(Rule::RoomAlreadyBooked, &room, date, "is booked already"))
            }
        }
    }

    fn make_available(&self, room: Room, date: Date, by: Actor) -> Result<Vec<Event>, Rejection<Rule>> {
        match self {
            Booking::Free => Err(nothing_booked(&room, date)),
            Booking::Booked(client) => {
                let client = client.clone();
                Ok(vec![Event::RoomMadeAvailable(RoomMadeAvailable { room, client, date, by })])
            }
            Booking::Available(_) => Err(refuse(Rule::AlreadyAvailable, &room, date, "is available already")),
            Booking::Occupied(_) => Err(refuse(
                Rule::AlreadyAvailable,
                &room,
                date,
                "was made available before, and its guest has checked in",
            )),
        }
    }

    fn check_in(&self, room: Room, client: &Client, date: Date) -> Result<Vec<Event>, Rejection<Rule>> {
        match self {
            Booking::Free => Err(nothing_booked(&room, date)),
            // This check comes first: only the client who booked the room may learn its state.
            Booking::Booked(booker) | Booking::Available(booker) | Booking::Occupied(booker)
                if booker != client =>
            {
                Err(refuse(Rule::BookedByAnotherClient, &room, date, "is booked by another client"))
            }
            Booking::Booked(_) => {
                let still = "is not available yet: it is booked, and has still to be made available";
                Err(refuse(Rule::RoomNotAvailable, &room, date, still).detail("state", "booked"))
            }
            Booking::Available(booker) => {
                let (client, by) = (booker.clone(), Actor::client(booker));
                Ok(vec![Event::GuestCheckedIn(GuestCheckedIn { room, client, date, by })])
            }
            Booking::Occupied(_) => Err(refuse(
                Rule::AlreadyCheckedIn,
                &room,
                date,
                "is occupied: its guest has checked in already",
            )),
        }
    }
}

fn nothing_booked(room: &Room, date: Date) -> Rejection<Rule> {
    refuse(Rule::NothingBooked, room, date, "is not booked")
}

fn refuse(rule: Rule, room: &Room, date: Date, why: &str) -> Rejection<Rule> {
    Rejection::new(rule, format!("on {date}, room {} {why}", room.id))
        .detail("room", room.id.to_string())
        .detail("date", date.to_string())
}

pelton_plugin::export_command_handler!(Booking);

#[cfg(test)]
mod tests;

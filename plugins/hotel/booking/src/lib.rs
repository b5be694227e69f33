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
//! | `pay-booking` | `nothing-booked` | there is no booking |
//! | | `booked-by-another-client` | another client has the booking |
//! | | `already-paid` | the booking is paid |
//! | `release-room` | `nothing-booked` | there is no booking |
//! | | `already-checked-in` | the guest is in the room |
//! | `charge-no-show` | `nothing-booked` | there is no booking |
//! | | `already-checked-in` | the guest came |
//! | | `already-charged` | it was charged before |
//!
//! `tell-guest` is never refused.
#![forbid(unsafe_code)]

use hotel_types::{
    Actor, BookingPaid, BookingReleased, Client, Date, GuestCheckedIn, GuestTold, NoShowCharged, Room,
    RoomBooked, RoomMadeAvailable,
};
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
    /// A client pays for the booking.
    PayBooking {
        /// The room.
        room: Room,
        /// The client who pays.
        client: Client,
        /// The day.
        date: Date,
    },
    /// The booking is given up.
    ReleaseRoom {
        /// The room.
        room: Room,
        /// The day.
        date: Date,
        /// Why.
        reason: String,
        /// The sender's name; the manager if the sender gives none.
        by: Option<Actor>,
    },
    /// The guest did not come.
    ChargeNoShow {
        /// The room.
        room: Room,
        /// The day.
        date: Date,
        /// The sender's name; the manager if the sender gives none.
        by: Option<Actor>,
    },
    /// A client is told something about the booking.
    TellGuest {
        /// The room.
        room: Room,
        /// The client.
        client: Client,
        /// The day.
        date: Date,
        /// What the client is told.
        message: String,
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
    /// The client has paid.
    BookingPaid(BookingPaid),
    /// The booking is no more.
    BookingReleased(BookingReleased),
    /// The guest did not come, and pays for it.
    NoShowCharged(NoShowCharged),
    /// A client was told something.
    GuestTold(GuestTold),
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
    /// The booking is paid.
    AlreadyPaid,
    /// The guest who did not come was charged before.
    AlreadyCharged,
}

/// A room on a day: whose it is, how far it is, and what was paid.
#[derive(Debug, Default)]
pub struct Booking {
    state: State,
    is_paid: bool,
    is_charged: bool,
}

/// The state of a room on a day, and the client who booked it.
#[derive(Debug, Default)]
enum State {
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

impl State {
    /// The client who booked it.
    fn client(&self) -> Option<&Client> {
        match self {
            State::Free => None,
            State::Booked(client) | State::Available(client) | State::Occupied(client) => Some(client),
        }
    }
}

impl CommandHandler for Booking {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;

    fn evolve(&mut self, event: Event) {
        match event {
            Event::RoomBooked(booked) => self.state = State::Booked(booked.client),
            Event::RoomMadeAvailable(available) => self.state = State::Available(available.client),
            Event::GuestCheckedIn(checked_in) => self.state = State::Occupied(checked_in.client),
            Event::BookingPaid(_) => self.is_paid = true,
            Event::NoShowCharged(_) => self.is_charged = true,
            Event::BookingReleased(_) => *self = Self::default(),
            Event::GuestTold(_) => {}
        }
    }

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
        match command {
            Command::BookRoom { room, client, date } => self.book(room, client, date),
            Command::MakeRoomAvailable { room, date, by } => {
                self.make_available(room, date, by.unwrap_or_else(Actor::manager))
            }
            Command::CheckIn { room, client, date } => self.check_in(room, &client, date),
            Command::PayBooking { room, client, date } => self.pay(room, &client, date),
            Command::ReleaseRoom { room, date, reason, by } => {
                self.release(room, date, reason, by.unwrap_or_else(Actor::manager))
            }
            Command::ChargeNoShow { room, date, by } => {
                self.charge_no_show(room, date, by.unwrap_or_else(Actor::manager))
            }
            Command::TellGuest { room, client, date, message, by } => {
                let by = by.unwrap_or_else(Actor::manager);
                Ok(vec![Event::GuestTold(GuestTold { room, client, date, message, by })])
            }
        }
    }
}

impl Booking {
    fn book(&self, room: Room, client: Client, date: Date) -> Result<Vec<Event>, Rejection<Rule>> {
        match &self.state {
            State::Free => {
                let by = Actor::client(&client);
                Ok(vec![Event::RoomBooked(RoomBooked { room, client, date, by })])
            }
            // This also refuses the same client: a second command means a second booking, and the room has only one.
            State::Booked(_) | State::Available(_) | State::Occupied(_) => {
                Err(refuse(Rule::RoomAlreadyBooked, &room, date, "is booked already"))
            }
        }
    }

    fn make_available(&self, room: Room, date: Date, by: Actor) -> Result<Vec<Event>, Rejection<Rule>> {
        match &self.state {
            State::Free => Err(nothing_booked(&room, date)),
            State::Booked(client) => {
                let client = client.clone();
                Ok(vec![Event::RoomMadeAvailable(RoomMadeAvailable { room, client, date, by })])
            }
            State::Available(_) => Err(refuse(Rule::AlreadyAvailable, &room, date, "is available already")),
            State::Occupied(_) => Err(refuse(
                Rule::AlreadyAvailable,
                &room,
                date,
                "was made available before, and its guest has checked in",
            )),
        }
    }

    fn check_in(&self, room: Room, client: &Client, date: Date) -> Result<Vec<Event>, Rejection<Rule>> {
        match &self.state {
            State::Free => Err(nothing_booked(&room, date)),
            // This check comes first: only the client who booked the room may learn its state.
            State::Booked(booker) | State::Available(booker) | State::Occupied(booker)
                if booker != client =>
            {
                Err(refuse(Rule::BookedByAnotherClient, &room, date, "is booked by another client"))
            }
            State::Booked(_) => {
                let still = "is not available yet: it is booked, and has still to be made available";
                Err(refuse(Rule::RoomNotAvailable, &room, date, still).detail("state", "booked"))
            }
            State::Available(booker) => {
                let (client, by) = (booker.clone(), Actor::client(booker));
                Ok(vec![Event::GuestCheckedIn(GuestCheckedIn { room, client, date, by })])
            }
            State::Occupied(_) => Err(refuse(
                Rule::AlreadyCheckedIn,
                &room,
                date,
                "is occupied: its guest has checked in already",
            )),
        }
    }

    fn pay(&self, room: Room, client: &Client, date: Date) -> Result<Vec<Event>, Rejection<Rule>> {
        match self.state.client() {
            None => Err(nothing_booked(&room, date)),
            Some(booker) if booker != client => {
                Err(refuse(Rule::BookedByAnotherClient, &room, date, "is booked by another client"))
            }
            Some(_) if self.is_paid => Err(refuse(Rule::AlreadyPaid, &room, date, "is paid already")),
            Some(booker) => {
                let (client, by) = (booker.clone(), Actor::client(booker));
                Ok(vec![Event::BookingPaid(BookingPaid { room, client, date, by })])
            }
        }
    }

    fn release(
        &self,
        room: Room,
        date: Date,
        reason: String,
        by: Actor,
    ) -> Result<Vec<Event>, Rejection<Rule>> {
        match &self.state {
            State::Free => Err(nothing_booked(&room, date)),
            State::Occupied(_) => {
                Err(refuse(Rule::AlreadyCheckedIn, &room, date, "is occupied: its guest has checked in"))
            }
            State::Booked(client) | State::Available(client) => {
                let client = client.clone();
                Ok(vec![Event::BookingReleased(BookingReleased { room, client, date, reason, by })])
            }
        }
    }

    fn charge_no_show(&self, room: Room, date: Date, by: Actor) -> Result<Vec<Event>, Rejection<Rule>> {
        match &self.state {
            State::Free => Err(nothing_booked(&room, date)),
            State::Occupied(_) => Err(refuse(Rule::AlreadyCheckedIn, &room, date, "has its guest: he came")),
            State::Booked(_) | State::Available(_) if self.is_charged => {
                Err(refuse(Rule::AlreadyCharged, &room, date, "was charged before"))
            }
            State::Booked(client) | State::Available(client) => {
                let client = client.clone();
                Ok(vec![Event::NoShowCharged(NoShowCharged { room, client, date, by })])
            }
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

//! Housekeeping: a room that was booked is cleaned, and a room that was cleaned is made available.
//!
//! There is one instance for each booking, `<room>~<day>`. It begins with the booking, asks for the cleaning, waits for
//! it, makes the room available, and ends when that is so, whoever did it. Whatever is repeated stays harmless: the
//! handlers refuse what was done before, and a refusal tells the instance to go on.
#![forbid(unsafe_code)]

use hotel_types::{Actor, Date, GuestCheckedIn, Room, RoomBooked, RoomCleaned, RoomMadeAvailable};
use pelton_plugin::{
    CommandResult, Correlation, EventMeta, Failure, Input, Outcome, Outcomes, Reaction, Saga, log,
};
use serde::{Deserialize, Serialize};

/// What it reads, of the handlers for bookings and for cleanings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A booking begins, and with it an instance.
    RoomBooked(RoomBooked),
    /// The room is clean.
    RoomCleaned(RoomCleaned),
    /// The room is available: all is done.
    RoomMadeAvailable(RoomMadeAvailable),
    /// The guest is there: all is done.
    GuestCheckedIn(GuestCheckedIn),
}

/// What it asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Of the handler for cleanings.
    ScheduleCleaning(Request),
    /// Of the handler for bookings.
    MakeRoomAvailable(Request),
}

/// A room, a day, and who asks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Which room.
    pub room: Room,
    /// For which day.
    pub date: Date,
    /// Always housekeeping.
    pub by: Actor,
}

/// How far an instance is, and with which room.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// Which room.
    pub room: Room,
    /// For which day.
    pub date: Date,
    /// What it waits for.
    pub step: Step,
}

/// What an instance waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The room to be cleaned.
    Cleaning,
    /// The room to be available.
    MakingAvailable,
}

/// The process.
#[derive(Debug)]
pub struct Housekeeping;

impl Saga for Housekeeping {
    type Event = Event;
    type Command = Command;
    type State = State;

    // Without them, an instance whose command is refused waits for the event that made it so.
    const OUTCOMES: Outcomes = Outcomes::Optional;

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        vec![match event {
            Event::RoomBooked(e) => Correlation::start(instance(&e.room, e.date)),
            Event::RoomCleaned(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::RoomMadeAvailable(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::GuestCheckedIn(e) => Correlation::advance(instance(&e.room, e.date)),
        }]
    }

    fn react(_: &str, state: Option<State>, input: Input<Event>) -> Result<Reaction<Self>, Failure> {
        Ok(match (input, state) {
            (Input::Event(Event::RoomBooked(booked), _), None) => clean(booked.room, booked.date),
            (_, None) => Reaction::end(),
            (Input::Event(Event::RoomCleaned(_), _), Some(state)) => make_available(state),
            (Input::Event(Event::RoomMadeAvailable(_) | Event::GuestCheckedIn(_), _), Some(_)) => {
                Reaction::end()
            }
            (Input::Outcome(outcome), Some(state)) => go_on(state, outcome),
            (Input::Event(Event::RoomBooked(_), _) | Input::Timer(_), Some(state)) => Reaction::keep(state),
        })
    }
}

fn clean(room: Room, date: Date) -> Reaction<Housekeeping> {
    let request = Request { room: room.clone(), date, by: Actor::housekeeping() };
    Reaction::keep(State { room, date, step: Step::Cleaning }).send(Command::ScheduleCleaning(request))
}

fn make_available(state: State) -> Reaction<Housekeeping> {
    if state.step == Step::MakingAvailable {
        return Reaction::keep(state);
    }
    let request = Request { room: state.room.clone(), date: state.date, by: Actor::housekeeping() };
    Reaction::keep(State { step: Step::MakingAvailable, ..state }).send(Command::MakeRoomAvailable(request))
}

/// A command of its own has ended.
fn go_on(state: State, outcome: Outcome) -> Reaction<Housekeeping> {
    match (state.step, outcome.command_type.as_str(), outcome.result) {
        // Somebody was faster, and the cleaning is over: no event of it will come.
        (Step::Cleaning, "schedule-cleaning", CommandResult::Rejected(rejection))
            if rejection.details.iter().any(|(name, value)| name == "state" && value == "cleaned") =>
        {
            make_available(state)
        }
        // The room is available, or there is nothing to make available: either way there is nothing left to do.
        (_, "make-room-available", CommandResult::Accepted(_)) => Reaction::end(),
        (_, "make-room-available", CommandResult::Rejected(rejection)) => {
            log::info(format!("the room was not made available: {}", rejection.message));
            Reaction::end()
        }
        // A dead letter can be replayed: its events will come then.
        (_, command, CommandResult::Failed(cause)) => {
            log::error(format!("{command} was set aside: {cause}"));
            Reaction::keep(state)
        }
        _ => Reaction::keep(state),
    }
}

/// `<room>~<day>`, with the room's id escaped where an instance's id may not have a character, or where it would not be
/// told apart. An id has at most 36 bytes, so that the instance's id stays below 128 even if all are escaped.
fn instance(room: &Room, date: Date) -> String {
    let mut instance = String::new();
    for char in room.id.to_string().chars() {
        if matches!(char, '.' | '*' | '>' | '~' | '%') || char.is_whitespace() || char.is_control() {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                instance.push_str(&format!("%{byte:02X}"));
            }
        } else {
            instance.push(char);
        }
    }
    format!("{instance}~{date}")
}

pelton_plugin::export_saga!(Housekeeping);

#[cfg(test)]
mod tests;

//! Housekeeping: a room that was booked is cleaned, and a room that was cleaned is made available.
//!
//! There is one instance for each booking, `<room>~<day>`. It starts with the booking, sends the command to clean the
//! room, waits for the cleaning, makes the room available, and ends when the room is available, whoever made it so.
//! Repetition is harmless: a handler rejects what was done before, and the rejection tells the instance to go on.
#![forbid(unsafe_code)]

use hotel_types::{Actor, Date, GuestCheckedIn, Room, RoomBooked, RoomCleaned, RoomMadeAvailable};
use pelton_plugin::{
    CommandResult, Correlation, EventMeta, Failure, Input, InputContext, NoTimers, Outcome, Outcomes,
    Outgoing, Reaction, Saga, log,
};
use serde::{Deserialize, Serialize};

/// The events that the plugin reads, from the handlers for bookings and for cleanings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A booking begins, and with it an instance.
    RoomBooked(RoomBooked),
    /// The room is clean.
    RoomCleaned(RoomCleaned),
    /// The room is available; the instance is done.
    RoomMadeAvailable(RoomMadeAvailable),
    /// The guest is in the room; the instance is done.
    GuestCheckedIn(GuestCheckedIn),
}

/// The commands that the saga sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Goes to the handler for cleanings.
    ScheduleCleaning(Request),
    /// Goes to the handler for bookings.
    MakeRoomAvailable(Request),
}

/// A room, a day, and the name of the sender.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// Always housekeeping.
    pub by: Actor,
}

/// The progress of an instance, and its room and day.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// What the instance waits for.
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

/// What an instance calls the command that it waits for first.
const CLEANING: &str = "cleaning";
/// What it calls the one after.
const AVAILABLE: &str = "available";

/// The saga.
#[derive(Debug)]
pub struct Housekeeping;

impl Saga for Housekeeping {
    type Event = Event;
    type Command = Command;
    type Timer = NoTimers;
    type State = State;

    // Without them, an instance whose command is refused waits for the event that made it so.
    const OUTCOMES: Outcomes = Outcomes::Optional;

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        vec![match event {
            Event::RoomBooked(e) => Correlation::start_once(instance(&e.room, e.date)),
            Event::RoomCleaned(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::RoomMadeAvailable(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::GuestCheckedIn(e) => Correlation::advance(instance(&e.room, e.date)),
        }]
    }

    fn react(state: Option<State>, input: Input<Event>, _: &InputContext) -> Result<Reaction<Self>, Failure> {
        Ok(match (input, state) {
            (Input::Event(Event::RoomBooked(booked), _), None) => clean(booked.room, booked.date),
            (_, None) => Reaction::end(),
            (Input::Event(Event::RoomCleaned(_), _), Some(state)) => make_available(state),
            (Input::Event(Event::RoomMadeAvailable(_) | Event::GuestCheckedIn(_), _), Some(_)) => {
                Reaction::end()
            }
            (Input::Outcome(outcome), Some(state)) => go_on(state, outcome),
            (Input::Event(Event::RoomBooked(_), _), Some(state)) => Reaction::keep(state),
            (Input::Timer(none, _), _) => match none {},
        })
    }
}

fn clean(room: Room, date: Date) -> Reaction<Housekeeping> {
    let request = Request { room: room.clone(), date, by: Actor::housekeeping() };
    Reaction::keep(State { room, date, step: Step::Cleaning })
        .send(Outgoing::new(Command::ScheduleCleaning(request)).reference(CLEANING))
}

fn make_available(state: State) -> Reaction<Housekeeping> {
    if state.step == Step::MakingAvailable {
        return Reaction::keep(state);
    }
    let request = Request { room: state.room.clone(), date: state.date, by: Actor::housekeeping() };
    Reaction::keep(State { step: Step::MakingAvailable, ..state })
        .send(Outgoing::new(Command::MakeRoomAvailable(request)).reference(AVAILABLE))
}

/// Continues after a command of the instance has ended.
fn go_on(state: State, outcome: Outcome) -> Reaction<Housekeeping> {
    match (state.step, outcome.reference.as_deref(), outcome.result) {
        // Another sender scheduled this cleaning, and it is done: no event of it will come.
        (Step::Cleaning, Some(CLEANING), CommandResult::Rejected(rejection))
            if rejection.details.iter().any(|(name, value)| name == "state" && value == "cleaned") =>
        {
            make_available(state)
        }
        // The room is available, or there is nothing to make available: the instance is done.
        (_, Some(AVAILABLE), CommandResult::Accepted(_)) => Reaction::end(),
        (_, Some(AVAILABLE), CommandResult::Rejected(rejection)) => {
            log::info(format!("the room was not made available: {}", rejection.message));
            Reaction::end()
        }
        // An operator can have a dead letter decided; its outcome comes then.
        (_, _, CommandResult::SetAside(cause)) => {
            log::warn(format!("{} was set aside: {cause}", outcome.command_type));
            Reaction::keep(state)
        }
        // The manager can still do by hand what the command was for; its events come then.
        (_, _, CommandResult::Failed(cause)) => {
            log::error(format!("{} was given up: {cause}", outcome.command_type));
            Reaction::keep(state)
        }
        _ => Reaction::keep(state),
    }
}

/// `<room>~<day>`. Characters of the room's id that an instance id may not contain, or that would make two ids equal,
/// are escaped. A room's id has at most 36 bytes, so the instance id stays below 128 bytes even if all of them are
/// escaped.
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

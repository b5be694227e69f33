//! Housekeeping: sees a booking through. A room that was booked is cleaned, and a room that was cleaned is made available.
//!
//! There is one instance for each booking, `<room>~<day>`, from the booking to the guest in the room:
//!
//! | what happens | what follows |
//! |---|---|
//! | the room is booked | its cleaning is scheduled, and payment is waited for |
//! | it is not paid in time | the cleaning is cancelled, the room released, the guest told |
//! | the cleaning is refused | the room is released, and the guest told |
//! | the room is clean | it is made available |
//! | it is paid | it is kept; at the end of its day a guest who did not come is charged |
//! | the guest checks in, or the booking is given up | the instance ends, and its timers with it |
//!
//! Repetition is harmless: a handler rejects what was done before, and the rejection tells the instance to go on.
#![forbid(unsafe_code)]

mod instance;

use std::time::Duration;

use hotel_types::{
    Actor, BookingPaid, BookingReleased, Client, Date, GuestCheckedIn, Room, RoomBooked, RoomCleaned,
    RoomMadeAvailable,
};
use pelton_plugin::{
    CommandResult, Correlation, EventMeta, Failure, Input, InputContext, Outcome, Outcomes, Outgoing,
    Reaction, Rejection, Saga, Timestamp, Undo, log, settings,
};
use serde::{Deserialize, Serialize};

use instance::instance;

/// How long a booking waits to be paid, unless the setting says otherwise.
const PAY_WITHIN: Duration = Duration::from_secs(15 * 60);
/// The setting with the seconds that a booking waits to be paid.
const PAY_WITHIN_SETTING: &str = "pay-within-seconds";

/// The events that the plugin reads, from the handlers for bookings and for cleanings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A booking begins, and with it an instance.
    RoomBooked(RoomBooked),
    /// The booking is paid.
    BookingPaid(BookingPaid),
    /// The booking is no more; the instance is done.
    BookingReleased(BookingReleased),
    /// The room is clean.
    RoomCleaned(RoomCleaned),
    /// The room is available.
    RoomMadeAvailable(RoomMadeAvailable),
    /// The guest is in the room; the instance is done.
    GuestCheckedIn(GuestCheckedIn),
}

/// The commands that the saga sends. The author of each is always housekeeping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Goes to the handler for cleanings.
    ScheduleCleaning(Request),
    /// Goes to the handler for cleanings.
    CancelCleaning(Request),
    /// Goes to the handler for bookings.
    MakeRoomAvailable(Request),
    /// Goes to the handler for bookings.
    ReleaseRoom {
        /// The room.
        room: Room,
        /// The day.
        date: Date,
        /// Why.
        reason: String,
        /// Always housekeeping.
        by: Actor,
    },
    /// Goes to the handler for bookings.
    ChargeNoShow(Request),
    /// Goes to the handler for bookings.
    TellGuest {
        /// The room.
        room: Room,
        /// The client.
        client: Client,
        /// The day.
        date: Date,
        /// What the client is told.
        message: String,
        /// Always housekeeping.
        by: Actor,
    },
}

/// A room, a day, and the name of the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// Always housekeeping.
    pub by: Actor,
}

/// What an instance waits for with a timer. The id of a timer is its type.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timer {
    /// The booking is not paid in time.
    Unpaid {},
    /// The day is over, and the guest did not come.
    NoShow {},
}

const UNPAID: &str = "unpaid";
const NO_SHOW: &str = "no-show";

/// The progress of an instance, and its booking.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The room.
    pub room: Room,
    /// The client of the booking.
    pub client: Client,
    /// The day.
    pub date: Date,
    /// What the instance waits for.
    pub step: Step,
    /// Whether nobody knows yet if the cleaning will be scheduled. Until then the instance stays, to cancel it.
    pub cleaning_is_open: bool,
    /// Whether the booking is no more.
    pub is_released: bool,
    /// What was done for the booking, and what undoes it.
    pub undo: Undo<Command>,
}

/// What an instance waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The room to be cleaned.
    Cleaning,
    /// The room to be available.
    MakingAvailable,
    /// The guest.
    Guest,
    /// The room to be released.
    Releasing,
    /// The guest who did not come to be charged.
    Charging,
}

/// What an instance calls its commands.
const CLEANING: &str = "cleaning";
const AVAILABLE: &str = "available";
const RELEASE: &str = "undo booking";
const CHARGE: &str = "charge";

/// The saga.
#[derive(Debug)]
pub struct Housekeeping;

impl Saga for Housekeeping {
    type Event = Event;
    type Command = Command;
    type Timer = Timer;
    type State = State;

    // Without them nobody would know of a cleaning that is refused.
    const OUTCOMES: Outcomes = Outcomes::Required;

    fn check_settings() -> Result<(), String> {
        pay_within().map(drop)
    }

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        vec![match event {
            // A room that was released may be booked again for the same day.
            Event::RoomBooked(e) => Correlation::start(instance(&e.room, e.date)),
            Event::BookingPaid(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::BookingReleased(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::RoomCleaned(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::RoomMadeAvailable(e) => Correlation::advance(instance(&e.room, e.date)),
            Event::GuestCheckedIn(e) => Correlation::advance(instance(&e.room, e.date)),
        }]
    }

    fn react(
        state: Option<State>,
        input: Input<Event, Timer>,
        context: &InputContext,
    ) -> Result<Reaction<Self>, Failure> {
        let Some(state) = state else {
            return match input {
                Input::Event(Event::RoomBooked(booked), _) => begin(booked, context.time),
                _ => Ok(Reaction::end()),
            };
        };
        Ok(match input {
            Input::Event(Event::RoomBooked(_), _) => Reaction::keep(state),
            Input::Event(Event::BookingPaid(_), _) => paid(state),
            Input::Event(Event::RoomCleaned(_), _) => make_available(state),
            Input::Event(Event::RoomMadeAvailable(_), _) => wait_for_guest(state),
            Input::Event(Event::GuestCheckedIn(_), _) => Reaction::end(),
            Input::Event(Event::BookingReleased(_), _) => released(state),
            Input::Timer(Timer::Unpaid {}, _) => give_up(state, "it was not paid in time"),
            Input::Timer(Timer::NoShow {}, _) => charge_no_show(state),
            Input::Outcome(outcome) => go_on(state, outcome),
        })
    }
}

fn begin(booked: RoomBooked, now: Timestamp) -> Result<Reaction<Housekeeping>, Failure> {
    let RoomBooked { room, client, date, .. } = booked;
    let due = now + pay_within().map_err(Failure::Other)?;
    let mut undo = Undo::default();
    let (reason, by) = ("housekeeping cannot get it ready".to_owned(), Actor::housekeeping());
    undo.done("booking", Command::ReleaseRoom { room: room.clone(), date, reason, by });
    let state =
        State { room, client, date, step: Step::Cleaning, cleaning_is_open: true, is_released: false, undo };
    let clean = Outgoing::new(Command::ScheduleCleaning(state.request())).reference(CLEANING);
    Ok(Reaction::keep(state).send(clean).set_timer(UNPAID, due, &Timer::Unpaid {}))
}

fn pay_within() -> Result<Duration, String> {
    Ok(settings::parse(PAY_WITHIN_SETTING)?.map_or(PAY_WITHIN, Duration::from_secs))
}

impl State {
    fn request(&self) -> Request {
        Request { room: self.room.clone(), date: self.date, by: Actor::housekeeping() }
    }

    fn tell(&self, message: String) -> Command {
        let (room, client) = (self.room.clone(), self.client.clone());
        Command::TellGuest { room, client, date: self.date, message, by: Actor::housekeeping() }
    }
}

fn make_available(mut state: State) -> Reaction<Housekeeping> {
    // What is clean need not be cancelled.
    state.undo.forget(CLEANING);
    if state.step != Step::Cleaning {
        return Reaction::keep(state);
    }
    let command = Outgoing::new(Command::MakeRoomAvailable(state.request())).reference(AVAILABLE);
    Reaction::keep(State { step: Step::MakingAvailable, ..state }).send(command)
}

fn wait_for_guest(state: State) -> Reaction<Housekeeping> {
    match state.step {
        Step::Cleaning | Step::MakingAvailable => Reaction::keep(State { step: Step::Guest, ..state }),
        Step::Guest | Step::Releasing | Step::Charging => Reaction::keep(state),
    }
}

fn paid(state: State) -> Reaction<Housekeeping> {
    let due = Timestamp::from_nanos(state.date.end_in_seconds().saturating_mul(1_000_000_000));
    Reaction::keep(state).cancel_timer(UNPAID).set_timer(NO_SHOW, due, &Timer::NoShow {})
}

fn charge_no_show(state: State) -> Reaction<Housekeeping> {
    let command = Outgoing::new(Command::ChargeNoShow(state.request())).reference(CHARGE);
    Reaction::keep(State { step: Step::Charging, ..state }).send(command)
}

/// Tells the guest, and undoes everything. The instance ends when the room is released.
fn give_up(mut state: State, why: &str) -> Reaction<Housekeeping> {
    let (room, date, reason, by) = (state.room.clone(), state.date, why.to_owned(), Actor::housekeeping());
    state.undo.done("booking", Command::ReleaseRoom { room, date, reason, by });
    let undo = std::mem::take(&mut state.undo);
    let told = state.tell(format!("the booking is given up: {why}"));
    let reaction = Reaction::keep(State { step: Step::Releasing, ..state });
    reaction.send(told).undo(undo).cancel_timer(UNPAID).cancel_timer(NO_SHOW)
}

/// The booking is no more: this saga released it, or somebody else did.
fn released(mut state: State) -> Reaction<Housekeeping> {
    state.undo.forget("booking");
    let undo = std::mem::take(&mut state.undo);
    end_if_done(State { step: Step::Releasing, is_released: true, ..state }).undo(undo)
}

/// Ends an instance whose booking was given up, once nothing is left to undo.
fn end_if_done(state: State) -> Reaction<Housekeeping> {
    match state.is_released && !state.cleaning_is_open {
        true => Reaction::end(),
        false => Reaction::keep(state).cancel_timer(UNPAID).cancel_timer(NO_SHOW),
    }
}

/// It is known whether the cleaning is scheduled. Another sender may have done so, and may have had it done.
fn cleaning_ended(mut state: State, result: CommandResult) -> Reaction<Housekeeping> {
    let says = |rejection: &Rejection, state: &str| {
        rejection.details.iter().any(|(name, value)| name == "state" && value == state)
    };
    state.cleaning_is_open = !result.is_final();
    match (result, state.step) {
        (CommandResult::Accepted(_), Step::Cleaning) => {
            state.undo.done(CLEANING, Command::CancelCleaning(state.request()));
            Reaction::keep(state)
        }
        // The booking was given up before the cleaning was scheduled.
        (CommandResult::Accepted(_), Step::Releasing) => {
            let cancel = Outgoing::new(Command::CancelCleaning(state.request())).reference("undo cleaning");
            end_if_done(state).send(cancel)
        }
        (_, Step::Releasing) => end_if_done(state),
        // It is done: no event of it will come.
        (CommandResult::Rejected(rejection), Step::Cleaning) if says(&rejection, "cleaned") => {
            make_available(state)
        }
        // Its event comes.
        (CommandResult::Rejected(rejection), Step::Cleaning) if says(&rejection, "scheduled") => {
            Reaction::keep(state)
        }
        (CommandResult::Rejected(rejection), Step::Cleaning) => {
            give_up(state, &format!("it cannot be cleaned: {}", rejection.message))
        }
        // The manager can still have it cleaned by hand; its events come then.
        _ => Reaction::keep(state),
    }
}

/// Continues after a command of the instance has ended.
fn go_on(state: State, outcome: Outcome) -> Reaction<Housekeeping> {
    match &outcome.result {
        // An operator can have a dead letter decided; its outcome comes then.
        CommandResult::SetAside(cause) => {
            log::warn(format!("{} was set aside: {cause}", outcome.command_type));
        }
        CommandResult::Failed(cause) => log::error(format!("{} was given up: {cause}", outcome.command_type)),
        CommandResult::Accepted(_) | CommandResult::Rejected(_) => {}
    }
    match (outcome.reference.as_deref(), outcome.result) {
        (Some(CLEANING), result) => cleaning_ended(state, result),
        (Some(AVAILABLE), CommandResult::Accepted(_)) => wait_for_guest(state),
        // It was available before, or there is nothing to make available: an event has come of that, or comes.
        (Some(AVAILABLE), CommandResult::Rejected(rejection)) => match rejection.code.as_str() {
            "nothing-booked" => released(state),
            _ => wait_for_guest(state),
        },
        (Some(RELEASE), CommandResult::Accepted(_) | CommandResult::Rejected(_)) => {
            end_if_done(State { is_released: true, ..state })
        }
        (Some(CHARGE), CommandResult::Accepted(_) | CommandResult::Rejected(_)) => Reaction::end(),
        _ => Reaction::keep(state),
    }
}

pelton_plugin::export_saga!(Housekeeping);

#[cfg(test)]
mod tests;

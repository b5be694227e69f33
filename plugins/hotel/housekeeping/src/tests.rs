use hotel_booking::{Booking, Event as Booked};
use hotel_cleaning::{Cleaning, Event as Cleaned};
use hotel_types::{CleaningScheduled, Client, Id};
use pelton_plugin::Rejection;
use pelton_plugin::testing::{SagaAfter, TestCommandHandler, TestSaga};

use super::*;

const INSTANCE: &str = "1~2022-12-12";

fn date() -> Date {
    Date::parse("2022-12-12").expect("it exists")
}

fn booked() -> Booked {
    let (room, client) = (Room::new(1), Client::new(7));
    Booked::RoomBooked(RoomBooked { room, date: date(), by: Actor::client(&client), client })
}

fn scheduled() -> Cleaned {
    let (room, by) = (Room::new(1), Actor::housekeeping());
    Cleaned::CleaningScheduled(CleaningScheduled { room, date: date(), by })
}

fn cleaned() -> Cleaned {
    Cleaned::RoomCleaned(RoomCleaned { room: Room::new(1), date: date(), by: Actor::manager() })
}

fn available() -> Booked {
    let (room, client, by) = (Room::new(1), Client::new(7), Actor::housekeeping());
    Booked::RoomMadeAvailable(RoomMadeAvailable { room, client, date: date(), by })
}

fn checked_in() -> Booked {
    let (room, client) = (Room::new(1), Client::new(7));
    Booked::GuestCheckedIn(GuestCheckedIn { room, date: date(), by: Actor::client(&client), client })
}

fn request() -> Request {
    Request { room: Room::new(1), date: date(), by: Actor::housekeeping() }
}

fn state(step: Step) -> State {
    State { room: Room::new(1), date: date(), step }
}

fn waiting() -> SagaAfter<Housekeeping> {
    Housekeeping::given([booked()])
}

fn making_available() -> SagaAfter<Housekeeping> {
    waiting().when([cleaned()])
}

/// The answer of the handler for cleanings to a command that comes after these events.
fn refused(history: impl IntoIterator<Item = Cleaned>) -> CommandResult {
    let json = serde_json::to_string(&request()).expect("it has a JSON form");
    let decision = Cleaning::given(history).when_sent("schedule-cleaning", &json);
    CommandResult::Rejected(decision.then_rejected("cleaning-already-scheduled"))
}

#[test]
fn a_booked_room_is_cleaned_and_a_clean_room_is_made_available() {
    Housekeeping::given([booked()])
        .then_sends([Command::ScheduleCleaning(request())])
        .when([scheduled()])
        .then_sends([])
        .then_state(INSTANCE, &state(Step::Cleaning))
        .when([cleaned()])
        .then_sends([Command::MakeRoomAvailable(request())])
        .then_state(INSTANCE, &state(Step::MakingAvailable))
        .when([available()])
        .then_sends([])
        .then_ended(INSTANCE);
}

#[test]
fn the_handlers_take_its_commands() {
    let json = serde_json::to_string(&request()).expect("it has a JSON form");
    Cleaning::given([]).when_sent("schedule-cleaning", &json).then([scheduled()]);
    Booking::given([booked()]).when_sent("make-room-available", &json).then([available()]);
}

#[test]
fn repeats_ask_for_nothing() {
    waiting().when([booked()]).then_sends([]).then_state(INSTANCE, &state(Step::Cleaning));
    making_available().when([cleaned()]).then_sends([]).then_state(INSTANCE, &state(Step::MakingAvailable));
    making_available().when([booked()]).then_sends([]);
    let ended = || making_available().when([available()]);
    ended().when([cleaned()]).then_sends([]).then_ended(INSTANCE);
    ended().when([available(), checked_in()]).then_sends([]).then_ended(INSTANCE);
}

#[test]
fn a_booking_that_comes_again_after_the_end_starts_nothing() {
    making_available().when([available()]).when([booked()]).then_sends([]).then_ended(INSTANCE);
}

#[test]
fn it_ends_when_the_handler_says_that_the_room_was_available_before() {
    let json = serde_json::to_string(&request()).expect("it has a JSON form");
    let again = Booking::given([booked(), available()]).when_sent("make-room-available", &json);
    let rejected = CommandResult::Rejected(again.then_rejected("already-available"));
    making_available().when_outcome(INSTANCE, "make-room-available", rejected).then_ended(INSTANCE);
}

#[test]
fn a_cleaning_that_another_sender_has_scheduled_is_waited_for() {
    waiting()
        .when_outcome(INSTANCE, "schedule-cleaning", refused([scheduled()]))
        .then_sends([])
        .when([cleaned()])
        .then_sends([Command::MakeRoomAvailable(request())]);
}

#[test]
fn a_room_that_was_clean_before_its_booking_is_made_available() {
    Housekeeping::given([scheduled(), cleaned()]).then_ended(INSTANCE);
    waiting()
        .when_outcome(INSTANCE, "schedule-cleaning", refused([scheduled(), cleaned()]))
        .then_sends([Command::MakeRoomAvailable(request())]);
}

#[test]
fn it_ends_when_the_room_is_available_whoever_did_it() {
    waiting().when([available()]).then_ended(INSTANCE).when([cleaned()]).then_sends([]);
    waiting().when([checked_in()]).then_ended(INSTANCE);
    let accepted = CommandResult::Accepted(vec!["event".into()]);
    making_available().when_outcome(INSTANCE, "make-room-available", accepted).then_ended(INSTANCE);
}

#[test]
fn what_became_of_a_command_that_was_set_aside_or_given_up_is_waited_for() {
    let waits =
        waiting().when_outcome(INSTANCE, "schedule-cleaning", CommandResult::SetAside("broken".into()));
    // Its dead letter is decided after all.
    waits
        .then_state(INSTANCE, &state(Step::Cleaning))
        .when_outcome(INSTANCE, "schedule-cleaning", refused([scheduled(), cleaned()]))
        .then_sends([Command::MakeRoomAvailable(request())]);
    making_available()
        .when_outcome_of(INSTANCE, AVAILABLE, CommandResult::Failed("dropped".into()))
        .then_state(INSTANCE, &state(Step::MakingAvailable))
        .when([available()])
        .then_ended(INSTANCE);
}

#[test]
fn an_accepted_or_otherwise_refused_cleaning_changes_nothing() {
    for result in [
        CommandResult::Accepted(vec![]),
        CommandResult::Rejected(Rejection::new("invalid-command".to_owned(), "")),
    ] {
        let after = waiting().when_outcome(INSTANCE, "schedule-cleaning", result);
        after.then_sends([]).then_state(INSTANCE, &state(Step::Cleaning));
    }
}

#[test]
fn every_id_of_a_room_makes_an_instance_of_its_own() {
    let instance = |id: &str| instance(&Room::new(Id::from_text(id).expect("it is an id")), date());
    assert_eq!(instance("7"), "7~2022-12-12");
    assert_eq!(instance("a.b*c>d~e%f g"), "a%2Eb%2Ac%3Ed%7Ee%25f%20g~2022-12-12");
    assert_eq!(instance("é\u{3000}é"), "é%E3%80%80é~2022-12-12");
    assert!(instance(&"*".repeat(36)).len() <= 128);
}

#[test]
fn what_is_unknown_is_skipped_and_what_is_unreadable_is_set_aside() {
    waiting()
        .when_recorded("room-cleaned", 2, "?")
        .then_sends([])
        .then_state(INSTANCE, &state(Step::Cleaning));
    let failure = waiting().when_recorded("room-cleaned", 1, r#"{"room":{"id":1}}"#).then_failure();
    assert!(matches!(failure, Failure::Invalid(cause) if cause.contains("missing field `date`")));
}

use hotel_booking::{Booking, Event as Booked};
use hotel_cleaning::{Cleaning, Event as Cleaned};
use hotel_types::{CleaningCancelled, CleaningScheduled, Id, NoShowCharged, RoomClosed};
use pelton_plugin::testing::{START, SagaAfter, TestCommandHandler, TestSaga, event};

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

fn step_of(after: &SagaAfter<Housekeeping>) -> Option<Step> {
    after.state(INSTANCE).map(|state| state.step)
}

fn paid() -> Booked {
    let (room, client) = (Room::new(1), Client::new(7));
    Booked::BookingPaid(BookingPaid { room, date: date(), by: Actor::client(&client), client })
}

fn released(reason: &str) -> Booked {
    let (room, client, by, reason) = (Room::new(1), Client::new(7), Actor::housekeeping(), reason.to_owned());
    Booked::BookingReleased(BookingReleased { room, client, date: date(), reason, by })
}

fn release(reason: &str) -> Command {
    let (room, by, reason) = (Room::new(1), Actor::housekeeping(), reason.to_owned());
    Command::ReleaseRoom { room, date: date(), reason, by }
}

fn tell(why: &str) -> Command {
    let (room, client, by) = (Room::new(1), Client::new(7), Actor::housekeeping());
    let message = format!("the booking is given up: {why}");
    Command::TellGuest { room, client, date: date(), message, by }
}

fn accepted() -> CommandResult {
    CommandResult::Accepted(vec!["event".into()])
}

fn waiting() -> SagaAfter<Housekeeping> {
    Housekeeping::given([booked()])
}

fn making_available() -> SagaAfter<Housekeeping> {
    waiting().when([cleaned()])
}

/// The answer of the handler for cleanings to a command that comes after these events.
fn refused(history: impl IntoIterator<Item = Cleaned>, code: &str) -> CommandResult {
    let decision = Cleaning::given(history).when_received(&Command::ScheduleCleaning(request()));
    CommandResult::Rejected(decision.then_rejected(code))
}

const ALREADY: &str = "cleaning-already-scheduled";
const LATE: &str = "it was not paid in time";

#[test]
fn a_booked_room_is_cleaned_made_available_and_entered() {
    let after = waiting()
        .then_sends([Command::ScheduleCleaning(request())])
        .when_outcome(INSTANCE, "schedule-cleaning", accepted())
        .when([scheduled()])
        .then_sends([]);
    assert_eq!(step_of(&after), Some(Step::Cleaning));
    let after = after.when([cleaned()]).then_sends([Command::MakeRoomAvailable(request())]).when_restarted();
    assert_eq!(step_of(&after), Some(Step::MakingAvailable));
    let after = after.when([available()]).then_sends([]);
    assert_eq!(step_of(&after), Some(Step::Guest));
    after.when([checked_in()]).then_sends([]).then_ended(INSTANCE).then_timer(INSTANCE, UNPAID, None);
}

#[test]
fn the_handlers_take_its_commands() {
    let take = |command: &Command| Booking::given([booked()]).when_received(command);
    Cleaning::given([]).when_received(&Command::ScheduleCleaning(request())).then([scheduled()]);
    take(&Command::MakeRoomAvailable(request())).then([available()]);
    take(&release(LATE)).then([released(LATE)]);
    let (room, client, by) = (Room::new(1), Client::new(7), Actor::housekeeping());
    take(&Command::ChargeNoShow(request())).then([Booked::NoShowCharged(NoShowCharged {
        room: room.clone(),
        client: client.clone(),
        date: date(),
        by: by.clone(),
    })]);
    let message = format!("the booking is given up: {LATE}");
    take(&tell(LATE)).then([Booked::GuestTold(hotel_types::GuestTold {
        room: room.clone(),
        client,
        date: date(),
        message,
        by: by.clone(),
    })]);
    Cleaning::given([scheduled()])
        .when_received(&Command::CancelCleaning(request()))
        .then([Cleaned::CleaningCancelled(CleaningCancelled { room, date: date(), by })]);
}

#[test]
fn a_booking_that_is_not_paid_in_time_is_released_and_its_cleaning_cancelled() {
    let due = START + Duration::from_secs(1) + PAY_WITHIN;
    let after = waiting()
        .then_timer(INSTANCE, UNPAID, Some(due))
        .when_outcome(INSTANCE, "schedule-cleaning", accepted())
        .advance(PAY_WITHIN - Duration::from_secs(1))
        .then_sends([])
        .advance(Duration::from_secs(1))
        .then_sends([tell(LATE), Command::CancelCleaning(request()), release(LATE)])
        .when_restarted();
    let released_by_itself = after.when([released(LATE)]).then_sends([]).then_ended(INSTANCE);
    // What comes of the commands comes late.
    released_by_itself
        .when_outcome_of(INSTANCE, RELEASE, accepted())
        .then_sends([])
        // And the room can be booked again.
        .when([booked()])
        .then_sends([Command::ScheduleCleaning(request())]);
}

#[test]
fn a_cleaning_that_is_scheduled_after_the_booking_was_given_up_is_cancelled() {
    waiting()
        .advance(PAY_WITHIN)
        .then_sends([tell(LATE), release(LATE)])
        .when_outcome(INSTANCE, "schedule-cleaning", accepted())
        .then_sends([Command::CancelCleaning(request())])
        .when([released(LATE)])
        .then_ended(INSTANCE);
    // Until it is known whether the cleaning is scheduled, the instance stays.
    let after = waiting().advance(PAY_WITHIN).when([released(LATE)]).then_sends([]);
    assert_eq!(step_of(&after), Some(Step::Releasing));
    let rejected = refused([scheduled()], ALREADY);
    after.when_outcome(INSTANCE, "schedule-cleaning", rejected).then_sends([]).then_ended(INSTANCE);
    waiting()
        .advance(PAY_WITHIN)
        .when([released(LATE)])
        .when_outcome(INSTANCE, "schedule-cleaning", accepted())
        .then_sends([Command::CancelCleaning(request())])
        .then_ended(INSTANCE);
}

#[test]
fn how_long_a_booking_waits_is_a_setting() {
    let _set = pelton_plugin::testing::settings([(PAY_WITHIN_SETTING, "60")]);
    waiting().then_timer(INSTANCE, UNPAID, Some(START + Duration::from_secs(61)));
    let _wrong = pelton_plugin::testing::settings([(PAY_WITHIN_SETTING, "soon")]);
    assert!(Housekeeping::check_settings().is_err());
}

#[test]
fn a_guest_who_has_paid_and_does_not_come_is_charged_at_the_end_of_the_day() {
    let end: Timestamp = "2022-12-13T00:00:00Z".parse().expect("a time");
    let morning: Timestamp = "2022-12-12T08:00:00Z".parse().expect("a time");
    let paid = Housekeeping::given([event(booked()).at(morning), event(paid())]);
    paid.then_timer(INSTANCE, UNPAID, None)
        .then_timer(INSTANCE, NO_SHOW, Some(end))
        .when_late_timer(INSTANCE, UNPAID)
        .when([cleaned()])
        .when([available()])
        .advance(Duration::from_secs(24 * 60 * 60))
        .then_sends([Command::ChargeNoShow(request())])
        .when_outcome_of(INSTANCE, CHARGE, accepted())
        .then_ended(INSTANCE);
}

#[test]
fn a_guest_who_came_is_not_charged() {
    waiting()
        .when([paid()])
        .when([cleaned()])
        .when([available()])
        .when([checked_in()])
        .then_ended(INSTANCE)
        .then_timer(INSTANCE, NO_SHOW, None);
}

#[test]
fn a_cleaning_that_is_refused_releases_the_room_and_tells_the_guest() {
    let closed = || {
        let (room, by) = (Room::new(1), Actor::manager());
        Cleaned::RoomClosed(RoomClosed { room, date: date(), by })
    };
    let why = "it cannot be cleaned: on 2022-12-12, room 1 is closed";
    waiting()
        .when_outcome(INSTANCE, "schedule-cleaning", refused([closed()], "room-closed"))
        .then_sends([tell(why), release(why)])
        .then_timer(INSTANCE, UNPAID, None)
        .when_outcome_of(INSTANCE, RELEASE, accepted())
        .then_ended(INSTANCE);
}

#[test]
fn a_booking_that_somebody_else_gives_up_is_not_cleaned_for() {
    waiting()
        .when_outcome(INSTANCE, "schedule-cleaning", accepted())
        .when([released("the guest called")])
        .then_sends([Command::CancelCleaning(request())])
        .then_ended(INSTANCE);
}

#[test]
fn repeats_ask_for_nothing() {
    let after = waiting().when([booked()]).then_sends([]);
    assert_eq!(step_of(&after), Some(Step::Cleaning));
    let after = making_available().when([cleaned()]).then_sends([]);
    assert_eq!(step_of(&after), Some(Step::MakingAvailable));
    making_available().when([booked()]).then_sends([]);
    let ended = || making_available().when([checked_in()]);
    ended().when([cleaned()]).then_sends([]).then_ended(INSTANCE);
    ended().when([available(), checked_in()]).then_sends([]).then_ended(INSTANCE);
}

#[test]
fn it_goes_on_when_the_handler_says_that_the_room_was_available_before() {
    let again = Booking::given([booked(), available()]).when_received(&Command::MakeRoomAvailable(request()));
    let rejected = CommandResult::Rejected(again.then_rejected("already-available"));
    let after = making_available().when_outcome(INSTANCE, "make-room-available", rejected);
    assert_eq!(step_of(&after), Some(Step::Guest));
    let none = Booking::given([]).when_received(&Command::MakeRoomAvailable(request()));
    let rejected = CommandResult::Rejected(none.then_rejected("nothing-booked"));
    making_available()
        .when_outcome(INSTANCE, "schedule-cleaning", accepted())
        .when_outcome(INSTANCE, "make-room-available", rejected)
        .then_ended(INSTANCE);
}

#[test]
fn a_cleaning_that_another_sender_has_scheduled_is_waited_for() {
    waiting()
        .when_outcome(INSTANCE, "schedule-cleaning", refused([scheduled()], ALREADY))
        .then_sends([])
        .when([cleaned()])
        .then_sends([Command::MakeRoomAvailable(request())]);
}

#[test]
fn a_room_that_was_clean_before_its_booking_is_made_available() {
    Housekeeping::given([scheduled(), cleaned()]).then_ended(INSTANCE);
    waiting()
        .when_outcome(INSTANCE, "schedule-cleaning", refused([scheduled(), cleaned()], ALREADY))
        .then_sends([Command::MakeRoomAvailable(request())]);
}

#[test]
fn what_became_of_a_command_that_was_set_aside_or_given_up_is_waited_for() {
    let waits =
        waiting().when_outcome(INSTANCE, "schedule-cleaning", CommandResult::SetAside("broken".into()));
    assert_eq!(step_of(&waits), Some(Step::Cleaning));
    // Its dead letter is decided after all.
    waits
        .when_outcome(INSTANCE, "schedule-cleaning", refused([scheduled(), cleaned()], ALREADY))
        .then_sends([Command::MakeRoomAvailable(request())]);
    let after =
        making_available().when_outcome_of(INSTANCE, AVAILABLE, CommandResult::Failed("dropped".into()));
    assert_eq!(step_of(&after), Some(Step::MakingAvailable));
    let after = after.when([available()]);
    assert_eq!(step_of(&after), Some(Step::Guest));
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
    let after = waiting().when_recorded("room-cleaned", 2, "?").then_sends([]);
    assert_eq!(step_of(&after), Some(Step::Cleaning));
    let failure = waiting().when_recorded("room-cleaned", 1, r#"{"room":{"id":1}}"#).then_failure();
    assert!(matches!(failure, Failure::Invalid(cause) if cause.contains("missing field `date`")));
}

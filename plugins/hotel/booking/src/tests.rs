use hotel_types::Id;
use pelton_plugin::testing::TestCommandHandler;

use super::*;

const ROOM_AND_DATE: &str = r#"{"room":{"id":1},"date":"2022-12-12"}"#;

fn date() -> Date {
    Date::parse("2022-12-12").expect("it exists")
}

fn book(client: u64) -> Command {
    Command::BookRoom { room: Room::new(1), client: Client::new(client), date: date() }
}

fn make_available() -> Command {
    Command::MakeRoomAvailable { room: Room::new(1), date: date(), by: Some(Actor::housekeeping()) }
}

fn check_in(client: u64) -> Command {
    Command::CheckIn { room: Room::new(1), client: Client::new(client), date: date() }
}

fn booked() -> Event {
    let client = Client::new(7);
    Event::RoomBooked(RoomBooked { room: Room::new(1), date: date(), by: Actor::client(&client), client })
}

fn available_by(by: Actor) -> Event {
    let (room, client) = (Room::new(1), Client::new(7));
    Event::RoomMadeAvailable(RoomMadeAvailable { room, client, date: date(), by })
}

fn available() -> Event {
    available_by(Actor::housekeeping())
}

fn checked_in() -> Event {
    let client = Client::new(7);
    Event::GuestCheckedIn(GuestCheckedIn {
        room: Room::new(1),
        date: date(),
        by: Actor::client(&client),
        client,
    })
}

fn all() -> [Event; 3] {
    [booked(), available(), checked_in()]
}

#[test]
fn a_booking_goes_from_booked_to_available_to_checked_in() {
    Booking::given([]).when(book(7)).then([booked()]);
    Booking::given([booked()]).when(make_available()).then([available()]);
    Booking::given([booked(), available()]).when(check_in(7)).then([checked_in()]);
}

#[test]
fn a_room_is_booked_once_even_by_the_same_client() {
    for history in [vec![booked()], vec![booked(), available()], all().into()] {
        Booking::given(history).when(book(7)).then_rejected("room-already-booked");
    }
    let rejection = Booking::given([booked()]).when(book(8)).then_rejected("room-already-booked");
    assert_eq!(rejection.message, "on 2022-12-12, room 1 is booked already");
    let details = [("room", "1"), ("date", "2022-12-12")];
    assert_eq!(rejection.details, details.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_room_is_made_available_once_and_only_if_booked() {
    Booking::given([]).when(make_available()).then_rejected("nothing-booked");
    let again =
        Booking::given([booked(), available()]).when(make_available()).then_rejected("already-available");
    assert_eq!(again.message, "on 2022-12-12, room 1 is available already");
    Booking::given(all()).when(make_available()).then_rejected("already-available");
}

#[test]
fn who_makes_a_room_available_is_the_manager_unless_said() {
    let command = |by| format!(r#"{{"room":{{"id":1}},"date":"2022-12-12"{by}}}"#);
    for by in ["", r#","by":null"#, r#","by":"manager""#] {
        let decision = Booking::given([booked()]).when_sent("make-room-available", &command(by));
        decision.then([available_by(Actor::manager())]);
    }
    let decision =
        Booking::given([booked()]).when_sent("make-room-available", &command(r#","by":"housekeeping""#));
    decision.then([available()]);
}

#[test]
fn a_guest_checks_in_once_and_only_if_the_room_is_booked_and_available() {
    let nothing = Booking::given([]).when(check_in(7)).then_rejected("nothing-booked");
    assert_eq!(nothing.message, "on 2022-12-12, room 1 is not booked");
    let early = Booking::given([booked()]).when(check_in(7)).then_rejected("room-not-available");
    assert_eq!(
        early.message,
        "on 2022-12-12, room 1 is not available yet: it is booked, and has still to be made available"
    );
    assert!(early.details.contains(&("state".into(), "booked".into())));
    Booking::given(all()).when(check_in(7)).then_rejected("already-checked-in");
}

#[test]
fn only_the_client_who_booked_checks_in_and_others_learn_no_more() {
    for history in [vec![booked()], vec![booked(), available()], all().into()] {
        let rejection = Booking::given(history).when(check_in(8)).then_rejected("booked-by-another-client");
        assert_eq!(rejection.message, "on 2022-12-12, room 1 is booked by another client");
    }
}

#[test]
fn an_id_may_be_sent_as_number_or_text_and_keeps_its_form() {
    let json = r#"{"room":{"id":"1"},"client":{"id":"7"},"date":"2022-12-12","note":"ignored"}"#;
    let id = |text| Id::from_text(text).expect("it is an id");
    let (room, client) = (Room::new(id("1")), Client::new(id("7")));
    let by = Actor::client(&client);
    let booked_as_text = Event::RoomBooked(RoomBooked { room, client, date: date(), by });
    Booking::given([]).when_sent("book-room", json).then([booked_as_text]);
    Booking::given([booked(), available()]).when_sent("check-in", json).then([Event::GuestCheckedIn(
        GuestCheckedIn {
            room: Room::new(id("1")),
            client: Client::new(7),
            date: date(),
            by: Actor::client(&Client::new(7)),
        },
    )]);
}

#[test]
fn a_command_that_cannot_be_read_is_refused() {
    let cases = [
        ("book-room", ROOM_AND_DATE, "missing field `client`"),
        ("check-in", ROOM_AND_DATE, "missing field `client`"),
        ("make-room-available", r#"{"room":{"id":1}}"#, "missing field `date`"),
        ("make-room-available", r#"{"room":{"id":1},"date":"2022-02-29"}"#, "a date of the calendar"),
        ("make-room-available", r#"{"room":{"id":1.5},"date":"2022-12-12"}"#, "an id: a whole number"),
        (
            "make-room-available",
            r#"{"room":{"id":1},"date":"2022-12-12","by":""}"#,
            "a name has 1 to 64 bytes",
        ),
        ("make-room-available", r#"{"room":1,"date":"2022-12-12"}"#, "expected struct Room"),
        (
            "make-room-available",
            r#"{"room":{"id":1},"date":"2022-12-12"}}"#,
            "trailing characters at line 1 column 38",
        ),
        ("book-room", "", "EOF while parsing"),
        ("room-booked", "{}", "there is no command `room-booked`"),
    ];
    for (command, data, cause) in cases {
        let rejection = Booking::given([]).when_sent(command, data).then_rejected("invalid-command");
        assert!(rejection.message.contains(cause), "{}", rejection.message);
    }
}

#[test]
fn an_event_that_cannot_be_read_stops_the_booking() {
    let cause = Booking::given([booked()]).recorded("room-booked", 1, ROOM_AND_DATE).then_unreadable();
    assert!(cause.contains("sequence 2) cannot be read: missing field `client`"), "{cause}");
    let cause = Booking::given([]).recorded("room-booked", 2, "{}").then_unreadable();
    assert!(cause.contains("unknown"), "{cause}");
}

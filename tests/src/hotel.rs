//! The hotel over HTTP: accepted and refused steps.

use crate::example::{Example, Step};

const BOOK: &str = "/mutation/book-room";
const CLEANUP: &str = "/mutation/cleanup";
const CHECK_IN: &str = "/mutation/checkin";
const PAY: &str = "/mutation/pay";
const CLOSE: &str = "/mutation/close";
const BOOKING_1: &str = "/views/bookings/1.2022-12-12";
const BOOKING_2: &str = "/views/bookings/2.2022-12-12";
const BOOKING_5: &str = "/views/bookings/5.2022-12-12";
const BOOKING_6: &str = "/views/bookings/6.2022-12-12";
const SCHEDULE: &str = "/views/cleaning-schedule/2022-12-12";

/// The example.
#[must_use]
pub fn example() -> Example {
    Example {
        name: "hotel",
        config: "plugins/hotel/pelton.toml",
        steps: [first_room(), second_room(), no_show(), closed_room(), bad_requests()]
            .into_iter()
            .flatten()
            .collect(),
        events: vec![(
            "hotel",
            vec![
                "booking.1.2022-12-12.room-booked.v1",
                "cleaning.1.2022-12-12.cleaning-scheduled.v1",
                "cleaning.1.2022-12-12.room-cleaned.v1",
                "booking.1.2022-12-12.room-made-available.v1",
                "booking.1.2022-12-12.guest-checked-in.v1",
                "booking.2.2022-12-12.room-booked.v1",
                "cleaning.2.2022-12-12.cleaning-scheduled.v1",
                "booking.5.2022-12-12.room-booked.v1",
                "cleaning.5.2022-12-12.cleaning-scheduled.v1",
                "booking.5.2022-12-12.booking-paid.v1",
                "booking.5.2022-12-12.no-show-charged.v1",
                "cleaning.6.2022-12-12.room-closed.v1",
                "booking.6.2022-12-12.room-booked.v1",
                "booking.6.2022-12-12.guest-told.v1",
                "booking.6.2022-12-12.booking-released.v1",
            ],
        )],
        views: vec!["bookings", "cleaning-schedule"],
    }
}

/// From the booking to the guest in the room. It has the three requests of DESIGN.md, in their order.
fn first_room() -> Vec<Step> {
    let book = r#"{"data":{"room":{"id":1},"client":{"id":1},"date":"2022-12-12"}}"#;
    let book_for_another = r#"{"data":{"room":{"id":1},"client":{"id":2},"date":"2022-12-12"}}"#;
    let cleanup = r#"{"data":{"room":{"id":1},"date":"2022-12-12"}}"#;
    let cleanup_next_day = r#"{"data":{"room":{"id":1},"date":"2022-12-13"}}"#;
    let check_in = book;
    let check_in_of_another = book_for_another;
    let check_in_next_day = r#"{"data":{"room":{"id":1},"client":{"id":1},"date":"2022-12-13"}}"#;
    vec![
        Step::put("A guest books room 1.", BOOK, book).accepted("room-booked"),
        Step::put("The same guest books it once more.", BOOK, book).rejected("room-already-booked"),
        Step::put("Another guest wants it too.", BOOK, book_for_another).rejected("room-already-booked"),
        Step::put("The guest checks in before the room is available.", CHECK_IN, check_in)
            .rejected("room-not-available"),
        Step::get("The bot reacts to the booking and has the room cleaned.", SCHEDULE).will_show(&[
            ("/rooms/0/room/id", "1"),
            ("/rooms/0/status", "scheduled"),
            ("/rooms/0/scheduledBy", "housekeeping"),
            ("/rooms/1", "nothing"),
        ]),
        Step::get("The booking shows it.", BOOKING_1)
            .will_show(&[("/availability", "cleaning"), ("/changedBy", "housekeeping")]),
        Step::put("The manager reports a day that nobody has booked.", CLEANUP, cleanup_next_day)
            .rejected("cleaning-not-scheduled"),
        Step::put("The manager reports the room clean.", CLEANUP, cleanup).accepted("room-cleaned"),
        Step::put("And once more.", CLEANUP, cleanup).rejected("already-cleaned"),
        Step::get("The bot makes the room available.", BOOKING_1)
            .will_show(&[("/availability", "available"), ("/changedBy", "housekeeping")]),
        Step::get("The schedule shows it clean.", SCHEDULE)
            .will_show(&[("/rooms/0/status", "cleaned"), ("/rooms/0/cleanedBy", "manager")]),
        Step::put("Another guest wants to check in.", CHECK_IN, check_in_of_another)
            .rejected("booked-by-another-client"),
        Step::put("The guest comes on the wrong day.", CHECK_IN, check_in_next_day)
            .rejected("nothing-booked"),
        Step::put("The guest checks in.", CHECK_IN, check_in).accepted("guest-checked-in"),
        Step::put("And once more.", CHECK_IN, check_in).rejected("already-checked-in"),
        Step::get("The room is occupied.", BOOKING_1).will_show(&[
            ("/availability", "occupied"),
            ("/client/id", "1"),
            ("/changedBy", "client 1"),
        ]),
    ]
}

/// A client that chooses the command's id may send the command any number of times.
fn second_room() -> Vec<Step> {
    let book = r#"{"id":"order-7","data":{"room":{"id":2},"client":{"id":1},"date":"2022-12-12"}}"#;
    let other = r#"{"id":"order-7","data":{"room":{"id":3},"client":{"id":1},"date":"2022-12-12"}}"#;
    vec![
        Step::put("A guest books room 2, with an id of its own.", BOOK, book).accepted("room-booked"),
        Step::put("The answer got lost: the same again. The same events, stored once.", BOOK, book).same(),
        Step::put("The same id for something else.", BOOK, other).rejected("command-id-reused"),
        Step::get("What became of it can be looked up.", "/commands/order-7").shows(&[
            ("/status", "accepted"),
            ("/commandType", "book-room"),
            ("/events/0/id", "order-7:0"),
        ]),
        Step::get("Room 2 is to be cleaned as well.", BOOKING_2).will_show(&[("/availability", "cleaning")]),
    ]
}

/// A guest who has paid and does not come. The day is long over, so the bot's timer goes off at once.
fn no_show() -> Vec<Step> {
    let book = r#"{"data":{"room":{"id":5},"client":{"id":1},"date":"2022-12-12"}}"#;
    vec![
        Step::put("A guest books room 5.", BOOK, book).accepted("room-booked"),
        Step::get("It is to be cleaned.", BOOKING_5).will_show(&[("/availability", "cleaning")]),
        Step::put("The guest pays.", PAY, book).accepted("booking-paid"),
        Step::get("The bot charges a guest who has not come by the end of the day.", BOOKING_5).will_show(&[
            ("/availability", "no-show"),
            ("/paid", "true"),
            ("/changedBy", "housekeeping"),
        ]),
    ]
}

/// A room that cannot be cleaned: the bot gives the booking up.
fn closed_room() -> Vec<Step> {
    let close = r#"{"data":{"room":{"id":6},"date":"2022-12-12"}}"#;
    let book = r#"{"data":{"room":{"id":6},"client":{"id":1},"date":"2022-12-12"}}"#;
    vec![
        Step::put("A pipe broke in room 6: it cannot be cleaned.", CLOSE, close).accepted("room-closed"),
        Step::put("A guest books it all the same.", BOOK, book).accepted("room-booked"),
        Step::get("The cleaning is refused, so the bot tells the guest and releases the room.", BOOKING_6)
            .will_show(&[("/availability", "released"), ("/changedBy", "housekeeping")]),
    ]
}

/// Requests that never reach a handler, except for the date, which only the handler checks.
fn bad_requests() -> Vec<Step> {
    let book = r#"{"data":{"room":{"id":4},"client":{"id":1},"date":"2022-12-12"}}"#;
    let no_date = r#"{"data":{"room":{"id":4},"client":{"id":1}}}"#;
    let wildcard = r#"{"data":{"room":{"id":"*"},"client":{"id":1},"date":"2022-12-12"}}"#;
    let no_day = r#"{"data":{"room":{"id":4},"client":{"id":1},"date":"2022-02-30"}}"#;
    vec![
        Step::put("A body that is no JSON.", BOOK, "book room 4, please").refused(400, "invalid-body"),
        Step::put("A booking without a date.", BOOK, no_date).refused(400, "invalid-entity"),
        Step::put("A room that would be every room.", BOOK, wildcard).refused(400, "invalid-entity"),
        Step::put("A day that does not exist.", BOOK, no_day).refused(400, "invalid-command"),
        Step::put("A route that does not exist.", "/mutation/burn-down", book).refused(404, "unknown-route"),
        Step::put("A body that is said to be plain text.", BOOK, book)
            .with("Content-Type", "text/plain")
            .refused(415, "unsupported-media-type"),
        Step::get("A booking that there is not.", "/views/bookings/4.2022-12-12").refused(404, "unknown-key"),
    ]
}

//! The view of bookings: for each room and day the client, the progress of the booking, and the author of the last
//! change.
//!
//! The key is `<room>.<day>`, for example `1.2022-12-12`. A room that is cleaned without being booked has no value.
#![forbid(unsafe_code)]

use hotel_types::{
    Actor, BookingPaid, BookingReleased, CleaningScheduled, Client, Date, GuestCheckedIn, NoShowCharged,
    Room, RoomBooked, RoomCleaned, RoomMadeAvailable,
};
use pelton_plugin::{EventMeta, Projection, Timestamp};
use serde::{Deserialize, Serialize};

/// The events that the plugin reads, from the handlers for bookings and for cleanings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The booking begins.
    RoomBooked(RoomBooked),
    /// The room of a booking is to be cleaned.
    CleaningScheduled(CleaningScheduled),
    /// The room of a booking is clean.
    RoomCleaned(RoomCleaned),
    /// The client may check in.
    RoomMadeAvailable(RoomMadeAvailable),
    /// The client is in the room.
    GuestCheckedIn(GuestCheckedIn),
    /// The client has paid.
    BookingPaid(BookingPaid),
    /// The booking is no more.
    BookingReleased(BookingReleased),
    /// The guest did not come.
    NoShowCharged(NoShowCharged),
}

/// One booking.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Booking {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// The client of the booking.
    pub client: Client,
    /// The progress of the booking.
    pub availability: Availability,
    /// Whether it is paid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paid: bool,
    /// The author of the last change.
    pub changed_by: Actor,
    /// The time of the last change.
    pub changed_at: Timestamp,
    /// The position of the last change in the stream.
    pub position: u64,
}

/// The progress of a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// It is booked.
    Booked,
    /// Its room is to be cleaned, or is clean and not yet made available.
    Cleaning,
    /// Its client may check in.
    Available,
    /// Its client is in the room.
    Occupied,
    /// Its client did not come, and was charged.
    #[serde(rename = "no-show")]
    NoShow,
    /// It was given up; the room can be booked again.
    Released,
}

/// The view of bookings.
#[derive(Debug)]
pub struct BookingView;

impl Projection for BookingView {
    type Event = Event;
    type View = Booking;

    fn keys(event: &Event, _: &EventMeta) -> Vec<String> {
        let (room, date, _) = event.what();
        vec![format!("{}.{date}", room.id)]
    }

    fn apply(_: &str, view: Option<Booking>, event: &Event, meta: &EventMeta) -> Option<Booking> {
        let (room, date, by) = event.what();
        let before = view.as_ref().map(|booking| booking.availability);
        let was_paid = view.as_ref().is_some_and(|booking| booking.paid);
        let client = match event {
            Event::BookingPaid(BookingPaid { client, .. })
            | Event::BookingReleased(BookingReleased { client, .. })
            | Event::NoShowCharged(NoShowCharged { client, .. }) => client.clone(),
            Event::RoomBooked(RoomBooked { client, .. })
            | Event::RoomMadeAvailable(RoomMadeAvailable { client, .. })
            | Event::GuestCheckedIn(GuestCheckedIn { client, .. }) => client.clone(),
            // A cleaning does not name the client: without a booking there is no value.
            Event::CleaningScheduled(_) | Event::RoomCleaned(_) => view?.client,
        };
        let availability = match (event, before) {
            (Event::RoomBooked(_), _) => Availability::Booked,
            (Event::RoomMadeAvailable(_), _) => Availability::Available,
            (Event::GuestCheckedIn(_), _) => Availability::Occupied,
            (Event::CleaningScheduled(_), None | Some(Availability::Booked)) => Availability::Cleaning,
            // A late cleaning does not make the room unavailable, and a clean room waits to be made available.
            (Event::CleaningScheduled(_), Some(later)) => later,
            (Event::RoomCleaned(_) | Event::BookingPaid(_), before) => before?,
            (Event::NoShowCharged(_), _) => Availability::NoShow,
            (Event::BookingReleased(_), _) => Availability::Released,
        };
        Some(Booking {
            room: room.clone(),
            date,
            client,
            availability,
            paid: matches!(event, Event::BookingPaid(_))
                || was_paid && !matches!(event, Event::RoomBooked(_)),
            changed_by: by.clone(),
            changed_at: meta.time,
            position: meta.sequence,
        })
    }
}

impl Event {
    /// The room, the day and the author of the event.
    fn what(&self) -> (&Room, Date, &Actor) {
        match self {
            Event::RoomBooked(e) => (&e.room, e.date, &e.by),
            Event::CleaningScheduled(e) => (&e.room, e.date, &e.by),
            Event::RoomCleaned(e) => (&e.room, e.date, &e.by),
            Event::RoomMadeAvailable(e) => (&e.room, e.date, &e.by),
            Event::GuestCheckedIn(e) => (&e.room, e.date, &e.by),
            Event::BookingPaid(e) => (&e.room, e.date, &e.by),
            Event::BookingReleased(e) => (&e.room, e.date, &e.by),
            Event::NoShowCharged(e) => (&e.room, e.date, &e.by),
        }
    }
}

pelton_plugin::export_projection!(BookingView);

#[cfg(test)]
mod tests {
    use hotel_booking::Event as Booked;
    use hotel_cleaning::Event as Cleaned;
    use pelton_plugin::Failure;
    use pelton_plugin::testing::{TestProjection, ViewAfter};

    use super::*;

    const KEY: &str = "1.2022-12-12";

    fn parts() -> (Room, Client, Date) {
        (Room::new(1), Client::new(7), Date::parse("2022-12-12").expect("it exists"))
    }

    fn booked() -> Booked {
        let (room, client, date) = parts();
        Booked::RoomBooked(RoomBooked { room, date, by: Actor::client(&client), client })
    }

    fn scheduled() -> Cleaned {
        let (room, _, date) = parts();
        Cleaned::CleaningScheduled(CleaningScheduled { room, date, by: Actor::housekeeping() })
    }

    fn cleaned() -> Cleaned {
        let (room, _, date) = parts();
        Cleaned::RoomCleaned(RoomCleaned { room, date, by: Actor::manager() })
    }

    fn available() -> Booked {
        let (room, client, date) = parts();
        Booked::RoomMadeAvailable(RoomMadeAvailable { room, client, date, by: Actor::housekeeping() })
    }

    fn checked_in() -> Booked {
        let (room, client, date) = parts();
        Booked::GuestCheckedIn(GuestCheckedIn { room, date, by: Actor::client(&client), client })
    }

    fn assert_view(after: &ViewAfter<BookingView>, availability: Availability, by: &str, position: u64) {
        let booking = after.view(KEY).expect("there is a booking");
        let found = (booking.availability, booking.changed_by.to_string(), booking.position);
        assert_eq!(found, (availability, by.to_owned(), position));
    }

    #[test]
    fn a_booking_shows_how_far_it_is_and_who_changed_it() {
        let after = BookingView::given([booked()]);
        assert_view(&after, Availability::Booked, "client 7", 1);
        let after = after.and([scheduled()]);
        assert_view(&after, Availability::Cleaning, "housekeeping", 2);
        let after = after.and([cleaned()]);
        assert_view(&after, Availability::Cleaning, "manager", 3);
        let after = after.and([available()]);
        assert_view(&after, Availability::Available, "housekeeping", 4);
        let after = after.and([checked_in()]);
        assert_view(&after, Availability::Occupied, "client 7", 5);
    }

    #[test]
    fn a_booking_shows_that_it_is_paid_charged_or_given_up() {
        let (room, client, date) = parts();
        let by = Actor::housekeeping();
        let paid = BookingPaid { room: room.clone(), client: client.clone(), date, by: by.clone() };
        let charged = NoShowCharged { room: room.clone(), client: client.clone(), date, by: by.clone() };
        let reason = "it was not paid in time".to_owned();
        let released = BookingReleased { room, client, date, reason, by };
        let after = BookingView::given([booked(), available(), Booked::BookingPaid(paid)]);
        assert_view(&after, Availability::Available, "housekeeping", 3);
        assert!(after.view(KEY).is_some_and(|booking| booking.paid));
        let after = after.and([Booked::NoShowCharged(charged)]);
        assert_view(&after, Availability::NoShow, "housekeeping", 4);
        assert!(after.view(KEY).is_some_and(|booking| booking.paid));
        let after = BookingView::given([booked(), Booked::BookingReleased(released)]);
        assert_view(&after, Availability::Released, "housekeeping", 2);
        // Another booking is not paid because the one before was.
        let after = after.and([booked()]);
        assert_view(&after, Availability::Booked, "client 7", 3);
    }

    #[test]
    fn a_value_is_what_clients_read() {
        let booking = BookingView::given([booked()]).view(KEY).expect("there is a booking");
        let json = r#"{"room":{"id":1},"date":"2022-12-12","client":{"id":7},"availability":"booked","changedBy":"client 7","changedAt":"2000-01-01T00:00:01Z","position":1}"#;
        assert_eq!(serde_json::to_string(&booking).expect("it has a JSON form"), json);
    }

    #[test]
    fn each_room_and_day_has_its_own_value() {
        let (room, client, date) =
            (Room::new(2), Client::new(8), Date::parse("2022-12-13").expect("it exists"));
        let other = Booked::RoomBooked(RoomBooked { room, date, by: Actor::client(&client), client });
        BookingView::given([booked(), other]).then_keys([KEY, "2.2022-12-13"]);
    }

    #[test]
    fn a_cleaning_without_a_booking_shows_nothing() {
        BookingView::given([scheduled(), cleaned()]).then_keys([]);
        assert_view(&BookingView::given([scheduled()]).and([booked()]), Availability::Booked, "client 7", 2);
    }

    #[test]
    fn a_late_cleaning_leaves_the_availability_alone() {
        let after = BookingView::given([booked(), available()]).and([scheduled()]);
        assert_view(&after, Availability::Available, "housekeeping", 3);
        assert_view(&after.and([checked_in()]).and([cleaned()]), Availability::Occupied, "manager", 5);
    }

    #[test]
    fn what_is_unknown_is_skipped_and_what_is_unreadable_is_set_aside() {
        let after =
            BookingView::given([booked()]).recorded("room-painted", 1, "?").recorded("room-booked", 2, "?");
        assert_view(&after, Availability::Booked, "client 7", 1);
        let failure =
            after.recorded("room-cleaned", 1, r#"{"room":{"id":1},"date":"2022-12-32"}"#).then_failure();
        assert!(matches!(failure, Failure::Invalid(cause) if cause.contains("a date of the calendar")));
    }
}

//! The schedule of cleanings: for each day the rooms to clean and the clean rooms, in the order of their ids.
//!
//! The key is the day, for example `2022-12-12`.
#![forbid(unsafe_code)]

use hotel_types::{Actor, CleaningCancelled, CleaningScheduled, Date, Room, RoomCleaned};
use pelton_plugin::{EventMeta, Projection};
use serde::{Deserialize, Serialize};

/// The events that the view reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A room is to be cleaned.
    CleaningScheduled(CleaningScheduled),
    /// A room is clean.
    RoomCleaned(RoomCleaned),
    /// A room need not be cleaned.
    CleaningCancelled(CleaningCancelled),
}

/// One day.
#[derive(Debug, Serialize, Deserialize)]
pub struct Day {
    /// The day.
    pub date: Date,
    /// Its rooms, each once, in the order of their ids.
    pub rooms: Vec<Cleaning>,
}

/// One room on one day.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cleaning {
    /// The room.
    pub room: Room,
    /// Whether the cleaning is done.
    pub status: Status,
    /// The person who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_by: Option<Actor>,
    /// The person who reported it done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaned_by: Option<Actor>,
}

/// Whether a room is clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is to be cleaned.
    Scheduled,
    /// It is clean.
    Cleaned,
}

/// The schedule of cleanings.
#[derive(Debug)]
pub struct CleaningSchedule;

impl Projection for CleaningSchedule {
    type Event = Event;
    type View = Day;

    fn keys(event: &Event, _: &EventMeta) -> Vec<String> {
        vec![event.what().1.to_string()]
    }

    fn apply(_: &str, view: Option<Day>, event: &Event, _: &EventMeta) -> Option<Day> {
        let (room, date) = event.what();
        let mut day = view.unwrap_or_else(|| Day { date, rooms: Vec::new() });
        let cleaning = day.cleaning_of(room);
        match event {
            Event::CleaningScheduled(scheduled) => cleaning.scheduled_by = Some(scheduled.by.clone()),
            Event::RoomCleaned(cleaned) => {
                cleaning.status = Status::Cleaned;
                cleaning.cleaned_by = Some(cleaned.by.clone());
            }
            Event::CleaningCancelled(_) => day.rooms.retain(|cleaning| cleaning.room != *room),
        }
        (!day.rooms.is_empty()).then_some(day)
    }
}

impl Day {
    /// The entry of `room`, created if it is missing.
    fn cleaning_of(&mut self, room: &Room) -> &mut Cleaning {
        let at = self.rooms.binary_search_by(|cleaning| cleaning.room.cmp(room)).unwrap_or_else(|at| {
            let (room, status) = (room.clone(), Status::Scheduled);
            self.rooms.insert(at, Cleaning { room, status, scheduled_by: None, cleaned_by: None });
            at
        });
        &mut self.rooms[at]
    }
}

impl Event {
    /// The room and the day of the event.
    fn what(&self) -> (&Room, Date) {
        match self {
            Event::CleaningScheduled(e) => (&e.room, e.date),
            Event::RoomCleaned(e) => (&e.room, e.date),
            Event::CleaningCancelled(e) => (&e.room, e.date),
        }
    }
}

pelton_plugin::export_projection!(CleaningSchedule);

#[cfg(test)]
mod tests {
    use hotel_cleaning::Event as Cleaned;
    use hotel_types::Id;
    use pelton_plugin::Failure;
    use pelton_plugin::testing::{TestProjection, ViewAfter};

    use super::*;

    const DAY: &str = "2022-12-12";

    fn date(text: &str) -> Date {
        Date::parse(text).expect("it exists")
    }

    fn scheduled(room: impl Into<Id>, day: &str) -> Cleaned {
        let (room, by) = (Room::new(room), Actor::housekeeping());
        Cleaned::CleaningScheduled(CleaningScheduled { room, date: date(day), by })
    }

    fn cleaned(room: impl Into<Id>, day: &str) -> Cleaned {
        let (room, by) = (Room::new(room), Actor::manager());
        Cleaned::RoomCleaned(RoomCleaned { room, date: date(day), by })
    }

    fn json(after: &ViewAfter<CleaningSchedule>) -> String {
        serde_json::to_string(&after.view(DAY).expect("the day has rooms")).expect("it has a JSON form")
    }

    #[test]
    fn a_room_is_scheduled_and_then_cleaned() {
        let after = CleaningSchedule::given([scheduled(1, DAY)]);
        let room = r#"{"room":{"id":1},"status":"scheduled","scheduledBy":"housekeeping"}"#;
        assert_eq!(json(&after), format!(r#"{{"date":"2022-12-12","rooms":[{room}]}}"#));
        let after = after.and([cleaned(1, DAY)]);
        let room =
            r#"{"room":{"id":1},"status":"cleaned","scheduledBy":"housekeeping","cleanedBy":"manager"}"#;
        assert_eq!(json(&after), format!(r#"{{"date":"2022-12-12","rooms":[{room}]}}"#));
    }

    #[test]
    fn rooms_are_in_the_order_of_their_ids_each_once() {
        let text = |id| Id::from_text(id).expect("it is an id");
        let rooms = [text("suite"), text("10"), Id::from(9), Id::from(10), text("attic")];
        let after = CleaningSchedule::given(rooms.map(|room| scheduled(room, DAY)));
        let day = after.view(DAY).expect("the day has rooms");
        let rooms: Vec<_> = day.rooms.iter().map(|cleaning| cleaning.room.id.to_string()).collect();
        assert_eq!(rooms, ["9", "10", "attic", "suite"]);
    }

    #[test]
    fn each_day_has_its_own_value() {
        let after = CleaningSchedule::given([scheduled(1, DAY), scheduled(1, "2022-12-13"), cleaned(1, DAY)]);
        let tomorrow = after.view("2022-12-13").expect("the day has rooms");
        assert_eq!(tomorrow.rooms[0].status, Status::Scheduled);
        after.then_keys([DAY, "2022-12-13"]);
    }

    #[test]
    fn a_room_that_was_cleaned_unasked_is_shown_all_the_same() {
        let room = r#"{"room":{"id":1},"status":"cleaned","cleanedBy":"manager"}"#;
        assert_eq!(
            json(&CleaningSchedule::given([cleaned(1, DAY)])),
            format!(r#"{{"date":"2022-12-12","rooms":[{room}]}}"#)
        );
    }

    #[test]
    fn bookings_are_skipped_and_what_is_unreadable_is_set_aside() {
        let after =
            CleaningSchedule::given([scheduled(1, DAY)]).recorded("room-booked", 1, "?").then_keys([DAY]);
        let failure = after.recorded("room-cleaned", 1, "{}").then_failure();
        assert!(matches!(failure, Failure::Invalid(cause) if cause.contains("missing field `room`")));
    }
}

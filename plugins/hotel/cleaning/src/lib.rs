//! The cleaning of one room for one day: scheduled once, done once.
//!
//! The entity is `<room>.<day>`. The rules, by the code of their rejection:
//!
//! | command | code | when |
//! |---|---|---|
//! | `schedule-cleaning` | `cleaning-already-scheduled` | the cleaning is scheduled, or done |
//! | `report-cleaned` | `cleaning-not-scheduled` | the cleaning was not scheduled |
//! | | `already-cleaned` | the cleaning is done |
//! | `cancel-cleaning` | `cleaning-not-scheduled` | the cleaning is not scheduled |
//! | | `already-cleaned` | the cleaning is done |
//! | `close-room` | `cleaning-already-scheduled` | the cleaning is scheduled, or done |
//! | all but `close-room` | `room-closed` | the room cannot be cleaned that day |
#![forbid(unsafe_code)]

use hotel_types::{Actor, CleaningCancelled, CleaningScheduled, Date, Room, RoomCleaned, RoomClosed};
use pelton_plugin::{CommandHandler, Context, Rejection};
use serde::{Deserialize, Serialize};

/// The commands of a cleaning.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// The room is to be cleaned.
    ScheduleCleaning(Request),
    /// The room is clean.
    ReportCleaned(Request),
    /// The room need not be cleaned.
    CancelCleaning(Request),
    /// The room cannot be cleaned: a pipe broke.
    CloseRoom(Request),
}

/// A room, a day, and the name of the sender.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The room.
    pub room: Room,
    /// The day.
    pub date: Date,
    /// The sender's name; the manager if the sender gives none.
    pub by: Option<Actor>,
}

/// The events of a cleaning.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The room is to be cleaned.
    CleaningScheduled(CleaningScheduled),
    /// The room is clean.
    RoomCleaned(RoomCleaned),
    /// The room need not be cleaned.
    CleaningCancelled(CleaningCancelled),
    /// The room cannot be cleaned.
    RoomClosed(RoomClosed),
}

/// The rules of a cleaning: the codes of rejections.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The cleaning was scheduled before, and may be done.
    CleaningAlreadyScheduled,
    /// The cleaning was not scheduled.
    CleaningNotScheduled,
    /// The cleaning is done.
    AlreadyCleaned,
    /// The room cannot be cleaned that day.
    RoomClosed,
}

/// The state of the cleaning of a room on a day.
#[derive(Debug, Default)]
pub enum Cleaning {
    /// It was not scheduled.
    #[default]
    None,
    /// It is scheduled.
    Scheduled,
    /// It is done.
    Done,
    /// It cannot be done.
    Closed,
}

impl CommandHandler for Cleaning {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;

    fn evolve(&mut self, event: Event) {
        *self = match event {
            Event::CleaningScheduled(_) => Cleaning::Scheduled,
            Event::RoomCleaned(_) => Cleaning::Done,
            Event::CleaningCancelled(_) => Cleaning::None,
            Event::RoomClosed(_) => Cleaning::Closed,
        };
    }

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
        match command {
            Command::ScheduleCleaning(request) => self.schedule(request),
            Command::ReportCleaned(request) => self.report_cleaned(request),
            Command::CancelCleaning(request) => self.cancel(request),
            Command::CloseRoom(request) => self.close(request),
        }
    }
}

impl Cleaning {
    fn schedule(&self, request: Request) -> Result<Vec<Event>, Rejection<Rule>> {
        // The detail `state` is for housekeeping, which does not wait for a cleaning that is done.
        let (why, state) = match self {
            Cleaning::None => {
                let Request { room, date, by } = request;
                let by = by.unwrap_or_else(Actor::manager);
                return Ok(vec![Event::CleaningScheduled(CleaningScheduled { room, date, by })]);
            }
            Cleaning::Scheduled => ("is scheduled for cleaning already", "scheduled"),
            Cleaning::Done => ("was scheduled for cleaning before, and is clean", "cleaned"),
            Cleaning::Closed => return Err(closed(&request)),
        };
        Err(refuse(Rule::CleaningAlreadyScheduled, &request, why).detail("state", state))
    }

    fn report_cleaned(&self, request: Request) -> Result<Vec<Event>, Rejection<Rule>> {
        match self {
            Cleaning::None => {
                Err(refuse(Rule::CleaningNotScheduled, &request, "is not scheduled for cleaning"))
            }
            Cleaning::Scheduled => {
                let Request { room, date, by } = request;
                let by = by.unwrap_or_else(Actor::manager);
                Ok(vec![Event::RoomCleaned(RoomCleaned { room, date, by })])
            }
            Cleaning::Done => Err(refuse(Rule::AlreadyCleaned, &request, "was reported clean before")),
            Cleaning::Closed => Err(closed(&request)),
        }
    }

    fn cancel(&self, request: Request) -> Result<Vec<Event>, Rejection<Rule>> {
        match self {
            Cleaning::None => {
                Err(refuse(Rule::CleaningNotScheduled, &request, "is not scheduled for cleaning"))
            }
            Cleaning::Scheduled => {
                let Request { room, date, by } = request;
                let by = by.unwrap_or_else(Actor::manager);
                Ok(vec![Event::CleaningCancelled(CleaningCancelled { room, date, by })])
            }
            Cleaning::Done => Err(refuse(Rule::AlreadyCleaned, &request, "is clean already")),
            Cleaning::Closed => Err(closed(&request)),
        }
    }

    fn close(&self, request: Request) -> Result<Vec<Event>, Rejection<Rule>> {
        match self {
            Cleaning::None => {
                let Request { room, date, by } = request;
                let by = by.unwrap_or_else(Actor::manager);
                Ok(vec![Event::RoomClosed(RoomClosed { room, date, by })])
            }
            // Closing it once more changes nothing.
            Cleaning::Closed => Ok(vec![]),
            Cleaning::Scheduled | Cleaning::Done => {
                Err(refuse(Rule::CleaningAlreadyScheduled, &request, "is scheduled for cleaning, or clean"))
            }
        }
    }
}

fn closed(request: &Request) -> Rejection<Rule> {
    refuse(Rule::RoomClosed, request, "is closed")
}

fn refuse(rule: Rule, Request { room, date, .. }: &Request, why: &str) -> Rejection<Rule> {
    Rejection::new(rule, format!("on {date}, room {} {why}", room.id))
        .detail("room", room.id.to_string())
        .detail("date", date.to_string())
}

pelton_plugin::export_command_handler!(Cleaning);

#[cfg(test)]
mod tests {
    use pelton_plugin::testing::TestCommandHandler;

    use super::*;

    fn date() -> Date {
        Date::parse("2022-12-12").expect("it exists")
    }

    fn request(by: Option<Actor>) -> Request {
        Request { room: Room::new(1), date: date(), by }
    }

    fn scheduled(by: Actor) -> Event {
        Event::CleaningScheduled(CleaningScheduled { room: Room::new(1), date: date(), by })
    }

    fn cleaned(by: Actor) -> Event {
        Event::RoomCleaned(RoomCleaned { room: Room::new(1), date: date(), by })
    }

    fn schedule() -> Command {
        Command::ScheduleCleaning(request(Some(Actor::housekeeping())))
    }

    fn done() -> [Event; 2] {
        [scheduled(Actor::housekeeping()), cleaned(Actor::manager())]
    }

    #[test]
    fn a_cleaning_goes_from_scheduled_to_done() {
        Cleaning::given([]).when(schedule()).then([scheduled(Actor::housekeeping())]);
        let report = Command::ReportCleaned(request(Some(Actor::housekeeping())));
        Cleaning::given([scheduled(Actor::manager())]).when(report).then([cleaned(Actor::housekeeping())]);
    }

    #[test]
    fn a_cleaning_is_scheduled_once() {
        let before = Cleaning::given([scheduled(Actor::manager())]).when(schedule());
        let rejection = before.then_rejected("cleaning-already-scheduled");
        assert_eq!(rejection.message, "on 2022-12-12, room 1 is scheduled for cleaning already");
        let details = [("room", "1"), ("date", "2022-12-12"), ("state", "scheduled")];
        assert_eq!(rejection.details, details.map(|(name, value)| (name.to_owned(), value.to_owned())));

        let rejection = Cleaning::given(done()).when(schedule()).then_rejected("cleaning-already-scheduled");
        assert!(rejection.details.contains(&("state".into(), "cleaned".into())));
    }

    #[test]
    fn a_room_is_reported_clean_once_and_only_if_scheduled() {
        let report = || Command::ReportCleaned(request(None));
        let rejection = Cleaning::given([]).when(report()).then_rejected("cleaning-not-scheduled");
        assert_eq!(rejection.message, "on 2022-12-12, room 1 is not scheduled for cleaning");
        Cleaning::given(done()).when(report()).then_rejected("already-cleaned");
    }

    #[test]
    fn a_cleaning_that_is_cancelled_can_be_scheduled_again() {
        let cancelled = || {
            let (room, date, by) = (Room::new(1), date(), Actor::manager());
            Event::CleaningCancelled(CleaningCancelled { room, date, by })
        };
        let cancel = || Command::CancelCleaning(request(None));
        Cleaning::given([scheduled(Actor::manager())]).when(cancel()).then([cancelled()]);
        Cleaning::given([]).when(cancel()).then_rejected("cleaning-not-scheduled");
        Cleaning::given(done()).when(cancel()).then_rejected("already-cleaned");
        Cleaning::given([scheduled(Actor::manager()), cancelled()])
            .when(schedule())
            .then([scheduled(Actor::housekeeping())]);
    }

    #[test]
    fn a_closed_room_is_not_cleaned() {
        let closed =
            || Event::RoomClosed(RoomClosed { room: Room::new(1), date: date(), by: Actor::manager() });
        let close = || Command::CloseRoom(request(None));
        Cleaning::given([]).when(close()).then([closed()]);
        Cleaning::given([closed()]).when(close()).then([] as [Event; 0]);
        Cleaning::given([scheduled(Actor::manager())])
            .when(close())
            .then_rejected("cleaning-already-scheduled");
        let others =
            [Command::ReportCleaned(request(None)), Command::CancelCleaning(request(None)), schedule()];
        for command in others {
            Cleaning::given([closed()]).when(command).then_rejected("room-closed");
        }
    }

    #[test]
    fn who_says_so_is_the_manager_unless_said() {
        let json = r#"{"room":{"id":1},"date":"2022-12-12"}"#;
        Cleaning::given([]).when_sent("schedule-cleaning", json).then([scheduled(Actor::manager())]);
        let given = Cleaning::given([scheduled(Actor::manager())]);
        given.when_sent("report-cleaned", json).then([cleaned(Actor::manager())]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (command, data, cause) in [
            ("schedule-cleaning", r#"{"room":{"id":1}}"#, "missing field `date` at line 1 column 17"),
            ("report-cleaned", r#"{"room":{},"date":"2022-12-12"}"#, "missing field `id`"),
            ("report-cleaned", r#"{"room":{"id":1},"date":"12.12.2022"}"#, "a date of the calendar"),
            ("report-cleaned", r#"{"room":{"id":1},"date":"2022-12-12","by":7}"#, "expected a string"),
            ("report-cleaned", "no json", "expected"),
            ("clean", "{}", "there is no command `clean`"),
        ] {
            let rejection = Cleaning::given([]).when_sent(command, data).then_rejected("invalid-command");
            assert!(rejection.message.contains(cause), "{}", rejection.message);
        }
        let cause = Cleaning::given([]).recorded("cleaning-scheduled", 1, "{}").then_unreadable();
        assert!(cause.contains("missing field `room`"), "{cause}");
    }
}

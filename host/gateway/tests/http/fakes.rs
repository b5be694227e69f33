//! An ingress that answers as told and remembers submissions, and views that hold four keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pelton_core::client::{CommandStatus, Ingress, Submission, SubmitError, ViewPage, ViewReader, ViewRow};
use pelton_core::command::outcome::{Answer as Told, EventRef, Outcome, OutcomeRecord, ParkedCommand};
use pelton_core::id::{CommandId, CommandType, Name, Sequence};
use pelton_core::intake::{CommandRoute, Intake};
use pelton_core::message::{Fingerprint, Rejection};
use pelton_core::store::Unavailable;
use pelton_core::subject::EntityTemplate;
use pelton_core::time::Timestamp;
use pelton_gateway::{Gateway, PluginState, Route, Routes, Settings};
use tokio::sync::watch;

/// The answer of the ingress.
#[derive(Debug, Clone, Default)]
pub(crate) enum Answer {
    /// Accepted, with this many events at the sequences 41, 42 and so on.
    Accepted(u64),
    Rejected(Rejection),
    Failed(&'static str),
    Parked(&'static str),
    #[default]
    Pending,
    Unknown,
    TooLarge,
    IdInUse,
    Away,
    /// The connection to the store has ended for good.
    Broken,
    /// Never answers.
    Silence,
}

impl Answer {
    fn record(&self, id: &CommandId) -> Option<OutcomeRecord> {
        let outcome = match self {
            Self::Accepted(count) => {
                Outcome::Accepted { events: (0..*count).map(|n| event(id, n)).collect() }
            }
            Self::Rejected(rejection) => Outcome::Rejected { rejection: rejection.clone() },
            Self::Failed(cause) => Outcome::Failed { cause: (*cause).to_owned() },
            Self::Parked(_)
            | Self::Pending
            | Self::Unknown
            | Self::TooLarge
            | Self::IdInUse
            | Self::Away
            | Self::Broken
            | Self::Silence => {
                return None;
            }
        };
        Some(OutcomeRecord {
            command_id: id.clone(),
            command_type: CommandType::new("book-room").unwrap(),
            entity: "1.2022-12-12".to_owned(),
            correlation_id: id.to_string(),
            fingerprint: Fingerprint::of(&[b"x"]),
            decided_by: "sha256:00".to_owned(),
            time: Timestamp(0),
            outcome,
        })
    }
}

fn event(id: &CommandId, n: u64) -> EventRef {
    EventRef {
        id: format!("{id}:{n}"),
        r#type: "room-booked".to_owned(),
        version: 1,
        stream: "hotel".to_owned(),
        sequence: Sequence(41 + n),
    }
}

fn parked(id: &CommandId, cause: &str) -> ParkedCommand {
    ParkedCommand { command_id: id.clone(), cause: cause.to_owned() }
}

fn away() -> Unavailable {
    Unavailable { doing: "publish to PELTON_COMMANDS".to_owned(), cause: "no responders".to_owned() }
}

#[derive(Default)]
pub(crate) struct FakeIngress {
    answer: Answer,
    pub(crate) submitted: Mutex<Vec<(Submission, Duration)>>,
}

impl Ingress for FakeIngress {
    async fn submit(&self, submission: Submission, wait: Duration) -> Result<Option<Told>, SubmitError> {
        let id = submission.id.clone();
        self.submitted.lock().unwrap().push((submission, wait));
        match self.answer {
            Answer::Away => Err(away().into()),
            Answer::TooLarge => Err(SubmitError::TooLarge { bytes: 1_048_600, max_bytes: 1_048_576 }),
            Answer::IdInUse => Err(SubmitError::IdInUse),
            Answer::Silence => std::future::pending().await,
            Answer::Parked(cause) => Ok(Some(Told::Parked(parked(&id, cause)))),
            _ => Ok(self.answer.record(&id).map(Told::Ended)),
        }
    }

    async fn status(&self, id: &CommandId) -> Result<CommandStatus, Unavailable> {
        match self.answer {
            Answer::Away => Err(away()),
            Answer::Pending => Ok(CommandStatus::Pending),
            Answer::Parked(cause) => Ok(CommandStatus::Parked(parked(id, cause))),
            _ => Ok(self.answer.record(id).map_or(CommandStatus::Unknown, CommandStatus::Ended)),
        }
    }

    async fn alive(&self) -> Result<(), Unavailable> {
        if matches!(self.answer, Answer::Broken) { Err(away()) } else { Ok(()) }
    }

    async fn ready(&self) -> Result<(), Unavailable> {
        if matches!(self.answer, Answer::Away) { Err(away()) } else { Ok(()) }
    }
}

/// The position of every view.
pub(crate) const POSITION: u64 = 77;

pub(crate) struct Views {
    away: bool,
    rows: BTreeMap<&'static str, &'static [u8]>,
}

impl Views {
    fn new(away: bool) -> Self {
        let rows: [(_, &[u8]); 4] = [
            ("1.2022-12-12", br#"{"availability": "booked"}"#),
            ("1/2/größe", b"[1.0]"),
            ("2.2022-12-12", b"\xff\x00"),
            ("empty", b""),
        ];
        Self { away, rows: rows.into() }
    }
}

impl ViewReader for Views {
    async fn get(&self, view: &Name, key: &str) -> Result<(Option<Bytes>, Sequence), Unavailable> {
        assert_eq!(view.as_str(), "bookings", "only configured views are asked for");
        if self.away {
            return Err(away());
        }
        Ok((self.rows.get(key).map(|value| Bytes::from_static(value)), Sequence(POSITION)))
    }

    async fn list(
        &self,
        view: &Name,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ViewPage, Unavailable> {
        assert_eq!(view.as_str(), "bookings", "only configured views are asked for");
        if self.away {
            return Err(away());
        }
        let mut rest = (self.rows.iter())
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| **key > after))
            .map(|(key, value)| ViewRow { key: (*key).to_owned(), value: Bytes::from_static(value) });
        let rows: Vec<_> = rest.by_ref().take(limit).collect();
        let next = rest.next().and(rows.last()).map(|row| row.key.clone());
        Ok(ViewPage { rows, next, position: Sequence(POSITION) })
    }
}

/// The hotel's front desk: `book-room` by PUT and POST, `check-in` by PUT, `renovate`, which no version takes yet, and the
/// view `bookings`; bodies of at most 1,000 bytes.
pub(crate) fn hotel(answer: &Answer) -> (Gateway, Arc<FakeIngress>) {
    let command = |name| CommandType::new(name).unwrap();
    let routes = vec![
        Route::new(None, "/mutation/book-room", command("book-room")).unwrap(),
        Route::new(Some("POST"), "/mutation/book-room", command("book-room")).unwrap(),
        Route::new(None, "/mutation/checkin", command("check-in")).unwrap(),
        Route::new(None, "/mutation/renovate", command("renovate")).unwrap(),
    ];
    let routes = Routes::new(routes, [Name::new("bookings").unwrap()]).unwrap();
    let tokens =
        [("room", "/room/id"), ("day", "/date")].map(|(name, pointer)| (name.to_owned(), pointer.to_owned()));
    let booking = CommandRoute {
        template: EntityTemplate::parse("booking.{room}.{day}").unwrap(),
        tokens: tokens.into(),
        partitions: pelton_core::partition::Partitions::ONE,
    };
    let intake = Intake::new(HashMap::from(
        ["book-room", "check-in", "renovate"].map(|name| (name.to_owned(), booking.clone())),
    ));
    let settings = Settings {
        max_body_bytes: 1000,
        head_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(2),
        ..Settings::default()
    };
    let ingress = Arc::new(FakeIngress { answer: answer.clone(), submitted: Mutex::default() });
    let views = Arc::new(Views::new(matches!(answer, Answer::Away)));
    let unserved = BTreeSet::from([CommandType::new("renovate").expect("a type")]);
    let plugins =
        PluginState { unfit: watch::channel(BTreeMap::new()).1, unserved: watch::channel(unserved).1 };
    (Gateway::new(settings, routes, Arc::new(intake), Arc::clone(&ingress), views, plugins), ingress)
}

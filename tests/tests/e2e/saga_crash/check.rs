//! What must be true after a storm, by what the server has stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures::StreamExt;
use pelton_core::saga::input::OwnInput;
use pelton_core::time::Timestamp;
use pelton_tests::streams::Stored;
use tokio::task::JoinHandle;

use super::PAY_WITHIN;
use crate::house::{House, POSITION, SAGA, eventually};

/// The latest time after it is due at which a timer fires, where nothing has disturbed hosts and server for that long.
pub(super) const LATE: Duration = Duration::from_secs(5);
/// How much later it may be here. Other tests use the same processors, so the server and both hosts may stand still for
/// seconds without being disturbed by this one; a timer that waits for the next host or the next input waits for longer.
const BUSY: Duration = Duration::from_secs(15);

fn timestamp(nanoseconds: i128) -> Timestamp {
    Timestamp(u64::try_from(nanoseconds).expect("a time"))
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(time.0 + u64::try_from(duration.as_nanos()).expect("a short time"))
}

/// The server's time of the next sign of a host that runs the saga.
pub(super) async fn signed(house: &House) -> Timestamp {
    let streams = house.streams().await;
    let stream = streams.jetstream().get_stream(SAGA).await.expect("the stream");
    let sign = async || stream.get_last_raw_message_by_subject(POSITION).await;
    let before = sign().await.map_or(0, |sign| sign.sequence);
    eventually("a host runs the saga", async || {
        let sign = sign().await?;
        // The last sign of a host that was stopped is no longer the last one.
        anyhow::ensure!(sign.sequence > before, "the last sign is {}", sign.sequence);
        Ok(timestamp(sign.time.unix_timestamp_nanos()))
    })
    .await
}

/// When timers were due and when the server fired them, from the saga's stream. Inputs are deleted soon after they were
/// handled, so they are read when they come.
pub(super) struct Fired {
    seen: Arc<Mutex<Vec<(Timestamp, Timestamp)>>>,
    task: JoinHandle<()>,
}

impl Drop for Fired {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fired {
    pub(super) async fn watch(house: &House) -> Self {
        let streams = house.streams().await;
        let stream = streams.jetstream().get_stream(SAGA).await.expect("the stream");
        let filter_subject = "saga.housekeeping.input.timer.>".to_owned();
        let consumer = stream.create_consumer(OrderedConfig { filter_subject, ..OrderedConfig::default() });
        let mut inputs = consumer.await.expect("a consumer").messages().await.expect("its messages");
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Some(Ok(message)) = inputs.next().await {
                    let stored =
                        timestamp(message.info().expect("its place").published.unix_timestamp_nanos());
                    let Ok(OwnInput::Timer(fired)) = OwnInput::from_bytes(&message.payload) else {
                        panic!("{message:?}")
                    };
                    seen.lock().expect("the timers").push((fired.armed.due, stored));
                }
            }
        });
        Self { seen, task }
    }
}

/// Checks that timers which came due after some time without a disturbance were fired, and had their effect, soon.
pub(super) async fn punctual(house: &House, fired: &Fired, since: Timestamp) {
    let from = after(since, LATE);
    let mut times = fired.seen.lock().expect("the timers").clone();
    let fired = times.len();
    for happened in by_room(house).await.expect("the events").into_values() {
        if let (Some(booked), Some(released)) =
            (happened.get("room-booked"), happened.get("booking-released"))
            && !happened.contains_key("room-closed")
        {
            times.push((after(timestamp(*booked), PAY_WITHIN), timestamp(*released)));
        }
    }
    let mut counted = [0, 0];
    for (place, (due, time)) in times.into_iter().enumerate().filter(|(_, (due, _))| *due >= from) {
        counted[usize::from(place >= fired)] += 1;
        assert!(time >= due, "due at {due}, and fired before, at {time}");
        assert!(time <= after(due, LATE + BUSY), "due at {due}, and fired at {time}");
    }
    assert!(counted.iter().all(|counted| *counted >= super::UNPAID), "{counted:?} timers came due");
}

/// The commands of the saga that are in the log, by their ids.
pub(super) struct Sent(BTreeMap<String, u64>);

impl Sent {
    pub(super) async fn read(house: &House) -> Self {
        let streams = house.streams().await;
        let logged = streams.read("COMMANDS").await.expect("the log");
        let mut sent = BTreeMap::new();
        for command in logged {
            let id = command.header("ce-id").to_owned();
            assert!(sent.insert(id, command.sequence).is_none(), "twice: {}", command.subject);
        }
        sent.retain(|id, _| id.starts_with("saga:"));
        Self(sent)
    }

    /// Checks that none of the commands was sent again since, and that those that were sent concern only later rooms.
    pub(super) async fn stand(&self, house: &House, last_room: usize) {
        let Self(now) = Self::read(house).await;
        let room = |id: &str| -> Option<usize> { id.split([':', '~']).nth(2)?.parse().ok() };
        for (id, at) in &now {
            match self.0.get(id) {
                Some(before) => assert_eq!(before, at, "sent again: {id}"),
                None => assert!(room(id).is_some_and(|room| room > last_room), "sent anew: {id}"),
            }
        }
        let lost: BTreeSet<_> = self.0.keys().filter(|id| !now.contains_key(*id)).collect();
        assert!(lost.is_empty() && now.len() > self.0.len(), "{lost:?} of {} are lost", now.len());
    }
}

/// What happened to each room, and when, in nanoseconds.
async fn by_room(house: &House) -> anyhow::Result<BTreeMap<String, BTreeMap<String, i128>>> {
    let streams = house.streams().await;
    let stream = streams.jetstream().get_stream("hotel").await?;
    let mut by_room: BTreeMap<String, BTreeMap<String, i128>> = BTreeMap::new();
    for event in house.events().await {
        let time = stream.get_raw_message(event.sequence).await?.time.unix_timestamp_nanos();
        let room = event.data()["room"]["id"].to_string();
        by_room.entry(room).or_default().insert(event.header("ce-type").to_owned(), time);
    }
    Ok(by_room)
}

/// What happened to each room, and whether all of it has. Answers how many bookings were released.
pub(super) async fn check(house: &House, rooms: usize) -> anyhow::Result<usize> {
    house.settle().await;
    let counts = house.each_once().await;
    anyhow::ensure!(counts["room-booked"] == rooms, "{counts:?}");
    let streams = house.streams().await;
    let dead = streams.read("DEAD_LETTERS").await?;
    assert!(dead.is_empty(), "{dead:?}");
    let by_room = by_room(house).await?;
    let within = i128::try_from(PAY_WITHIN.as_nanos())?;
    let mut released = 0;
    for (room, happened) in &by_room {
        let is = |kind: &str| happened.contains_key(kind);
        let ended = is("booking-released");
        released += usize::from(ended);
        anyhow::ensure!(ended || is("booking-paid"), "room {room} waits: {happened:?}");
        // A closed room is released at once, another one when it is not paid in time and not before.
        if ended && !is("room-closed") {
            let after = happened["booking-released"] - happened["room-booked"];
            assert!(after >= within, "room {room} was released after {after} ns: {happened:?}");
        }
        anyhow::ensure!(is("guest-told") == ended, "room {room}: {happened:?}");
        // What was scheduled for a booking that was given up is cancelled.
        anyhow::ensure!(is("cleaning-scheduled") != is("room-closed"), "room {room}: {happened:?}");
        anyhow::ensure!(
            is("cleaning-cancelled") == (ended && !is("room-closed")),
            "room {room}: {happened:?}"
        );
    }
    let is_open = |stored: &&Stored| {
        let line = stored.payload.lines().next().unwrap_or_default();
        let head: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        head["open"].as_object().is_some_and(|open| !open.is_empty())
    };
    let own = streams.read(SAGA).await?;
    let open: Vec<_> = own.iter().filter(is_open).map(|stored| &stored.subject).collect();
    anyhow::ensure!(open.is_empty(), "commands without an outcome: {open:?}");
    let armed = own.iter().filter(|stored| stored.subject.starts_with("saga.housekeeping.timer.")).count();
    let paid = by_room.values().filter(|happened| !happened.contains_key("booking-released")).count();
    anyhow::ensure!(armed == paid, "{armed} timers are armed for {paid} bookings that are paid");
    Ok(released)
}

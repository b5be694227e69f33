//! A storm over the hotel's saga: hosts that crash at every step of a saga and of its commands, that are killed, stopped and
//! paused, and a server that is killed; with timers that come due, and versions of the saga that take turns, meanwhile.
//!
//! `PELTON_SAGA_SEED=n` replays a storm, as far as processes can be replayed; `PELTON_SAGA_ROUNDS=n` makes it longer.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use pelton_nats::failpoint::{SAGA_NAMES, VARIABLE};
use pelton_tests::component::with_section;
use pelton_tests::http::{Http, Request};
use pelton_tests::place;
use pelton_tests::process::{Pelton, Signal};
use pelton_tests::streams::Stored;
use serde_json::json;
use tokio::time::sleep;

use crate::house::{House, SAGA, eventually};
use crate::store::{done, plugin};

/// Equal versions of the saga's plugin, which take turns.
const VERSIONS: [&str; 2] = ["a", "b"];
/// How long a booking waits to be paid.
const PAY_WITHIN: Duration = Duration::from_secs(2);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A request about a room, on a day that is far away.
fn request(path: &str, id: &str, room: usize) -> Request {
    let data = json!({ "room": { "id": room }, "client": { "id": 1 }, "date": "2099-12-12" });
    Request::put(format!("/mutation/{path}"), json!({ "id": id, "data": data }).to_string())
}

fn room_of(request: &Request) -> serde_json::Value {
    let body: serde_json::Value =
        serde_json::from_str(request.body.as_deref().unwrap_or_default()).unwrap_or_default();
    body["data"]["room"]["id"].clone()
}

/// Sends it until it has an outcome, at whichever host answers.
async fn insist(hosts: &[Option<(Pelton, String)>], request: &Request) -> bool {
    for (_, address) in hosts.iter().flatten() {
        let Ok(http) = Http::new(address) else { continue };
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(3), http.send(request)).await
            && matches!(answer.status, 200 | 201 | 409)
        {
            return true;
        }
    }
    false
}

/// Whether the version was activated.
async fn activate(house: &House, version: &str, more: &[&str]) -> bool {
    let version = format!("housekeeping@{version}");
    plugin(house, &[&["activate", version.as_str()], more].concat()).await.code == Some(0)
}

async fn start(house: &House, failpoint: Option<String>) -> Option<(Pelton, String)> {
    let config = house.config();
    let variables: Vec<_> = failpoint.map(|failpoint| (VARIABLE, failpoint)).into_iter().collect();
    let arguments = ["run", "--listen", "127.0.0.1:0"];
    let pelton = Pelton::start_with(config.parent()?, arguments, &variables).ok()?;
    let address = pelton.address().await.ok()?;
    Some((pelton, address))
}

#[tokio::test]
async fn every_instance_is_the_fold_of_its_inputs_whatever_crashes() {
    let seed = number("PELTON_SAGA_SEED").unwrap_or_else(|| fastrand::u64(..10_000));
    println!("PELTON_SAGA_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut house = House::open().await;
    let component = place::plugins().expect("the components").join("hotel-housekeeping.wasm");
    house.configure(|text| {
        let within = format!("pay-within-seconds = \"{}\"", PAY_WITHIN.as_secs());
        let of_file = format!("crate = \"housekeeping\"\ncomponent = \"{}\"", component.display());
        assert!(text.contains(&of_file), "{text}");
        text.replace("pay-within-seconds = \"900\"", &within).replace(&of_file, "source = \"store\"")
    });
    let component = std::fs::read(component).expect("the component");
    for version in VERSIONS {
        let file = house.config().with_file_name(format!("{version}.wasm"));
        std::fs::write(&file, with_section(&component, version, 0)).expect("a file");
        let file = file.display().to_string();
        done(&house, &["push", "housekeeping", &file, "--version", version]).await;
    }
    assert!(activate(&house, VERSIONS[0], &[]).await);
    let rounds = number("PELTON_SAGA_ROUNDS").unwrap_or(10);
    let mut hosts = [start(&house, None).await, None];
    let mut open: Vec<Request> = Vec::new();
    let (mut room, mut failpoints) = (0, SAGA_NAMES.iter().cycle());
    let (mut version, mut switches) = (0, 0);
    for round in 0..rounds {
        for _ in 0..random.usize(2..5) {
            room += 1;
            if random.u8(0..4) == 0 {
                open.push(request("close", &format!("close-{room}"), room));
            }
            open.push(request("book-room", &format!("book-{room}"), room));
            if random.bool() {
                open.push(request("pay", &format!("pay-{room}"), room));
            }
        }
        for host in &mut hosts {
            match (host.take(), random.u8(0..4)) {
                (Some((pelton, _)), 0) => drop(pelton.kill().await),
                (Some((pelton, _)), 1) => drop(pelton.stop().await),
                (Some((pelton, address)), 2) => {
                    pelton.signal(Signal::STOP).expect("it is paused");
                    sleep(Duration::from_millis(random.u64(500..3_500))).await;
                    pelton.signal(Signal::CONT).expect("it goes on");
                    *host = Some((pelton, address));
                }
                (running, _) => *host = running,
            }
            if host.is_none() {
                let name = failpoints.next().filter(|_| random.u8(0..3) > 0);
                *host = start(&house, name.map(|name| format!("{name}:1in=8:seed={}", random.u32(..)))).await;
            }
        }
        if round == rounds / 2 {
            house.nats.kill().await.expect("the server is killed");
            house.nats.restart().await.expect("the server starts");
        }
        let mut left: Vec<Request> = Vec::new();
        for request in std::mem::take(&mut open) {
            // The requests of a room keep their order.
            let waits = left.iter().any(|earlier| room_of(earlier) == room_of(&request));
            if waits || !insist(&hosts, &request).await {
                left.push(request);
            }
        }
        open = left;
        if random.bool() {
            version = 1 - version;
            // Where no host gets ready in time, nothing is switched.
            let soon = ["--min-ready", "1", "--wait", "2s"];
            switches += usize::from(activate(&house, VERSIONS[version], &soon).await);
        }
    }
    for host in hosts.into_iter().flatten() {
        drop(host.0.kill().await);
    }
    let mut hosts = [start(&house, None).await, start(&house, None).await];
    eventually("all was sent", async || {
        for request in &open {
            anyhow::ensure!(insist(&hosts, request).await);
        }
        Ok(())
    })
    .await;
    let released = eventually("every timer is done", async || check(&house, room).await).await;
    assert!(room > 20 && released > 0, "{released} of {room} bookings were released");
    println!("{room} bookings, {released} released, {switches} switches");
    for host in hosts.iter_mut().filter_map(Option::take) {
        host.0.stop().await.expect("it stops");
    }
}

/// What happened to each room, and whether all of it has. Answers how many bookings were released.
async fn check(house: &House, rooms: usize) -> anyhow::Result<usize> {
    house.settle().await;
    let counts = house.each_once().await;
    anyhow::ensure!(counts["room-booked"] == rooms, "{counts:?}");
    let streams = house.streams().await;
    let dead = streams.read("DEAD_LETTERS").await?;
    assert!(dead.is_empty(), "{dead:?}");
    let stream = streams.jetstream().get_stream("hotel").await?;
    let mut by_room: BTreeMap<String, BTreeMap<String, i128>> = BTreeMap::new();
    for event in house.events().await {
        let time = stream.get_raw_message(event.sequence).await?.time.unix_timestamp_nanos();
        let room = event.data()["room"]["id"].to_string();
        by_room.entry(room).or_default().insert(event.header("ce-type").to_owned(), time);
    }
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

//! A storm over the hotel's saga: hosts that crash at every step of a saga and of its commands, that are killed, stopped, paused
//! and cut off from the server, and a server that is killed; with timers that come due, and versions of the saga that take
//! turns, meanwhile. After the storm timers are punctual, and the saga goes on from a backup on another server.
//!
//! `PELTON_SAGA_SEED=n` replays a storm, as far as processes can be replayed; `PELTON_SAGA_ROUNDS=n` makes it longer.

mod check;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use pelton_core::time::Timestamp;
use pelton_nats::failpoint::{SAGA_NAMES, VARIABLE};
use pelton_tests::component::with_section;
use pelton_tests::crash::proxy::{Flow, Proxy};
use pelton_tests::http::{Http, Request};
use pelton_tests::place;
use pelton_tests::process::{Pelton, Signal};
use serde_json::json;
use tokio::time::sleep;

use crate::house::{House, eventually};
use crate::store::{done, plugin};
use check::{Fired, LATE, Sent, check, punctual, signed};

/// Equal versions of the saga's plugin, which take turns.
const VERSIONS: [&str; 2] = ["a", "b"];
/// How long a booking waits to be paid.
const PAY_WITHIN: Duration = Duration::from_secs(2);
/// How many bookings nobody pays are made at a time.
const UNPAID: usize = 5;

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

/// A host behind a proxy of its own.
struct Place {
    proxy: Arc<Proxy>,
    host: Option<(Pelton, String)>,
}

impl Place {
    async fn of(house: &House) -> Self {
        let proxy = Proxy::start(0, house.nats.port()).await.expect("a proxy");
        Self { proxy: Arc::new(proxy), host: None }
    }

    async fn start(&mut self, house: &House, failpoint: Option<String>) {
        let config = house.config();
        let variables: Vec<_> = failpoint.map(|failpoint| (VARIABLE, failpoint)).into_iter().collect();
        let url = format!("nats://127.0.0.1:{}", self.proxy.port);
        let arguments = ["run", "--listen", "127.0.0.1:0", "--nats", &url];
        let pelton = Pelton::start_with(config.parent().expect("a folder"), arguments, &variables);
        let pelton = pelton.expect("a process");
        // It may have crashed by now.
        self.host = pelton.address().await.ok().map(|address| (pelton, address));
    }

    /// Disturbs what lies between the host and the server, while everything else goes on.
    fn disturb(&self, random: &mut Rng) {
        let flow = match random.u8(0..4) {
            0 => return self.proxy.cut(),
            1 => Flow::Paused,
            2 => Flow::Deaf,
            _ => Flow::Closed,
        };
        // Shorter and longer than another host waits before it takes over.
        let time = Duration::from_millis(random.u64(200..5_000));
        self.proxy.set(flow);
        let proxy = self.proxy.clone();
        tokio::spawn(async move {
            sleep(time).await;
            proxy.set(Flow::Open);
        });
    }

    async fn stop(&mut self) {
        if let Some((pelton, _)) = self.host.take() {
            pelton.stop().await.expect("it stops");
        }
    }
}

/// Two hosts that nothing disturbs, and since when the server knows that the saga runs.
async fn quiet(house: &House) -> ([Place; 2], Timestamp) {
    let mut places = [Place::of(house).await, Place::of(house).await];
    for place in &mut places {
        place.start(house, None).await;
        let (_, address) = place.host.as_ref().expect("a host");
        Http::new(address).expect("a client").ready().await.expect("it is ready");
    }
    (places, signed(house).await)
}

/// Sends it until it has an outcome, at whichever host answers.
async fn insist(places: &[Place], request: &Request) -> bool {
    for (_, address) in places.iter().filter_map(|place| place.host.as_ref()) {
        let Ok(http) = Http::new(address) else { continue };
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(3), http.send(request)).await
            && matches!(answer.status, 200 | 201 | 409)
        {
            return true;
        }
    }
    false
}

async fn send_all(places: &[Place], requests: &[Request]) {
    eventually("all was sent", async || {
        for request in requests {
            anyhow::ensure!(insist(places, request).await);
        }
        Ok(())
    })
    .await;
}

/// Bookings of the next rooms, which nobody pays.
fn bookings(room: &mut usize) -> Vec<Request> {
    let first = *room + 1;
    *room += UNPAID;
    (first..=*room).map(|room| request("book-room", &format!("book-{room}"), room)).collect()
}

/// Whether the version was activated.
async fn activate(house: &House, version: &str, more: &[&str]) -> bool {
    let version = format!("housekeeping@{version}");
    plugin(house, &[&["activate", version.as_str()], more].concat()).await.code == Some(0)
}

/// The hotel with a saga whose plugin comes from the store, and whose timers are short.
fn configure(house: &House) {
    let component = place::plugins().expect("the components").join("hotel-housekeeping.wasm");
    house.configure(|text| {
        let within = format!("pay-within-seconds = \"{}\"", PAY_WITHIN.as_secs());
        let of_file = format!("crate = \"housekeeping\"\ncomponent = \"{}\"", component.display());
        assert!(text.contains(&of_file), "{text}");
        text.replace("pay-within-seconds = \"900\"", &within).replace(&of_file, "source = \"store\"")
    });
}

#[tokio::test]
async fn every_instance_is_the_fold_of_its_inputs_whatever_crashes() {
    let seed = number("PELTON_SAGA_SEED").unwrap_or_else(|| fastrand::u64(..10_000));
    println!("PELTON_SAGA_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut house = House::open().await;
    configure(&house);
    let component = place::plugins().expect("the components").join("hotel-housekeeping.wasm");
    let component = std::fs::read(component).expect("the component");
    for version in VERSIONS {
        let file = house.config().with_file_name(format!("{version}.wasm"));
        std::fs::write(&file, with_section(&component, version, 0)).expect("a file");
        let file = file.display().to_string();
        done(&house, &["push", "housekeeping", &file, "--version", version]).await;
    }
    assert!(activate(&house, VERSIONS[0], &[]).await);
    let rounds = number("PELTON_SAGA_ROUNDS").unwrap_or(10);
    let mut places = [Place::of(&house).await, Place::of(&house).await];
    places[0].start(&house, None).await;
    let mut open: Vec<Request> = Vec::new();
    let (mut room, mut failpoints) = (0, SAGA_NAMES.iter().cycle());
    let (mut version, mut switches, mut cuts) = (0, 0, 0);
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
        for place in &mut places {
            match (place.host.take(), random.u8(0..6)) {
                (Some((pelton, _)), 0) => drop(pelton.kill().await),
                (Some((pelton, _)), 1) => drop(pelton.stop().await),
                (Some((pelton, address)), 2) => {
                    pelton.signal(Signal::STOP).expect("it is paused");
                    sleep(Duration::from_millis(random.u64(500..3_500))).await;
                    pelton.signal(Signal::CONT).expect("it goes on");
                    place.host = Some((pelton, address));
                }
                (Some(running), 3 | 4) => {
                    place.disturb(&mut random);
                    cuts += 1;
                    place.host = Some(running);
                }
                (running, _) => place.host = running,
            }
            if place.host.is_none() {
                let name = failpoints.next().filter(|_| random.u8(0..3) > 0);
                let failpoint = name.map(|name| format!("{name}:1in=8:seed={}", random.u32(..)));
                place.start(&house, failpoint).await;
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
            if waits || !insist(&places, &request).await {
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
    for place in places {
        if let Some((pelton, _)) = place.host {
            drop(pelton.kill().await);
        }
    }
    let (mut places, since) = quiet(&house).await;
    let fired = Fired::watch(&house).await;
    send_all(&places, &open).await;
    sleep(LATE).await;
    send_all(&places, &bookings(&mut room)).await;
    let released = eventually("every timer is done", async || check(&house, room).await).await;
    assert!(room > 20 && released > 0, "{released} of {room} bookings were released");
    println!("{room} bookings, {released} released, {switches} switches, {cuts} cuts");
    punctual(&house, &fired, since).await;

    // The hosts stop with timers that are set, and some that come due while nothing runs.
    send_all(&places, &bookings(&mut room)).await;
    for place in &mut places {
        place.stop().await;
    }
    let before = Sent::read(&house).await;
    let done = house.each_once().await["booking-released"];
    println!("{} bookings wait for a timer in the backup", released + UNPAID - done);
    house.restore_on_a_fresh_server().await;
    configure(&house);
    let (mut places, _) = quiet(&house).await;
    let after = eventually("every timer is done", async || check(&house, room).await).await;
    assert_eq!(after, released + UNPAID, "what is restored goes on, and nothing else");
    before.stand(&house, room - UNPAID).await;
    for place in &mut places {
        place.stop().await;
    }
}

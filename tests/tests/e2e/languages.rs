//! The hotel and the library with plugins in other languages in the place of those in Rust.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton_tests::{PAUSE, hotel, library, place};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::house::{Host, House, book, check_in, eventually};
use crate::scenario::{a_process_can_be_followed, goes_as_expected, the_library_goes_as_expected};
use crate::store::done;

const RUST: &str = r#"booking = { crate = "booking", component = "#;

/// The hotel, whose booking is this component.
fn configure(house: &House, component: &str, more: &str) {
    let plugins = place::plugins().expect("the components").display().to_string();
    house.configure(|text| {
        let rust = format!("{RUST}\"{plugins}/hotel-booking.wasm\" }}");
        assert!(text.contains(&rust), "{text}");
        text.replace(&rust, &format!("booking = {{ component = \"{plugins}/{component}\"{more} }}"))
    });
}

/// `pelton check`. It has the component compiled, however long that takes, so that a host is ready at once.
async fn check(house: &House) -> (Option<i32>, String) {
    let mut command = Command::new(place::pelton().expect("pelton"));
    command.args(["check", "--config"]).arg(house.config()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), format!("{out}{err}"))
}

async fn goes_as_in_rust(component: &str) {
    let house = House::open().await;
    configure(&house, component, ", tier = \"deterministic\"");
    assert_eq!(check(&house).await.0, Some(0));
    let host = house.host().await;
    goes_as_expected(&hotel::example(), &house, &[&host]).await;
    house.views_equal_the_fold(&host).await;
    a_process_can_be_followed(&house).await;
    assert_eq!(house.streams().await.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    host.stop().await;
}

#[tokio::test]
async fn the_hotel_goes_as_expected_in_javascript() {
    goes_as_in_rust("hotel-booking-js.wasm").await;
}

#[tokio::test]
async fn the_hotel_goes_as_expected_in_python() {
    goes_as_in_rust("hotel-booking-python.wasm").await;
}

/// All roles: the handler in C, the view and the saga in JavaScript.
#[tokio::test]
async fn the_library_goes_as_expected_in_c_and_javascript() {
    let house = House::open_with(library::example().config).await;
    let plugins = place::plugins().expect("the components").display().to_string();
    house.configure(|mut text| {
        for (name, component, tier) in [
            ("books", "library-books-c", "pure"),
            ("readers", "library-readers-js", "deterministic"),
            ("waiting", "library-waiting-js", "deterministic"),
        ] {
            let rust =
                format!("{name} = {{ crate = \"{name}\", component = \"{plugins}/library-{name}.wasm\" }}");
            assert!(text.contains(&rust), "{text}");
            let other =
                format!("{name} = {{ component = \"{plugins}/{component}.wasm\", tier = \"{tier}\" }}");
            text = text.replace(&rust, &other);
        }
        text
    });
    assert_eq!(check(&house).await.0, Some(0));
    the_library_goes_as_expected(&house).await;
}

/// Three hosts decide the same commands in three languages, and replace their instances again and again.
#[tokio::test]
async fn three_languages_decide_side_by_side_in_instances_that_are_retired() {
    let house = House::open().await;
    let mut hosts = Vec::new();
    for (component, more) in [
        ("hotel-booking.wasm", ""),
        ("hotel-booking-js.wasm", ", tier = \"deterministic\", limits = { retire-after-calls = 3 }"),
        ("hotel-booking-python.wasm", ", tier = \"deterministic\", limits = { retire-after-calls = 3 }"),
    ] {
        configure(&house, component, more);
        assert_eq!(check(&house).await.0, Some(0));
        hosts.push(house.host().await);
    }
    goes_as_expected(&hotel::example(), &house, &hosts.iter().collect::<Vec<&Host>>()).await;
    assert_eq!(house.streams().await.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    for host in hosts {
        house.views_equal_the_fold(&host).await;
        let said = host.stop().await.stderr;
        // Hosts may race for a view when they start, which is not the plugins' trouble.
        for trouble in ["loaded anew", "will be tried again: plugin", "broke"] {
            assert!(!said.contains(trouble), "{said}");
        }
    }
}

/// Guests book rooms until it is cancelled, and others who want the same room are refused, whichever language decides.
/// Returns how many rooms were booked.
async fn guests(host: &Host, rooms: &AtomicUsize, stop: &CancellationToken) -> usize {
    let mut booked = 0;
    while !stop.is_cancelled() {
        let room = rooms.fetch_add(1, Ordering::Relaxed);
        let first = host.send(&book(&format!("first-{room}"), room, 1).with("Prefer", "wait=30")).await;
        assert_eq!(first.status, 201, "{first}");
        let other = host.send(&book(&format!("other-{room}"), room, 2).with("Prefer", "wait=30")).await;
        assert_eq!((other.status, other.at("/code").as_str()), (409, "room-already-booked"), "{other}");
        let early = host.send(&check_in(&format!("early-{room}"), room, 1).with("Prefer", "wait=30")).await;
        assert_eq!((early.status, early.at("/code").as_str()), (409, "room-not-available"), "{early}");
        // Of a room that the version before may have decided on.
        let again = room / 2;
        let late = host.send(&book(&format!("late-{room}"), again, 3).with("Prefer", "wait=30")).await;
        assert!([201, 409].contains(&late.status), "{late}");
        booked += 1;
        sleep(PAUSE).await;
    }
    booked
}

/// The rules stay, the language changes: no caller notices it, forth and back.
#[tokio::test]
async fn a_handler_in_rust_is_replaced_under_load_by_one_in_javascript_and_comes_back() {
    let house = House::open().await;
    configure(&house, "hotel-booking.wasm", ", source = \"store\", tier = \"deterministic\"");
    let plugins = place::plugins().expect("the components");
    for (file, version) in [("hotel-booking.wasm", "rust"), ("hotel-booking-js.wasm", "js")] {
        let file = plugins.join(file).display().to_string();
        done(&house, &["push", "booking", &file, "--version", version]).await;
    }
    done(&house, &["activate", "booking@rust"]).await;
    let host = house.host().await;
    let (rooms, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let load = async { futures::future::join_all((0..4).map(|_| guests(&host, &rooms, &stop))).await };
    // The version that runs has booked rooms.
    let decides = async || {
        let shown = done(&house, &["show", "booking", "--json"]).await;
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let runs = shown["activation"]["runs"]["component"].as_str().expect("a digest").to_owned();
        eventually("it decides", async || {
            let events = house.events().await;
            let booked = events.iter().rev().filter(|event| event.header("ce-type") == "room-booked");
            let by_it = booked.take(20).filter(|event| event.header("Pelton-Plugin").starts_with(&runs));
            anyhow::ensure!(by_it.count() > 10, "others do");
            Ok(())
        })
        .await;
    };
    let switches = async {
        let said = done(&house, &["activate", "booking@js"]).await;
        for step in ["smoke ok", "commands ok", "way back ok", "readers ok"] {
            assert!(said.contains(step), "{step}: {said}");
        }
        decides().await;
        done(&house, &["rollback", "booking"]).await;
        decides().await;
        stop.cancel();
    };
    let (booked, ()) = tokio::join!(load, switches);
    house.settle().await;
    house.each_once().await;
    house.views_equal_the_fold(&host).await;
    assert!(booked.into_iter().sum::<usize>() > 0);
    assert_eq!(house.streams().await.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    let said = host.stop().await.stderr;
    for trouble in ["will be tried again", "broke", "set aside"] {
        assert!(!said.contains(trouble), "{said}");
    }
}

#[tokio::test]
async fn check_names_every_import_and_the_tier_that_allows_it() {
    let house = House::open().await;
    for component in ["hotel-booking-js.wasm", "hotel-booking-python.wasm"] {
        configure(&house, component, ", tier = \"deterministic\"");
        let (code, said) = check(&house).await;
        assert_eq!(code, Some(0), "{said}");
        let line = said.lines().find(|line| line.contains("(tier deterministic)")).expect(&said);
        for part in [
            "booking: hotel-booking-",
            "wasi:clocks/wall-clock@0.2.",
            "wasi:random/",
            "may import what the tier deterministic allows",
        ] {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
        configure(&house, component, "");
        let (code, said) = check(&house).await;
        assert_eq!(code, Some(3), "{said}");
        for part in
            ["it imports what a plugin may not", "wasi:cli/stderr@0.2.", "set `tier = \"deterministic\"`"]
        {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
    }
}

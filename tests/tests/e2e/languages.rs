//! The hotel with its booking in JavaScript and in Python, in the place of the one in Rust.

use std::process::Stdio;

use pelton_tests::{hotel, place};
use tokio::process::Command;

use crate::house::{Host, House};
use crate::scenario::{a_process_can_be_followed, goes_as_expected};

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
        for trouble in ["loaded anew", "will be tried again", "broke"] {
            assert!(!said.contains(trouble), "{said}");
        }
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

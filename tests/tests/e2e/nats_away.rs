//! A nats-server that is unavailable, at the start or later.

use pelton_tests::http::Request;
use pelton_tests::process::Output;

use crate::house::{Host, House, book};
use crate::load::{Load, all_accepted};

const ROOMS: usize = 60;

#[tokio::test]
async fn a_host_waits_for_its_server_and_then_comes_up_by_itself() {
    let mut house = House::open().await;
    house.nats.stop().await.expect("nats-server stops");
    let pelton = house.run();
    let line = pelton.says("waiting for NATS").await.expect("a clear message");
    assert!(line.contains(&house.nats.url()), "{line}");
    house.nats.restart().await.expect("nats-server starts");
    let host = Host::ready(pelton).await;
    assert_eq!(host.send(&book("first", 1, 1)).await.status, 201);
    host.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_away_in_mid_run_costs_time_and_nothing_else() {
    let mut house = House::open().await;
    let host = house.host().await;
    let mut load = Load::start(&host, (1..=ROOMS).map(|room| book(&format!("book-{room}"), room, room)));
    for (ended, alone) in [(ROOMS / 6, true), (ROOMS / 2, false)] {
        load.until(ended).await;
        house.nats.kill().await.expect("nats-server is killed");
        if alone {
            without_a_server(&host).await;
        }
        house.nats.restart().await.expect("nats-server starts");
    }
    all_accepted(&load.finish().await);
    let late = host.http.until(&book("while-away", ROOMS + 1, 1), |answer| answer.status != 503).await;
    all_accepted(&[late.expect("an answer")]);
    house.settle().await;
    let counts = house.each_once().await;
    assert_eq!((counts["room-booked"], counts["cleaning-scheduled"]), (ROOMS + 1, ROOMS + 1));
    house.views_equal_the_fold(&host).await;
    let log = host.pelton.said(Output::Stderr);
    assert!(log.contains("the connection to NATS is lost"), "{log}");
    host.stop().await;
}

/// The host is alive and not ready, and tells a client to send the command again under its id.
async fn without_a_server(host: &Host) {
    assert_eq!(host.get("/healthz").await.status, 200);
    let answer = host.http.until(&Request::get("/readyz"), |answer| answer.status == 503).await;
    assert_eq!(answer.expect("not ready").at("/code"), "unavailable");
    let answer = host.send(&book("while-away", ROOMS + 1, 1)).await;
    let seen = (answer.status, answer.at("/code"), answer.at("/commandId"), answer.header("retry-after"));
    assert_eq!(seen, (503, "unavailable".to_owned(), "while-away".to_owned(), Some("1")), "{answer}");
    let answer = host.get("/views/bookings/1.2022-12-12").await;
    assert_eq!((answer.status, answer.at("/code").as_str()), (503, "unavailable"), "{answer}");
}

//! A host that is told to stop (SIGTERM).

use pelton_tests::process::Signal;

use crate::house::{House, book};
use crate::load::{Load, all_accepted};

const ROOMS: usize = 60;

#[tokio::test]
async fn a_host_that_is_told_to_stop_finishes_or_hands_back_what_it_holds() {
    let house = House::open().await;
    let mut host = house.host().await;
    let mut load = Load::start(&host, (1..=ROOMS).map(|room| book(&format!("book-{room}"), room, room)));
    for (ended, signal) in [(ROOMS / 6, Signal::TERM), (ROOMS / 2, Signal::INT)] {
        load.until(ended).await;
        host.pelton.signal(signal).expect("it runs");
        let ended = host.pelton.ended().await.expect("an end");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("\"stopped\""), "{}", ended.stderr);
        host = house.host().await;
        load.go_on_at(&host);
    }
    all_accepted(&load.finish().await);
    house.settle().await;
    let counts = house.each_once().await;
    assert_eq!((counts["room-booked"], counts["cleaning-scheduled"]), (ROOMS, ROOMS));
    house.views_equal_the_fold(&host).await;
    host.stop().await;
}

/// Nothing can be finished then, and nothing is lost: the server hands it out again. The host says so and ends.
#[tokio::test]
async fn a_host_whose_server_is_away_stops_all_the_same() {
    let mut house = House::open().await;
    let host = house.host().await;
    assert_eq!(host.send(&book("before", 1, 1)).await.status, 201);
    house.settle().await;
    house.nats.kill().await.expect("nats-server is killed");
    host.pelton.says("the connection to NATS is lost").await.expect("it is noticed");
    let ended = host.pelton.stop().await.expect("an end");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
}

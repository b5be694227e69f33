//! A host that is told to stop (SIGTERM).

use std::time::Duration;

use pelton_tests::process::Signal;
use tokio::time::sleep;

use crate::house::{House, book, eventually};
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

/// The host cannot finish anything then, and nothing is lost, because the server redelivers. The host says so and ends.
#[tokio::test]
async fn a_host_whose_server_is_away_stops_all_the_same() {
    let mut house = House::open().await;
    house.configure(|text| format!("[shutdown]\ndeadline = \"3s\"\n{text}"));
    let host = house.host().await;
    assert_eq!(host.send(&book("before", 1, 1)).await.status, 201);
    house.settle().await;
    house.nats.kill().await.expect("nats-server is killed");
    host.pelton.says("the connection to NATS is lost").await.expect("it is noticed");
    let ended = host.pelton.stop().await.expect("an end");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("not everything was finished"), "{}", ended.stderr);
}

/// A rolling restart under load. Work that a host leaves to the others, including views, does not delay its end.
#[tokio::test]
async fn a_host_stops_cleanly_while_others_go_on_working() {
    let house = House::open().await;
    house.configure(|text| format!("[shutdown]\ndeadline = \"3s\"\n{text}"));
    let (first, second, third) = (house.host().await, house.host().await, house.host().await);
    let work = async {
        for room in 1.. {
            assert_eq!(third.send(&book(&format!("book-{room}"), room, room)).await.status, 201);
            sleep(Duration::from_millis(50)).await;
        }
    };
    let stop = async {
        eventually("there is work", async || {
            anyhow::ensure!(house.events().await.len() > 20);
            Ok(())
        })
        .await;
        // Only one of them writes a view at a time.
        first.stop().await;
        second.stop().await;
    };
    tokio::select! {
        () = work => unreachable!("it has no end"),
        () = stop => {}
    }
    house.settle().await;
    house.each_once().await;
    house.views_equal_the_fold(&third).await;
    third.stop().await;
}

//! Two host processes on one NATS server.

use futures::future::join_all;
use pelton_nats::{ConnectSettings, Nats, hosts};
use pelton_tests::http::Answer;

use crate::house::{House, book};
use crate::load::{Load, all_accepted};

/// The number of guests who want the same room on the same day.
const GUESTS: usize = 40;

#[tokio::test]
async fn many_guests_want_one_room_and_one_gets_it() {
    let house = House::open().await;
    let hosts = [house.host().await, house.host().await];
    let ask = |guest: usize| {
        let host = &hosts[guest % hosts.len()];
        async move { host.send(&book(&format!("guest-{guest}"), 1, guest)).await }
    };
    let answers = join_all((0..GUESTS).map(ask)).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((accepted.len(), refused.len()), (1, GUESTS - 1), "{answers:#?}");
    for answer in refused {
        assert_eq!((answer.status, answer.at("/code").as_str()), (409, "room-already-booked"), "{answer}");
    }
    house.settle().await;
    let counts: Vec<_> = house.each_once().await.into_iter().collect();
    assert_eq!(counts, [("cleaning-scheduled".to_owned(), 1), ("room-booked".to_owned(), 1)]);
    let winner = format!("{}:0", accepted[0].at("/commandId"));
    assert_eq!(house.events().await[0].header("ce-id"), winner);
    for host in &hosts {
        house.views_equal_the_fold(host).await;
    }
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test]
async fn an_impatient_client_gets_one_booking_and_always_the_same_answer() {
    let house = House::open().await;
    let hosts = [house.host().await, house.host().await];
    for (id, room, status) in [("click", 1, 201), ("clack", 1, 409)] {
        let ask = |n: usize| {
            let host = &hosts[n % hosts.len()];
            async move { host.send(&book(id, room, 1)).await }
        };
        let answers = join_all((0..10).map(ask)).await;
        let seen =
            |answer: &Answer| (answer.status, answer.body.clone(), answer.header("etag").map(str::to_owned));
        for answer in &answers {
            assert_eq!(seen(answer), seen(&answers[0]));
        }
        assert_eq!(answers[0].status, status, "{}", answers[0]);
    }
    house.settle().await;
    let counts: Vec<_> = house.each_once().await.into_iter().collect();
    assert_eq!(counts, [("cleaning-scheduled".to_owned(), 1), ("room-booked".to_owned(), 1)]);
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test]
async fn one_host_is_killed_and_the_other_takes_over() {
    const ROOMS: usize = 60;
    let house = House::open().await;
    let (first, second) = (house.host().await, house.host().await);
    let mut load = Load::start(&first, (1..=ROOMS).map(|room| book(&format!("book-{room}"), room, room)));
    load.until(ROOMS / 3).await;
    first.kill().await;
    load.go_on_at(&second);
    all_accepted(&load.finish().await);
    house.settle().await;
    let counts: Vec<_> = house.each_once().await.into_iter().collect();
    assert_eq!(counts, [("cleaning-scheduled".to_owned(), ROOMS), ("room-booked".to_owned(), ROOMS)]);
    house.views_equal_the_fold(&second).await;
    second.stop().await;
}

/// Who is asked at three in the morning wants to know which hosts there are, and which of them works.
#[tokio::test]
async fn status_lists_the_hosts_and_who_has_the_commands() {
    let house = House::open().await;
    let [first, second] = [house.host().await, house.host().await];
    assert_eq!(first.send(&book("book", 1, 1)).await.status, 201);
    let nats = Nats::connect(&ConnectSettings::new(house.nats.url())).await.expect("the server");
    let listed = hosts::ask(&nats).await.expect("answers");
    let mut addresses = [&first.address, &second.address].map(|address| address.replace("http://", ""));
    addresses.sort();
    let mut found: Vec<String> = listed.iter().map(|host| host.address.clone()).collect();
    found.sort();
    assert_eq!(found, addresses);
    let having =
        |handler: &str| listed.iter().filter(|host| host.handlers.iter().any(|has| has == handler)).count();
    assert_eq!(having("booking"), 1, "{listed:#?}");
    assert!(listed.iter().all(|host| host.plugins["booking"].starts_with("sha256:")), "{listed:#?}");
    second.stop().await;
    assert_eq!(hosts::ask(&nats).await.expect("answers").len(), 1);
    first.stop().await;
}

//! The same command again, much later, gets the outcome of the first try, whatever has happened since.

use std::time::Duration;

use pelton_tests::http::{Answer, Request};
use tokio::time::sleep;

use crate::house::{House, book, check_in, cleanup};

/// Longer than the server remembers message ids in this test.
const LONGER_THAN_THE_WINDOW: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_retry_after_everything_was_restarted_gives_the_first_outcome() {
    let mut house = House::open().await;
    let mut host = house.host().await;
    let booked = host.send(&book("book", 1, 1)).await;
    let too_early = host.send(&check_in("too-early", 1, 1)).await;
    assert_eq!((booked.status, too_early.status), (201, 409), "{booked}\n{too_early}");
    assert_eq!(too_early.at("/code"), "room-not-available");
    // A new command would get another answer now.
    let view = Request::get("/views/bookings/1.2022-12-12");
    for (wanted, command) in [("cleaning", cleanup("clean", 1)), ("available", check_in("in-time", 1, 1))] {
        let reached = host.http.until(&view, |answer| answer.at("/availability") == wanted).await;
        reached.expect("the room gets there");
        assert_eq!(host.send(&command).await.status, 201);
    }
    house.settle().await;
    let before = house.events().await.len();

    host.stop().await;
    house.nats.stop().await.expect("nats-server stops");
    sleep(LONGER_THAN_THE_WINDOW).await;
    house.nats.restart().await.expect("nats-server starts");
    host = house.host().await;

    let seen = |answer: &Answer| (answer.status, answer.body.clone());
    assert_eq!(seen(&host.send(&book("book", 1, 1)).await), seen(&booked));
    assert_eq!(seen(&host.send(&check_in("too-early", 1, 1)).await), seen(&too_early));
    for (path, status) in [("/commands/book", "accepted"), ("/commands/too-early", "rejected")] {
        let answer = host.get(path).await;
        assert_eq!((answer.status, answer.at("/status").as_str()), (200, status), "{answer}");
    }
    house.settle().await;
    assert_eq!(house.events().await.len(), before);
    host.stop().await;
}

#[tokio::test]
async fn who_does_not_wait_is_told_where_to_look() {
    let house = House::open().await;
    let host = house.host().await;
    let cases = [("a", book("a", 1, 1), "accepted"), ("b-1_~x", cleanup("b-1_~x", 2), "rejected")];
    for (id, command, status) in cases {
        let answer = host.send(&command.with("Prefer", "wait=0")).await;
        let seen = (answer.status, answer.at("/status"), answer.at("/commandId"));
        assert_eq!(seen, (202, "pending".to_owned(), id.to_owned()), "{answer}");
        assert_eq!(answer.header("preference-applied"), Some("wait=0"));
        let location = answer.header("location").expect("a place to look");
        assert_eq!(location, format!("/commands/{id}"));
        let until = |answer: &Answer| answer.status == 200;
        let outcome = host.http.until(&Request::get(location), until).await.expect("an outcome");
        assert_eq!(outcome.at("/status"), status, "{outcome}");
    }
    assert_eq!(host.get("/commands/nobody-sent-this").await.status, 404);
    host.stop().await;
}

//! `pelton dev`: a host that brings its own server.

use tokio::net::TcpStream;

use crate::house::{Host, House, book, eventually};

#[tokio::test]
async fn what_dev_has_stored_is_there_again_after_a_crash_and_its_server_does_not_outlive_it() {
    let house = House::open().await;
    let host = Host::ready(house.dev("store")).await;
    let booked = host.send(&book("book", 1, 1)).await;
    assert_eq!(booked.status, 201, "{booked}");
    let url = host.pelton.nats_url().await.expect("a server");
    host.kill().await;
    eventually("its server is gone", async || {
        let address = url.strip_prefix("nats://").unwrap_or_default();
        anyhow::ensure!(TcpStream::connect(address).await.is_err(), "it listens at {address}");
        Ok(())
    })
    .await;
    let host = Host::ready(house.dev("store")).await;
    let again = host.send(&book("book", 1, 1)).await;
    assert_eq!((again.status, again.body), (booked.status, booked.body));
    host.stop().await;
}

#[tokio::test]
async fn two_of_them_do_not_share_a_store() {
    let house = House::open().await;
    let host = Host::ready(house.dev("store")).await;
    let second = house.dev("store").ended().await.expect("an end");
    assert_eq!(second.code, Some(4), "{}", second.stderr);
    assert!(second.stderr.contains("another process runs a nats-server on"), "{}", second.stderr);
    let third = Host::ready(house.dev("another-store")).await;
    assert_ne!(
        host.pelton.nats_url().await.expect("a server"),
        third.pelton.nats_url().await.expect("a server")
    );
    third.stop().await;
    host.stop().await;
}

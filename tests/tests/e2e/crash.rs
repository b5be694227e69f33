//! A host that is killed in the middle of its work (SIGKILL).

use crate::house::{House, book, cleanup};
use crate::load::{Load, all_accepted};

const ROOMS: usize = 80;

#[tokio::test]
async fn a_host_that_is_killed_in_mid_load_loses_and_repeats_nothing() {
    let house = House::open().await;
    let mut host = house.host().await;
    let bookings: Vec<_> = (1..=ROOMS).map(|room| book(&format!("book-{room}"), room, room)).collect();
    let cleanups: Vec<_> = (1..=ROOMS).map(|room| cleanup(&format!("clean-{room}"), room)).collect();
    let booked = [("cleaning-scheduled", ROOMS), ("room-booked", ROOMS)];
    let available = [("room-cleaned", ROOMS), ("room-made-available", ROOMS)];
    for (commands, expected) in [(bookings, booked.to_vec()), (cleanups, [booked, available].concat())] {
        let mut load = Load::start(&host, commands);
        for ended in [ROOMS / 8, ROOMS / 2] {
            load.until(ended).await;
            host.kill().await;
            host = house.host().await;
            load.go_on_at(&host);
        }
        all_accepted(&load.finish().await);
        house.settle().await;
        let counts = house.each_once().await;
        let counts: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counts, expected);
        house.views_equal_the_fold(&host).await;
    }
    host.stop().await;
}

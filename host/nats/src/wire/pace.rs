//! Whether writes are faster one by one or in batches. It depends on the server and on the load, so it is measured: how much
//! time passes from one end of a write to the next, in either way.
//!
//! By itself a write costs its share of the server's work: some ten microseconds, or a flush of the disk where every write is
//! forced to it. A batch costs milliseconds, whatever it holds. So batches pay where many writes are under way and each of
//! them takes long. What was not done for a while is supposed to have become faster, so that it is tried again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a write by itself takes, and a batch of all that are under way, before they were measured.
const ALONE: Duration = Duration::from_micros(50);
const TOGETHER: Duration = Duration::from_millis(5);
/// What is left of an earlier load with every write that begins. All writes of a batch end at once and others begin one after
/// the other, so that the number under way says too little by itself.
const LOAD_LEFT: f64 = 0.999;
/// The least number of writes that make one measurement: a server may answer many at once and pause after them.
const MIN_MEASURED: u32 = 64;
/// The weight of a measurement that is greater than what was measured before. A smaller one counts at once: nothing makes a
/// server look faster than it is.
const WEIGHT: f64 = 0.5;
/// A measurement counts for no more than so many times what was measured before: a process that stood still says nothing of the
/// server.
const MAX_GROWTH: f64 = 4.0;
/// The other way is taken when it is better by so much: writes of both ways at a time would tell nothing of either.
const CLEARLY: f64 = 1.25;
/// What was not measured for this time is supposed to take half as long.
const HALVED_AFTER: Duration = Duration::from_secs(30);

/// How a write is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Alone,
    WithOthers,
}

/// The measurements of one stream's writes.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Measured>);

#[derive(Debug)]
struct Measured {
    /// The writes under way by themselves, and with others.
    alone: usize,
    with_others: usize,
    /// How many are under way at a time.
    load: f64,
    /// What one takes by itself, and all that are under way together.
    one: Estimate,
    all: Estimate,
    /// The way of the writes that may go alone.
    better: Way,
    /// When a write last ended, or began while no other was under way.
    since: Instant,
    /// The writes of one way that have ended since the last measurement, and the time from end to end.
    way: Way,
    ended: u32,
    took: Duration,
}

#[derive(Debug)]
struct Estimate {
    seconds: f64,
    at: Instant,
}

impl Estimate {
    fn now(&self, now: Instant) -> f64 {
        let unseen = now.duration_since(self.at).as_secs_f64() / HALVED_AFTER.as_secs_f64();
        self.seconds * 0.5_f64.powf(unseen)
    }

    fn measured(&mut self, seconds: f64, now: Instant) {
        let more = (seconds.min(MAX_GROWTH * self.seconds) - self.seconds).max(0.0);
        self.seconds = self.seconds.min(seconds) + WEIGHT * more;
        self.at = now;
    }
}

impl Default for Pace {
    fn default() -> Self {
        let at = Instant::now();
        let estimate = |duration: Duration| Estimate { seconds: duration.as_secs_f64(), at };
        Self(Mutex::new(Measured {
            alone: 0,
            with_others: 0,
            load: 0.0,
            one: estimate(ALONE),
            all: estimate(TOGETHER),
            better: Way::Alone,
            since: at,
            way: Way::Alone,
            ended: 0,
            took: Duration::ZERO,
        }))
    }
}

impl Pace {
    /// A write begins.
    pub(super) fn begin(&self, can_go_alone: bool) -> Way {
        let (mut measured, now) = (self.measured(), Instant::now());
        let open = measured.alone + measured.with_others;
        if open == 0 {
            measured.since = now;
        }
        measured.load = (LOAD_LEFT * measured.load).max(open as f64 + 1.0);
        let (alone, together) = (measured.load * measured.one.now(now), measured.all.now(now));
        match measured.better {
            Way::Alone if CLEARLY * together < alone => measured.better = Way::WithOthers,
            Way::WithOthers if CLEARLY * alone < together => measured.better = Way::Alone,
            _ => {}
        }
        let way = if can_go_alone { measured.better } else { Way::WithOthers };
        *measured.under_way(way) += 1;
        way
    }

    /// A write has ended. One that was not stored tells nothing of how long it takes, nor does one that shared the server with
    /// writes of the other way.
    pub(super) fn end(&self, way: Way, is_stored: bool) {
        let (mut measured, now) = (self.measured(), Instant::now());
        *measured.under_way(way) -= 1;
        let took = now.duration_since(std::mem::replace(&mut measured.since, now));
        let is_mixed = measured.alone > 0 && measured.with_others > 0;
        if std::mem::replace(&mut measured.way, way) != way || is_mixed || !is_stored {
            (measured.ended, measured.took) = (0, Duration::ZERO);
            return;
        }
        measured.ended += 1;
        measured.took += took;
        if measured.ended < MIN_MEASURED || f64::from(measured.ended) < measured.load {
            return;
        }
        let each =
            std::mem::take(&mut measured.took).as_secs_f64() / f64::from(std::mem::take(&mut measured.ended));
        match way {
            Way::Alone => measured.one.measured(each, now),
            Way::WithOthers => {
                let all = each * measured.load;
                measured.all.measured(all, now);
            }
        }
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measured {
    fn under_way(&mut self, way: Way) -> &mut usize {
        match way {
            Way::Alone => &mut self.alone,
            Way::WithOthers => &mut self.with_others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps so many writes under way, of which one ends every so often by itself, and all of them in a batch. Returns how many
    /// of the last of them were stored in batches.
    async fn in_batches(pace: &Pace, load: usize, single: Duration, batch: Duration) -> usize {
        let mut together = 0;
        for round in 0..2_000 {
            let ways: Vec<_> = (0..load).map(|_| pace.begin(true)).collect();
            let (alone, with_others): (Vec<_>, Vec<_>) = ways.into_iter().partition(|way| *way == Way::Alone);
            for way in alone {
                tokio::time::advance(single).await;
                pace.end(way, true);
            }
            if !with_others.is_empty() {
                tokio::time::advance(batch).await;
                together += if round >= 1_000 { with_others.len() } else { 0 };
                with_others.into_iter().for_each(|way| pace.end(way, true));
            }
        }
        together / load
    }

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[tokio::test(start_paused = true)]
    async fn writes_go_together_where_that_is_faster() {
        for (load, single, batch, expected) in [
            (1, us(300), us(5_000), 0..1),
            (16, us(150), us(6_000), 0..1),
            (256, us(40), us(25_000), 0..50),
            (256, us(150), us(8_000), 900..1_001),
            (64, us(10_000), us(12_000), 900..1_001),
        ] {
            let together = in_batches(&Pace::default(), load, single, batch).await;
            assert!(expected.contains(&together), "{load} at {single:?} and {batch:?}: {together}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_become_faster_is_found_out() {
        let pace = Pace::default();
        assert!(in_batches(&pace, 256, us(2_000), us(9_000)).await > 900);
        tokio::time::advance(10 * HALVED_AFTER).await;
        assert!(in_batches(&pace, 256, us(20), us(9_000)).await < 50);
        tokio::time::advance(10 * HALVED_AFTER).await;
        assert!(in_batches(&pace, 256, us(2_000), us(9_000)).await > 900);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_says_nothing_of_the_server() {
        let pace = Pace::default();
        in_batches(&pace, 32, us(40), us(9_000)).await;
        let way = pace.begin(true);
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.end(way, true);
        assert_eq!(in_batches(&pace, 32, us(40), us(9_000)).await, 0);
    }
}

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::Unavailable;

/// The latest that a request arrives of which somebody was told that it was lost, in milliseconds.
const MAX_LATE_MS: u64 = 150;

/// How the network behaves: how late answers are, and how many are lost.
#[derive(Debug)]
pub struct FlakyNetwork {
    rng: Mutex<fastrand::Rng>,
    /// The longest that a request takes, in milliseconds.
    max_latency_ms: u64,
    /// Of a thousand requests, how many are lost on their way there, and how many on their way back.
    lost_per_mille: u32,
    /// By how much the next append is late.
    next_append_late: Mutex<Option<Duration>>,
}

/// What happens to one request.
pub(super) enum Fate {
    Arrives,
    LostBefore,
    LostAfter,
}

impl FlakyNetwork {
    /// Everything arrives at once.
    #[must_use]
    pub fn reliable() -> Self {
        Self::flaky(0, 0, 0)
    }

    /// Requests take up to `max_latency_ms`, and of a thousand this many get lost, half of them after their effect.
    #[must_use]
    pub fn flaky(seed: u64, max_latency_ms: u64, lost_per_mille: u32) -> Self {
        let rng = Mutex::new(fastrand::Rng::with_seed(seed));
        Self { rng, max_latency_ms, lost_per_mille, next_append_late: Mutex::default() }
    }

    /// Has the next append arrive so late that its sender takes it for lost.
    pub fn delay_next_append(&self, by: Duration) {
        *self.next_late() = Some(by);
    }

    /// Whether the append that is to be late is still to come.
    pub fn is_append_to_be_late(&self) -> bool {
        self.next_late().is_some()
    }

    pub(super) fn take_late_append(&self) -> Option<Duration> {
        self.next_late().take()
    }

    fn next_late(&self) -> MutexGuard<'_, Option<Duration>> {
        self.next_append_late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a request arrives that its sender takes for lost, if it does.
    pub(super) fn late(&self) -> Option<Duration> {
        self.roll(|rng| rng.bool().then(|| Duration::from_millis(rng.u64(0..=MAX_LATE_MS))))
    }

    fn roll<T>(&self, dice: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        dice(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Some of the latency; what follows is the server's turn.
    pub(super) async fn travel(&self) -> Fate {
        let (latency, dice) = self.roll(|rng| (rng.u64(0..=self.max_latency_ms), rng.u32(0..1000)));
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
        match dice {
            d if d * 2 < self.lost_per_mille => Fate::LostBefore,
            d if d < self.lost_per_mille => Fate::LostAfter,
            _ => Fate::Arrives,
        }
    }

    /// One request: `serve` is what the server does with it.
    pub(super) async fn request<T>(&self, doing: &str, serve: impl FnOnce() -> T) -> Result<T, Unavailable> {
        let lost = || Unavailable { doing: doing.to_owned(), cause: "no answer".to_owned() };
        match self.travel().await {
            Fate::LostBefore => Err(lost()),
            Fate::LostAfter => {
                serve();
                Err(lost())
            }
            Fate::Arrives => {
                let answer = serve();
                self.travel().await;
                Ok(answer)
            }
        }
    }
}

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::Unavailable;

/// The longest delay of a request whose sender was told that it is lost, in milliseconds.
const MAX_LATE_MS: u64 = 150;

/// A network that delays and loses requests and answers.
#[derive(Debug)]
pub struct FlakyNetwork {
    rng: Mutex<fastrand::Rng>,
    /// The longest that a request takes, in milliseconds.
    max_latency_ms: u64,
    /// The number of requests in a thousand that get lost: half of them before their effect, half after it.
    lost_per_mille: u32,
    /// The number of messages of an entity by which a read may be behind the leader.
    max_behind: usize,
    /// The delay of the next append.
    next_append_late: Mutex<Option<Duration>>,
}

/// What happens to one request.
pub(super) enum Fate {
    Arrives,
    LostBefore,
    LostAfter,
}

impl FlakyNetwork {
    /// A network on which everything arrives at once.
    #[must_use]
    pub fn reliable() -> Self {
        Self::flaky(0, 0, 0)
    }

    /// A network on which a request takes up to `max_latency_ms`, and of a thousand requests `lost_per_mille` get lost,
    /// half of them after their effect.
    #[must_use]
    pub fn flaky(seed: u64, max_latency_ms: u64, lost_per_mille: u32) -> Self {
        let rng = Mutex::new(fastrand::Rng::with_seed(seed));
        Self { rng, max_latency_ms, lost_per_mille, max_behind: 0, next_append_late: Mutex::default() }
    }

    /// The same with replicas that are behind their leader, by up to so many messages of an entity.
    #[must_use]
    pub fn lagging(self, max_behind: usize) -> Self {
        Self { max_behind, ..self }
    }

    /// By how many messages a read is behind.
    pub(super) fn behind(&self) -> usize {
        self.roll(|rng| rng.usize(0..=self.max_behind))
    }

    /// Delays the next append so long that its sender takes it for lost.
    pub fn delay_next_append(&self, by: Duration) {
        *self.next_late() = Some(by);
    }

    /// Whether the delayed append is still to come.
    pub fn is_append_to_be_late(&self) -> bool {
        self.next_late().is_some()
    }

    pub(super) fn take_late_append(&self) -> Option<Duration> {
        self.next_late().take()
    }

    fn next_late(&self) -> MutexGuard<'_, Option<Duration>> {
        self.next_append_late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The delay after which a request arrives that its sender takes for lost. `None` if it never arrives.
    pub(super) fn late(&self) -> Option<Duration> {
        self.roll(|rng| rng.bool().then(|| Duration::from_millis(rng.u64(0..=MAX_LATE_MS))))
    }

    fn roll<T>(&self, dice: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        dice(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes some of the latency, and decides what happens to the request.
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

    /// Sends one request. `serve` does the server's part.
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

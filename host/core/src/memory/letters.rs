use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::weather::Weather;
use crate::dead_letter::{DeadLetter, DeadLetters, RETRY_OF};
use crate::id::{Name, Sequence};
use crate::message::Incoming;
use crate::ports::Unavailable;

/// Dead letters in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryLetters {
    weather: Arc<Weather>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    letters: Vec<(Sequence, DeadLetter)>,
}

impl MemoryLetters {
    /// None yet.
    #[must_use]
    pub fn new(weather: Arc<Weather>) -> Self {
        Self { weather, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All letters in order, with their positions.
    #[must_use]
    pub fn all(&self) -> Vec<(Sequence, DeadLetter)> {
        self.kept().letters.clone()
    }

    /// Takes a letter out, as an operator does who has retried or dropped it.
    pub fn remove(&self, sequence: Sequence) {
        self.kept().letters.retain(|(at, _)| *at != sequence);
    }
}

impl Kept {
    fn queue<'a>(
        &'a self,
        consumer: &'a str,
        key: &'a str,
    ) -> impl Iterator<Item = &'a (Sequence, DeadLetter)> {
        self.letters.iter().filter(move |(_, l)| l.consumer == consumer && l.key.as_deref() == Some(key))
    }

    fn is_retry(&self, letter: &DeadLetter) -> bool {
        let of = |kept: &DeadLetter| {
            kept.consumer == letter.consumer && kept.message.subject == letter.message.subject
        };
        retry_of(&letter.message)
            .is_some_and(|retried| self.letters.iter().any(|(at, kept)| *at == retried && of(kept)))
    }

    fn keep(&mut self, letter: DeadLetter) {
        if self.is_retry(&letter) || self.letters.iter().any(|(_, kept)| kept.id() == letter.id()) {
            return;
        }
        self.last += 1;
        self.letters.push((Sequence(self.last), letter));
    }

    fn keep_behind(&mut self, letter: DeadLetter, last: Sequence) -> bool {
        let queue: Vec<_> = self.queue(&letter.consumer, letter.key.as_deref().unwrap_or_default()).collect();
        if queue.iter().any(|(_, kept)| kept.message.subject == letter.message.subject) {
            return true;
        }
        let still = queue.last().is_some_and(|(at, _)| *at == last);
        if still {
            self.keep(letter);
        }
        still
    }
}

fn retry_of(message: &Incoming) -> Option<Sequence> {
    message.headers.get(RETRY_OF)?.parse().ok().map(Sequence)
}

impl DeadLetters for MemoryLetters {
    async fn keep(&self, letter: DeadLetter) -> Result<(), Unavailable> {
        self.weather.request("keeping a dead letter", || self.kept().keep(letter)).await
    }

    async fn last(&self, consumer: &Name, key: &str) -> Result<Option<Sequence>, Unavailable> {
        let look = || self.kept().queue(consumer.as_str(), key).last().map(|(at, _)| *at);
        self.weather.request("looking for the last dead letter", look).await
    }

    async fn is_retry_of_first(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
    ) -> Result<bool, Unavailable> {
        let look = || {
            let kept = self.kept();
            let first = kept.queue(consumer.as_str(), key).next();
            first.is_some_and(|(at, letter)| {
                retry_of(message) == Some(*at) && letter.message.subject == message.subject
            })
        };
        self.weather.request("looking for the first dead letter", look).await
    }

    async fn keep_behind(&self, letter: DeadLetter, last: Sequence) -> Result<bool, Unavailable> {
        self.weather.request("parking a message", || self.kept().keep_behind(letter, last)).await
    }
}

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::network::FlakyNetwork;
use crate::dead_letter::{
    DeadLetter, DeadLetterKind, DeadLetters, OnFailure, Parking, Place, RETRY_OF, Retries, RetryRequest,
    first_subject,
};
use crate::id::{Name, Sequence};
use crate::message::Incoming;
use crate::store::Unavailable;

/// Dead letters in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryDeadLetters {
    network: Arc<FlakyNetwork>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    dead_letters: Vec<(Sequence, DeadLetter)>,
    requests: Vec<(String, RetryRequest)>,
    failed_again: Vec<(Sequence, String)>,
}

impl MemoryDeadLetters {
    /// An empty store.
    #[must_use]
    pub fn new(network: Arc<FlakyNetwork>) -> Self {
        Self { network, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All dead letters in order, with their positions.
    #[must_use]
    pub fn all(&self) -> Vec<(Sequence, DeadLetter)> {
        self.kept().dead_letters.clone()
    }

    /// Requests a retry of a key's dead letters.
    pub fn ask(&self, consumer: &str, key: &str) {
        let mut kept = self.kept();
        kept.last += 1;
        let request = RetryRequest { at: Sequence(kept.last), key: key.to_owned() };
        kept.requests.push((consumer.to_owned(), request));
    }

    /// Whether a request is open.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.kept().requests.is_empty()
    }

    /// The dead letters that failed again, with their causes.
    #[must_use]
    pub fn failed_again(&self) -> Vec<(Sequence, String)> {
        self.kept().failed_again.clone()
    }

    /// Removes a dead letter, as an operator does who has retried or dropped it.
    pub fn remove(&self, sequence: Sequence) {
        self.kept().dead_letters.retain(|(at, _)| *at != sequence);
    }
}

impl Kept {
    fn queue<'a>(
        &'a self,
        consumer: &'a str,
        key: &'a str,
    ) -> impl Iterator<Item = &'a (Sequence, DeadLetter)> {
        self.dead_letters.iter().filter(move |(_, l)| l.consumer == consumer && l.key.as_deref() == Some(key))
    }

    fn retried(&self, dead_letter: &DeadLetter) -> Option<Sequence> {
        let of = |kept: &DeadLetter| {
            kept.consumer == dead_letter.consumer
                && first_subject(&kept.message.subject) == first_subject(&dead_letter.message.subject)
        };
        retry_of(&dead_letter.message)
            .filter(|retried| self.dead_letters.iter().any(|(at, kept)| at == retried && of(kept)))
    }

    fn keep(&mut self, dead_letter: DeadLetter) -> Sequence {
        let is_there = |kept: &DeadLetter| kept.kind == dead_letter.kind && kept.id() == dead_letter.id();
        let there = self.dead_letters.iter().find(|(_, kept)| is_there(kept)).map(|(at, _)| *at);
        if let Some(at) = self.retried(&dead_letter).or(there) {
            return at;
        }
        self.last += 1;
        self.dead_letters.push((Sequence(self.last), dead_letter));
        Sequence(self.last)
    }

    fn keep_behind(&mut self, dead_letter: DeadLetter, last: Sequence) -> Parking {
        let queue: Vec<_> =
            self.queue(&dead_letter.consumer, dead_letter.key.as_deref().unwrap_or_default()).collect();
        let subject = &dead_letter.message.subject;
        let is_own = |kept: &DeadLetter| kept.kind == DeadLetterKind::Failed && kept.id() == dead_letter.id();
        if let Some((_, own)) = queue.iter().find(|(_, kept)| is_own(kept)) {
            return Parking::Failed(own.cause.clone());
        }
        let is_command = subject.starts_with("command.");
        if is_command && queue.iter().any(|(_, kept)| kept.message.subject == *subject) {
            return Parking::Parked;
        }
        if queue.last().is_none_or(|(at, _)| *at != last) {
            return Parking::Overtaken;
        }
        self.keep(dead_letter);
        Parking::Parked
    }
}

fn retry_of(message: &Incoming) -> Option<Sequence> {
    message.headers.get(RETRY_OF)?.parse().ok().map(Sequence)
}

impl DeadLetters for MemoryDeadLetters {
    async fn keep(&self, dead_letter: DeadLetter) -> Result<Sequence, Unavailable> {
        self.network.request("keeping a dead letter", || self.kept().keep(dead_letter)).await
    }

    async fn last(&self, consumer: &Name, key: &str) -> Result<Option<Sequence>, Unavailable> {
        let look = || self.kept().queue(consumer.as_str(), key).last().map(|(at, _)| *at);
        self.network.request("looking for the last dead letter", look).await
    }

    async fn is_retry(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
        on_failure: OnFailure,
    ) -> Result<bool, Unavailable> {
        let look = || {
            let kept = self.kept();
            let tried = match on_failure {
                OnFailure::Park => 1,
                OnFailure::Skip => usize::MAX,
            };
            kept.queue(consumer.as_str(), key).take(tried).any(|(at, dead_letter)| {
                retry_of(message) == Some(*at)
                    && first_subject(&dead_letter.message.subject) == first_subject(&message.subject)
            })
        };
        self.network.request("looking for a dead letter", look).await
    }

    async fn keep_behind(&self, dead_letter: DeadLetter, last: Sequence) -> Result<Parking, Unavailable> {
        self.network.request("parking a message", || self.kept().keep_behind(dead_letter, last)).await
    }
}

impl Retries for MemoryDeadLetters {
    async fn request(&self, consumer: &Name) -> Result<Option<RetryRequest>, Unavailable> {
        let look = || {
            let kept = self.kept();
            let first = kept.requests.iter().find(|(by, _)| by == consumer.as_str());
            first.map(|(_, request)| request.clone())
        };
        self.network.request("looking for a request", look).await
    }

    async fn places(&self, consumer: &Name, key: Option<&str>) -> Result<Vec<Place>, Unavailable> {
        let look = || {
            let kept = self.kept();
            let own = kept.dead_letters.iter().filter(|(_, dead_letter)| {
                let asked = key.is_none_or(|key| dead_letter.key.as_deref() == Some(key));
                dead_letter.consumer == consumer.as_str() && dead_letter.key.is_some() && asked
            });
            let mut places: Vec<_> = own
                .map(|(at, dead_letter)| Place { message: dead_letter.message.sequence, dead_letter: *at })
                .collect();
            places.sort_unstable();
            places
        };
        self.network.request("listing dead letters", look).await
    }

    async fn dead_letter(&self, at: Sequence) -> Result<Option<DeadLetter>, Unavailable> {
        let look = || {
            let kept = self.kept();
            let found = kept.dead_letters.iter().find(|(sequence, _)| *sequence == at);
            found.map(|(_, dead_letter)| dead_letter.clone())
        };
        self.network.request("reading a dead letter", look).await
    }

    async fn settle(&self, at: Sequence) -> Result<(), Unavailable> {
        self.network.request("settling a dead letter", || self.remove(at)).await
    }

    async fn note_failure(&self, at: Sequence, cause: &str) -> Result<(), Unavailable> {
        let note = || self.kept().failed_again.push((at, cause.to_owned()));
        self.network.request("noting a failure", note).await
    }

    async fn close(&self, request: &RetryRequest) -> Result<(), Unavailable> {
        let close = || self.kept().requests.retain(|(_, open)| open.at != request.at);
        self.network.request("closing a request", close).await
    }
}

//! `wasi:random`: numbers that follow from the id of the call's message.
//!
//! They are the SHA-256 of a seed and a counter, because that is the same for ever and everywhere.

use sha2::{Digest, Sha256};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::View;

/// The most bytes that one call of an interface gives.
const MAX_BYTES: u64 = 64 * 1024;
const BLOCK_BYTES: usize = 32;

/// The random numbers of one call.
pub(super) struct Random {
    seed: [u8; BLOCK_BYTES],
    block: [u8; BLOCK_BYTES],
    /// The bytes of the block that were given.
    given: usize,
    blocks: u64,
}

impl Random {
    /// The numbers that follow from this.
    pub(super) fn of((first, second, third): (&str, &str, u32)) -> Self {
        let mut hash = Sha256::new();
        for part in [first, second] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(third.to_be_bytes());
        let seed = hash.finalize().into();
        Self { seed, block: [0; BLOCK_BYTES], given: BLOCK_BYTES, blocks: 0 }
    }

    fn block_of(&self, counter: u64) -> [u8; BLOCK_BYTES] {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(counter.to_be_bytes());
        hash.finalize().into()
    }

    fn fill(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.given == BLOCK_BYTES {
                self.block = self.block_of(self.blocks);
                self.blocks += 1;
                self.given = 0;
            }
            let count = bytes.len().min(BLOCK_BYTES - self.given);
            let (now, later) = bytes.split_at_mut(count);
            now.copy_from_slice(&self.block[self.given..self.given + count]);
            self.given += count;
            bytes = later;
        }
    }

    fn bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        if count > MAX_BYTES {
            return Err(wasmtime::Error::msg(format!(
                "asked for {count} random bytes; at most {MAX_BYTES} are given at a time"
            )));
        }
        let mut bytes = vec![0; usize::try_from(count)?];
        self.fill(&mut bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The seed for a guest's own numbers, the same however many were given.
    fn for_guest(&self) -> (u64, u64) {
        let block = self.block_of(u64::MAX);
        let half = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&block[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        (half(0), half(8))
    }
}

impl random::Host for View<'_> {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.wasi.random.bytes(count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.wasi.random.number())
    }
}

impl insecure::Host for View<'_> {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.wasi.random.bytes(count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.wasi.random.number())
    }
}

impl insecure_seed::Host for View<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok(self.wasi.random.for_guest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that is decided again, by another version of the host, has to get the same numbers.
    #[test]
    fn numbers_stay_what_they_are() {
        let mut random = Random::of(("command-1", "", 0));
        assert_eq!([random.number(), random.number()], [0xadbadd2bd9ff871d, 0x287e2ffc06204b2a]);
        assert_eq!(random.for_guest(), (0xe39bca2965ec4055, 0xab8bb86801fb0665));
    }

    #[test]
    fn numbers_follow_from_the_whole_seed_and_not_from_how_they_are_asked_for() {
        let of = |seed| Random::of(seed).bytes(100).unwrap();
        let all = of(("a", "b", 0));
        for other in [("a", "c", 0), ("b", "a", 0), ("ab", "", 0), ("", "ab", 0), ("a", "b", 1)] {
            assert_ne!(of(other), all, "{other:?}");
        }
        let mut random = Random::of(("a", "b", 0));
        let pieces = [0, 1, 31, 33, 35].map(|count| random.bytes(count).unwrap());
        assert_eq!(pieces.concat(), all);
    }

    #[test]
    fn no_more_is_given_than_a_limit() {
        let mut random = Random::of(("", "", 0));
        assert_eq!(random.bytes(MAX_BYTES).unwrap().len(), 65_536);
        let refused = random.bytes(u64::MAX).unwrap_err().to_string();
        assert!(refused.contains("at most 65536 are given at a time"), "{refused}");
    }
}

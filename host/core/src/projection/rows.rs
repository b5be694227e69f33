//! A cache of the values that were read or written last.

use bytes::Bytes;
use lru::LruCache;

use crate::projection::view::ViewKey;

/// The most bytes of keys and values that one projection caches.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The size of an entry beside the bytes of its key and value.
const ENTRY_BYTES: usize = 128;

/// Cached values of a view. They hold as long as no other host writes the view, which the checkpoint shows.
#[derive(Debug)]
pub(super) struct Rows {
    values: LruCache<ViewKey, Option<Bytes>>,
    bytes: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self { values: LruCache::unbounded(), bytes: 0 }
    }
}

impl Rows {
    /// The value under a key, if it is cached. The inner `None` means that the key has no value.
    pub(super) fn get(&mut self, key: &ViewKey) -> Option<Option<Bytes>> {
        self.values.get(key).cloned()
    }

    pub(super) fn keep(&mut self, key: &ViewKey, value: Option<&Bytes>) {
        self.bytes += bytes(key, value);
        if let Some((key, old)) = self.values.push(key.clone(), value.cloned()) {
            self.bytes -= bytes(&key, old.as_ref());
        }
        while self.bytes > MAX_BYTES
            && let Some((key, value)) = self.values.pop_lru()
        {
            self.bytes -= bytes(&key, value.as_ref());
        }
    }
}

fn bytes(key: &ViewKey, value: Option<&Bytes>) -> usize {
    ENTRY_BYTES + key.as_str().len() + value.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_kept_as_far_as_there_is_room() {
        let mut rows = Rows::default();
        let key = |n: usize| ViewKey::new(&format!("k{n}")).unwrap();
        let large = Bytes::from(vec![0; MAX_BYTES / 4]);
        rows.keep(&key(0), None);
        for n in 1..=5 {
            assert_eq!(rows.get(&key(0)), Some(None));
            rows.keep(&key(n), Some(&large));
            rows.keep(&key(n), Some(&large));
        }
        assert_eq!([1, 2].map(|n| rows.get(&key(n))), [None, None]);
        assert_eq!([3, 4, 5].map(|n| rows.get(&key(n))), [0; 3].map(|_| Some(Some(large.clone()))));
        rows.keep(&key(9), Some(&Bytes::from(vec![0; MAX_BYTES + 1])));
        assert_eq!((rows.bytes, rows.values.len()), (0, 0), "larger than all there is room for");
    }
}

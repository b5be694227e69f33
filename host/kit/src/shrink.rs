//! Makes a failing input as small as possible.

use std::time::{Duration, Instant};

/// The most inputs that are tried.
const MOST_TRIES: usize = 100;
/// The longest that inputs are tried. If each call runs into its time limit, a longer input has to do.
const MOST_TIME: Duration = Duration::from_secs(1);

/// The smallest list found that still fails. At first many items are left out at once, then fewer.
pub(crate) fn list<T: Clone>(failing: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut best = failing.to_vec();
    let mut size = best.len().div_ceil(2).max(1);
    let mut tries = 0;
    let start = Instant::now();
    while !best.is_empty() {
        let mut at = 0;
        let mut smaller = false;
        while at < best.len() && tries < MOST_TRIES && start.elapsed() < MOST_TIME {
            let end = (at + size).min(best.len());
            let candidate: Vec<T> = best[..at].iter().chain(&best[end..]).cloned().collect();
            tries += 1;
            if fails(&candidate) {
                best = candidate;
                smaller = true;
            } else {
                at = end;
            }
        }
        match (size, smaller) {
            _ if tries >= MOST_TRIES || start.elapsed() >= MOST_TIME => break,
            (1, false) => break,
            (1, true) => {}
            _ => size = size.div_ceil(2),
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let all: Vec<u32> = (0..100).collect();
        let found = list(&all, |some| some.contains(&7) && some.contains(&90));
        assert_eq!(found, [7, 90]);
        assert!(list(&all, |_| true).is_empty());
        assert_eq!(list(&[1], |some| some == [1]), [1]);
    }
}

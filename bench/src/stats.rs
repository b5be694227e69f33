//! Figures of several rounds, and of many single events.

use std::time::Duration;

/// The median: half of the figures are not above it, half not below. `None` if there are no figures.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (last, half) = (sorted.len().checked_sub(1)?, sorted.len() / 2);
    Some(if last % 2 == 0 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) })
}

/// The least and the greatest figure.
pub(crate) fn spread(figures: &[f64]) -> Option<(f64, f64)> {
    let least = figures.iter().copied().reduce(f64::min)?;
    Some((least, figures.iter().copied().reduce(f64::max)?))
}

/// The time that this many of a hundred did not exceed, in milliseconds: the nearest rank.
pub(crate) fn percentile_ms(times: &[Duration], percent: usize) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|time| time.as_secs_f64() * 1e3)
}

/// The quotients of two figures of one round, round by round.
pub(crate) fn quotients(of: &[f64], by: &[f64]) -> Vec<f64> {
    of.iter().zip(by).map(|(of, by)| of / by).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(spread(&[2.0, 1.0, 3.0]), Some((1.0, 3.0)));
    }

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile_ms(&times, 50), Some(100.0));
        assert_eq!(percentile_ms(&times, 99), Some(198.0));
        assert_eq!(percentile_ms(&times[..1], 99), Some(200.0));
        assert_eq!(percentile_ms(&[], 50), None);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        assert_eq!(quotients(&[1.0, 9.0], &[2.0, 3.0]), [0.5, 3.0]);
    }
}

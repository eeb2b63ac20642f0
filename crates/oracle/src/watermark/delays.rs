//! How late a partition's events come, as far as it remembers.

use std::collections::BTreeMap;

/// Counts of delays, in buckets that are an eighth of a power of two wide.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    counts: BTreeMap<u32, i64>,
    /// How many there ever were.
    recorded: i64,
}

impl Delays {
    /// Counts one more. With `memory` of them all that was counted halves.
    pub(super) fn record(&mut self, delay: i64, memory: i64) {
        *self.counts.entry(bucket(delay)).or_default() += 1;
        self.recorded += 1;
        if self.total() >= memory {
            self.counts.values_mut().for_each(|count| *count /= 2);
        }
    }

    /// How many there ever were, forgotten or not.
    pub(super) fn recorded(&self) -> i64 {
        self.recorded
    }

    /// What so many in a million of the delays are not longer than, but at least
    /// one of them; none if all are forgotten.
    pub(super) fn quantile(&self, ppm: i64) -> Option<i64> {
        let needed = i128::from(self.total()) * i128::from(ppm);
        let needed = ((needed + 999_999) / 1_000_000).max(1);
        let mut counted = 0;
        for (&bucket, &count) in &self.counts {
            counted += i128::from(count);
            if counted >= needed {
                return Some(longest(bucket));
            }
        }
        None
    }

    /// # Panics
    /// When the state is one that no sequence of calls should reach.
    pub(super) fn assert_invariants(&self, memory: i64) {
        assert!(self.total() <= self.recorded, "nothing is counted twice");
        assert!(self.total() < memory, "half of it should be forgotten");
    }

    fn total(&self) -> i64 {
        self.counts.values().sum()
    }
}

/// Where a delay is counted: up to 15 alone, and above with those that have the
/// same four leading binary digits.
fn bucket(delay: i64) -> u32 {
    if delay < 8 {
        return u32::try_from(delay).expect("no delay is negative");
    }
    let power = delay.ilog2();
    let eighth = u32::try_from(delay >> (power - 3) & 7).expect("one of eight");
    8 * (power - 2) + eighth
}

/// The longest delay of a bucket.
fn longest(bucket: u32) -> i64 {
    if bucket < 8 {
        return bucket.into();
    }
    let (power, eighth) = (bucket / 8 + 2, bucket % 8);
    let width = 1_i128 << (power - 3);
    let next = (i128::from(eighth) + 8 + 1) * width;
    i64::try_from(next - 1).expect("there are no more buckets than delays")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w2_buckets_by_hand() {
        for (delay, expected) in [(0, 0), (1, 1), (7, 7), (8, 8), (15, 15), (16, 16), (17, 16), (18, 17)] {
            assert_eq!(bucket(delay), expected, "{delay}");
        }
        assert_eq!((bucket(31), bucket(32), bucket(35), bucket(36)), (23, 24, 24, 25));
        // 1000 is 1.95 times 512: the last eighth.
        assert_eq!((bucket(1000), longest(bucket(1000))), (63, 1023));
        assert_eq!((bucket(1024), longest(bucket(1024))), (64, 1151));
        assert_eq!((bucket(i64::MAX), longest(487)), (487, i64::MAX));
    }

    #[test]
    fn w2_each_delay_is_in_one_bucket() {
        let mut longest_before = -1;
        for number in 0..=487 {
            assert_eq!(bucket(longest_before + 1), number);
            assert_eq!(bucket(longest(number)), number);
            longest_before = longest(number);
        }
        assert_eq!(longest_before, i64::MAX);
    }

    fn of(delays: &[i64], memory: i64) -> Delays {
        let mut all = Delays::default();
        for &delay in delays {
            all.record(delay, memory);
            all.assert_invariants(memory);
        }
        all
    }

    #[test]
    fn w2_quantiles_by_hand() {
        let all = of(&[5, 0, 3, 3], 100);
        let quantiles = [1, 250_000, 250_001, 750_000, 750_001, 1_000_000].map(|ppm| all.quantile(ppm));
        assert_eq!(quantiles, [0, 0, 3, 3, 5, 5].map(Some));
        assert_eq!(of(&[100], 100).quantile(1), Some(103), "the longest that it may have been");
        assert_eq!(of(&[], 100).quantile(1_000_000), None);
    }

    #[test]
    fn w2_half_is_forgotten_at_once() {
        let counts = |delays: &[i64]| of(delays, 4).counts.values().copied().collect::<Vec<_>>();
        assert_eq!(counts(&[0, 1, 1]), [1, 2]);
        assert_eq!(counts(&[0, 1, 1, 1]), [0, 1], "rounded down");
        assert_eq!(counts(&[0, 0, 1, 1]), [1, 1]);
        assert_eq!(of(&[0, 1, 2, 3], 4).quantile(1_000_000), None, "nothing is left");
        assert_eq!(of(&[0, 1, 2, 3], 4).recorded(), 4);
    }
}

//! How late a partition's events come: the sketch that a bound of disorder is learned from.
//!
//! A histogram whose buckets are a power of two wide, eight to each doubling, so that a delay is known to an eighth of itself
//! whatever its size (the layout of Gil Tene's HdrHistogram). The percentile is not searched for: it is a place in the
//! histogram that moves with each delay by as much as that changes.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// The settings of [`LearnedDisorder`](crate::LearnedDisorder), validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Learning {
    /// The percentile in parts per million.
    pub(crate) ppm: u32,
    pub(crate) at_least: i64,
    pub(crate) at_most: i64,
    pub(crate) warm_up: u64,
    pub(crate) memory: u32,
}

/// Buckets for every delay that there can be.
const BUCKETS: usize = 8 * 61;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Delays {
    counts: Vec<u32>,
    total: u64,
    /// Delays ever recorded.
    recorded: u64,
    /// The bucket of the percentile, and how many delays are in those before it. Derived.
    #[serde(skip)]
    place: usize,
    #[serde(skip)]
    below: u64,
}

impl Delays {
    /// None so far. Room for all buckets is taken at once: an event must not make it grow.
    pub(super) fn new() -> Self {
        Self { counts: Vec::with_capacity(BUCKETS), total: 0, recorded: 0, place: 0, below: 0 }
    }

    /// Takes a delay, which must not be negative, in.
    pub(super) fn record(&mut self, delay: i64, rules: &Learning) {
        let bucket = bucket(delay);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.below += u64::from(bucket < self.place);
        self.total += 1;
        self.recorded = self.recorded.saturating_add(1);
        if self.total >= u64::from(rules.memory) {
            self.forget();
        }
        self.find(rules);
    }

    fn sum(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// Half of each kind of delay is forgotten: what comes now counts more than what was.
    fn forget(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.total = self.sum();
        (self.place, self.below) = (0, 0);
    }

    /// Moves to the bucket of the percentile.
    fn find(&mut self, rules: &Learning) {
        let needed = (self.total * u64::from(rules.ppm)).div_ceil(1_000_000).max(1);
        while self.below >= needed {
            self.place -= 1;
            self.below -= u64::from(self.counts[self.place]);
        }
        while let Some(&count) = self.counts.get(self.place)
            && self.below + u64::from(count) < needed
        {
            self.below += u64::from(count);
            self.place += 1;
        }
    }

    /// The bound that follows.
    pub(super) fn bound(&self, rules: &Learning) -> i64 {
        if self.recorded < rules.warm_up || self.total == 0 {
            return rules.at_most;
        }
        latest(self.place).clamp(rules.at_least, rules.at_most)
    }

    /// After it was read from a snapshot: what follows from it, or what is wrong with it.
    pub(super) fn restored(&mut self, rules: &Learning) -> Result<(), &'static str> {
        let total = self.sum();
        if self.counts.len() > BUCKETS || self.total != total || self.recorded < total {
            return Err("a partition's delays do not add up");
        }
        while self.total >= u64::from(rules.memory) {
            self.forget();
        }
        self.counts.reserve_exact(BUCKETS - self.counts.len());
        self.find(rules);
        Ok(())
    }

    /// Takes in what another has seen. If that is too much to remember, half of it is forgotten when it is
    /// [restored](Self::restored).
    pub(super) fn absorb(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*other);
        }
        self.total = self.sum();
        self.recorded = self.recorded.saturating_add(other.recorded);
    }

    pub(super) fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>()
    }
}

fn bucket(delay: i64) -> usize {
    let delay = delay.max(0) as u64;
    match delay.checked_ilog2() {
        Some(exponent @ 3..) => (8 * (exponent - 2)) as usize + (delay >> (exponent - 3) & 7) as usize,
        _ => delay as usize,
    }
}

/// The longest delay in a bucket.
fn latest(bucket: usize) -> i64 {
    match (bucket / 8, bucket % 8) {
        (0, delay) => delay as i64,
        (doubling, part) => (((8 + part as u64 + 1) << (doubling - 1)) - 1) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other() {
        for bucket_number in 0..BUCKETS - 1 {
            assert_eq!(bucket(latest(bucket_number)), bucket_number);
            assert_eq!(bucket(latest(bucket_number) + 1), bucket_number + 1);
        }
        assert_eq!(latest(bucket(i64::MAX)), i64::MAX);
        assert_eq!(bucket(i64::MAX), BUCKETS - 1);
    }

    #[test]
    fn s5_what_two_have_seen_is_not_more_than_may_be_remembered() {
        let rules = Learning { ppm: 500_000, at_least: 0, at_most: 100, warm_up: 0, memory: 16 };
        let (mut one, mut other) = (Delays::new(), Delays::new());
        (0..10).for_each(|_| one.record(3, &rules));
        (0..15).for_each(|_| other.record(40, &rules));
        one.absorb(&other);
        assert_eq!((one.total, one.recorded), (25, 25));
        one.restored(&rules).unwrap();
        assert_eq!((one.total, one.bound(&rules)), (12, latest(bucket(40))));
    }

    proptest! {
        #[test]
        fn w2_the_percentile_is_that_of_a_sorted_list(
            delays in prop::collection::vec(prop_oneof![0..20i64, 0..5000i64, 0..i64::MAX], 1..200),
            ppm in 1..=1_000_000u32,
        ) {
            let rules = Learning { ppm, at_least: 0, at_most: i64::MAX, warm_up: 0, memory: u32::MAX };
            let mut sketch = Delays::new();
            for number in 1..=delays.len() {
                sketch.record(delays[number - 1], &rules);
                let mut sorted = delays[..number].to_vec();
                sorted.sort_unstable();
                let rank = (number as u64 * u64::from(ppm)).div_ceil(1_000_000).max(1);
                let exact = sorted[rank as usize - 1];
                prop_assert_eq!(sketch.bound(&rules), latest(bucket(exact)));
                prop_assert!(sketch.bound(&rules) - exact <= exact / 8);
            }
        }
    }
}

//! The aggregates that come with the crate.
//!
//! Those that look at a part of the value are made with `of`: `Mean::of(|r: &Reading| r.celsius)`.

use alloc::string::String;
use alloc::vec::Vec;
use core::hint::select_unpredictable;
use core::marker::PhantomData;
use core::mem::{needs_drop, size_of};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{Aggregate, Invertible};
use crate::time::Timestamp;

/// How many events there were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

impl<V> Aggregate<V> for Count {
    type Acc = u64;
    type Output = u64;

    #[inline(always)]
    fn lift(&self, _: Timestamp, _: &V) -> u64 {
        1
    }
    #[inline(always)]
    fn combine(&self, left: &mut u64, right: &u64) {
        *left = left.wrapping_add(*right);
    }
    #[inline(always)]
    fn lower(&self, acc: &u64) -> u64 {
        *acc
    }
    fn empty(&self) -> Option<u64> {
        Some(0)
    }
    fn name(&self) -> String {
        String::from("count")
    }
}

impl<V> Invertible<V> for Count {
    #[inline(always)]
    fn uncombine(&self, acc: &mut u64, oldest: &u64) {
        *acc = acc.wrapping_sub(*oldest);
    }
}

macro_rules! of {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<F, T> {
            of: F,
            part: PhantomData<fn() -> T>,
        }

        impl<F, T> $name<F, T> {
            /// Over the part of each value that `of` gives.
            pub fn of<V>(of: F) -> Self
            where
                F: Fn(&V) -> T,
            {
                Self { of, part: PhantomData }
            }
        }

        impl<F, T> core::fmt::Debug for $name<F, T> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )+};
}

of! {
    /// The sum. Integers wrap around, so that the result is exact whenever the true sum fits the type,
    /// whatever the partial sums did; widen inside `of` (`|r| i128::from(r.cents)`) where it might not.
    Sum;
    /// The smallest. Values that do not compare with themselves (NaN) are passed over while there are
    /// others; of equal ones the first is kept.
    Min;
    /// The largest. Values that do not compare with themselves (NaN) are passed over while there are
    /// others; of equal ones the first is kept.
    Max;
    /// The value of the earliest event by event time; of several at that time, the first to arrive.
    First;
    /// The value of the latest event by event time; of several at that time, the last to arrive.
    Last;
    /// All values, in the order of event time; those at the same time in the order of arrival. State
    /// grows with the number of events.
    Collect;
}

/// A type that [`Sum`] can add up.
pub trait Summand: Copy {
    /// The name of the type, as it goes into snapshots.
    const NAME: &'static str;
    /// What adds nothing: the sum of no values.
    const ZERO: Self;
    /// `self + other`; integers wrap around.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

macro_rules! summands {
    ($($integer:ty)+) => {$(
        impl Summand for $integer {
            const NAME: &'static str = stringify!($integer);
            const ZERO: Self = 0 as $integer;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
        }

        impl<V, F: Fn(&V) -> $integer> Invertible<V> for Sum<F, $integer> {
            #[inline(always)]
            fn uncombine(&self, acc: &mut $integer, oldest: &$integer) {
                *acc = acc.wrapping_sub(*oldest);
            }
        }
    )+};
}

summands!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

macro_rules! float_summands {
    ($($float:ty)+) => {$(
        impl Summand for $float {
            const NAME: &'static str = stringify!($float);
            const ZERO: Self = 0 as $float;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
        }
    )+};
}

float_summands!(f32 f64);

impl<V, T: Summand, F: Fn(&V) -> T> Aggregate<V> for Sum<F, T> {
    type Acc = T;
    type Output = T;

    #[inline(always)]
    fn lift(&self, _: Timestamp, value: &V) -> T {
        (self.of)(value)
    }
    #[inline(always)]
    fn combine(&self, left: &mut T, right: &T) {
        *left = left.plus(*right);
    }
    #[inline(always)]
    fn lower(&self, acc: &T) -> T {
        *acc
    }
    fn empty(&self) -> Option<T> {
        Some(T::ZERO)
    }
    fn name(&self) -> String {
        alloc::format!("sum {}", T::NAME)
    }
}

/// Whether `right` takes the place of `left`, where `wins` is the comparison asked for. A value that does
/// not compare with itself loses to any other, which makes it the identity and keeps the law.
#[inline(always)]
fn replaces<T: PartialOrd>(left: &T, right: &T, wins: fn(&T, &T) -> bool) -> bool {
    wins(right, left) || (is_unordered(left) && !is_unordered(right))
}

#[inline(always)]
fn is_unordered<T: PartialOrd>(value: &T) -> bool {
    value.partial_cmp(value).is_none()
}

/// Puts `right` in the place of `left` if it is to. Where that is no more than a few registers no branch decides, since how often it
/// happens is a matter of chance.
#[inline(always)]
fn replace_if<T: Clone>(is_to: bool, left: &mut T, right: &T) {
    if const { !needs_drop::<T>() && size_of::<T>() <= 2 * size_of::<u64>() } {
        *left = select_unpredictable(is_to, right.clone(), left.clone());
    } else if is_to {
        left.clone_from(right);
    }
}

macro_rules! extremes {
    ($($name:ident $wins:ident $label:literal;)+) => {$(
        impl<V, T: PartialOrd + Clone, F: Fn(&V) -> T> Aggregate<V> for $name<F, T> {
            type Acc = T;
            type Output = T;

            #[inline(always)]
            fn lift(&self, _: Timestamp, value: &V) -> T {
                (self.of)(value)
            }
            #[inline(always)]
            fn combine(&self, left: &mut T, right: &T) {
                replace_if(replaces(left, right, PartialOrd::$wins), left, right);
            }
            #[inline(always)]
            fn lower(&self, acc: &T) -> T {
                acc.clone()
            }
            fn name(&self) -> String {
                String::from($label)
            }
        }
    )+};
}

extremes! {
    Min lt "min";
    Max gt "max";
}

/// How an event that arrives at the same time as the one kept is treated: the first stays, the last wins.
macro_rules! by_event_time {
    ($($name:ident $wins:ident $label:literal;)+) => {$(
        impl<V, T: Clone, F: Fn(&V) -> T> Aggregate<V> for $name<F, T> {
            type Acc = (Timestamp, T);
            type Output = T;

            #[inline(always)]
            fn lift(&self, time: Timestamp, value: &V) -> (Timestamp, T) {
                (time, (self.of)(value))
            }
            #[inline(always)]
            fn combine(&self, left: &mut (Timestamp, T), right: &(Timestamp, T)) {
                replace_if(PartialOrd::$wins(&right.0, &left.0), left, right);
            }
            #[inline(always)]
            fn lower(&self, acc: &(Timestamp, T)) -> T {
                acc.1.clone()
            }
            fn name(&self) -> String {
                String::from($label)
            }
        }
    )+};
}

by_event_time! {
    First lt "first";
    Last ge "last";
}

impl<V, T: Clone, F: Fn(&V) -> T> Aggregate<V> for Collect<F, T> {
    type Acc = Vec<(Timestamp, T)>;
    type Output = Vec<T>;

    fn lift(&self, time: Timestamp, value: &V) -> Self::Acc {
        alloc::vec![(time, (self.of)(value))]
    }

    fn combine(&self, left: &mut Self::Acc, right: &Self::Acc) {
        match (left.last(), right.first()) {
            // The common case: what is on the right is not earlier.
            (Some(last), Some(first)) if first.0 < last.0 => {
                left.extend_from_slice(right);
                // Stable, and made for sequences that consist of sorted runs: a merge.
                left.sort_by_key(|(time, _)| *time);
            }
            _ => left.extend_from_slice(right),
        }
    }

    fn lower(&self, acc: &Self::Acc) -> Vec<T> {
        acc.iter().map(|(_, value)| value.clone()).collect()
    }

    fn empty(&self) -> Option<Vec<T>> {
        Some(Vec::new())
    }

    fn add(&self, acc: &mut Self::Acc, time: Timestamp, value: &V) {
        let place = match acc.last() {
            Some((last, _)) if time < *last => acc.partition_point(|(t, _)| *t <= time),
            _ => acc.len(),
        };
        acc.insert(place, (time, (self.of)(value)));
    }

    fn name(&self) -> String {
        String::from("collect")
    }

    fn heap_bytes(&self, acc: &Self::Acc) -> usize {
        acc.capacity() * size_of::<(Timestamp, T)>()
    }
}

/// The largest `k` values, largest first; of equal ones the first to arrive come first.
#[derive(Clone, Copy)]
pub struct TopK<F, T> {
    k: usize,
    of: F,
    part: PhantomData<fn() -> T>,
}

impl<F, T> TopK<F, T> {
    /// The `k` largest of the parts that `of` gives. Values that do not compare with themselves (NaN) are
    /// passed over.
    pub fn of<V>(k: usize, of: F) -> Self
    where
        F: Fn(&V) -> T,
    {
        Self { k, of, part: PhantomData }
    }
}

impl<F, T> core::fmt::Debug for TopK<F, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TopK({})", self.k)
    }
}

impl<F, T: PartialOrd + Clone> TopK<F, T> {
    fn offer(&self, top: &mut SmallVec<[T; 4]>, value: &T) {
        if is_unordered(value) {
            return;
        }
        // After all that are as large: of equal values the first to arrive stays in front.
        let place = top.partition_point(|kept| kept >= value);
        if place < self.k {
            top.truncate(self.k - 1);
            top.insert(place, value.clone());
        }
    }
}

impl<V, T: PartialOrd + Clone, F: Fn(&V) -> T> Aggregate<V> for TopK<F, T> {
    type Acc = SmallVec<[T; 4]>;
    type Output = Vec<T>;

    fn lift(&self, _: Timestamp, value: &V) -> Self::Acc {
        let mut top = SmallVec::new();
        self.offer(&mut top, &(self.of)(value));
        top
    }
    fn combine(&self, left: &mut Self::Acc, right: &Self::Acc) {
        for value in right {
            self.offer(left, value);
        }
    }
    fn lower(&self, acc: &Self::Acc) -> Vec<T> {
        acc.to_vec()
    }
    fn add(&self, acc: &mut Self::Acc, _: Timestamp, value: &V) {
        self.offer(acc, &(self.of)(value));
    }
    fn empty(&self) -> Option<Vec<T>> {
        Some(Vec::new())
    }
    fn name(&self) -> String {
        alloc::format!("top {}", self.k)
    }
    fn heap_bytes(&self, acc: &Self::Acc) -> usize {
        if acc.spilled() { acc.capacity() * size_of::<T>() } else { 0 }
    }
}

/// The arithmetic mean: the sum of the values divided by how many there are.
#[derive(Clone, Copy)]
pub struct Mean<F> {
    of: F,
}

impl<F> Mean<F> {
    /// Over the number that `of` gives for each value.
    pub fn of<V>(of: F) -> Self
    where
        F: Fn(&V) -> f64,
    {
        Self { of }
    }
}

impl<F> core::fmt::Debug for Mean<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Mean")
    }
}

impl<V, F: Fn(&V) -> f64> Aggregate<V> for Mean<F> {
    type Acc = (f64, u64);
    type Output = f64;

    #[inline(always)]
    fn lift(&self, _: Timestamp, value: &V) -> (f64, u64) {
        ((self.of)(value), 1)
    }
    #[inline(always)]
    fn combine(&self, left: &mut (f64, u64), right: &(f64, u64)) {
        left.0 += right.0;
        left.1 = left.1.wrapping_add(right.1);
    }
    #[inline(always)]
    fn lower(&self, acc: &(f64, u64)) -> f64 {
        acc.0 / acc.1 as f64
    }
    fn name(&self) -> String {
        String::from("mean")
    }
}

/// Count, mean and variance together, numerically stable: what [`Variance`] hands out.
///
/// Single values are taken in by Welford's method (Technometrics 4(3), 1962), parts are merged by Chan,
/// Golub and LeVeque's ("Updating formulae and a pairwise algorithm for computing sample variances",
/// 1979): neither subtracts two large numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// How many values there were; at least 1.
    pub fn count(&self) -> u64 {
        self.count
    }
    /// Their mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }
    /// The variance of the values as the whole population: divided by the count.
    pub fn population_variance(&self) -> f64 {
        self.squares / self.count as f64
    }
    /// The variance of the population that the values are a sample of: divided by the count less one.
    /// `None` for a single value.
    pub fn sample_variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }
}

/// Mean and variance in one pass; see [`Moments`].
#[derive(Clone, Copy)]
pub struct Variance<F> {
    of: F,
}

impl<F> Variance<F> {
    /// Over the number that `of` gives for each value.
    pub fn of<V>(of: F) -> Self
    where
        F: Fn(&V) -> f64,
    {
        Self { of }
    }
}

impl<F> core::fmt::Debug for Variance<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Variance")
    }
}

impl<V, F: Fn(&V) -> f64> Aggregate<V> for Variance<F> {
    type Acc = Moments;
    type Output = Moments;

    #[inline]
    fn lift(&self, _: Timestamp, value: &V) -> Moments {
        Moments { count: 1, mean: (self.of)(value), squares: 0.0 }
    }
    #[inline]
    fn combine(&self, left: &mut Moments, right: &Moments) {
        let count = left.count.wrapping_add(right.count);
        let apart = right.mean - left.mean;
        let share = right.count as f64 / count as f64;
        left.squares += right.squares + apart * apart * left.count as f64 * share;
        left.mean += apart * share;
        left.count = count;
    }
    #[inline]
    fn lower(&self, acc: &Moments) -> Moments {
        *acc
    }
    fn name(&self) -> String {
        String::from("variance")
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws;
    use super::*;

    const SMALL: [i64; 6] = [3, -7, 3, 0, 12, i64::MAX];

    #[test]
    fn the_built_in_aggregates_keep_the_laws() {
        laws::check(&Count, &SMALL);
        laws::check(&Sum::of(|v: &i64| *v), &SMALL);
        laws::check(&Min::of(|v: &i64| *v), &SMALL);
        laws::check(&Max::of(|v: &i64| *v), &SMALL);
        laws::check(&First::of(|v: &i64| *v), &SMALL);
        laws::check(&Last::of(|v: &i64| *v), &SMALL);
        laws::check(&Collect::of(|v: &i64| *v), &SMALL);
        laws::check(&TopK::of(3, |v: &i64| *v), &SMALL);
        laws::check(&(Count, Sum::of(|v: &i64| *v), Last::of(|v: &i64| *v)), &SMALL);
        laws::check_invertible(&Count, &SMALL);
        laws::check_invertible(&(Sum::of(|v: &i64| *v), Count), &SMALL);
        let close = |a: &f64, b: &f64| (a - b).abs() <= 1e-12 * a.abs();
        laws::check_by(&Mean::of(|v: &i64| *v as f64), &SMALL, close);
        laws::check_by(&Variance::of(|v: &i64| *v as f64), &SMALL, |a, b| {
            a.count() == b.count() && close(&a.population_variance(), &b.population_variance())
        });
    }

    #[test]
    #[should_panic(expected = "not associative")]
    fn the_checker_sees_a_broken_law() {
        struct Difference;
        impl Aggregate<i64> for Difference {
            type Acc = i64;
            type Output = i64;
            fn lift(&self, _: Timestamp, value: &i64) -> i64 {
                *value
            }
            fn combine(&self, left: &mut i64, right: &i64) {
                *left -= right;
            }
            fn lower(&self, acc: &i64) -> i64 {
                *acc
            }
        }
        laws::check(&Difference, &[1, 2, 3]);
    }

    #[test]
    fn min_and_max_pass_over_nan() {
        let values = [f64::NAN, 2.0, f64::NAN, -1.0];
        laws::check(&Min::of(|v: &f64| *v), &values[1..]);
        laws::check_by(&Max::of(|v: &f64| *v), &values, |a, b| a.to_bits() == b.to_bits());
        let max = Max::of(|v: &f64| *v);
        let mut acc = max.lift(Timestamp::MIN, &f64::NAN);
        for value in &values {
            max.add(&mut acc, Timestamp::MIN, value);
        }
        assert_eq!(max.lower(&acc), 2.0);
    }

    #[test]
    fn variance_is_stable_where_the_textbook_formula_is_not() {
        let variance = Variance::of(|v: &f64| *v);
        let mut acc = variance.lift(Timestamp::MIN, &1e9);
        for value in [1e9 + 1.0, 1e9 + 2.0] {
            variance.add(&mut acc, Timestamp::MIN, &value);
        }
        assert_eq!(acc.sample_variance(), Some(1.0));
        assert_eq!(acc.mean(), 1e9 + 1.0);
    }

    #[test]
    fn collect_and_first_and_last_go_by_event_time() {
        let at = Timestamp::from_micros;
        let (all, first, last) =
            (Collect::of(|v: &char| *v), First::of(|v: &char| *v), Last::of(|v: &char| *v));
        let (mut a, mut f, mut l) = (all.lift(at(5), &'a'), first.lift(at(5), &'a'), last.lift(at(5), &'a'));
        for (time, value) in [(3, 'b'), (5, 'c'), (3, 'd'), (4, 'e')] {
            all.add(&mut a, at(time), &value);
            first.add(&mut f, at(time), &value);
            last.add(&mut l, at(time), &value);
        }
        assert_eq!(all.lower(&a), ['b', 'd', 'e', 'a', 'c']);
        assert_eq!((first.lower(&f), last.lower(&l)), ('b', 'c'));
    }
}

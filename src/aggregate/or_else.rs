//! A value for windows without events, for aggregates that have none of their own.

use alloc::string::String;
use core::fmt;

use super::{Aggregate, Invertible};
use crate::time::Timestamp;

/// An aggregate with a value for windows without events, where these [are filled](crate::Windows::fill).
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Max, OrElse, Windowing, Windows};
///
/// let hour = TimeDelta::hours(1);
/// let filled = Config::windows([Windows::tumbling(hour).fill(hour * 24)]);
/// let loudest = Max::of(|decibels: &f64| *decibels);
///
/// // A maximum of nothing is nothing,
/// assert!(filled.clone().build::<u32, f64, _>(loudest).is_err());
/// // unless you say what it is.
/// let windows: Windowing<u32, f64, _> = filled.build(OrElse::new(loudest, || f64::NAN))?;
/// # Ok::<(), floodmark::ConfigError>(())
/// ```
#[derive(Clone, Copy)]
pub struct OrElse<A, F> {
    aggregate: A,
    empty: F,
}

impl<A, F> OrElse<A, F> {
    /// What `aggregate` says, or what `empty` gives where there are no events.
    pub fn new(aggregate: A, empty: F) -> Self {
        Self { aggregate, empty }
    }
}

impl<A: fmt::Debug, F> fmt::Debug for OrElse<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OrElse").field(&self.aggregate).finish()
    }
}

impl<V, A: Aggregate<V>, F: Fn() -> A::Output> Aggregate<V> for OrElse<A, F> {
    type Acc = A::Acc;
    type Output = A::Output;

    #[inline(always)]
    fn lift(&self, time: Timestamp, value: &V) -> A::Acc {
        self.aggregate.lift(time, value)
    }

    #[inline(always)]
    fn combine(&self, left: &mut A::Acc, right: &A::Acc) {
        self.aggregate.combine(left, right);
    }

    #[inline(always)]
    fn lower(&self, acc: &A::Acc) -> A::Output {
        self.aggregate.lower(acc)
    }

    #[inline(always)]
    fn add(&self, acc: &mut A::Acc, time: Timestamp, value: &V) {
        self.aggregate.add(acc, time, value);
    }

    fn empty(&self) -> Option<A::Output> {
        Some((self.empty)())
    }

    /// That of the aggregate: what is stored is the same.
    fn name(&self) -> String {
        self.aggregate.name()
    }

    #[inline(always)]
    fn heap_bytes(&self, acc: &A::Acc) -> usize {
        self.aggregate.heap_bytes(acc)
    }
}

impl<V, A: Invertible<V>, F: Fn() -> A::Output> Invertible<V> for OrElse<A, F> {
    #[inline(always)]
    fn uncombine(&self, acc: &mut A::Acc, oldest: &A::Acc) {
        self.aggregate.uncombine(acc, oldest);
    }
}

//! The columns of a batch as the host has them.

use alloc::vec::Vec;

use super::BLOCK;
use crate::time::Timestamp;
use crate::watermark::Partition;

/// The times of a batch's events.
///
/// ```
/// use floodmark::{Timestamp, Times};
///
/// let times = [Timestamp::from_micros(1_000_000), Timestamp::from_micros(2_000_000)];
/// assert_eq!(Times::from(&times[..]).len(), Times::seconds(&[1, 2]).len());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Times<'a>(Column<'a>);

#[derive(Clone, Copy, Debug)]
enum Column<'a> {
    Timestamps(&'a [Timestamp]),
    /// In units of so many microseconds.
    Units(&'a [i64], i64),
    Nanos(&'a [i64]),
}

impl<'a> Times<'a> {
    /// Seconds since 1970-01-01T00:00:00Z. What does not fit 64 bits of microseconds is rejected as out of range
    /// (T2), here and in the others.
    pub const fn seconds(times: &'a [i64]) -> Self {
        Self(Column::Units(times, 1_000_000))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(times: &'a [i64]) -> Self {
        Self(Column::Units(times, 1_000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(times: &'a [i64]) -> Self {
        Self(Column::Units(times, 1))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z; digits below a microsecond are cut off toward the past.
    pub const fn nanos(times: &'a [i64]) -> Self {
        Self(Column::Nanos(times))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        match self.0 {
            Column::Timestamps(times) => times.len(),
            Column::Units(times, _) | Column::Nanos(times) => times.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those from `first` on, and how many microseconds their unit has; or fewer of them, in a buffer, where they have to
    /// be converted.
    pub(super) fn starting<'b>(&self, first: usize, buffer: &'b mut [i64; BLOCK]) -> (&'b [i64], i64)
    where
        'a: 'b,
    {
        fn convert<T: Copy>(times: &[T], buffer: &mut [i64; BLOCK], in_micros: impl Fn(T) -> i64) -> usize {
            buffer.iter_mut().zip(times).for_each(|(place, &time)| *place = in_micros(time));
            times.len().min(BLOCK)
        }
        let count = match self.0 {
            Column::Units(times, micros) => return (&times[first..], micros),
            Column::Timestamps(times) => convert(&times[first..], buffer, Timestamp::as_micros),
            Column::Nanos(times) => convert(&times[first..], buffer, |time| time.div_euclid(1_000)),
        };
        (&buffer[..count], 1)
    }
}

impl<'a> From<&'a [Timestamp]> for Times<'a> {
    fn from(times: &'a [Timestamp]) -> Self {
        Self(Column::Timestamps(times))
    }
}

impl<'a> From<&'a Vec<Timestamp>> for Times<'a> {
    fn from(times: &'a Vec<Timestamp>) -> Self {
        Self::from(times.as_slice())
    }
}

/// Through which partitions a batch's events came: one for all, or one for each.
#[derive(Clone, Copy, Debug)]
pub struct Partitions<'a>(pub(super) Through<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Through<'a> {
    One(Partition),
    Each(&'a [Partition]),
}

impl From<Partition> for Partitions<'_> {
    fn from(partition: Partition) -> Self {
        Self(Through::One(partition))
    }
}

impl<'a> From<&'a [Partition]> for Partitions<'a> {
    fn from(partitions: &'a [Partition]) -> Self {
        Self(Through::Each(partitions))
    }
}

impl<'a> From<&'a Vec<Partition>> for Partitions<'a> {
    fn from(partitions: &'a Vec<Partition>) -> Self {
        Self::from(partitions.as_slice())
    }
}

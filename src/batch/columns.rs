//! A block's events, and what is told of all of them at once.

use core::ops::RangeInclusive;

use super::BLOCK;
use crate::operator::Offered;
use crate::time::Timestamp;
use crate::watermark::Partition;

/// Events of a batch.
pub(super) struct Columns<'a, Q, V> {
    /// The index of the first of them in the batch.
    pub(super) first: usize,
    pub(super) times: &'a [i64],
    /// Microseconds in a unit of the times.
    pub(super) unit: i64,
    pub(super) keys: &'a [Q],
    pub(super) values: &'a [V],
    /// Of the keys, where those have one; else none.
    pub(super) indices: &'a [u32],
}

impl<'a, Q, V> Columns<'a, Q, V> {
    /// The events from one place to another.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        let Self { first, times, unit, keys, values, indices } = *self;
        Self {
            first: first + from,
            times: &times[from..to],
            unit,
            keys: &keys[from..to],
            values: &values[from..to],
            indices: if indices.is_empty() { indices } else { &indices[from..to] },
        }
    }

    /// All events: the place, time, key and value of each.
    #[inline(always)]
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, i64, &'a Q, &'a V)> + use<'a, Q, V> {
        let events = self.times.iter().zip(self.keys).zip(self.values).enumerate();
        events.map(|(place, ((&time, key), value))| (place, time, key, value))
    }

    /// Those at some places.
    #[inline(always)]
    pub(super) fn listed(&self, places: &[u8]) -> impl Iterator<Item = (usize, i64, &'a Q, &'a V)> {
        let Self { times, keys, values, .. } = *self;
        places.iter().map(move |&place| {
            let place = usize::from(place);
            (place, times[place], &keys[place], &values[place])
        })
    }

    /// A time in microseconds, if it fits.
    #[inline(always)]
    pub(super) fn in_micros(&self, time: i64) -> Option<i64> {
        time.checked_mul(self.unit)
    }

    /// The first time in units that is not before an instant.
    pub(super) fn first_from(&self, micros: i64) -> Option<i64> {
        self.last_before(micros)?.checked_add(1)
    }

    /// The last time in units that is before an instant.
    pub(super) fn last_before(&self, micros: i64) -> Option<i64> {
        Some(micros.checked_sub(1)?.div_euclid(self.unit))
    }

    /// The time of an event, or the end of time that it lies beyond.
    pub(super) fn time(&self, place: usize) -> i64 {
        self.times[place].saturating_mul(self.unit)
    }

    /// The latest of so many events, if those are any.
    pub(super) fn latest(&self, from: usize, count: usize) -> Option<i64> {
        self.times[from..from + count].iter().max().and_then(|&latest| self.in_micros(latest))
    }

    pub(super) fn event(&self, place: usize, partition: Partition) -> Offered<'a, Q, V> {
        let time = Timestamp::from_micros(self.time(place));
        Offered { partition, time, key: &self.keys[place], value: &self.values[place] }
    }
}

/// On which sides of an edge some times are.
#[derive(Clone, Copy)]
pub(super) enum Sides {
    Before,
    After,
    Both,
}

impl Sides {
    /// That of times that are all in a range, if they are.
    #[inline(always)]
    pub(super) fn of(times: &[i64], range: RangeInclusive<i64>, edge: i64) -> Option<Self> {
        let (from, last) = range.into_inner();
        // By the signs of differences, so that no time takes a branch. (Where the range is not empty at least one of the
        // two differences of a time that is outside is negative, even if they overflow.)
        let (mut outside, mut before, mut after) = (0, 0, 0);
        for &time in times {
            outside |= time.wrapping_sub(from) | last.wrapping_sub(time);
            before |= time.wrapping_sub(edge);
            after |= !time.wrapping_sub(edge);
        }
        match (outside < 0 || last < from, before < 0, after < 0) {
            (true, ..) => None,
            (_, true, true) => Some(Self::Both),
            (_, true, false) => Some(Self::Before),
            (_, false, _) => Some(Self::After),
        }
    }
}

/// The places of a block's events that are late for all windows, and those of the others.
pub(super) struct Parts {
    late: [u8; BLOCK],
    open: [u8; BLOCK],
    lates: usize,
    opens: usize,
    /// The latest of the times before each, or the beginning of time.
    pub(super) before: [i64; BLOCK],
}

impl Parts {
    /// Of times that each are late, from the earliest that may be to where slices are that some window still takes; or in
    /// the range of two slices that are open.
    pub(super) fn of(
        times: &[i64],
        (earliest, late_before, from, last): (i64, i64, i64, i64),
    ) -> Option<Self> {
        let (late, open, before) = ([0; BLOCK], [0; BLOCK], [i64::MIN; BLOCK]);
        let mut parts = Self { late, open, lates: 0, opens: 0, before };
        let (mut is_other, mut latest) = (false, i64::MIN);
        for (place, &time) in times.iter().enumerate() {
            // (No branch: half of them may be late.)
            let is_late = time < late_before;
            is_other |= (time < earliest) | (time > last) | (!is_late & (time < from));
            parts.before[place % BLOCK] = latest;
            latest = latest.max(time);
            parts.late[parts.lates % BLOCK] = place as u8;
            parts.open[parts.opens % BLOCK] = place as u8;
            parts.lates += usize::from(is_late);
            parts.opens += usize::from(!is_late);
        }
        (!is_other).then_some(parts)
    }

    pub(super) fn late(&self) -> &[u8] {
        &self.late[..self.lates]
    }

    pub(super) fn open(&self) -> &[u8] {
        &self.open[..self.opens]
    }
}

//! Sliding windows by an expert's hand, as a bound on what is possible: keys interned once, a dense column for each slice, two
//! stacks of dense columns, and nothing of what a kernel owes: no late events, no budget, no snapshots, keys that never go.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::{Checksum, DISORDER, EVERY, Stream};

/// An accumulator of which `NONE` holds nothing.
pub trait Partial: Copy {
    const NONE: Self;
    fn lift(value: i64) -> Self;
    fn combine(self, later: Self) -> Self;
    /// What the checksum is of, if it holds something.
    fn count_and_value(self) -> Option<(u64, i64)>;
}

/// Count and sum.
impl Partial for (u64, i64) {
    const NONE: Self = (0, 0);

    #[inline(always)]
    fn lift(value: i64) -> Self {
        (1, value)
    }

    #[inline(always)]
    fn combine(self, later: Self) -> Self {
        (self.0 + later.0, self.1 + later.1)
    }

    #[inline(always)]
    fn count_and_value(self) -> Option<(u64, i64)> {
        (self.0 > 0).then_some(self)
    }
}

/// The largest of values that are above 0.
#[derive(Clone, Copy)]
pub struct Largest(i64);

impl Partial for Largest {
    const NONE: Self = Self(0);

    #[inline(always)]
    fn lift(value: i64) -> Self {
        Self(value)
    }

    #[inline(always)]
    fn combine(self, later: Self) -> Self {
        Self(self.0.max(later.0))
    }

    #[inline(always)]
    fn count_and_value(self) -> Option<(u64, i64)> {
        (self.0 > 0).then_some((0, self.0))
    }
}

/// A partial for each key.
type Column<T> = Vec<T>;

struct Columns<T> {
    ids: HashMap<u64, u32>,
    keys: Vec<u64>,
    /// Slices of a window.
    length: i64,
    slide: i64,
    /// Slices that no window has fired with, from this one on.
    open: VecDeque<Column<T>>,
    first: i64,
    /// Combinations of the slices that leave next, each with all later ones of this stack; the first one to leave last.
    front: Vec<Column<T>>,
    /// Slices that came after those, and all of them combined.
    back: Vec<Column<T>>,
    whole: Column<T>,
    /// Columns to use again.
    spare: Vec<Column<T>>,
    checksum: Checksum,
}

/// Sliding windows whose size is a multiple of their slide, in the loop of an expert.
pub fn by_columns<T: Partial>(stream: &Stream, size: i64, slide: i64) -> Checksum {
    let keys = stream.indices.iter().max().map_or(0, |&last| last as usize + 1);
    let mut columns: Columns<T> = Columns {
        ids: HashMap::new(),
        keys: Vec::new(),
        length: size / slide,
        slide,
        open: VecDeque::new(),
        first: stream.times.first().map_or(0, |&time| (time - DISORDER).div_euclid(slide)),
        front: Vec::new(),
        back: Vec::new(),
        whole: vec![T::NONE; keys],
        spare: Vec::new(),
        checksum: Checksum::default(),
    };
    let mut latest = i64::MIN / 2;
    for from in (0..stream.times.len()).step_by(EVERY) {
        let events = from..(from + EVERY).min(stream.times.len());
        let times = &stream.times[events.clone()];
        latest = latest.max(times.iter().copied().max().unwrap_or(i64::MIN / 2));
        columns.reach(latest.div_euclid(slide), keys);
        columns.add(times, &stream.keys[events.clone()], &stream.values[events]);
        columns.fire_before((latest - DISORDER).div_euclid(slide), keys);
    }
    let last = columns.first + columns.open.len() as i64;
    columns.fire_before(last + columns.length - 1, keys);
    columns.checksum
}

impl<T: Partial> Columns<T> {
    /// Has a column for each slice up to one.
    fn reach(&mut self, last: i64, keys: usize) {
        while self.first + self.open.len() as i64 <= last {
            let column = self.column(keys);
            self.open.push_back(column);
        }
    }

    fn column(&mut self, keys: usize) -> Column<T> {
        let mut column = self.spare.pop().unwrap_or_default();
        column.clear();
        column.resize(keys, T::NONE);
        column
    }

    fn add(&mut self, times: &[i64], keys: &[u64], values: &[i64]) {
        let start = self.first * self.slide;
        for ((&time, &key), &value) in times.iter().zip(keys).zip(values) {
            let id = *self.ids.entry(key).or_insert_with(|| {
                self.keys.push(key);
                (self.keys.len() - 1) as u32
            });
            // (A division by a number that is not known here takes long; there are two open slices, or three.)
            let mut slice = 0;
            while time - start >= (slice as i64 + 1) * self.slide {
                slice += 1;
            }
            let place = &mut self.open[slice][id as usize];
            *place = place.combine(T::lift(value));
        }
    }

    /// Fires all windows that end with a slice before this one.
    fn fire_before(&mut self, slice: i64, keys: usize) {
        while self.first < slice {
            self.reach(self.first, keys);
            let Some(column) = self.open.pop_front() else { return };
            self.first += 1;
            for (whole, &partial) in self.whole.iter_mut().zip(&column) {
                *whole = whole.combine(partial);
            }
            self.back.push(column);
            self.fire();
            if (self.front.len() + self.back.len()) as i64 == self.length {
                self.evict();
            }
        }
    }

    fn fire(&mut self) {
        let start = (self.first - self.length) * self.slide;
        let front = self.front.last();
        for (id, (&key, &back)) in self.keys.iter().zip(&self.whole).enumerate() {
            let whole = front.map_or(back, |front| front[id].combine(back));
            if let Some((count, value)) = whole.count_and_value() {
                self.checksum.add(key, start, count, value);
            }
        }
    }

    /// The first slice leaves.
    fn evict(&mut self) {
        if self.front.is_empty() {
            let mut later: Option<Column<T>> = None;
            while let Some(mut column) = self.back.pop() {
                if let Some(later) = later.take() {
                    for (partial, &later) in column.iter_mut().zip(&later) {
                        *partial = partial.combine(later);
                    }
                    self.front.push(later);
                }
                later = Some(column);
            }
            self.front.extend(later);
            self.whole.fill(T::NONE);
        }
        self.spare.extend(self.front.pop());
    }
}

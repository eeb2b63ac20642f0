//! The partials of a sealed slice, by the numbers of their keys.

use alloc::vec::Vec;
use core::mem::needs_drop;
use core::ops::Range;

use super::table::{CLEARED, MANY};
use super::{Exit, Ids, PutEntry, Run};

/// Columns have room for a multiple of so many entries.
pub(super) const ROUND: usize = 16;

/// The partials of a sealed slice, by the numbers of their keys, in two runs, each of which is ascending: first the keys that
/// had a number when the slice was sealed, then those that got one.
#[derive(Debug)]
pub(crate) struct Column<T> {
    ids: Vec<u32>,
    partials: Vec<T>,
    /// Where the second run begins.
    second: usize,
    /// Heap owned by the partials, as the aggregate tells it.
    pub(super) heap: usize,
    /// It has changed since the last snapshot.
    pub(super) is_changed: bool,
    /// What a snapshot still has to hold of it, if one is being taken.
    to_hold: Option<ToHold>,
    pub(super) stay: Stay,
    /// Whether it counts as state.
    pub(super) is_counted: bool,
}

/// What a column is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// Its slice is.
    Here,
    /// The slice has expired.
    Leaving,
    /// Nothing but the snapshot that is being taken needs it. (So it does not count any more.)
    Kept,
    /// It goes with the numbers of its keys.
    Going,
}

/// Entries that a snapshot still has to hold: those from one on, but for some.
#[derive(Debug, Default)]
struct ToHold {
    /// Whether it is in the second run, and the number of its key.
    from: (bool, u32),
    /// A bit for each number whose entry is held already, or has come too late.
    held: Vec<u64>,
}

impl ToHold {
    const WORD: u32 = u64::BITS;

    fn has(&self, (is_second, id): (bool, u32)) -> bool {
        let word = self.held.get((id / Self::WORD) as usize);
        (is_second, id) < self.from || word.is_some_and(|word| word >> (id % Self::WORD) & 1 == 1)
    }

    /// From here on an entry is held; whether it was not.
    fn hold(&mut self, (is_second, id): (bool, u32)) -> bool {
        let is_new = !self.has((is_second, id));
        let word = (id / Self::WORD) as usize;
        if word >= self.held.len() {
            self.held.resize(word + 1, 0);
        }
        self.held[word] |= 1 << (id % Self::WORD);
        is_new
    }
}

impl<T> Column<T> {
    pub(super) const fn new() -> Self {
        Self {
            ids: Vec::new(),
            partials: Vec::new(),
            second: 0,
            heap: 0,
            is_changed: false,
            to_hold: None,
            stay: Stay::Here,
            is_counted: true,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether its slice is here still.
    pub(super) fn is_here(&self) -> bool {
        self.stay == Stay::Here
    }

    /// (That of the numbers: partials without size have room for any number of them.)
    pub(super) fn capacity(&self) -> usize {
        self.ids.capacity()
    }

    pub(super) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<u32>() + self.partials.capacity() * size_of::<T>() + self.heap
    }

    /// The entries at some places.
    pub(crate) fn places(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = (u32, &T)> {
        self.ids[places.clone()].iter().copied().zip(&self.partials[places])
    }

    /// Those of some numbers.
    pub(crate) fn part(&self, ids: &Range<u32>) -> impl Iterator<Item = (u32, &T)> {
        let of_run =
            |run: Range<usize>| self.places(self.place_in(&run, ids.start)..self.place_in(&run, ids.end));
        of_run(0..self.second).chain(of_run(self.second..self.len()))
    }

    /// Where a number is in a run, or would be.
    fn place_in(&self, run: &Range<usize>, id: u32) -> usize {
        if run.is_empty() {
            return run.start;
        }
        // Where the slice has nearly all keys, this is where.
        match run.contains(&(id as usize)) && self.ids[id as usize] == id {
            true => id as usize,
            false => run.start + self.ids[run.clone()].partition_point(|&other| other < id),
        }
    }

    #[inline]
    pub(crate) fn at(&self, place: usize) -> Option<(u32, &T)> {
        Some((*self.ids.get(place)?, self.partials.get(place)?))
    }

    /// Where a number is, or where in the first run it would be.
    pub(crate) fn place_of(&self, id: u32) -> Result<usize, usize> {
        if self.ids.get(id as usize) == Some(&id) {
            return Ok(id as usize);
        }
        let (first, second) = self.ids.split_at(self.second);
        let in_first = first.binary_search(&id);
        let in_second = |place| second.binary_search(&id).map(|at| self.second + at).map_err(|_| place);
        in_first.or_else(in_second)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.partials.get(self.place_of(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let place = self.place_of(id).ok()?;
        self.partials.get_mut(place)
    }

    pub(super) fn reserve(&mut self, entries: usize) {
        self.ids.reserve_exact(entries);
        self.partials.reserve_exact(entries);
    }

    /// By how many entries it grows when one more does not fit.
    pub(super) fn additional(&self) -> usize {
        if self.len() < self.capacity() { 0 } else { 4 + self.len() / 8 }
    }

    /// Adds the next entry, of a key that had a number, and is in the first run then, or has one now.
    #[inline]
    pub(super) fn push(&mut self, id: u32, partial: T, is_first: bool) {
        self.ids.push(id);
        self.partials.push(partial);
        self.second += usize::from(is_first);
    }

    /// Adds an entry somewhere.
    pub(super) fn insert(&mut self, id: u32, partial: T) {
        self.reserve(self.additional());
        let (Ok(place) | Err(place)) = self.place_of(id);
        self.ids.insert(place, id);
        self.partials.insert(place, partial);
        self.second += 1;
    }

    /// Whether it takes long to clear.
    pub(super) fn is_laborious(&self) -> bool {
        needs_drop::<T>() && self.len() >= MANY
    }

    /// Drops some partials of a column that nobody needs any more; whether it is clear.
    pub(super) fn clear_some(&mut self) -> bool {
        self.partials.truncate(self.partials.len().saturating_sub(CLEARED));
        let is_clear = self.partials.is_empty();
        if is_clear {
            self.clear();
        }
        is_clear
    }

    /// Nobody needs it any more.
    pub(super) fn leave(self, exit: &mut Exit) {
        exit.vec(self.ids);
        exit.vec(self.partials);
    }

    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.partials.clear();
        (self.second, self.heap) = (0, 0);
        (self.stay, self.is_counted) = (Stay::Here, true);
        self.to_hold = None;
    }

    // A snapshot that is being taken.

    pub(super) fn begin_cut(&mut self) {
        self.to_hold = Some(ToHold::default());
    }

    /// Whether a snapshot still has to hold something of it.
    pub(super) fn is_cut(&self) -> bool {
        self.to_hold.is_some()
    }

    pub(super) fn end_cut(&mut self) {
        self.to_hold = None;
    }

    /// Holds some entries for the snapshot that is being taken; and how many it has looked at.
    pub(super) fn hold_some<K>(&mut self, most: usize, ids: &Ids<K>, put: PutEntry<K, T>) -> (Run, usize) {
        let mut run = Run::new();
        let Some(mut to_hold) = self.to_hold.take() else { return (run, 0) };
        let first = match to_hold.from {
            (false, id) => self.place_in(&(0..self.second), id),
            (true, id) => self.place_in(&(self.second..self.len()), id),
        };
        let until = self.len().min(first.saturating_add(most));
        for (place, (id, partial)) in (first..).zip(self.places(first..until)) {
            if !to_hold.has((place >= self.second, id))
                && let Some(key) = ids.key(id)
            {
                run.put(|records| put(key, partial, records));
            }
        }
        if let Some(&from) = self.ids.get(until) {
            to_hold.from = (until >= self.second, from);
            self.to_hold = Some(to_hold);
        }
        (run, until - first)
    }

    /// Holds the entry of a number, which is about to change or to come, if that is still to be done.
    pub(super) fn hold<K>(&mut self, id: u32, ids: &Ids<K>, put: PutEntry<K, T>) -> Option<Run> {
        let is_second = self.to_hold.is_some() && self.place_of(id).is_ok_and(|place| place >= self.second);
        let is_new = self.to_hold.as_mut().is_some_and(|to_hold| to_hold.hold((is_second, id)));
        let (key, partial) = (ids.key(id)?, self.get(id).filter(|_| is_new)?);
        let mut run = Run::new();
        run.put(|records| put(key, partial, records));
        Some(run)
    }
}

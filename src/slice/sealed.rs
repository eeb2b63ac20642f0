//! Sealed slices: those that windows have been combined from, as columns.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::Hash;
use core::ops::Range;

use super::column::{ROUND, Stay};
use super::{Column, Exit, Hashing, Ids, PutEntry, Run, Slide, Table, with_slack};
use crate::key::ToKey;

/// All sealed slices.
#[derive(Debug)]
pub(crate) struct Sealed<K, T> {
    pub(crate) ids: Ids<K>,
    /// In the order of time, also those that have expired and the one that [comes](Slide). (A late event may bring a slice in
    /// between, which is a matter of moving headers; almost always they come and go at the ends.)
    pub(super) columns: VecDeque<(i64, Column<T>)>,
    /// How many have expired. Their columns stay for as long as something is still to be taken out of what was combined from
    /// them, their keys have to leave their numbers, or a snapshot still has to hold them.
    pub(super) leaving: usize,
    /// Slices before this one are here, if they are anywhere.
    pub(crate) before: i64,
    /// What is on its way.
    pub(super) slide: Option<Slide<K, T>>,
    /// An empty column for the next slice, so that a steady stream allocates nothing, and what a [`Slide`] has bits in.
    spare: Column<T>,
    /// Columns that nobody needs any more but whose partials take long to drop: they go a few at a time.
    retired: Vec<Column<T>>,
    pub(super) exit: Exit,
    pub(super) bits: Vec<u64>,
    /// The numbers of keys that are few, and their spots.
    pub(super) found: Vec<(u32, u32)>,
    /// Bytes of all columns, and entries that they have room for.
    pub(super) bytes: usize,
    pub(super) room: usize,
    /// The snapshot that is being taken.
    pub(crate) cut: Option<Cut<K, T>>,
}

/// How an entry is put into the snapshot that is being taken, and what has been held of slices that have changed or expired
/// since it began.
#[derive(Debug)]
pub(crate) struct Cut<K, T> {
    pub(crate) put: PutEntry<K, T>,
    pub(crate) held: BTreeMap<i64, Run>,
}

impl<K, T> Cut<K, T> {
    /// Keeps what has been held of a slice until it is fetched.
    pub(crate) fn keep(&mut self, slice: i64, run: Run) {
        self.held.entry(slice).or_default().append(run);
    }
}

impl<K, T> Sealed<K, T> {
    pub(crate) const fn new() -> Self {
        Self {
            ids: Ids::new(),
            columns: VecDeque::new(),
            leaving: 0,
            before: i64::MIN,
            slide: None,
            spare: Column::new(),
            retired: Vec::new(),
            exit: Exit::new(),
            bits: Vec::new(),
            found: Vec::new(),
            bytes: 0,
            room: 0,
            cut: None,
        }
    }

    /// How many slices there are, the one that comes included.
    pub(crate) fn len(&self) -> usize {
        self.columns.len() - self.leaving
    }

    pub(crate) fn room(&self) -> usize {
        self.room
    }

    pub(crate) fn bytes(&self) -> usize {
        let headers = self.columns.capacity() * size_of::<(i64, Column<T>)>();
        let retired: usize = self.retired.iter().map(Column::bytes).sum();
        self.bytes + self.spare.bytes() + retired + headers + self.slide_bytes() + self.ids.bytes()
    }

    fn slide_bytes(&self) -> usize {
        let found = self.found.capacity() * size_of::<(u32, u32)>();
        found + self.bits.capacity() * size_of::<u64>() + self.slide.as_ref().map_or(0, Slide::bytes)
    }

    /// By how many bytes sealing so many slices that have room for so many entries, and tables of so many spots, `expected` keys
    /// in each, may make the state grow at most where so many come together, but for the heap of their partials.
    pub(crate) fn growth_for(
        &self,
        (slices, coming): (usize, usize),
        (entries, spots): (usize, usize),
        expected: usize,
    ) -> usize {
        let entry = size_of::<u32>() + size_of::<T>();
        // A column has room for hardly more entries than the table that it takes the place of.
        let excess = (entry * 9 / 8).saturating_sub(size_of::<(K, T)>());
        let columns = slices * (2 * size_of::<(i64, Column<T>)>() + ROUND * entry) + entries * excess;
        // While slices come their tables are still there, and those that leave.
        let each = with_slack(expected);
        let keys = (coming * each).min(entries + coming * ROUND).max(each);
        let sliding = Slide::<K, T>::bytes_for(coming, (expected.max(entries), spots))
            + keys * entry
            + each * size_of::<(u32, u32)>();
        // Tables that are free are kept, up to a few.
        let tables = 3 * Table::<K, T>::bytes_for(expected);
        let there = self.ids.bytes() + self.slide_bytes();
        // (Those that are leaving have their numbers still.)
        let numbered = entries + self.leaving().map(Column::len).sum::<usize>();
        (columns + sliding + tables + Ids::<K>::bytes_for(numbered)).saturating_sub(there)
    }

    /// Where a slice is, or would be.
    pub(super) fn place_of(&self, slice: i64) -> Result<usize, usize> {
        // Most often slice follows on slice.
        let first = self.columns.front().map_or(slice, |&(first, _)| first);
        if slice < first {
            return Err(0);
        }
        let guess = usize::try_from(slice.wrapping_sub(first)).unwrap_or(usize::MAX);
        match (self.columns.get(guess), self.columns.back()) {
            (Some(&(found, _)), _) if found == slice => Ok(guess),
            (None, Some(&(last, _))) if last < slice => Err(self.columns.len()),
            _ => self.columns.binary_search_by_key(&slice, |&(slice, _)| slice),
        }
    }

    pub(crate) fn get(&self, slice: i64) -> Option<&Column<T>> {
        let column = self.columns.get(self.place_of(slice).ok()?).map(|(_, column)| column);
        column.filter(|column| column.is_here())
    }

    /// The first slice at or after `from` that is here.
    pub(crate) fn next(&self, from: i64) -> Option<i64> {
        if from >= self.before {
            return None;
        }
        let (Ok(place) | Err(place)) = self.place_of(from);
        self.columns.range(place..).find(|entry| self.is_here(entry)).map(|&(slice, _)| slice)
    }

    fn is_here(&self, (slice, column): &(i64, Column<T>)) -> bool {
        column.is_here() && *slice < self.before
    }

    pub(crate) fn last(&self) -> Option<i64> {
        self.columns.iter().rev().find(|entry| self.is_here(entry)).map(|&(slice, _)| slice)
    }

    /// Slices that are here with their columns, in the order of time.
    pub(crate) fn range(&self, slices: Range<i64>) -> impl DoubleEndedIterator<Item = &Column<T>> {
        self.all_in(slices.start..slices.end.min(self.before)).filter(|column| column.is_here())
    }

    /// Those that have expired: almost always the first.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &Column<T>> {
        let leaving = self.columns.iter().map(|(_, column)| column).filter(|column| !column.is_here());
        leaving.take(self.leaving)
    }

    /// The same with those that have expired and the one that comes.
    pub(super) fn all_in(&self, slices: Range<i64>) -> impl DoubleEndedIterator<Item = &Column<T>> {
        let place = |slice| match self.place_of(slice) {
            Ok(place) | Err(place) => place,
        };
        let places = if slices.is_empty() { 0..0 } else { place(slices.start)..place(slices.end) };
        self.columns.range(places).map(|(_, column)| column)
    }

    /// By how many headers it grows when one more does not fit.
    fn header_growth(&self) -> usize {
        if self.columns.len() < self.columns.capacity() { 0 } else { 8 + self.columns.len() / 4 }
    }

    pub(crate) fn add_heap(&mut self, slice: i64, before: usize, after: usize) {
        if let Ok(place) = self.place_of(slice) {
            let column = &mut self.columns[place].1;
            column.heap = column.heap + after - before;
            self.bytes = self.bytes + after - before;
        }
    }

    /// Returns all memory, once no slice is here, nor one that a snapshot still has to hold. (Nothing is combined from them any
    /// more.)
    pub(crate) fn empty(&mut self) {
        if !self.columns.iter().any(|(_, column)| column.is_cut()) {
            let exit = core::mem::replace(&mut self.exit, Exit::new());
            let rest = Self { before: self.before, cut: self.cut.take(), exit, ..Self::new() };
            let mut unused = core::mem::replace(self, rest);
            unused.ids.clear(&mut self.exit);
            let columns = unused.columns.into_iter().map(|(_, column)| column).chain([unused.spare]);
            columns.chain(unused.retired).for_each(|column| column.leave(&mut self.exit));
        }
    }

    /// Whether columns are left that have to be dropped.
    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Drops a few partials of what is retired.
    #[inline(never)]
    pub(super) fn tidy(&mut self) {
        if self.retired.last_mut().is_some_and(Column::clear_some)
            && let Some(column) = self.retired.pop()
        {
            self.keep(column);
        }
    }

    /// Keeps a column that is clear for the next slice, if it is the largest.
    fn keep(&mut self, column: Column<T>) {
        let other = match column.capacity() >= self.spare.capacity() {
            true => core::mem::replace(&mut self.spare, column),
            false => column,
        };
        other.leave(&mut self.exit);
    }

    // A snapshot that is being taken.

    /// Whether a slice has changed since this was asked for last.
    pub(crate) fn take_changed(&mut self, slice: i64) -> bool {
        self.place_of(slice).is_ok_and(|place| core::mem::take(&mut self.columns[place].1.is_changed))
    }

    /// Begins to hold a slice.
    pub(crate) fn begin_cut(&mut self, slice: i64) {
        if let Ok(place) = self.place_of(slice) {
            self.columns[place].1.begin_cut();
        }
    }

    pub(crate) fn end_cut(&mut self) {
        self.columns.iter_mut().for_each(|(_, column)| column.end_cut());
        self.cut = None;
    }

    /// Holds some entries of a slice, and gives out what has been held; how many it has looked at, and whether that is all.
    pub(crate) fn hold_some(&mut self, slice: i64, most: usize) -> ((Run, usize), bool) {
        let column = self.place_of(slice).ok().and_then(|place| self.columns.get_mut(place));
        let (Some((_, column)), Some(cut)) = (column, &self.cut) else {
            return ((Run::new(), 0), true);
        };
        (column.hold_some(most, &self.ids, cut.put), !column.is_cut())
    }

    /// Holds the entry of a slice that is about to change or to come.
    fn hold(&mut self, place: usize, id: u32) {
        let (slice, column) = &mut self.columns[place];
        column.is_changed = true;
        if let Some(cut) = &mut self.cut
            && let Some(run) = column.hold(id, &self.ids, cut.put)
        {
            cut.keep(*slice, run);
        }
    }
}

impl<K: Hash + Eq + Clone, T> Sealed<K, T> {
    pub(crate) fn get_mut<Q: ToKey<K>>(&mut self, slice: i64, hash: u64, key: &Q) -> Option<&mut T> {
        let id = self.ids.get(hash, key)?;
        let place = self.place_of(slice).ok()?;
        self.hold(place, id);
        self.columns[place].1.get_mut(id)
    }

    /// By how many bytes, and by room for how many entries, a new key in this slice makes the state grow.
    pub(crate) fn growth(&self, slice: i64) -> (usize, usize) {
        let headers = self.header_growth() * size_of::<(i64, Column<T>)>();
        let additional = self.get(slice).map_or(4, Column::additional);
        let ids = Ids::<K>::bytes_for(self.ids.beyond() + 1).saturating_sub(self.ids.bytes());
        (ids + headers + additional * (size_of::<u32>() + size_of::<T>()), additional)
    }

    /// Adds a key that the slice does not have yet.
    pub(crate) fn insert(
        &mut self,
        slice: i64,
        hash: u64,
        key: &K,
        partial: T,
        heap: usize,
        hashing: &Hashing<K>,
    ) {
        let id = self.ids.enter(hash, key, hashing);
        let place = self.place_of(slice).unwrap_or_else(|place| {
            self.columns.reserve_exact(self.header_growth());
            self.columns.insert(place, (slice, Column::new()));
            place
        });
        self.hold(place, id);
        let column = &mut self.columns[place].1;
        let (bytes, room) = (column.bytes(), column.capacity());
        column.heap += heap;
        column.insert(id, partial);
        self.bytes = self.bytes + column.bytes() - bytes;
        self.room = self.room + column.capacity() - room;
    }

    /// Whether slices that are here expire before `slice`.
    pub(crate) fn expires(&self, slice: i64) -> bool {
        self.next(i64::MIN).is_some_and(|first| first < slice)
    }

    /// Whether all that are here do.
    pub(crate) fn all_expire(&self, slice: i64) -> bool {
        self.columns.back().is_none_or(|&(last, _)| last < slice)
    }

    /// Expires all slices before `slice`. Their columns [leave](Sealed::slide_part) later.
    pub(crate) fn expire_before(&mut self, slice: i64) {
        let before = self.columns.iter_mut().take_while(|(of, _)| *of < slice).map(|(_, column)| column);
        for column in before.filter(|column| column.is_here()) {
            column.stay = Stay::Leaving;
            self.leaving += 1;
            self.room -= column.capacity();
        }
    }

    /// Whether columns are here that have expired and that have not begun to leave.
    pub(crate) fn is_being_left(&self) -> bool {
        self.leaving().any(|column| column.stay == Stay::Leaving)
    }

    /// Whether all columns have expired.
    pub(crate) fn is_left(&self) -> bool {
        self.leaving > 0 && self.len() == 0
    }

    /// All columns go, and no key has a number any more, unless a snapshot has still to hold one. (Nothing is combined from them
    /// any more.)
    pub(crate) fn leave_at_once(&mut self) {
        if !self.leaving().any(Column::is_cut) {
            self.let_go();
            self.ids.clear(&mut self.exit);
            self.remove_gone();
        }
    }

    /// All columns that have expired go with this, but for those that are needed for a snapshot; whether there are any.
    pub(super) fn let_go(&mut self) -> bool {
        let leaving = self.columns.iter_mut().map(|(_, column)| column).filter(|column| !column.is_here());
        leaving.take(self.leaving).fold(false, |any, column| {
            column.stay = if column.is_cut() { Stay::Kept } else { Stay::Going };
            if column.stay == Stay::Kept && core::mem::take(&mut column.is_counted) {
                self.bytes -= column.bytes();
            }
            any | (column.stay == Stay::Going)
        })
    }

    /// Appends an empty column for a slice of so many keys, for which there is room for so many; slices like it have `expected`.
    pub(super) fn append(&mut self, slice: i64, (keys, room): (usize, usize), heap: usize, expected: usize) {
        let mut column = core::mem::replace(&mut self.spare, Column::new());
        let most = room.min(4 * keys).next_multiple_of(ROUND);
        if column.capacity() < keys || column.capacity() > most {
            core::mem::replace(&mut column, Column::new()).leave(&mut self.exit);
            column.reserve(with_slack(expected).clamp(keys, most).next_multiple_of(ROUND));
        }
        column.heap = heap;
        self.bytes += column.bytes();
        self.room += column.capacity();
        self.columns.reserve_exact(self.header_growth());
        self.columns.push_back((slice, column));
    }

    /// Nobody needs those any more that go.
    pub(super) fn remove_gone(&mut self) {
        let (mut place, mut left) = (0, self.leaving);
        while left > 0
            && let Some((_, column)) = self.columns.get(place)
        {
            left -= usize::from(!column.is_here());
            if column.stay != Stay::Going {
                place += 1;
            } else if let Some((_, mut column)) = self.columns.remove(place) {
                self.leaving -= 1;
                self.bytes -= if column.is_counted { column.bytes() } else { 0 };
                match column.is_laborious() {
                    true => self.retired.push(column),
                    false => {
                        column.clear();
                        self.keep(column);
                    }
                }
            }
        }
        if self.columns.is_empty() {
            self.ids.shrink(&mut self.exit);
        }
    }
}

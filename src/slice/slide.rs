//! What windows move on by: a slice that comes, or several, of whose tables columns are made, and slices that have expired, whose
//! keys leave their numbers.
//!
//! Both are a matter of all keys of a slice, so both are done a part of the numbers at a time, while the window is drained:
//!
//! 1. Each key that has a number is looked up in the tables. What is found goes to the columns: in the order of the numbers, so
//!    that nothing has to be sorted. What the expired slices still had to do with those keys ends.
//! 2. What is in a table and was not found are new keys. They get numbers, the lowest that are free, and are the columns'
//!    second runs: one table's after the other's, each key with what later tables have of it.
//!
//! Until then the slices are those of their tables, which do not change, because the window is due.

use alloc::vec::Vec;
use core::hash::Hash;
use core::ops::Range;

use smallvec::SmallVec;

use super::column::Stay;
use super::{Column, Entries, Hashing, Ids, Sealed, spots_for};

/// Slices that come and others that leave.
#[derive(Debug)]
pub(crate) struct Slide<K, T> {
    /// In the order of time: the last of the columns.
    coming: Several<Coming<K, T>>,
    /// From here on nothing is sealed when they have come.
    beyond: i64,
    /// There were so many numbers when this began, and those before `next` are done.
    numbers: u32,
    next: u32,
}

/// A slice with its table.
type SliceTable<K, T> = (i64, Entries<K, T>);

/// One, almost always.
pub(super) type Several<T> = SmallVec<[T; 1]>;

/// A slice that becomes one of the columns.
#[derive(Debug)]
pub(super) struct Coming<K, T> {
    pub(super) slice: i64,
    pub(super) table: Entries<K, T>,
    /// A bit for each spot of the table, which is turned over where there is an entry, as far as has been `seen`, and where
    /// the key has a number: when all of both is done it is set where the key is new.
    new: Vec<u64>,
    seen: usize,
    /// How many keys had a number.
    known: usize,
    /// How many have got one, and from which spot on none has.
    numbered: usize,
    spot: usize,
    /// So many get one next.
    step: usize,
}

const WORD: usize = u64::BITS as usize;
/// Of so many numbers at least one should be that of a key in the table, or all numbers are not looked at.
const SPARSE: usize = 8;
/// More keys than this are not put in order in one call. (A handful in debug builds, so that small tests have both.)
const FEW: usize = if cfg!(debug_assertions) { 1 << 3 } else { 1 << 12 };

impl<K, T> Coming<K, T> {
    /// Spots that are looked at with each part of the numbers.
    const SPOTS: usize = 1 << 13;
    /// Keys that get a number at a time: few at first, as of those that have one.
    const FIRST: usize = if cfg!(debug_assertions) { 2 } else { Self::MOST };
    const MOST: usize = 1 << 5;

    /// With a buffer for the bits.
    fn new(slice: i64, table: Entries<K, T>, mut new: Vec<u64>) -> Self {
        let words = table.spots().div_ceil(WORD);
        new.clear();
        new.reserve_exact(words);
        new.resize(words, 0);
        Self { slice, table, new, seen: 0, known: 0, numbered: 0, spot: 0, step: Self::FIRST }
    }

    /// New keys that have no number yet.
    fn left(&self) -> usize {
        self.table.len() - self.known - self.numbered
    }

    /// Looks at some spots more.
    fn see(&mut self, spots: usize) {
        let words = self.seen / WORD..((self.seen + spots) / WORD).min(self.new.len());
        self.seen = words.end * WORD;
        for word in words {
            let half = |half: usize| u64::from(self.table.occupied(word * WORD + half)) << half;
            self.new[word] ^= half(0) | half(WORD / 2);
        }
    }
}

impl<K, T> Slide<K, T> {
    /// Bytes that this takes.
    pub(super) fn bytes(&self) -> usize {
        let of = |coming: &Coming<K, T>| coming.table.bytes() + coming.new.capacity() * size_of::<u64>();
        let room = if self.coming.spilled() { self.coming.capacity() } else { 0 };
        self.coming.iter().map(of).sum::<usize>() + room * size_of::<Coming<K, T>>()
    }

    /// The same for so many slices, besides their tables, where those have so many entries, or one has so many spots, at most.
    pub(super) fn bytes_for(coming: usize, (entries, spots): (usize, usize)) -> usize {
        let words = spots_for(entries).max(spots) / WORD + 2 * coming;
        words * size_of::<u64>() + coming * size_of::<Coming<K, T>>()
    }
}

impl<K, T> Sealed<K, T> {
    /// The slices that come, in the order of time.
    #[inline(always)]
    pub(super) fn coming(&self) -> &[Coming<K, T>] {
        self.slide.as_ref().map_or(&[], |slide| &slide.coming)
    }

    /// The table of a slice that comes.
    pub(super) fn coming_mut(&mut self, slice: i64) -> Option<&mut Entries<K, T>> {
        let mut coming = self.slide.as_mut()?.coming.iter_mut();
        coming.find(|coming| coming.slice == slice).map(|coming| &mut coming.table)
    }

    /// From which of the spots of the slices that come, one after the other, no key has a number that had none, and how many before
    /// have; if any come.
    pub(crate) fn numbered(&self) -> Option<(usize, usize)> {
        let coming = self.coming();
        let at = coming.iter().rposition(|coming| coming.spot > 0).unwrap_or(0);
        let spots: usize = coming[..at].iter().map(|coming| coming.table.spots()).sum();
        Some((spots + coming.get(at)?.spot, coming.iter().map(|coming| coming.numbered).sum()))
    }
}

impl<K: Hash + Eq + Clone, T> Sealed<K, T> {
    /// Whether a slice that comes has a key, of a number that is not done yet.
    pub(super) fn comes_with(&self, id: u32, hashing: &Hashing<K>) -> bool {
        let Some(key) = self.ids.key(id) else { return false };
        is_in(self.coming(), hashing.hash(key), key)
    }

    /// Looks for a key of the slices that come which had no number, from one of their spots on, which is moved on; none beyond
    /// the spots. A key that is in several is that of the first.
    pub(super) fn next_new(&self, spot: &mut usize, hashing: &Hashing<K>) -> Option<Option<&K>> {
        let slide = self.slide.as_ref()?;
        let is_known = slide.next == slide.numbers;
        let mut first = 0;
        for (place, coming) in slide.coming.iter().enumerate() {
            let beyond = first + coming.table.spots();
            if *spot < beyond {
                let mut own = *spot - first;
                let found = coming.next_new(&mut own, is_known, &self.ids, hashing);
                *spot = beyond.min(first + own);
                return Some(found.filter(|key| !is_in(&slide.coming[..place], hashing.hash(*key), key)));
            }
            first = beyond;
        }
        None
    }

    /// Does it for all numbers, where nothing comes.
    pub(crate) fn leave_all(&mut self, hashing: &Hashing<K>) {
        if self.let_go() {
            self.leave(&(0..self.ids.beyond() as u32), false, hashing);
            self.remove_gone();
        }
    }

    /// Keys of some numbers leave them, as far as only columns that go have them.
    fn leave(&mut self, part: &Range<u32>, is_looked_for: bool, hashing: &Hashing<K>) {
        let Self { ids, columns, leaving, .. } = self;
        let left = columns.iter().map(|(_, column)| column).filter(|column| !column.is_here());
        for column in left.take(*leaving).filter(|column| column.stay == Stay::Going) {
            column.part(part).for_each(|(id, _)| ids.leave(id, is_looked_for, hashing));
        }
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Sealed<K, T> {
    /// Begins to make a column of the table of a slice that is after all others. Slices like it have `expected` keys.
    fn come(&mut self, (slice, table): SliceTable<K, T>, expected: usize) -> Coming<K, T> {
        self.append(slice, (table.len(), table.capacity()), table.heap(), expected);
        Coming::new(slice, table, core::mem::take(&mut self.bits))
    }

    /// Begins to slide by these slices, each like those that have so many keys, and by those that have expired: to be gone on with by
    /// [`Sealed::slide_part`] for all numbers, in their order, and then by [`Sealed::slide_on`]. From then on all slices before `beyond`
    /// are sealed.
    pub(super) fn begin_slide(
        &mut self,
        beyond: i64,
        comes: impl Iterator<Item = (SliceTable<K, T>, usize)>,
    ) {
        let coming: Several<_> = comes.map(|(table, expected)| self.come(table, expected)).collect();
        match coming.is_empty() {
            false => self.ids.forget_free(),
            true => self.before = self.before.max(beyond),
        }
        if self.let_go() || !coming.is_empty() {
            self.slide = Some(Slide { coming, beyond, numbers: self.ids.beyond() as u32, next: 0 });
        }
    }

    /// Makes a column of a table that is after all others at once; the table, as it was.
    pub(super) fn seal(
        &mut self,
        slice: i64,
        table: Entries<K, T>,
        expected: usize,
        hashing: &Hashing<K>,
    ) -> Entries<K, T> {
        let mut coming = self.come((slice, table), expected);
        let is_sparse = self.is_sparse(coming.table.len());
        let Some((_, column)) = self.columns.back_mut() else { return coming.table };
        match is_sparse {
            true => coming.find_sparse(&mut self.ids, column, &mut self.found, hashing),
            false => coming.find(&(0..self.ids.beyond() as u32), &mut self.ids, column, hashing),
        }
        self.ids.sort_free(coming.left());
        while coming.number_some(&mut self.ids, column, hashing, |_, _, _, _| {}) > 0 {}
        self.came(coming, slice.saturating_add(1)).1
    }

    /// Whether so many keys are so few of those with a number that it takes longer to look at those than to put these in order.
    fn is_sparse(&self, keys: usize) -> bool {
        keys < self.ids.beyond() / SPARSE
    }

    /// Whether a slice of so many keys is better sealed at once than a part of the numbers at a time.
    pub(super) fn is_soon_sealed(&self, keys: usize) -> bool {
        keys <= FEW && self.is_sparse(keys)
    }

    /// A slice has come: it is sealed with all before `beyond`, and its table is not needed any more.
    fn came(&mut self, mut coming: Coming<K, T>, beyond: i64) -> SliceTable<K, T> {
        if let Ok(place) = self.place_of(coming.slice) {
            self.columns[place].1.is_changed = coming.table.take_changed();
        }
        self.before = self.before.max(beyond);
        if coming.new.capacity() > self.bits.capacity() {
            self.bits = coming.new;
        }
        (coming.slice, coming.table)
    }

    /// Slides for the keys of the next numbers.
    pub(crate) fn slide_part(&mut self, part: &Range<u32>, hashing: &Hashing<K>) {
        let Some(slide) = &mut self.slide else { return };
        slide.next = part.end;
        if slide.coming.is_empty() {
            return self.leave(part, false, hashing);
        }
        // First what comes: a key that is in it, too, keeps its number.
        let first = self.columns.len() - slide.coming.len();
        for (coming, (_, column)) in slide.coming.iter_mut().zip(self.columns.range_mut(first..)) {
            coming.find(part, &mut self.ids, column, hashing);
        }
        self.leave(part, true, hashing);
        self.ids.find_free(part);
    }

    /// Slides on when all numbers are done: gives some of the keys numbers that have none. With the last of them the tables
    /// of the slices that have come are given back.
    pub(crate) fn slide_on(&mut self, hashing: &Hashing<K>) -> (Numbered, Several<SliceTable<K, T>>) {
        let Some(mut slide) = self.slide.take() else { return (Numbered::default(), Several::new()) };
        let numbered = self.number_some(&mut slide.coming, hashing);
        if slide.coming.iter().any(|coming| coming.left() > 0) {
            self.slide = Some(slide);
            return (numbered, Several::new());
        }
        self.remove_gone();
        let came = slide.coming.into_iter().map(|coming| self.came(coming, slide.beyond)).collect();
        (numbered, came)
    }

    /// Gives some keys of the first slice that has new ones a number, with their entries in later ones.
    fn number_some(&mut self, coming: &mut [Coming<K, T>], hashing: &Hashing<K>) -> Numbered {
        let Some(at) = coming.iter().position(|coming| coming.left() > 0) else { return Numbered::default() };
        let first = self.columns.len() - coming.len() + at;
        let before: Several<usize> = self.columns.range(first..).map(|(_, column)| column.len()).collect();
        let columns = self.columns.range_mut(first..).map(|(_, column)| column);
        let mut both = coming[at..].iter_mut().zip(columns);
        let Some((own, column)) = both.next() else { return Numbered::default() };
        let mut later: Several<_> = both.collect();
        own.number_some(&mut self.ids, column, hashing, move |ids, id, hash, key| {
            for (coming, column) in &mut later {
                if let Some(spot) = coming.table.spot_of(hash, key) {
                    coming.take(id, spot, false, ids, column);
                }
            }
        });
        let columns = before.iter().zip(self.columns.range(first..));
        Numbered { places: columns.map(|(&before, (_, column))| before..column.len()).collect() }
    }

    /// Entries of keys that have got numbers, slice by slice.
    pub(crate) fn entries_of<'a>(&'a self, numbered: &'a Numbered) -> impl Iterator<Item = (u32, &'a T)> {
        let columns = self.columns.range(self.columns.len() - numbered.places.len()..);
        let places = columns.zip(&numbered.places);
        places.flat_map(|((_, column), places)| column.places(places.clone()))
    }

    /// Their numbers, ascending.
    pub(crate) fn numbers_of(&self, numbered: &Numbered) -> impl DoubleEndedIterator<Item = u32> {
        let column = self.columns.get(self.columns.len() - numbered.places.len());
        let first = column.zip(numbered.places.first()).into_iter();
        first.flat_map(|((_, column), places)| column.places(places.clone()).map(|(id, _)| id))
    }
}

/// Keys that have got numbers: where their entries are in the last columns, in the first of which all of them are.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    places: Several<Range<usize>>,
}

impl Numbered {
    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.places.first().map_or(0, ExactSizeIterator::len)
    }
}

/// Whether one of some slices that come has a key.
fn is_in<K: Hash + Eq + Clone, T>(coming: &[Coming<K, T>], hash: u64, key: &K) -> bool {
    coming.iter().any(|coming| coming.table.spot_of(hash, key).is_some())
}

impl<K: Hash + Eq + Clone, T> Coming<K, T> {
    /// Looks for a key that had no number from one of the spots on, which is moved on. `is_known`: all that have one have been looked
    /// up.
    fn next_new(&self, spot: &mut usize, is_known: bool, ids: &Ids<K>, hashing: &Hashing<K>) -> Option<&K> {
        if is_known && *spot < self.seen {
            // (Of spots that have been seen there may be many without one.)
            let new = self.new[*spot / WORD] >> (*spot % WORD);
            let next = *spot + new.trailing_zeros() as usize;
            if new == 0 || next >= self.table.spots() {
                *spot = (*spot / WORD + 1) * WORD;
                return None;
            }
            *spot = next;
        }
        let at = *spot;
        *spot += 1;
        self.table.at(at).map(|(key, _)| key).filter(|key| match is_known {
            true => at < self.seen || self.new[at / WORD] >> (at % WORD) & 1 == 0,
            false => ids.get(hashing.hash(*key), *key).is_none(),
        })
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Coming<K, T> {
    /// Looks the keys of some numbers up.
    fn find(&mut self, part: &Range<u32>, ids: &mut Ids<K>, column: &mut Column<T>, hashing: &Hashing<K>) {
        for id in part.clone() {
            let Some(key) = ids.key(id) else { continue };
            if let Some(spot) = self.table.spot_of(hashing.hash(key), key) {
                self.take(id, spot, true, ids, column);
            }
        }
        self.see(Self::SPOTS);
    }

    /// The key at a spot has this number, and had it when this began if it `is_first`.
    #[inline(always)]
    fn take(&mut self, id: u32, spot: usize, is_first: bool, ids: &mut Ids<K>, column: &mut Column<T>) {
        if let Some((_, partial)) = self.table.at(spot) {
            column.push(ids.enter_again(id), partial.clone(), is_first);
            self.new[spot / WORD] ^= 1 << (spot % WORD);
            self.known += 1;
        }
    }

    /// The same for all keys, looking for their numbers.
    fn find_sparse(
        &mut self,
        ids: &mut Ids<K>,
        column: &mut Column<T>,
        found: &mut Vec<(u32, u32)>,
        hashing: &Hashing<K>,
    ) {
        let number = |spot: usize| {
            let (key, _) = self.table.at(spot)?;
            Some((ids.get(hashing.hash(key), key)?, spot as u32))
        };
        found.reserve_exact(self.table.len());
        found.extend((0..self.table.spots()).filter_map(number));
        found.sort_unstable();
        found.drain(..).for_each(|(id, spot)| self.take(id, spot as usize, true, ids, column));
    }

    /// Gives some keys a number, in the order of their spots, and each with its hash to `then`; how many.
    fn number_some(
        &mut self,
        ids: &mut Ids<K>,
        column: &mut Column<T>,
        hashing: &Hashing<K>,
        mut then: impl FnMut(&mut Ids<K>, u32, u64, &K),
    ) -> usize {
        let (from, keys) = (column.len(), self.left().min(self.step));
        self.step = (2 * self.step).min(Self::MOST);
        while column.len() < from + keys {
            let word = self.spot / WORD;
            if self.spot >= self.seen {
                self.see(WORD);
            }
            let Some(bits) = self.new.get(word).map(|bits| bits >> (self.spot % WORD)) else { break };
            if bits == 0 {
                self.spot = (word + 1) * WORD;
                continue;
            }
            let spot = self.spot + bits.trailing_zeros() as usize;
            self.spot = spot + 1;
            if let Some((key, partial)) = self.table.at(spot) {
                let hash = hashing.hash(key);
                let id = ids.number(hash, key, self.table.len(), hashing);
                column.push(id, partial.clone(), false);
                self.numbered += 1;
                then(ids, id, hash, key);
            }
        }
        column.len() - from
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Sealed slices, and a map that says what they should come to.
    struct Both {
        hashing: Hashing<u32>,
        sealed: Sealed<u32, u64>,
        map: BTreeMap<(i64, u32), u64>,
    }

    impl Both {
        fn table(&mut self, slice: i64, keys: impl Iterator<Item = u32>) -> (i64, Entries<u32, u64>) {
            let mut table = Entries::new();
            for (key, value) in keys.zip(slice as u64..) {
                let hash = self.hashing.hash(&key);
                if table.get_mut(hash, &key).is_none() {
                    table.insert(hash, key, value, (0, 0), &self.hashing);
                    self.map.insert((slice, key), value);
                }
            }
            (slice, table)
        }

        /// Seals slices: at once, or together so many numbers at a time.
        fn seal(&mut self, tables: Vec<(i64, Entries<u32, u64>)>, step: Option<u32>) {
            let first = tables[0].0;
            let slices: Vec<i64> = tables.iter().map(|&(slice, _)| slice).collect();
            let seal = |(slice, table)| (slice, self.sealed.seal(slice, table, 0, &self.hashing));
            let came = match step {
                None => tables.into_iter().map(seal).collect(),
                Some(step) => self.slide(tables, step),
            };
            assert!(came.iter().map(|&(slice, _)| slice).eq(slices));
            let entries = |(slice, table): &(i64, Entries<u32, u64>)| {
                table.iter().map(|(&key, &value)| ((*slice, key), value)).collect::<Vec<_>>()
            };
            let of_slices = self.map.range((first, 0)..).map(|(&at, &value)| (at, value));
            assert_eq!(came.iter().flat_map(entries).collect::<BTreeMap<_, _>>(), of_slices.collect());
        }

        fn slide(
            &mut self,
            tables: Vec<(i64, Entries<u32, u64>)>,
            step: u32,
        ) -> Several<(i64, Entries<u32, u64>)> {
            let (last, _) = tables[tables.len() - 1];
            self.sealed.begin_slide(last + 1, tables.into_iter().map(|table| (table, 0)));
            let ids = self.sealed.ids.beyond() as u32;
            let mut part = 0..0;
            while part.end < ids {
                self.check_coming();
                part = part.end..(part.end + step).min(ids);
                self.sealed.slide_part(&part, &self.hashing);
            }
            loop {
                self.check_coming();
                let (numbered, came) = self.sealed.slide_on(&self.hashing);
                let ids: Vec<u32> = self.sealed.numbers_of(&numbered).collect();
                assert!(ids.is_sorted() && ids.len() == numbered.len());
                assert!(!came.is_empty() || !ids.is_empty());
                let of_ids: BTreeSet<u32> = self.sealed.entries_of(&numbered).map(|(id, _)| id).collect();
                assert!(of_ids.into_iter().eq(ids));
                if !came.is_empty() {
                    return came;
                }
            }
        }

        /// Each key of the slices that come is found by its number if it has one, and else once, by a spot.
        fn check_coming(&self) {
            let coming = self.sealed.coming();
            let keys: BTreeSet<u32> =
                coming.iter().flat_map(|coming| coming.table.iter().map(|(&key, _)| key)).collect();
            let mut spot = self.sealed.numbered().map_or(0, |(spot, _)| spot);
            let found = core::iter::from_fn(|| self.sealed.next_new(&mut spot, &self.hashing));
            let found: Vec<u32> = found.flatten().copied().collect();
            let is_new = |key: &&u32| self.sealed.ids.get(self.hashing.hash(*key), *key).is_none();
            let new: BTreeSet<u32> = keys.iter().filter(is_new).copied().collect();
            assert_eq!((found.len(), found.into_iter().collect()), (new.len(), new));
            let ids = 0..self.sealed.ids.beyond() as u32;
            let known = ids.filter(|&id| self.sealed.comes_with(id, &self.hashing)).count();
            assert_eq!(known, keys.iter().filter(|key| !is_new(key)).count());
        }

        /// An event that comes when its slice is sealed.
        fn add(&mut self, slice: i64, key: u32) {
            let hash = self.hashing.hash(&key);
            match self.sealed.get_mut(slice, hash, &key) {
                Some(value) => *value += 1,
                None => self.sealed.insert(slice, hash, &key, 1, 0, &self.hashing),
            }
            self.map.entry((slice, key)).and_modify(|value| *value += 1).or_insert(1);
        }

        fn expire_before(&mut self, slice: i64) {
            self.sealed.expire_before(slice);
            self.map.retain(|&(of, _), _| of >= slice);
        }

        fn check(&self) {
            let Sealed { ids, columns, .. } = &self.sealed;
            let entries =
                columns.iter().filter(|(_, column)| column.is_here()).flat_map(|(slice, column)| {
                    let entries = column.places(0..column.len());
                    entries.map(move |(id, &value)| ((*slice, *ids.key(id).unwrap()), value))
                });
            assert_eq!(entries.collect::<BTreeMap<_, _>>(), self.map);
            for (&(slice, key), value) in &self.map {
                let id = ids.get(self.hashing.hash(&key), &key).unwrap();
                assert_eq!(self.sealed.get(slice).and_then(|column| column.get(id)), Some(value));
                assert_eq!(self.sealed.next(slice), Some(slice));
                assert_eq!(self.sealed.range(slice..slice + 1).count(), 1);
            }
            let first = self.map.first_key_value().map(|(&(slice, _), _)| slice);
            let last = self.map.last_key_value().map(|(&(slice, _), _)| slice);
            assert_eq!((self.sealed.next(i64::MIN), self.sealed.last()), (first, last));
            let slices: Vec<i64> = self.sealed.columns.iter().map(|&(slice, _)| slice).collect();
            assert!(slices.is_sorted_by(|a, b| a < b));
            // Who is in no column has no number.
            let of_columns = columns.iter().flat_map(|(_, column)| column.places(0..column.len()));
            let in_use: BTreeSet<u32> = of_columns.map(|(id, _)| id).collect();
            let with_key = (0..ids.beyond() as u32).filter(|&id| ids.key(id).is_some());
            assert_eq!(with_key.collect::<BTreeSet<_>>(), in_use);
            let room: usize = self.sealed.range(i64::MIN..i64::MAX).map(Column::capacity).sum();
            let bytes: usize = columns.iter().map(|(_, column)| column.bytes()).sum();
            assert_eq!((self.sealed.room, self.sealed.bytes), (room, bytes));
        }
    }

    /// How many slices back an event comes, and its key.
    fn late() -> impl Strategy<Value = Vec<(i64, u32)>> {
        prop::collection::vec((0..12i64, 0..300u32), 0..12)
    }

    /// How many numbers at a time a slice is sealed, if not at once.
    fn step() -> impl Strategy<Value = Option<u32>> {
        prop::option::weighted(0.7, 1..90u32)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn sealed_slices_are_a_map(
            slices in prop::collection::vec(
                (1..4i64, prop::collection::vec((1..80usize, 1..9u32), 1..4), late(), step(), any::<bool>()),
                1..24,
            ),
            kept in 1..20i64,
            seed: u64,
        ) {
            let hashing = Hashing::new(Some(seed));
            let mut both = Both { hashing, sealed: Sealed::new(), map: BTreeMap::new() };
            let (mut slice, mut expired) = (0, i64::MIN);
            for (gap, tables, late, step, leaves) in slices {
                slice += gap;
                let tables = (0..).zip(tables).map(|(n, (count, stride))| {
                    slice += i64::from(n > 0);
                    // Now a few keys of many, now the same ones again.
                    both.table(slice, (0..count as u32).map(|n| n * stride))
                });
                let tables = tables.collect();
                both.seal(tables, step);
                both.check();
                // (Nothing comes into what has expired.)
                let late = late.iter().filter(|(back, _)| (expired..=slice).contains(&(slice - back)));
                late.for_each(|&(back, key)| both.add(slice - back, key));
                both.check();
                expired = slice - kept;
                both.expire_before(expired);
                if leaves {
                    // Without a slice that comes.
                    both.sealed.leave_all(&both.hashing);
                }
                both.check();
            }
            both.expire_before(i64::MAX);
            both.check();
            both.sealed.leave_all(&both.hashing);
            both.check();
            assert_eq!(both.sealed.ids.bytes(), 0);
        }
    }

    #[test]
    fn partials_without_size_take_no_more_room_than_their_keys() {
        let hashing = Hashing::new(Some(1));
        let mut sealed: Sealed<u32, ()> = Sealed::new();
        for slice in 0..3 {
            let mut table = Entries::new();
            (0..20).for_each(|key: u32| table.insert(hashing.hash(&key), key, (), (0, 0), &hashing));
            sealed.seal(slice, table, 0, &hashing);
        }
        assert!((60..200).contains(&sealed.room()), "room for {} entries", sealed.room());
    }
}

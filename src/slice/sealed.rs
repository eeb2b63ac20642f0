//! Sealed slices: those that windows have been combined from, as columns.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::Hash;
use core::mem::needs_drop;
use core::ops::Range;

use super::{Entries, Hashing, Ids, PutEntry, Run, Table, with_slack};
use crate::key::ToKey;

/// Columns have room for a multiple of so many entries.
const ROUND: usize = 16;

/// The partials of a sealed slice, by the numbers of their keys.
#[derive(Debug)]
pub(crate) struct Column<T> {
    /// Ascending.
    ids: Vec<u32>,
    partials: Vec<T>,
    /// Heap owned by the partials, as the aggregate tells it.
    heap: usize,
    /// It has changed since the last snapshot.
    is_changed: bool,
    /// What a snapshot still has to hold of it, if one is being taken.
    to_hold: Option<ToHold>,
}

/// Entries that a snapshot still has to hold: those of numbers from one on, but for some.
#[derive(Debug, Default)]
struct ToHold {
    from: u32,
    /// A bit for each number whose entry is held already, or has come too late.
    held: Vec<u64>,
}

impl ToHold {
    const WORD: u32 = u64::BITS;

    fn has(&self, id: u32) -> bool {
        let word = self.held.get((id / Self::WORD) as usize);
        id < self.from || word.is_some_and(|word| word >> (id % Self::WORD) & 1 == 1)
    }

    /// From here on an entry is held; whether it was not.
    fn hold(&mut self, id: u32) -> bool {
        let is_new = !self.has(id);
        let word = (id / Self::WORD) as usize;
        if word >= self.held.len() {
            self.held.resize(word + 1, 0);
        }
        self.held[word] |= 1 << (id % Self::WORD);
        is_new
    }
}

impl<T> Column<T> {
    const fn new() -> Self {
        Self { ids: Vec::new(), partials: Vec::new(), heap: 0, is_changed: false, to_hold: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// (That of the numbers: partials without size have room for any number of them.)
    fn capacity(&self) -> usize {
        self.ids.capacity()
    }

    fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<u32>() + self.partials.capacity() * size_of::<T>() + self.heap
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, &T)> {
        self.ids.iter().copied().zip(&self.partials)
    }

    /// Those of some numbers.
    pub(crate) fn part(&self, ids: &Range<u32>) -> impl Iterator<Item = (u32, &T)> {
        let (Ok(first) | Err(first)) = self.place_of(ids.start);
        let (Ok(beyond) | Err(beyond)) = self.place_of(ids.end);
        let places = first..beyond;
        self.ids[places.clone()].iter().copied().zip(&self.partials[places])
    }

    #[inline]
    pub(crate) fn at(&self, place: usize) -> Option<(u32, &T)> {
        Some((*self.ids.get(place)?, self.partials.get(place)?))
    }

    /// Where a number is, or would be.
    pub(crate) fn place_of(&self, id: u32) -> Result<usize, usize> {
        // Where the slice has nearly all keys, this is where.
        match self.ids.get(id as usize) == Some(&id) {
            true => Ok(id as usize),
            false => self.ids.binary_search(&id),
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.partials.get(self.place_of(id).ok()?)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let place = self.place_of(id).ok()?;
        self.partials.get_mut(place)
    }

    fn reserve(&mut self, entries: usize) {
        self.ids.reserve_exact(entries);
        self.partials.reserve_exact(entries);
    }

    /// By how many entries it grows when one more does not fit.
    fn additional(&self) -> usize {
        if self.len() < self.capacity() { 0 } else { 4 + self.len() / 8 }
    }

    fn insert(&mut self, id: u32, partial: T) {
        self.reserve(self.additional());
        let (Ok(place) | Err(place)) = self.place_of(id);
        self.ids.insert(place, id);
        self.partials.insert(place, partial);
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.partials.clear();
        self.heap = 0;
        self.to_hold = None;
    }

    /// Holds some entries for the snapshot that is being taken; and how many it has looked at.
    fn hold_some<K>(&mut self, most: usize, ids: &Ids<K>, put: PutEntry<K, T>) -> (Run, usize) {
        let mut run = Run::new();
        let Some(mut to_hold) = self.to_hold.take() else { return (run, 0) };
        let (Ok(first) | Err(first)) = self.place_of(to_hold.from);
        let until = self.len().min(first.saturating_add(most));
        for (id, partial) in (first..until).filter_map(|place| self.at(place)) {
            if !to_hold.has(id)
                && let Some(key) = ids.key(id)
            {
                run.put(|records| put(key, partial, records));
            }
        }
        if let Some(&from) = self.ids.get(until) {
            to_hold.from = from;
            self.to_hold = Some(to_hold);
        }
        (run, until - first)
    }

    /// Holds the entry of a number, which is about to change or to come, if that is still to be done.
    fn hold<K>(&mut self, id: u32, ids: &Ids<K>, put: PutEntry<K, T>) -> Option<Run> {
        let is_new = self.to_hold.as_mut().is_some_and(|to_hold| to_hold.hold(id));
        let (key, partial) = (ids.key(id)?, self.get(id).filter(|_| is_new)?);
        let mut run = Run::new();
        run.put(|records| put(key, partial, records));
        Some(run)
    }
}

/// All sealed slices.
#[derive(Debug)]
pub(crate) struct Sealed<K, T> {
    pub(crate) ids: Ids<K>,
    /// In the order of time. (A late event may bring a slice in between, which is a matter of moving headers; almost always
    /// they come and go at the ends.)
    columns: VecDeque<(i64, Column<T>)>,
    /// Those that have expired and that a snapshot still has to hold: their keys keep their numbers for that.
    leaving: Vec<(i64, Column<T>)>,
    /// Slices before this one are here, if they are anywhere.
    pub(crate) before: i64,
    /// An empty column for the next slice, so that a steady stream allocates nothing; and buffers for making one.
    spare: Column<T>,
    found: Vec<(u32, T)>,
    places: Vec<u32>,
    /// Bytes of all columns, and entries that they have room for.
    bytes: usize,
    room: usize,
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
            leaving: Vec::new(),
            before: i64::MIN,
            spare: Column::new(),
            found: Vec::new(),
            places: Vec::new(),
            bytes: 0,
            room: 0,
            cut: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(crate) fn room(&self) -> usize {
        self.room
    }

    pub(crate) fn bytes(&self) -> usize {
        let headers = self.columns.capacity() * size_of::<(i64, Column<T>)>();
        self.bytes + self.spare.bytes() + headers + self.buffer_bytes() + self.ids.bytes()
    }

    /// By how many bytes sealing so many slices that have room for so many entries, `expected` in each, may make the state
    /// grow at most.
    pub(crate) fn growth_for(&self, slices: usize, entries: usize, expected: usize) -> usize {
        let entry = size_of::<u32>() + size_of::<T>();
        // A column has room for hardly more entries than the table that it takes the place of.
        let excess = (entry * 9 / 8).saturating_sub(size_of::<(K, T)>());
        let columns = slices * (2 * size_of::<(i64, Column<T>)>() + ROUND * entry) + entries * excess;
        let buffers = 2 * (expected * size_of::<(u32, T)>() + entries * size_of::<u32>());
        // Tables that are free are kept, up to a few.
        let tables = 3 * Table::<K, T>::bytes_for(expected);
        let there = self.ids.bytes() + self.buffer_bytes();
        // (Those that are leaving keep their numbers.)
        let numbered = entries + self.leaving.iter().map(|(_, column)| column.len()).sum::<usize>();
        (columns + buffers + tables + Ids::<K>::bytes_for(numbered)).saturating_sub(there)
    }

    fn buffer_bytes(&self) -> usize {
        self.found.capacity() * size_of::<(u32, T)>() + self.places.capacity() * size_of::<u32>()
    }

    /// Where a slice is, or would be.
    fn place_of(&self, slice: i64) -> Result<usize, usize> {
        self.columns.binary_search_by_key(&slice, |&(slice, _)| slice)
    }

    pub(crate) fn get(&self, slice: i64) -> Option<&Column<T>> {
        self.columns.get(self.place_of(slice).ok()?).map(|(_, column)| column)
    }

    /// The first slice at or after `from` that is here.
    pub(crate) fn next(&self, from: i64) -> Option<i64> {
        if from >= self.before {
            return None;
        }
        let (Ok(place) | Err(place)) = self.place_of(from);
        self.columns.get(place).map(|&(slice, _)| slice)
    }

    pub(crate) fn last(&self) -> Option<i64> {
        self.columns.back().map(|&(slice, _)| slice)
    }

    /// Slices with their columns, in the order of time.
    pub(crate) fn range(&self, slices: Range<i64>) -> impl DoubleEndedIterator<Item = &Column<T>> {
        let (Ok(first) | Err(first)) = self.place_of(slices.start);
        let (Ok(beyond) | Err(beyond)) = self.place_of(slices.end);
        self.columns.range(first.min(beyond)..beyond).map(|(_, column)| column)
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

    /// Returns all memory, once no slice is here, nor one that a snapshot still has to hold.
    pub(crate) fn empty(&mut self) {
        if self.leaving.is_empty() {
            *self = Self { before: self.before, cut: self.cut.take(), ..Self::new() };
        }
    }

    // A snapshot that is being taken.

    /// Whether a slice has changed since this was asked for last.
    pub(crate) fn take_changed(&mut self, slice: i64) -> bool {
        self.place_of(slice).is_ok_and(|place| core::mem::take(&mut self.columns[place].1.is_changed))
    }

    /// Begins to hold a slice.
    pub(crate) fn begin_cut(&mut self, slice: i64) {
        if let Ok(place) = self.place_of(slice) {
            self.columns[place].1.to_hold = Some(ToHold::default());
        }
    }

    pub(crate) fn end_cut(&mut self) {
        self.columns.iter_mut().chain(&mut self.leaving).for_each(|(_, column)| column.to_hold = None);
        self.cut = None;
    }

    /// Holds some entries of a slice, and gives out what has been held; how many it has looked at, and whether that is all.
    pub(crate) fn hold_some(&mut self, slice: i64, most: usize) -> ((Run, usize), bool) {
        let place = self.place_of(slice);
        let column = match place {
            Ok(place) => self.columns.get_mut(place),
            Err(_) => self.leaving.iter_mut().find(|(of, _)| *of == slice),
        };
        let (Some((_, column)), Some(cut)) = (column, &self.cut) else {
            return ((Run::new(), 0), true);
        };
        (column.hold_some(most, &self.ids, cut.put), column.to_hold.is_none())
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

    /// Expires all slices before `slice`.
    pub(crate) fn expire_before(&mut self, slice: i64, hashing: &Hashing<K>) {
        let is_held = |(_, column): &mut (i64, Column<T>)| column.to_hold.is_none();
        let held: Vec<(i64, Column<T>)> = self.leaving.extract_if(.., is_held).collect();
        held.into_iter().for_each(|(_, column)| self.release(column, hashing));
        while self.columns.front().is_some_and(|(first, _)| *first < slice) {
            let Some((first, column)) = self.columns.pop_front() else { break };
            self.bytes -= column.bytes();
            self.room -= column.capacity();
            match column.to_hold {
                None => self.release(column, hashing),
                Some(_) => self.leaving.push((first, column)),
            }
        }
        if self.columns.is_empty() {
            self.ids.shrink();
        }
    }

    /// Nobody needs a column any more.
    fn release(&mut self, mut column: Column<T>, hashing: &Hashing<K>) {
        column.ids.iter().for_each(|&id| self.ids.leave(id, hashing));
        column.clear();
        if column.capacity() >= self.spare.capacity() {
            self.spare = column;
        }
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Sealed<K, T> {
    /// Makes a column of the table of a slice that is after all others, and empties that. Slices like it have `expected` keys.
    pub(crate) fn seal(
        &mut self,
        slice: i64,
        table: &mut Entries<K, T>,
        expected: usize,
        hashing: &Hashing<K>,
    ) {
        let Self { ids, spare, found, places, cut, .. } = self;
        let mut column = core::mem::replace(spare, Column::new());
        let keys = table.len();
        let most = table.capacity().min(4 * keys).next_multiple_of(ROUND);
        if column.capacity() < keys || column.capacity() > most {
            column = Column::new();
            column.reserve(with_slack(expected).clamp(keys, most).next_multiple_of(ROUND));
        }
        column.heap = table.heap();
        column.is_changed = table.take_changed();
        found.clear();
        found.reserve(keys);
        let mut enter = |key: &K| ids.enter(hashing.hash(key), key, hashing);
        if table.is_cut() {
            // What the snapshot has still to hold of the table, it has of the column.
            let mut to_hold = ToHold::default();
            for spot in 0..table.spots() {
                let Some((key, partial)) = table.at(spot) else { continue };
                let id = enter(key);
                if table.is_held(spot) {
                    to_hold.hold(id);
                }
                found.push((id, partial.clone()));
            }
            column.to_hold = Some(to_hold);
            if let Some(cut) = cut {
                cut.keep(slice, table.take_held());
            }
            table.end_cut();
            table.clear();
        }
        table.drain(|key, partial| found.push((enter(&key), partial)));
        match !needs_drop::<T>() && found.len() > ids.beyond() / 8 {
            true => arrange(found, places, ids.beyond(), &mut column),
            false => {
                found.sort_unstable_by_key(|&(id, _)| id);
                for (id, partial) in found.drain(..) {
                    column.ids.push(id);
                    column.partials.push(partial);
                }
            }
        }
        self.bytes += column.bytes();
        self.room += column.capacity();
        self.columns.reserve_exact(self.header_growth());
        self.columns.push_back((slice, column));
    }
}

/// Puts entries in the order of their numbers, of which there are not many more, without comparing any.
fn arrange<T: Clone>(found: &[(u32, T)], places: &mut Vec<u32>, beyond: usize, column: &mut Column<T>) {
    places.clear();
    places.resize(beyond, u32::MAX);
    for (place, &(id, _)) in found.iter().enumerate() {
        places[id as usize] = place as u32;
    }
    for &place in places.iter() {
        if let Some((id, partial)) = found.get(place as usize) {
            column.ids.push(*id);
            column.partials.push(partial.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Sealed slices, and a map that says what they should come to.
    struct Both {
        hashing: Hashing<u32>,
        sealed: Sealed<u32, u64>,
        map: BTreeMap<(i64, u32), u64>,
    }

    impl Both {
        fn seal(&mut self, slice: i64, keys: impl Iterator<Item = u32>) {
            let mut table = Entries::new();
            for (key, value) in keys.zip(slice as u64..) {
                let hash = self.hashing.hash(&key);
                if table.get_mut(hash, &key).is_none() {
                    table.insert(hash, key, value, (0, 0), &self.hashing);
                    self.map.insert((slice, key), value);
                }
            }
            self.sealed.seal(slice, &mut table, 0, &self.hashing);
            assert!(table.is_empty());
            self.sealed.before = slice + 1;
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
            self.sealed.expire_before(slice, &self.hashing);
            self.map.retain(|&(of, _), _| of >= slice);
        }

        fn check(&self) {
            let Sealed { ids, columns, .. } = &self.sealed;
            let entries = columns.iter().flat_map(|(slice, column)| {
                column.iter().map(move |(id, &value)| ((*slice, *ids.key(id).unwrap()), value))
            });
            assert_eq!(entries.collect::<BTreeMap<_, _>>(), self.map);
            for (&(slice, key), value) in &self.map {
                let id = ids.get(self.hashing.hash(&key), &key).unwrap();
                assert_eq!(self.sealed.get(slice).and_then(|column| column.get(id)), Some(value));
                assert_eq!(self.sealed.next(slice), Some(slice));
                assert_eq!(self.sealed.range(slice..slice + 1).count(), 1);
            }
            let slices: Vec<i64> = self.sealed.columns.iter().map(|&(slice, _)| slice).collect();
            assert!(slices.is_sorted_by(|a, b| a < b));
            // Who is in no slice has no number.
            let mut keys: Vec<u32> = self.map.keys().map(|&(_, key)| key).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!((0..ids.beyond() as u32).filter(|&id| ids.key(id).is_some()).count(), keys.len());
            let room: usize = columns.iter().map(|(_, column)| column.capacity()).sum();
            let bytes: usize = columns.iter().map(|(_, column)| column.bytes()).sum();
            assert_eq!((self.sealed.room, self.sealed.bytes), (room, bytes));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn sealed_slices_are_a_map(
            slices in prop::collection::vec((1..4i64, 1..80usize, 1..9u32, prop::collection::vec((0..12i64, 0..300u32), 0..12)), 1..24),
            kept in 1..20i64,
            seed: u64,
        ) {
            let hashing = Hashing::new(Some(seed));
            let mut both = Both { hashing, sealed: Sealed::new(), map: BTreeMap::new() };
            let mut slice = 0;
            for (step, count, stride, late) in slices {
                slice += step;
                // Now a few keys of many, now the same ones again.
                both.seal(slice, (0..count as u32).map(|n| n * stride));
                both.check();
                late.iter().for_each(|&(back, key)| both.add(slice - back, key));
                both.check();
                both.expire_before(slice - kept);
                both.check();
            }
            both.expire_before(i64::MAX);
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
            sealed.seal(slice, &mut table, 0, &hashing);
        }
        assert!((60..200).contains(&sealed.room()), "room for {} entries", sealed.room());
    }
}

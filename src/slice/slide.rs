//! What windows move on by: a slice that comes, which makes a column of its table, and slices that have expired, whose keys
//! leave their numbers.
//!
//! Both are a matter of all keys of a slice, so both are done a part of the numbers at a time, while the window is drained:
//!
//! 1. Each key that has a number is looked up in the table. What is found goes to the column: in the order of the numbers, so
//!    that nothing has to be sorted. What the expired slices still had to do with those keys ends.
//! 2. What is in the table and was not found are new keys. They get numbers, the lowest that are free, and are the column's
//!    second run.
//!
//! Until then the slice is that of its table, which does not change, because the window is due.

use alloc::vec::Vec;
use core::hash::Hash;
use core::ops::Range;

use super::column::Stay;
use super::{Column, Entries, Hashing, Ids, Sealed, spots_for};

/// A slice that comes and others that leave.
#[derive(Debug)]
pub(crate) struct Slide<K, T> {
    coming: Option<Coming<K, T>>,
    /// There were so many numbers when this began, and those before `next` are done.
    numbers: u32,
    next: u32,
}

/// A slice with its table.
type SliceTable<K, T> = (i64, Entries<K, T>);

/// A slice that becomes the last of the columns.
#[derive(Debug)]
pub(super) struct Coming<K, T> {
    pub(super) slice: i64,
    /// From here on nothing is sealed.
    beyond: i64,
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
/// More keys than this are not put in order in one call.
const FEW: usize = 1 << 12;

impl<K, T> Coming<K, T> {
    /// Spots that are looked at with each part of the numbers.
    const SPOTS: usize = 1 << 13;
    /// Keys that get a number at a time: few at first, as of those that have one.
    const FIRST: usize = if cfg!(debug_assertions) { 2 } else { Self::MOST };
    const MOST: usize = 1 << 5;

    /// With a buffer for the bits.
    fn new(slice: i64, beyond: i64, table: Entries<K, T>, mut new: Vec<u64>) -> Self {
        let words = table.spots().div_ceil(WORD);
        new.clear();
        new.reserve_exact(words);
        new.resize(words, 0);
        Self { slice, beyond, table, new, seen: 0, known: 0, numbered: 0, spot: 0, step: Self::FIRST }
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
    /// Bytes that this takes besides the table.
    pub(super) fn bytes(&self) -> usize {
        self.coming.as_ref().map_or(0, |coming| coming.new.capacity() * size_of::<u64>())
    }

    /// The same where that has so many entries, or so many spots, at most.
    pub(super) fn bytes_for(entries: usize, spots: usize) -> usize {
        (spots_for(entries).max(spots) / WORD + 2) * size_of::<u64>()
    }
}

impl<K, T> Sealed<K, T> {
    /// The slice that comes.
    pub(super) fn coming(&self) -> Option<&Coming<K, T>> {
        self.slide.as_ref()?.coming.as_ref()
    }

    pub(super) fn coming_mut(&mut self) -> Option<&mut Coming<K, T>> {
        self.slide.as_mut()?.coming.as_mut()
    }

    /// From which of the spots of the slice that comes no key has a number that had none, and how many before have.
    pub(crate) fn numbered(&self) -> Option<(usize, usize)> {
        self.coming().map(|coming| (coming.spot, coming.numbered))
    }
}

impl<K: Hash + Eq + Clone, T> Sealed<K, T> {
    /// Whether the slice that comes has a key, of a number that is not done yet.
    pub(super) fn comes_with(&self, id: u32, hashing: &Hashing<K>) -> bool {
        let has = |coming: &Coming<K, T>| {
            let key = self.ids.key(id)?;
            coming.table.spot_of(hashing.hash(key), key)
        };
        self.coming().and_then(has).is_some()
    }

    /// Looks for a key of the slice that comes which had no number, from one of its spots on, which is moved on; none beyond
    /// the spots.
    pub(super) fn next_new(&self, spot: &mut usize, hashing: &Hashing<K>) -> Option<Option<&K>> {
        let slide = self.slide.as_ref()?;
        let coming = slide.coming.as_ref().filter(|coming| *spot < coming.table.spots())?;
        let is_known = slide.next == slide.numbers;
        if is_known && *spot < coming.seen {
            // (Of spots that have been seen there may be many without one.)
            let new = coming.new[*spot / WORD] >> (*spot % WORD);
            let next = *spot + new.trailing_zeros() as usize;
            if new == 0 || next >= coming.table.spots() {
                *spot = (*spot / WORD + 1) * WORD;
                return Some(None);
            }
            *spot = next;
        }
        let at = *spot;
        *spot += 1;
        Some(coming.table.at(at).map(|(key, _)| key).filter(|key| match is_known {
            true => at < coming.seen || coming.new[at / WORD] >> (at % WORD) & 1 == 0,
            false => self.ids.get(hashing.hash(*key), *key).is_none(),
        }))
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
    /// Begins to make a column of the table of a slice that is after all others, up to which from then on, `beyond` excluded, all
    /// slices are sealed. Slices like it have `expected` keys.
    fn come(&mut self, (slice, beyond): (i64, i64), table: Entries<K, T>, expected: usize) -> Coming<K, T> {
        self.append(slice, (table.len(), table.capacity()), table.heap(), expected);
        Coming::new(slice, beyond, table, core::mem::take(&mut self.bits))
    }

    /// Begins to slide by this slice, if one comes, and by those that have expired: to be gone on with by
    /// [`Sealed::slide_part`] for all numbers, in their order, and then by [`Sealed::slide_on`].
    pub(super) fn begin_slide(&mut self, beyond: i64, comes: Option<SliceTable<K, T>>, expected: usize) {
        let coming = comes.map(|(slice, table)| self.come((slice, beyond), table, expected));
        match coming {
            Some(_) => self.ids.forget_free(),
            None => self.before = self.before.max(beyond),
        }
        if self.let_go() || coming.is_some() {
            self.slide = Some(Slide { coming, numbers: self.ids.beyond() as u32, next: 0 });
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
        let mut coming = self.come((slice, slice.saturating_add(1)), table, expected);
        let is_sparse = self.is_sparse(coming.table.len());
        let Some((_, column)) = self.columns.back_mut() else { return coming.table };
        match is_sparse {
            true => coming.find_sparse(&mut self.ids, column, &mut self.found, hashing),
            false => coming.find(&(0..self.ids.beyond() as u32), &mut self.ids, column, hashing),
        }
        self.ids.sort_free(coming.left());
        while !coming.number_some(&mut self.ids, column, hashing).is_empty() {}
        column.is_changed = coming.table.take_changed();
        self.came(coming).1
    }

    /// Whether so many keys are so few of those with a number that it takes longer to look at those than to put these in order.
    fn is_sparse(&self, keys: usize) -> bool {
        keys < self.ids.beyond() / SPARSE
    }

    /// Whether a slice of so many keys is better sealed at once than a part of the numbers at a time.
    pub(super) fn is_soon_sealed(&self, keys: usize) -> bool {
        keys <= FEW && self.is_sparse(keys)
    }

    /// A slice has come: it is sealed, and its table is not needed any more.
    fn came(&mut self, coming: Coming<K, T>) -> SliceTable<K, T> {
        self.before = self.before.max(coming.beyond);
        self.bits = coming.new;
        (coming.slice, coming.table)
    }

    /// Slides for the keys of the next numbers.
    pub(crate) fn slide_part(&mut self, part: &Range<u32>, hashing: &Hashing<K>) {
        let Some(slide) = &mut self.slide else { return };
        slide.next = part.end;
        let Some((coming, (_, column))) = slide.coming.as_mut().zip(self.columns.back_mut()) else {
            return self.leave(part, false, hashing);
        };
        // First what comes: a key that is in it, too, keeps its number.
        coming.find(part, &mut self.ids, column, hashing);
        self.leave(part, true, hashing);
        self.ids.find_free(part);
    }

    /// Slides on when all numbers are done: gives some of the keys numbers that have none, and says where their entries are,
    /// to be looked at by [`Sealed::latest`]. With the last of them the table of the slice that has come is given back.
    pub(crate) fn slide_on(&mut self, hashing: &Hashing<K>) -> (Range<usize>, Option<SliceTable<K, T>>) {
        let mut places = 0..0;
        let Some(mut slide) = self.slide.take() else { return (places, None) };
        if let (Some(coming), Some((_, column))) = (&mut slide.coming, self.columns.back_mut()) {
            places = coming.number_some(&mut self.ids, column, hashing);
            if coming.left() > 0 {
                self.slide = Some(slide);
                return (places, None);
            }
            column.is_changed = coming.table.take_changed();
        }
        self.remove_gone();
        (places, slide.coming.map(|coming| self.came(coming)))
    }

    /// Entries of the column that came last.
    pub(crate) fn latest(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = (u32, &T)> {
        self.columns.back().into_iter().flat_map(move |(_, column)| column.places(places.clone()))
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Coming<K, T> {
    /// Looks the keys of some numbers up.
    fn find(&mut self, part: &Range<u32>, ids: &mut Ids<K>, column: &mut Column<T>, hashing: &Hashing<K>) {
        for id in part.clone() {
            let Some(key) = ids.key(id) else { continue };
            if let Some(spot) = self.table.spot_of(hashing.hash(key), key) {
                self.take(id, spot, ids, column);
            }
        }
        self.see(Self::SPOTS);
    }

    /// The key at a spot has this number.
    #[inline(always)]
    fn take(&mut self, id: u32, spot: usize, ids: &mut Ids<K>, column: &mut Column<T>) {
        if let Some((_, partial)) = self.table.at(spot) {
            column.push(ids.enter_again(id), partial.clone(), true);
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
        found.drain(..).for_each(|(id, spot)| self.take(id, spot as usize, ids, column));
    }

    /// Gives some keys a number, in the order of their spots; the places of their entries.
    fn number_some(
        &mut self,
        ids: &mut Ids<K>,
        column: &mut Column<T>,
        hashing: &Hashing<K>,
    ) -> Range<usize> {
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
                let id = ids.number(hashing.hash(key), key, self.table.len(), hashing);
                column.push(id, partial.clone(), false);
                self.numbered += 1;
            }
        }
        from..column.len()
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
        /// Seals a slice: at once, or so many numbers at a time.
        fn seal(&mut self, slice: i64, keys: impl Iterator<Item = u32>, step: Option<u32>) {
            let mut table = Entries::new();
            for (key, value) in keys.zip(slice as u64..) {
                let hash = self.hashing.hash(&key);
                if table.get_mut(hash, &key).is_none() {
                    table.insert(hash, key, value, (0, 0), &self.hashing);
                    self.map.insert((slice, key), value);
                }
            }
            let table = match step {
                None => self.sealed.seal(slice, table, 0, &self.hashing),
                Some(step) => self.slide(slice, table, step),
            };
            let entries = table.iter().map(|(&key, &value)| ((slice, key), value));
            let of_slice = self.map.range((slice, 0)..).map(|(&at, &value)| (at, value));
            assert_eq!(entries.collect::<BTreeMap<_, _>>(), of_slice.collect());
        }

        fn slide(&mut self, slice: i64, table: Entries<u32, u64>, step: u32) -> Entries<u32, u64> {
            self.sealed.begin_slide(slice + 1, Some((slice, table)), 0);
            let ids = self.sealed.ids.beyond() as u32;
            let mut part = 0..0;
            while part.end < ids {
                self.check_coming(true);
                part = part.end..(part.end + step).min(ids);
                self.sealed.slide_part(&part, &self.hashing);
            }
            loop {
                self.check_coming(false);
                let (places, table) = self.sealed.slide_on(&self.hashing);
                let ids: Vec<u32> = self.sealed.latest(places).map(|(id, _)| id).collect();
                assert!(ids.is_sorted() && (table.is_some() || !ids.is_empty()));
                if let Some((came, table)) = table {
                    assert_eq!(came, slice);
                    return table;
                }
            }
        }

        /// Each key of the slice that comes is found by its number if it has one, and else by its spot.
        fn check_coming(&self, by_number: bool) {
            let coming = self.sealed.coming().unwrap();
            let mut spot = coming.spot;
            let found = core::iter::from_fn(|| self.sealed.next_new(&mut spot, &self.hashing));
            let found: Vec<u32> = found.flatten().copied().collect();
            let new: BTreeSet<u32> = found.iter().copied().collect();
            assert_eq!(found.len(), coming.table.iter().filter(|(key, _)| new.contains(key)).count());
            if by_number {
                let ids = 0..self.sealed.ids.beyond() as u32;
                let known = ids.filter(|&id| self.sealed.comes_with(id, &self.hashing)).count();
                assert_eq!(new.len() + known, coming.table.len());
            } else {
                assert_eq!(new.len(), coming.left());
            }
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
            slices in prop::collection::vec((1..4i64, 1..80usize, 1..9u32, late(), step(), any::<bool>()), 1..24),
            kept in 1..20i64,
            seed: u64,
        ) {
            let hashing = Hashing::new(Some(seed));
            let mut both = Both { hashing, sealed: Sealed::new(), map: BTreeMap::new() };
            let mut slice = 0;
            for (gap, count, stride, late, step, leaves) in slices {
                slice += gap;
                // Now a few keys of many, now the same ones again.
                both.seal(slice, (0..count as u32).map(|n| n * stride), step);
                both.check();
                // (Nothing comes into what has expired.)
                let late = late.iter().filter(|(back, _)| (slice - gap - kept..).contains(&(slice - back)));
                late.for_each(|&(back, key)| both.add(slice - back, key));
                both.check();
                both.expire_before(slice - kept);
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

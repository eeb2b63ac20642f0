//! The partials of one slice, by the index of their key.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter::repeat_n;
use core::mem::{needs_drop, size_of};

use super::hashing::Numbering;
use super::{Marks, PutEntry, Run, with_slack};

/// Indices next to each other that get room at once.
const PAGE: usize = 256;
/// Bits in a word of them.
const WORD: usize = u64::BITS as usize;

/// For each index a bit that says whether its key is here, and in pages that come as keys do, a place for its partial:
/// one look into each finds it. Places whose key is not here hold whatever they held before, which is why partials are
/// only those that nobody needs to drop.
#[derive(Debug)]
pub(crate) struct Dense<K, T> {
    numbering: Numbering<K>,
    present: Vec<u64>,
    /// A page no key has been in has no places.
    partials: Vec<Box<[T]>>,
    keys: Vec<Box<[K]>>,
    len: usize,
    /// Pages that have places.
    pages: usize,
    /// What a snapshot still has to hold.
    marks: Option<Marks<K, T>>,
}

impl<K, T> Dense<K, T> {
    /// Whether partials of this type can be kept like this.
    pub(crate) const fn suits() -> bool {
        !needs_drop::<T>() && !needs_drop::<K>()
    }

    pub(crate) fn new(numbering: Numbering<K>) -> Self {
        let (present, partials, keys) = (Vec::new(), Vec::new(), Vec::new());
        Self { numbering, present, partials, keys, len: 0, pages: 0, marks: None }
    }

    /// The index that a hash stands for, if it does.
    #[inline]
    pub(crate) fn index(&self, hash: u64) -> Option<usize> {
        self.numbering.index(hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Indices from here on have no place.
    pub(crate) fn spots(&self) -> usize {
        self.partials.len() * PAGE
    }

    pub(crate) fn capacity(&self) -> usize {
        self.pages * PAGE
    }

    const PER_PAGE: usize = PAGE / WORD * size_of::<u64>() + size_of::<Box<[T]>>() + size_of::<Box<[K]>>();

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.partials.capacity() * Self::PER_PAGE
            + self.pages * PAGE * (size_of::<T>() + size_of::<K>())
    }

    /// By how many bytes, and by room for how many entries, a new key with this index makes it grow.
    pub(crate) fn growth(&self, index: usize) -> (usize, usize) {
        if self.has_room(index) {
            return (0, 0);
        }
        let headers = self.headers_for(index / PAGE + 1) - self.partials.capacity();
        (headers * Self::PER_PAGE + PAGE * (size_of::<T>() + size_of::<K>()), PAGE)
    }

    /// How many pages there are headers for where so many are needed.
    fn headers_for(&self, pages: usize) -> usize {
        if pages > self.partials.capacity() { with_slack(pages) } else { self.partials.capacity() }
    }

    #[inline(always)]
    pub(crate) fn has(&self, index: usize) -> bool {
        self.present.get(index / WORD).is_some_and(|word| word >> (index % WORD) & 1 == 1)
    }

    /// Whether there is a place for this index.
    #[inline]
    pub(crate) fn has_room(&self, index: usize) -> bool {
        self.partials.get(index / PAGE).is_some_and(|page| !page.is_empty())
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        if !self.has(index) {
            return None;
        }
        self.place_mut(index)
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        if !self.has(index) {
            return None;
        }
        self.partials.get(index / PAGE)?.get(index % PAGE)
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> Option<(&K, &T)> {
        Some((self.keys.get(index / PAGE)?.get(index % PAGE)?, self.get(index)?))
    }

    /// Which of the 32 indices from `from` on, a multiple of that, are here, as bits.
    #[inline]
    pub(crate) fn occupied(&self, from: usize) -> u32 {
        self.present.get(from / WORD).map_or(0, |word| (word >> (from % WORD)) as u32)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        let words = self.present.iter().enumerate().filter(|&(_, &word)| word != 0);
        words.flat_map(|(at, _)| at * WORD..(at + 1) * WORD).filter_map(|index| self.at(index))
    }

    /// Whether all of these are here.
    #[inline(always)]
    pub(crate) fn has_all(&self, indices: &[u32]) -> bool {
        indices.iter().all(|&index| self.has(index as usize))
    }

    /// Whether there is a place for all of these of a block.
    #[inline(always)]
    pub(crate) fn have_room(&self, indices: &[u32], places: &[u8]) -> bool {
        places.iter().fold(true, |all, &place| all & self.has_room(indices[usize::from(place)] as usize))
    }

    /// The place of an index, whether that is here or not.
    #[inline(always)]
    pub(crate) fn place_mut(&mut self, index: usize) -> Option<&mut T> {
        self.partials.get_mut(index / PAGE)?.get_mut(index % PAGE)
    }

    /// From here on an index is here, and its place is to be set; whether it was not.
    #[inline(always)]
    pub(crate) fn mark(&mut self, index: usize) -> bool {
        let Some(word) = self.present.get_mut(index / WORD) else { return false };
        let is_new = *word >> (index % WORD) & 1 == 0;
        *word |= 1 << (index % WORD);
        self.len += usize::from(is_new);
        is_new
    }

    /// Adds an entry whose index is not here yet, if there is a place for it.
    #[inline]
    pub(crate) fn put(&mut self, index: usize, partial: T) -> bool {
        let has_room = self.has_room(index);
        if has_room {
            self.mark(index);
            if let Some(place) = self.place_mut(index) {
                *place = partial;
            }
        }
        has_room
    }

    /// Forgets all entries. If there are some it also frees pages that have none: where keys were once need not be where
    /// they are.
    pub(crate) fn clear(&mut self) {
        if self.len == 0 {
            return;
        }
        let words = self.present.chunks(PAGE / WORD);
        for ((words, partials), keys) in words.zip(&mut self.partials).zip(&mut self.keys) {
            if !partials.is_empty() && words.iter().all(|&word| word == 0) {
                (*partials, *keys) = (Box::default(), Box::default());
                self.pages -= 1;
            }
        }
        self.present.fill(0);
        self.len = 0;
        self.marks = None;
    }

    // A snapshot that is being taken, as of a table.

    pub(crate) fn begin_cut(&mut self, put: PutEntry<K, T>) {
        self.marks = Some(Marks::new(put, self.spots()));
    }

    pub(crate) fn end_cut(&mut self) {
        self.marks = None;
    }

    /// Holds an entry that is about to change; whether it is there. One that comes now comes too late.
    pub(crate) fn hold(&mut self, index: usize) -> bool {
        if let Some(mut marks) = self.marks.take() {
            marks.hold(index, |index| self.at(index));
            self.marks = Some(marks);
        }
        self.has(index)
    }

    /// The same in two steps, as of a table.
    #[inline(always)]
    pub(crate) fn note(&mut self, index: usize) -> bool {
        self.marks.as_mut().is_some_and(|marks| marks.note(index))
    }

    pub(crate) fn put_held(&mut self, index: usize) {
        if let Some(mut marks) = self.marks.take() {
            marks.put(index, |index| self.at(index));
            self.marks = Some(marks);
        }
    }

    pub(crate) fn hold_some(&mut self, most: usize) -> usize {
        let Some(mut marks) = self.marks.take() else { return 0 };
        let looked = marks.hold_some(most, |index| self.at(index));
        self.marks = Some(marks);
        looked
    }

    #[inline]
    pub(crate) fn left_to_hold(&self) -> usize {
        self.marks.as_ref().map_or(0, Marks::left)
    }

    pub(crate) fn take_held(&mut self) -> Run {
        self.marks.as_mut().map_or(Run::new(), Marks::take)
    }
}

impl<K, T: Clone> Dense<K, T> {
    /// Adds an entry whose index is not here yet.
    pub(crate) fn insert(&mut self, index: usize, partial: T) {
        if !self.has_room(index) {
            self.add_page(index / PAGE, &partial);
        }
        self.put(index, partial);
    }

    fn add_page(&mut self, page: usize, partial: &T) {
        if page >= self.partials.len() {
            let pages = page + 1;
            let more = self.headers_for(pages) - self.partials.len();
            self.partials.reserve_exact(more);
            self.keys.reserve_exact(more);
            self.present.reserve_exact(more * PAGE / WORD);
            self.partials.resize_with(pages, Box::default);
            self.keys.resize_with(pages, Box::default);
            self.present.resize(pages * PAGE / WORD, 0);
        }
        self.partials[page] = repeat_n(partial, PAGE).cloned().collect();
        self.keys[page] = (page * PAGE..(page + 1) * PAGE).map(|index| self.numbering.key(index)).collect();
        self.pages += 1;
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::Hashing;
    use super::*;

    fn dense() -> Dense<u32, u64> {
        let mut hashing = Hashing::new(Some(1));
        hashing.number();
        Dense::new(*hashing.numbering().unwrap())
    }

    fn check(dense: &Dense<u32, u64>, map: &BTreeMap<u32, u64>) {
        assert_eq!(dense.iter().map(|(&key, &value)| (key, value)).collect::<BTreeMap<_, _>>(), *map);
        let found = (0..dense.spots()).step_by(32).flat_map(|from| {
            let bits = dense.occupied(from);
            (0..32).filter(move |i| bits >> i & 1 == 1).map(move |i| (from + i) as u32)
        });
        assert!(found.eq(map.keys().copied()));
        assert_eq!(dense.len(), map.len());
        for (&index, value) in map {
            assert_eq!(dense.get(index as usize), Some(value));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn indices_are_a_map(rounds in prop::collection::vec(prop::collection::vec(0..9000u32, 0..60), 1..6)) {
            let mut dense = dense();
            for indices in rounds {
                let mut map = BTreeMap::new();
                for index in indices {
                    *map.entry(index).or_insert(0) += 1;
                    let growth = dense.growth(index as usize);
                    let before = (dense.bytes(), dense.capacity());
                    match dense.get_mut(index as usize) {
                        Some(count) => *count += 1,
                        None => dense.insert(index as usize, 1),
                    }
                    // (What it is said to grow by is what it grows by.)
                    assert_eq!((dense.bytes(), dense.capacity()), (before.0 + growth.0, before.1 + growth.1));
                }
                check(&dense, &map);
                // What was there is not there any more, and pages stay that had something.
                dense.clear();
                check(&dense, &BTreeMap::new());
                let mut pages: Vec<u32> = map.keys().map(|index| index / PAGE as u32).collect();
                pages.dedup();
                assert!(map.is_empty() || dense.capacity() == pages.len() * PAGE);
            }
        }
    }
}

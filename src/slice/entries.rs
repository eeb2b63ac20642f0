//! The partials of one slice: of keys with an index by that, of all others in a table.

use alloc::boxed::Box;
use core::hash::Hash;
use core::mem::size_of;

use super::{Dense, Exit, Hashing, PutEntry, Run, Table, spots_for};
use crate::key::ToKey;

/// Entries are found by the hash of their keys, which tells the index of a key that has one. A *spot* is an entry's
/// position, stable until the next insertion: first those of the table, then the indices.
#[derive(Debug)]
pub(crate) struct Entries<K, T> {
    table: Table<K, T>,
    dense: Option<Box<Dense<K, T>>>,
    /// Something has changed since the last snapshot.
    is_changed: bool,
}

impl<K, T> Entries<K, T> {
    pub(crate) const fn new() -> Self {
        Self { table: Table::new(), dense: None, is_changed: false }
    }

    /// For keys that may have an index.
    pub(crate) fn with(hashing: &Hashing<K>) -> Self {
        let dense = hashing.numbering().map(|&numbering| Box::new(Dense::new(numbering)));
        Self { table: Table::new(), dense, is_changed: false }
    }

    /// The dense part, and the index there of a key with this hash, if it has one.
    #[inline]
    fn indexed(&self, hash: u64) -> Option<(&Dense<K, T>, usize)> {
        let dense = self.dense.as_deref()?;
        dense.index(hash).map(|index| (dense, index))
    }

    #[inline]
    fn indexed_mut(&mut self, hash: u64) -> Option<(&mut Dense<K, T>, usize)> {
        let dense = self.dense.as_deref_mut()?;
        dense.index(hash).map(|index| (dense, index))
    }

    /// Something changes.
    #[inline(always)]
    pub(crate) fn change(&mut self) {
        self.is_changed = true;
    }

    /// Those of keys with an index.
    #[inline(always)]
    pub(crate) fn dense_mut(&mut self) -> Option<&mut Dense<K, T>> {
        self.dense.as_deref_mut()
    }

    /// Those of all other keys.
    #[inline(always)]
    pub(crate) fn table_mut(&mut self) -> &mut Table<K, T> {
        &mut self.table
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len() + self.dense.as_ref().map_or(0, |dense| dense.len())
    }

    /// Heap that the partials own.
    pub(crate) fn heap(&self) -> usize {
        self.table.heap()
    }

    pub(crate) fn add_heap(&mut self, before: usize, after: usize) {
        self.table.add_heap(before, after);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.table.capacity() + self.dense.as_ref().map_or(0, |dense| dense.capacity())
    }

    /// Bytes allocated, entries' heap included.
    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.dense.as_ref().map_or(0, |dense| dense.bytes())
    }

    /// Whether one more entry makes nothing grow and frees nothing that has been outgrown.
    #[inline]
    pub(crate) fn has_room(&self, hash: u64) -> bool {
        match self.indexed(hash) {
            Some((dense, index)) => dense.has_room(index),
            None => self.table.has_room(),
        }
    }

    /// By how many bytes, and by room for how many entries, a new key makes these grow, where `expected` entries may
    /// come.
    pub(crate) fn growth(&self, hash: u64, expected: usize) -> (usize, usize) {
        match self.indexed(hash) {
            Some((dense, index)) => dense.growth(index),
            None => self.table.growth(expected),
        }
    }

    /// The same for the first key where there are none.
    pub(crate) fn growth_of_new(hash: u64, expected: usize, hashing: &Hashing<K>) -> (usize, usize) {
        let entries = Self::with(hashing);
        let header = if entries.dense.is_some() { size_of::<Dense<K, T>>() } else { 0 };
        let (bytes, room) = entries.growth(hash, expected);
        (header + bytes, room)
    }

    /// Whether a table for `expected` entries would be larger.
    pub(crate) fn is_small(&self, expected: usize) -> bool {
        self.dense.is_none() && self.table.spots() < spots_for(expected)
    }

    /// Whether nobody should keep these for others to come of which there are `expected`.
    pub(crate) fn is_oversized(&self, expected: usize) -> bool {
        self.capacity() == 0 || self.table.capacity() > 4 * expected.max(16)
    }

    /// Whether they take long to clear.
    pub(crate) fn is_laborious(&self) -> bool {
        self.table.is_laborious()
    }

    /// Drops the entries of some spots, from `spot` on, which moves on; whether there are no entries any more.
    pub(crate) fn clear_some(&mut self, spot: &mut usize) -> bool {
        let is_done = self.table.clear_some(spot);
        if is_done {
            self.clear();
        }
        is_done
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
        if let Some(dense) = &mut self.dense {
            dense.clear();
        }
    }

    /// Nobody needs them any more.
    pub(super) fn leave(self, exit: &mut Exit) {
        self.table.leave(exit);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.table.iter().chain(self.dense.iter().flat_map(|dense| dense.iter()))
    }

    /// The first spot of an index.
    fn first_dense(&self) -> usize {
        // (So that no run of spots has both.)
        self.table.spots().next_multiple_of(u32::BITS as usize)
    }

    pub(crate) fn spots(&self) -> usize {
        self.dense.as_ref().map_or(self.table.spots(), |dense| self.first_dense() + dense.spots())
    }

    /// Which of the 32 spots from `from` on, a multiple of that, have an entry, as bits.
    #[inline]
    pub(crate) fn occupied(&self, from: usize) -> u32 {
        match &self.dense {
            Some(dense) if from >= self.first_dense() => dense.occupied(from - self.first_dense()),
            _ => self.table.occupied(from),
        }
    }

    #[inline]
    pub(crate) fn at(&self, spot: usize) -> Option<(&K, &T)> {
        match &self.dense {
            Some(dense) if spot >= self.first_dense() => dense.at(spot - self.first_dense()),
            _ => self.table.at(spot),
        }
    }
}

// A snapshot that is being taken.
impl<K, T> Entries<K, T> {
    /// Whether something has changed since this was asked for last.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.is_changed)
    }

    /// Begins to hold what is here now.
    pub(crate) fn begin_cut(&mut self, put: PutEntry<K, T>) {
        self.table.begin_cut(put);
        if let Some(dense) = &mut self.dense {
            dense.begin_cut(put);
        }
    }

    /// Whether a snapshot still has to hold something of it.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.table.is_cut()
    }

    /// No snapshot has to hold anything of it any more.
    pub(crate) fn end_cut(&mut self) {
        self.table.end_cut();
        if let Some(dense) = &mut self.dense {
            dense.end_cut();
        }
    }

    /// What has been held since this was asked for last.
    pub(crate) fn take_held(&mut self) -> Run {
        let mut run = self.table.take_held();
        if let Some(dense) = &mut self.dense {
            run.append(dense.take_held());
        }
        run
    }

    /// Holds some entries, and gives out what has been held; at how many spots it has looked.
    pub(crate) fn hold_some(&mut self, most: usize) -> (Run, usize) {
        let mut looked = self.table.hold_some(most);
        if let Some(dense) = &mut self.dense {
            looked += dense.hold_some(most.saturating_sub(looked));
        }
        (self.take_held(), looked)
    }

    /// How much is still to be held, in groups of entries.
    #[inline]
    pub(crate) fn left_to_hold(&self) -> usize {
        self.table.left_to_hold() + self.dense.as_ref().map_or(0, |dense| dense.left_to_hold())
    }
}

impl<K: Hash + Eq + Clone, T> Entries<K, T> {
    /// Holds an entry that is about to change; whether it is there.
    pub(crate) fn hold<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> bool {
        match self.indexed_mut(hash) {
            Some((dense, index)) => dense.hold(index),
            None => self.table.hold(hash, key),
        }
    }

    /// The partial of a key, if it is not among those that a table has still to move: what is there nearly always.
    #[inline(always)]
    pub(crate) fn get_near<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        match self.dense.as_deref_mut() {
            Some(dense) if let Some(index) = dense.index(hash) => dense.get_mut(index),
            _ => self.table.get_moved(hash, key),
        }
    }

    /// The partial of a key, if it is among those.
    #[inline]
    pub(crate) fn get_far<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        self.table.get_unmoved(hash, key)
    }

    #[inline]
    pub(crate) fn get_mut<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        match self.dense.as_deref_mut() {
            Some(dense) if let Some(index) = dense.index(hash) => dense.get_mut(index),
            _ => self.table.get_mut(hash, key),
        }
    }

    #[inline]
    pub(crate) fn get<Q: ToKey<K>>(&self, hash: u64, key: &Q) -> Option<&T> {
        match self.indexed(hash) {
            Some((dense, index)) => dense.get(index),
            None => self.table.get(hash, key),
        }
    }

    pub(crate) fn spot_of(&self, hash: u64, key: &K) -> Option<usize> {
        match self.indexed(hash) {
            Some((dense, index)) => dense.has(index).then(|| self.first_dense() + index),
            None => self.table.spot_of(hash, key),
        }
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Entries<K, T> {
    /// Adds an entry whose key is not there yet, with room for more where `expected` entries may come.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        key: K,
        partial: T,
        (heap, expected): (usize, usize),
        hashing: &Hashing<K>,
    ) {
        self.is_changed = true;
        if let Some((dense, index)) = self.indexed_mut(hash) {
            // (It comes too late for a snapshot.)
            dense.hold(index);
            dense.insert(index, partial);
            return self.table.add_heap(0, heap);
        }
        self.table.grow(expected, hashing);
        self.table.insert(hash, key, partial, heap, hashing);
    }
}

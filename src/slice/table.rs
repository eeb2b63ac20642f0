//! The partials of one slice, by key.

use core::hash::{BuildHasher, Hash};
use core::mem::size_of;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;

use crate::key::ToKey;

/// How keys are hashed: seeded, so that nobody can choose keys that collide (E3).
#[derive(Clone, Debug)]
pub(crate) struct Hashing(SeedableRandomState);

impl Hashing {
    /// With the seed of a configuration, or one of the process's own.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(match seed {
            Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            None => SeedableRandomState::random(),
        })
    }

    #[inline(always)]
    pub(crate) fn hash<Q: Hash>(&self, key: &Q) -> u64 {
        self.0.hash_one(key)
    }
}

impl BuildHasher for Hashing {
    type Hasher = <SeedableRandomState as BuildHasher>::Hasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// The spots that a table for so many entries has: a power of two, seven eighths of which are used.
pub(crate) fn spots_for(entries: usize) -> usize {
    (entries.saturating_mul(8) / 7 + 1).next_power_of_two().max(4)
}

/// Bytes that so many spots take: the entries, a byte of control each, and what a group of those is read at once.
pub(crate) fn table_bytes<E>(spots: usize) -> usize {
    const GROUP: usize = 16;
    (spots * size_of::<E>()).next_multiple_of(GROUP) + spots + GROUP
}

/// A hash table from keys to partials, which also knows what heap the partials own.
///
/// Hashes are computed by the caller, once per event. A *spot* is an entry's position, stable until the
/// next insertion.
#[derive(Debug)]
pub(crate) struct Table<K, T> {
    entries: HashTable<(K, T)>,
    /// Heap owned by the partials, as the aggregate tells it.
    heap: usize,
}

impl<K, T> Table<K, T> {
    pub(crate) const fn new() -> Self {
        Self { entries: HashTable::new(), heap: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Bytes allocated, entries' heap included.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.allocation_size() + self.heap
    }

    /// Whether one more entry makes the table grow.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.entries.capacity()
    }

    /// Bytes by which one more entry makes the table grow, where `expected` entries may come.
    pub(crate) fn growth(&self, expected: usize) -> usize {
        if !self.is_full() {
            return 0;
        }
        // While the entries move both tables are there.
        Self::bytes_for(self.len() + self.additional(expected))
    }

    /// Bytes that a table of so many keys takes.
    pub(crate) fn bytes_for(keys: usize) -> usize {
        table_bytes::<(K, T)>(Self::spots_for(keys))
    }

    /// Keeps the entries that `keep` says to, after what it does to their partials.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.entries.retain(|(_, partial)| keep(partial));
    }

    /// The spots that a table for so many keys has.
    pub(crate) fn spots_for(keys: usize) -> usize {
        spots_for(keys)
    }

    /// By how many entries to grow: twofold, or eightfold on the way to what is expected, which saves most
    /// of the moving and never takes more memory than the slices before took.
    fn additional(&self, expected: usize) -> usize {
        let len = self.len().max(1);
        len.max(expected.min(8 * len).saturating_sub(len))
    }

    pub(crate) fn add_heap(&mut self, before: usize, after: usize) {
        self.heap = self.heap + after - before;
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.heap = 0;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.entries.iter().map(|(key, partial)| (key, partial))
    }

    pub(crate) fn spots(&self) -> usize {
        self.entries.num_buckets()
    }

    /// Which of the 32 spots from `from` on have an entry, as bits.
    #[inline]
    pub(crate) fn occupied(&self, from: usize) -> u32 {
        (0..u32::BITS)
            .fold(0, |mask, i| mask | u32::from(self.entries.get_bucket(from + i as usize).is_some()) << i)
    }

    #[inline]
    pub(crate) fn at(&self, spot: usize) -> Option<(&K, &T)> {
        self.entries.get_bucket(spot).map(|(key, partial)| (key, partial))
    }
}

impl<K: Hash + Eq, T> Table<K, T> {
    /// Makes room for one more entry.
    pub(crate) fn grow(&mut self, expected: usize, hashing: &Hashing) {
        if self.is_full() {
            self.entries.reserve(self.additional(expected), |(key, _)| hashing.hash(key));
        }
    }

    #[inline(always)]
    pub(crate) fn get_mut<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        self.entries.find_mut(hash, |(k, _)| key.is(k)).map(|(_, partial)| partial)
    }

    #[inline]
    pub(crate) fn get<Q: ToKey<K>>(&self, hash: u64, key: &Q) -> Option<&T> {
        self.entries.find(hash, |(k, _)| key.is(k)).map(|(_, partial)| partial)
    }

    pub(crate) fn spot_of(&self, hash: u64, key: &K) -> Option<usize> {
        self.entries.find_bucket_index(hash, |(k, _)| k == key)
    }

    /// Adds an entry whose key is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: K, partial: T, heap: usize, hashing: &Hashing) -> &mut T {
        self.heap += heap;
        let entry = self.entries.insert_unique(hash, (key, partial), |(key, _)| hashing.hash(key));
        &mut entry.into_mut().1
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &K) {
        if let Ok(entry) = self.entries.find_entry(hash, |(k, _)| k == key) {
            entry.remove();
        }
    }
}

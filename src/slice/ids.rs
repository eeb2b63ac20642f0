//! Numbers for the keys of sealed slices.

use alloc::collections::VecDeque;
use core::hash::Hash;
use core::ops::Range;

use super::{Exit, Hashing, Paged, Table};
use crate::key::ToKey;

/// Gives each key a small number for as long as a sealed slice has it, so that what is known of keys can stand in
/// columns and no key is hashed where slices are combined.
#[derive(Debug)]
pub(crate) struct Ids<K> {
    index: Table<K, u32>,
    /// By number; `None` where the number is free.
    keys: Paged<Option<K>>,
    /// In how many slices each key is.
    uses: Paged<u32>,
    /// Ascending when many keys get numbers, one after the other.
    free: VecDeque<u32>,
}

impl<K> Ids<K> {
    pub(crate) const fn new() -> Self {
        Self { index: Table::new(), keys: Paged::new(), uses: Paged::new(), free: VecDeque::new() }
    }

    /// No key has a number any more.
    pub(super) fn clear(&mut self, exit: &mut Exit) {
        let Self { index, keys, uses, .. } = core::mem::replace(self, Self::new());
        index.leave(exit);
        keys.leave(exit);
        uses.leave(exit);
    }

    /// All numbers are below this.
    pub(crate) fn beyond(&self) -> usize {
        self.keys.len()
    }

    #[inline(always)]
    pub(crate) fn key(&self, id: u32) -> Option<&K> {
        self.keys.get(id as usize)?.as_ref()
    }

    pub(crate) fn bytes(&self) -> usize {
        let free = self.free.capacity() * size_of::<u32>();
        self.index.bytes() + self.keys.bytes() + self.uses.bytes() + free
    }

    /// Bytes that the numbers of so many keys take at most.
    pub(crate) fn bytes_for(keys: usize) -> usize {
        let index = Table::<K, u32>::most_bytes_for(keys);
        let free = keys * size_of::<u32>();
        index + Paged::<Option<K>>::bytes_for(keys) + Paged::<u32>::bytes_for(keys) + free
    }
}

impl<K: Hash + Eq + Clone> Ids<K> {
    /// The number of a key that a sealed slice has.
    #[inline]
    pub(crate) fn get<Q: ToKey<K>>(&self, hash: u64, key: &Q) -> Option<u32> {
        self.index.get(hash, key).copied()
    }

    /// The number of a key that one more slice has.
    #[inline]
    pub(crate) fn enter(&mut self, hash: u64, key: &K, hashing: &Hashing<K>) -> u32 {
        match self.index.get(hash, key) {
            Some(&id) => self.enter_again(id),
            None => self.number(hash, key, 0, hashing),
        }
    }

    /// One more slice has a key.
    #[inline(always)]
    pub(super) fn enter_again(&mut self, id: u32) -> u32 {
        self.uses[id as usize] += 1;
        id
    }

    /// Gives a key a number, which one slice has, where so many keys may have one soon.
    #[inline(never)]
    pub(super) fn number(&mut self, hash: u64, key: &K, expected: usize, hashing: &Hashing<K>) -> u32 {
        let id = self.free.pop_front().unwrap_or_else(|| {
            self.keys.push(None);
            self.uses.push(0);
            (self.keys.len() - 1) as u32
        });
        self.keys[id as usize] = Some(key.clone());
        self.uses[id as usize] = 1;
        self.index.grow(expected, hashing);
        self.index.insert(hash, key.clone(), id, 0, hashing);
        id
    }

    /// One slice fewer has a key: with the last of them its number becomes free. (Those of many keys are looked for afterwards,
    /// so that they are in order.)
    #[inline]
    pub(super) fn leave(&mut self, id: u32, is_looked_for: bool, hashing: &Hashing<K>) {
        let uses = &mut self.uses[id as usize];
        *uses -= 1;
        if *uses == 0
            && let Some(key) = self.keys[id as usize].take()
        {
            self.index.remove(hashing.hash(&key), &key);
            if !is_looked_for {
                self.push_free(id);
            }
        }
    }

    fn push_free(&mut self, id: u32) {
        if self.free.len() == self.free.capacity() {
            self.free.reserve_exact(self.keys.len() - self.free.len());
        }
        self.free.push_back(id);
    }

    /// No number is known to be free: all are looked at again.
    pub(super) fn forget_free(&mut self) {
        self.free.clear();
    }

    /// Looks for free numbers among the next ones.
    pub(super) fn find_free(&mut self, ids: &Range<u32>) {
        for id in ids.clone() {
            if self.keys[id as usize].is_none() {
                self.push_free(id);
            }
        }
    }

    /// Puts so many of the free numbers, which are given next, in order.
    pub(super) fn sort_free(&mut self, count: usize) {
        let count = count.min(self.free.len());
        if self.free.as_slices().0.len() < count {
            self.free.make_contiguous();
        }
        self.free.as_mut_slices().0[..count].sort_unstable();
    }

    /// Returns all memory once no key has a number.
    pub(super) fn shrink(&mut self, exit: &mut Exit) {
        if self.index.is_empty() {
            self.clear(exit);
        }
    }
}

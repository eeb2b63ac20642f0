//! The front of the two stacks: what leaves next, slice by slice.

use alloc::vec::Vec;
use core::hash::Hash;

use super::{Algebra, Store, Table};
use crate::aggregate::Aggregate;

/// For each key, a chain with one node for each slice that has it, earliest first. A node holds the
/// combination of its slice and all later ones of the front, so that evicting a slice is moving the
/// chain's head on. There are as many nodes as the slices have entries, however the keys are spread.
#[derive(Debug)]
pub(crate) struct Front<K, T> {
    heads: Table<K, u32>,
    nodes: Vec<Node<T>>,
    /// The slices to turn over; kept for its memory.
    slices: Vec<i64>,
    /// Heap owned by the nodes' partials, as the aggregate tells it.
    heap: usize,
}

#[derive(Debug)]
struct Node<T> {
    slice: i64,
    whole: T,
    next: u32,
}

const END: u32 = u32::MAX;

impl<K, T> Front<K, T> {
    pub(crate) fn new() -> Self {
        Self { heads: Table::new(), nodes: Vec::new(), slices: Vec::new(), heap: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.heads.bytes()
            + self.nodes.capacity() * size_of::<Node<T>>()
            + self.slices.capacity() * size_of::<i64>()
            + self.heap
    }

    /// Bytes that a front of so many entries takes.
    pub(crate) fn bytes_for(entries: usize) -> usize {
        with_slack(entries) * size_of::<Node<T>>() + Table::<K, u32>::bytes_for(entries)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(crate) fn occupied(&self, from: usize) -> u32 {
        self.heads.occupied(from)
    }

    pub(crate) fn spots(&self) -> usize {
        self.heads.spots()
    }

    #[inline]
    pub(crate) fn at(&self, spot: usize) -> Option<(&K, &T)> {
        let (key, &head) = self.heads.at(spot)?;
        Some((key, &self.nodes.get(head as usize)?.whole))
    }

    /// Evicts the slices before `slice`. O(keys), as is firing what is left.
    pub(crate) fn evict_before(&mut self, slice: i64) {
        let nodes = &self.nodes;
        self.heads.retain(|head| {
            while let Some(node) = nodes.get(*head as usize)
                && node.slice < slice
            {
                *head = node.next;
            }
            *head != END
        });
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.nodes.clear();
        self.heap = 0;
    }
}

impl<K: Hash + Eq + Clone, T> Front<K, T> {
    pub(crate) fn contains(&self, hash: u64, key: &K) -> bool {
        self.heads.get(hash, key).is_some()
    }

    pub(crate) fn spot_of(&self, hash: u64, key: &K) -> Option<usize> {
        self.heads.spot_of(hash, key)
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Front<K, T> {
    /// Becomes the front of the slices `[first, beyond)`.
    pub(crate) fn turn_over<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (first, beyond): (i64, i64),
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        self.clear();
        let mut slices = core::mem::take(&mut self.slices);
        slices.clear();
        slices.extend(store.live_in(first, beyond));
        let tables = || slices.iter().rev().filter_map(|&slice| Some((slice, store.get(slice)?)));
        let entries = tables().map(|(_, table)| table.len()).sum();
        if entries > self.nodes.capacity() {
            self.nodes.reserve_exact(with_slack(entries));
        }
        for (slice, table) in tables() {
            for (key, partial) in table.iter() {
                let hash = algebra.hashing.hash(key);
                let next = self.heads.get(hash, key).copied().unwrap_or(END);
                let head = self.put(None, slice, partial, next, algebra);
                self.set_head(hash, key, head, algebra);
            }
        }
        self.slices = slices;
    }

    /// Makes a key's chain anew after its partial in one of the slices `[first, beyond)` changed.
    pub(crate) fn repair<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (first, beyond): (i64, i64),
        hash: u64,
        key: &K,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        let mut used = Vec::new();
        let mut node = self.heads.get(hash, key).copied().unwrap_or(END);
        while let Some(found) = self.nodes.get(node as usize) {
            used.push(node);
            node = found.next;
        }
        let slices: Vec<i64> = store.live_in(first, beyond).collect();
        let mut head = END;
        for slice in slices.into_iter().rev() {
            if let Some(partial) = store.get(slice).and_then(|table| table.get(hash, key)) {
                head = self.put(used.pop(), slice, partial, head, algebra);
            }
        }
        if head != END {
            self.set_head(hash, key, head, algebra);
        }
    }

    /// Puts a slice's partial before the chain that starts at `next`, into a node that is free or a new one.
    fn put<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        free: Option<u32>,
        slice: i64,
        partial: &T,
        next: u32,
        algebra: &Algebra<V, A>,
    ) -> u32 {
        let mut whole = partial.clone();
        if let Some(later) = self.nodes.get(next as usize) {
            algebra.aggregate.combine(&mut whole, &later.whole);
        }
        self.heap += algebra.aggregate.heap_bytes(&whole);
        let node = Node { slice, whole, next };
        match free.and_then(|free| Some((free, self.nodes.get_mut(free as usize)?))) {
            Some((free, place)) => {
                self.heap = self.heap.saturating_sub(algebra.aggregate.heap_bytes(&place.whole));
                *place = node;
                free
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        }
    }

    fn set_head<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        hash: u64,
        key: &K,
        head: u32,
        algebra: &Algebra<V, A>,
    ) {
        match self.heads.get_mut(hash, key) {
            Some(known) => *known = head,
            None => {
                self.heads.insert(hash, key.clone(), head, 0, &algebra.hashing);
            }
        }
    }
}

/// Room for a few entries more, so that the next window need not move for them.
fn with_slack(entries: usize) -> usize {
    entries + entries / 8
}

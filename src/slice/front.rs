//! The front of the two stacks: what leaves next, slice by slice.

use alloc::vec::Vec;
use core::hash::Hash;
use core::mem::needs_drop;
use core::ops::Range;

use super::{Algebra, Exit, Paged, Sealed};
use crate::aggregate::Aggregate;

/// For each key, a chain with one node for each slice that has it, earliest first. A node holds the
/// combination of its slice and all later ones of the front, so that evicting a slice is moving the
/// chain's head on. There are as many nodes as the slices have entries, however the keys are spread.
#[derive(Debug)]
pub(crate) struct Front<T> {
    /// By the number of the key.
    heads: Paged<u32>,
    nodes: Paged<Node<T>>,
    /// How many of the nodes are in use. The others are those of slices before, each of which goes when another takes its place: dropping
    /// all partials at once may take long.
    used: usize,
    /// Heap owned by the nodes' partials, as the aggregate tells it.
    heap: usize,
}

#[derive(Debug)]
struct Node<T> {
    whole: T,
    next: u32,
}

const END: u32 = u32::MAX;

impl<T> Front<T> {
    pub(crate) fn new() -> Self {
        Self { heads: Paged::new(), nodes: Paged::new(), used: 0, heap: 0 }
    }

    /// Nobody needs it any more.
    pub(super) fn leave(self, exit: &mut Exit) {
        self.heads.leave(exit);
        self.nodes.leave(exit);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.heads.bytes() + self.nodes.bytes() + self.heap
    }

    /// Bytes that a front of so many entries takes.
    pub(crate) fn bytes_for(entries: usize) -> usize {
        Paged::<Node<T>>::bytes_for(entries) + Paged::<u32>::bytes_for(entries)
    }

    /// The combination of a key's partials.
    #[inline(always)]
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.nodes.get(*self.heads.get(id as usize)? as usize).map(|node| &node.whole)
    }

    /// Evicts entries of the first of the slices.
    pub(crate) fn evict<'a>(&mut self, first: impl Iterator<Item = (u32, &'a T)>)
    where
        T: 'a,
    {
        first.for_each(|(id, _)| {
            if let Some(head) = self.heads.get_mut(id as usize) {
                *head = self.nodes.get(*head as usize).map_or(END, |node| node.next);
            }
        });
    }

    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.nodes.clear();
        (self.used, self.heap) = (0, 0);
    }

    /// Becomes the front of other slices, which have so many entries; they are to be
    /// [put](Self::put_part) into it.
    pub(crate) fn begin(&mut self, entries: usize) {
        if entries == 0 {
            return self.clear();
        }
        // (What is known of a key is of no use until its part comes.)
        self.used = 0;
        if !needs_drop::<T>() {
            self.nodes.clear();
            self.heap = 0;
        }
    }

    /// Some keys have no entries yet.
    pub(crate) fn begin_part(&mut self, ids: &Range<u32>) {
        self.reach(ids.end as usize);
        ids.clone().for_each(|id| self.heads[id as usize] = END);
    }

    /// Puts entries of a slice before those of later ones.
    pub(crate) fn put_part<'a, K, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        part: impl Iterator<Item = (u32, &'a T)>,
        algebra: &Algebra<K, V, A>,
    ) where
        T: Clone + 'a,
    {
        part.for_each(|(id, partial)| {
            self.heads[id as usize] = self.put(None, partial, self.heads[id as usize], algebra);
        });
    }

    /// Has a head for each number below `ids`.
    fn reach(&mut self, ids: usize) {
        self.heads.reach(ids, || END);
    }

    /// Makes a key's chain anew after its partial in one of the slices changed.
    pub(crate) fn repair<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (first, beyond): (i64, i64),
        id: u32,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) where
        T: Clone,
    {
        self.reach(id as usize + 1);
        let mut used = Vec::new();
        let mut node = self.heads[id as usize];
        while let Some(found) = self.nodes.get(node as usize) {
            used.push(node);
            node = found.next;
        }
        let mut head = END;
        for column in sealed.all_in(first..beyond).rev() {
            if let Some(partial) = column.get(id) {
                head = self.put(used.pop(), partial, head, algebra);
            }
        }
        self.heads[id as usize] = head;
    }

    /// Puts a slice's partial before the chain that starts at `next`, into a node that is free or a new one.
    #[inline(always)]
    fn put<K, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        free: Option<u32>,
        partial: &T,
        next: u32,
        algebra: &Algebra<K, V, A>,
    ) -> u32
    where
        T: Clone,
    {
        let mut whole = partial.clone();
        if let Some(later) = self.nodes.get(next as usize) {
            algebra.aggregate.combine(&mut whole, &later.whole);
        }
        self.heap += algebra.aggregate.heap_bytes(&whole);
        let node = Node { whole, next };
        let at = free.unwrap_or(self.used as u32);
        self.used += usize::from(free.is_none());
        match self.nodes.get_mut(at as usize) {
            Some(place) => {
                self.heap = self.heap.saturating_sub(algebra.aggregate.heap_bytes(&place.whole));
                *place = node;
            }
            None => self.nodes.push(node),
        }
        at
    }
}

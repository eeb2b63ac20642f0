//! Panes that are due and whose cells have changed since: as they were then, until they are polled.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Bound::{Excluded, Unbounded};

use super::{Emission, Rank};
use crate::fire::Order;
use crate::slice::Run;

/// Appends a pane with its rank and key.
pub(crate) type PutAside<K, T> = fn(Rank, &K, &Emission<T>, &mut Vec<u8>);

#[derive(Debug)]
pub(crate) struct Asides<K, T> {
    /// Of one rank by key, where output is ordered, or else in the order in which they came.
    by_rank: BTreeMap<Rank, VecDeque<Aside<K, T>>>,
    len: usize,
    /// Heap owned by their partials.
    heap: usize,
    /// How many snapshots have begun.
    cuts: u64,
    /// The one that is being taken.
    cut: Option<Box<Cut<K, T>>>,
}

#[derive(Debug)]
struct Aside<K, T> {
    key: K,
    pane: Emission<T>,
    heap: usize,
    /// How many snapshots had begun when it came.
    cuts: u64,
}

/// What a snapshot that is being taken still has to hold: of those that were there when it began the ones from a place on. What
/// is taken out is the first of all, and is held before; what comes in between is passed.
#[derive(Debug)]
struct Cut<K, T> {
    put: PutAside<K, T>,
    rank: Rank,
    place: usize,
    left: usize,
    run: Run,
}

impl<K, T> Cut<K, T> {
    fn hold(&mut self, aside: &Aside<K, T>, rank: Rank, cuts: u64) {
        if aside.cuts < cuts {
            self.left -= 1;
            self.run.put(|records| (self.put)(rank, &aside.key, &aside.pane, records));
        }
    }
}

impl<K, T> Asides<K, T> {
    pub(super) const fn new() -> Self {
        Self { by_rank: BTreeMap::new(), len: 0, heap: 0, cuts: 0, cut: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.len * Self::BYTES + self.heap
    }

    /// Bytes that each of them takes.
    pub(super) const BYTES: usize = size_of::<Aside<K, T>>();

    pub(super) fn first_rank(&self) -> Option<Rank> {
        self.by_rank.first_key_value().map(|(&rank, _)| rank)
    }

    pub(super) fn last_rank(&self) -> Option<Rank> {
        self.by_rank.last_key_value().map(|(&rank, _)| rank)
    }

    /// The key of the first one at a rank.
    pub(super) fn first_key(&self, rank: Rank) -> Option<&K> {
        self.by_rank.get(&rank)?.front().map(|aside| &aside.key)
    }

    /// All of them, in the order in which they will be handed out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Rank, &K, &Emission<T>)> {
        let each = self.by_rank.iter();
        each.flat_map(|(&rank, panes)| panes.iter().map(move |aside| (rank, &aside.key, &aside.pane)))
    }

    /// Sets a pane aside that owns so much heap.
    pub(super) fn insert(
        &mut self,
        rank: Rank,
        key: K,
        pane: Emission<T>,
        heap: usize,
        order: Option<Order<K>>,
    ) {
        let panes = self.by_rank.entry(rank).or_default();
        let place = match order {
            Some(order) => panes.partition_point(|other| order(&other.key, &key) != Ordering::Greater),
            None => panes.len(),
        };
        panes.insert(place, Aside { key, pane, heap, cuts: self.cuts });
        self.len += 1;
        self.heap += heap;
        if let Some(cut) = self.cut.as_mut().filter(|cut| cut.rank == rank && place < cut.place) {
            cut.place += 1;
        }
    }

    /// Takes the first one out.
    pub(super) fn pop(&mut self) -> Option<(K, Emission<T>)> {
        let mut first = self.by_rank.first_entry()?;
        let rank = *first.key();
        let aside = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        let aside = aside?;
        if let Some(cut) = &mut self.cut {
            if (rank, 0) >= (cut.rank, cut.place) {
                cut.hold(&aside, rank, self.cuts);
            } else if cut.rank == rank {
                cut.place -= 1;
            }
        }
        self.len -= 1;
        self.heap -= aside.heap;
        Some((aside.key, aside.pane))
    }

    // A snapshot that is being taken.

    pub(super) fn begin_cut(&mut self, put: PutAside<K, T>) {
        self.cuts += 1;
        let rank = (i64::MIN, i64::MIN, i64::MIN);
        self.cut = Some(Box::new(Cut { put, rank, place: 0, left: self.len, run: Run::new() }));
    }

    pub(super) fn end_cut(&mut self) {
        self.cut = None;
    }

    /// Holds some, and gives out what has been held, and at how many it has looked; none if all are held.
    pub(super) fn hold_some(&mut self, most: usize) -> Option<(Run, usize)> {
        let cut = self.cut.as_mut()?;
        let mut looked = 0;
        while looked < most && cut.left > 0 {
            looked += 1;
            match self.by_rank.get(&cut.rank).and_then(|panes| panes.get(cut.place)) {
                Some(aside) => {
                    cut.place += 1;
                    cut.hold(aside, cut.rank, self.cuts);
                }
                None => {
                    let mut behind = self.by_rank.range((Excluded(cut.rank), Unbounded));
                    let Some((&rank, _)) = behind.next() else { break };
                    (cut.rank, cut.place) = (rank, 0);
                }
            }
        }
        let run = cut.run.take();
        if cut.left == 0 && run.is_empty() {
            self.cut = None;
            return None;
        }
        Some((run, looked.max(1)))
    }
}

//! From slices to windows.
//!
//! A window of which only one slice is there is that slice. Others are combined:
//!
//! | strategy | needs | work per key and slide | state besides the slices |
//! |---|---|---|---|
//! | two stacks | associativity | about 3 combinations, amortised: all slices are turned over once a window length | a node per entry of a slice, and a column |
//! | subtract on evict | an inverse | 1 combination, 1 subtraction | a column |
//!
//! Before slices are combined they are sealed: each becomes a column of partials by the numbers of their keys, so that
//! combining them compares and hashes no key.
//!
//! Two stacks: Adamax, "Re: Implement a queue in which push, pop and getMin have constant running time"
//! (2011), lifted from values to tables; the table of strategies follows Tangwongsan, Hirzel and
//! Schneider, "In-order sliding-window aggregation in worst-case constant time" (VLDB Journal 2021).
//!
//! All of it is derived: it follows, bit for bit, from the slices and the three positions in
//! [`Positions`], which is what a snapshot keeps of it. Slices that a window has been combined from change
//! only by late events, after which [`Combine::repair`] puts one key right.

use alloc::vec::Vec;
use core::hash::Hash;
use core::marker::PhantomData;
use core::mem::needs_drop;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::front::Front;
use super::{Column, Dense, Entries, Hashing, Ids, Sealed, Slice, Store, Table, with_slack};
use crate::aggregate::Aggregate;
use crate::key::ToKey;
use crate::time::Timestamp;

/// An aggregate with everything that combining tables needs besides.
pub(crate) struct Algebra<K, V, A: Aggregate<V>> {
    pub(crate) aggregate: A,
    pub(crate) hashing: Hashing<K>,
    pub(crate) inverse: Option<Inverse<A, A::Acc>>,
    value: PhantomData<fn(&V)>,
}

/// [`Invertible::uncombine`](crate::Invertible::uncombine) of an aggregate that has it.
type Inverse<A, T> = fn(&A, &mut T, &T);

impl<K, V, A: Aggregate<V>> Algebra<K, V, A> {
    pub(crate) fn new(aggregate: A, hashing: Hashing<K>) -> Self {
        Self { aggregate, hashing, inverse: None, value: PhantomData }
    }

    /// Adds an event whose index is not here yet, if nothing but the entries changes by it; whether it did.
    #[inline]
    pub(crate) fn add_absent(
        &self,
        dense: &mut Dense<K, A::Acc>,
        index: usize,
        (time, value): (Timestamp, &V),
    ) -> bool {
        if !dense.has_room(index) {
            return false;
        }
        let partial = self.aggregate.lift(time, value);
        self.aggregate.heap_bytes(&partial) == 0 && dense.put(index, partial)
    }
}

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>> Algebra<K, V, A> {
    /// One key's partial over the slices `[first, beyond)`, and in how many of them the key is.
    pub(crate) fn fold(
        &self,
        store: &Store<K, A::Acc>,
        (first, beyond): (i64, i64),
        hash: u64,
        key: &K,
    ) -> Option<(A::Acc, u32)> {
        let mut folded: Option<(A::Acc, u32)> = None;
        let mut append = |partial: &A::Acc| match &mut folded {
            None => folded = Some((partial.clone(), 1)),
            Some((whole, slices)) => {
                self.aggregate.combine(whole, partial);
                *slices += 1;
            }
        };
        let sealed = &store.sealed;
        if let Some(id) = sealed.ids.get(hash, key) {
            sealed.range(first..beyond).filter_map(|column| column.get(id)).for_each(&mut append);
        }
        let open = store.live_in(first.max(sealed.before), beyond);
        open.filter_map(|slice| store.get(slice)?.get(hash, key)).for_each(append);
        folded
    }

    /// Adds an event that [`Table::get_moved`] finds no partial for, if nothing but the table's entries changes by it;
    /// whether it did.
    #[inline(never)]
    pub(crate) fn add_unfound<Q: ToKey<K>>(
        &self,
        table: &mut Table<K, A::Acc>,
        hash: u64,
        key: &Q,
        time: Timestamp,
        value: &V,
    ) -> bool {
        if let Some(partial) = table.get_unmoved(hash, key) {
            // What needs to be dropped may own heap, which the table does not know of.
            let is_flat = !needs_drop::<A::Acc>();
            if is_flat {
                self.aggregate.add(partial, time, value);
            }
            return is_flat;
        }
        if !table.has_room() {
            return false;
        }
        let partial = self.aggregate.lift(time, value);
        let is_flat = self.aggregate.heap_bytes(&partial) == 0;
        if is_flat {
            table.insert(hash, key.to_key(), partial, 0, &self.hashing);
        }
        is_flat
    }
}

/// Which way windows of several slices are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    TwoStacks,
    SubtractOnEvict,
}

/// The slices that the derived state covers: `[first, turned)` in the front stack, `[turned, beyond)` in the
/// back one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Positions {
    pub(crate) first: i64,
    pub(crate) turned: i64,
    pub(crate) beyond: i64,
}

/// The content of the window being fired, and what makes the next one cheap.
#[derive(Debug)]
pub(crate) enum Combine<T> {
    TwoStacks(TwoStacks<T>),
    SubtractOnEvict(SubtractOnEvict<T>),
}

/// The keys of a window with their partials.
#[derive(Debug)]
pub(crate) enum Content<'a, K, T> {
    Nothing,
    One(Slice<'a, K, T>),
    /// A key's partial is that in the front combined with that in the back.
    Stacks(&'a Sealed<K, T>, &'a TwoStacks<T>),
    Running(&'a Sealed<K, T>, &'a SubtractOnEvict<T>),
}

/// What is still to be done for the content of a window: for keys from a number on, a part of them at a time.
#[derive(Debug)]
struct Pending {
    /// What was known of a key before is of no use.
    is_anew: bool,
    /// Slices from this one on come in.
    from: i64,
    next: u32,
}

impl Pending {
    /// Entries that are combined in one go, and keys that are looked at.
    const ENTRIES: usize = 1 << 14;
    const KEYS: Range<usize> = 32..4096;

    /// The numbers of the next keys, of so many, where each may be in so many slices; and what is pending behind them.
    fn next(self, ids: usize, slices: usize) -> (Range<u32>, Option<Self>) {
        let keys = (Self::ENTRIES / slices.max(1)).clamp(Self::KEYS.start, Self::KEYS.end);
        let beyond = ids.min(self.next as usize + keys) as u32;
        let part = self.next..beyond;
        (part, ((beyond as usize) < ids).then_some(Self { next: beyond, ..self }))
    }
}

impl<T> Combine<T> {
    pub(crate) fn new(strategy: Strategy) -> Self {
        match strategy {
            Strategy::TwoStacks => Self::TwoStacks(TwoStacks::new()),
            Strategy::SubtractOnEvict => Self::SubtractOnEvict(SubtractOnEvict {
                running: Totals::new(),
                first: 0,
                beyond: 0,
                pending: None,
            }),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::TwoStacks(stacks) => stacks.front.bytes() + stacks.back.bytes(),
            Self::SubtractOnEvict(window) => window.running.bytes(),
        }
    }

    /// Bytes that this may come to take where the slices have room for so many entries.
    pub(crate) fn bytes_for(&self, entries: usize) -> usize {
        let needed = match self {
            Self::TwoStacks(_) => Front::<T>::bytes_for(entries) + Totals::<T>::bytes_for(entries),
            Self::SubtractOnEvict(_) => Totals::<T>::bytes_for(entries),
        };
        needed.max(self.bytes())
    }

    /// The window last prepared.
    pub(crate) fn content<'a, K>(&'a self, sealed: &'a Sealed<K, T>) -> Content<'a, K, T> {
        match self {
            Self::TwoStacks(stacks) => Content::Stacks(sealed, stacks),
            Self::SubtractOnEvict(window) => Content::Running(sealed, window),
        }
    }

    pub(crate) fn positions(&self) -> Positions {
        match self {
            Self::TwoStacks(stacks) => stacks.at,
            Self::SubtractOnEvict(window) => {
                Positions { first: window.first, turned: window.first, beyond: window.beyond }
            }
        }
    }

    /// Whether the window last prepared is that of slices `[first, beyond)`.
    pub(crate) fn is_at(&self, (first, beyond): (i64, i64)) -> bool {
        let at = self.positions();
        at.first == first && at.beyond == beyond
    }
}

impl<T: Clone> Combine<T> {
    /// Begins to make the content of the window of slices `[first, beyond)`, all of which are sealed.
    pub(crate) fn prepare<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (first, beyond): (i64, i64),
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) => stacks.prepare(first, beyond, sealed),
            Self::SubtractOnEvict(window) => window.prepare(first, beyond, sealed, algebra),
        }
    }

    /// Makes the content for some keys more: after a few calls, in the order of their numbers, for all. Whether there were
    /// any.
    pub(crate) fn prepare_some<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> bool {
        match self {
            Self::TwoStacks(stacks) => stacks.prepare_some(sealed, algebra),
            Self::SubtractOnEvict(window) => window.prepare_some(sealed, algebra),
        }
    }

    /// The same for all that are left.
    pub(crate) fn prepare_all<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        while self.prepare_some(sealed, algebra) {}
    }

    /// The slices before `slice` are about to expire, and with the last of a window what was derived from
    /// it.
    pub(crate) fn leave<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) if slice < stacks.at.beyond => stacks.evict_before(slice, sealed),
            Self::TwoStacks(stacks) => stacks.clear(),
            Self::SubtractOnEvict(window) => {
                window.evict_before(slice.min(window.beyond), sealed, algebra);
                window.running.shrink();
            }
        }
    }

    /// Puts one key right after a late event changed its partial in `slice`.
    pub(crate) fn repair<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        hash: u64,
        key: &K,
        store: &Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        let at = self.positions();
        if slice < at.first || slice >= at.beyond {
            return;
        }
        let Some(id) = store.sealed.ids.get(hash, key) else { return };
        match self {
            Self::TwoStacks(stacks) if slice < at.turned => {
                stacks.front.repair((at.first, at.turned), id, &store.sealed, algebra);
            }
            Self::TwoStacks(TwoStacks { back: totals, .. })
            | Self::SubtractOnEvict(SubtractOnEvict { running: totals, .. }) => {
                if let Some(whole) = algebra.fold(store, (at.turned, at.beyond), hash, key) {
                    totals.set(id, whole, algebra);
                }
            }
        }
    }

    /// Makes the content again that was at these positions, up to which all slices are sealed.
    pub(crate) fn rebuild<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        at: Positions,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) => stacks.turn_over(at, sealed),
            Self::SubtractOnEvict(window) => window.prepare(at.first, at.beyond, sealed, algebra),
        }
        self.prepare_all(sealed, algebra);
    }
}

/// Each key's partial over some slices, by the number of the key.
#[derive(Debug)]
pub(crate) struct Totals<T> {
    /// With the number of slices that each key is in, so that a key leaves with the last of them.
    totals: Vec<Option<(T, u32)>>,
    keys: usize,
    /// Heap owned by the partials, as the aggregate tells it.
    heap: usize,
}

impl<T> Totals<T> {
    const fn new() -> Self {
        Self { totals: Vec::new(), keys: 0, heap: 0 }
    }

    fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<Option<(T, u32)>>() + self.heap
    }

    fn bytes_for(entries: usize) -> usize {
        with_slack(entries) * size_of::<Option<(T, u32)>>()
    }

    #[inline(always)]
    fn get(&self, id: u32) -> Option<&T> {
        self.totals.get(id as usize)?.as_ref().map(|(whole, _)| whole)
    }

    /// Has a place for each number below `ids`.
    fn reach(&mut self, ids: usize) {
        if ids > self.totals.capacity() {
            self.totals.reserve_exact(with_slack(ids) - self.totals.len());
        }
        self.totals.resize_with(ids.max(self.totals.len()), || None);
    }

    /// Returns all memory if no key is here.
    fn shrink(&mut self) {
        if self.keys == 0 {
            *self = Self::new();
        }
    }
}

impl<T: Clone> Totals<T> {
    /// Forgets some keys.
    fn forget<K, V, A: Aggregate<V, Acc = T>>(&mut self, ids: &Range<u32>, algebra: &Algebra<K, V, A>) {
        let known = &mut self.totals[ids.start as usize..ids.end as usize];
        for (whole, _) in known.iter_mut().filter_map(Option::take) {
            self.keys -= 1;
            self.heap -= algebra.aggregate.heap_bytes(&whole);
        }
    }

    /// Appends some keys' entries of later slices, to what is known of the keys or to nothing.
    fn take_in<'a, K, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        latest: impl Iterator<Item = &'a Column<T>>,
        ids: &Range<u32>,
        is_anew: bool,
        algebra: &Algebra<K, V, A>,
    ) where
        T: 'a,
    {
        if is_anew {
            self.forget(ids, algebra);
        }
        latest.for_each(|column| self.enter(column.part(ids), algebra));
    }

    /// Appends entries of a later slice.
    fn enter<'a, K, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        latest: impl Iterator<Item = (u32, &'a T)>,
        algebra: &Algebra<K, V, A>,
    ) where
        T: 'a,
    {
        let aggregate = &algebra.aggregate;
        for (id, partial) in latest {
            let Some(total) = self.totals.get_mut(id as usize) else { continue };
            match total {
                Some((whole, slices)) => {
                    let before = aggregate.heap_bytes(whole);
                    aggregate.combine(whole, partial);
                    *slices += 1;
                    self.heap = self.heap + aggregate.heap_bytes(whole) - before;
                }
                None => {
                    self.heap += aggregate.heap_bytes(partial);
                    self.keys += 1;
                    *total = Some((partial.clone(), 1));
                }
            }
        }
    }

    /// Takes the earliest slice out again.
    fn evict<K, V, A: Aggregate<V, Acc = T>>(&mut self, oldest: &Column<T>, algebra: &Algebra<K, V, A>) {
        let aggregate = &algebra.aggregate;
        for (id, partial) in oldest.iter() {
            let Some(total) = self.totals.get_mut(id as usize) else { continue };
            let Some((whole, slices)) = total else { continue };
            let before = aggregate.heap_bytes(whole);
            *slices -= 1;
            if *slices == 0 {
                *total = None;
                self.keys -= 1;
                self.heap -= before;
            } else if let Some(uncombine) = algebra.inverse {
                uncombine(aggregate, whole, partial);
                self.heap = self.heap + aggregate.heap_bytes(whole) - before;
            }
        }
    }

    fn set<K, V, A: Aggregate<V, Acc = T>>(&mut self, id: u32, total: (T, u32), algebra: &Algebra<K, V, A>) {
        self.reach(id as usize + 1);
        let before = self.get(id).map_or(0, |whole| algebra.aggregate.heap_bytes(whole));
        self.heap = self.heap + algebra.aggregate.heap_bytes(&total.0) - before;
        self.keys += usize::from(self.totals[id as usize].is_none());
        self.totals[id as usize] = Some(total);
    }
}

/// The front holds what leaves slice by slice, the back the running combination of the slices since.
#[derive(Debug)]
pub(crate) struct TwoStacks<T> {
    at: Positions,
    /// The slices `[first, turned)`.
    front: Front<T>,
    /// The combination of `[turned, beyond)`.
    back: Totals<T>,
    pending: Option<Pending>,
}

impl<T> TwoStacks<T> {
    fn new() -> Self {
        Self { at: Positions::default(), front: Front::new(), back: Totals::new(), pending: None }
    }

    fn evict_before<K: Hash + Eq + Clone>(&mut self, slice: i64, sealed: &Sealed<K, T>) {
        let evicted = self.at.first..slice.min(self.at.turned);
        if evicted.is_empty() {
            return;
        }
        self.at.first = evicted.end;
        sealed.range(evicted).for_each(|column| self.front.evict(column));
    }

    fn clear(&mut self) {
        let beyond = self.at.beyond;
        *self = Self { at: Positions { first: beyond, turned: beyond, beyond }, ..Self::new() };
    }
}

impl<T: Clone> TwoStacks<T> {
    fn prepare<K: Hash + Eq + Clone>(&mut self, first: i64, beyond: i64, sealed: &Sealed<K, T>) {
        let at = self.at;
        if at.first > first || first > at.beyond || at.beyond > beyond {
            // Nothing of the window before is in this one.
            return self.turn_over(Positions { first, turned: first, beyond }, sealed);
        }
        if first > at.turned {
            return self.turn_over(Positions { first, turned: at.beyond, beyond }, sealed);
        }
        // (While nothing leaves, as in windows that grow, nothing needs to be turned over.)
        self.evict_before(first, sealed);
        self.back.reach(sealed.ids.beyond());
        self.at = Positions { first, beyond, ..self.at };
        self.pending = Some(Pending { is_anew: false, from: at.beyond, next: 0 });
    }

    /// Turns the slices before `at.turned` over: from here on they leave one by one.
    fn turn_over<K: Hash + Eq + Clone>(&mut self, at: Positions, sealed: &Sealed<K, T>) {
        let entries = sealed.range(at.first..at.turned).map(Column::len).sum();
        self.front.begin(entries, sealed.ids.beyond());
        self.back.reach(sealed.ids.beyond());
        self.at = at;
        self.pending = Some(Pending { is_anew: true, from: at.turned, next: 0 });
    }

    fn prepare_some<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> bool {
        let Some(pending) = self.pending.take() else { return false };
        let (is_anew, from, at) = (pending.is_anew, pending.from, self.at);
        let slices = if is_anew { sealed.range(at.first..at.beyond).count() } else { 1 };
        let (part, rest) = pending.next(self.back.totals.len(), slices);
        self.pending = rest;
        if is_anew {
            let turned = sealed.range(at.first..at.turned).rev();
            turned.for_each(|column| self.front.put_part(column.part(&part), algebra));
        }
        self.back.take_in(sealed.range(from..at.beyond), &part, is_anew, algebra);
        true
    }
}

/// One running column: what enters is combined in, what leaves is taken out.
#[derive(Debug)]
pub(crate) struct SubtractOnEvict<T> {
    running: Totals<T>,
    first: i64,
    beyond: i64,
    pending: Option<Pending>,
}

impl<T: Clone> SubtractOnEvict<T> {
    fn prepare<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        first: i64,
        beyond: i64,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        let is_anew = self.first > first || first > self.beyond || self.beyond > beyond;
        let from = if is_anew { first } else { self.beyond };
        match is_anew {
            true => self.first = first,
            false => self.evict_before(first, sealed, algebra),
        }
        self.running.reach(sealed.ids.beyond());
        self.beyond = beyond;
        self.pending = Some(Pending { is_anew, from, next: 0 });
    }

    fn prepare_some<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> bool {
        let Some(pending) = self.pending.take() else { return false };
        let (is_anew, from) = (pending.is_anew, pending.from);
        let slices = if is_anew { sealed.range(from..self.beyond).count() } else { 1 };
        let (part, rest) = pending.next(self.running.totals.len(), slices);
        self.pending = rest;
        self.running.take_in(sealed.range(from..self.beyond), &part, is_anew, algebra);
        true
    }

    fn evict_before<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        sealed.range(self.first..slice).for_each(|column| self.running.evict(column, algebra));
        self.first = self.first.max(slice);
    }
}

/// A position in the content of a window: of a table a spot, of a column a place, of others the number of a key.
pub(crate) type Spot = usize;

/// How far the content of a window has been scanned: of a table a run of spots at a time, so that which of them have
/// an entry, half of them at random, is found without a branch for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// The run being scanned, and which of its spots are still to come.
    from: usize,
    occupied: u32,
    next: usize,
}

impl Scan {
    const RUN: usize = u32::BITS as usize;
}

impl<'a, K, T> Content<'a, K, T> {
    /// The key at a spot of [`Content::next`]'s, and its partial or two of them, to be combined.
    #[inline(always)]
    pub(crate) fn at(&self, spot: Spot) -> Option<(&'a K, &'a T, Option<&'a T>)> {
        match *self {
            Self::Nothing => None,
            Self::One(slice) => slice.at(spot).map(|(key, partial)| (key, partial, None)),
            Self::Stacks(sealed, stacks) => {
                let id = spot as u32;
                let (key, back) = (sealed.ids.key(id)?, stacks.back.get(id));
                match stacks.front.get(id) {
                    Some(front) => Some((key, front, back)),
                    None => Some((key, back?, None)),
                }
            }
            Self::Running(sealed, window) => {
                Some((sealed.ids.key(spot as u32)?, window.running.get(spot as u32)?, None))
            }
        }
    }

    /// The next spot with an entry, of those that have been prepared.
    #[inline(always)]
    pub(crate) fn next(&self, scan: &mut Scan) -> Option<Spot> {
        if let Self::One(Slice::Open(table)) = *self {
            while scan.occupied == 0 {
                look(table, scan)?;
            }
            let spot = scan.from + scan.occupied.trailing_zeros() as usize;
            scan.occupied &= scan.occupied - 1;
            return Some(spot);
        }
        let beyond = self.len_at_most();
        while scan.next < beyond {
            let spot = scan.next;
            scan.next += 1;
            if self.has(spot) {
                return Some(spot);
            }
        }
        None
    }

    #[inline(always)]
    fn has(&self, spot: Spot) -> bool {
        let id = spot as u32;
        match *self {
            Self::Nothing => false,
            Self::One(slice) => slice.at(spot).is_some(),
            Self::Stacks(_, stacks) => stacks.back.get(id).is_some() || stacks.front.get(id).is_some(),
            Self::Running(_, window) => window.running.get(id).is_some(),
        }
    }

    /// How many keys have been prepared, or more.
    #[inline]
    pub(crate) fn len_at_most(&self) -> usize {
        let prepared = |pending: &Option<Pending>, ids: &Ids<K>| match pending {
            Some(pending) => pending.next as usize,
            None => ids.beyond(),
        };
        match *self {
            Self::Nothing => 0,
            Self::One(slice) => slice.len(),
            Self::Stacks(sealed, stacks) => prepared(&stacks.pending, &sealed.ids),
            Self::Running(sealed, window) => prepared(&window.pending, &sealed.ids),
        }
    }

    /// The key of the next spot with an entry, whether it has been prepared or not.
    pub(crate) fn next_key(&self, scan: &mut Scan) -> Option<&'a K> {
        if let Some(spot) = self.next(scan) {
            return self.at(spot).map(|(key, ..)| key);
        }
        let (sealed, slices) = match *self {
            Self::Nothing | Self::One(_) => return None,
            Self::Stacks(sealed, stacks) => (sealed, stacks.at.first..stacks.at.beyond),
            Self::Running(sealed, window) => (sealed, window.first..window.beyond),
        };
        while scan.next < sealed.ids.beyond() {
            let id = scan.next as u32;
            scan.next += 1;
            if sealed.range(slices.clone()).any(|column| column.get(id).is_some()) {
                return sealed.ids.key(id);
            }
        }
        None
    }
}

/// Looks at the next run of a table's spots, if there is one.
#[inline(never)]
fn look<K, T>(table: &Entries<K, T>, scan: &mut Scan) -> Option<()> {
    if scan.next >= table.spots() {
        return None;
    }
    scan.from = scan.next;
    scan.next += Scan::RUN;
    scan.occupied = table.occupied(scan.from);
    Some(())
}

impl<K: Hash + Eq + Clone, T> Content<'_, K, T> {
    pub(crate) fn spot_of(&self, hash: u64, key: &K) -> Option<Spot> {
        match self {
            Self::Nothing => None,
            Self::One(slice) => slice.spot_of(hash, key),
            Self::Stacks(sealed, _) | Self::Running(sealed, _) => {
                sealed.ids.get(hash, key).map(|id| id as usize).filter(|&spot| self.has(spot))
            }
        }
    }
}

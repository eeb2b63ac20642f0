//! From slices to windows.
//!
//! A window of which only one slice is there is that slice. Others are combined:
//!
//! | strategy | needs | work per key and slide | state besides the slices |
//! |---|---|---|---|
//! | two stacks | associativity | about 3 combinations, amortised: all slices are turned over once a window length | a node per entry of a slice, and one table |
//! | subtract on evict | an inverse | 1 combination, 1 subtraction | one table |
//!
//! Two stacks: Adamax, "Re: Implement a queue in which push, pop and getMin have constant running time"
//! (2011), lifted from values to tables; the table of strategies follows Tangwongsan, Hirzel and
//! Schneider, "In-order sliding-window aggregation in worst-case constant time" (VLDB Journal 2021).
//!
//! All of it is derived: it follows, bit for bit, from the slices and the three positions in
//! [`Positions`], which is what a snapshot keeps of it. Slices that a window has been combined from change
//! only by late events, after which [`Combine::repair`] puts one key right.

use core::hash::Hash;
use core::marker::PhantomData;
use core::mem::needs_drop;

use serde::{Deserialize, Serialize};

use super::front::Front;
use super::{Hashing, Store, Table};
use crate::aggregate::Aggregate;
use crate::key::ToKey;
use crate::time::Timestamp;

/// An aggregate with everything that combining tables needs besides.
pub(crate) struct Algebra<V, A: Aggregate<V>> {
    pub(crate) aggregate: A,
    pub(crate) hashing: Hashing,
    pub(crate) inverse: Option<Inverse<A, A::Acc>>,
    value: PhantomData<fn(&V)>,
}

/// [`Invertible::uncombine`](crate::Invertible::uncombine) of an aggregate that has it.
type Inverse<A, T> = fn(&A, &mut T, &T);

impl<V, A: Aggregate<V>> Algebra<V, A> {
    pub(crate) fn new(aggregate: A, hashing: Hashing) -> Self {
        Self { aggregate, hashing, inverse: None, value: PhantomData }
    }

    /// One key's partial over the slices `[first, beyond)`, and in how many of them the key is.
    pub(crate) fn fold<K: Hash + Eq + Clone>(
        &self,
        store: &Store<K, A::Acc>,
        (first, beyond): (i64, i64),
        hash: u64,
        key: &K,
    ) -> Option<(A::Acc, u32)> {
        let mut folded: Option<(A::Acc, u32)> = None;
        for slice in store.live_in(first, beyond) {
            let Some(partial) = store.get(slice).and_then(|table| table.get(hash, key)) else { continue };
            match &mut folded {
                None => folded = Some((partial.clone(), 1)),
                Some((whole, slices)) => {
                    self.aggregate.combine(whole, partial);
                    *slices += 1;
                }
            }
        }
        folded
    }

    /// Adds an event that [`Table::get_moved`] finds no partial for, if nothing but the table's entries changes by it;
    /// whether it did.
    #[inline(never)]
    pub(crate) fn add_unfound<K: Hash + Eq, Q: ToKey<K>>(
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

    /// Appends a later partial to a table.
    fn append<K: Hash + Eq + Clone>(&self, table: &mut Table<K, A::Acc>, key: &K, later: &A::Acc) {
        let hash = self.hashing.hash(key);
        match table.get_mut(hash, key) {
            Some(whole) => {
                let before = self.aggregate.heap_bytes(whole);
                self.aggregate.combine(whole, later);
                let after = self.aggregate.heap_bytes(whole);
                table.add_heap(before, after);
            }
            None => self.insert(table, hash, key, later.clone()),
        }
    }

    fn put<K: Hash + Eq + Clone>(&self, table: &mut Table<K, A::Acc>, hash: u64, key: &K, partial: A::Acc) {
        match table.get_mut(hash, key) {
            Some(old) => {
                let (before, after) = (self.aggregate.heap_bytes(old), self.aggregate.heap_bytes(&partial));
                *old = partial;
                table.add_heap(before, after);
            }
            None => self.insert(table, hash, key, partial),
        }
    }

    fn insert<K: Hash + Eq + Clone>(
        &self,
        table: &mut Table<K, A::Acc>,
        hash: u64,
        key: &K,
        partial: A::Acc,
    ) {
        let heap = self.aggregate.heap_bytes(&partial);
        table.insert(hash, key.clone(), partial, heap, &self.hashing);
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
pub(crate) enum Combine<K, T> {
    TwoStacks(TwoStacks<K, T>),
    SubtractOnEvict(SubtractOnEvict<K, T>),
}

/// The keys of a window with their partials, in up to two tables: a key's partial is that in the first
/// combined with that in the second.
#[derive(Debug)]
pub(crate) enum Content<'a, K, T> {
    Nothing,
    One(&'a Table<K, T>),
    Two(&'a Front<K, T>, &'a Table<K, T>),
    Counted(&'a Table<K, (T, u32)>),
}

impl<K, T> Combine<K, T> {
    pub(crate) fn new(strategy: Strategy) -> Self {
        match strategy {
            Strategy::TwoStacks => Self::TwoStacks(TwoStacks::new()),
            Strategy::SubtractOnEvict => {
                Self::SubtractOnEvict(SubtractOnEvict { running: Table::new(), first: 0, beyond: 0 })
            }
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
            Self::TwoStacks(_) => Front::<K, T>::bytes_for(entries) + Table::<K, T>::bytes_for(entries),
            Self::SubtractOnEvict(_) => Table::<K, (T, u32)>::bytes_for(entries),
        };
        needed.max(self.bytes())
    }

    /// The window last prepared.
    pub(crate) fn content(&self) -> Content<'_, K, T> {
        match self {
            Self::TwoStacks(stacks) if stacks.front.is_empty() => Content::One(&stacks.back),
            Self::TwoStacks(stacks) => Content::Two(&stacks.front, &stacks.back),
            Self::SubtractOnEvict(window) => Content::Counted(&window.running),
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
}

impl<K, T> Combine<K, T> {
    /// Whether the window last prepared is that of slices `[first, beyond)`.
    pub(crate) fn is_at(&self, (first, beyond): (i64, i64)) -> bool {
        let at = self.positions();
        at.first == first && at.beyond == beyond
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Combine<K, T> {
    /// Makes the content of the window of slices `[first, beyond)`.
    pub(crate) fn prepare<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (first, beyond): (i64, i64),
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) => stacks.prepare(first, beyond, store, algebra),
            Self::SubtractOnEvict(window) => window.prepare(first, beyond, store, algebra),
        }
    }

    /// The slices before `slice` are about to expire, and with the last of a window what was derived from
    /// it.
    pub(crate) fn leave<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) if slice < stacks.at.beyond => {}
            Self::TwoStacks(stacks) => stacks.clear(),
            Self::SubtractOnEvict(window) => {
                window.evict_before(slice.min(window.beyond), store, algebra);
                if window.running.is_empty() {
                    window.running = Table::new();
                }
            }
        }
    }

    /// Puts one key right after a late event changed its partial in `slice`.
    pub(crate) fn repair<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        hash: u64,
        key: &K,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) => stacks.repair(slice, hash, key, store, algebra),
            Self::SubtractOnEvict(window) => window.repair(slice, hash, key, store, algebra),
        }
    }

    /// Makes the content again that was at these positions.
    pub(crate) fn rebuild<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        at: Positions,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) => {
                stacks.turn_over(at.first, at.turned, store, algebra);
                stacks.absorb(at.beyond, store, algebra);
            }
            Self::SubtractOnEvict(window) => window.prepare(at.first, at.beyond, store, algebra),
        }
    }
}

/// The front holds what leaves slice by slice, the back the running combination of the slices since.
#[derive(Debug)]
pub(crate) struct TwoStacks<K, T> {
    at: Positions,
    /// The slices `[first, turned)`.
    front: Front<K, T>,
    /// The combination of `[turned, beyond)`.
    back: Table<K, T>,
}

impl<K, T> TwoStacks<K, T> {
    fn new() -> Self {
        Self { at: Positions::default(), front: Front::new(), back: Table::new() }
    }
}

impl<K: Hash + Eq + Clone, T: Clone> TwoStacks<K, T> {
    fn prepare<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        first: i64,
        beyond: i64,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        let continues = self.at.first <= first && first <= self.at.beyond && self.at.beyond <= beyond;
        if !continues {
            // Nothing of the window before is in this one.
            self.at.beyond = first;
        }
        // (While nothing leaves, as in windows that grow, nothing needs to be turned over.)
        if !continues || first > self.at.turned {
            self.turn_over(first, self.at.beyond, store, algebra);
        }
        self.front.evict_before(first);
        self.at.first = first;
        self.absorb(beyond, store, algebra);
    }

    /// Turns the slices `[first, turned)` over: from here on they leave one by one.
    fn turn_over<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        first: i64,
        turned: i64,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        self.front.turn_over((first, turned), store, algebra);
        self.back.clear();
        self.at = Positions { first, turned, beyond: turned };
    }

    /// Takes the slices up to `beyond` in at the front.
    fn absorb<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        beyond: i64,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        for slice in store.live_in(self.at.beyond, beyond) {
            for (key, partial) in store.get(slice).into_iter().flat_map(Table::iter) {
                algebra.append(&mut self.back, key, partial);
            }
        }
        self.at.beyond = beyond;
    }

    fn repair<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        hash: u64,
        key: &K,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        let Positions { first, turned, beyond } = self.at;
        if first <= slice && slice < turned {
            self.front.repair((first, turned), hash, key, store, algebra);
        } else if turned <= slice
            && slice < beyond
            && let Some((whole, _)) = algebra.fold(store, (turned, beyond), hash, key)
        {
            algebra.put(&mut self.back, hash, key, whole);
        }
    }

    fn clear(&mut self) {
        let beyond = self.at.beyond;
        *self = Self { at: Positions { first: beyond, turned: beyond, beyond }, ..Self::new() };
    }
}

/// One running table: what enters is combined in, what leaves is taken out.
#[derive(Debug)]
pub(crate) struct SubtractOnEvict<K, T> {
    /// With the number of slices that each key is in, so that a key leaves with the last of them.
    running: Table<K, (T, u32)>,
    first: i64,
    beyond: i64,
}

impl<K: Hash + Eq + Clone, T: Clone> SubtractOnEvict<K, T> {
    fn prepare<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        first: i64,
        beyond: i64,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        if !(self.first <= first && first <= self.beyond && self.beyond <= beyond) {
            self.running.clear();
            (self.first, self.beyond) = (first, first);
        }
        self.evict_before(first, store, algebra);
        for slice in store.live_in(self.beyond, beyond) {
            for (key, partial) in store.get(slice).into_iter().flat_map(Table::iter) {
                self.enter(key, partial, algebra);
            }
        }
        self.beyond = beyond;
    }

    fn evict_before<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        for old in store.live_in(self.first, slice) {
            for (key, partial) in store.get(old).into_iter().flat_map(Table::iter) {
                self.evict(key, partial, algebra);
            }
        }
        self.first = self.first.max(slice);
    }

    fn evict<V, A: Aggregate<V, Acc = T>>(&mut self, key: &K, oldest: &T, algebra: &Algebra<V, A>) {
        let hash = algebra.hashing.hash(key);
        let Some((whole, slices)) = self.running.get_mut(hash, key) else { return };
        let before = algebra.aggregate.heap_bytes(whole);
        *slices -= 1;
        let gone = *slices == 0;
        let after = match algebra.inverse {
            Some(uncombine) if !gone => {
                uncombine(&algebra.aggregate, whole, oldest);
                algebra.aggregate.heap_bytes(whole)
            }
            _ => 0,
        };
        self.running.add_heap(before, after);
        if gone {
            self.running.remove(hash, key);
        }
    }

    fn enter<V, A: Aggregate<V, Acc = T>>(&mut self, key: &K, latest: &T, algebra: &Algebra<V, A>) {
        let hash = algebra.hashing.hash(key);
        match self.running.get_mut(hash, key) {
            Some((whole, slices)) => {
                let before = algebra.aggregate.heap_bytes(whole);
                algebra.aggregate.combine(whole, latest);
                *slices += 1;
                let after = algebra.aggregate.heap_bytes(whole);
                self.running.add_heap(before, after);
            }
            None => {
                let heap = algebra.aggregate.heap_bytes(latest);
                self.running.insert(hash, key.clone(), (latest.clone(), 1), heap, &algebra.hashing);
            }
        }
    }

    fn repair<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        slice: i64,
        hash: u64,
        key: &K,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        if slice < self.first || slice >= self.beyond {
            return;
        }
        let Some(whole) = algebra.fold(store, (self.first, self.beyond), hash, key) else { return };
        let after = algebra.aggregate.heap_bytes(&whole.0);
        match self.running.get_mut(hash, key) {
            Some(old) => {
                let before = algebra.aggregate.heap_bytes(&old.0);
                *old = whole;
                self.running.add_heap(before, after);
            }
            None => {
                self.running.insert(hash, key.clone(), whole, after, &algebra.hashing);
            }
        }
    }
}

/// A position in the content of a window: in the second table or the first, and where.
pub(crate) type Spot = (bool, usize);

/// How far the content of a window has been scanned: a run of spots at a time, so that which of them have
/// an entry, half of them at random, is found without a branch for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    second: bool,
    /// The run being scanned, and which of its spots are still to come.
    from: usize,
    occupied: u32,
    next: usize,
}

impl Scan {
    const RUN: usize = u32::BITS as usize;
}

impl<'a, K: Hash + Eq + Clone, T> Content<'a, K, T> {
    /// The key and partial at a spot of [`Content::next`]'s: of two tables, the one that it names.
    #[inline]
    pub(crate) fn at(&self, (second, spot): Spot) -> Option<(&'a K, &'a T)> {
        match *self {
            Self::Nothing => None,
            Self::One(table) => table.at(spot),
            Self::Two(front, _) if !second => front.at(spot),
            Self::Two(_, back) => back.at(spot),
            Self::Counted(table) => table.at(spot).map(|(key, (partial, _))| (key, partial)),
        }
    }

    /// What the other table has of the key at a spot.
    pub(crate) fn rest(&self, (second, _): Spot, hash: impl FnOnce() -> u64, key: &K) -> Option<&'a T> {
        match *self {
            Self::Two(_, back) if !second => back.get(hash(), key),
            _ => None,
        }
    }

    /// The next spot with an entry, each key once: those of the first table, then those only in the second.
    #[inline]
    pub(crate) fn next(&self, scan: &mut Scan, hashing: &Hashing) -> Option<Spot> {
        loop {
            while scan.occupied == 0 {
                self.look(scan)?;
            }
            let spot = (scan.second, scan.from + scan.occupied.trailing_zeros() as usize);
            scan.occupied &= scan.occupied - 1;
            match (self, self.at(spot)) {
                (Self::Two(front, _), Some((key, _))) if spot.0 => {
                    if !front.contains(hashing.hash(key), key) {
                        return Some(spot);
                    }
                }
                _ => return Some(spot),
            }
        }
    }

    /// Looks at the next run of spots, if there is one.
    #[inline(never)]
    fn look(&self, scan: &mut Scan) -> Option<()> {
        if scan.next >= self.spots(scan.second) {
            if scan.second {
                return None;
            }
            (scan.second, scan.next) = (true, 0);
            return Some(());
        }
        scan.from = scan.next;
        scan.next += Scan::RUN;
        scan.occupied = match *self {
            Self::Nothing => 0,
            Self::One(table) => table.occupied(scan.from),
            Self::Two(front, _) if !scan.second => front.occupied(scan.from),
            Self::Two(_, back) => back.occupied(scan.from),
            Self::Counted(table) => table.occupied(scan.from),
        };
        Some(())
    }

    #[inline]
    fn spots(&self, second: bool) -> usize {
        match *self {
            Self::One(table) if !second => table.spots(),
            Self::Two(front, _) if !second => front.spots(),
            Self::Two(_, back) => back.spots(),
            Self::Counted(table) if !second => table.spots(),
            _ => 0,
        }
    }

    /// How many keys there are, or a few more: some may be in both tables.
    pub(crate) fn len_at_most(&self) -> usize {
        match *self {
            Self::Nothing => 0,
            Self::One(table) => table.len(),
            Self::Two(front, back) => front.len() + back.len(),
            Self::Counted(table) => table.len(),
        }
    }

    pub(crate) fn spot_of(&self, hash: u64, key: &K) -> Option<Spot> {
        match self {
            Self::Nothing => None,
            Self::One(table) => table.spot_of(hash, key).map(|spot| (false, spot)),
            Self::Two(front, back) => front
                .spot_of(hash, key)
                .map(|spot| (false, spot))
                .or_else(|| back.spot_of(hash, key).map(|spot| (true, spot))),
            Self::Counted(table) => table.spot_of(hash, key).map(|spot| (false, spot)),
        }
    }
}

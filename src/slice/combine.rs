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

use core::hash::Hash;
use core::marker::PhantomData;
use core::mem::needs_drop;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::front::Front;
use super::{Column, Dense, Entries, Exit, Hashing, Ids, Paged, Sealed, Slice, Store, Table};
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
        let sealed = &store.sealed;
        let id = sealed.ids.get(hash, key);
        let of_id = |id| sealed.range(first..beyond).filter_map(move |column| column.get(id));
        let open = store.live_in(first.max(sealed.before), beyond);
        let open = open.filter_map(|slice| store.get(slice)?.get(hash, key));
        self.fold_all(id.into_iter().flat_map(of_id).chain(open))
    }

    /// Partials combined, and how many there are.
    fn fold_all<'a>(&self, mut partials: impl Iterator<Item = &'a A::Acc>) -> Option<(A::Acc, u32)>
    where
        A::Acc: 'a,
    {
        let first = (partials.next()?.clone(), 1);
        Some(partials.fold(first, |(mut whole, slices), partial| {
            self.aggregate.combine(&mut whole, partial);
            (whole, slices + 1)
        }))
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
    /// So many keys are next, and how many at most are.
    keys: usize,
    most: usize,
}

impl Pending {
    /// Keys that are looked at: few at first, so that the first do not wait for others. (In tests so few that windows of some
    /// keys have parts, too.)
    const FIRST: usize = if cfg!(debug_assertions) { 2 } else { 64 };
    /// Entries that are combined in one go, and keys that are looked at then.
    const ENTRIES: usize = 1 << 13;
    const KEYS: Range<usize> = 32..1024;

    /// Where each key may be in so many slices.
    fn new(is_anew: bool, from: i64, slices: usize) -> Self {
        Self { is_anew, from, next: 0, keys: Self::FIRST, most: Self::keys(slices) }
    }

    fn keys(slices: usize) -> usize {
        (Self::ENTRIES / slices.max(1)).clamp(Self::KEYS.start, Self::KEYS.end)
    }

    /// The same once the next part is done.
    fn behind(self, part: &Range<u32>) -> Self {
        Self { next: part.end, keys: (2 * self.keys).min(self.most), ..self }
    }
}

impl<T> Combine<T> {
    pub(crate) fn new(strategy: Strategy) -> Self {
        match strategy {
            Strategy::TwoStacks => Self::TwoStacks(TwoStacks::new()),
            Strategy::SubtractOnEvict => Self::SubtractOnEvict(SubtractOnEvict::new()),
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

impl<T> Combine<T> {
    fn pending(&self) -> Option<&Pending> {
        match self {
            Self::TwoStacks(stacks) => stacks.pending.as_ref(),
            Self::SubtractOnEvict(window) => window.pending.as_ref(),
        }
    }

    /// The numbers of the keys that are to be prepared next, of so many.
    pub(crate) fn next_part(&self, ids: u32) -> Option<Range<u32>> {
        let pending = self.pending()?;
        let beyond = ids.min(pending.next.saturating_add(pending.keys as u32));
        (pending.next < beyond).then_some(pending.next..beyond)
    }

    /// In how many slices each key may be that are still to be evicted.
    pub(crate) fn evicting<K>(&self, sealed: &Sealed<K, T>) -> usize {
        let slices = match self {
            Self::TwoStacks(stacks) => stacks.evicted..stacks.at.first,
            Self::SubtractOnEvict(window) => window.evicted..window.first,
        };
        if slices.is_empty() { 0 } else { sealed.all_in(slices).count() }
    }

    /// With each part so many slices are evicted, too.
    pub(crate) fn bound_parts(&mut self, slices: usize) {
        let pending = match self {
            Self::TwoStacks(stacks) => stacks.pending.as_mut(),
            Self::SubtractOnEvict(window) => window.pending.as_mut(),
        };
        if let Some(pending) = pending {
            pending.most = pending.most.min(Pending::keys(slices));
        }
    }

    /// All keys that have a number are prepared.
    pub(crate) fn end_parts(&mut self) {
        match self {
            Self::TwoStacks(stacks) => stacks.pending = None,
            Self::SubtractOnEvict(window) => window.pending = None,
        }
    }

    /// The slices before `slice` are about to expire, and with the last of a window what was derived from
    /// it. They are to be [evicted](Self::evict_part).
    pub(crate) fn leave(&mut self, slice: i64, exit: &mut Exit) {
        match self {
            Self::TwoStacks(stacks) if slice < stacks.at.beyond => stacks.leave(slice),
            Self::SubtractOnEvict(window) if slice < window.beyond => {
                window.first = window.first.max(slice);
            }
            Self::TwoStacks(_) | Self::SubtractOnEvict(_) => self.clear(exit),
        }
    }

    /// Forgets all that has been combined.
    pub(crate) fn clear(&mut self, exit: &mut Exit) {
        let beyond = self.positions().beyond;
        match self {
            Self::TwoStacks(stacks) => {
                let at = Positions { first: beyond, turned: beyond, beyond };
                let none = TwoStacks { at, evicted: beyond, ..TwoStacks::new() };
                let TwoStacks { front, back, .. } = core::mem::replace(stacks, none);
                front.leave(exit);
                back.totals.leave(exit);
            }
            Self::SubtractOnEvict(window) => {
                let (first, evicted) = (beyond, beyond);
                let none = SubtractOnEvict { first, beyond, evicted, ..SubtractOnEvict::new() };
                core::mem::replace(window, none).running.totals.leave(exit);
            }
        }
    }

    /// Slices that have left are evicted, for all numbers.
    pub(crate) fn end_evicting(&mut self) {
        match self {
            Self::TwoStacks(stacks) => stacks.evicted = stacks.at.first,
            Self::SubtractOnEvict(window) => window.evicted = window.first,
        }
    }
}

impl<T: Clone> Combine<T> {
    /// Begins to make the content of the window of slices `[first, beyond)`, all of which are sealed or about to be.
    pub(crate) fn prepare<K: Hash + Eq + Clone>(
        &mut self,
        (first, beyond): (i64, i64),
        sealed: &Sealed<K, T>,
    ) {
        match self {
            Self::TwoStacks(stacks) => stacks.prepare(first, beyond, sealed),
            Self::SubtractOnEvict(window) => window.prepare(first, beyond, sealed),
        }
    }

    /// Evicts the slices that have left, for the keys of some numbers.
    pub(crate) fn evict_part<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        part: &Range<u32>,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        match self {
            Self::TwoStacks(TwoStacks { front, at, evicted, .. }) => {
                sealed.all_in(*evicted..at.first).for_each(|column| front.evict(column.part(part)));
            }
            Self::SubtractOnEvict(SubtractOnEvict { running, first, evicted, .. }) => {
                sealed.all_in(*evicted..*first).for_each(|column| running.evict(column.part(part), algebra));
            }
        }
    }

    /// Makes the content for the keys of the [next part](Self::next_part).
    pub(crate) fn prepare_part<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        part: Range<u32>,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        match self {
            Self::TwoStacks(stacks) => stacks.prepare_part(part, sealed, algebra),
            Self::SubtractOnEvict(window) => window.prepare_part(part, sealed, algebra),
        }
    }

    /// Makes the content for keys that are only in the last slice.
    pub(crate) fn prepare_new<'a, K, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        latest: impl Iterator<Item = (u32, &'a T)>,
        ids: u32,
        algebra: &Algebra<K, V, A>,
    ) where
        T: 'a,
    {
        match self {
            Self::TwoStacks(TwoStacks { back: totals, .. })
            | Self::SubtractOnEvict(SubtractOnEvict { running: totals, .. }) => {
                totals.reach(ids as usize);
                totals.enter(latest, algebra);
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
        let sealed = &store.sealed;
        let Some(id) = sealed.ids.get(hash, key) else { return };
        // (Slices that are still to be evicted, too: what is evicted then is what was combined.)
        let (totals, slices) = match self {
            Self::TwoStacks(TwoStacks { front, at, evicted, .. })
                if (*evicted..at.turned).contains(&slice) =>
            {
                return front.repair((*evicted, at.turned), id, sealed, algebra);
            }
            Self::TwoStacks(TwoStacks { back, at, .. }) => (back, at.turned..at.beyond),
            Self::SubtractOnEvict(SubtractOnEvict { running, evicted, beyond, .. }) => {
                (running, *evicted..*beyond)
            }
        };
        if !slices.contains(&slice) {
            return;
        }
        if let Some(whole) = algebra.fold_all(sealed.all_in(slices).filter_map(|column| column.get(id))) {
            totals.set(id, whole, algebra);
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
            Self::SubtractOnEvict(window) => window.prepare(at.first, at.beyond, sealed),
        }
        self.end_evicting();
        while let Some(part) = self.next_part(sealed.ids.beyond() as u32) {
            self.prepare_part(part, sealed, algebra);
        }
        self.end_parts();
    }
}

/// Each key's partial over some slices, by the number of the key.
#[derive(Debug)]
pub(crate) struct Totals<T> {
    /// With the number of slices that each key is in, so that a key leaves with the last of them.
    totals: Paged<Option<(T, u32)>>,
    keys: usize,
    /// Heap owned by the partials, as the aggregate tells it.
    heap: usize,
}

impl<T> Totals<T> {
    const fn new() -> Self {
        Self { totals: Paged::new(), keys: 0, heap: 0 }
    }

    fn bytes(&self) -> usize {
        self.totals.bytes() + self.heap
    }

    fn bytes_for(entries: usize) -> usize {
        Paged::<Option<(T, u32)>>::bytes_for(entries)
    }

    #[inline(always)]
    fn get(&self, id: u32) -> Option<&T> {
        self.totals.get(id as usize)?.as_ref().map(|(whole, _)| whole)
    }

    /// Has a place for each number below `ids`.
    fn reach(&mut self, ids: usize) {
        self.totals.reach(ids, || None);
    }
}

impl<T: Clone> Totals<T> {
    /// Forgets some keys.
    fn forget<K, V, A: Aggregate<V, Acc = T>>(&mut self, ids: &Range<u32>, algebra: &Algebra<K, V, A>) {
        for id in ids.clone() {
            if let Some((whole, _)) = self.totals[id as usize].take() {
                self.keys -= 1;
                self.heap -= algebra.aggregate.heap_bytes(&whole);
            }
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
        self.reach(ids.end as usize);
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
        latest.for_each(|(id, partial)| {
            let Some(total) = self.totals.get_mut(id as usize) else { return };
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
        });
    }

    /// Takes entries of the earliest slice out again.
    fn evict<'a, K, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        oldest: impl Iterator<Item = (u32, &'a T)>,
        algebra: &Algebra<K, V, A>,
    ) where
        T: 'a,
    {
        let aggregate = &algebra.aggregate;
        oldest.for_each(|(id, partial)| {
            let Some(total) = self.totals.get_mut(id as usize) else { return };
            let Some((whole, slices)) = total else { return };
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
        });
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
    /// The slices `[evicted, turned)`: those before `at.first` are still to be evicted.
    front: Front<T>,
    evicted: i64,
    /// The combination of `[turned, beyond)`.
    back: Totals<T>,
    pending: Option<Pending>,
}

impl<T> TwoStacks<T> {
    fn new() -> Self {
        let at = Positions::default();
        Self { at, front: Front::new(), evicted: at.first, back: Totals::new(), pending: None }
    }

    /// Slices before `slice`, of those that leave one by one, leave.
    fn leave(&mut self, slice: i64) {
        self.at.first = self.at.first.max(slice.min(self.at.turned));
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
        self.leave(first);
        self.at.beyond = beyond;
        let entering = sealed.all_in(at.beyond..beyond).count();
        self.pending = Some(Pending::new(false, at.beyond, entering));
    }

    /// Turns the slices before `at.turned` over: from here on they leave one by one.
    fn turn_over<K: Hash + Eq + Clone>(&mut self, at: Positions, sealed: &Sealed<K, T>) {
        let entries = sealed.range(at.first..at.turned).map(Column::len).sum();
        self.front.begin(entries);
        (self.at, self.evicted) = (at, at.first);
        self.pending = Some(Pending::new(true, at.turned, sealed.all_in(at.first..at.beyond).count()));
    }

    fn prepare_part<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        part: Range<u32>,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        let Some(pending) = self.pending.take() else { return };
        let at = self.at;
        if pending.is_anew && at.first < at.turned {
            self.front.begin_part(&part);
            let turned = sealed.range(at.first..at.turned).rev();
            turned.for_each(|column| self.front.put_part(column.part(&part), algebra));
        }
        self.back.take_in(sealed.all_in(pending.from..at.beyond), &part, pending.is_anew, algebra);
        self.pending = Some(pending.behind(&part));
    }
}

/// One running column: what enters is combined in, what leaves is taken out.
#[derive(Debug)]
pub(crate) struct SubtractOnEvict<T> {
    /// The slices `[evicted, beyond)`: those before `first` are still to be evicted.
    running: Totals<T>,
    first: i64,
    beyond: i64,
    evicted: i64,
    pending: Option<Pending>,
}

impl<T> SubtractOnEvict<T> {
    fn new() -> Self {
        Self { running: Totals::new(), first: 0, beyond: 0, evicted: 0, pending: None }
    }
}

impl<T: Clone> SubtractOnEvict<T> {
    fn prepare<K: Hash + Eq + Clone>(&mut self, first: i64, beyond: i64, sealed: &Sealed<K, T>) {
        let is_anew = self.first > first || first > self.beyond || self.beyond > beyond;
        let from = if is_anew { first } else { self.beyond };
        if is_anew {
            self.evicted = first;
        }
        (self.first, self.beyond) = (first, beyond);
        self.pending = Some(Pending::new(is_anew, from, sealed.all_in(from..beyond).count()));
    }

    fn prepare_part<K: Hash + Eq + Clone, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        part: Range<u32>,
        sealed: &Sealed<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        let Some(pending) = self.pending.take() else { return };
        self.running.take_in(sealed.all_in(pending.from..self.beyond), &part, pending.is_anew, algebra);
        self.pending = Some(pending.behind(&part));
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
    const END: Self = Self { from: 0, occupied: 0, next: usize::MAX };
}

/// How far the keys of a window have been looked at, whether they have been prepared or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyScan {
    /// Those that have a number, or all if it is not about numbers.
    scan: Scan,
    /// Then those that have none: from a spot of the slice that comes on.
    spot: usize,
    /// How many of those have been found before.
    pub(crate) found: usize,
}

impl KeyScan {
    /// From where a scan is.
    pub(crate) fn from(scan: Scan) -> Self {
        Self { scan, spot: 0, found: 0 }
    }

    /// From a spot on, before which so many had none.
    pub(crate) fn from_spot((spot, found): (usize, usize)) -> Self {
        Self { scan: Scan::END, spot, found }
    }

    /// There are no more that have a number.
    pub(crate) fn pass_numbers(&mut self) {
        self.scan = Scan::END;
    }
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

impl<'a, K: Hash + Eq + Clone, T> Content<'a, K, T> {
    /// Looks where the next key may be, whether it has been prepared or not: none if that was all.
    pub(crate) fn look_at_key(&self, keys: &mut KeyScan, hashing: &Hashing<K>) -> Option<Option<&'a K>> {
        if let Some(spot) = self.next(&mut keys.scan) {
            return Some(self.at(spot).map(|(key, ..)| key));
        }
        let (sealed, slices) = match *self {
            Self::Nothing | Self::One(_) => return None,
            Self::Stacks(sealed, stacks) => (sealed, stacks.at.first..stacks.at.beyond),
            Self::Running(sealed, window) => (sealed, window.first..window.beyond),
        };
        if keys.scan.next < sealed.ids.beyond() {
            let id = keys.scan.next as u32;
            keys.scan.next += 1;
            let is_sealed = sealed.range(slices).rev().any(|column| column.get(id).is_some());
            return Some(sealed.ids.key(id).filter(|_| is_sealed || sealed.comes_with(id, hashing)));
        }
        let found = sealed.next_new(&mut keys.spot, hashing)?;
        keys.found += usize::from(found.is_some());
        Some(found)
    }

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

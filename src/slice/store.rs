//! All slices: those near the watermark in a ring, those far ahead in a tree.
//!
//! The ring covers the slices `[base, base + len)`, one slot each; finding an event's slice there is an
//! index computation. An event a thousand years ahead must not stretch the ring, so what lies beyond it
//! is kept by number in a tree and moves into the ring when the ring gets there. Where slices are not even there
//! is no such index: then all of them are in the tree.
//!
//! Slices that windows are combined from are sealed first: columns take the place of their tables.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::Hash;
use core::mem::size_of;

use super::open::{Hot, OpenSlice, OpenTables, left_to_hold};
use super::pool::Pool;
use super::slide::Several;
use super::{Column, Entries, Exit, Hashing, Ids, Numbered, OpenPair, PutEntry, Run, Sealed, sealed};
use crate::grid::{Grid, Ruler};
use crate::key::ToKey;
use crate::lattice::Lattice;

/// Slots that the ring has from the start, and those it may grow to: far more slices than most windows
/// have, yet an empty ring of this size takes only a few megabytes.
const RING_MIN: usize = 16;
const RING_MAX: usize = 1 << 16;
/// Slots that the ring may have for each slice that is there.
const RING_SPARSE: usize = 8;

#[derive(Debug)]
pub(crate) struct Store<K, T> {
    lattice: Lattice,
    /// Of the ring, which is empty for ever where slices are not even.
    ruler: Ruler,
    /// Empty, or a power of two of slots; slice `s` in slot `s mod len`. A table without entries is a slice
    /// that is not there.
    ring: Vec<Entries<K, T>>,
    /// The first slice the ring covers: the first of a slide, so that the ruler can start there.
    base: i64,
    base_start: i64,
    /// From `base_start` to the end of what the ring covers.
    span: u64,
    /// Where most events fall, and from when on they are let in at all.
    hot: Hot<K, T>,
    gate: i64,
    far: BTreeMap<i64, Entries<K, T>>,
    pub(crate) sealed: Sealed<K, T>,
    /// Slices before this one have expired.
    expired: i64,
    /// Tables that are live, and how many of them are in the ring.
    live: usize,
    live_in_ring: usize,
    pool: Pool<K, T>,
    /// Bytes of all live tables, and entries that they have room for.
    bytes: usize,
    room: usize,
    /// Heap of their partials, and the spots that the largest has had.
    heap: usize,
    spots: usize,
    /// The snapshot that is being taken.
    cut: Option<Box<Cut<K, T>>>,
}

/// What a snapshot that is being taken still has to hold of slices.
#[derive(Debug)]
struct Cut<K, T> {
    /// Slices that were there, in the order in which they are held: open ones first, because they change.
    slices: Vec<i64>,
    /// Tables of those that have expired or been sealed since.
    expired: Vec<(i64, Entries<K, T>)>,
    /// Tables that are open and not held yet: while there are some, events go the long way.
    open: usize,
}

/// A slice in a snapshot, with the number of its entries and whether they follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutSlice {
    pub(crate) slice: i64,
    pub(crate) entries: usize,
    pub(crate) follows: bool,
}

/// A slice that is there.
#[derive(Debug)]
pub(crate) enum Slice<'a, K, T> {
    Open(&'a Entries<K, T>),
    Sealed(&'a Ids<K>, &'a Column<T>),
}

impl<K, T> Clone for Slice<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T> Copy for Slice<'_, K, T> {}

impl<'a, K, T> Slice<'a, K, T> {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Open(table) => table.len(),
            Self::Sealed(_, column) => column.len(),
        }
    }

    /// The entry at a spot of its table, or at a place of its column.
    #[inline(always)]
    pub(crate) fn at(self, spot: usize) -> Option<(&'a K, &'a T)> {
        match self {
            Self::Open(table) => table.at(spot),
            Self::Sealed(ids, column) => {
                let (id, partial) = column.at(spot)?;
                Some((ids.key(id)?, partial))
            }
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a K, &'a T)> {
        let (table, places) = match self {
            Self::Open(table) => (Some(table), 0),
            Self::Sealed(_, column) => (None, column.len()),
        };
        table.into_iter().flat_map(Entries::iter).chain((0..places).filter_map(move |place| self.at(place)))
    }
}

impl<'a, K: Hash + Eq + Clone, T> Slice<'a, K, T> {
    pub(crate) fn get<Q: ToKey<K>>(self, hash: u64, key: &Q) -> Option<&'a T> {
        match self {
            Self::Open(table) => table.get(hash, key),
            Self::Sealed(ids, column) => column.get(ids.get(hash, key)?),
        }
    }

    pub(crate) fn spot_of(self, hash: u64, key: &K) -> Option<usize> {
        match self {
            Self::Open(table) => table.spot_of(hash, key),
            Self::Sealed(ids, column) => column.place_of(ids.get(hash, key)?).ok(),
        }
    }
}

impl<K, T> Store<K, T> {
    pub(crate) fn new(lattice: Lattice) -> Self {
        Self {
            ruler: lattice.grid().unwrap_or(&Grid::new(1, 1, 0)).ruler(),
            lattice,
            ring: Vec::new(),
            base: 0,
            base_start: 0,
            span: 0,
            hot: Hot::closed(),
            gate: i64::MAX,
            far: BTreeMap::new(),
            sealed: Sealed::new(),
            expired: i64::MIN,
            live: 0,
            live_in_ring: 0,
            pool: Pool::new(),
            bytes: 0,
            room: 0,
            heap: 0,
            spots: 0,
            cut: None,
        }
    }

    fn is_even(&self) -> bool {
        self.lattice.grid().is_some()
    }

    pub(crate) fn lattice(&self) -> &Lattice {
        &self.lattice
    }

    /// Lets events from `from` on in by [`Store::open_at`].
    pub(crate) fn open(&mut self, from: i64) {
        self.close();
        // Where disorder is less than a slice long, events fall into the first open slice and the next.
        match self.is_even() {
            true => self.open_even(from),
            false => self.open_uneven(from),
        }
    }

    fn open_even(&mut self, from: i64) {
        if self.ring.is_empty() {
            return;
        }
        self.gate = from.max(self.base_start);
        let distance = self.gate.wrapping_sub(self.base_start) as u64;
        if distance >= self.span {
            return;
        }
        let slot = self.ruler.slices(distance);
        if slot + 1 >= self.ring.len() as u64 {
            return;
        }
        let first = self.base.saturating_add(slot as i64);
        let (edge, end) = (self.lattice.end_of(first), self.lattice.end_of(first.saturating_add(1)));
        self.hot.slices = [first, first.saturating_add(1)];
        (self.hot.from, self.hot.span, self.hot.edge) = (self.gate, end.abs_diff(self.gate), edge);
        self.swap_hot();
    }

    fn open_uneven(&mut self, from: i64) {
        if from == i64::MIN || from == i64::MAX {
            return;
        }
        // The edges may be dear to ask for, and most often they are those of before.
        if from < self.hot.from || from >= self.hot.edge {
            let first = self.lattice.slice_of(from);
            self.hot.edge = self.lattice.end_of(first);
            self.hot.slices = [first, self.lattice.slice_of(self.hot.edge)];
        }
        self.hot.from = from;
        self.hot.span = self.lattice.end_of(self.hot.slices[1]).abs_diff(from);
        self.swap_hot();
    }

    /// Whether it lets events in.
    pub(crate) fn is_open(&self) -> bool {
        self.gate < i64::MAX || self.hot.span > 0
    }

    /// Lets no event in by [`Store::open_at`].
    pub(crate) fn close(&mut self) {
        self.gate = i64::MAX;
        if self.hot.span > 0 {
            self.swap_hot();
            self.hot.span = 0;
        }
    }

    /// Takes the tables of the hot slices out of where they are, or puts them back.
    fn swap_hot(&mut self) {
        let (is_even, mask) = (self.is_even(), self.ring.len().wrapping_sub(1));
        for (table, &slice) in self.hot.tables.iter_mut().zip(&self.hot.slices) {
            if is_even {
                core::mem::swap(table, &mut self.ring[slice as usize & mask]);
            } else if table.is_empty() {
                *table = self.far.remove(&slice).unwrap_or_else(Entries::new);
            } else {
                self.far.insert(slice, core::mem::replace(table, Entries::new()));
            }
        }
    }

    /// The table of the slice at `time`, if that is open and the ring has it. It may be empty.
    #[inline(always)]
    pub(crate) fn open_at(&mut self, time: i64) -> Option<&mut Entries<K, T>> {
        if self.hot.covers(time) {
            return Some(self.hot.table(time));
        }
        let slot = self.open_slot(time)?;
        let table = self.ring.get_mut(slot)?;
        table.change();
        Some(table)
    }

    #[inline(always)]
    fn open_slot(&self, time: i64) -> Option<usize> {
        let distance = time.wrapping_sub(self.base_start) as u64;
        if time < self.gate || distance >= self.span {
            return None;
        }
        let slot = self.ruler.slices(distance) as usize;
        Some((self.base as usize).wrapping_add(slot) & self.ring.len().wrapping_sub(1))
    }

    /// What [`Store::open_at`] finds, for many events.
    #[inline(always)]
    pub(crate) fn open_tables(&mut self) -> OpenTables<'_, K, T> {
        self.hot.tables.iter_mut().for_each(Entries::change);
        let Self { ring, hot, gate, base, base_start, span, ruler, .. } = self;
        OpenTables {
            hot: (hot.from, hot.span, hot.edge),
            tables: &mut hot.tables,
            ring,
            gate: *gate,
            base: *base,
            base_start: *base_start,
            span: *span,
            ruler: *ruler,
        }
    }

    /// The two slices that most events go into, if they are open.
    #[inline(always)]
    pub(crate) fn open_pair(&mut self) -> Option<OpenPair<'_, K, T>> {
        let Hot { from, span, edge, tables, .. } = &mut self.hot;
        let until = from.wrapping_add(*span as i64);
        (*span > 0).then_some(OpenPair { from: *from, edge: *edge, until, tables })
    }

    /// The slice at `time`, if it is one of the two that most events go into.
    #[inline(always)]
    pub(crate) fn open_slice(&mut self, time: i64) -> Option<OpenSlice<'_, K, T>> {
        let hot = &mut self.hot;
        if !hot.covers(time) {
            return None;
        }
        let (from, span) = match hot.edge.wrapping_sub(hot.from) as u64 {
            first if time < hot.edge => (hot.from, first),
            first => (hot.edge, hot.span - first),
        };
        Some(OpenSlice { from, span, table: hot.table(time) })
    }

    pub(crate) fn live(&self) -> usize {
        self.live + self.sealed.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let far = self.far.len() * size_of::<(i64, Entries<K, T>)>();
        let ring = self.ring.capacity() * size_of::<Entries<K, T>>();
        self.bytes + self.pool.bytes + ring + far + self.sealed.bytes()
    }

    /// Entries that the live slices have room for.
    pub(crate) fn room(&self) -> usize {
        self.room + self.sealed.room()
    }

    /// Slices to come will probably have so many keys.
    pub(crate) fn expect(&mut self, keys: usize) {
        self.pool.expect(keys);
    }

    /// By how many bytes sealing slices, so many together, may make this grow where they have room for so many entries.
    pub(crate) fn sealing_growth(&self, coming: usize, entries: usize) -> usize {
        let slices = self.live() + 1;
        // (Partials are copied.)
        self.heap
            + self.sealed.growth_for((slices, coming.min(slices)), (entries, self.spots), self.pool.expected)
    }

    fn slot(&self, slice: i64) -> Option<usize> {
        let beyond = (self.base as i128) + self.ring.len() as i128;
        (self.base <= slice && i128::from(slice) < beyond)
            .then(|| (slice as usize) & (self.ring.len().wrapping_sub(1)))
    }

    /// A slice, if it is there.
    #[inline(always)]
    pub(crate) fn get(&self, slice: i64) -> Option<Slice<'_, K, T>> {
        match slice < self.sealed.before {
            true => self.sealed.get(slice).map(|column| Slice::Sealed(&self.sealed.ids, column)),
            false => self.table(slice).map(Slice::Open),
        }
    }

    #[inline(always)]
    fn table(&self, slice: i64) -> Option<&Entries<K, T>> {
        if let Some(coming) = self.sealed.coming().iter().find(|coming| coming.slice == slice) {
            return Some(&coming.table);
        }
        let table = match (self.hot.get(slice), self.slot(slice)) {
            (Some(table), _) => Some(table),
            (None, Some(slot)) => self.ring.get(slot),
            (None, None) => self.far.get(&slice),
        };
        table.filter(|table| !table.is_empty())
    }

    /// The first slice at or after `from` that is there.
    pub(crate) fn next_live(&self, from: i64) -> Option<i64> {
        self.sealed.next(from).or_else(|| self.next_open(from))
    }

    fn next_open(&self, from: i64) -> Option<i64> {
        if let Some(coming) = self.sealed.coming().iter().find(|coming| coming.slice >= from) {
            return Some(coming.slice);
        }
        let far = self.far.range(from..).next().map(|(&slice, _)| slice);
        let hot = self.hot.live().find(|&slice| slice >= from);
        let beyond = self.base.saturating_add(self.ring.len() as i64);
        let covered = if self.live_in_ring > 0 { from.max(self.base)..beyond } else { 0..0 };
        let ring = covered.into_iter().find(|&slice| self.table(slice).is_some());
        [far, hot, ring].into_iter().flatten().min()
    }

    /// An instant in the first slice that is there. O(1) where the ring starts with it.
    pub(crate) fn first_instant(&self) -> Option<i64> {
        self.next_live(i64::MIN).map(|slice| self.lattice.instant(slice))
    }

    /// The last slice that is there.
    pub(crate) fn last_live(&self) -> Option<i64> {
        // What is in the tree lies beyond the ring.
        let far = self.far.last_key_value().map(|(&slice, _)| slice);
        let beyond = self.base.saturating_add(self.ring.len() as i64);
        let covered = if far.is_none() && self.live_in_ring > 0 { self.base..beyond } else { 0..0 };
        let ring = covered.into_iter().rev().find(|&slice| self.table(slice).is_some());
        let coming = || self.sealed.coming().last().map(|coming| coming.slice);
        let open = [far, self.hot.live().next_back(), ring].into_iter().flatten().max();
        open.or_else(coming).or_else(|| self.sealed.last())
    }

    /// The slices in `[first, beyond)` that are there, in the order of time.
    pub(crate) fn live_in(&self, first: i64, beyond: i64) -> impl Iterator<Item = i64> + '_ {
        let mut from = Some(first);
        core::iter::from_fn(move || {
            let slice = self.next_live(from?).filter(|&slice| slice < beyond)?;
            from = slice.checked_add(1);
            Some(slice)
        })
    }

    /// All slices that are there, in the order of time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, Slice<'_, K, T>)> {
        self.live_in(i64::MIN, i64::MAX).filter_map(|slice| self.get(slice).map(|found| (slice, found)))
    }

    /// Does a little of what is left to do after slices have expired.
    #[inline]
    pub(crate) fn tidy(&mut self) {
        if !self.pool.retired.is_empty() {
            self.pool.tidy();
        }
        if self.sealed.has_retired() {
            self.sealed.tidy();
        }
        if self.is_returning() {
            self.return_some();
        }
    }

    /// Where memory goes that nobody needs any more.
    pub(crate) fn exit(&mut self) -> &mut Exit {
        &mut self.sealed.exit
    }

    /// Whether memory is on its way back to the system.
    #[inline]
    pub(crate) fn is_returning(&self) -> bool {
        !self.pool.exit.is_empty() || !self.sealed.exit.is_empty()
    }

    /// Gives a little of it back; whether there is more.
    #[inline(never)]
    pub(crate) fn return_some(&mut self) -> bool {
        match self.pool.exit.is_empty() {
            false => self.pool.exit.go_on(),
            true => self.sealed.exit.go_on(),
        }
        self.is_returning()
    }

    /// Gives all of it back: nobody may ask again.
    pub(crate) fn return_all(&mut self) {
        (self.pool.exit, self.sealed.exit) = (Exit::new(), Exit::new());
    }

    /// Takes the tables of all slices before `slice` out, in the order of time.
    fn take_before(&mut self, slice: i64, mut then: impl FnMut(&mut Self, i64, Entries<K, T>)) {
        self.close();
        if !self.ring.is_empty() {
            let beyond = slice.min(self.base.saturating_add(self.ring.len() as i64));
            for old in self.base..beyond {
                if self.live_in_ring == 0 {
                    break;
                }
                if let Some(table) = self.take_from_ring(old) {
                    then(self, old, table);
                }
            }
        }
        while let Some(first) = self.far.first_entry()
            && *first.key() < slice
        {
            let (old, table) = first.remove_entry();
            then(self, old, table);
        }
        if !self.ring.is_empty() {
            self.move_base(self.base.max(self.whole_slide(slice)));
        }
    }

    fn take_from_ring(&mut self, slice: i64) -> Option<Entries<K, T>> {
        self.close();
        let slot = self.slot(slice)?;
        let table = self.ring.get_mut(slot).filter(|table| !table.is_empty())?;
        let table = core::mem::replace(table, Entries::new());
        self.live_in_ring -= 1;
        Some(table)
    }

    /// The table of a slice that is not sealed, if it is there; it may be empty.
    fn table_mut(&mut self, slice: i64) -> Option<&mut Entries<K, T>> {
        self.close();
        if self.sealed.coming().iter().any(|coming| coming.slice == slice) {
            return self.sealed.coming_mut(slice);
        }
        match self.slot(slice) {
            Some(slot) => self.ring.get_mut(slot),
            None => self.far.get_mut(&slice),
        }
    }

    fn drop_live(&mut self, slice: i64, table: Entries<K, T>) {
        self.pass_on(&table);
        self.retire(slice, table);
    }

    /// A table is about to be no more that of an open slice; how many keys slices have.
    fn pass_on(&mut self, table: &Entries<K, T>) -> usize {
        self.live -= 1;
        self.bytes -= table.bytes();
        self.room -= table.capacity();
        self.heap -= table.heap();
        self.pool.expect(table.len());
        self.pool.expected
    }

    /// Nobody needs the table of a slice any more, but for a snapshot that has still to hold it.
    fn retire(&mut self, slice: i64, table: Entries<K, T>) {
        match &mut self.cut {
            Some(cut) if table.is_cut() => {
                cut.open -= 1;
                cut.expired.push((slice, table));
            }
            _ => self.pool.put(table),
        }
    }

    /// Brings the ring to start at `base`, which must not leave a slice behind.
    fn move_base(&mut self, base: i64) {
        self.close();
        self.base = base;
        if self.live_in_ring == 0
            && let Some((&first, _)) = self.far.first_key_value()
        {
            self.base = self.base.max(self.whole_slide(first));
        }
        self.measure();
        while let Some((&first, _)) = self.far.first_key_value()
            && let Some(slot) = self.slot(first)
        {
            if let Some(table) = self.far.remove(&first) {
                self.ring[slot] = table;
                self.live_in_ring += 1;
            }
        }
    }

    /// Where the ring may start to cover `slice`.
    fn whole_slide(&self, slice: i64) -> i64 {
        self.lattice.grid().map_or(slice, |grid| grid.whole_slide(slice))
    }

    /// Makes the ring cover `slice` if that is a matter of slots and not of memory.
    fn reach(&mut self, slice: i64) {
        if !self.is_even() {
            return;
        }
        if self.ring.is_empty() {
            self.ring.resize_with(RING_MIN, Entries::new);
        }
        if self.live == 0 || slice < self.base {
            self.lower_base(self.whole_slide(slice));
        }
        if let Some(slots) = self.ring_for(slice) {
            self.grow_ring(slots);
        }
    }

    /// How many slots the ring should grow to so that it covers `slice`, if that is worth it: a slot costs
    /// little, but a few slices far apart must not cost thousands of them.
    fn ring_for(&self, slice: i64) -> Option<usize> {
        let needed = i128::from(slice) - i128::from(self.base) + 1;
        let worth = RING_MAX.min(RING_SPARSE * (self.live + 1)) as i128;
        let is_even = self.is_even();
        (is_even && self.live > 0 && needed > self.ring.len() as i128 && needed <= worth)
            .then(|| (needed as usize).next_power_of_two())
    }

    /// Starts the ring earlier; what falls off its end goes to the tree.
    fn lower_base(&mut self, base: i64) {
        let end = self.base.saturating_add(self.ring.len() as i64);
        let kept = base.saturating_add(self.ring.len() as i64).clamp(self.base, end);
        for slice in kept..end {
            if self.live_in_ring == 0 {
                break;
            }
            if let Some(table) = self.take_from_ring(slice) {
                self.far.insert(slice, table);
            }
        }
        self.base = base;
        self.measure();
    }

    /// Where the ring starts and how far it reaches, in time. At the edge of time, where that is cut
    /// short, events go the long way.
    fn measure(&mut self) {
        self.close();
        self.base_start = self.lattice.instant(self.base);
        let end = self.lattice.instant(self.base.saturating_add(self.ring.len() as i64));
        self.span = end.abs_diff(self.base_start).min(Ruler::REACH);
    }

    fn grow_ring(&mut self, slots: usize) {
        self.close();
        let mut grown: Vec<Entries<K, T>> = Vec::new();
        grown.resize_with(slots, Entries::new);
        let old = self.ring.len();
        for slice in self.base..self.base.saturating_add(old as i64) {
            core::mem::swap(
                &mut grown[slice as usize & (slots - 1)],
                &mut self.ring[slice as usize & (old - 1)],
            );
        }
        self.ring = grown;
        self.move_base(self.base);
    }
}

// A snapshot that is being taken.
impl<K, T> Store<K, T> {
    /// Begins to hold all slices or, with `only_changed`, those that have changed since the last snapshot began.
    pub(crate) fn begin_cut(&mut self, put: PutEntry<K, T>, only_changed: bool) -> Vec<CutSlice> {
        self.close();
        self.sealed.cut = Some(sealed::Cut { put, held: BTreeMap::new() });
        let slices: Vec<(i64, usize)> = self.iter().map(|(slice, found)| (slice, found.len())).collect();
        let (mut open, mut sealed, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (slice, entries) in slices {
            let is_sealed = slice < self.sealed.before;
            let is_changed = self.take_changed(slice);
            let is_held = is_changed || !only_changed;
            all.push(CutSlice { slice, entries, follows: is_held });
            match is_sealed {
                _ if !is_held => {}
                true => {
                    self.sealed.begin_cut(slice);
                    sealed.push(slice);
                }
                false => {
                    if let Some(table) = self.table_mut(slice) {
                        table.begin_cut(put);
                        open.push(slice);
                    }
                }
            }
        }
        let count = open.len();
        sealed.append(&mut open);
        self.cut = Some(Box::new(Cut { slices: sealed, expired: Vec::new(), open: count }));
        all
    }

    /// All that is there is in a snapshot.
    pub(crate) fn forget_changes(&mut self) {
        let slices: Vec<i64> = self.iter().map(|(slice, _)| slice).collect();
        for slice in slices {
            self.take_changed(slice);
        }
    }

    fn take_changed(&mut self, slice: i64) -> bool {
        match slice < self.sealed.before {
            true => self.sealed.take_changed(slice),
            false => self.table_mut(slice).is_some_and(Entries::take_changed),
        }
    }

    /// Whether events have to go the long way, because a snapshot has still to hold what they may change.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.open > 0)
    }

    /// Whether what has still to be held is in the way: of tables that change, or that would have gone.
    pub(crate) fn is_pressing(&self) -> bool {
        self.is_cut() || self.cut.as_ref().is_some_and(|cut| !cut.expired.is_empty())
    }

    /// How much has still to be held of the two slices that most events go into, if they are open, in groups of entries.
    pub(crate) fn left_to_hold(&self) -> usize {
        left_to_hold(&self.hot.tables)
    }

    /// Holds some entries of a slice, and gives out what has been held of it, and how much it has looked at; none if all
    /// slices are held.
    pub(crate) fn hold_some(&mut self, most: usize) -> Option<(i64, Run, usize)> {
        if let Some((slice, run)) = self.sealed.cut.as_mut().and_then(|cut| cut.held.pop_first()) {
            return Some((slice, run, 1));
        }
        let mut cut = self.cut.take()?;
        let next = self.hold_next(&mut cut, most);
        if next.is_some() {
            self.cut = Some(cut);
        } else {
            self.sealed.cut = None;
        }
        next
    }

    fn hold_next(&mut self, cut: &mut Cut<K, T>, most: usize) -> Option<(i64, Run, usize)> {
        if let Some((slice, table)) = cut.expired.last_mut() {
            let (run, looked) = table.hold_some(most);
            let next = (*slice, run, looked);
            if table.left_to_hold() == 0
                && let Some((_, table)) = cut.expired.pop()
            {
                self.pool.put(table);
            }
            return Some(next);
        }
        let slice = *cut.slices.last()?;
        let ((run, looked), is_done) = match slice < self.sealed.before {
            true => self.sealed.hold_some(slice, most),
            false => match self.table_mut(slice).filter(|table| table.is_cut()) {
                None => ((Run::new(), 0), true),
                Some(table) => {
                    let (run, looked) = table.hold_some(most);
                    let is_done = table.left_to_hold() == 0;
                    if is_done {
                        table.end_cut();
                        cut.open -= 1;
                    }
                    ((run, looked), is_done)
                }
            },
        };
        if is_done {
            cut.slices.pop();
        }
        Some((slice, run, looked))
    }

    /// No snapshot is being taken any more.
    pub(crate) fn end_cut(&mut self) {
        self.sealed.end_cut();
        let Some(cut) = self.cut.take() else { return };
        for slice in cut.slices {
            if let Some(table) = self.table_mut(slice) {
                table.end_cut();
            }
        }
    }
}

impl<K: Hash + Eq + Clone, T> Store<K, T> {
    /// Expires all slices before `slice`; their tables are kept for others, unless nothing is live for the
    /// second time in a row, or the input has ended: then all memory is returned, which is the answer.
    pub(crate) fn expire_before(&mut self, slice: i64, at_end: bool) -> bool {
        if slice <= self.expired && !at_end {
            return false;
        }
        self.expired = slice;
        self.close();
        self.sealed.expire_before(slice);
        self.take_before(slice, |store, slice, table| store.drop_live(slice, table));
        let returns = self.live() == 0 && (at_end || self.pool.unused);
        self.pool.unused = self.live() == 0;
        if returns {
            self.pool.empty();
            self.sealed.empty();
        }
        returns
    }

    /// By how many bytes, and by room for how many entries, a new key in this slice makes the state grow.
    pub(crate) fn growth(&self, slice: i64, hash: u64, hashing: &Hashing<K>) -> (usize, usize) {
        if slice < self.sealed.before {
            return self.sealed.growth(slice);
        }
        let ring = match self.ring_for(slice) {
            Some(slots) => slots * size_of::<Entries<K, T>>(),
            None if self.ring.is_empty() && self.is_even() => RING_MIN * size_of::<Entries<K, T>>(),
            None => 0,
        };
        // A slice that is not there may go into the tree, and where the ring has to start earlier others may, too.
        let moved = if slice < self.base { self.live_in_ring } else { 0 };
        let place = (1 + moved) * size_of::<(i64, Entries<K, T>)>();
        let (bytes, entries) = match (self.table(slice), self.pool.chosen()) {
            (Some(table), _) => {
                let (bytes, entries) = table.growth(hash, self.pool.expected);
                return (ring + bytes, entries);
            }
            (None, Some(table)) => {
                let (bytes, entries) = table.growth(hash, self.pool.expected);
                (bytes, table.capacity() + entries)
            }
            (None, None) => Entries::<K, T>::growth_of_new(hash, self.pool.expected, hashing),
        };
        (ring + place + bytes, entries)
    }

    pub(crate) fn get_mut<Q: ToKey<K>>(&mut self, slice: i64, hash: u64, key: &Q) -> Option<&mut T> {
        if slice < self.sealed.before {
            return self.sealed.get_mut(slice, hash, key);
        }
        let table = self.table_mut(slice)?;
        table.change();
        if table.is_cut() {
            table.hold(hash, key);
        }
        table.get_mut(hash, key)
    }

    /// Notes that a partial's own heap changed.
    pub(crate) fn add_heap(&mut self, slice: i64, before: usize, after: usize) {
        if before == after {
            return;
        }
        if slice < self.sealed.before {
            return self.sealed.add_heap(slice, before, after);
        }
        self.bytes = self.bytes + after - before;
        self.heap = self.heap + after - before;
        if let Some(table) = self.table_mut(slice) {
            table.add_heap(before, after);
        }
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Store<K, T> {
    /// Adds a key that the slice does not have yet.
    pub(crate) fn insert(
        &mut self,
        slice: i64,
        hash: u64,
        key: K,
        partial: T,
        heap: usize,
        hashing: &Hashing<K>,
    ) {
        if slice < self.sealed.before {
            return self.sealed.insert(slice, hash, &key, partial, heap, hashing);
        }
        self.close();
        let slot = match self.slot(slice) {
            Some(slot) if self.live > 0 => Some(slot),
            _ => {
                self.reach(slice);
                self.slot(slice)
            }
        };
        let table = match slot {
            Some(slot) => &mut self.ring[slot],
            None => self.far.entry(slice).or_insert_with(Entries::new),
        };
        let (mut before, mut room) = (table.bytes(), table.capacity());
        if table.is_empty() {
            *table = self.pool.get().unwrap_or_else(|| Entries::with(hashing));
            self.pool.unused = false;
            (before, room) = (0, 0);
            self.live += 1;
            self.live_in_ring += usize::from(slot.is_some());
        }
        table.insert(hash, key, partial, (heap, self.pool.expected), hashing);
        self.pool.expected = self.pool.expected.max(table.len());
        self.bytes = self.bytes + table.bytes() - before;
        self.room = self.room + table.capacity() - room;
        self.heap += heap;
        self.spots = self.spots.max(table.spots());
    }

    /// Seals all slices before `slice`. O(entries), and O(1) if they all are.
    pub(crate) fn seal_before(&mut self, slice: i64, hashing: &Hashing<K>) {
        if slice <= self.sealed.before {
            return;
        }
        self.take_before(slice, |store, old, table| store.seal(old, table, hashing));
        self.sealed.before = slice;
    }

    fn seal(&mut self, slice: i64, table: Entries<K, T>, hashing: &Hashing<K>) {
        let expected = self.pass_on(&table);
        let table = self.sealed.seal(slice, table, expected, hashing);
        self.retire(slice, table);
    }

    /// Begins to seal all slices before `beyond`: while the window of the slices from `first` on is drained, but for those before it, and
    /// the first ones of so few keys that it is better done at once.
    pub(crate) fn begin_slide(&mut self, (first, beyond): (i64, i64), hashing: &Hashing<K>) {
        let mut coming: Several<(i64, Entries<K, T>)> = Several::new();
        let mut keys = 0;
        if beyond > self.sealed.before {
            self.take_before(beyond, |store, slice, table| {
                keys += table.len();
                // (Columns are in the order of time: what follows on a slice that comes does so, too.)
                match coming.is_empty() && (slice < first || store.sealed.is_soon_sealed(keys)) {
                    true => store.seal(slice, table, hashing),
                    false => coming.push((slice, table)),
                }
            });
        }
        let expected: Several<usize> = coming.iter().map(|(_, table)| self.pass_on(table)).collect();
        self.sealed.begin_slide(beyond, coming.into_iter().zip(expected));
    }

    /// Slides on once all numbers are done; the keys that have numbers now, and whether there may be more.
    pub(crate) fn slide_on(&mut self, hashing: &Hashing<K>) -> (Numbered, bool) {
        let (numbered, retired) = self.sealed.slide_on(hashing);
        for (slice, table) in retired {
            self.retire(slice, table);
        }
        (numbered, self.sealed.slide.is_some())
    }
}

//! One definition whose windows are made of slices: what of it is due, and what late events have made of it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::hash::Hash;

use serde::{Deserialize, Serialize};

use super::Order;
use crate::aggregate::Aggregate;
use crate::config::LateFiring;
use crate::grid::Bounds;
use crate::lateness::Lateness;
use crate::lattice::Lattice;
use crate::slice::{Algebra, Combine, Hashing, PutEntry, Run, Slice, Store, Strategy, Table};
use crate::windows::{Assigner, Definition};

/// What is known of a key's panes of a window that fired late for it, or empty.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Reissue {
    /// The index of its next pane.
    pub(crate) next: u32,
    /// It is among `Sliced::marked`.
    pub(crate) marked: bool,
}

/// A late event that has been applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied<'a, K> {
    pub(super) key: &'a K,
    pub(super) hash: u64,
    pub(super) slice: i64,
    /// Whether the key was in the slice before.
    pub(super) was_there: bool,
}

#[derive(Debug)]
pub(crate) struct Sliced<K, T> {
    /// Which definition this is.
    pub(crate) number: u32,
    pub(crate) assigner: Assigner,
    pub(crate) lateness: Lateness,
    late_firing: LateFiring,
    pub(crate) fill: Option<i64>,
    /// Windows may be made of several slices.
    is_combined: bool,
    /// So many slices are between the end of one and that of the next, at most.
    pub(super) per_slide: usize,
    /// Windows that end by this have fired, or were empty when they would have.
    pub(crate) fired: i64,
    pub(crate) combine: Combine<T>,
    /// By the end of the window. Only windows and keys that late events touched, or that fired empty.
    pub(crate) reissues: BTreeMap<i64, Table<K, Reissue>>,
    reissue_bytes: usize,
    /// With [`LateFiring::OncePerDrain`], what late events touched since the last drain, by (end, start).
    pub(crate) marked: BTreeMap<(i64, i64), VecDeque<K>>,
    pub(crate) marks: usize,
    cut: Cut<K>,
}

/// What a snapshot that is being taken still has to hold of what late events have left.
#[derive(Debug)]
struct Cut<K> {
    /// The windows that are still to be held, the last one first.
    windows: Vec<i64>,
    /// Those of them that have closed since.
    closed: Vec<(i64, Table<K, Reissue>)>,
}

impl<K, T> Sliced<K, T> {
    pub(crate) fn new(number: u32, definition: &Definition, lattice: &Lattice) -> Self {
        // Where slices are even, one window is like the other.
        let is_slice = |window| matches!(lattice.slices(window), (first, beyond) if first + 1 == beyond);
        let is_single = lattice.grid().is_some()
            && matches!(definition.assigner, Assigner::Periodic(_))
            && definition.assigner.first_ending_after(0).is_some_and(is_slice);
        Self {
            number,
            assigner: definition.assigner.clone(),
            lateness: definition.lateness,
            late_firing: definition.late_firing,
            fill: definition.fill,
            is_combined: !is_single,
            per_slide: lattice.slices_per_slide(&definition.assigner),
            fired: i64::MIN,
            combine: Combine::new(Strategy::TwoStacks),
            reissues: BTreeMap::new(),
            reissue_bytes: 0,
            marked: BTreeMap::new(),
            marks: 0,
            cut: Cut { windows: Vec::new(), closed: Vec::new() },
        }
    }

    /// Whether windows may be made of several slices.
    pub(super) fn is_combined(&self) -> bool {
        self.is_combined
    }

    /// Bytes by which combining windows may make this grow where the slices have room for so many entries.
    pub(super) fn growth(&self, entries: usize) -> usize {
        self.combine.bytes_for(entries) - self.combine.bytes()
    }

    pub(super) fn bytes(&self) -> usize {
        self.combine.bytes() + self.marks * size_of::<K>() + self.reissue_bytes
    }

    // What is due.

    /// From when on it matters to a window which keys there are.
    fn seen_from(&self, (start, end): Bounds, store: &Store<K, T>) -> i64 {
        let Some(horizon) = self.fill else { return start };
        let ended = end.saturating_sub(horizon).saturating_sub(1);
        let first = self.assigner.first_ending_after(store.first_instant().map_or(ended, |i| i.max(ended)));
        first.map_or(start, |(first, _)| first.min(start))
    }

    /// The first window that is due, has something to fire and has not fired, and up to where there is none. What
    /// ends after `before_end` is due only because the input has ended, if it has.
    pub(crate) fn next_due(
        &self,
        store: &Store<K, T>,
        watermark: i64,
        before_end: i64,
    ) -> (Option<Bounds>, i64) {
        let lattice = store.lattice();
        // Before the first slice there is nothing to fire, and a grid of somebody's may not reach that far back.
        let Some(first) = store.first_instant() else { return (None, self.fired) };
        let mut after = self.fired.max(first);
        while let Some(window) = self.assigner.first_ending_after(after)
            && window.1 <= watermark
        {
            let (from, beyond) = lattice.slices((self.seen_from(window, store), window.1));
            // Slices of other definitions may lie between windows of this one.
            let mut live = store.live_in(from, beyond).map(|slice| lattice.instant(slice));
            if live.any(|instant| self.assigner.covers(instant)) {
                let at_end = self.fill.is_some() && watermark == i64::MAX && window.1 > before_end;
                return ((!at_end || self.is_reached(window, before_end, store)).then_some(window), after);
            }
            let Some(next) = store.next_live(beyond) else { break };
            after = window.1.max(lattice.instant(next));
        }
        (None, after)
    }

    /// The next watermark at which a window becomes due or closes.
    pub(crate) fn next_change(&self, watermark: i64) -> i64 {
        if watermark == i64::MIN {
            // Whatever comes: a grid of somebody's may have nothing to say of the beginning of time.
            return i64::MIN + 1;
        }
        let end = self.assigner.first_ending_after(watermark).map_or(i64::MAX, |(_, end)| end);
        end.min(self.lateness.next_close(&self.assigner, watermark))
    }

    /// Before which every instant is in windows of this definition, and all of those have closed.
    pub(super) fn late_before(&self, watermark: i64) -> i64 {
        let closed = self.lateness.closed_up_to(watermark).filter(|_| !self.assigner.may_have_gaps());
        let first_open = closed.and_then(|closed| self.assigner.first_ending_after(closed));
        first_open.map_or(i64::MIN, |(start, _)| start)
    }

    /// Whether a window that ends after `end` has a slice of one that ends then.
    pub(super) fn needs_again(&self, slice: i64, end: i64, lattice: &Lattice) -> bool {
        let next = self.assigner.first_ending_after(end).filter(|_| self.is_combined);
        next.is_some_and(|(start, _)| start <= lattice.instant(slice))
    }

    /// Whether there is an event in a window or after it, or there might be one in it and the watermark had come further than its
    /// start before the input ended: the end fills no other.
    fn is_reached(&self, (start, _): Bounds, before_end: i64, store: &Store<K, T>) -> bool {
        let had_begun = before_end > start && start < self.assigner.admits(None).1;
        had_begun || store.last_live().is_some_and(|last| store.lattice().instant(last) >= start)
    }

    /// The slices from which on something is needed still, by a window that has not fired or, by the watermark
    /// reached, has not closed.
    pub(super) fn needed_from(&self, store: &Store<K, T>, reached: i64) -> i64 {
        let lattice = store.lattice();
        let gone = self.fired.min(self.lateness.closed_up_to(reached).unwrap_or(i64::MAX));
        let gone = store.first_instant().map_or(gone, |first| first.max(gone));
        let window = self.assigner.first_ending_after(gone);
        let from = window.map_or(gone, |window| self.seen_from(window, store));
        lattice.slices((from, from)).0
    }

    /// Whether a window that has fired takes nothing more at this watermark.
    pub(super) fn has_closed(&self, end: i64, watermark: i64) -> bool {
        self.lateness.closed_up_to(watermark).is_none_or(|closed| end <= closed)
    }

    // Late events.

    /// Of the windows of an instant that accepted at the watermark `at` and had ended by it, the first that ends
    /// after `after`.
    pub(super) fn fires_again(&self, instant: i64, at: i64, after: i64) -> Option<Bounds> {
        let after = after.max(instant).max(self.lateness.closed_up_to(at)?);
        let (start, end) = self.assigner.first_ending_after(after)?;
        (start <= instant && end <= at).then_some((start, end))
    }

    /// Drops what is known of windows that have closed.
    pub(super) fn forget_closed(&mut self, watermark: i64) {
        while let Some(first) = self.reissues.first_entry()
            && self.lateness.closed_up_to(watermark).is_none_or(|closed| *first.key() <= closed)
        {
            let (end, reissues) = first.remove_entry();
            self.reissue_bytes -= reissues.bytes();
            if reissues.is_cut() {
                self.cut.closed.push((end, reissues));
            }
        }
    }

    // A snapshot that is being taken.

    pub(super) fn begin_cut(&mut self, put: PutEntry<K, Reissue>) {
        self.cut.windows = self.reissues.keys().copied().collect();
        self.reissues.values_mut().for_each(|reissues| reissues.begin_cut(put));
    }

    pub(super) fn end_cut(&mut self) {
        for end in core::mem::take(&mut self.cut.windows) {
            if let Some(reissues) = self.reissues.get_mut(&end) {
                reissues.end_cut();
            }
        }
        self.cut.closed = Vec::new();
    }

    /// Holds some of what is known of a window's panes, and gives out what has been held, and at how much it has looked;
    /// none if all is held.
    pub(super) fn hold_some(&mut self, most: usize) -> Option<(i64, Run, usize)> {
        if let Some((end, reissues)) = self.cut.closed.last_mut() {
            let looked = reissues.hold_some(most);
            let held = (*end, reissues.take_held(), looked);
            if reissues.left_to_hold() == 0 {
                self.cut.closed.pop();
            }
            return Some(held);
        }
        let end = *self.cut.windows.last()?;
        // (What has closed has been held above.)
        let Some(reissues) = self.reissues.get_mut(&end).filter(|reissues| reissues.is_cut()) else {
            self.cut.windows.pop();
            return Some((end, Run::new(), 1));
        };
        let looked = reissues.hold_some(most);
        let run = reissues.take_held();
        if reissues.left_to_hold() == 0 {
            reissues.end_cut();
            self.cut.windows.pop();
        }
        Some((end, run, looked))
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Sliced<K, T> {
    /// The keys that a window without their events fires empty for, once they have been found in `has`.
    pub(super) fn to_fill<V, A: Aggregate<V, Acc = T>>(
        &self,
        window: Bounds,
        store: &Store<K, T>,
        algebra: &Algebra<K, V, A>,
        has: impl Fn(u64, &K) -> bool,
    ) -> Vec<K> {
        if self.fill.is_none() {
            return Vec::new();
        }
        let lattice = store.lattice();
        let (from, beyond) = lattice.slices((self.seen_from(window, store), window.0));
        let mut seen: Table<K, ()> = Table::new();
        for slice in store.live_in(from, beyond) {
            if !self.assigner.covers(lattice.instant(slice)) {
                continue;
            }
            for (key, _) in store.get(slice).into_iter().flat_map(Slice::iter) {
                let hash = algebra.hashing.hash(key);
                if !has(hash, key) && seen.get(hash, key).is_none() {
                    seen.insert(hash, key.clone(), (), 0, &algebra.hashing);
                }
            }
        }
        seen.iter().map(|(key, ())| key.clone()).collect()
    }

    /// Notes that a window fired empty for a key, as far as that matters to panes to come.
    pub(super) fn note_empty(&mut self, end: i64, key: &K, hashing: &Hashing<K>) {
        if self.lateness.allowed > 0 {
            self.note_reissue(end, hashing.hash(key), key, Reissue { next: 1, marked: false }, hashing);
        }
    }

    /// The index of the pane that a late event makes a window fire, or it is marked to fire at the end of the
    /// drain.
    pub(super) fn note_late(
        &mut self,
        (start, end): Bounds,
        applied: Applied<'_, K>,
        store: &Store<K, T>,
        hashing: &Hashing<K>,
        order: Option<Order<K>>,
    ) -> Option<u32> {
        let Applied { key, hash, slice, was_there } = applied;
        let known = self.reissues.get(&end).and_then(|reissues| reissues.get(hash, key)).copied();
        let mut reissue = known.unwrap_or_else(|| {
            // Its panes have not been counted so far: it had one, on time, if it was there then.
            let elsewhere = || is_elsewhere(store, store.lattice().slices((start, end)), slice, hash, key);
            Reissue { next: u32::from(was_there || elsewhere()), marked: false }
        });
        match self.late_firing {
            LateFiring::EachEvent => {
                let index = reissue.next;
                reissue.next = index.saturating_add(1);
                self.note_reissue(end, hash, key, reissue, hashing);
                Some(index)
            }
            LateFiring::OncePerDrain => {
                if !core::mem::replace(&mut reissue.marked, true) {
                    self.note_reissue(end, hash, key, reissue, hashing);
                    self.mark((end, start), key.clone(), order);
                }
                None
            }
        }
    }

    /// A late pane is owed.
    fn mark(&mut self, window: (i64, i64), key: K, order: Option<Order<K>>) {
        self.marks += 1;
        let marked = self.marked.entry(window).or_default();
        let place = match order {
            Some(order) => marked.partition_point(|other| order(other, &key) == Ordering::Less),
            None => marked.len(),
        };
        marked.insert(place, key);
    }

    /// The next of the keys that are marked, with its partial and the index of its pane; the first window has it.
    pub(super) fn fire_marked<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        store: &Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> Option<(Bounds, K, T, u32)> {
        let mut first = self.marked.first_entry()?;
        let (end, start) = *first.key();
        let key = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        let key = key?;
        self.marks -= 1;
        let hash = algebra.hashing.hash(&key);
        let index = self.reissues.get(&end).and_then(|r| r.get(hash, &key)).map_or(0, |r| r.next);
        let (partial, _) = algebra.fold(store, store.lattice().slices((start, end)), hash, &key)?;
        let reissue = Reissue { next: index.saturating_add(1), marked: false };
        self.note_reissue(end, hash, &key, reissue, &algebra.hashing);
        Some(((start, end), key, partial, index))
    }

    /// Takes what is known of a key's panes of a window from a snapshot, or says why it cannot be.
    pub(crate) fn restore_reissue(
        &mut self,
        end: i64,
        key: &K,
        reissue: Reissue,
        hashing: &Hashing<K>,
        order: Option<Order<K>>,
    ) -> Result<(), &'static str> {
        self.note_reissue(end, hashing.hash(key), key, reissue, hashing);
        if !reissue.marked {
            return Ok(());
        }
        match self.assigner.first_ending_after(end.saturating_sub(1)) {
            Some((start, of)) if of == end && self.late_firing == LateFiring::OncePerDrain => {
                self.mark((end, start), key.clone(), order);
                Ok(())
            }
            _ => Err("a late pane is owed for a window that fires none at the end of a drain"),
        }
    }

    fn note_reissue(&mut self, end: i64, hash: u64, key: &K, reissue: Reissue, hashing: &Hashing<K>) {
        let reissues = self.reissues.entry(end).or_insert_with(Table::new);
        if reissues.is_cut() {
            reissues.hold(hash, key);
        }
        match reissues.get_mut(hash, key) {
            Some(known) => *known = reissue,
            None => {
                let before = reissues.bytes();
                reissues.insert(hash, key.clone(), reissue, 0, hashing);
                // (It takes less once what it has outgrown is freed.)
                self.reissue_bytes = self.reissue_bytes + reissues.bytes() - before;
            }
        }
    }
}

/// Whether a key is in one of a window's slices other than `slice`.
fn is_elsewhere<K: Hash + Eq + Clone, T>(
    store: &Store<K, T>,
    (first, beyond): (i64, i64),
    slice: i64,
    hash: u64,
    key: &K,
) -> bool {
    store
        .live_in(first, beyond)
        .filter(|&other| other != slice)
        .any(|other| store.get(other).is_some_and(|slice| slice.get(hash, key).is_some()))
}

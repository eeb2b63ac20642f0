//! What of the slices is due, and how far the host has drained it.
//!
//! What is due follows from the slices, so what is stored is a cursor. Late events wait in the queue *with
//! their slices unchanged*, because windows due before them must not see them. All slices that a due window
//! has are sealed for direct insertion (the operator sends such events to the queue), so tables stand still while they
//! are drained.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::hash::Hash;

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::config::LateFiring;
use crate::grid::Grid;
use crate::lateness::Lateness;
use crate::slice::{Algebra, Combine, Hashing, Scan, Spot, Store, Strategy, Table};
use crate::time::Window;

/// How keys compare, where output is ordered.
pub(crate) type Order<K> = fn(&K, &K) -> Ordering;

/// The definition whose windows are made of slices, and what this module decides by.
#[derive(Debug)]
pub(crate) struct Plan<K> {
    pub(crate) definition: u32,
    pub(crate) grid: Grid,
    pub(crate) lateness: Lateness,
    pub(crate) late_firing: LateFiring,
    pub(crate) order: Option<Order<K>>,
}

/// The window being drained.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) window: i64,
    bounds: Window,
    /// How far its content has been scanned, or `None` where `Firing::list` has what remains.
    scan: Option<Scan>,
}

/// The panes that a late event that has been applied still causes: those of the windows `[next, beyond)`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refire<K> {
    pub(crate) key: K,
    pub(crate) slice: i64,
    /// Whether the key was in the slice before.
    pub(crate) was_there: bool,
    pub(crate) next: i64,
    pub(crate) beyond: i64,
}

/// What is known of a key's panes of a window that fired late for it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Reissue {
    /// The index of its next pane.
    pub(crate) next: u32,
    /// It is among `Firing::marked`.
    pub(crate) marked: bool,
}

/// Where the next pane is.
pub(crate) enum Ready {
    /// In the content of the window being drained.
    OnTime { window: i64, bounds: Window, spot: Spot },
    /// In `Firing::late`.
    Late { window: i64, index: u32 },
}

#[derive(Debug)]
pub(crate) struct Firing<K, T> {
    /// Windows before this one have fired, or were empty when they would have.
    pub(crate) next: i64,
    pub(crate) drain: Option<Drain>,
    /// Spots still to drain, last first.
    pub(crate) list: Vec<Spot>,
    pub(crate) combine: Combine<K, T>,
    pub(crate) refire: Option<Refire<K>>,
    /// Only windows and keys that late events touched.
    pub(crate) reissues: BTreeMap<i64, Table<K, Reissue>>,
    reissue_bytes: usize,
    /// With [`LateFiring::OncePerDrain`], what late events touched since the last drain.
    pub(crate) marked: BTreeMap<i64, VecDeque<K>>,
    pub(crate) marks: usize,
    /// The key and partial of the last pane that did not come from the content of a window.
    late: Option<(K, T)>,
}

impl<K, T> Firing<K, T> {
    pub(crate) fn new(strategy: Strategy) -> Self {
        Self {
            next: i64::MIN,
            drain: None,
            list: Vec::new(),
            combine: Combine::new(strategy),
            refire: None,
            reissues: BTreeMap::new(),
            reissue_bytes: 0,
            marked: BTreeMap::new(),
            marks: 0,
            late: None,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.combine.bytes()
            + self.list.capacity() * size_of::<Spot>()
            + self.marks * size_of::<K>()
            + self.reissue_bytes
    }

    /// The first window end of which a pane may still be waiting, if any is: for
    /// [`Windowing::output_watermark`](crate::Windowing::output_watermark). `event` is the watermark of the
    /// first late event that waits.
    pub(crate) fn waiting(
        &self,
        plan: &Plan<K>,
        store: &Store<K, T>,
        watermark: i64,
        event: Option<i64>,
    ) -> Option<i64> {
        // Whatever waits behind it was admitted later, into windows that were open later.
        let event = event.map(|at| plan.lateness.first_open(&plan.grid, at).unwrap_or(i64::MAX));
        let due = self.next_due(plan, store, watermark);
        let drain = self.drain.as_ref().map(|drain| drain.window);
        let refire = self.refire.as_ref().map(|refire| refire.next);
        let marked = self.marked.first_key_value().map(|(&window, _)| window);
        let first = [event, due, drain, refire, marked].into_iter().flatten().min();
        first.map(|window| plan.grid.end_of(window))
    }

    /// The first window that is due, has something in it and has not fired.
    pub(crate) fn next_due(&self, plan: &Plan<K>, store: &Store<K, T>, watermark: i64) -> Option<i64> {
        let slice = store.next_live(plan.grid.slices_of(self.next).0)?;
        let window = self.next.max(plan.grid.first_window(slice));
        (plan.grid.end_of(window) <= watermark).then_some(window)
    }

    /// Whether no late event is about to fire.
    pub(crate) fn is_quiet(&self) -> bool {
        self.marked.is_empty() && self.refire.is_none()
    }

    /// The first window that late events have marked.
    pub(crate) fn first_marked(&self) -> Option<i64> {
        self.marked.first_key_value().map(|(&window, _)| window)
    }

    /// What the last late pane came from is needed no more.
    pub(crate) fn forget(&mut self) {
        self.late = None;
    }

    pub(crate) fn late(&self) -> Option<&(K, T)> {
        self.late.as_ref()
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Firing<K, T> {
    /// Goes on with what has begun: the window being drained, or the windows of a late event.
    pub(crate) fn go_on<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        plan: &Plan<K>,
        store: &mut Store<K, T>,
        algebra: &Algebra<V, A>,
        reached: i64,
    ) -> Option<Ready> {
        if let Some(ready) = self.next_drained(store, &algebra.hashing) {
            return Some(ready);
        }
        if let Some(drain) = &self.drain {
            self.next = drain.window.saturating_add(1);
            self.drain = None;
            self.expire(plan, store, algebra, reached);
        }
        self.next_refired(plan, store, algebra)
    }

    /// Whatever ends by `reached` and has not fired is empty.
    pub(crate) fn pass(&mut self, plan: &Plan<K>, reached: i64) {
        self.next = self.next.max(plan.grid.first_ending_after(reached));
    }

    /// The next pane of the window being drained: what almost every poll comes to.
    #[inline]
    pub(crate) fn next_drained(&mut self, store: &Store<K, T>, hashing: &Hashing) -> Option<Ready> {
        let drain = self.drain.as_mut()?;
        let content = self.combine.content(store);
        let spot = match &mut drain.scan {
            Some(scan) => content.next(scan, hashing),
            None => self.list.pop(),
        }?;
        Some(Ready::OnTime { window: drain.window, bounds: drain.bounds, spot })
    }

    /// Begins to drain a window that is due.
    pub(crate) fn begin<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        window: i64,
        plan: &Plan<K>,
        store: &mut Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        self.combine.prepare(plan.grid.slices_of(window), store, algebra);
        let mut scan = Some(Scan::default());
        if let Some(order) = plan.order {
            self.list_all(store, &algebra.hashing);
            let content = self.combine.content(store);
            let key = |spot: &Spot| content.at(*spot).map(|(key, _)| key);
            self.list.sort_unstable_by(|a, b| match (key(a), key(b)) {
                (Some(a), Some(b)) => order(b, a),
                (a, b) => a.is_some().cmp(&b.is_some()),
            });
            scan = None;
        }
        self.drain = Some(Drain { window, bounds: plan.grid.window(window), scan });
    }

    fn list_all(&mut self, store: &Store<K, T>, hashing: &Hashing) {
        let content = self.combine.content(store);
        let mut scan = Scan::default();
        self.list.clear();
        while let Some(spot) = content.next(&mut scan, hashing) {
            self.list.push(spot);
        }
    }

    /// Drains `window` from where only `keys` remain: where a snapshot left it.
    pub(crate) fn resume<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (window, bounds): (i64, Window),
        keys: &[K],
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) -> Result<(), &'static str> {
        let content = self.combine.content(store);
        self.list.clear();
        for key in keys.iter().rev() {
            let hash = algebra.hashing.hash(key);
            self.list
                .push(content.spot_of(hash, key).ok_or("a key still to be drained is not in its window")?);
        }
        self.drain = Some(Drain { window, bounds, scan: None });
        Ok(())
    }

    /// The keys of the window being drained that have not been handed out, in the order in which they will.
    pub(crate) fn remaining<'a>(&'a self, store: &'a Store<K, T>, hashing: &Hashing) -> Vec<&'a K> {
        let content = self.combine.content(store);
        let mut spots = Vec::new();
        match self.drain.as_ref().map(|drain| drain.scan) {
            None => {}
            Some(None) => spots.extend(self.list.iter().rev().copied()),
            Some(Some(mut scan)) => {
                while let Some(spot) = content.next(&mut scan, hashing) {
                    spots.push(spot);
                }
            }
        }
        spots.into_iter().filter_map(|spot| content.at(spot)).map(|(key, _)| key).collect()
    }

    /// Takes a late event that was admitted at the watermark `at` into its slice; its panes are next.
    pub(crate) fn apply<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        at: i64,
        key: K,
        (slice, partial): (i64, T),
        plan: &Plan<K>,
        store: &mut Store<K, T>,
        algebra: &Algebra<V, A>,
    ) {
        let aggregate = &algebra.aggregate;
        let hash = algebra.hashing.hash(&key);
        let heap = aggregate.heap_bytes(&partial);
        let was_there = match store.get_mut(slice, hash, &key) {
            Some(whole) => {
                let before = aggregate.heap_bytes(whole);
                aggregate.combine(whole, &partial);
                let after = aggregate.heap_bytes(whole);
                store.add_heap(slice, before, after);
                true
            }
            None => {
                store.insert(slice, hash, key.clone(), partial, heap, &algebra.hashing);
                false
            }
        };
        self.combine.repair(slice, hash, &key, store, algebra);
        let open = plan.lateness.first_open(&plan.grid, at).unwrap_or(i64::MAX);
        let next = plan.grid.first_window(slice).max(open);
        let beyond = plan.grid.first_ending_after(at).min(plan.grid.last_window(slice).saturating_add(1));
        self.refire = Some(Refire { key, slice, was_there, next, beyond });
    }

    fn next_refired<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        plan: &Plan<K>,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
    ) -> Option<Ready> {
        while let Some(refire) = &mut self.refire {
            if refire.next >= refire.beyond {
                self.refire = None;
                break;
            }
            let window = refire.next;
            refire.next += 1;
            let hash = algebra.hashing.hash(&refire.key);
            let slices = plan.grid.slices_of(window);
            let key = refire.key.clone();
            let known = self.reissues.get(&window).and_then(|reissues| reissues.get(hash, &key)).copied();
            let mut reissue = known.unwrap_or_else(|| {
                // Its panes have not been counted so far: it had one, on time, if it was there then.
                let elsewhere = || is_elsewhere(store, slices, refire.slice, hash, &key);
                Reissue { next: u32::from(refire.was_there || elsewhere()), marked: false }
            });
            match plan.late_firing {
                LateFiring::EachEvent => {
                    let index = reissue.next;
                    reissue.next = index.saturating_add(1);
                    self.note_reissue(window, hash, &key, reissue, &algebra.hashing);
                    let (partial, _) = algebra.fold(store, slices, hash, &key)?;
                    self.late = Some((key, partial));
                    return Some(Ready::Late { window, index });
                }
                LateFiring::OncePerDrain if !reissue.marked => {
                    reissue.marked = true;
                    self.note_reissue(window, hash, &key, reissue, &algebra.hashing);
                    self.marks += 1;
                    let marked = self.marked.entry(window).or_default();
                    let place = match plan.order {
                        Some(order) => marked.partition_point(|other| order(other, &key) == Ordering::Less),
                        None => marked.len(),
                    };
                    marked.insert(place, key);
                }
                LateFiring::OncePerDrain => {}
            }
        }
        None
    }

    /// The next pane of what is marked, or only of windows before one.
    pub(crate) fn next_marked<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        plan: &Plan<K>,
        store: &Store<K, T>,
        algebra: &Algebra<V, A>,
        before: Option<i64>,
    ) -> Option<Ready> {
        loop {
            let mut first = self.marked.first_entry()?;
            let window = *first.key();
            if before.is_some_and(|before| window >= before) {
                return None;
            }
            let key = first.get_mut().pop_front();
            if first.get().is_empty() {
                first.remove();
            }
            let Some(key) = key else { continue };
            self.marks -= 1;
            let hash = algebra.hashing.hash(&key);
            let index = self.reissues.get(&window).and_then(|r| r.get(hash, &key)).map_or(0, |r| r.next);
            let Some((partial, _)) = algebra.fold(store, plan.grid.slices_of(window), hash, &key) else {
                continue;
            };
            let reissue = Reissue { next: index.saturating_add(1), marked: false };
            self.note_reissue(window, hash, &key, reissue, &algebra.hashing);
            self.late = Some((key, partial));
            return Some(Ready::Late { window, index });
        }
    }

    pub(crate) fn note_reissue(
        &mut self,
        window: i64,
        hash: u64,
        key: &K,
        reissue: Reissue,
        hashing: &Hashing,
    ) {
        let reissues = self.reissues.entry(window).or_insert_with(Table::new);
        match reissues.get_mut(hash, key) {
            Some(known) => *known = reissue,
            None => {
                let before = reissues.bytes();
                reissues.insert(hash, key.clone(), reissue, 0, hashing);
                self.reissue_bytes += reissues.bytes() - before;
            }
        }
    }

    /// Expires the slices all of whose windows have fired and, by the watermark reached, closed.
    pub(crate) fn expire<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        plan: &Plan<K>,
        store: &mut Store<K, T>,
        algebra: &Algebra<V, A>,
        reached: i64,
    ) {
        if !self.marked.is_empty() {
            return;
        }
        let open = plan.lateness.first_open(&plan.grid, reached).unwrap_or(i64::MAX);
        let (slice, _) = plan.grid.slices_of(self.next.min(open));
        self.combine.leave(slice, store, algebra);
        if store.expire_before(slice, reached == i64::MAX) {
            self.list = Vec::new();
        }
        while let Some(first) = self.reissues.first_entry()
            && *first.key() < open
        {
            self.reissue_bytes -= first.remove().bytes();
        }
    }
}

/// Whether a key is in one of a window's slices other than `slice`.
fn is_elsewhere<K: Hash + Eq, T>(
    store: &Store<K, T>,
    (first, beyond): (i64, i64),
    slice: i64,
    hash: u64,
    key: &K,
) -> bool {
    store
        .live_in(first, beyond)
        .filter(|&other| other != slice)
        .any(|other| store.get(other).is_some_and(|table| table.get(hash, key).is_some()))
}

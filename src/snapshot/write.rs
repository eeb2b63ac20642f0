//! State → bytes. Nothing is changed by it, and with ordered output equal states give equal bytes (S2).

use alloc::vec::Vec;
use core::hash::Hash;

use serde::Serialize;

use super::chain::Head;
use super::frame::{Section, Writer};
use super::record::{put, put_blob, put_blobs};
use super::{
    CellHeader, Cursor, Description, Draining, KeyedHead, PaneHeader, ProgressSection, QueuedKind, SliceHead,
};
use crate::aggregate::Aggregate;
use crate::fire::{Order, Refire, Reissue, Sliced};
use crate::keyed::{Cell, Emission, Keyed, Rank};
use crate::operator::Windowing;
use crate::queue::{Queued, What};
use crate::slice::CutSlice;

impl<K, V, A> Windowing<K, V, A>
where
    K: Hash + Eq + Clone + Serialize,
    A: Aggregate<V>,
    A::Acc: Serialize,
{
    /// The whole state as bytes, between any two calls, also in the middle of a drain (S1). Give them to
    /// [`restore`](Self::restore) and go on as if nothing had happened.
    ///
    /// Everything is in it: slices, partitions with their watermarks and idleness, the position of the
    /// drain, counters. O(state).
    ///
    /// # Panics
    ///
    /// When a key's or an accumulator's own `Serialize` fails, as it must not: postcard takes all that serde
    /// can say but sequences of unknown length.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let all = self.store.iter();
        let slices = all.map(|(slice, found)| CutSlice { slice, entries: found.len(), follows: true });
        let slices: Vec<CutSlice> = slices.collect();
        self.put_head(&mut writer, (None, &slices, &[]), &mut bytes);
        for (slice, found) in self.store.iter() {
            writer.section(Section::Entries, &mut bytes, |bytes| {
                put_entries(put(&slice, bytes), found.len(), found.iter(), self.order, put_entry)
            });
        }
        for (number, keyed) in self.keyed.iter().filter(|(_, keyed)| keyed.live() > 0) {
            writer.section(Section::Cells, &mut bytes, |bytes| {
                put_cells(keyed, self.order, put(number, bytes))
            });
        }
        for (number, keyed) in self.keyed.iter().filter(|(_, keyed)| keyed.asides.len() > 0) {
            writer.section(Section::Asides, &mut bytes, |bytes| {
                let mut bytes = put(&(number, keyed.asides.len()), bytes);
                keyed.asides.iter().for_each(|(rank, key, pane)| put_aside(rank, key, pane, &mut bytes));
                bytes
            });
        }
        for sliced in &self.firing.sliced {
            for (end, reissues) in &sliced.reissues {
                writer.section(Section::Reissues, &mut bytes, |bytes| {
                    let bytes = put(&(sliced.number, end), bytes);
                    put_entries(bytes, reissues.len(), reissues.iter(), self.order, put_reissue)
                });
            }
        }
        if !self.queue.is_empty() {
            writer.section(Section::Waiting, &mut bytes, |bytes| {
                let mut bytes = put(&self.queue.iter().len(), bytes);
                self.queue.iter().for_each(|entry| put_queued(entry, &mut bytes));
                bytes
            });
        }
        let remaining = self.firing.remaining(&self.store, &self.algebra.hashing, self.order);
        if !remaining.is_empty() {
            writer.section(Section::Remaining, &mut bytes, |bytes| put_keys(&remaining, bytes));
        }
        writer.finish(&mut bytes);
        bytes
    }

    /// What is written at once, of a snapshot of what has changed since another if one is given: the slices with the number
    /// of their entries and whether those follow, and whether of each definition's cells only those that have changed do.
    pub(super) fn put_head(
        &self,
        writer: &mut Writer,
        (since, slices, kept): (Option<u64>, &[CutSlice], &[bool]),
        bytes: &mut Vec<u8>,
    ) {
        let lattice = self.store.lattice();
        let slices = slices.iter().map(|&CutSlice { slice, entries, follows }| SliceHead {
            slice,
            instant: lattice.instant(slice),
            end: lattice.end_of(slice),
            entries: entries as u64,
            is_kept: !follows,
        });
        let keyed = self.keyed.iter().enumerate().map(|(place, (number, keyed))| KeyedHead {
            definition: *number,
            closed: keyed.rules.lateness.closed,
            last_fired: keyed.last_fired(),
            cells: keyed.live() as u64,
            asides: keyed.asides.len() as u64,
            is_kept: kept.get(place).is_some_and(|&is_kept| is_kept),
        });
        let progress = ProgressSection { progress: self.progress.save(), counters: self.counters };
        let firing = (!self.firing.sliced.is_empty()).then(|| self.put_firing(Vec::new()));
        let head = Head {
            configuration: &put(&Description::of(self), Vec::new()),
            since,
            progress: &put(&progress, Vec::new()),
            slices: slices.collect(),
            firing: firing.as_deref(),
            keyed: keyed.collect(),
            queue: self.queue.iter().len() as u64,
        };
        head.write(None, writer, bytes);
    }

    fn put_firing(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let firing = &self.firing;
        for sliced in &firing.sliced {
            let (due, _) = sliced.next_due(&self.store, self.progress.settled(), self.progress.before_end());
            bytes = put_sliced(sliced, due.is_some(), bytes);
        }
        let draining = firing.drain.as_ref().map(|drain| {
            let (definition, (start, end)) = (firing.sliced[drain.place].number, drain.window);
            Draining { definition, start, end }
        });
        bytes = put(&(draining, firing.refire.is_some()), bytes);
        match &firing.refire {
            None => bytes,
            Some(Refire { key, slice, was_there, at, place, after, until }) => {
                put(&(slice, was_there, at, place, after, until), put_blob(key, bytes))
            }
        }
    }
}

/// What waits to be polled.
pub(super) fn put_queued<K: Serialize, T: Serialize>(entry: &Queued<K, T>, bytes: &mut Vec<u8>) {
    let Queued { at, key, what } = entry;
    let head = put_blob(key, put(at, core::mem::take(bytes)));
    *bytes = match what {
        What::Event { slice, partial, until } => {
            put_blob(partial, put(&(QueuedKind::Event, until, slice), head))
        }
        What::Until(until) => put(&QueuedKind::Until(*until), head),
        What::Pane { definition, pane } => put_pane(pane, put(&QueuedKind::Pane(*definition), head)),
    };
}

/// What is known of a key's panes of a window.
pub(super) fn put_reissue<K: Serialize>(key: &K, reissue: &Reissue, bytes: &mut Vec<u8>) {
    *bytes = put(reissue, put_blob(key, core::mem::take(bytes)));
}

fn put_sliced<K, T>(sliced: &Sliced<K, T>, is_due: bool, bytes: Vec<u8>) -> Vec<u8> {
    let (fired, positions) = (sliced.fired, sliced.combine.positions());
    let cursor = Cursor { fired, positions, closed: sliced.lateness.closed, is_due };
    let mut bytes = put(&cursor, bytes);
    bytes = put(&sliced.reissues.len(), bytes);
    for (end, reissues) in &sliced.reissues {
        bytes = put(&(end, reissues.len()), bytes);
    }
    bytes
}

/// A pane that was set aside.
pub(super) fn put_aside<K: Serialize, T: Serialize>(
    rank: Rank,
    key: &K,
    pane: &Emission<T>,
    bytes: &mut Vec<u8>,
) {
    *bytes = put_pane(pane, put_blob(key, put(&rank, core::mem::take(bytes))));
}

/// All cells of a definition, numbered as they stand there.
fn put_cells<K, T>(keyed: &Keyed<K, T>, order: Option<Order<K>>, bytes: Vec<u8>) -> Vec<u8>
where
    K: Serialize,
    T: Serialize,
{
    let mut cells: Vec<&Cell<K, T>> = keyed.cells().collect();
    if let Some(order) = order {
        cells.sort_unstable_by(|a, b| {
            order(&a.key, &b.key).then_with(|| (a.start, a.end).cmp(&(b.start, b.end)))
        });
    }
    let mut bytes = put(&cells.len(), bytes);
    (0..).zip(cells).for_each(|(number, cell)| put_cell(number, cell, &mut bytes));
    bytes
}

pub(super) fn put_cell<K: Serialize, T: Serialize>(number: u32, cell: &Cell<K, T>, bytes: &mut Vec<u8>) {
    let Cell { key, start, end, last, reach, partial, replaced, state } = cell;
    let header = CellHeader { start: *start, end: *end, last: *last, reach: *reach, state: state.clone() };
    *bytes = put(&number, core::mem::take(bytes));
    put_blobs(key, &(header, partial, replaced), bytes);
}

fn put_pane<T: Serialize>(pane: &Emission<T>, bytes: Vec<u8>) -> Vec<u8> {
    let Emission { start, end, partial, timing, index, replaced } = pane;
    let header = PaneHeader { start: *start, end: *end, timing: *timing, index: *index };
    put_blob(&(header, partial, replaced), bytes)
}

fn put_keys<K: Serialize>(keys: &[&K], bytes: Vec<u8>) -> Vec<u8> {
    keys.iter().fold(put(&keys.len(), bytes), |bytes, key| put_blob(*key, bytes))
}

pub(super) fn put_entry<K: Serialize, T: Serialize>(key: &K, partial: &T, bytes: &mut Vec<u8>) {
    put_blobs(key, partial, bytes);
}

/// The number of a table's entries, and they, by key where output is ordered.
fn put_entries<'a, K: 'a, T: 'a>(
    bytes: Vec<u8>,
    count: usize,
    entries: impl Iterator<Item = (&'a K, &'a T)>,
    order: Option<Order<K>>,
    put_entry: impl Fn(&K, &T, &mut Vec<u8>),
) -> Vec<u8> {
    let mut bytes = put(&count, bytes);
    let Some(order) = order else {
        entries.for_each(|(key, partial)| put_entry(key, partial, &mut bytes));
        return bytes;
    };
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by(|a, b| order(a.0, b.0));
    entries.into_iter().for_each(|(key, partial)| put_entry(key, partial, &mut bytes));
    bytes
}

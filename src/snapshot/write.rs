//! State → bytes. Nothing is changed by it, and with ordered output equal states give equal bytes (S2).

use alloc::vec::Vec;
use core::hash::Hash;

use serde::Serialize;

use super::frame::{Section, Writer};
use super::{CellHeader, Cursor, Description, Draining, PaneHeader, ProgressSection, QueuedKind};
use crate::aggregate::Aggregate;
use crate::fire::{Order, Sliced};
use crate::keyed::{Cell, Emission, Keyed};
use crate::operator::Windowing;
use crate::queue::{Queued, What};

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
        let mut writer = Writer::new();
        writer.section(Section::Configuration, |bytes| put(&Description::of(self), bytes));
        let progress = ProgressSection { progress: self.progress.save(), counters: self.counters };
        writer.section(Section::Progress, |bytes| put(&progress, bytes));
        for (ordinal, slice) in self.store.iter() {
            writer.section(Section::Slice, |bytes| {
                put_entries((ordinal, slice.len()), slice.iter(), self.order, bytes)
            });
        }
        if !self.firing.sliced.is_empty() {
            writer.section(Section::Firing, |bytes| self.put_firing(bytes));
        }
        for (number, keyed) in &self.keyed {
            writer.section(Section::Keyed, |bytes| put_keyed(keyed, self.order, put(number, bytes)));
        }
        writer.section(Section::Queue, |bytes| self.put_queue(bytes));
        writer.finish()
    }

    fn put_firing(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let firing = &self.firing;
        for sliced in &firing.sliced {
            bytes = put_sliced(sliced, self.order, bytes);
        }
        let draining = firing.drain.as_ref().map(|drain| {
            let (definition, (start, end)) = (firing.sliced[drain.place].number, drain.window);
            Draining { definition, start, end }
        });
        bytes = put(&draining, bytes);
        bytes = put_all(&firing.remaining(&self.store, self.order), bytes);
        put(&firing.refire, bytes)
    }

    fn put_queue(&self, bytes: Vec<u8>) -> Vec<u8> {
        let mut bytes = put(&self.queue.iter().len(), bytes);
        for Queued { at, key, what } in self.queue.iter() {
            bytes = put(&(at, key), bytes);
            bytes = match what {
                What::Event { slice, partial, until } => {
                    put(&(QueuedKind::Event, until, slice, partial), bytes)
                }
                What::Until(until) => put(&QueuedKind::Until(*until), bytes),
                What::Pane { definition, pane } => put_pane(pane, put(&QueuedKind::Pane(*definition), bytes)),
            };
        }
        bytes
    }
}

fn put_sliced<K, T>(sliced: &Sliced<K, T>, order: Option<Order<K>>, bytes: Vec<u8>) -> Vec<u8>
where
    K: Serialize,
{
    let cursor = Cursor { fired: sliced.fired, positions: sliced.combine.positions() };
    let mut bytes = put(&cursor, bytes);
    bytes = put(&sliced.reissues.len(), bytes);
    for (&end, reissues) in &sliced.reissues {
        bytes = put_entries((end, reissues.len()), reissues.iter(), order, bytes);
    }
    bytes = put(&sliced.marked.len(), bytes);
    for (window, keys) in &sliced.marked {
        bytes = put(&(window, keys.len()), bytes);
        for key in keys {
            bytes = put(key, bytes);
        }
    }
    bytes
}

fn put_keyed<K, T>(keyed: &Keyed<K, T>, order: Option<Order<K>>, bytes: Vec<u8>) -> Vec<u8>
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
    let mut bytes = put(&(keyed.last_fired(), cells.len()), bytes);
    for Cell { key, start, end, last, reach, partial, replaced, state } in cells {
        let header = CellHeader { start: *start, end: *end, last: *last, reach: *reach, state: *state };
        bytes = put_all(replaced, put(&(header, key, partial), bytes));
    }
    bytes = put(&keyed.asides().count(), bytes);
    for (rank, (key, pane)) in keyed.asides() {
        bytes = put_pane(pane, put(&(rank, key), bytes));
    }
    bytes
}

fn put_pane<T: Serialize>(pane: &Emission<T>, bytes: Vec<u8>) -> Vec<u8> {
    let Emission { start, end, partial, timing, index, replaced } = pane;
    let header = PaneHeader { start: *start, end: *end, timing: *timing, index: *index };
    put_all(replaced, put(&(header, partial), bytes))
}

fn put<T: Serialize + ?Sized>(value: &T, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("keys and accumulators must serialize")
}

fn put_all<T: Serialize>(values: &[T], mut bytes: Vec<u8>) -> Vec<u8> {
    bytes = put(&values.len(), bytes);
    for value in values {
        bytes = put(value, bytes);
    }
    bytes
}

/// A slice or another table: its ordinal, the number of its entries, and they, by key where output is ordered.
fn put_entries<'a, K: Serialize + 'a, T: Serialize + 'a>(
    (ordinal, count): (i64, usize),
    entries: impl Iterator<Item = (&'a K, &'a T)>,
    order: Option<Order<K>>,
    bytes: Vec<u8>,
) -> Vec<u8> {
    let mut bytes = put(&(ordinal, count), bytes);
    let Some(order) = order else {
        return entries.fold(bytes, |bytes, entry| put(&entry, bytes));
    };
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by(|a, b| order(a.0, b.0));
    for entry in entries {
        bytes = put(&entry, bytes);
    }
    bytes
}

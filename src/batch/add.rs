//! The loops over the events of a block.

use core::hash::Hash;

use super::BLOCK;
use super::columns::Columns;
use super::find::Find;
use crate::aggregate::Aggregate;
use crate::key::ToKey;
use crate::slice::{Algebra, Entries, OpenPair, Tables};
use crate::time::Timestamp;
use crate::watermark::{Watch, Watched};

/// Why a run of events ended.
pub(super) enum Stop {
    /// There are no more.
    End,
    /// The next one is not one of those that hardly anything follows from.
    Other,
    /// The last one has changed the heap that its partial owns.
    Heap { before: usize, after: usize },
}

/// Holds all that the events of a block are about to change for the snapshot that is being taken: all is found before the first
/// is held, so that misses overlap.
#[inline(never)]
pub(super) fn hold_all<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>, F: Find<K, V, A, Q>>(
    _: F,
    algebra: &Algebra<K, V, A>,
    pair: &mut OpenPair<'_, K, A::Acc>,
    events: &Columns<'_, Q, V>,
) {
    let mut noted = [(0, 0); BLOCK];
    let mut count = 0;
    for (event, time, key, _) in events.all() {
        let side = usize::from(time.wrapping_mul(events.unit) >= pair.edge);
        let place = F::place(&algebra.hashing, key, events.indices.get(event));
        let (spot, is_new) = F::note(&mut pair.tables[side], place, key, &algebra.hashing);
        // (No branch for what may well be random.)
        noted[count % BLOCK] = (side, spot);
        count += usize::from(is_new);
    }
    for &(side, spot) in &noted[..count] {
        F::put_held(&mut pair.tables[side], spot);
    }
}

/// [`add_each`] for events that have been watched, as a function of its own, so that these few lines have all
/// registers: worth a call for many events.
#[inline(never)]
pub(super) fn add_all<'a, K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
    find: impl Find<K, V, A, Q>,
    algebra: &Algebra<K, V, A>,
    tables: impl Tables<K, A::Acc>,
    events: &Columns<'a, Q, V>,
    each: impl Iterator<Item = (usize, i64, &'a Q, &'a V)>,
    in_micros: impl Fn(i64) -> Option<i64>,
) -> (usize, Stop) {
    add_each(find, algebra, tables, &mut Watched, events, each, in_micros)
}

/// Takes events into tables for as long as hardly anything follows from them; how many, and why no more.
#[inline(always)]
pub(super) fn add_each<'a, K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>, F: Find<K, V, A, Q>>(
    _: F,
    algebra: &Algebra<K, V, A>,
    mut tables: impl Tables<K, A::Acc>,
    watch: &mut impl Watch,
    events: &Columns<'a, Q, V>,
    each: impl Iterator<Item = (usize, i64, &'a Q, &'a V)>,
    in_micros: impl Fn(i64) -> Option<i64>,
) -> (usize, Stop) {
    for (event, time, key, value) in each {
        let Some(time) = in_micros(time).filter(|&time| watch.passes(event, time)) else {
            return (event, Stop::Other);
        };
        let Some(table) = tables.at(time) else { return (event, Stop::Other) };
        let at = Timestamp::from_micros(time);
        let place = F::place(&algebra.hashing, key, events.indices.get(event));
        if let Some(partial) = F::get(table, place, key) {
            let before = algebra.aggregate.heap_bytes(partial);
            algebra.aggregate.add(partial, at, value);
            let after = algebra.aggregate.heap_bytes(partial);
            if before != after {
                watch.note(event, time);
                return (event + 1, Stop::Heap { before, after });
            }
        } else if !F::add_absent(algebra, table, place, key, (at, value)) {
            return (event, Stop::Other);
        }
        watch.note(event, time);
    }
    (events.times.len(), Stop::End)
}

/// The same for events that all have one key, because keys take no memory.
#[inline(always)]
pub(super) fn add_all_to_one<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
    algebra: &Algebra<K, V, A>,
    table: &mut Entries<K, A::Acc>,
    events: &Columns<'_, Q, V>,
) -> (usize, Stop) {
    let Some(key) = events.keys.first() else { return (0, Stop::End) };
    let Some(partial) = table.get_mut(algebra.hashing.hash(key), key) else { return (0, Stop::Other) };
    for (taken, (&time, value)) in events.times.iter().zip(events.values).enumerate() {
        let before = algebra.aggregate.heap_bytes(partial);
        algebra.aggregate.add(partial, Timestamp::from_micros(time.wrapping_mul(events.unit)), value);
        let after = algebra.aggregate.heap_bytes(partial);
        if before != after {
            return (taken + 1, Stop::Heap { before, after });
        }
    }
    (events.times.len(), Stop::End)
}

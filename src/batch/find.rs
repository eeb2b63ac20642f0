//! How the partials of a batch's events are found: by the hash of their keys, or by their index.
//!
//! Where keys have an index, a block can be added as a whole. Whether a key is in a slice yet is as good as random, and so
//! is on which side of an edge an event falls, so neither is a branch: the places of events are parted into lists first.

use core::hash::Hash;
use core::mem::needs_drop;

use super::BLOCK;
use super::columns::{Columns, Sides};
use crate::aggregate::Aggregate;
use crate::key::ToKey;
use crate::slice::{Algebra, Dense, Entries, Hashing, Numbering, OpenPair};
use crate::time::Timestamp;

/// How the partials of a block's events are found.
pub(super) trait Find<K, V, A: Aggregate<V>, Q>: Copy {
    /// Whether what is about to change is held, each when it is found.
    const HOLDS: bool = false;

    /// What tells where a key's partial is.
    fn place(hashing: &Hashing<K>, key: &Q, index: Option<&u32>) -> u64;

    /// Adds all events of a block, if that can be done for all at once and nothing else follows from them; whether it did.
    fn add_block(
        algebra: &Algebra<K, V, A>,
        pair: &mut OpenPair<'_, K, A::Acc>,
        sides: Sides,
        events: &Columns<'_, Q, V>,
    ) -> bool;

    /// The partial of a key: if it is there, it is nearly always found.
    fn get<'e>(entries: &'e mut Entries<K, A::Acc>, place: u64, key: &Q) -> Option<&'e mut A::Acc>;

    /// The same, held for the snapshot that is being taken.
    fn get_held<'e>(entries: &'e mut Entries<K, A::Acc>, place: u64, key: &Q) -> Option<&'e mut A::Acc>;

    /// Where the partial of a key is that is about to change, and whether a snapshot has still to [hold](Self::put_held) it.
    fn note(entries: &mut Entries<K, A::Acc>, place: u64, key: &Q, hashing: &Hashing<K>) -> (usize, bool);

    /// Holds what has been noted to be at a spot, and what is next to it.
    fn put_held(entries: &mut Entries<K, A::Acc>, spot: usize);

    /// Adds an event that it finds no partial for, if nothing but the entries changes by it; whether it did.
    fn add_absent(
        algebra: &Algebra<K, V, A>,
        entries: &mut Entries<K, A::Acc>,
        place: u64,
        key: &Q,
        event: (Timestamp, &V),
    ) -> bool;
}

#[derive(Clone, Copy)]
pub(super) struct ByHash;

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>> Find<K, V, A, Q> for ByHash {
    #[inline(always)]
    fn add_block(
        _: &Algebra<K, V, A>,
        _: &mut OpenPair<'_, K, A::Acc>,
        _: Sides,
        _: &Columns<'_, Q, V>,
    ) -> bool {
        false
    }

    #[inline(always)]
    fn place(hashing: &Hashing<K>, key: &Q, _: Option<&u32>) -> u64 {
        hashing.hash_by_seed(key)
    }

    #[inline(always)]
    fn get<'e>(entries: &'e mut Entries<K, A::Acc>, hash: u64, key: &Q) -> Option<&'e mut A::Acc> {
        entries.table_mut().get_moved(hash, key)
    }

    #[inline(always)]
    fn get_held<'e>(entries: &'e mut Entries<K, A::Acc>, hash: u64, key: &Q) -> Option<&'e mut A::Acc> {
        entries.table_mut().get_held(hash, key)
    }

    #[inline(always)]
    fn note(entries: &mut Entries<K, A::Acc>, hash: u64, key: &Q, _: &Hashing<K>) -> (usize, bool) {
        entries.table_mut().note(hash, key)
    }

    fn put_held(entries: &mut Entries<K, A::Acc>, spot: usize) {
        entries.table_mut().put_held(spot);
    }

    #[inline(always)]
    fn add_absent(
        algebra: &Algebra<K, V, A>,
        entries: &mut Entries<K, A::Acc>,
        hash: u64,
        key: &Q,
        (at, value): (Timestamp, &V),
    ) -> bool {
        algebra.add_unfound(entries.table_mut(), hash, key, at, value)
    }
}

/// The same while a snapshot is being taken: what an event changes is held when it is found.
#[derive(Clone, Copy)]
pub(super) struct Holding<F>(pub(super) F);

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>, F: Find<K, V, A, Q>> Find<K, V, A, Q>
    for Holding<F>
{
    const HOLDS: bool = true;

    #[inline(always)]
    fn add_block(
        _: &Algebra<K, V, A>,
        _: &mut OpenPair<'_, K, A::Acc>,
        _: Sides,
        _: &Columns<'_, Q, V>,
    ) -> bool {
        false
    }

    #[inline(always)]
    fn place(hashing: &Hashing<K>, key: &Q, index: Option<&u32>) -> u64 {
        F::place(hashing, key, index)
    }

    #[inline(always)]
    fn get<'e>(entries: &'e mut Entries<K, A::Acc>, place: u64, key: &Q) -> Option<&'e mut A::Acc> {
        F::get_held(entries, place, key)
    }

    #[inline(always)]
    fn get_held<'e>(entries: &'e mut Entries<K, A::Acc>, place: u64, key: &Q) -> Option<&'e mut A::Acc> {
        F::get_held(entries, place, key)
    }

    #[inline(always)]
    fn note(entries: &mut Entries<K, A::Acc>, place: u64, key: &Q, hashing: &Hashing<K>) -> (usize, bool) {
        F::note(entries, place, key, hashing)
    }

    fn put_held(entries: &mut Entries<K, A::Acc>, spot: usize) {
        F::put_held(entries, spot);
    }

    #[inline(always)]
    fn add_absent(
        algebra: &Algebra<K, V, A>,
        entries: &mut Entries<K, A::Acc>,
        place: u64,
        key: &Q,
        event: (Timestamp, &V),
    ) -> bool {
        if entries.is_cut() {
            entries.hold(algebra.hashing.hash(key), key);
        }
        F::add_absent(algebra, entries, place, key, event)
    }
}

#[derive(Clone, Copy)]
pub(super) struct ByIndex;

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>> Find<K, V, A, Q> for ByIndex {
    #[inline(always)]
    fn add_block(
        algebra: &Algebra<K, V, A>,
        pair: &mut OpenPair<'_, K, A::Acc>,
        sides: Sides,
        events: &Columns<'_, Q, V>,
    ) -> bool {
        match (sides, &mut *pair.tables) {
            (Sides::Before, [entries, _]) | (Sides::After, [_, entries]) => {
                add_to_one(algebra, entries, events)
            }
            (Sides::Both, entries) => add_to_both(algebra, entries, pair.edge, events),
        }
    }

    #[inline(always)]
    fn place(_: &Hashing<K>, _: &Q, index: Option<&u32>) -> u64 {
        index.map_or(Numbering::<K>::BEYOND, |&index| index.into())
    }

    #[inline(always)]
    fn get<'e>(entries: &'e mut Entries<K, A::Acc>, index: u64, _: &Q) -> Option<&'e mut A::Acc> {
        entries.dense_mut()?.get_mut(index as usize)
    }

    #[inline(always)]
    fn get_held<'e>(entries: &'e mut Entries<K, A::Acc>, index: u64, _: &Q) -> Option<&'e mut A::Acc> {
        let dense = entries.dense_mut()?;
        dense.hold(index as usize);
        dense.get_mut(index as usize)
    }

    #[inline(always)]
    fn note(entries: &mut Entries<K, A::Acc>, index: u64, key: &Q, hashing: &Hashing<K>) -> (usize, bool) {
        match entries.dense_mut() {
            Some(dense) if index < Numbering::<K>::BEYOND => (index as usize, dense.note(index as usize)),
            _ => {
                entries.hold(hashing.hash(key), key);
                (0, false)
            }
        }
    }

    fn put_held(entries: &mut Entries<K, A::Acc>, spot: usize) {
        if let Some(dense) = entries.dense_mut() {
            dense.put_held(spot);
        }
    }

    #[inline(always)]
    fn add_absent(
        algebra: &Algebra<K, V, A>,
        entries: &mut Entries<K, A::Acc>,
        index: u64,
        key: &Q,
        event: (Timestamp, &V),
    ) -> bool {
        match entries.dense_mut() {
            Some(dense) if index < Numbering::<K>::BEYOND => algebra.add_absent(dense, index as usize, event),
            _ => add_by_hash(algebra, entries, key, event),
        }
    }
}

/// Spots from which on partials are far away: then waiting for them, which branches that are taken wrongly keep from
/// overlapping, costs more than parting a block.
const FAR: usize = 1 << 15;

/// Adds all events of a block to the entries of one slice, if there is room for them; whether it did.
#[inline(never)]
fn add_to_one<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
    algebra: &Algebra<K, V, A>,
    entries: &mut Entries<K, A::Acc>,
    events: &Columns<'_, Q, V>,
) -> bool {
    let Some(dense) = entries.dense_mut() else { return false };
    if dense.has_all(events.indices) {
        for ((&time, value), &index) in events.times.iter().zip(events.values).zip(events.indices) {
            if let Some(partial) = dense.place_mut(index as usize) {
                let at = Timestamp::from_micros(time.wrapping_mul(events.unit));
                algebra.aggregate.add(partial, at, value);
            }
        }
        return true;
    }
    if dense.spots() < FAR {
        return false;
    }
    let all: [u8; BLOCK] = core::array::from_fn(|place| place as u8);
    let places = &all[..events.indices.len()];
    let fits = dense.have_room(events.indices, places);
    if fits {
        add_places(algebra, dense, events, places);
    }
    fits
}

/// The same for two slices with an edge between them.
#[inline(never)]
fn add_to_both<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
    algebra: &Algebra<K, V, A>,
    [before, after]: &mut [Entries<K, A::Acc>; 2],
    edge: i64,
    events: &Columns<'_, Q, V>,
) -> bool {
    let (Some(before), Some(after)) = (before.dense_mut(), after.dense_mut()) else { return false };
    if before.spots().max(after.spots()) < FAR {
        return false;
    }
    let mut parts = [[0; BLOCK]; 2];
    let mut counts = [0; 2];
    for (place, &time) in events.times.iter().enumerate() {
        // (Both, and one of them moves on: no branch for what may well be random.)
        let is_after = time.wrapping_mul(events.unit) >= edge;
        parts[0][counts[0] % BLOCK] = place as u8;
        parts[1][counts[1] % BLOCK] = place as u8;
        counts[0] += usize::from(!is_after);
        counts[1] += usize::from(is_after);
    }
    let [befores, afters] = [&parts[0][..counts[0]], &parts[1][..counts[1]]];
    let fits = before.have_room(events.indices, befores) && after.have_room(events.indices, afters);
    if fits {
        add_places(algebra, before, events, befores);
        add_places(algebra, after, events, afters);
    }
    fits
}

/// Adds the events at some places of a block, for the indices of which there is room.
fn add_places<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
    algebra: &Algebra<K, V, A>,
    dense: &mut Dense<K, A::Acc>,
    events: &Columns<'_, Q, V>,
    places: &[u8],
) {
    let Columns { times, values, indices, unit, .. } = *events;
    let at = |place: usize| Timestamp::from_micros(times[place].wrapping_mul(unit));
    // The first event of each index that is not here yet, and all others.
    let (mut firsts, mut others) = ([0; BLOCK], [0; BLOCK]);
    let (mut first, mut other) = (0, 0);
    for &place in places {
        let is_new = dense.mark(indices[usize::from(place)] as usize);
        firsts[first % BLOCK] = place;
        others[other % BLOCK] = place;
        first += usize::from(is_new);
        other += usize::from(!is_new);
    }
    for place in firsts[..first].iter().map(|&place| usize::from(place)) {
        let partial = algebra.aggregate.lift(at(place), &values[place]);
        if let Some(to) = dense.place_mut(indices[place] as usize) {
            *to = partial;
        }
    }
    for place in others[..other].iter().map(|&place| usize::from(place)) {
        if let Some(partial) = dense.place_mut(indices[place] as usize) {
            algebra.aggregate.add(partial, at(place), &values[place]);
        }
    }
}

/// Adds an event whose key has an index beyond those that entries are found by.
#[inline(never)]
fn add_by_hash<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
    algebra: &Algebra<K, V, A>,
    entries: &mut Entries<K, A::Acc>,
    key: &Q,
    (at, value): (Timestamp, &V),
) -> bool {
    let hash = algebra.hashing.hash(key);
    match entries.get_near(hash, key) {
        // (What needs to be dropped may own heap, which is for the long way to count.)
        Some(_) if needs_drop::<A::Acc>() => return false,
        Some(partial) => algebra.aggregate.add(partial, at, value),
        None => return algebra.add_unfound(entries.table_mut(), hash, key, at, value),
    }
    true
}

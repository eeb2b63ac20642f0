//! Sessions: which of a key's an event joins, and what they become.

use core::hash::Hash;

use smallvec::SmallVec;

use super::cell::{Cell, State};
use super::{Keyed, Offer, Slot};
use crate::aggregate::Aggregate;
use crate::fire::Order;
use crate::key::ToKey;
use crate::slice::Algebra;
use crate::time::Timestamp;
use crate::windows::{Assigner, TriggerRules};

/// Sessions that become one: hardly ever more than two.
type Joined = SmallVec<[u32; 4]>;

impl<K: Hash + Eq + Clone, T: Clone> Keyed<K, T> {
    fn gap_and_length(&self, own: Option<i64>) -> (i64, Option<i64>) {
        match self.rules.assigner {
            Assigner::Session { gap, max_length } => (own.unwrap_or(gap), max_length),
            _ => (1, None),
        }
    }

    /// The session that an event would be alone.
    pub(super) fn own_session<Q: ToKey<K>, V>(&self, offer: &Offer<'_, Q, V>) -> (i64, i64) {
        let (gap, length) = self.gap_and_length(offer.gap);
        (offer.time, offer.time.saturating_add(length.map_or(gap, |length| gap.min(length))))
    }

    /// The open sessions that an event joins, in the order of their starts: those that it touches or overlaps,
    /// as far as the longest length lets them be one.
    pub(super) fn joined<Q: ToKey<K>, V>(&self, offer: &Offer<'_, Q, V>) -> Joined {
        let own = self.own_session(offer);
        let (_, length) = self.gap_and_length(None);
        let mut touched: SmallVec<[(i64, i64, u32); 4]> = SmallVec::new();
        for id in self.sessions_of(offer.hash, offer.key) {
            let Some(cell) = self.cell(id) else { continue };
            let touches = cell.start <= own.1 && own.0 <= cell.end;
            if touches && !cell.is_closed(&self.rules, offer.watermark) {
                touched.push((cell.start, cell.end, id));
            }
        }
        touched.sort_unstable();
        let (mut first, mut last) = (offer.time, offer.time);
        let mut joined = Joined::new();
        for (start, _, id) in touched {
            let Some(cell) = self.cell(id) else { continue };
            let both = (first.min(start), last.max(cell.last));
            if length.is_none_or(|length| both.1.abs_diff(both.0) < length as u64) {
                (first, last) = both;
                joined.push(id);
            }
        }
        joined
    }

    /// The session that an event and those it joins become.
    fn merged<Q: ToKey<K>, V>(&self, joined: &[u32], offer: &Offer<'_, Q, V>) -> Extent {
        let (gap, length) = self.gap_and_length(offer.gap);
        let own =
            Extent { start: offer.time, last: offer.time, reach: offer.time.saturating_add(gap), end: 0 };
        let parts = joined.iter().filter_map(|&id| self.cell(id));
        let Extent { start, last, reach, .. } = parts.fold(own, |all, part| Extent {
            start: all.start.min(part.start),
            last: all.last.max(part.last),
            reach: all.reach.max(part.reach),
            end: 0,
        });
        let end = length.map_or(reach, |length| reach.min(start.saturating_add(length)));
        Extent { start, last, reach, end }
    }

    /// Whether the session that an event joins or begins still accepts it: decided after merging (L1). One
    /// that is at its longest ends earlier when it starts earlier.
    pub(super) fn accepts_into_session<Q: ToKey<K>, V>(&self, offer: &Offer<'_, Q, V>) -> bool {
        self.rules.accepts(self.merged(&self.joined(offer), offer).end, offer.watermark)
    }

    /// Takes an event into the session that it joins or begins, if that is open.
    pub(super) fn take_into_session<Q: ToKey<K>, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        offer: &Offer<'_, Q, V>,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) -> Option<u32> {
        let joined = self.joined(offer);
        let merged = self.merged(&joined, offer);
        if !self.rules.accepts(merged.end, offer.watermark) {
            return None;
        }
        for &id in &joined {
            self.set_aside(id, offer.watermark, algebra, order);
        }
        match joined[..] {
            [id] if self.cell(id)?.start <= offer.time => {
                self.add(id, offer, algebra);
                self.extend(id, &merged, offer.watermark);
                Some(id)
            }
            _ => self.merge(&joined, &merged, offer, algebra),
        }
    }

    /// Whether nothing follows from almost any event but that a session begins or grows.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.rules.assigner, Assigner::Session { max_length: None, .. })
            && self.rules.trigger == TriggerRules::ON_TIME
    }

    fn sessions_of<Q: ToKey<K>>(&self, hash: u64, key: &Q) -> Joined {
        let mut sessions = Joined::new();
        self.index.each(hash, |id| {
            if self.cell(id).is_some_and(|cell| key.is(&cell.key)) {
                sessions.push(id);
            }
        });
        sessions
    }

    /// Whether this is a session of a key's that has no other.
    #[inline(always)]
    fn is_only_session<Q: ToKey<K>>(&self, id: u32, key: &Q) -> bool {
        self.cell(id).is_some_and(|cell| !cell.state.shares_key && key.is(&cell.key))
    }

    /// Notes that a key whose session is about to come may have several.
    pub(super) fn note_others(&mut self, hash: u64, cell: &mut Cell<K, T>) {
        let others = self.sessions_of(hash, &cell.key);
        cell.state.shares_key = !others.is_empty();
        for id in others {
            if let Some(other) = self.cells.get_mut(id) {
                other.cell.state.shares_key = true;
            }
        }
    }

    /// Takes an event into its key's only session, which it does not make start earlier, or into a new one; if that is
    /// not what would happen, or if the session ends before `boundary`, does nothing.
    ///
    /// Why that is right: the watermark is before `boundary`, whatever it is exactly. So a session that does not end before
    /// that has not ended, accepts, and is not due; and a new one cannot be due before anything is known to be.
    pub(crate) fn take_quickly<Q: ToKey<K>, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (key, hash, near): (&Q, u64, Option<u32>),
        (time, value): (Timestamp, &V),
        boundary: i64,
        algebra: &Algebra<K, V, A>,
    ) -> bool {
        let near = near.or_else(|| self.near(hash));
        let id = match near.filter(|&id| self.is_only_session(id, key)) {
            Some(id) => Some(id),
            None => match self.sessions_of(hash, key)[..] {
                [] => None,
                [id] => Some(id),
                _ => return false,
            },
        };
        let own = time.as_micros();
        let (gap, _) = self.gap_and_length(None);
        let end = own.saturating_add(gap);
        let Some(id) = id else {
            if end < boundary {
                return false;
            }
            let partial = algebra.aggregate.lift(time, value);
            let mut cell = Cell::new(key.to_key(), (own, end), partial, i64::MIN);
            cell.state.is_new = true;
            self.insert(hash, cell, algebra);
            return true;
        };
        self.change(id);
        let Some(Slot { cell, .. }) = self.cells.get_mut(id) else { return false };
        let &State { panes, ended, marked, .. } = &cell.state;
        let is_touched = cell.start <= own && own <= cell.end;
        if !is_touched || cell.end < boundary || panes > 0 || ended || marked {
            return false;
        }
        let Some(partial) = &mut cell.partial else { return false };
        let before = algebra.aggregate.heap_bytes(partial);
        algebra.aggregate.add(partial, time, value);
        self.heap = self.heap + algebra.aggregate.heap_bytes(partial) - before;
        cell.state.is_new = true;
        cell.last = cell.last.max(own);
        cell.reach = cell.reach.max(end);
        cell.end = cell.reach;
        true
    }

    /// Moves the end of a session behind an event that is not before its start.
    fn extend(&mut self, id: u32, to: &Extent, watermark: i64) {
        let Some(cell) = self.cell_mut(id) else { return };
        (cell.last, cell.reach) = (to.last, to.reach);
        if to.end != cell.end {
            cell.end = to.end;
            cell.state.move_bounds(to.end, watermark);
        }
    }

    /// Makes one of sessions, if any, and an event, in the order of their starts.
    fn merge<Q: ToKey<K>, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        joined: &[u32],
        to: &Extent,
        offer: &Offer<'_, Q, V>,
        algebra: &Algebra<K, V, A>,
    ) -> Option<u32> {
        let parts: SmallVec<[Cell<K, T>; 2]> =
            joined.iter().filter_map(|&id| self.remove(id, algebra)).collect();
        let before = parts.partition_point(|part| part.start <= offer.time);
        let mut partial = None;
        for part in &parts[..before] {
            append(&mut partial, part.partial.as_ref(), algebra);
        }
        let lifted = algebra.aggregate.lift(Timestamp::from_micros(offer.time), offer.value);
        append(&mut partial, Some(&lifted), algebra);
        for part in &parts[before..] {
            append(&mut partial, part.partial.as_ref(), algebra);
        }
        let Extent { start, end, last, reach } = *to;
        let state = merged_state(&parts, (start, end), offer.watermark);
        let replaced = parts.into_iter().flat_map(|part| part.replaced).collect();
        let key = offer.key.to_key();
        Some(self.insert(
            offer.hash,
            Cell { key, start, end, last, reach, partial, replaced, state },
            algebra,
        ))
    }
}

/// Where a session lies.
struct Extent {
    start: i64,
    /// Its latest event.
    last: i64,
    /// Its end without a longest length, and with it.
    reach: i64,
    end: i64,
}

fn merged_state<K, T>(parts: &[Cell<K, T>], bounds: (i64, i64), watermark: i64) -> State {
    let Some((first, others)) = parts.split_first() else {
        return State::new(bounds.1 <= watermark);
    };
    let mut state = first.state.clone();
    others.iter().for_each(|other| state.merge(&other.state));
    match parts.iter().find(|part| (part.start, part.end) == bounds) {
        // One has swallowed the others: it is the window that it was.
        Some(same) => same.state.clone().swallow(&state),
        None => {
            state.move_bounds(bounds.1, watermark);
            state
        }
    }
}

fn append<K, V, A: Aggregate<V>>(
    whole: &mut Option<A::Acc>,
    later: Option<&A::Acc>,
    algebra: &Algebra<K, V, A>,
) {
    match (whole.as_mut(), later) {
        (Some(whole), Some(later)) => algebra.aggregate.combine(whole, later),
        (None, Some(later)) => *whole = Some(later.clone()),
        (_, None) => {}
    }
}

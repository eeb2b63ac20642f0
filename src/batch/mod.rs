//! Batches: columns of events, which mean exactly what their events mean one by one.
//!
//! What makes an event cheap is that almost always nothing follows from it but that its partial and its partition's
//! maximum change. So a batch is taken in runs of such events, and whatever ends a run goes the way of a single event.

mod add;
mod columns;
mod find;
mod input;
mod outcomes;
mod source;

use core::fmt;
use core::hash::Hash;
use core::hint::black_box;

use add::{Stop, add_all, add_all_to_one, add_each, hold_all};
use columns::{Columns, Parts, Sides};
use find::{ByHash, ByIndex, Find, Holding};
use input::Through;
pub use input::{Partitions, Times};
pub(crate) use outcomes::Outcomes;
pub use outcomes::{Exception, Exceptions};
use source::{Each, One, Source};

use crate::aggregate::Aggregate;
use crate::error::{Rejected, UnequalColumns};
use crate::key::ToKey;
use crate::keyed::NEAR;
use crate::operator::Windowing;
use crate::output::Admission;
use crate::time::Timestamp;
use crate::watermark::{Partition, Watch, WatchBlock};

/// Events that are looked at together.
const BLOCK: usize = 256;
/// A run of fewer events than this says that they alternate between slices.
const SHORT: usize = 32;
/// If a snapshot has to hold something for one of so many events, what they change is found before the first is held.
const OFTEN: usize = 16;

/// What became of a batch.
#[derive(Clone, Copy)]
#[must_use = "events may have been given back: late, unassigned or rejected"]
pub struct Batch<'a> {
    accepted: u64,
    outcomes: &'a Outcomes,
}

impl<'a> Batch<'a> {
    /// How many of the events are in all their windows.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// All others, in their order: partly late, late, unassigned or rejected.
    pub fn exceptions(&self) -> Exceptions<'a> {
        Exceptions::of(self.outcomes)
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accepted, exceptions) = (self.accepted, self.exceptions());
        f.debug_struct("Batch").field("accepted", &accepted).field("exceptions", &exceptions).finish()
    }
}

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>> Windowing<K, V, A> {
    /// Offers a batch of events, in columns: the partition of all or of each, their times, keys and values.
    ///
    /// It means exactly what [pushing](Self::push) them one by one means. Events that are not simply accepted are given
    /// back by their index. What the batch makes due waits to be polled, so a batch need not end where a window does.
    ///
    /// A key may be borrowed ([`ToKey`]). For a stream without keys let the kernel's key be `()`, and the column
    /// `vec![(); n]`, which takes no memory.
    ///
    /// Best in batches of some hundred events or more, whose times are out of order by less than a window's slide.
    ///
    /// ```
    /// use chrono::TimeDelta;
    /// use floodmark::{Admission, Config, Sum, Times};
    ///
    /// let mut windows = Config::tumbling(TimeDelta::seconds(10))
    ///     .max_disorder(TimeDelta::seconds(2))
    ///     .build(Sum::of(|bytes: &u64| *bytes))?;
    /// let input = windows.add_partition();
    ///
    /// let seconds = [3, 1, 14, 8, 25];
    /// let batch = windows.push_batch(
    ///     input,
    ///     Times::seconds(&seconds),
    ///     &["alpha", "beta", "alpha", "beta", "alpha"],
    ///     &[10, 20, 30, 40, 50],
    /// )?;
    /// for (index, outcome) in batch.exceptions() {
    ///     // The event at 8 s came when the watermark was at 12 s.
    ///     assert!(matches!(outcome, Ok(Admission::Late(late)) if late.event == 3 && index == 3));
    /// }
    /// assert_eq!(batch.accepted(), 4);
    ///
    /// let mut sums = Vec::new();
    /// while let Some(pane) = windows.poll() {
    ///     sums.push((*pane.key, pane.value));
    /// }
    /// sums.sort();
    /// assert_eq!(sums, [("alpha", 10), ("alpha", 30), ("beta", 20)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the columns are not of one length: then no event has been taken.
    pub fn push_batch<'p, 't, Q: ToKey<K>>(
        &mut self,
        partitions: impl Into<Partitions<'p>>,
        times: impl Into<Times<'t>>,
        keys: &[Q],
        values: &[V],
    ) -> Result<Batch<'_>, UnequalColumns> {
        let (partitions, times) = (partitions.into(), times.into());
        let each = match partitions.0 {
            Through::One(_) => None,
            Through::Each(partitions) => Some(partitions.len()),
        };
        let lengths = [times.len(), keys.len(), values.len(), each.unwrap_or(times.len())];
        if lengths.iter().any(|&length| length != lengths[0]) {
            let [times, keys, values, _] = lengths;
            return Err(UnequalColumns { times, keys, values, partitions: each });
        }
        let before = self.counters.accepted;
        self.outcomes.clear();
        let mut buffer = [0; BLOCK];
        let mut first = 0;
        while first < times.len() {
            let (times, unit) = times.starting(first, &mut buffer);
            let events = first..first + times.len();
            let (keys, values) = (&keys[events.clone()], &values[events.clone()]);
            let columns = Columns { first, times, unit, keys, values, indices: &[] };
            match partitions.0 {
                Through::One(partition) => self.push_columns(&columns, One(partition)),
                Through::Each(partitions) => self.push_columns(&columns, Each(&partitions[events.clone()])),
            }
            first = events.end;
        }
        self.counters.late += self.outcomes.late();
        Ok(Batch { accepted: self.counters.accepted - before, outcomes: &self.outcomes })
    }

    fn push_columns<Q: ToKey<K>>(&mut self, columns: &Columns<'_, Q, V>, partitions: impl Source) {
        let mut next = 0;
        while next < columns.times.len() {
            let end = columns.times.len().min(next + BLOCK);
            match self.keyed.is_empty() {
                true if self.algebra.hashing.numbering().is_some() => {
                    self.push_numbered(columns, partitions, &mut next, end);
                }
                true => self.push_block(ByHash, columns, partitions, &mut next, end),
                false => {
                    let end = end.min(next + NEAR);
                    self.push_keyed_block(columns, partitions, &mut next, end);
                }
            }
        }
    }

    // Events that go into windows of each key's own.

    fn push_keyed_block<Q: ToKey<K>>(
        &mut self,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) {
        let first = *next;
        let mut near = [(0, None); NEAR];
        self.find_sessions(&columns.keys[first..end], &mut near);
        while *next < end {
            self.run_sessions(columns, partitions, &near[*next - first..], next, end);
            if *next < end {
                self.take_other(columns, partitions, next);
            }
        }
    }

    /// Finds sessions that most likely are those of some keys, by the hashes of those, and brings them near: the misses of many events
    /// overlap, those of events that are taken one after the other would not.
    #[inline(never)]
    fn find_sessions<Q: ToKey<K>>(&self, keys: &[Q], near: &mut [(u64, Option<u32>); NEAR]) {
        for (_, sessions) in self.keyed.iter().filter(|(_, keyed)| keyed.is_plain()) {
            for (place, key) in near.iter_mut().zip(keys) {
                let hash = self.algebra.hashing.hash(key);
                *place = (hash, sessions.near(hash));
            }
            let touched = near[..keys.len()].iter().map(|(_, id)| id.map_or(0, |id| sessions.touch(id)));
            black_box(touched.fold(0, |all, one| all ^ one));
        }
    }

    /// Takes events up to `end` into sessions, which are most likely those that are near, for as long as nothing else follows
    /// from them.
    #[inline(never)]
    fn run_sessions<Q: ToKey<K>>(
        &mut self,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        near: &[(u64, Option<u32>)],
        next: &mut usize,
        end: usize,
    ) {
        if !self.has_only_sessions() {
            return;
        }
        let [(_, sessions)] = &mut self.keyed[..] else { return };
        let (live, boundary) = (sessions.live(), self.progress.boundary());
        let events = columns.part(*next, end);
        let mut watch = partitions.watch(&mut self.progress, *next);
        let (first, beyond) = self.settings.admits;
        let mut taken = 0;
        for ((event, time, key, value), &(hash, near)) in events.all().zip(near) {
            let Some(time) = events.in_micros(time).filter(|&time| first <= time && time < beyond) else {
                break;
            };
            let at = Timestamp::from_micros(time);
            let is_taken = watch.passes(event, time)
                && sessions.take_quickly((key, hash, near), (at, value), boundary, &self.algebra);
            if !is_taken {
                break;
            }
            watch.note(event, time);
            taken += 1;
        }
        drop(watch);
        let has_begun = sessions.live() > live;
        self.counters.accepted += taken as u64;
        *next += taken;
        if has_begun {
            self.note_peak();
        }
    }

    // Events that go into slices.

    /// Tells the events' indices first.
    fn push_numbered<Q: ToKey<K>>(
        &mut self,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) {
        let Some(numbering) = self.algebra.hashing.numbering() else { return };
        let mut indices = [0; BLOCK];
        self.numbered.extend(columns.keys[*next..end].iter().map(ToKey::to_key));
        numbering.indices(&self.numbered, &mut indices);
        self.numbered.clear();
        let mut block = columns.part(*next, end);
        block.indices = &indices[..end - *next];
        let mut taken = 0;
        self.push_block(ByIndex, &block, partitions.from(*next), &mut taken, end - *next);
        *next = end;
    }

    fn push_block<Q: ToKey<K>, F: Find<K, V, A, Q>>(
        &mut self,
        find: F,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) {
        if self.store.is_cut() {
            return self.push_held_block(find, columns, partitions, next, end);
        }
        self.push_open_block(find, columns, partitions, next, end);
    }

    /// The same while a snapshot is being taken.
    #[inline(never)]
    fn push_held_block<Q: ToKey<K>, F: Find<K, V, A, Q>>(
        &mut self,
        find: F,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) {
        let mut is_calm = true;
        while *next < end {
            if !self.open_to_hold() {
                self.take_other(columns, partitions, next);
                continue;
            }
            let (first, left) = (*next, self.store.left_to_hold());
            let calm = match self.holds_lately {
                _ if !is_calm => None,
                true => self.run_calm(find, columns, partitions, next, end),
                false => self.run_calm(Holding(find), columns, partitions, next, end),
            };
            is_calm = calm.is_some();
            match calm.unwrap_or_else(|| self.run(Holding(find), columns, partitions, next, end)) {
                Stop::End => {}
                Stop::Heap { before, after } => self.note_heap(columns.time(*next - 1), before, after),
                Stop::Other => self.take_other(columns, partitions, next),
            }
            // One block is like the one before: finding all first is worth it where much is held.
            self.holds_lately = left.saturating_sub(self.store.left_to_hold()) * OFTEN > *next - first;
        }
        // Single events go the long way, which holds what they change.
        self.store.close();
    }

    fn push_open_block<Q: ToKey<K>, F: Find<K, V, A, Q>>(
        &mut self,
        find: F,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) {
        let run = match self.late_lately {
            // One block is like the one before.
            true => self
                .run_parted(find, columns, partitions, next, end)
                .or_else(|| self.run_calm(find, columns, partitions, next, end)),
            false => self
                .run_calm(find, columns, partitions, next, end)
                .or_else(|| self.run_parted(find, columns, partitions, next, end)),
        };
        let mut stop = run.unwrap_or(Stop::End);
        let mut is_calm = true;
        loop {
            match stop {
                Stop::End => {}
                Stop::Heap { before, after } => self.note_heap(columns.time(*next - 1), before, after),
                Stop::Other => self.take_other(columns, partitions, next),
            }
            // Late events come in crowds.
            while *next < end && columns.time(*next) < self.late_before {
                self.take_other(columns, partitions, next);
            }
            if *next == end {
                return;
            }
            // What comes after one that something followed from may be calm again.
            let calm = if is_calm { self.run_calm(find, columns, partitions, next, end) } else { None };
            is_calm = calm.is_some();
            stop = calm.unwrap_or_else(|| self.run(find, columns, partitions, next, end));
        }
    }

    /// Takes events up to `end`, or to the first that something follows from if that is not near, if all of them go into the
    /// two slices that most events go into: then little has to be looked at for each.
    #[inline(never)]
    fn run_calm<Q: ToKey<K>, F: Find<K, V, A, Q>>(
        &mut self,
        find: F,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) -> Option<Stop> {
        let mut events = columns.part(*next, end);
        partitions.look_at_all(&mut self.progress, events.times.len());
        let mut watch = partitions.watch(&mut self.progress, *next);
        let mut pair = self.store.open_pair()?;
        let from = events.first_from(pair.from)?;
        let last = events.last_before(pair.until.min(watch.limit()))?;
        // (So that no difference of two times in there overflows.)
        last.checked_sub(from)?;
        let edge = events.first_from(pair.edge)?;
        let mut sides = Sides::of(events.times, from..=last, edge);
        let mut calm = events.times.len();
        if sides.is_none() {
            calm = events.times.iter().position(|time| !(from..=last).contains(time))?;
            if events.times[calm] < from {
                return None;
            }
        }
        calm = watch.passing(&events.times[..calm], events.unit);
        if calm < events.times.len() {
            if calm < SHORT {
                return None;
            }
            events = events.part(0, calm);
            sides = Sides::of(events.times, from..=last, edge);
        }
        let sides = sides?;
        let in_micros = |time: i64| Some(time.wrapping_mul(events.unit));
        pair.change(!matches!(sides, Sides::After), !matches!(sides, Sides::Before));
        let algebra = &self.algebra;
        if !F::HOLDS && pair.left_to_hold() > 0 {
            hold_all(find, algebra, &mut pair, &events);
        }
        let is_added = F::add_block(algebra, &mut pair, sides, &events);
        let (taken, stop) = match (sides, &mut *pair.tables) {
            _ if is_added => (events.times.len(), Stop::End),
            (Sides::Both, _) => add_all(find, algebra, &mut pair, &events, events.all(), in_micros),
            (Sides::Before, [table, _]) | (Sides::After, [_, table]) => match const { size_of::<Q>() == 0 } {
                true => add_all_to_one(algebra, table, &events),
                false => add_all(find, algebra, table, &events, events.all(), in_micros),
            },
        };
        watch.note_first(&events.times[..taken], events.unit);
        // What is not in the two slices may be in a third, with nothing following from it.
        let passes = |time| events.in_micros(time).is_some_and(|time| watch.passes(taken, time));
        let is_other = columns.times[*next..end].get(taken).is_some_and(|&time| !passes(time));
        self.counters.accepted += taken as u64;
        *next += taken;
        Some(if matches!(stop, Stop::End) && is_other { Stop::Other } else { stop })
    }

    /// The same for events some of which are late for all windows: those are told from the others first.
    #[inline(never)]
    fn run_parted<Q: ToKey<K>, F: Find<K, V, A, Q>>(
        &mut self,
        find: F,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) -> Option<Stop> {
        let open = columns.first_from(self.late_before)?;
        let first = columns.times[*next..end].iter().position(|&time| time < open);
        self.late_lately = first.is_some();
        let first = *next + first?;
        if *next < first {
            let stop = self.run_calm(find, columns, partitions, next, first)?;
            if *next < first || !matches!(stop, Stop::End) {
                return Some(stop);
            }
        }
        let passes = self.progress.passes(partitions.of(first), columns.time(first));
        if self.progress.is_unsettled() || !passes || columns.time(first) < self.settings.admits.0 {
            return Some(Stop::End);
        }
        // The first late event does that, not one before it: who holds the watermark is known then, and if it is another one
        // later nothing follows from it in this block.
        let events = columns.part(first, end);
        self.progress.refresh();
        let watch = partitions.watch_all(&mut self.progress)?;
        let (limit, latest) = (watch.limit(), watch.latest());
        drop(watch);
        let mut pair = self.store.open_pair()?;
        let earliest = events.first_from(self.settings.admits.0)?;
        let last = events.last_before(pair.until.min(limit))?;
        let parts = Parts::of(events.times, (earliest, open, events.first_from(pair.from)?, last))?;
        pair.change(true, true);
        let in_micros = |time: i64| Some(time.wrapping_mul(events.unit));
        let open = events.listed(parts.open());
        let (taken, stop) = add_all(find, &self.algebra, &mut pair, &events, open, in_micros);
        self.counters.accepted += parts.open().partition_point(|&place| usize::from(place) < taken) as u64;
        self.give_back_late(&events, partitions, latest, &parts, taken);
        if let (Some(latest), Some(mut watch)) =
            (columns.latest(*next, taken), partitions.watch_all(&mut self.progress))
        {
            watch.note(0, latest);
        }
        *next += taken;
        Some(stop)
    }

    /// Gives those of the first `count` events of a partition back that are late for all windows. The latest event of
    /// it before was at `latest`.
    fn give_back_late<Q: ToKey<K>>(
        &mut self,
        events: &Columns<'_, Q, V>,
        partitions: impl Source,
        latest: i64,
        parts: &Parts,
        count: usize,
    ) {
        let (mut looked_at, mut own) = (None, i64::MIN);
        for place in parts.late().iter().map(|&place| usize::from(place)).take_while(|&place| place < count) {
            let before = parts.before[place % BLOCK];
            if looked_at != Some(before) {
                // What it is judged by is that of the events before it.
                looked_at = Some(before);
                let latest = latest.max(before.saturating_mul(events.unit));
                own = self.judge_by(partitions, partitions.of(place), latest);
            }
            let time = events.times[place].wrapping_mul(events.unit);
            if own <= time {
                self.outcomes.tell_holder(|| self.progress.held_by());
            }
            if !self.outcomes.push_late(events.first + place, time) {
                self.give_back_first(events, partitions, place);
            }
        }
    }

    /// Late events to come are judged by where the watermark is if the latest event of their partition was at `latest`; where that
    /// partition's own is.
    #[inline(never)]
    fn judge_by(&mut self, partitions: impl Source, partition: Partition, latest: i64) -> i64 {
        if let Some(mut watch) = partitions.watch_all(&mut self.progress) {
            watch.note(0, latest);
        }
        self.progress.refresh();
        let own = self.progress.own(partition).unwrap_or(i64::MIN);
        self.outcomes.judge_by(self.progress.present(), own);
        own
    }

    /// Gives the first late event of a slice back.
    #[inline(never)]
    fn give_back_first<Q: ToKey<K>>(
        &mut self,
        events: &Columns<'_, Q, V>,
        partitions: impl Source,
        place: usize,
    ) {
        let time = events.time(place);
        match self.judge_late(time, self.progress.present()) {
            Some(missed) => {
                let slice = self.slice_bounds(time).unwrap_or((time, time + 1));
                self.outcomes.note_missed(slice, missed);
                self.outcomes.push_late(events.first + place, time);
            }
            None => self.take_other(events, partitions, &mut { place }),
        }
    }

    /// Takes events up to `end` for as long as hardly anything follows from them.
    #[inline(never)]
    fn run<Q: ToKey<K>, F: Find<K, V, A, Q>>(
        &mut self,
        find: F,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
        end: usize,
    ) -> Stop {
        let first = *next;
        let mut stop = Stop::Other;
        if let Some(slice) = self.store.open_slice(columns.time(first)) {
            let events = columns.part(first, end);
            let mut watch = partitions.watch(&mut self.progress, first);
            let taken;
            (taken, stop) = add_each(find, &self.algebra, slice, &mut watch, &events, events.all(), |time| {
                events.in_micros(time)
            });
            *next += taken;
        }
        if matches!(stop, Stop::Other) && *next >= first + SHORT {
            // The next ones may all go into another.
            stop = Stop::End;
        } else if matches!(stop, Stop::Other) {
            // They alternate between slices.
            let events = columns.part(*next, end);
            let mut watch = partitions.watch(&mut self.progress, *next);
            let tables = self.store.open_tables();
            let taken;
            (taken, stop) =
                add_each(find, &self.algebra, tables, &mut watch, &events, events.all(), |time| {
                    events.in_micros(time)
                });
            *next += taken;
        }
        self.counters.accepted += (*next - first) as u64;
        stop
    }

    /// Takes the next event the long way.
    fn take_other<Q: ToKey<K>>(
        &mut self,
        columns: &Columns<'_, Q, V>,
        partitions: impl Source,
        next: &mut usize,
    ) {
        let index = columns.first + *next;
        let event = columns.event(*next, partitions.of(*next));
        let admission = match columns.in_micros(columns.times[*next]) {
            Some(_) => self.admit(event),
            None => Err(self.reject_unfit(event.partition, event.time)),
        };
        *next += 1;
        let outcome = match admission {
            Ok(Admission::Accepted) => return,
            Ok(admission) => Ok(admission.map(|()| index)),
            Err(reason) => Err(Rejected::new(index, reason)),
        };
        self.outcomes.push(index, outcome);
    }
}

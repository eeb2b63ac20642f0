//! Batches: columns of events, which mean exactly what their events mean one by one.
//!
//! What makes an event cheap is that almost always nothing follows from it but that its partial and its partition's
//! maximum change. So a batch is taken in runs of such events, and whatever ends a run goes the way of a single event.

mod find;
mod outcomes;

use alloc::vec::Vec;
use core::fmt;
use core::hash::Hash;
use core::hint::black_box;
use core::ops::RangeInclusive;

use find::{ByHash, ByIndex, Find, Holding};
pub(crate) use outcomes::Outcomes;
pub use outcomes::{Exception, Exceptions};

use crate::aggregate::Aggregate;
use crate::error::{Rejected, UnequalColumns};
use crate::key::ToKey;
use crate::operator::{Offered, Windowing};
use crate::output::Admission;
use crate::slice::{Algebra, Entries, OpenPair, Tables};
use crate::time::Timestamp;
use crate::watermark::{Partition, Progress, Watch, WatchBlock, WatchEach, WatchOne, Watched};

/// Events that are looked at together.
const BLOCK: usize = 256;
/// A run of fewer events than this says that they alternate between slices.
const SHORT: usize = 32;
/// If a snapshot has to hold something for one of so many events, what they change is found before the first is held.
const OFTEN: usize = 16;

/// The times of a batch's events.
///
/// ```
/// use floodmark::{Timestamp, Times};
///
/// let times = [Timestamp::from_micros(1_000_000), Timestamp::from_micros(2_000_000)];
/// assert_eq!(Times::from(&times[..]).len(), Times::seconds(&[1, 2]).len());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Times<'a>(Column<'a>);

#[derive(Clone, Copy, Debug)]
enum Column<'a> {
    Timestamps(&'a [Timestamp]),
    /// In units of so many microseconds.
    Units(&'a [i64], i64),
    Nanos(&'a [i64]),
}

impl<'a> Times<'a> {
    /// Seconds since 1970-01-01T00:00:00Z. What does not fit 64 bits of microseconds is rejected as out of range
    /// (T2), here and in the others.
    pub const fn seconds(times: &'a [i64]) -> Self {
        Self(Column::Units(times, 1_000_000))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(times: &'a [i64]) -> Self {
        Self(Column::Units(times, 1_000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(times: &'a [i64]) -> Self {
        Self(Column::Units(times, 1))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z; digits below a microsecond are cut off toward the past.
    pub const fn nanos(times: &'a [i64]) -> Self {
        Self(Column::Nanos(times))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        match self.0 {
            Column::Timestamps(times) => times.len(),
            Column::Units(times, _) | Column::Nanos(times) => times.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those from `first` on, and how many microseconds their unit has; or fewer of them, in a buffer, where they have to
    /// be converted.
    fn starting<'b>(&self, first: usize, buffer: &'b mut [i64; BLOCK]) -> (&'b [i64], i64)
    where
        'a: 'b,
    {
        fn convert<T: Copy>(times: &[T], buffer: &mut [i64; BLOCK], in_micros: impl Fn(T) -> i64) -> usize {
            buffer.iter_mut().zip(times).for_each(|(place, &time)| *place = in_micros(time));
            times.len().min(BLOCK)
        }
        let count = match self.0 {
            Column::Units(times, micros) => return (&times[first..], micros),
            Column::Timestamps(times) => convert(&times[first..], buffer, Timestamp::as_micros),
            Column::Nanos(times) => convert(&times[first..], buffer, |time| time.div_euclid(1_000)),
        };
        (&buffer[..count], 1)
    }
}

impl<'a> From<&'a [Timestamp]> for Times<'a> {
    fn from(times: &'a [Timestamp]) -> Self {
        Self(Column::Timestamps(times))
    }
}

impl<'a> From<&'a Vec<Timestamp>> for Times<'a> {
    fn from(times: &'a Vec<Timestamp>) -> Self {
        Self::from(times.as_slice())
    }
}

/// Through which partitions a batch's events came: one for all, or one for each.
#[derive(Clone, Copy, Debug)]
pub struct Partitions<'a>(Through<'a>);

#[derive(Clone, Copy, Debug)]
enum Through<'a> {
    One(Partition),
    Each(&'a [Partition]),
}

impl From<Partition> for Partitions<'_> {
    fn from(partition: Partition) -> Self {
        Self(Through::One(partition))
    }
}

impl<'a> From<&'a [Partition]> for Partitions<'a> {
    fn from(partitions: &'a [Partition]) -> Self {
        Self(Through::Each(partitions))
    }
}

impl<'a> From<&'a Vec<Partition>> for Partitions<'a> {
    fn from(partitions: &'a Vec<Partition>) -> Self {
        Self::from(partitions.as_slice())
    }
}

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

/// Why a run of events ended.
enum Stop {
    /// There are no more.
    End,
    /// The next one is not one of those that hardly anything follows from.
    Other,
    /// The last one has changed the heap that its partial owns.
    Heap { before: usize, after: usize },
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
                false => self.push_keyed_block(columns, partitions, &mut next, end),
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
        let mut near = [(0, None); BLOCK];
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
    fn find_sessions<Q: ToKey<K>>(&self, keys: &[Q], near: &mut [(u64, Option<u32>); BLOCK]) {
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

/// Holds all that the events of a block are about to change for the snapshot that is being taken: all is found before the first
/// is held, so that misses overlap.
#[inline(never)]
fn hold_all<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>, F: Find<K, V, A, Q>>(
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
fn add_all<'a, K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
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
fn add_each<'a, K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>, F: Find<K, V, A, Q>>(
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
fn add_all_to_one<K: Hash + Eq + Clone, V, A: Aggregate<V>, Q: ToKey<K>>(
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

/// Events of a batch.
struct Columns<'a, Q, V> {
    /// The index of the first of them in the batch.
    first: usize,
    times: &'a [i64],
    /// Microseconds in a unit of the times.
    unit: i64,
    keys: &'a [Q],
    values: &'a [V],
    /// Of the keys, where those have one; else none.
    indices: &'a [u32],
}

impl<'a, Q, V> Columns<'a, Q, V> {
    /// The events from one place to another.
    fn part(&self, from: usize, to: usize) -> Self {
        let Self { first, times, unit, keys, values, indices } = *self;
        Self {
            first: first + from,
            times: &times[from..to],
            unit,
            keys: &keys[from..to],
            values: &values[from..to],
            indices: if indices.is_empty() { indices } else { &indices[from..to] },
        }
    }

    /// All events: the place, time, key and value of each.
    #[inline(always)]
    fn all(&self) -> impl Iterator<Item = (usize, i64, &'a Q, &'a V)> + use<'a, Q, V> {
        let events = self.times.iter().zip(self.keys).zip(self.values).enumerate();
        events.map(|(place, ((&time, key), value))| (place, time, key, value))
    }

    /// Those at some places.
    #[inline(always)]
    fn listed(&self, places: &[u8]) -> impl Iterator<Item = (usize, i64, &'a Q, &'a V)> {
        let Self { times, keys, values, .. } = *self;
        places.iter().map(move |&place| {
            let place = usize::from(place);
            (place, times[place], &keys[place], &values[place])
        })
    }

    /// A time in microseconds, if it fits.
    #[inline(always)]
    fn in_micros(&self, time: i64) -> Option<i64> {
        time.checked_mul(self.unit)
    }

    /// The first time in units that is not before an instant.
    fn first_from(&self, micros: i64) -> Option<i64> {
        self.last_before(micros)?.checked_add(1)
    }

    /// The last time in units that is before an instant.
    fn last_before(&self, micros: i64) -> Option<i64> {
        Some(micros.checked_sub(1)?.div_euclid(self.unit))
    }

    /// The time of an event, or the end of time that it lies beyond.
    fn time(&self, place: usize) -> i64 {
        self.times[place].saturating_mul(self.unit)
    }

    /// The latest of so many events, if those are any.
    fn latest(&self, from: usize, count: usize) -> Option<i64> {
        self.times[from..from + count].iter().max().and_then(|&latest| self.in_micros(latest))
    }

    fn event(&self, place: usize, partition: Partition) -> Offered<'a, Q, V> {
        let time = Timestamp::from_micros(self.time(place));
        Offered { partition, time, key: &self.keys[place], value: &self.values[place] }
    }
}

/// On which sides of an edge some times are.
#[derive(Clone, Copy)]
enum Sides {
    Before,
    After,
    Both,
}

impl Sides {
    /// That of times that are all in a range, if they are.
    #[inline(always)]
    fn of(times: &[i64], range: RangeInclusive<i64>, edge: i64) -> Option<Self> {
        let (from, last) = range.into_inner();
        // By the signs of differences, so that no time takes a branch. (Where the range is not empty at least one of the
        // two differences of a time that is outside is negative, even if they overflow.)
        let (mut outside, mut before, mut after) = (0, 0, 0);
        for &time in times {
            outside |= time.wrapping_sub(from) | last.wrapping_sub(time);
            before |= time.wrapping_sub(edge);
            after |= !time.wrapping_sub(edge);
        }
        match (outside < 0 || last < from, before < 0, after < 0) {
            (true, ..) => None,
            (_, true, true) => Some(Self::Both),
            (_, true, false) => Some(Self::Before),
            (_, false, _) => Some(Self::After),
        }
    }
}

/// The places of a block's events that are late for all windows, and those of the others.
struct Parts {
    late: [u8; BLOCK],
    open: [u8; BLOCK],
    lates: usize,
    opens: usize,
    /// The latest of the times before each, or the beginning of time.
    before: [i64; BLOCK],
}

impl Parts {
    /// Of times that each are late, from the earliest that may be to where slices are that some window still takes; or in
    /// the range of two slices that are open.
    fn of(times: &[i64], (earliest, late_before, from, last): (i64, i64, i64, i64)) -> Option<Self> {
        let (late, open, before) = ([0; BLOCK], [0; BLOCK], [i64::MIN; BLOCK]);
        let mut parts = Self { late, open, lates: 0, opens: 0, before };
        let (mut is_other, mut latest) = (false, i64::MIN);
        for (place, &time) in times.iter().enumerate() {
            // (No branch: half of them may be late.)
            let is_late = time < late_before;
            is_other |= (time < earliest) | (time > last) | (!is_late & (time < from));
            parts.before[place % BLOCK] = latest;
            latest = latest.max(time);
            parts.late[parts.lates % BLOCK] = place as u8;
            parts.open[parts.opens % BLOCK] = place as u8;
            parts.lates += usize::from(is_late);
            parts.opens += usize::from(!is_late);
        }
        (!is_other).then_some(parts)
    }

    fn late(&self) -> &[u8] {
        &self.late[..self.lates]
    }

    fn open(&self) -> &[u8] {
        &self.open[..self.opens]
    }
}

/// The partitions of a block's events.
trait Source: Copy {
    /// The same for the events from one on.
    fn from(self, place: usize) -> Self;

    /// The partition of the event at a place.
    fn of(self, place: usize) -> Partition;

    /// Comes before a watch over a block of so many events.
    fn look_at_all(self, progress: &mut Progress, events: usize);

    /// The watch over events that all are of one partition.
    fn watch_all(self, progress: &mut Progress) -> Option<WatchOne<'_>>;

    type Watch<'a>: Watch + WatchBlock
    where
        Self: 'a;

    /// The watch over events from the one at a place on.
    fn watch<'a>(self, progress: &'a mut Progress, from: usize) -> Self::Watch<'a>
    where
        Self: 'a;
}

#[derive(Clone, Copy)]
struct One(Partition);

#[derive(Clone, Copy)]
struct Each<'a>(&'a [Partition]);

impl Source for One {
    fn from(self, _: usize) -> Self {
        self
    }

    fn of(self, _: usize) -> Partition {
        self.0
    }

    #[inline(always)]
    fn look_at_all(self, _: &mut Progress, _: usize) {}

    #[inline(always)]
    fn watch_all(self, progress: &mut Progress) -> Option<WatchOne<'_>> {
        Some(progress.watch_one(self.0))
    }

    type Watch<'a> = WatchOne<'a>;

    #[inline(always)]
    fn watch<'a>(self, progress: &'a mut Progress, _: usize) -> WatchOne<'a>
    where
        Self: 'a,
    {
        progress.watch_one(self.0)
    }
}

impl Source for Each<'_> {
    fn from(self, place: usize) -> Self {
        Self(&self.0[place..])
    }

    fn of(self, place: usize) -> Partition {
        self.0[place]
    }

    fn look_at_all(self, progress: &mut Progress, events: usize) {
        progress.look_at_all(events);
    }

    fn watch_all(self, _: &mut Progress) -> Option<WatchOne<'_>> {
        None
    }

    type Watch<'a>
        = WatchEach<'a>
    where
        Self: 'a;

    #[inline(always)]
    fn watch<'a>(self, progress: &'a mut Progress, from: usize) -> WatchEach<'a>
    where
        Self: 'a,
    {
        progress.watch_each(&self.0[from..])
    }
}

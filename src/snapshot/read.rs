//! Bytes → state. Every byte may be hostile: nothing here panics, allocates more than a small multiple
//! of what is read, or hands out a kernel before everything has been read and checked (S3).

use alloc::format;
use alloc::vec::Vec;
use core::hash::Hash;

use serde::de::DeserializeOwned;

use super::chain::{CellRecord, Chain, Run, runs_of, whole};
use super::frame::Section;
use super::record::Input;
use super::{
    CellHeader, CellRest, Cursor, Description, Draining, KeyedHead, PaneHeader, ProgressSection, QueuedKind,
};
use crate::aggregate::Aggregate;
use crate::error::{RestoreError, RestoreErrorKind};
use crate::fire::{Refire, Reissue};
use crate::keyed::{Cell, Emission, Rank, Replaced};
use crate::lateness::Lateness;
use crate::lattice::Lattice;
use crate::operator::Windowing;
use crate::queue::{Queued, What};
use crate::slice::{Positions, Table};
use crate::watermark::Progress;
use crate::windows::Assigner;

impl<K, V, A> Windowing<K, V, A>
where
    K: Hash + Eq + Clone + DeserializeOwned,
    A: Aggregate<V>,
    A::Acc: DeserializeOwned,
{
    /// The state of a [`snapshot`](Self::snapshot), in a kernel that has just been built with the same
    /// configuration and the same aggregate. The same calls then give the same results as if it had never
    /// stopped (S2).
    ///
    /// The configuration may differ where the state does not depend on it: the state budget, the seed, an allowed lateness
    /// that is larger (windows that have closed stay closed, and no late event may wait to be polled), the allowed skew into the future, the idle timeout, after how
    /// long a quiet windows are closed, how often early panes come where there are some, whether slices are subtracted on
    /// eviction or keys have an index. Partitions can be added at any time.
    ///
    /// # Errors
    ///
    /// When the bytes are not a snapshot, are of a version that this release does not read, are damaged or
    /// cut short, or were written under another configuration: it says which, and where.
    pub fn restore(self, snapshot: &[u8]) -> Result<Self, RestoreError> {
        #[cfg(feature = "lz4")]
        let snapshot = &super::decompress(snapshot)?;
        self.restore_chain(&Chain::read(&[snapshot])?)
    }

    /// The same for a snapshot and those of the changes since. The next snapshot may hold the changes since the
    /// [last of them](Chain::id): slices that do not change any more are not written again.
    ///
    /// # Errors
    ///
    /// When they were written under another configuration or contradict themselves.
    pub fn restore_chain(self, chain: &Chain<'_>) -> Result<Self, RestoreError> {
        let taken: Description = whole(chain.head.configuration, Section::Configuration)?;
        taken.check_aggregate(&Description::of(&self))?;
        let mut restored = self.restore_migrated(chain, |partial: A::Acc| partial)?;
        // The next snapshot may be of the changes since.
        restored.last_cut = Some(chain.id().0);
        Ok(restored)
    }
}

impl<K, V, A> Windowing<K, V, A>
where
    K: Hash + Eq + Clone + DeserializeOwned,
    A: Aggregate<V>,
{
    /// The state of a snapshot and those of the changes since, in a kernel with another aggregate or whose accumulators are
    /// serialized in another way: `migrate` makes one of now of each one of then.
    ///
    /// ```
    /// use chrono::TimeDelta;
    /// use floodmark::{Config, Count, Sum, Timestamp, snapshot::Chain};
    ///
    /// let config = Config::tumbling(TimeDelta::minutes(1)).ascending();
    /// let mut counts = config.clone().build(Count)?;
    /// let input = counts.add_partition();
    /// counts.push(input, Timestamp::from_micros(7), "alpha".to_string(), 5_u64)?;
    /// let snapshot = counts.snapshot();
    ///
    /// // From now on there are sums besides; of what has been there nobody knows them.
    /// let both = config.build((Count, Sum::of(|bytes: &u64| *bytes)))?;
    /// let mut both = both.restore_migrated(&Chain::read(&[&snapshot])?, |count: u64| (count, 0))?;
    /// both.push(input, Timestamp::from_micros(8), "alpha".to_string(), 3)?;
    /// both.finish();
    /// assert_eq!(both.poll().map(|pane| pane.value), Some((2, 3)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When they were written under another configuration, the accumulators of then are of another type, or they contradict
    /// themselves.
    pub fn restore_migrated<T: DeserializeOwned>(
        mut self,
        chain: &Chain<'_>,
        mut migrate: impl FnMut(T) -> A::Acc,
    ) -> Result<Self, RestoreError> {
        if !self.is_fresh() {
            return Err(RestoreErrorKind::NotFresh.into());
        }
        let (head, migrate) = (&chain.head, &mut migrate);
        let taken: Description = whole(head.configuration, Section::Configuration)?;
        taken.check(&Description::of(&self))?;
        self.read_progress(head.progress)?;
        self.read_slices(chain, migrate)?;
        match (head.firing, self.firing.sliced.is_empty()) {
            (None, true) if chain.reissues.is_empty() => {}
            (Some(payload), false) => self.read_firing(payload, &taken, chain)?,
            (None, _) => return Err(RestoreError::unreadable(Section::Firing.name(), "it is missing")),
            (Some(_), true) => {
                let why = "no definition is made of slices";
                return Err(RestoreError::unreadable(Section::Firing.name(), why));
            }
        }
        if head.keyed.len() != self.keyed.len() {
            let why = "not as many as there are definitions";
            return Err(RestoreError::unreadable(Section::Keyed.name(), why));
        }
        for (place, (head, cells)) in head.keyed.iter().zip(&chain.cells).enumerate() {
            let asides = runs_of(&chain.asides, &head.definition);
            self.read_keyed(place, (*head, &taken), (cells, asides), migrate)?;
        }
        chain.waiting.iter().try_for_each(|run| self.read_queue(run, migrate))?;
        self.check_growth(&taken)?;
        self.store.forget_changes();
        self.resume_from_snapshot();
        Ok(self)
    }

    fn read_progress(&mut self, payload: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input::new(payload, Section::Progress);
        let ProgressSection { progress, counters } = input.get()?;
        input.end()?;
        let progress = Progress::load(self.settings.rules, progress);
        self.progress = progress.map_err(|why| input.unreadable(why))?;
        if counters.has_absurd() {
            return Err(input.unreadable("a counter is larger than any stream is long"));
        }
        self.counters = counters;
        Ok(())
    }

    fn read_slices<T: DeserializeOwned>(
        &mut self,
        chain: &Chain<'_>,
        migrate: &mut impl FnMut(T) -> A::Acc,
    ) -> Result<(), RestoreError> {
        let lattice = self.store.lattice();
        for head in &chain.head.slices {
            let unreadable = |why| RestoreError::unreadable(Section::Slices.name(), why);
            self.check_slice(head.slice).map_err(unreadable)?;
            if (head.instant, head.end) != (lattice.instant(head.slice), lattice.end_of(head.slice)) {
                return Err(unreadable("a slice is not where its number says"));
            }
        }
        // (No entry takes fewer bytes than two, whatever their number is said to be.)
        let most = |run: &Run<'_, i64>| (run.count as usize).min(run.records.rest().len() / 2);
        self.store.expect(chain.entries.iter().map(most).max().unwrap_or(0));
        chain.entries.iter().try_for_each(|run| self.read_entries(run, migrate))
    }

    fn read_entries<T: DeserializeOwned>(
        &mut self,
        run: &Run<'_, i64>,
        migrate: &mut impl FnMut(T) -> A::Acc,
    ) -> Result<(), RestoreError> {
        let (slice, mut input) = (run.of, run.records.clone());
        for _ in 0..run.count {
            let (key, partial): (K, A::Acc) = (input.blob()?, migrate(input.blob()?));
            let hash = self.algebra.hashing.hash(&key);
            if self.store.get_mut(slice, hash, &key).is_some() {
                return Err(input.unreadable("a key stands twice in a slice"));
            }
            let heap = self.algebra.aggregate.heap_bytes(&partial);
            self.store.insert(slice, hash, key, partial, heap, &self.algebra.hashing);
        }
        input.end()
    }

    /// Whether a slice can be one that something is stored in.
    fn check_slice(&self, slice: i64) -> Result<(), &'static str> {
        let lattice = self.store.lattice();
        // (Not of sessions: an event with a short gap of its own may come later than others.)
        let ranges = self.firing.sliced.iter().map(|sliced| sliced.assigner.admits(None));
        let (first, beyond) = ranges.fold((i64::MIN, i64::MAX), |a, b| (a.0.max(b.0), a.1.min(b.1)));
        let instant = lattice.instant(slice);
        let slices = lattice.slice_of(first)..=lattice.slice_of(beyond.saturating_sub(1));
        if !slices.contains(&slice) || lattice.slice_of(instant) != slice {
            return Err("a slice outside the range of time");
        }
        match self.firing.sliced.iter().any(|sliced| sliced.assigner.covers(instant)) {
            true => Ok(()),
            false => Err("a slice between windows"),
        }
    }

    fn read_firing(
        &mut self,
        payload: &[u8],
        taken: &Description,
        chain: &Chain<'_>,
    ) -> Result<(), RestoreError> {
        let mut input = Input::new(payload, Section::Firing);
        let mut windows = 0;
        for place in 0..self.firing.sliced.len() {
            windows += self.read_sliced(place, taken, &mut input, &chain.reissues)?;
        }
        if windows != chain.reissues.chunk_by(|one, other| one.of == other.of).count() {
            return Err(RestoreError::unreadable(Section::Reissues.name(), "of a window that is not there"));
        }
        let (draining, has_refire): (Option<Draining>, bool) = input.get()?;
        let mut keys: Vec<K> = Vec::new();
        for run in &chain.remaining {
            let mut run = run.clone();
            keys.append(&mut run.blobs()?);
            run.end()?;
        }
        match draining {
            Some(draining) => self.resume_drain(draining, &keys).map_err(|why| input.unreadable(why))?,
            None if keys.is_empty() => {}
            None => return Err(input.unreadable("keys to drain without a window")),
        }
        if has_refire {
            let key = input.blob()?;
            let (slice, was_there, at, place, after, until) = input.get()?;
            self.check_slice(slice).map_err(|why| input.unreadable(why))?;
            self.firing.refire = Some(Refire { key, slice, was_there, at, place, after, until });
        }
        input.end()
    }

    /// One definition: how far it has fired, and what late events have left, which is known of so many windows.
    fn read_sliced(
        &mut self,
        place: usize,
        taken: &Description,
        input: &mut Input<'_>,
        reissues: &[Run<'_, (u32, i64)>],
    ) -> Result<usize, RestoreError> {
        let Cursor { fired, positions, closed, is_due: _ } = input.get()?;
        let lateness = self.grow_lateness(taken, self.firing.sliced[place].number, closed);
        let lattice = self.store.lattice();
        let sliced = &mut self.firing.sliced[place];
        check_positions(positions, lattice, &sliced.assigner).map_err(|why| input.unreadable(why))?;
        sliced.fired = fired;
        sliced.lateness = lateness;
        if positions.first < positions.beyond {
            self.store.seal_before(positions.beyond, &self.algebra.hashing);
        }
        sliced.combine.rebuild(positions, &self.store.sealed, &self.algebra);
        let windows: usize = input.get()?;
        for _ in 0..windows {
            let (end, entries): (i64, usize) = input.get()?;
            for run in runs_of(reissues, &(sliced.number, end)) {
                let mut records = run.records.clone();
                for _ in 0..run.count {
                    let (key, reissue): (K, Reissue) = (records.blob()?, records.get()?);
                    let hashing = &self.algebra.hashing;
                    let restored = sliced.restore_reissue(end, &key, reissue, hashing, self.order);
                    restored.map_err(|why| records.unreadable(why))?;
                }
                records.end()?;
            }
            // (None twice, and no window without any.)
            if entries == 0 || sliced.reissues.get(&end).map_or(0, Table::len) != entries {
                return Err(input.unreadable("of a window not as much has followed as it says"));
            }
        }
        Ok(windows)
    }

    /// What a definition allows from here on, where windows that end by `closed` had closed anyway.
    fn grow_lateness(&mut self, taken: &Description, number: u32, closed: i64) -> Lateness {
        // (What the host has been told of the watermark, which may be further than it was settled.)
        let watermark = self.progress.present();
        let number = number as usize;
        let allowed = taken.definitions.get(number).map_or(i64::MAX, |taken| taken.allowed_lateness);
        let lateness = &mut self.settings.definitions[number].lateness;
        *lateness = lateness.grown_from(Lateness { allowed, closed }, watermark);
        *lateness
    }

    /// Late events that wait were let in by what was allowed then: only without any may more be allowed.
    fn check_growth(&self, taken: &Description) -> Result<(), RestoreError> {
        let is_quiet = self.queue.is_empty()
            && self.firing.is_quiet()
            && self.keyed.iter().all(|(_, keyed)| keyed.is_quiet());
        let configured = Description::of(self);
        let mut grown = taken.definitions.iter().zip(&configured.definitions);
        match grown.find(|(taken, configured)| taken.allowed_lateness < configured.allowed_lateness) {
            Some((taken, configured)) if !is_quiet => Err(RestoreErrorKind::Configuration {
                what: "late events that wait to be polled under an allowed lateness in µs of",
                snapshot: format!("{}", taken.allowed_lateness),
                configured: format!("{}", configured.allowed_lateness),
            }
            .into()),
            _ => Ok(()),
        }
    }

    fn resume_drain(&mut self, draining: Draining, remaining: &[K]) -> Result<(), &'static str> {
        let Draining { definition, start, end } = draining;
        let watermark = self.progress.settled();
        let found = self.firing.sliced.iter().position(|sliced| sliced.number == definition);
        let place = found.ok_or("the window being drained is not made of slices")?;
        let sliced = &self.firing.sliced[place];
        if !sliced.assigner.has((start, end)) || end <= sliced.fired || end > watermark {
            return Err("the window being drained is not due");
        }
        self.firing.resume(place, (start, end), remaining, &self.store, &self.algebra)
    }
}

/// Whether these can be the slices that windows were combined from last.
fn check_positions(at: Positions, lattice: &Lattice, assigner: &Assigner) -> Result<(), &'static str> {
    let Positions { first, turned, beyond } = at;
    if !(first <= turned && turned <= beyond) {
        return Err("what was combined last is out of order");
    }
    let (from, until) = lattice.bounds((first, beyond));
    let window = assigner.first_ending_after(until.saturating_sub(1));
    let is_part = window.is_some_and(|(start, end)| start <= from && end == until);
    match first == beyond || is_part {
        true => Ok(()),
        false => Err("what was combined last is not of a window"),
    }
}

impl<K, V, A> Windowing<K, V, A>
where
    K: Hash + Eq + Clone + DeserializeOwned,
    A: Aggregate<V>,
{
    fn read_keyed<T: DeserializeOwned>(
        &mut self,
        place: usize,
        (head, taken): (KeyedHead, &Description),
        (cells, asides): (&[CellRecord<'_>], &[Run<'_, u32>]),
        migrate: &mut impl FnMut(T) -> A::Acc,
    ) -> Result<(), RestoreError> {
        let lateness = self.grow_lateness(taken, self.keyed[place].0, head.closed);
        let algebra = &self.algebra;
        let (number, keyed) = &mut self.keyed[place];
        keyed.rules.lateness = lateness;
        if head.definition != *number {
            let why = "definitions are not in order";
            return Err(RestoreError::unreadable(Section::Keyed.name(), why));
        }
        for record in cells {
            let (mut of_key, mut rest) =
                (Input::new(record.key, Section::Cells), Input::new(record.rest, Section::Cells));
            let key: K = of_key.get()?;
            let (header, partial, replaced): CellRest<T> = rest.get()?;
            let partial = partial.map(&mut *migrate);
            let replaced = replaced.into_iter().map(|pane| pane.migrated(migrate)).collect();
            of_key.end()?;
            rest.end()?;
            let CellHeader { start, end, last, reach, state } = header;
            let cell = Cell { key, start, end, last, reach, partial, replaced, state };
            keyed.restore_cell(cell, algebra).map_err(|why| rest.unreadable(why))?;
        }
        for run in asides {
            let mut records = run.records.clone();
            for _ in 0..run.count {
                let (rank, key): (Rank, K) = (records.get()?, records.blob()?);
                let pane = pane(&mut records, migrate)?;
                let restored = keyed.restore_aside(rank, key, pane, algebra);
                restored.map_err(|why| records.unreadable(why))?;
            }
            records.end()?;
        }
        keyed.restore_last_fired(head.last_fired);
        Ok(())
    }

    fn read_queue<T: DeserializeOwned>(
        &mut self,
        run: &Run<'_, ()>,
        migrate: &mut impl FnMut(T) -> A::Acc,
    ) -> Result<(), RestoreError> {
        let mut input = run.records.clone();
        let watermark = self.progress.settled();
        let mut last = self.queue.iter().next_back().map_or(i64::MIN, |entry| entry.at);
        for _ in 0..run.count {
            let (at, key): (i64, K) = (input.get()?, input.blob()?);
            if at < last || at > watermark {
                return Err(input.unreadable("a late event's watermark is out of order"));
            }
            last = at;
            let (what, heap) = match input.get()? {
                QueuedKind::Event => {
                    let (until, slice): (u32, i64) = input.get()?;
                    let partial = migrate(input.blob()?);
                    self.check_slice(slice).map_err(|why| input.unreadable(why))?;
                    let heap = self.algebra.aggregate.heap_bytes(&partial);
                    (What::Event { slice, partial, until }, heap)
                }
                QueuedKind::Until(until) => (What::Until(until), 0),
                QueuedKind::Pane(definition) => {
                    let pane = pane(&mut input, migrate)?;
                    if !self.keyed.iter().any(|(number, _)| *number == definition) {
                        return Err(input.unreadable("a pane of a definition that has none of its kind"));
                    }
                    let heap = pane.heap_bytes(&self.algebra);
                    (What::Pane { definition, pane }, heap)
                }
            };
            self.queue.push(Queued { at, key, what }, heap);
        }
        input.end()
    }
}

/// A pane that nobody has polled.
fn pane<T: DeserializeOwned, U>(
    input: &mut Input<'_>,
    migrate: &mut impl FnMut(T) -> U,
) -> Result<Emission<U>, RestoreError> {
    let (PaneHeader { start, end, timing, index }, partial, replaced): (_, _, Vec<Replaced<T>>) =
        input.blob()?;
    let replaced = replaced.into_iter().map(|pane| pane.migrated(migrate)).collect();
    Ok(Emission { start, end, partial: migrate(partial), timing, index, replaced })
}

impl<T> Replaced<T> {
    fn migrated<U>(self, migrate: &mut impl FnMut(T) -> U) -> Replaced<U> {
        let Self { start, end, partial } = self;
        Replaced { start, end, partial: migrate(partial) }
    }
}

//! Bytes → state. Every byte may be hostile: nothing here panics, allocates more than a small multiple
//! of what is read, or hands out a kernel before everything has been read and checked (S3).

use alloc::vec::Vec;
use core::hash::Hash;

use serde::de::DeserializeOwned;

use super::frame::{Reader, Section};
use super::{CellHeader, Cursor, Description, Draining, PaneHeader, ProgressSection, QueuedKind};
use crate::aggregate::Aggregate;
use crate::error::{RestoreError, RestoreErrorKind};
use crate::fire::{Refire, Reissue};
use crate::keyed::{Cell, Emission};
use crate::lattice::Lattice;
use crate::operator::Windowing;
use crate::queue::{Queued, What};
use crate::slice::Positions;
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
    /// The configuration's state budget and seed may differ.
    ///
    /// # Errors
    ///
    /// When the bytes are not a snapshot, are of a version that this release does not read, are damaged or
    /// cut short, or were written under another configuration: it says which, and where.
    pub fn restore(mut self, snapshot: &[u8]) -> Result<Self, RestoreError> {
        if !self.is_fresh() {
            return Err(RestoreErrorKind::NotFresh.into());
        }
        let mut reader = Reader::new(snapshot)?;
        let mut input = Input::new(reader.expect(Section::Configuration)?, Section::Configuration);
        let taken: Description = input.get()?;
        input.end()?;
        taken.check(&Description::of(&self))?;
        self.read_progress(reader.expect(Section::Progress)?)?;
        let mut sections = reader.section()?;
        while let (Section::Slice, payload) = sections {
            self.read_slice(payload)?;
            sections = reader.section()?;
        }
        if !self.firing.sliced.is_empty() {
            self.read_firing(expect(sections, Section::Firing)?)?;
            sections = reader.section()?;
        }
        for place in 0..self.keyed.len() {
            self.read_keyed(place, expect(sections, Section::Keyed)?)?;
            sections = reader.section()?;
        }
        self.read_queue(expect(sections, Section::Queue)?)?;
        Input::new(reader.expect(Section::End)?, Section::End).end()?;
        reader.finish()?;
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

    fn read_slice(&mut self, payload: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input::new(payload, Section::Slice);
        let (slice, entries): (i64, usize) = input.get()?;
        if self.store.last_live().is_some_and(|last| slice <= last) {
            return Err(input.unreadable("slices are not in the order of time"));
        }
        self.check_slice(slice).map_err(|why| input.unreadable(why))?;
        if entries == 0 {
            return Err(input.unreadable("a slice without entries"));
        }
        for _ in 0..entries {
            let (key, partial): (K, A::Acc) = input.get()?;
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

    fn read_firing(&mut self, payload: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input::new(payload, Section::Firing);
        for place in 0..self.firing.sliced.len() {
            self.read_sliced(place, &mut input)?;
        }
        let draining: Option<Draining> = input.get()?;
        let remaining: Vec<K> = input.all()?;
        match draining {
            Some(draining) => self.resume_drain(draining, &remaining).map_err(|why| input.unreadable(why))?,
            None if remaining.is_empty() => {}
            None => return Err(input.unreadable("keys to drain without a window")),
        }
        let refire: Option<Refire<K>> = input.get()?;
        if let Some(refire) = &refire {
            self.check_slice(refire.slice).map_err(|why| input.unreadable(why))?;
        }
        self.firing.refire = refire;
        input.end()
    }

    /// One definition: how far it has fired, and what late events have left.
    fn read_sliced(&mut self, place: usize, input: &mut Input<'_>) -> Result<(), RestoreError> {
        let Cursor { fired, positions } = input.get()?;
        let lattice = self.store.lattice();
        let sliced = &mut self.firing.sliced[place];
        check_positions(positions, lattice, &sliced.assigner).map_err(|why| input.unreadable(why))?;
        sliced.fired = fired;
        if positions.first < positions.beyond {
            self.store.seal_before(positions.beyond, &self.algebra.hashing);
        }
        sliced.combine.rebuild(positions, &self.store.sealed, &self.algebra);
        let windows: usize = input.get()?;
        for _ in 0..windows {
            let (end, entries): (i64, usize) = input.get()?;
            for _ in 0..entries {
                let (key, reissue): (K, Reissue) = input.get()?;
                let hash = self.algebra.hashing.hash(&key);
                sliced.note_reissue(end, hash, &key, reissue, &self.algebra.hashing);
            }
        }
        let windows: usize = input.get()?;
        for _ in 0..windows {
            let (end, start): (i64, i64) = input.get()?;
            let keys: Vec<K> = input.all()?;
            if !sliced.assigner.has((start, end)) {
                return Err(input.unreadable("a window is marked that is none"));
            }
            sliced.marks += keys.len();
            if sliced.marked.insert((end, start), keys.into()).is_some() {
                return Err(input.unreadable("a window is marked twice"));
            }
        }
        Ok(())
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
    A::Acc: DeserializeOwned,
{
    fn read_keyed(&mut self, place: usize, payload: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input::new(payload, Section::Keyed);
        let algebra = &self.algebra;
        let (number, keyed) = &mut self.keyed[place];
        if input.get::<u32>()? != *number {
            return Err(input.unreadable("definitions are not in order"));
        }
        let (last_fired, cells): (Option<(i64, i64)>, usize) = input.get()?;
        for _ in 0..cells {
            let (header, key, partial): (CellHeader, K, Option<A::Acc>) = input.get()?;
            let CellHeader { start, end, last, reach, state } = header;
            let replaced = input.all()?;
            let cell = Cell { key, start, end, last, reach, partial, replaced, state };
            keyed.restore_cell(cell, algebra).map_err(|why| input.unreadable(why))?;
        }
        let asides: usize = input.get()?;
        for _ in 0..asides {
            let (rank, key): ((i64, i64, i64), K) = input.get()?;
            let pane = input.pane()?;
            keyed.restore_aside(rank, key, pane, algebra).map_err(|why| input.unreadable(why))?;
        }
        keyed.restore_last_fired(last_fired);
        input.end()
    }

    fn read_queue(&mut self, payload: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input::new(payload, Section::Queue);
        let watermark = self.progress.settled();
        let entries: usize = input.get()?;
        let mut last = i64::MIN;
        for _ in 0..entries {
            let (at, key): (i64, K) = input.get()?;
            if at < last || at > watermark {
                return Err(input.unreadable("a late event's watermark is out of order"));
            }
            last = at;
            let (what, heap) = match input.get()? {
                QueuedKind::Event => {
                    let (until, slice, partial): (u32, i64, A::Acc) = input.get()?;
                    self.check_slice(slice).map_err(|why| input.unreadable(why))?;
                    let heap = self.algebra.aggregate.heap_bytes(&partial);
                    (What::Event { slice, partial, until }, heap)
                }
                QueuedKind::Until(until) => (What::Until(until), 0),
                QueuedKind::Pane(definition) => {
                    let pane = input.pane()?;
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

fn expect((found, payload): (Section, &[u8]), section: Section) -> Result<&[u8], RestoreError> {
    match found == section {
        true => Ok(payload),
        false => Err(RestoreError::unreadable(found.name(), "another section should stand here")),
    }
}

/// The payload of a section, value by value.
struct Input<'a> {
    rest: &'a [u8],
    section: Section,
}

impl<'a> Input<'a> {
    fn new(rest: &'a [u8], section: Section) -> Self {
        Self { rest, section }
    }

    fn get<T: DeserializeOwned>(&mut self) -> Result<T, RestoreError> {
        let (value, rest) =
            postcard::take_from_bytes(self.rest).map_err(|_| self.unreadable("a value cannot be decoded"))?;
        self.rest = rest;
        Ok(value)
    }

    /// A number of values and they. The number is not believed: it is reached or the bytes end.
    fn all<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, RestoreError> {
        let length: usize = self.get()?;
        let mut values = Vec::new();
        for _ in 0..length {
            let before = self.rest.len();
            values.push(self.get()?);
            // What takes no bytes has one value only, and the values are different keys.
            if self.rest.len() == before && length > 1 {
                return Err(self.unreadable("one key is listed many times"));
            }
        }
        Ok(values)
    }

    /// A pane that nobody has polled.
    fn pane<T: DeserializeOwned>(&mut self) -> Result<Emission<T>, RestoreError> {
        let (PaneHeader { start, end, timing, index }, partial) = self.get()?;
        Ok(Emission { start, end, partial, timing, index, replaced: self.all()? })
    }

    fn unreadable(&self, why: &'static str) -> RestoreError {
        RestoreError::unreadable(self.section.name(), why)
    }

    fn end(&self) -> Result<(), RestoreError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(self.unreadable("bytes are left over")),
        }
    }
}

//! Bytes → state. Every byte may be hostile: nothing here panics, allocates more than a small multiple
//! of what is read, or hands out a kernel before everything has been read and checked (S3).

use alloc::vec::Vec;
use core::hash::Hash;

use serde::de::DeserializeOwned;

use super::frame::{Reader, Section};
use super::{CellHeader, Cursor, Description, PaneHeader, ProgressSection};
use crate::aggregate::Aggregate;
use crate::error::{RestoreError, RestoreErrorKind};
use crate::fire::{Refire, Reissue};
use crate::grid::Grid;
use crate::keyed::{Cell, Emission};
use crate::operator::Windowing;
use crate::queue::{Queued, What};
use crate::slice::Positions;
use crate::watermark::Progress;

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
        if self.plan.is_some() {
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

    fn grid(&self) -> Result<&Grid, &'static str> {
        self.plan.as_ref().map(|plan| &plan.grid).ok_or("slices, where no windows are made of them")
    }

    /// Whether a slice can be one that something is stored in.
    fn check_slice(&self, slice: i64) -> Result<(), &'static str> {
        let grid = self.grid()?;
        let (first, beyond) = grid.admits();
        let start = grid.slice_start(slice);
        if start < first || start >= beyond || grid.slice_of(start) != slice {
            return Err("a slice outside the range of time");
        }
        if grid.is_gap(slice) {
            return Err("a slice between windows");
        }
        Ok(())
    }

    fn read_firing(&mut self, payload: &[u8]) -> Result<(), RestoreError> {
        let mut input = Input::new(payload, Section::Firing);
        let cursor: Cursor = input.get()?;
        self.check_cursor(&cursor).map_err(|why| input.unreadable(why))?;
        self.firing.next = cursor.next;
        let grid = *self.grid().map_err(|why| input.unreadable(why))?;
        let bounds = |window| grid.window(window);
        let algebra = &self.algebra;
        self.firing.combine.rebuild(cursor.positions, &self.store, algebra);
        let remaining: Vec<K> = input.all()?;
        match cursor.draining {
            Some(window) => self
                .firing
                .resume((window, bounds(window)), &remaining, &self.store, algebra)
                .map_err(|why| input.unreadable(why))?,
            None if remaining.is_empty() => {}
            None => return Err(input.unreadable("keys to drain without a window")),
        }
        self.read_late(&mut input)?;
        input.end()
    }

    fn check_cursor(&self, cursor: &Cursor) -> Result<(), &'static str> {
        let grid = self.grid()?;
        let Positions { first, turned, beyond } = cursor.positions;
        let slices = i128::from(beyond) - i128::from(first);
        if !(first <= turned && turned <= beyond) || slices > i128::from(grid.slices_per_window()) {
            return Err("the slices of the window that fired last are out of order");
        }
        let Some(window) = cursor.draining else { return Ok(()) };
        if window < cursor.next || grid.end_of(window) > self.progress.settled() {
            return Err("the window being drained is not due");
        }
        match self.firing.combine.is_at(cursor.positions, grid.slices_of(window)) {
            true => Ok(()),
            false => Err("the window being drained is not the one that fired last"),
        }
    }

    /// What late events have left: panes they still cause, and what is known of those they caused.
    fn read_late(&mut self, input: &mut Input<'_>) -> Result<(), RestoreError> {
        let refire: Option<Refire<K>> = input.get()?;
        if let Some(refire) = &refire {
            self.check_slice(refire.slice).map_err(|why| input.unreadable(why))?;
            let grid = self.grid().map_err(|why| input.unreadable(why))?;
            let (first, last) = (grid.first_window(refire.slice), grid.last_window(refire.slice));
            if refire.next < refire.beyond && (refire.next < first || refire.beyond > last.saturating_add(1))
            {
                return Err(input.unreadable("a late event fires windows that it is not in"));
            }
        }
        self.firing.refire = refire;
        self.read_reissues(input)
    }

    fn read_reissues(&mut self, input: &mut Input<'_>) -> Result<(), RestoreError> {
        let windows: usize = input.get()?;
        for _ in 0..windows {
            let (window, entries): (i64, usize) = input.get()?;
            for _ in 0..entries {
                let (key, reissue): (K, Reissue) = input.get()?;
                let hash = self.algebra.hashing.hash(&key);
                self.firing.note_reissue(window, hash, &key, reissue, &self.algebra.hashing);
            }
        }
        let windows: usize = input.get()?;
        for _ in 0..windows {
            let window: i64 = input.get()?;
            let keys: Vec<K> = input.all()?;
            self.firing.marks += keys.len();
            if self.firing.marked.insert(window, keys.into()).is_some() {
                return Err(input.unreadable("a window is marked twice"));
            }
        }
        Ok(())
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
            let (what, heap) = match input.get::<Option<u32>>()? {
                None => {
                    let (slice, partial): (i64, A::Acc) = input.get()?;
                    self.check_slice(slice).map_err(|why| input.unreadable(why))?;
                    let heap = self.algebra.aggregate.heap_bytes(&partial);
                    (What::Event { slice, partial }, heap)
                }
                Some(definition) => {
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

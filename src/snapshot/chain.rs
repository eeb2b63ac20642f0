//! Snapshots without the types of their keys and accumulators: what can be known of them, and making one of many.

use alloc::vec::Vec;

use super::frame::{Reader, Section, Writer};
use super::record::{Input, put, put_bytes};
use super::{CutSection, KeyedHead, SliceHead};
use crate::error::{RestoreError, RestoreErrorKind};

/// A snapshot and those of the changes since, all read and checked, in the order in which they were taken.
///
/// It knows nothing of the types of keys and accumulators, so a tool can look at the snapshots of any program.
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Count, Timestamp, snapshot::Chain};
///
/// let mut windows = Config::tumbling(TimeDelta::minutes(1)).ascending().build::<_, (), _>(Count)?;
/// let input = windows.add_partition();
/// for second in 0..90 {
///     let time = Timestamp::from_micros(second * 1_000_000);
///     windows.push(input, time, second % 7, ())?;
/// }
/// let snapshot = windows.snapshot();
/// let chain = Chain::read(&[&snapshot])?;
/// let entries: Vec<u64> = chain.slices().map(|slice| slice.entries).collect();
/// assert_eq!(entries, [7, 7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Chain<'a> {
    pub(super) head: Head<'a>,
    /// Runs of entries of the slices in the head, in their order.
    pub(super) entries: Vec<Run<'a, i64>>,
    /// The cells of each definition in the head, by their number.
    pub(super) cells: Vec<Vec<CellRecord<'a>>>,
    pub(super) remaining: Vec<Input<'a>>,
    /// By definition and end of the window, as many of each as the section 'firing' says.
    pub(super) reissues: Vec<Run<'a, (u32, i64)>>,
    /// Of each definition as many as the head says.
    pub(super) asides: Vec<Run<'a, u32>>,
    /// As many as the head says.
    pub(super) waiting: Vec<Run<'a, ()>>,
    id: u64,
}

/// What stands first in a snapshot: payloads, and what of them is needed without the types of keys.
#[derive(Clone, Debug)]
pub(super) struct Head<'a> {
    pub(super) configuration: &'a [u8],
    pub(super) since: Option<u64>,
    pub(super) progress: &'a [u8],
    pub(super) slices: Vec<SliceHead>,
    pub(super) firing: Option<&'a [u8]>,
    pub(super) keyed: Vec<KeyedHead>,
    /// How much waits to be polled.
    pub(super) queue: u64,
}

/// Records of one slice or one definition.
#[derive(Clone, Debug)]
pub(super) struct Run<'a, I> {
    pub(super) of: I,
    pub(super) count: u64,
    pub(super) records: Input<'a>,
}

/// A window of a key's own. Both are empty where it is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellRecord<'a> {
    number: u32,
    pub(super) key: &'a [u8],
    pub(super) rest: &'a [u8],
}

/// One snapshot as it stands there.
struct File<'a> {
    head: Head<'a>,
    entries: Vec<Run<'a, i64>>,
    cells: Vec<Run<'a, u32>>,
    remaining: Vec<Input<'a>>,
    reissues: Vec<Run<'a, (u32, i64)>>,
    asides: Vec<Run<'a, u32>>,
    waiting: Vec<Run<'a, ()>>,
    id: u64,
}

impl<'a> File<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(bytes)?;
        let configuration = reader.expect(Section::Configuration)?;
        let CutSection { since, stands_for } = whole(reader.expect(Section::Cut)?, Section::Cut)?;
        let progress = reader.expect(Section::Progress)?;
        let slices: Vec<SliceHead> = whole(reader.expect(Section::Slices)?, Section::Slices)?;
        if !slices.is_sorted_by(|a, b| a.slice < b.slice) {
            return Err(RestoreError::unreadable(
                Section::Slices.name(),
                "slices are not in the order of time",
            ));
        }
        let (mut firing, mut keyed) = (None, Vec::new());
        let queue = loop {
            match reader.section()? {
                (Section::Firing, payload) if firing.is_none() && keyed.is_empty() => firing = Some(payload),
                (Section::Keyed, payload) => keyed.push(whole(payload, Section::Keyed)?),
                (Section::Queue, payload) => break whole(payload, Section::Queue)?,
                (section, _) => return Err(misplaced(section)),
            }
        };
        if !keyed.is_sorted_by(|one: &KeyedHead, other| one.definition < other.definition) {
            return Err(RestoreError::unreadable(Section::Keyed.name(), "definitions are not in order"));
        }
        let head = Head { configuration, since, progress, slices, firing, keyed, queue };
        let (mut entries, mut cells, mut remaining) = (Vec::new(), Vec::new(), Vec::new());
        let (mut reissues, mut asides, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let end = loop {
            match reader.section()? {
                (Section::Entries, payload) => entries.push(Run::read(payload, Section::Entries)?),
                (Section::Cells, payload) => cells.push(Run::read(payload, Section::Cells)?),
                (Section::Remaining, payload) => remaining.push(Input::new(payload, Section::Remaining)),
                (Section::Reissues, payload) => reissues.push(Run::read(payload, Section::Reissues)?),
                (Section::Waiting, payload) => waiting.push(Run::read(payload, Section::Waiting)?),
                (Section::Asides, payload) => asides.push(Run::read(payload, Section::Asides)?),
                (Section::End, payload) => break payload,
                (section, _) => return Err(misplaced(section)),
            }
        };
        check_count(&waiting, queue, Section::Waiting)?;
        // (So that those of one slice stand together, in the order in which they were written.)
        entries.sort_by_key(|run| run.of);
        cells.sort_by_key(|run| run.of);
        reissues.sort_by_key(|run| run.of);
        asides.sort_by_key(|run| run.of);
        for keyed in &head.keyed {
            check_count(runs_of(&asides, &keyed.definition), keyed.asides, Section::Asides)?;
        }
        check_known(&asides, &head.keyed, Section::Asides)?;
        let id = reader.finish(end)?;
        let id = stands_for.unwrap_or(id);
        Ok(Self { head, entries, cells, remaining, reissues, asides, waiting, id })
    }
}

impl Head<'_> {
    /// The sections in their order, which [`File::read`] reads.
    pub(super) fn write(&self, stands_for: Option<u64>, writer: &mut Writer, bytes: &mut Vec<u8>) {
        let Self { configuration, since, progress, slices, firing, keyed, queue } = self;
        writer.copy(Section::Configuration, configuration, bytes);
        let cut = CutSection { since: *since, stands_for };
        writer.section(Section::Cut, bytes, |bytes| put(&cut, bytes));
        writer.copy(Section::Progress, progress, bytes);
        writer.section(Section::Slices, bytes, |bytes| put(slices, bytes));
        if let Some(firing) = firing {
            writer.copy(Section::Firing, firing, bytes);
        }
        for keyed in keyed {
            writer.section(Section::Keyed, bytes, |bytes| put(keyed, bytes));
        }
        writer.section(Section::Queue, bytes, |bytes| put(queue, bytes));
    }
}

/// Those of one slice or one definition, of runs that are sorted.
pub(super) fn runs_of<'r, 'a, I: Ord>(runs: &'r [Run<'a, I>], of: &I) -> &'r [Run<'a, I>] {
    let first = runs.partition_point(|run| run.of < *of);
    let beyond = runs.partition_point(|run| run.of <= *of);
    &runs[first..beyond]
}

impl<'a, I: serde::Deserialize<'a>> Run<'a, I> {
    fn read(payload: &'a [u8], section: Section) -> Result<Self, RestoreError> {
        let mut records = Input::new(payload, section);
        let (of, count) = (records.get()?, records.get()?);
        // (A record has two lengths at least.)
        match count <= records.rest().len() as u64 / 2 {
            true => Ok(Self { of, count, records }),
            false => Err(records.unreadable("more of them than there are bytes for")),
        }
    }
}

impl<I: serde::Serialize> Run<'_, I> {
    pub(super) fn write(&self, section: Section, writer: &mut Writer, bytes: &mut Vec<u8>) {
        writer.section(section, bytes, |bytes| {
            let mut bytes = put(&(&self.of, self.count), bytes);
            bytes.extend_from_slice(self.records.rest());
            bytes
        });
    }
}

/// That there are as many of these as the head says.
fn check_count<I>(runs: &[Run<'_, I>], said: u64, section: Section) -> Result<(), RestoreError> {
    let count = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(run.count));
    match count == Some(said) {
        true => Ok(()),
        false => Err(RestoreError::unreadable(section.name(), "not as many as it was said to be")),
    }
}

/// That these are of definitions that are there.
fn check_known(runs: &[Run<'_, u32>], heads: &[KeyedHead], section: Section) -> Result<(), RestoreError> {
    let is_known = |run: &Run<'_, u32>| heads.binary_search_by_key(&run.of, |head| head.definition).is_ok();
    match runs.iter().all(is_known) {
        true => Ok(()),
        false => Err(RestoreError::unreadable(section.name(), "of a definition that is not there")),
    }
}

fn misplaced(section: Section) -> RestoreError {
    RestoreError::unreadable(section.name(), "another section should stand here")
}

/// A payload that is one value.
pub(super) fn whole<'a, T: serde::Deserialize<'a>>(
    payload: &'a [u8],
    section: Section,
) -> Result<T, RestoreError> {
    let mut input = Input::new(payload, section);
    let value = input.get()?;
    input.end()?;
    Ok(value)
}

impl<'a> Chain<'a> {
    /// Reads a snapshot, and those of the changes since, in the order in which they were taken.
    ///
    /// # Errors
    ///
    /// When there is none; when one of them is no snapshot, is of a version that this release does not read, is damaged or
    /// cut short; when one does not hold the changes since the one before it.
    pub fn read(snapshots: &[&'a [u8]]) -> Result<Self, RestoreError> {
        let mut files = Vec::new();
        for (place, bytes) in snapshots.iter().enumerate() {
            let file = File::read(bytes)?;
            let before = files.last().map(|before: &File<'_>| before.id);
            if file.head.since != before {
                return Err(RestoreErrorKind::Chain { place, since: file.head.since, before }.into());
            }
            files.push(file);
        }
        let entries = entries_of(&files)?;
        let cells = cells_of(&files)?;
        let File { head, remaining, reissues, asides, waiting, id, .. } =
            files.pop().ok_or(RestoreErrorKind::Chain { place: 0, since: None, before: None })?;
        Ok(Self { head, entries, cells, remaining, reissues, asides, waiting, id })
    }

    /// Which snapshot the last of them is: what the next one holds the changes since.
    pub fn id(&self) -> SnapshotId {
        SnapshotId(self.id)
    }

    /// One snapshot with all that the chain holds: restored, it gives the same state, and what holds the changes since the
    /// chain holds those since this one. O(size).
    pub fn compact(&self) -> Vec<u8> {
        let mut head = Head { since: None, ..self.head.clone() };
        head.slices.iter_mut().for_each(|slice| slice.is_kept = false);
        head.keyed.iter_mut().for_each(|keyed| keyed.is_kept = false);
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        head.write(Some(self.id), &mut writer, &mut bytes);
        self.entries.iter().for_each(|run| run.write(Section::Entries, &mut writer, &mut bytes));
        for (head, cells) in head.keyed.iter().zip(&self.cells).filter(|(_, cells)| !cells.is_empty()) {
            writer.section(Section::Cells, &mut bytes, |bytes| {
                let bytes = put(&(head.definition, cells.len()), bytes);
                cells.iter().fold(bytes, |bytes, CellRecord { number, key, rest }| {
                    put_bytes(rest, put_bytes(key, put(number, bytes)))
                })
            });
        }
        self.reissues.iter().for_each(|run| run.write(Section::Reissues, &mut writer, &mut bytes));
        self.asides.iter().for_each(|run| run.write(Section::Asides, &mut writer, &mut bytes));
        self.waiting.iter().for_each(|run| run.write(Section::Waiting, &mut writer, &mut bytes));
        for remaining in &self.remaining {
            writer.copy(Section::Remaining, remaining.rest(), &mut bytes);
        }
        writer.finish(&mut bytes);
        bytes
    }

    /// The slices that hold something, earliest first.
    pub fn slices(&self) -> impl Iterator<Item = SliceSummary> {
        let mut runs = self.entries.as_slice();
        self.head.slices.iter().map(move |head| {
            let count = runs.iter().take_while(|run| run.of == head.slice).count();
            let (own, others) = runs.split_at(count);
            runs = others;
            SliceSummary {
                instant: crate::Timestamp::from_micros(head.instant),
                end: crate::Timestamp::from_micros(head.end),
                entries: head.entries,
                bytes: own.iter().map(|run| run.records.rest().len()).sum(),
            }
        })
    }
}

/// Which snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotId(pub(crate) u64);

/// Which snapshot some bytes are, and which one they hold the changes since: what whoever keeps chains has to know.
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Count, snapshot::Link};
///
/// let windows = Config::tumbling(TimeDelta::minutes(1)).ascending().build::<u32, (), _>(Count)?;
/// let link = Link::read(&windows.snapshot())?;
/// assert_eq!(link.since, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which one it is.
    pub id: SnapshotId,
    /// Which one it is of use with; none if it is a full one.
    pub since: Option<SnapshotId>,
}

impl Link {
    /// Reads a single snapshot, full or of changes. O(size): its checksums are looked at, not what is in it.
    ///
    /// # Errors
    ///
    /// When it is no snapshot, is of a version that this release does not read, is damaged or cut short.
    pub fn read(snapshot: &[u8]) -> Result<Self, RestoreError> {
        let file = File::read(snapshot)?;
        Ok(Self { id: SnapshotId(file.id), since: file.head.since.map(SnapshotId) })
    }
}

/// A slice of time in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceSummary {
    /// An instant in it: its first, but where windows are of an own grid or have next to nothing in common.
    pub instant: crate::Timestamp,
    /// Where it ends.
    pub end: crate::Timestamp,
    /// How many keys it has.
    pub entries: u64,
    /// How many bytes they and their accumulators take in the snapshot.
    pub bytes: usize,
}

/// The entries of all slices that the newest snapshot names: of each those of the snapshot that last had it anew.
fn entries_of<'a>(files: &[File<'a>]) -> Result<Vec<Run<'a, i64>>, RestoreError> {
    let unreadable = |why| RestoreError::unreadable(Section::Entries.name(), why);
    let mut all = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let named = |slice| file.head.slices.binary_search_by_key(&slice, |head| head.slice).ok();
        for run in &file.entries {
            match named(run.of).map(|at| file.head.slices[at]) {
                Some(head) if !head.is_kept => {}
                _ => return Err(unreadable("entries of a slice that has not changed or is not there")),
            }
        }
        let before = &files[..place];
        for head in file.head.slices.iter().filter(|head| head.is_kept) {
            let was_there = before.last().is_some_and(|before| {
                let heads = &before.head.slices;
                heads
                    .binary_search_by_key(&head.slice, |head| head.slice)
                    .is_ok_and(|at| heads[at].entries == head.entries)
            });
            if !was_there {
                return Err(RestoreError::unreadable(
                    Section::Slices.name(),
                    "a slice that is said not to have changed was another in the snapshot before",
                ));
            }
        }
    }
    for head in files.last().iter().flat_map(|file| &file.head.slices) {
        let is_anew = |file: &&File<'_>| {
            let heads = &file.head.slices;
            heads.binary_search_by_key(&head.slice, |head| head.slice).is_ok_and(|at| !heads[at].is_kept)
        };
        let runs =
            files.iter().rev().find(is_anew).map_or(&[][..], |file| runs_of(&file.entries, &head.slice));
        let count = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(run.count));
        if count != Some(head.entries) || head.entries == 0 {
            return Err(unreadable("a slice has not as many entries as it says"));
        }
        all.extend_from_slice(runs);
    }
    Ok(all)
}

/// The cells of each definition of the newest snapshot: of each number the one that was written last.
fn cells_of<'a>(files: &[File<'a>]) -> Result<Vec<Vec<CellRecord<'a>>>, RestoreError> {
    let unreadable = |why| RestoreError::unreadable(Section::Cells.name(), why);
    let Some(newest) = files.last() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (place, head) in newest.head.keyed.iter().enumerate() {
        let is_anew = |file: &File<'_>| {
            file.head
                .keyed
                .get(place)
                .is_none_or(|other| other.definition != head.definition || !other.is_kept)
        };
        let from = files.iter().rposition(is_anew).unwrap_or(0);
        let mut cells: Vec<CellRecord<'a>> = Vec::new();
        for file in &files[from..] {
            let first = cells.len();
            for run in runs_of(&file.cells, &head.definition) {
                let mut records = run.records.clone();
                for _ in 0..run.count {
                    cells.push(CellRecord {
                        number: records.get()?,
                        key: records.bytes()?,
                        rest: records.bytes()?,
                    });
                }
                records.end()?;
            }
            cells[first..].sort_by_key(|cell| cell.number);
            if !cells[first..].is_sorted_by(|a, b| a.number < b.number) {
                return Err(unreadable("a window stands twice"));
            }
        }
        // Of equal numbers the last one counts.
        cells.reverse();
        cells.sort_by_key(|cell| cell.number);
        cells.dedup_by_key(|cell| cell.number);
        cells.retain(|cell| !cell.rest.is_empty());
        if cells.len() as u64 != head.cells {
            return Err(unreadable("a definition has not as many windows as it says"));
        }
        all.push(cells);
    }
    for file in files {
        check_known(&file.cells, &newest.head.keyed, Section::Cells)?;
    }
    Ok(all)
}

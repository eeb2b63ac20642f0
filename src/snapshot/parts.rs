//! Moving state between kernels: a snapshot split by key into parts, and parts made one again (S5).
//!
//! A key's part follows from a hash of its encoding that has nothing to do with the hash tables in memory, so it is the same
//! in every process. The hash is cut into 65,536 ranges (*key groups*, as in Carbone et al., "State management in Apache
//! Flink", PVLDB 2017), and each part has as many of them as others, next to each other.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::Serialize;

use super::chain::{CellRecord, Chain, Head, Run, runs_of, whole};
use super::frame::{Section, Writer};
use super::record::{Input, put, put_bytes};
use super::{Cursor, Description, Draining, KeyedHead, ProgressSection, SliceHead};
use crate::error::{RestoreError, RestoreErrorKind};
use crate::fire::Reissue;
use crate::slice::Positions;

/// The bits of a hash that tell the key group.
const GROUP_BITS: u32 = 16;

/// Which of so many parts a key belongs to: where its events have to go once a snapshot has been [split](Chain::split).
///
/// ```
/// use floodmark::snapshot::part_of;
///
/// // The same in every process, and whatever the number of parts is, each has a range.
/// assert_eq!(part_of("alpha", 2), part_of("alpha", 4) / 2);
/// ```
///
/// # Panics
///
/// When there are no parts, or the key's own `Serialize` fails.
pub fn part_of<K: Serialize + ?Sized>(key: &K, parts: u32) -> u32 {
    part_of_encoded(&put(key, Vec::new()), parts)
}

fn part_of_encoded(key: &[u8], parts: u32) -> u32 {
    assert!(parts > 0, "a key belongs to one of some parts");
    let group = u64::from(crc32fast::hash(key) >> (u32::BITS - GROUP_BITS));
    ((group * u64::from(parts)) >> GROUP_BITS) as u32
}

impl<'a> Chain<'a> {
    /// Splits the state by key into so many snapshots, to be restored into kernels that go on side by side: all with the same
    /// partitions and watermarks, each with the keys that [`part_of`] says. The first of them has the counters.
    ///
    /// For the results to be those of one kernel each must know of the same watermarks: where the host sets them, it sets
    /// them in all. Where windows are [filled](crate::Windows::fill) it also sets, before it finishes them, one that is past the latest
    /// event of all: a part knows how far the stream has come only from its own events and from that. Where partitions learn their bounds
    /// each part goes on with what all have learned.
    ///
    /// # Errors
    ///
    /// When late events wait to be polled, or panes that do not follow from a key's own windows: poll until there is nothing, and
    /// take the snapshot then.
    ///
    /// # Panics
    ///
    /// When `parts` is 0.
    pub fn split(&self, parts: u32) -> Result<Vec<Vec<u8>>, RestoreError> {
        assert!(parts > 0, "a state is split into some parts");
        let State { progress, slices, sliced, keyed } = State::of(self, 0)?;
        let part = |number: u32| {
            let counters = if number == 0 { progress.counters } else { Default::default() };
            let is_here = |key: &[u8]| part_of_encoded(key, parts) == number;
            let of_slice = |(&slice, (head, entries)): (&i64, &(SliceHead, Entries<'a>))| {
                let entries: Entries<'a> = entries.iter().copied().filter(|(key, _)| is_here(key)).collect();
                (!entries.is_empty()).then_some((slice, (*head, entries)))
            };
            let of_sliced = |(number, cursor, reissues): &(u32, Cursor, Reissues<'a>)| {
                (*number, *cursor, reissues.iter().copied().filter(|(_, key, _)| is_here(key)).collect())
            };
            let of_keyed = |(head, cells): &(KeyedHead, Vec<CellRecord<'a>>)| {
                (*head, cells.iter().copied().filter(|cell| is_here(cell.key)).collect())
            };
            State {
                progress: ProgressSection { progress: progress.progress.clone(), counters },
                slices: slices.iter().filter_map(of_slice).collect(),
                sliced: sliced.iter().map(of_sliced).collect(),
                keyed: keyed.iter().map(of_keyed).collect(),
            }
        };
        Ok((0..parts).map(|number| part(number).write(self.head.configuration)).collect())
    }

    /// Makes one snapshot of those of parts that have gone on side by side. Counters are summed, and so are the delays that bounds are
    /// learned from: what the parts have in common since they were split counts once for each.
    ///
    /// # Errors
    ///
    /// When there are none. When they were not taken at the same watermark, of the same partitions and under the same
    /// configuration, or what [`split`](Self::split) says.
    pub fn merge(parts: &[Self]) -> Result<Vec<u8>, RestoreError> {
        let [first, ..] = parts else {
            return Err(RestoreErrorKind::Chain { place: 0, since: None, before: None }.into());
        };
        let mut merged = State::of(first, 0)?;
        for (place, part) in parts.iter().enumerate().skip(1) {
            if part.head.configuration != first.head.configuration {
                return Err(apart(place, "it has another configuration than the first"));
            }
            merged.absorb(State::of(part, place)?).map_err(|why| apart(place, why))?;
        }
        // What was combined last was so of the keys of each.
        for (_, cursor, _) in &mut merged.sliced {
            let beyond = cursor.positions.beyond;
            cursor.positions = Positions { first: beyond, turned: beyond, beyond };
        }
        Ok(merged.write(first.head.configuration))
    }
}

fn apart(part: usize, why: &'static str) -> RestoreError {
    RestoreErrorKind::Parts { part, why }.into()
}

/// Keys with their partials.
type Entries<'a> = Vec<(&'a [u8], &'a [u8])>;
/// What is known of panes of windows that fired late: the end of each, a key, and that.
type Reissues<'a> = Vec<(i64, &'a [u8], Reissue)>;

/// A state in which nothing waits to be polled, by key.
struct State<'a> {
    progress: ProgressSection,
    slices: BTreeMap<i64, (SliceHead, Entries<'a>)>,
    /// With the number of the definition.
    sliced: Vec<(u32, Cursor, Reissues<'a>)>,
    keyed: Vec<(KeyedHead, Vec<CellRecord<'a>>)>,
}

impl<'a> State<'a> {
    fn of(chain: &Chain<'a>, part: usize) -> Result<Self, RestoreError> {
        let waits = || apart(part, "something waits to be polled: poll until there is nothing first");
        let head = &chain.head;
        let description: Description = whole(head.configuration, Section::Configuration)?;
        let mut state = Self {
            progress: whole(head.progress, Section::Progress)?,
            slices: head.slices.iter().map(|&head| (head.slice, (head, Vec::new()))).collect(),
            sliced: Vec::new(),
            keyed: Vec::new(),
        };
        for Run { of, count, records } in &chain.entries {
            let mut records = records.clone();
            let Some((_, entries)) = state.slices.get_mut(of) else { continue };
            for _ in 0..*count {
                entries.push((records.bytes()?, records.bytes()?));
            }
            records.end()?;
        }
        let mut is_at_rest = head.queue == 0 && chain.remaining.is_empty();
        if let Some(payload) = head.firing {
            let mut input = Input::new(payload, Section::Firing);
            let is_keyed = |number| head.keyed.iter().any(|keyed| keyed.definition == number);
            for number in (0..description.definitions.len() as u32).filter(|&number| !is_keyed(number)) {
                let sliced = read_sliced(number, &mut input, &chain.reissues)?;
                let owes = sliced.2.iter().any(|(_, _, reissue)| reissue.marked);
                is_at_rest &= !owes && !sliced.1.is_due;
                if !is_at_rest {
                    return Err(waits());
                }
                state.sliced.push(sliced);
            }
            let (draining, has_refire): (Option<Draining>, bool) = input.get()?;
            is_at_rest &= draining.is_none() && !has_refire;
        }
        for (head, cells) in head.keyed.iter().zip(&chain.cells) {
            is_at_rest &= head.asides == 0;
            state.keyed.push((*head, cells.clone()));
        }
        if is_at_rest { Ok(state) } else { Err(waits()) }
    }

    /// Takes another part in, or says what keeps them apart.
    fn absorb(&mut self, other: Self) -> Result<(), &'static str> {
        self.progress.progress.absorb(other.progress.progress)?;
        self.progress.counters.absorb(&other.progress.counters);
        for (slice, (head, mut entries)) in other.slices {
            self.slices.entry(slice).or_insert((head, Vec::new())).1.append(&mut entries);
        }
        for ((_, cursor, reissues), (_, others, mut more)) in self.sliced.iter_mut().zip(other.sliced) {
            cursor.fired = cursor.fired.max(others.fired);
            cursor.closed = cursor.closed.max(others.closed);
            cursor.positions.beyond = cursor.positions.beyond.max(others.positions.beyond);
            reissues.append(&mut more);
        }
        for ((head, cells), (others, mut more)) in self.keyed.iter_mut().zip(other.keyed) {
            head.last_fired = head.last_fired.max(others.last_fired);
            head.closed = head.closed.max(others.closed);
            cells.append(&mut more);
        }
        Ok(())
    }

    fn write(mut self, configuration: &[u8]) -> Vec<u8> {
        let slices = self.slices.values().map(|(head, entries)| {
            let entries = entries.len() as u64;
            SliceHead { entries, is_kept: false, ..*head }
        });
        for (_, _, reissues) in &mut self.sliced {
            reissues.sort_by_key(|(end, ..)| *end);
        }
        let sliced = self.sliced.iter().fold(Vec::new(), |bytes, sliced| put_sliced(sliced, bytes));
        let firing = put(&(None::<Draining>, false), sliced);
        let keyed = self.keyed.iter().map(|(head, cells)| {
            let cells = cells.len() as u64;
            KeyedHead { cells, is_kept: false, ..*head }
        });
        let head = Head {
            configuration,
            since: None,
            progress: &put(&self.progress, Vec::new()),
            slices: slices.collect(),
            firing: (!self.sliced.is_empty()).then_some(&firing),
            keyed: keyed.collect(),
            queue: 0,
        };
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        head.write(None, &mut writer, &mut bytes);
        for (slice, (_, entries)) in &self.slices {
            writer.section(Section::Entries, &mut bytes, |bytes| {
                let bytes = put(&(slice, entries.len()), bytes);
                entries.iter().fold(bytes, |bytes, (key, partial)| put_bytes(partial, put_bytes(key, bytes)))
            });
        }
        for (head, cells) in self.keyed.iter().filter(|(_, cells)| !cells.is_empty()) {
            writer.section(Section::Cells, &mut bytes, |bytes| {
                let bytes = put(&(head.definition, cells.len()), bytes);
                (0_u32..).zip(cells).fold(bytes, |bytes, (number, cell)| {
                    put_bytes(cell.rest, put_bytes(cell.key, put(&number, bytes)))
                })
            });
        }
        for (number, _, reissues) in &self.sliced {
            for window in reissues.chunk_by(is_of_one_window) {
                writer.section(Section::Reissues, &mut bytes, |bytes| {
                    let bytes = put(&(number, window[0].0, window.len()), bytes);
                    window.iter().fold(bytes, |bytes, (_, key, reissue)| put(reissue, put_bytes(key, bytes)))
                });
            }
        }
        writer.finish(&mut bytes);
        bytes
    }
}

fn is_of_one_window((one, ..): &(i64, &[u8], Reissue), (other, ..): &(i64, &[u8], Reissue)) -> bool {
    one == other
}

/// What the section 'firing' and those behind it have of one definition.
fn read_sliced<'a>(
    number: u32,
    input: &mut Input<'a>,
    runs: &[Run<'a, (u32, i64)>],
) -> Result<(u32, Cursor, Reissues<'a>), RestoreError> {
    let (cursor, windows): (Cursor, u64) = input.get()?;
    let mut reissues = Vec::new();
    for _ in 0..windows {
        let (end, entries): (i64, u64) = input.get()?;
        let before = reissues.len() as u64;
        for run in runs_of(runs, &(number, end)) {
            let mut records = run.records.clone();
            for _ in 0..run.count {
                reissues.push((end, records.bytes()?, records.get()?));
            }
            records.end()?;
        }
        if reissues.len() as u64 - before != entries {
            return Err(input.unreadable("of a window not as much has followed as it says"));
        }
    }
    Ok((number, cursor, reissues))
}

fn put_sliced((_, cursor, reissues): &(u32, Cursor, Reissues<'_>), bytes: Vec<u8>) -> Vec<u8> {
    let windows = || reissues.chunk_by(is_of_one_window);
    let bytes = put(&windows().count(), put(cursor, bytes));
    windows().fold(bytes, |bytes, window| put(&(window[0].0, window.len()), bytes))
}

//! Snapshots that are taken in steps, while the stream goes on.
//!
//! A *cut* is made at once: what is small is written then, and of all else it is noted that it is still to be held. From
//! then on whatever changes is held as it was before it changes for the first time, and each step holds some of what
//! has not changed. So nothing is copied but what is written, everything is encoded once, and a step, like a push, does as
//! much as it is told. (The idea is that of incremental garbage collectors which keep a snapshot at the beginning: Yuasa,
//! "Real-time garbage collection on general-purpose machines", Journal of Systems and Software 1990.)

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::hash::Hash;

use serde::Serialize;

use super::SnapshotId;
use super::frame::{Section, Writer};
use super::record::{put, put_blob, put_bytes};
use super::write::{put_aside, put_cell, put_entry, put_queued, put_reissue};
use crate::aggregate::Aggregate;
use crate::keyed::Cell;
use crate::operator::Windowing;
use crate::slice::Run;

/// A snapshot that is being taken.
#[derive(Debug)]
pub(crate) struct Cut {
    writer: Writer,
    /// What was written at once.
    ready: Vec<u8>,
    /// What has been held and not been given out.
    held: VecDeque<(Of, Run)>,
    /// How many entries that are.
    waiting: u64,
    /// How many entries more than it was asked for the last steps have given out.
    ahead: usize,
}

/// What a section has records of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Slice(i64),
    Definition(u32),
    Remaining,
    /// A window of a definition.
    Reissues(u32, i64),
    Waiting,
    Asides(u32),
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// The whole state.
    Full,
    /// What has changed since another: it is restored together with that.
    Changes,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a snapshot is not one before it is done"]
pub enum SnapshotProgress {
    /// None is being taken.
    None,
    /// There is more of it.
    More,
    /// That was all of it.
    Done(SnapshotId),
}

/// A snapshot was begun while another was being taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SnapshotUnderWay;

impl fmt::Display for SnapshotUnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another snapshot is being taken: write it to its end, or abandon it")
    }
}

impl fmt::Debug for SnapshotUnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotUnderWay({self})")
    }
}

impl core::error::Error for SnapshotUnderWay {}

impl<K, V, A> Windowing<K, V, A>
where
    K: Hash + Eq + Clone + Serialize,
    A: Aggregate<V>,
    A::Acc: Serialize,
{
    /// Begins a snapshot of the state as it is now, to be written by [`write_snapshot`](Self::write_snapshot) while the
    /// stream goes on: of the whole of it or, given the last snapshot that was begun like this and is kept, of what has changed
    /// since.
    ///
    /// O(slices + partitions), and a bit for each eight keys. Until it is done the state takes more: at most what the snapshot
    /// takes, a bit for each eight keys, the tables of slices and windows that would have gone, and memory of keys' own windows that
    /// would have been returned. [`state_bytes`](Self::state_bytes) does not count that.
    ///
    /// ```
    /// use chrono::TimeDelta;
    /// use floodmark::snapshot::{Chain, SnapshotKind, SnapshotProgress};
    /// use floodmark::{Config, Count, Timestamp};
    ///
    /// let config = Config::tumbling(TimeDelta::minutes(1)).ascending();
    /// let mut windows = config.clone().build(Count)?;
    /// let input = windows.add_partition();
    /// windows.push(input, Timestamp::from_micros(7), "alpha".to_string(), ())?;
    ///
    /// assert_eq!(windows.begin_snapshot(None)?, SnapshotKind::Full);
    /// // What comes now is not in it.
    /// windows.push(input, Timestamp::from_micros(8), "alpha".to_string(), ())?;
    /// let mut bytes = Vec::new();
    /// let first = loop {
    ///     match windows.write_snapshot(1000, &mut bytes) {
    ///         // (Something else may be done here.)
    ///         SnapshotProgress::More => {}
    ///         SnapshotProgress::Done(id) => break id,
    ///         SnapshotProgress::None => unreachable!("one has begun"),
    ///     }
    /// };
    /// assert_eq!(windows.begin_snapshot(Some(first))?, SnapshotKind::Changes);
    /// let mut changes = Vec::new();
    /// while windows.write_snapshot(1000, &mut changes) == SnapshotProgress::More {}
    ///
    /// let chain = Chain::read(&[&bytes, &changes])?;
    /// let mut restored = config.build::<String, (), _>(Count)?.restore_chain(&chain)?;
    /// restored.finish();
    /// assert_eq!(restored.poll().map(|pane| pane.value), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When another is being taken.
    pub fn begin_snapshot(&mut self, since: Option<SnapshotId>) -> Result<SnapshotKind, SnapshotUnderWay> {
        if self.cut.is_some() {
            return Err(SnapshotUnderWay);
        }
        let since = since.map(|SnapshotId(id)| id).filter(|&id| self.last_cut.take() == Some(id));
        let is_of_changes = since.is_some();
        let slices = self.store.begin_cut(put_entry::<K, A::Acc>, is_of_changes);
        let kept: Vec<bool> = (self.keyed.iter_mut())
            .map(|(_, keyed)| {
                keyed.begin_cut((put_changed::<K, A::Acc>, put_aside::<K, A::Acc>), is_of_changes)
            })
            .collect();
        self.firing.begin_cut(put_key::<K>, put_reissue::<K>, &self.store);
        self.queue.begin_cut(put_queued::<K, A::Acc>);
        let mut ready = Vec::new();
        let mut writer = Writer::new(&mut ready);
        self.put_head(&mut writer, (since, &slices, &kept), &mut ready);
        self.cut = Some(Cut { writer, ready, held: VecDeque::new(), waiting: 0, ahead: 0 });
        self.last_cut = None;
        Ok(if is_of_changes { SnapshotKind::Changes } else { SnapshotKind::Full })
    }
}

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>> Windowing<K, V, A> {
    /// Appends more of the snapshot that is being taken to `out`: as many entries as `most`, a few kilobytes more now and less
    /// another time. It is written when that says so; bytes may be taken out of `out` between calls.
    ///
    /// O(`most`). What has changed since is encoded already, and waits: so the pace alone says for how many calls a snapshot is
    /// under way. The slower it is the less the stream is held up: with an entry for each ten events of large batches it keeps about three quarters of
    /// its speed at a million keys.
    ///
    /// # Panics
    ///
    /// Like pushes and polls while a snapshot is being taken: when a key's or an accumulator's own `Serialize` fails, as it
    /// must not.
    pub fn write_snapshot(&mut self, most: usize, out: &mut Vec<u8>) -> SnapshotProgress {
        let Some(mut cut) = self.cut.take() else { return SnapshotProgress::None };
        match out.is_empty() {
            true => core::mem::swap(out, &mut cut.ready),
            false => out.append(&mut cut.ready),
        }
        let most = most.max(1);
        // (To look at a spot takes less than to give out an entry.)
        const SPOTS: usize = 4;
        let (mut left, mut is_held) = (most.saturating_mul(SPOTS), false);
        while left > 0 && !is_held {
            // What does not change may wait until there is nothing else to give out: so less is kept.
            let held = match self.hold_pressing(left) {
                None if cut.waiting >= most as u64 => break,
                None => {
                    self.store.hold_some(left).map(|(slice, run, looked)| (Of::Slice(slice), run, looked))
                }
                held => held,
            };
            match held {
                None => is_held = true,
                Some((of, run, spots)) => {
                    left = left.saturating_sub(spots.max(1));
                    cut.keep(of, run);
                }
            }
        }
        // (With what it has held, tables may have gone.)
        self.returning |= self.store.is_returning();
        let mut given = core::mem::take(&mut cut.ahead);
        while given < most {
            match cut.give(out) {
                Some(count) => given += count,
                None if is_held => {
                    let id = cut.writer.finish(out);
                    self.end_cut();
                    self.last_cut = Some(id);
                    return SnapshotProgress::Done(SnapshotId(id));
                }
                None => given = most,
            }
        }
        cut.ahead = given - most;
        self.cut = Some(cut);
        SnapshotProgress::More
    }

    /// Gives up the snapshot that is being taken, if one is. The next one has to be of the whole state.
    pub fn abandon_snapshot(&mut self) {
        self.cut = None;
        self.end_cut();
    }

    /// Holds more of what may change or would have gone, and gives out what has been held of one thing, and at how much it has
    /// looked; none if there is nothing more of that.
    fn hold_pressing(&mut self, most: usize) -> Option<(Of, Run, usize)> {
        if let Some((run, looked)) = self.firing.hold_some(most, &self.store, &self.algebra.hashing) {
            return Some((Of::Remaining, run, looked));
        }
        if let Some(run) = self.queue.hold_some(most) {
            return Some((Of::Waiting, run, most));
        }
        if let Some(((definition, end), run, looked)) = self.firing.hold_reissues(most) {
            return Some((Of::Reissues(definition, end), run, looked));
        }
        if let Some((definition, run, looked)) = self.keyed.iter_mut().find_map(|(number, keyed)| {
            let (run, looked) = keyed.hold_asides(most)?;
            Some((*number, run, looked))
        }) {
            return Some((Of::Asides(definition), run, looked));
        }
        if self.store.is_pressing()
            && let Some((slice, run, looked)) = self.store.hold_some(most)
        {
            return Some((Of::Slice(slice), run, looked));
        }
        self.keyed.iter_mut().find_map(|(number, keyed)| {
            let (run, looked) = keyed.hold_some(most)?;
            Some((Of::Definition(*number), run, looked))
        })
    }

    fn end_cut(&mut self) {
        self.store.end_cut();
        self.keyed.iter_mut().for_each(|(_, keyed)| keyed.end_cut());
        self.firing.end_cut();
        self.queue.end_cut();
        // (The next event opens them, once it has seen to what has been declared since the last.)
        self.store.close();
        if !self.busy && self.progress.settled() == i64::MAX {
            // What had to be held could not go yet.
            self.expire(i64::MAX);
        }
    }
}

impl Cut {
    /// Keeps what has been held until it is given out. (Most often it is of the same as what was held before, and has few records.)
    fn keep(&mut self, of: Of, run: Run) {
        self.waiting += run.count();
        match self.held.back_mut() {
            _ if run.is_empty() => {}
            Some((last, kept)) if *last == of => kept.append(run),
            _ => self.held.push_back((of, run)),
        }
    }

    /// Writes the next piece of what has been held, if there is one, as a section; how many records that has.
    fn give(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let (of, piece) = loop {
            let (of, run) = self.held.front_mut()?;
            match run.pop() {
                Some(piece) => break (*of, piece),
                None => self.held.pop_front(),
            };
        };
        let section = match of {
            Of::Slice(_) => Section::Entries,
            Of::Definition(_) => Section::Cells,
            Of::Remaining => Section::Remaining,
            Of::Reissues(..) => Section::Reissues,
            Of::Waiting => Section::Waiting,
            Of::Asides(_) => Section::Asides,
        };
        self.writer.section(section, out, |bytes| {
            let bytes = match of {
                Of::Slice(slice) => put(&slice, bytes),
                Of::Definition(number) | Of::Asides(number) => put(&number, bytes),
                Of::Reissues(definition, end) => put(&(definition, end), bytes),
                Of::Remaining | Of::Waiting => bytes,
            };
            let mut bytes = put(&piece.count, bytes);
            bytes.extend_from_slice(&piece.records);
            bytes
        });
        self.waiting -= piece.count;
        Some(piece.count as usize)
    }
}

fn put_key<K: Serialize>(key: &K, bytes: &mut Vec<u8>) {
    *bytes = put_blob(key, core::mem::take(bytes));
}

/// A cell that has changed, or that it is gone.
fn put_changed<K: Serialize, T: Serialize>(number: u32, cell: Option<&Cell<K, T>>, bytes: &mut Vec<u8>) {
    match cell {
        Some(cell) => put_cell(number, cell, bytes),
        None => *bytes = put_bytes(&[], put_bytes(&[], put(&number, core::mem::take(bytes)))),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{Config, Count, Timestamp};

    #[test]
    fn what_does_not_change_waits_where_it_is() {
        const KEYS: u64 = 5000;
        const MOST: usize = 100;
        let config = Config::sliding(TimeDelta::seconds(4), TimeDelta::seconds(1)).ascending();
        let mut windows = config.build(Count).unwrap();
        let input = windows.add_partition();
        for second in 0..5 {
            for key in 0..KEYS {
                _ = windows.push(input, Timestamp::from_micros(second * 1_000_000), key, ()).unwrap();
            }
        }
        while windows.poll().is_some() {}

        _ = windows.begin_snapshot(None).unwrap();
        let (mut bytes, mut most_waiting, mut steps) = (Vec::new(), 0, 0);
        while windows.write_snapshot(MOST, &mut bytes) == SnapshotProgress::More {
            most_waiting = most_waiting.max(windows.cut.as_ref().unwrap().waiting);
            steps += 1;
        }
        // Three slices are sealed: of the open one, which may change, steps hold more than they give out.
        assert_eq!(steps, 4 * KEYS as usize / MOST);
        assert!(most_waiting > 10 * MOST as u64, "{most_waiting} entries were kept at most");
        assert!(most_waiting < KEYS, "{most_waiting} entries were kept at most");
    }
}

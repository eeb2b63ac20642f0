//! Writing: data first, then the manifest that makes it a checkpoint, then what is not needed any more is deleted.
//!
//! The manifest of checkpoint *n* is an object that may be created once: who finds it there has lost against another writer.
//! A writer that has slept through so many checkpoints that *n* is deleted again would find it free; so it looks once more,
//! for a number above its own. The newest one is never deleted, so there is one if there ever was. (Another writer may also have
//! gone on from the new checkpoint already: then the first one above it says so.)

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::SystemTime;

use floodmark::snapshot::{Link, SnapshotId};

use crate::checkpoint::{Checkpoint, Kernel};
use crate::error::{Error, Kind};
use crate::manifest::{
    Attempt, CHECKPOINTS, DATA, LAST, Manifest, Piece, Stored, checkpoint_name, data_name, number_of,
    number_of_data,
};
use crate::objects::Put;
use crate::store::{Resumed, Seen, State, Store};

/// Stores checkpoints, each after the one before. Of two for the same place, the one that stores first wins; the other
/// one's next [`save`](Self::save) is an error, as are all after that.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    /// The number of the next checkpoint.
    next: u64,
    attempt: Attempt,
    /// What the next checkpoint goes on from, and which attempt that was.
    before: Option<(u64, Attempt)>,
    /// What is stored of each kernel.
    kernels: Vec<Kernel>,
    /// The data that checkpoints need that are there.
    needed: BTreeMap<u64, Vec<String>>,
    /// Checkpoints that are there and damaged.
    damaged: BTreeSet<u64>,
    /// Data of attempts that failed, which may have become a checkpoint all the same.
    failed: Vec<(u64, Vec<String>)>,
    /// Whether there is nothing left over but what `failed` knows.
    is_swept: bool,
    /// The checkpoint of another writer to which this one has lost, for good.
    lost_to: Option<u64>,
}

/// What is to be stored of a kernel.
struct Coming {
    /// What the snapshot goes on from.
    before: Vec<Piece>,
    snapshot: Vec<u8>,
    id: SnapshotId,
}

/// A checkpoint that is stored.
#[derive(Debug)]
#[must_use = "it says which checkpoint it is"]
pub struct Saved {
    /// Its number.
    pub number: u64,
    /// Why something that is not needed any more could not be deleted, if so. It is tried again after later checkpoints.
    pub undeleted: Option<Error>,
}

impl Writer {
    /// Goes on from what was read, above the numbers that are there.
    pub(crate) fn new(store: Store, numbers: &[u64], from: Option<&Checkpoint>) -> Result<Self, Error> {
        let newest = numbers.last().copied().unwrap_or(0);
        if newest == LAST {
            let name = checkpoint_name(newest);
            return Err(Error::new(Kind::Other(format!("there is no number after {name}: remove it"))));
        }
        Ok(Self {
            next: newest + 1,
            attempt: attempts_of_a_new_writer()?,
            before: from.map(|checkpoint| (checkpoint.number, checkpoint.attempt)),
            kernels: from.iter().flat_map(|from| from.stored.iter().map_while(Clone::clone)).collect(),
            needed: BTreeMap::new(),
            // What was read is the newest that is intact.
            damaged: numbers.iter().copied().filter(|&n| from.is_some_and(|from| n > from.number)).collect(),
            store,
            failed: Vec::new(),
            is_swept: false,
            lost_to: None,
        })
    }

    /// What the next snapshot of a kernel may hold the changes since, for
    /// [`Windowing::begin_snapshot`](floodmark::Windowing::begin_snapshot): the last one that is stored, or was resumed from. None where a
    /// full one is due: at first, and after as many of changes as the [store](Store::changes) allows. (After an attempt that failed the
    /// kernel takes a full one by itself, because that was not its last.)
    pub fn since(&self, kernel: usize) -> Option<SnapshotId> {
        let stored = self.kernels.get(kernel)?;
        (stored.pieces.len() <= self.store.changes).then_some(stored.last)
    }

    pub(crate) fn all_since(&self) -> Vec<Option<SnapshotId>> {
        (0..self.kernels.len()).map(|kernel| self.since(kernel)).collect()
    }

    /// Stores a checkpoint: all of it, or none. When the call returns, it is what is resumed from.
    ///
    /// So, for results that are to come out exactly once: make them durable but invisible, save, then make them
    /// visible; and after resuming make those visible again that the checkpoint's [`sink`](Checkpoint::sink) speaks of, because the
    /// process may have died in between. What was prepared for a checkpoint whose saving failed is neither published nor
    /// discarded, because it may be stored all the same: the next one's `sink` speaks of it, too.
    ///
    /// # Errors
    ///
    /// When a snapshot is damaged or does not follow the last one; when [another writer](Error::is_conflict) was faster; when the
    /// [storage fails](Error::is_storage). In the last case the checkpoint may be there all the same, and is as good as any: the host
    /// goes on, takes another snapshot when it likes to, and saves that.
    pub fn save(&mut self, state: State) -> Result<Saved, Error> {
        let State { kernels, source, sink } = state;
        let coming = kernels.into_iter().enumerate().map(|(kernel, snapshot)| self.follow(kernel, snapshot));
        let coming = coming.collect::<Result<_, Error>>()?;
        self.write(coming, source, sink)
    }

    /// Makes one snapshot of those that the newest checkpoint has of each kernel, and stores that as a checkpoint of its own: what
    /// the kernels go on from stays the same. None if there is nothing to be made smaller.
    ///
    /// # Errors
    ///
    /// Those of [`save`](Self::save), and of reading the newest checkpoint.
    pub fn compact(&mut self) -> Result<Option<Saved>, Error> {
        let Some((newest, _)) = self.before else { return Ok(None) };
        let checkpoint = self.store.checkpoint(newest)?;
        let is_long = (0..checkpoint.kernels()).any(|kernel| checkpoint.snapshots(kernel).len() > 1);
        is_long.then(|| self.write_compacted(&checkpoint)).transpose()
    }

    pub(crate) fn write_compacted(&mut self, checkpoint: &Checkpoint) -> Result<Saved, Error> {
        let compact = |kernel| {
            let chain = checkpoint.chain(kernel).map_err(|error| Error::snapshot(kernel, error))?;
            Ok(Coming { before: Vec::new(), snapshot: chain.compact(), id: chain.id() })
        };
        let coming = (0..checkpoint.kernels()).map(compact).collect::<Result<_, Error>>()?;
        self.write(coming, checkpoint.source.clone(), checkpoint.sink.clone())
    }

    /// Finds what a snapshot goes on from.
    fn follow(&self, kernel: usize, snapshot: Vec<u8>) -> Result<Coming, Error> {
        let Link { id, since } = Link::read(&snapshot).map_err(|error| Error::snapshot(kernel, error))?;
        let before = match (since, self.kernels.get(kernel)) {
            (None, _) => Vec::new(),
            (Some(since), Some(stored)) if since == stored.last => stored.pieces.clone(),
            (Some(_), _) => return Err(Error::new(Kind::Gap { kernel })),
        };
        Ok(Coming { before, snapshot, id })
    }

    fn write(&mut self, coming: Vec<Coming>, source: Vec<u8>, sink: Vec<u8>) -> Result<Saved, Error> {
        self.attempt.count += 1;
        if let Some(number) = self.lost_to {
            return Err(self.conflict(number));
        }
        let mut names = Vec::new();
        let written = self.write_data(coming, &mut names);
        let written = written.and_then(|kernels| {
            let pieces = kernels.iter().map(|kernel| kernel.pieces.clone()).collect();
            let mut manifest = Manifest {
                number: self.next,
                label: None,
                taken: now(),
                attempt: self.attempt,
                before: self.before.map(|(_, attempt)| attempt),
                kernels: pieces,
                source,
                sink,
            };
            let numbers = self.create(&mut manifest, &names)?;
            Ok((kernels, manifest, numbers))
        });
        match written {
            Ok((kernels, manifest, numbers)) => {
                self.kernels = kernels;
                self.next = manifest.number + 1;
                self.before = Some((manifest.number, self.attempt));
                self.needed.insert(manifest.number, manifest.data().map(str::to_owned).collect());
                Ok(Saved { number: manifest.number, undeleted: self.clean(&numbers).err() })
            }
            Err(error) => {
                let error = self.reason(error);
                self.lost_to = error.lost_to();
                self.failed.push((self.next, names));
                Err(error)
            }
        }
    }

    /// Writes the snapshots, and notes in `names` what may be there of them.
    fn write_data(&self, coming: Vec<Coming>, names: &mut Vec<String>) -> Result<Vec<Kernel>, Error> {
        let mut kernels = Vec::new();
        for (kernel, Coming { before, snapshot, id }) in coming.into_iter().enumerate() {
            let name = data_name(self.next, self.attempt, kernel);
            let snapshot = self.store.packed(snapshot);
            let (bytes, checksum) = (snapshot.len() as u64, crc32fast::hash(&snapshot));
            names.push(name.clone());
            self.store.objects.put(&format!("{DATA}/{name}"), snapshot)?;
            let mut pieces = before;
            pieces.push(Piece::Stored(Stored { name, bytes, checksum }));
            kernels.push(Kernel { pieces, last: id });
        }
        Ok(kernels)
    }

    /// Creates the manifest under the next number that no attempt of this writer has taken, and gives the numbers that are there
    /// then. Where it is sure that it has lost, it deletes the data, which nobody needs.
    fn create(&mut self, manifest: &mut Manifest, data: &[String]) -> Result<Vec<u64>, Error> {
        let mut looks = 0..MOST_LOOKS;
        loop {
            manifest.number = self.next;
            let put = self.store.objects.put_new(&checkpoint_name(self.next), manifest.encode())?;
            if put == Put::Done {
                return self.confirm(self.next, data);
            }
            match self.store.look(self.next)? {
                // A write that was repeated, because its answer was lost, finds itself.
                Seen::Intact(found) if found.attempt == manifest.attempt => {
                    return self.confirm(self.next, data);
                }
                Seen::Intact(found) if found.attempt.writer == self.attempt.writer => self.next += 1,
                // Half written by an attempt that failed.
                Seen::Damaged(_) if self.failed.iter().any(|(failed, _)| *failed == self.next) => {
                    self.next += 1
                }
                Seen::Intact(_) | Seen::Damaged(_) | Seen::Later(_) => return Err(self.lost(self.next, data)),
                // Deleted again by others who are far ahead, or still being written.
                Seen::Gone if looks.next().is_some() => {}
                Seen::Gone => return Err(self.unclear(self.next)),
            }
        }
    }

    /// Looks whether the number was free only because others have gone far beyond it.
    fn confirm(&self, number: u64, data: &[String]) -> Result<Vec<u64>, Error> {
        for _ in 0..MOST_LOOKS {
            let numbers = self.store.numbers()?;
            let Some(&above) = numbers.iter().find(|&&other| other > number) else {
                // A storage that does not list what is there is none to rely on.
                return if numbers.last() == Some(&number) { Ok(numbers) } else { Err(self.unclear(number)) };
            };
            match self.store.look(above)? {
                Seen::Gone => {}
                Seen::Intact(next) if next.before == Some(self.attempt) => return Ok(numbers),
                // That one goes on from elsewhere, so nobody goes on from this one. (If it stays, those who are ahead delete it.)
                Seen::Intact(_) => {
                    return Err(match self.store.objects.delete(&checkpoint_name(number)) {
                        Ok(()) => self.lost(above, data),
                        Err(_) => self.conflict(above),
                    });
                }
                Seen::Damaged(_) | Seen::Later(_) => return Err(self.conflict(above)),
            }
        }
        Err(self.unclear(number))
    }

    /// Another has won. (If the data cannot be deleted, the next writer sweeps.)
    fn lost(&self, number: u64, data: &[String]) -> Error {
        let _ = self.delete_data(data);
        self.conflict(number)
    }

    /// It cannot be told whether a checkpoint is there.
    fn unclear(&self, number: u64) -> Error {
        Error::new(Kind::Unclear { name: checkpoint_name(number) })
    }

    /// Why an attempt has failed: in a folder a write fails, too, where the winner has swept away what was half written.
    fn reason(&self, error: Error) -> Error {
        if !error.is_storage() || !self.store.objects.is_folder() {
            return error;
        }
        match self.store.numbers().ok().and_then(|numbers| numbers.last().copied()) {
            Some(newest) if newest > self.next => self.conflict(newest),
            Some(newest) if newest == self.next => match self.store.look(newest) {
                Ok(Seen::Intact(found)) if found.attempt.writer != self.attempt.writer => {
                    self.conflict(newest)
                }
                _ => error,
            },
            _ => error,
        }
    }

    fn conflict(&self, number: u64) -> Error {
        Error::new(Kind::Conflict { place: self.store.objects.to_string(), number })
    }
}

/// Retention.
impl Writer {
    /// Deletes checkpoints before the last ones, then the data that none of those needs.
    fn clean(&mut self, numbers: &[u64]) -> Result<(), Error> {
        let newest = self.next - 1;
        // What cannot be deleted now is found by looking, next time.
        let was_swept = std::mem::replace(&mut self.is_swept, false);
        for &number in numbers {
            self.get_to_know(number)?;
        }
        let oldest = self.oldest(numbers);
        for &number in numbers.iter().take_while(|&&number| number < oldest) {
            self.store.objects.delete(&checkpoint_name(number))?;
        }
        let mut unneeded = self.names_of_failed();
        // (Not only of those: one that could not be deleted may have gone all the same.)
        let still_needed = self.needed.split_off(&oldest);
        unneeded.extend(std::mem::replace(&mut self.needed, still_needed).into_values().flatten());
        self.damaged = self.damaged.split_off(&oldest);
        if !was_swept {
            unneeded.extend(self.left_by_others(newest)?);
        }
        let needed: BTreeSet<&String> = self.needed.values().flatten().collect();
        unneeded.retain(|name| !needed.contains(name));
        self.delete_data(&unneeded)?;
        self.failed.clear();
        self.is_swept = true;
        Ok(())
    }

    /// The oldest checkpoint to be kept: with so many intact ones from there on.
    fn oldest(&self, numbers: &[u64]) -> u64 {
        // (One more than stand on one full snapshot, so that there is one that stands on another.)
        let spare = if self.store.changes > 0 { self.store.changes.saturating_add(2) } else { 1 };
        let keep = self.store.keep.get().max(spare);
        let intact = numbers.iter().rev().filter(|number| !self.damaged.contains(number));
        intact.copied().nth(keep - 1).unwrap_or(0)
    }

    /// Finds out what data a checkpoint needs, if this is not known.
    fn get_to_know(&mut self, number: u64) -> Result<(), Error> {
        if self.needed.contains_key(&number) || self.damaged.contains(&number) {
            return Ok(());
        }
        match self.store.look(number)? {
            Seen::Intact(manifest) => {
                self.needed.insert(number, manifest.data().map(str::to_owned).collect());
            }
            // It is not resumed from, so it needs nothing.
            Seen::Damaged(_) => _ = self.damaged.insert(number),
            Seen::Gone => {}
            Seen::Later(_) => return Err(self.conflict(number)),
        }
        Ok(())
    }

    /// Data that was written for a checkpoint up to this one, by whomever; what is half written is deleted at once. What is written for
    /// later ones may be another writer's, who is at work.
    fn left_by_others(&self, newest: u64) -> Result<Vec<String>, Error> {
        let is_over = |number: Option<u64>| number.is_some_and(|number| number <= newest);
        let objects = &self.store.objects;
        objects.delete_half_written(CHECKPOINTS, |name| is_over(number_of(name)))?;
        objects.delete_half_written(DATA, |name| is_over(number_of_data(name)))?;
        let names = objects.names(DATA)?.into_iter();
        Ok(names.filter(|name| is_over(number_of_data(name))).collect())
    }

    fn names_of_failed(&self) -> Vec<String> {
        self.failed.iter().flat_map(|(_, names)| names).cloned().collect()
    }

    fn delete_data(&self, names: &[String]) -> Result<(), Error> {
        names.iter().try_for_each(|name| self.store.objects.delete(&format!("{DATA}/{name}")).map(drop))
    }
}

impl Store {
    /// [`Writer::compact`], where no writer is at work: if one is, it loses. Nothing is deleted.
    ///
    /// # Errors
    ///
    /// Those of [`resume`](Self::resume) and of [`Writer::save`]; and when the newest checkpoint is damaged, because whoever resumes has
    /// to be told so.
    pub fn compact(&self) -> Result<Option<Saved>, Error> {
        let Resumed { mut writer, mut damaged, .. } = self.clone().keep(NonZeroUsize::MAX).resume()?;
        match damaged.pop() {
            Some(damaged) => Err(Error::new(Kind::Damaged(damaged))),
            None => writer.compact(),
        }
    }
}

/// How often something is looked at anew that others change meanwhile, before it is given up.
pub(crate) const MOST_LOOKS: usize = 100;

pub(crate) fn attempts_of_a_new_writer() -> Result<Attempt, Error> {
    let writer = getrandom::u64()
        .map_err(|error| Error::new(Kind::Other(format!("no random numbers are to be had: {error}"))))?;
    Ok(Attempt { writer, count: 0 })
}

/// In microseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

//! Writing: data first, then the manifest that makes it a checkpoint, then what is not needed any more is deleted.
//!
//! The manifest of checkpoint *n* is an object that may be created once: who finds it there has lost against another writer.
//! A writer that has slept through so many checkpoints that *n* is deleted again would find it free; so it looks once more,
//! for a number above its own. The newest one is never deleted, so there is one if there ever was. (Another writer may also have
//! gone on from the new checkpoint already: then the first one above it says so.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use floodmark::snapshot::{Link, SnapshotId};

use crate::error::{Error, Kind};
use crate::manifest::{
    Attempt, CHECKPOINTS, DATA, Manifest, Piece, checkpoint_name, data_name, number_of, number_of_data,
};
use crate::objects::Put;
use crate::store::{Checkpoint, Resumed, State, Store};

/// Stores checkpoints, each after the one before. Of two for the same place, the one that stores first wins; the other
/// one's next [`save`](Self::save) is an error, as are all after that.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    /// The number of the next checkpoint.
    next: u64,
    attempt: Attempt,
    /// What the next checkpoint goes on from.
    before: Option<Attempt>,
    /// What is stored of each kernel.
    kernels: Vec<Stored>,
    /// The data that checkpoints need that are there.
    needed: BTreeMap<u64, Vec<String>>,
    /// Data of attempts that failed, which may have become a checkpoint all the same.
    failed: Vec<(u64, Vec<String>)>,
    /// Whether what earlier writers have left was deleted.
    is_swept: bool,
}

/// What is stored of a kernel.
#[derive(Clone, Debug)]
struct Stored {
    pieces: Vec<Piece>,
    last: SnapshotId,
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
        Ok(Self {
            store,
            next: numbers.last().map_or(1, |newest| newest + 1),
            attempt: attempts_of_a_new_writer()?,
            before: from.map(|checkpoint| checkpoint.attempt),
            kernels: Vec::new(),
            needed: BTreeMap::new(),
            failed: Vec::new(),
            is_swept: false,
        })
    }

    /// What the next snapshot of a kernel may hold the changes since, for
    /// [`Windowing::begin_snapshot`](floodmark::Windowing::begin_snapshot). None where a full one is due: at first, after an
    /// attempt that failed, and after as many of changes as the [store](Store::changes) allows.
    pub fn since(&self, kernel: usize) -> Option<SnapshotId> {
        let stored = self.kernels.get(kernel)?;
        (stored.pieces.len() <= self.store.changes).then_some(stored.last)
    }

    /// Stores a checkpoint: all of it, or none. When the call returns, it is what is resumed from.
    ///
    /// So, for results that are to come out exactly once: make them durable but invisible, save, then make them
    /// visible; and after resuming make those visible again that the checkpoint's [`sink`](Checkpoint::sink) speaks of, because the
    /// process may have died in between.
    ///
    /// # Errors
    ///
    /// When a snapshot is damaged or does not follow the last one; when [another writer](Error::is_conflict) was faster; when the
    /// storage fails. In the last case the checkpoint may be there all the same, and is as good as any: it is enough to save
    /// a later one. The host goes on as if nothing had been stored.
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
        match self.needed.last_key_value() {
            Some((&newest, _)) if self.kernels.iter().any(|kernel| kernel.pieces.len() > 1) => {
                let checkpoint = self.store.checkpoint(newest)?;
                self.write_compacted(&checkpoint).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn write_compacted(&mut self, checkpoint: &Checkpoint) -> Result<Saved, Error> {
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
        let mut names = Vec::new();
        let written = self.write_data(coming, &mut names).and_then(|kernels| {
            let pieces = kernels.iter().map(|kernel| kernel.pieces.clone()).collect();
            let mut manifest = Manifest {
                number: self.next,
                label: None,
                taken: now(),
                attempt: self.attempt,
                before: self.before,
                kernels: pieces,
                source,
                sink,
            };
            let numbers = self.create(&mut manifest)?;
            Ok((kernels, manifest, numbers))
        });
        match written {
            Ok((kernels, manifest, numbers)) => {
                self.kernels = kernels;
                self.next = manifest.number + 1;
                self.before = Some(self.attempt);
                self.needed.insert(manifest.number, manifest.data().map(str::to_owned).collect());
                Ok(Saved { number: manifest.number, undeleted: self.clean(&numbers).err() })
            }
            Err(error) => {
                let error = self.reason(error);
                match error.is_conflict() {
                    // Nobody needs what it wrote. (If this fails, the next writer sweeps.)
                    true => _ = self.delete_data(&names),
                    false => self.failed.push((self.next, names)),
                }
                Err(error)
            }
        }
    }

    /// Writes the snapshots, and notes in `names` what may be there of them.
    fn write_data(&self, coming: Vec<Coming>, names: &mut Vec<String>) -> Result<Vec<Stored>, Error> {
        let mut kernels = Vec::new();
        for (kernel, Coming { before, snapshot, id }) in coming.into_iter().enumerate() {
            let name = data_name(self.next, self.attempt, kernel);
            let snapshot = self.store.packed(snapshot);
            let (bytes, checksum) = (snapshot.len() as u64, crc32fast::hash(&snapshot));
            names.push(name.clone());
            self.store.objects.put(&format!("{DATA}/{name}"), snapshot)?;
            let mut pieces = before;
            pieces.push(Piece::Stored { name, bytes, checksum });
            kernels.push(Stored { pieces, last: id });
        }
        Ok(kernels)
    }

    /// Creates the manifest under the next number that no attempt of this writer has taken, and gives the numbers that are there
    /// then.
    fn create(&mut self, manifest: &mut Manifest) -> Result<Vec<u64>, Error> {
        loop {
            let number = self.next;
            manifest.number = number;
            let put = self.store.objects.put_new(&checkpoint_name(number), manifest.encode())?;
            if put == Put::Done {
                break;
            }
            match self.store.attempts_at(number)? {
                // A write that was repeated, because its answer was lost, finds itself.
                Some((attempt, _)) if attempt == manifest.attempt => break,
                Some((attempt, _)) if attempt.writer == self.attempt.writer => {}
                // Half written by an attempt that failed.
                None if self.failed.iter().any(|(failed, _)| *failed == number) => {}
                _ => return Err(self.conflict(number)),
            }
            self.next += 1;
        }
        self.confirm(manifest.number)
    }

    /// Looks whether the number was free only because others have gone far beyond it.
    fn confirm(&self, number: u64) -> Result<Vec<u64>, Error> {
        let numbers = self.store.numbers()?;
        let Some(&above) = numbers.iter().find(|&&other| other > number) else { return Ok(numbers) };
        match self.store.attempts_at(above)? {
            Some((_, before)) if before == Some(self.attempt) => Ok(numbers),
            _ => {
                // (The winner deletes it if this fails.)
                let _ = self.store.objects.delete(&checkpoint_name(number));
                Err(self.conflict(above))
            }
        }
    }

    /// Why an attempt has failed: in a folder a write fails, too, where the winner has swept away what was half written.
    fn reason(&self, error: Error) -> Error {
        if !self.store.objects.is_folder() {
            return error;
        }
        let newest = self.store.numbers().ok().and_then(|numbers| numbers.last().copied());
        match newest.filter(|_| error.is_storage()) {
            Some(newest) if newest > self.next => self.conflict(newest),
            Some(newest) if newest == self.next => match self.store.attempts_at(newest) {
                Ok(Some((attempt, _))) if attempt.writer != self.attempt.writer => self.conflict(newest),
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
        let (doomed, kept) = numbers.split_at(numbers.len().saturating_sub(self.store.keep.get()));
        let mut unneeded = self.names_of_failed();
        for &number in doomed {
            self.store.objects.delete(&checkpoint_name(number))?;
            unneeded.extend(self.needed.remove(&number).unwrap_or_default());
        }
        for &number in kept {
            if !self.needed.contains_key(&number) {
                // What is damaged is not resumed from, so it needs nothing.
                let needed = self.store.data_of(number)?.unwrap_or_default();
                self.needed.insert(number, needed);
            }
        }
        if !self.is_swept {
            unneeded.extend(self.left_by_others(newest)?);
        }
        let needed: BTreeSet<&String> = self.needed.values().flatten().collect();
        unneeded.retain(|name| !needed.contains(name));
        self.delete_data(&unneeded)?;
        self.failed.clear();
        self.is_swept = true;
        Ok(())
    }

    /// Data that was written for a checkpoint up to this one, by whomever; what is half written is deleted at once. What is written for
    /// later ones may be another writer's, who is at work.
    fn left_by_others(&self, newest: u64) -> Result<Vec<String>, Error> {
        let is_over = |number: Option<u64>| number.is_some_and(|number| number <= newest);
        let objects = &self.store.objects;
        objects.delete_half_written(CHECKPOINTS, |name| is_over(number_of(name)))?;
        objects.delete_half_written(DATA, |name| is_over(number_of_data(name)))?;
        let names = objects.list(DATA)?.into_iter().map(|(name, _)| name);
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
    /// [`Writer::compact`], where no writer is at work: if one is, it loses.
    ///
    /// # Errors
    ///
    /// Those of [`resume`](Self::resume) and of [`Writer::save`].
    pub fn compact(&self) -> Result<Option<Saved>, Error> {
        let Resumed { mut writer, checkpoint, .. } = self.resume()?;
        let is_long = |checkpoint: &Checkpoint| {
            (0..checkpoint.kernels()).any(|kernel| checkpoint.snapshots(kernel).len() > 1)
        };
        checkpoint.filter(is_long).map(|checkpoint| writer.write_compacted(&checkpoint)).transpose()
    }
}

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

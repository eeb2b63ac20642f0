//! A place: what is in it, the newest checkpoint that is intact, and savepoints.

use std::num::NonZeroUsize;
use std::sync::Arc;

use object_store::ObjectStore;

use crate::checkpoint::{Checkpoint, Damaged, Flaw};
use crate::error::{Error, Kind};
use crate::manifest::{CHECKPOINTS, DATA, Manifest, SAVEPOINTS, Stored, checkpoint_name, number_of};
use crate::objects::{Got, Objects, Put};
use crate::writer::{MOST_LOOKS, Writer};

/// A place with numbered checkpoints, and savepoints with a label.
///
/// Its calls wait until the storage has answered. It is cheap to clone, and the clones are of the same place.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) objects: Objects,
    pub(crate) keep: NonZeroUsize,
    pub(crate) changes: usize,
    pub(crate) is_compressed: bool,
}

/// What is stored together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// A snapshot of each kernel, full or of what has changed since [`Writer::since`].
    pub kernels: Vec<Vec<u8>>,
    /// Where the sources are, as bytes of the host's: offsets, positions in files.
    pub source: Vec<u8>,
    /// What the sinks need, as bytes of the host's: lengths of files, transactions that are prepared.
    pub sink: Vec<u8>,
}

/// What there is to go on from.
#[derive(Debug)]
#[must_use = "it holds the only writer that goes on from what was read"]
pub struct Resumed {
    /// Stores the checkpoints to come.
    pub writer: Writer,
    /// The newest one that is intact; none where there is none at all.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that are not, newest first. What they held is to be done again.
    pub damaged: Vec<Damaged>,
}

/// The newest checkpoint that is intact, if there is any, and newer ones that are not, newest first.
pub type Found = (Option<Checkpoint>, Vec<Damaged>);

/// What there is of a checkpoint, by its manifest.
pub(crate) enum Seen {
    Intact(Manifest),
    Damaged(String),
    /// Of a later version.
    Later(u16),
    Gone,
}

impl Store {
    /// Checkpoints in a local folder, which is made if it is not there.
    ///
    /// What is stored is on the disk, by `fsync` of the file and of the folder, when the call returns.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or opened.
    #[cfg(feature = "fs")]
    pub fn folder(folder: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        Ok(Self::of(Objects::folder(folder.as_ref())?))
    }

    /// Checkpoints in memory, for tests: they are gone with the last clone of the store.
    pub fn memory() -> Self {
        Self::of(Objects::memory())
    }

    /// Checkpoints in a bucket of S3, or of what speaks like it and keeps its promises about conditional writes: `s3://BUCKET/PREFIX`,
    /// the rest from the environment (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP` …).
    ///
    /// # Errors
    ///
    /// When the URL or the environment is wrong. Nothing is asked of the server yet.
    #[cfg(feature = "s3")]
    pub fn s3(url: &str) -> Result<Self, Error> {
        let refused = || Error::new(Kind::Other(format!("{url:?} is not of the form s3://BUCKET/PREFIX")));
        let below = url.strip_prefix("s3://").ok_or_else(refused)?;
        let (bucket, prefix) = below.split_once('/').unwrap_or((below, ""));
        if bucket.is_empty() {
            return Err(refused());
        }
        let builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket);
        let store = builder.build().map_err(|error| Error::storage("open", url, error))?;
        Self::over(Arc::new(store), prefix)
    }

    /// Checkpoints in any other object store, below a prefix. It must list what was written before (as all large ones do), and
    /// [`PutMode::Create`](object_store::PutMode::Create) must be atomic in it.
    ///
    /// What it does is driven by the thread that calls; with the feature `tokio`, by a thread with a runtime of Tokio,
    /// without which stores that use the network fail.
    ///
    /// # Errors
    ///
    /// When the prefix is no path.
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, Error> {
        Objects::over(store, prefix).map(Self::of)
    }

    fn of(objects: Objects) -> Self {
        let keep = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
        Self { objects, keep, changes: 0, is_compressed: false }
    }

    /// How many checkpoints are kept: 3 unless it is said otherwise. Those before them are deleted when one is stored. One that was found to be
    /// damaged does not count.
    pub fn keep(mut self, checkpoints: NonZeroUsize) -> Self {
        self.keep = checkpoints;
        self
    }

    /// How many snapshots of changes may follow a full one: none unless it is said otherwise.
    ///
    /// Each needs all before it, so damage to one object spoils all checkpoints that stand on it. So at least two more checkpoints than
    /// this are kept, whatever [`keep`](Self::keep) says: then there is always one that shares nothing with the newest.
    pub fn changes(mut self, most: usize) -> Self {
        self.changes = most;
        self
    }

    /// Compresses snapshots that are stored from now on (LZ4). What is compressed and what is not can be mixed.
    #[cfg(feature = "lz4")]
    pub fn compressed(mut self) -> Self {
        self.is_compressed = true;
        self
    }

    /// Goes on from the newest intact checkpoint, if there is any.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read, when there are checkpoints and none is intact, when the newest is of a later version.
    pub fn resume(&self) -> Result<Resumed, Error> {
        let (numbers, (checkpoint, damaged)) = self.find_newest()?;
        let writer = Writer::new(self.clone(), &numbers, checkpoint.as_ref())?;
        Ok(Resumed { writer, checkpoint, damaged })
    }

    /// Goes on from a savepoint: [`resume_from`](Self::resume_from) what [`savepoint`](Self::savepoint) reads.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn resume_from_savepoint(&self, label: &str) -> Result<Resumed, Error> {
        self.resume_from(self.savepoint(label)?)
    }

    /// Goes on from a checkpoint or savepoint, of this place or another: it is stored as the newest one here first, so that whoever resumes
    /// later goes on from there, too.
    ///
    /// # Errors
    ///
    /// When the storage fails, or another writer is at work here.
    pub fn resume_from(&self, mut checkpoint: Checkpoint) -> Result<Resumed, Error> {
        let mut writer = Writer::new(self.clone(), &self.numbers()?, Some(&checkpoint))?;
        checkpoint.number = writer.write_compacted(&checkpoint)?.number;
        Ok(Resumed { writer, checkpoint: Some(checkpoint), damaged: Vec::new() })
    }

    /// Begins where there is no checkpoint.
    ///
    /// # Errors
    ///
    /// When there is one, or the storage cannot be read.
    pub fn begin(&self) -> Result<Writer, Error> {
        match self.numbers()?[..] {
            [] => Writer::new(self.clone(), &[], None),
            _ => Err(Error::new(Kind::NotEmpty { place: self.objects.to_string() })),
        }
    }

    /// The newest intact checkpoint, if there is any, and newer ones that are damaged. For who only reads: a writer may be at work.
    ///
    /// # Errors
    ///
    /// Those of [`resume`](Self::resume).
    pub fn newest(&self) -> Result<Found, Error> {
        self.find_newest().map(|(_, found)| found)
    }

    /// Reads one checkpoint.
    ///
    /// # Errors
    ///
    /// When it is not there, is damaged or of a later version, when the storage cannot be read.
    pub fn checkpoint(&self, number: u64) -> Result<Checkpoint, Error> {
        self.read(number).map_err(|flaw| flaw.error(&checkpoint_name(number)))
    }

    /// The numbers of the checkpoints that are there, intact or not, oldest first.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    pub fn numbers(&self) -> Result<Vec<u64>, Error> {
        let names = self.objects.names(CHECKPOINTS)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The numbers that are there, and what is found among them.
    fn find_newest(&self) -> Result<(Vec<u64>, Found), Error> {
        // Another writer may delete what was listed: then there is a newer one.
        for _ in 0..MOST_LOOKS {
            let numbers = self.numbers()?;
            let found = self.newest_of(&numbers)?;
            if found.0.is_some() || numbers.is_empty() {
                return Ok((numbers, found));
            }
        }
        let what = "is being written by another faster than it can be read";
        Err(Error::new(Kind::Other(format!("{} {what}", self.objects))))
    }

    /// The newest intact one of `numbers`, and those above it that are not. None if one of them has gone meanwhile: then there are
    /// newer ones, and what is left below is no longer what to go on from.
    fn newest_of(&self, numbers: &[u64]) -> Result<Found, Error> {
        let mut damaged = Vec::new();
        for &number in numbers.iter().rev() {
            match self.read(number) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(Flaw::Gone) => return Ok((None, damaged)),
                Err(Flaw::Damage(why)) => damaged.push(Damaged { name: checkpoint_name(number), why }),
                Err(flaw) => return Err(flaw.error(&checkpoint_name(number))),
            }
        }
        match damaged.is_empty() {
            true => Ok((None, damaged)),
            false => Err(Error::new(Kind::AllDamaged { place: self.objects.to_string(), damaged })),
        }
    }

    fn read(&self, number: u64) -> Result<Checkpoint, Flaw> {
        let manifest = match self.look(number)? {
            Seen::Intact(manifest) => manifest,
            Seen::Damaged(why) => return Err(Flaw::Damage(why)),
            Seen::Later(version) => return Err(Flaw::Later(version)),
            Seen::Gone => return Err(Flaw::Gone),
        };
        match Checkpoint::of(manifest, |stored| self.snapshot(stored)) {
            // Data is deleted after what needs it.
            Err(Flaw::Damage(_)) if matches!(self.look(number)?, Seen::Gone) => Err(Flaw::Gone),
            read => read,
        }
    }

    /// Looks at the manifest of a checkpoint.
    pub(crate) fn look(&self, number: u64) -> Result<Seen, Error> {
        let Some(Got::Bytes(bytes)) = self.objects.get(&checkpoint_name(number), None)? else {
            return Ok(Seen::Gone);
        };
        Ok(match Manifest::decode(&bytes).map_err(Flaw::from) {
            Ok(manifest) if manifest.number == number => Seen::Intact(manifest),
            Ok(manifest) => Seen::Damaged(format!("it is that of checkpoint {}", manifest.number)),
            Err(Flaw::Later(version)) => Seen::Later(version),
            Err(Flaw::Damage(why)) => Seen::Damaged(why),
            Err(flaw) => return Err(flaw.error(&checkpoint_name(number))),
        })
    }

    /// Reads a snapshot, or says what is wrong with it.
    fn snapshot(&self, stored: &Stored) -> Result<Result<Vec<u8>, String>, Error> {
        let Stored { name, bytes, checksum } = stored;
        let name = format!("{DATA}/{name}");
        Ok(match self.objects.get(&name, Some(*bytes))? {
            None => Err(format!("{name} is not there")),
            Some(Got::Size(found)) => Err(format!("{name} has {found} bytes and should have {bytes}")),
            Some(Got::Bytes(found)) if crc32fast::hash(&found) != *checksum => {
                Err(format!("{name} is not what was written: its checksum does not match"))
            }
            Some(Got::Bytes(found)) => Ok(found),
        })
    }

    /// A sound snapshot as it is stored.
    pub(crate) fn packed(&self, snapshot: Vec<u8>) -> Vec<u8> {
        #[cfg(feature = "lz4")]
        if self.is_compressed
            && let Ok(packed) = floodmark::snapshot::compress(&snapshot)
        {
            return packed;
        }
        snapshot
    }
}

/// Savepoints: checkpoints that are kept until they are deleted by hand.
impl Store {
    /// Makes a savepoint of a checkpoint: a copy that needs nothing else, in one object, which no retention deletes. It can
    /// be made while a writer is at work.
    ///
    /// # Errors
    ///
    /// When the label is taken or is not of 1 to 100 letters, digits, dots, dashes and underscores; when the storage fails.
    pub fn create_savepoint(&self, label: &str, of: &Checkpoint) -> Result<(), Error> {
        let name = savepoint_name(label)?;
        let manifest = of.savepoint(label, self)?;
        match self.objects.put_new(&name, manifest.encode())? {
            Put::Done => Ok(()),
            // A write that was repeated because its answer was lost finds itself.
            Put::Taken => match self.objects.get(&name, None)? {
                Some(Got::Bytes(bytes)) if bytes == manifest.encode() => Ok(()),
                Some(_) => Err(Error::label(label, "there is a savepoint of this name")),
                None => Err(Error::new(Kind::Unclear { name })),
            },
        }
    }

    /// Reads a savepoint.
    ///
    /// # Errors
    ///
    /// When it is not there, is damaged or of a later version, when the storage cannot be read.
    pub fn savepoint(&self, label: &str) -> Result<Checkpoint, Error> {
        let name = savepoint_name(label)?;
        match self.objects.get(&name, None)? {
            Some(Got::Bytes(bytes)) => Checkpoint::of_savepoint_named(&name, &bytes),
            _ => Err(Flaw::Gone.error(&name)),
        }
    }

    /// The labels of all savepoints, sorted, and the bytes of each.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    pub fn savepoints(&self) -> Result<Vec<(String, u64)>, Error> {
        let mut savepoints = self.objects.list(SAVEPOINTS)?;
        savepoints.retain(|(label, _)| savepoint_name(label).is_ok());
        savepoints.sort_unstable();
        Ok(savepoints)
    }

    /// Deletes a savepoint.
    ///
    /// # Errors
    ///
    /// When it is not there, or the storage fails.
    pub fn delete_savepoint(&self, label: &str) -> Result<(), Error> {
        let name = savepoint_name(label)?;
        match self.objects.is_there(&name)? {
            true => self.objects.delete(&name),
            false => Err(Flaw::Gone.error(&name)),
        }
    }
}

fn savepoint_name(label: &str) -> Result<String, Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=100).contains(&label.len()) && label.bytes().all(is_plain) && !label.starts_with('.') {
        true => Ok(format!("{SAVEPOINTS}/{label}")),
        false => Err(Error::label(
            label,
            "give 1 to 100 letters, digits, dashes, underscores and dots, the first of them no dot",
        )),
    }
}

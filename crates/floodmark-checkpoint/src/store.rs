//! Reading: the newest checkpoint that is intact, any of them, and savepoints.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

#[cfg(feature = "lz4")]
use floodmark::snapshot;
use floodmark::snapshot::Chain;
use floodmark::{RestoreError, Timestamp};
use object_store::ObjectStore;

use crate::error::{Error, Kind};
use crate::manifest::{
    Attempt, CHECKPOINTS, DATA, Manifest, Piece, SAVEPOINTS, Unreadable, VERSION, checkpoint_name, number_of,
};
use crate::objects::{Got, Objects, Put};
use crate::writer::{Writer, attempts_of_a_new_writer, now};

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

/// A checkpoint, or a savepoint, read and found intact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which one: each is one more than the one before, with gaps where an attempt failed. A savepoint has that of the checkpoint
    /// that it was made of.
    pub number: u64,
    /// That of a savepoint.
    pub label: Option<String>,
    /// When it was written, by the clock of who wrote it.
    pub taken: Timestamp,
    /// Where the sources were, as bytes of the host's.
    pub source: Vec<u8>,
    /// What the sinks need, as bytes of the host's.
    pub sink: Vec<u8>,
    pub(crate) kernels: Vec<Vec<Vec<u8>>>,
    pub(crate) attempt: Attempt,
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

/// A checkpoint or a savepoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The name of its manifest.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged: {}", self.name, self.why)
    }
}

impl Checkpoint {
    /// How many kernels it has snapshots of.
    pub fn kernels(&self) -> usize {
        self.kernels.len()
    }

    /// What one of them is restored from, by [`Windowing::restore_chain`](floodmark::Windowing::restore_chain).
    ///
    /// # Errors
    ///
    /// Those of [`Chain::read`]; and that there is no snapshot, where there is no such kernel.
    pub fn chain(&self, kernel: usize) -> Result<Chain<'_>, RestoreError> {
        Chain::read(&self.snapshots(kernel))
    }

    /// The snapshots of one of them: a full one, and those of the changes since.
    pub fn snapshots(&self, kernel: usize) -> Vec<&[u8]> {
        self.kernels.get(kernel).into_iter().flatten().map(Vec::as_slice).collect()
    }

    /// Reads a savepoint that was copied out of a store: it is one file, and all there is of it.
    ///
    /// # Errors
    ///
    /// When it is none, is damaged, or is of a later version.
    pub fn of_savepoint(bytes: &[u8]) -> Result<Self, Error> {
        let read = Manifest::decode(bytes).map_err(Flaw::from).and_then(|manifest| {
            let kernels = manifest.kernels.iter().map(|pieces| pieces.iter().map(inline).collect());
            let kernels = kernels.collect::<Result<_, Flaw>>()?;
            Self::of(manifest, kernels)
        });
        read.map_err(|flaw| flaw.error("the savepoint", &"the file"))
    }

    fn of(manifest: Manifest, kernels: Vec<Vec<Vec<u8>>>) -> Result<Self, Flaw> {
        let Manifest { number, label, taken, attempt, source, sink, .. } = manifest;
        let taken = Timestamp::from_micros(taken);
        let checkpoint = Self { number, label, taken, source, sink, kernels, attempt };
        for kernel in 0..checkpoint.kernels() {
            match checkpoint.chain(kernel) {
                Err(error) if error.is_version() || error.is_compressed() => {
                    return Err(Flaw::Fatal(Error::snapshot(kernel, error)));
                }
                Err(error) => return Err(Flaw::Damage(format!("the snapshot of kernel {kernel}: {error}"))),
                Ok(_) => {}
            }
        }
        Ok(checkpoint)
    }

    /// All of it in one object.
    fn savepoint(&self, label: &str, store: &Store) -> Result<Manifest, Error> {
        let compact = |kernel| {
            let chain = self.chain(kernel).map_err(|error| Error::snapshot(kernel, error))?;
            Ok(vec![Piece::Inline(store.packed(chain.compact()))])
        };
        Ok(Manifest {
            number: self.number,
            label: Some(label.to_owned()),
            taken: now(),
            attempt: attempts_of_a_new_writer()?,
            before: Some(self.attempt),
            kernels: (0..self.kernels()).map(compact).collect::<Result<_, Error>>()?,
            source: self.source.clone(),
            sink: self.sink.clone(),
        })
    }
}

/// A snapshot as its kernel wrote it.
fn plain(bytes: Vec<u8>) -> Result<Vec<u8>, Flaw> {
    #[cfg(feature = "lz4")]
    if let std::borrow::Cow::Owned(plain) = snapshot::decompress(&bytes)
        .map_err(|error| Flaw::Damage(format!("a snapshot cannot be decompressed: {error}")))?
    {
        return Ok(plain);
    }
    Ok(bytes)
}

fn inline(piece: &Piece) -> Result<Vec<u8>, Flaw> {
    match piece {
        Piece::Inline(bytes) => plain(bytes.clone()),
        Piece::Stored { name, .. } => Err(Flaw::Damage(format!("it needs {name}, which is not in it"))),
    }
}

/// Why a checkpoint is not read.
enum Flaw {
    /// It is not there any more: another writer has gone on.
    Gone,
    /// Another may do.
    Damage(String),
    Version(u16),
    /// To go back to another would lose what may well be intact.
    Fatal(Error),
}

impl From<Unreadable> for Flaw {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Damaged(why) => Self::Damage(why),
            Unreadable::Version(found) => Self::Version(found),
        }
    }
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl Flaw {
    /// As the end of the matter.
    fn error(self, name: &str, place: &dyn fmt::Display) -> Error {
        let (name, place) = (name.to_owned(), place.to_string());
        Error::new(match self {
            Self::Gone => Kind::Nothing { place: format!("{name} of {place}") },
            Self::Damage(why) => Kind::Damaged { place, damaged: vec![Damaged { name, why }] },
            Self::Version(found) => Kind::Version { name, found, newest: VERSION },
            Self::Fatal(error) => return error,
        })
    }
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
    /// What it does is driven by the thread that calls; with the feature `s3`, by a thread with a runtime of Tokio.
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

    /// How many checkpoints are kept: 3 unless it is said otherwise. Those before them are deleted when one is stored.
    pub fn keep(mut self, checkpoints: NonZeroUsize) -> Self {
        self.keep = checkpoints;
        self
    }

    /// How many snapshots of changes may follow a full one: none unless it is said otherwise.
    ///
    /// Each needs all before it, so damage to one object spoils all checkpoints that stand on it. Who keeps at least two more
    /// checkpoints than this always has one to fall back to that shares nothing with the newest.
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
        // Another writer may delete what was listed: then there is a newer one.
        for _ in 0..MOST_LOOKS {
            let numbers = self.numbers()?;
            let (checkpoint, damaged) = self.newest_of(&numbers)?;
            if checkpoint.is_some() || numbers.is_empty() {
                let writer = Writer::new(self.clone(), &numbers, checkpoint.as_ref())?;
                return Ok(Resumed { writer, checkpoint, damaged });
            }
        }
        let what = "is being written by another faster than it can be read";
        Err(Error::new(Kind::Other(format!("{} {what}", self.objects))))
    }

    /// Goes on from a savepoint: what is stored then is newer than all checkpoints that are there.
    ///
    /// # Errors
    ///
    /// When there is no such savepoint, when it is damaged or of a later version, when the storage cannot be read.
    pub fn resume_from(&self, label: &str) -> Result<Resumed, Error> {
        let checkpoint = Some(self.savepoint(label)?);
        let writer = Writer::new(self.clone(), &self.numbers()?, checkpoint.as_ref())?;
        Ok(Resumed { writer, checkpoint, damaged: Vec::new() })
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

    /// The numbers of the checkpoints that are there, intact or not, oldest first.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    pub fn numbers(&self) -> Result<Vec<u64>, Error> {
        let listed = self.objects.list(CHECKPOINTS)?;
        let mut numbers: Vec<u64> = listed.iter().filter_map(|(name, _)| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads one checkpoint.
    ///
    /// # Errors
    ///
    /// When it is not there, is damaged or of a later version, when the storage cannot be read.
    pub fn checkpoint(&self, number: u64) -> Result<Checkpoint, Error> {
        self.read(number).map_err(|flaw| flaw.error(&checkpoint_name(number), &self.objects))
    }

    /// The newest intact one of `numbers`, and those above it that are not. None if one of them has gone meanwhile: then there are
    /// newer ones, and what is left below is no longer what to go on from.
    fn newest_of(&self, numbers: &[u64]) -> Result<(Option<Checkpoint>, Vec<Damaged>), Error> {
        let mut damaged = Vec::new();
        for &number in numbers.iter().rev() {
            match self.read(number) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(Flaw::Gone) => return Ok((None, damaged)),
                Err(Flaw::Damage(why)) => damaged.push(Damaged { name: checkpoint_name(number), why }),
                Err(flaw) => return Err(flaw.error(&checkpoint_name(number), &self.objects)),
            }
        }
        match damaged.is_empty() {
            true => Ok((None, damaged)),
            false => Err(Error::new(Kind::Damaged { place: self.objects.to_string(), damaged })),
        }
    }

    fn read(&self, number: u64) -> Result<Checkpoint, Flaw> {
        let manifest = self.manifest(number)?;
        let read = |pieces: &Vec<Piece>| pieces.iter().map(|piece| self.piece(piece)).collect();
        match manifest.kernels.iter().map(read).collect::<Result<_, Flaw>>() {
            Ok(kernels) => Checkpoint::of(manifest, kernels),
            // Data is deleted after what needs it.
            Err(Flaw::Damage(why)) => match self.manifest(number) {
                Err(Flaw::Gone) => Err(Flaw::Gone),
                _ => Err(Flaw::Damage(why)),
            },
            Err(flaw) => Err(flaw),
        }
    }

    fn manifest(&self, number: u64) -> Result<Manifest, Flaw> {
        let manifest = self.decode(&checkpoint_name(number))?;
        match manifest.number == number {
            true => Ok(manifest),
            false => Err(Flaw::Damage(format!("it is that of checkpoint {}", manifest.number))),
        }
    }

    fn decode(&self, name: &str) -> Result<Manifest, Flaw> {
        match self.objects.get(name, None)? {
            Some(Got::Bytes(bytes)) => Ok(Manifest::decode(&bytes)?),
            Some(Got::Size(_)) | None => Err(Flaw::Gone),
        }
    }

    fn piece(&self, piece: &Piece) -> Result<Vec<u8>, Flaw> {
        let (name, bytes, checksum) = match piece {
            Piece::Inline(bytes) => return plain(bytes.clone()),
            Piece::Stored { name, bytes, checksum } => (name, *bytes, *checksum),
        };
        let damage = |what: String| Err(Flaw::Damage(format!("{DATA}/{name} {what}")));
        match self.objects.get(&format!("{DATA}/{name}"), Some(bytes))? {
            None => damage(String::from("is not there")),
            Some(Got::Size(found)) => damage(format!("has {found} bytes and should have {bytes}")),
            Some(Got::Bytes(found)) if crc32fast::hash(&found) != checksum => {
                damage(String::from("is not what was written: its checksum does not match"))
            }
            Some(Got::Bytes(found)) => plain(found),
        }
    }

    /// A sound snapshot as it is stored.
    pub(crate) fn packed(&self, snapshot: Vec<u8>) -> Vec<u8> {
        #[cfg(feature = "lz4")]
        if self.is_compressed
            && let Ok(packed) = snapshot::compress(&snapshot)
        {
            return packed;
        }
        snapshot
    }

    /// Who needs which data: None if the manifest cannot tell, because it is damaged or gone.
    pub(crate) fn data_of(&self, number: u64) -> Result<Option<Vec<String>>, Error> {
        match self.manifest(number) {
            Ok(manifest) => Ok(Some(manifest.data().map(str::to_owned).collect())),
            Err(Flaw::Gone | Flaw::Damage(_)) => Ok(None),
            Err(flaw) => Err(flaw.error(&checkpoint_name(number), &self.objects)),
        }
    }

    /// Which attempt checkpoint `number` is and which one it goes on from, if it is there and can be told.
    pub(crate) fn attempts_at(&self, number: u64) -> Result<Option<(Attempt, Option<Attempt>)>, Error> {
        match self.manifest(number) {
            Ok(manifest) => Ok(Some((manifest.attempt, manifest.before))),
            Err(Flaw::Fatal(error)) => Err(error),
            Err(_) => Ok(None),
        }
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
            Put::Taken => match self.decode(&name) {
                Ok(found) if found.attempt == manifest.attempt => Ok(()),
                _ => Err(Error::label(label, "there is a savepoint of this name")),
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
            Some(Got::Bytes(bytes)) => Checkpoint::of_savepoint(&bytes),
            _ => Err(Flaw::Gone.error(&name, &self.objects)),
        }
    }

    /// The labels of all savepoints, sorted, and the bytes of each.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    pub fn savepoints(&self) -> Result<Vec<(String, u64)>, Error> {
        let mut savepoints = self.objects.list(SAVEPOINTS)?;
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
            false => Err(Flaw::Gone.error(&name, &self.objects)),
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

/// How often the list is read anew before it is given up.
const MOST_LOOKS: usize = 100;

//! A checkpoint as it is read: what is wrong with it, if anything is.

use std::fmt;

use floodmark::snapshot::{Chain, SnapshotId};
use floodmark::{RestoreError, Timestamp};

use crate::error::{Error, Kind};
use crate::manifest::{Attempt, MAGIC, Manifest, Piece, Stored, Unreadable, VERSION};
use crate::store::Store;
use crate::writer::{attempts_of_a_new_writer, now};

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
    /// What is stored of each kernel in the place that it was read from; none where the snapshots are in the manifest itself.
    pub(crate) stored: Vec<Option<Kernel>>,
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

/// What is stored of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) pieces: Vec<Piece>,
    /// Which snapshot the last of them is.
    pub(crate) last: SnapshotId,
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

    /// Whether these bytes begin with the magic number of a savepoint, or of a checkpoint's manifest.
    pub fn has_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Reads a savepoint that was copied out of a store: it is one file, and all there is of it.
    ///
    /// # Errors
    ///
    /// When it is none, is damaged, or is of a later version.
    pub fn of_savepoint(bytes: &[u8]) -> Result<Self, Error> {
        Self::of_savepoint_named("the savepoint", bytes)
    }

    pub(crate) fn of_savepoint_named(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let read = Manifest::decode(bytes).map_err(Flaw::from).and_then(|manifest| {
            if manifest.label.is_none() {
                let why =
                    "it is the manifest of a checkpoint, which needs the rest of its place, and no savepoint";
                return Err(Flaw::Damage(String::from(why)));
            }
            Self::of(manifest, |stored| Ok(Err(format!("it needs {}, which is not in it", stored.name))))
        });
        read.map_err(|flaw| flaw.error(name))
    }

    /// Puts one together of a manifest and what `read` finds of those snapshots that are not in it.
    pub(crate) fn of(
        manifest: Manifest,
        mut read: impl FnMut(&Stored) -> Result<Result<Vec<u8>, String>, Error>,
    ) -> Result<Self, Flaw> {
        let Manifest { number, label, taken, attempt, kernels: pieces, source, sink, .. } = manifest;
        let (mut kernels, mut stored) = (Vec::new(), Vec::new());
        for (kernel, pieces) in pieces.into_iter().enumerate() {
            let (mut snapshots, mut there) = (Vec::new(), Some(Vec::new()));
            for piece in pieces {
                let bytes = match piece {
                    Piece::Inline(bytes) => {
                        there = None;
                        bytes
                    }
                    Piece::Stored(of) => {
                        let bytes = read(&of)?.map_err(Flaw::Damage)?;
                        there.iter_mut().for_each(|there| there.push(Piece::Stored(of.clone())));
                        bytes
                    }
                };
                snapshots.push(plain(bytes).map_err(|error| Flaw::of_snapshot(kernel, error))?);
            }
            let chain: Vec<&[u8]> = snapshots.iter().map(Vec::as_slice).collect();
            let chain = Chain::read(&chain).map_err(|error| Flaw::of_snapshot(kernel, error))?;
            stored.push(there.map(|pieces| Kernel { pieces, last: chain.id() }));
            kernels.push(snapshots);
        }
        let taken = Timestamp::from_micros(taken);
        Ok(Self { number, label, taken, source, sink, kernels, attempt, stored })
    }

    /// All of it in one object.
    pub(crate) fn savepoint(&self, label: &str, store: &Store) -> Result<Manifest, Error> {
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
fn plain(bytes: Vec<u8>) -> Result<Vec<u8>, RestoreError> {
    #[cfg(feature = "lz4")]
    if let std::borrow::Cow::Owned(plain) = floodmark::snapshot::decompress(&bytes)? {
        return Ok(plain);
    }
    Ok(bytes)
}

/// Why a checkpoint is not read.
pub(crate) enum Flaw {
    /// It is not there, or not any more: another writer has gone on.
    Gone,
    /// Another may do.
    Damage(String),
    /// It is of a later version.
    Later(u16),
    /// To go back to another would lose what may well be intact.
    Fatal(Error),
}

impl From<Unreadable> for Flaw {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Damaged(why) => Self::Damage(why),
            Unreadable::Version(found) => Self::Later(found),
        }
    }
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl Flaw {
    fn of_snapshot(kernel: usize, error: RestoreError) -> Self {
        match error.is_version() || error.is_compressed() {
            true => Self::Fatal(Error::snapshot(kernel, error)),
            false => Self::Damage(format!("the snapshot of kernel {kernel}: {error}")),
        }
    }

    /// As the end of the matter.
    pub(crate) fn error(self, name: &str) -> Error {
        let name = name.to_owned();
        Error::new(match self {
            Self::Gone => Kind::Nothing { name },
            Self::Damage(why) => Kind::Damaged(Damaged { name, why }),
            Self::Later(found) => Kind::Version { name, found, newest: VERSION },
            Self::Fatal(error) => return error,
        })
    }
}

//! What can go wrong, told to people.

use std::fmt;
use std::path::Path;

use floodmark::RestoreError;

use crate::checkpoint::Damaged;

/// Why a checkpoint could not be stored or read.
pub struct Error {
    kind: Box<Kind>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Storage { tried: &'static str, name: String, error: object_store::Error },
    Folder { folder: String, error: String },
    Place { name: String, why: String },
    Conflict { place: String, number: u64 },
    Unclear { name: String },
    NotEmpty { place: String },
    Nothing { name: String },
    Damaged(Damaged),
    AllDamaged { place: String, damaged: Vec<Damaged> },
    Version { name: String, found: u16, newest: u16 },
    Snapshot { kernel: usize, error: RestoreError },
    Gap { kernel: usize },
    Label { label: String, why: &'static str },
    Other(String),
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind: Box::new(kind) }
    }

    pub(crate) fn storage(tried: &'static str, name: &str, error: object_store::Error) -> Self {
        Self::new(Kind::Storage { tried, name: name.to_owned(), error })
    }

    pub(crate) fn folder(folder: &Path, error: &std::io::Error) -> Self {
        Self::new(Kind::Folder { folder: folder.display().to_string(), error: error.to_string() })
    }

    pub(crate) fn place(name: &str, why: &object_store::path::Error) -> Self {
        Self::new(Kind::Place { name: name.to_owned(), why: why.to_string() })
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn threads(error: &std::io::Error) -> Self {
        Self::new(Kind::Other(format!("cannot start a thread that waits for the network: {error}")))
    }

    pub(crate) fn snapshot(kernel: usize, error: RestoreError) -> Self {
        Self::new(Kind::Snapshot { kernel, error })
    }

    pub(crate) fn label(label: &str, why: &'static str) -> Self {
        Self::new(Kind::Label { label: label.to_owned(), why })
    }

    /// Another writer has stored a checkpoint: this one must stop, and neither publish nor discard what it has prepared: the other one
    /// may have gone on from it.
    pub fn is_conflict(&self) -> bool {
        self.lost_to().is_some()
    }

    pub(crate) fn lost_to(&self) -> Option<u64> {
        match *self.kind {
            Kind::Conflict { number, .. } => Some(number),
            _ => None,
        }
    }

    /// The storage could not be reached, or refused. What was to be written may be there all the same: take a new snapshot, and save
    /// that.
    pub fn is_storage(&self) -> bool {
        matches!(*self.kind, Kind::Storage { .. } | Kind::Folder { .. } | Kind::Unclear { .. })
    }

    /// The checkpoint or savepoint is damaged, or all are that there are.
    pub fn is_damaged(&self) -> bool {
        matches!(*self.kind, Kind::Damaged(_) | Kind::AllDamaged { .. })
    }

    /// It was written by a later release.
    pub fn is_version(&self) -> bool {
        matches!(*self.kind, Kind::Version { .. })
    }

    /// There are checkpoints already, where a beginning was asked for.
    pub fn is_not_empty(&self) -> bool {
        matches!(*self.kind, Kind::NotEmpty { .. })
    }

    /// There is no checkpoint, or no such savepoint.
    pub fn is_nothing(&self) -> bool {
        matches!(*self.kind, Kind::Nothing { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            Kind::Storage { tried, name, error } => write!(f, "cannot {tried} {name}: {error}"),
            Kind::Folder { folder, error } => write!(f, "cannot use the folder {folder}: {error}"),
            Kind::Place { name, why } => write!(f, "{name:?} is no name for an object: {why}"),
            Kind::Conflict { place, number } => write!(
                f,
                "another writer has stored checkpoint {number} in {place}, which is at work there or has died since. What \
                 this one has done since its last checkpoint is not stored: stop it, and resume from the newest one"
            ),
            Kind::Unclear { name } => write!(
                f,
                "{name} may be written or not: the storage says that it is there, and does not show it. Try again; if it stays like \
                 this, the storage does not list what it holds"
            ),
            Kind::NotEmpty { place } => {
                write!(f, "{place} holds checkpoints already: resume from them, or choose another place")
            }
            Kind::Nothing { name } => write!(f, "there is no {name}"),
            Kind::Damaged(damaged) => write!(f, "{damaged}; restore it from a copy, or take another"),
            Kind::AllDamaged { place, damaged } => {
                write!(f, "nothing in {place} is intact:")?;
                damaged.iter().try_for_each(|damaged| write!(f, " {damaged};"))?;
                f.write_str(" restore one of them from a copy, or choose another place to start afresh")
            }
            Kind::Version { name, found, newest } => write!(
                f,
                "{name} is of version {found} of the format, and this release reads versions up to {newest}: use the \
                 release that wrote it, or a later one"
            ),
            Kind::Snapshot { kernel, error } => {
                write!(f, "the snapshot of kernel {kernel} is of no use: {error}")
            }
            Kind::Gap { kernel } => write!(
                f,
                "what was given as the snapshot of kernel {kernel} holds the changes since another than the last one \
                 that is stored: take those since what `Writer::since` says"
            ),
            Kind::Label { label, why } => write!(f, "{label:?} cannot be the label of a savepoint: {why}"),
            Kind::Other(what) => f.write_str(what),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.kind {
            Kind::Storage { error, .. } => Some(error),
            Kind::Snapshot { error, .. } => Some(error),
            _ => None,
        }
    }
}

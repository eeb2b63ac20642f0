//! Everything a run needs to go on, stored together in a place of [`floodmark_checkpoint`].
//!
//! A checkpoint's source is a version and [`Frozen`], its sink [`Written`], both as postcard; it has one kernel.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use floodmark::Partition;
use floodmark::snapshot::SnapshotProgress;
use floodmark_checkpoint::{Checkpoint, Resumed, Saved, State, Store, Writer};
use serde::{Deserialize, Serialize};

use crate::args::{InputArgs, NOT_GIVEN, RunArgs};
use crate::error::{Stop, say};
use crate::input::{Kind, Position, name_of};
use crate::row::PartitionName;
use crate::run::Kernel;
use crate::time::Unit;

/// Of what this command adds to the kernel's state.
const VERSION: u16 = 1;

/// How many snapshots of changes follow a full one.
const CHANGES: usize = 4;

/// A run between two rows, without its kernel and its outputs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Frozen {
    /// Whether the input had been read to its end.
    pub(crate) done: bool,
    /// [`crate::args::RunArgs::settings`], to be compared.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) progress: Progress,
    pub(crate) partitions: Vec<(PartitionName, Partition)>,
}

/// Where a run is in its input, and what it has found out there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) position: Position,
    pub(crate) bad_rows: u64,
    pub(crate) unit: Unit,
    /// What the values of the first file were, from its first block on.
    pub(crate) kinds: Option<Vec<(String, Kind)>>,
}

/// What a run has written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Bytes of the results, the late rows and the bad rows.
    pub(crate) lengths: [u64; 3],
    /// The columns in the header of the late rows.
    pub(crate) late_columns: Option<Vec<String>>,
}

/// What tells one input from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    path: String,
    /// None for standard input and other pipes.
    bytes: Option<u64>,
}

impl Input {
    pub(crate) fn all(args: &InputArgs) -> Result<Vec<Self>, Stop> {
        args.files.iter().map(|path| Self::of(path)).collect()
    }

    fn of(path: &Path) -> Result<Self, Stop> {
        if path == Path::new("-") {
            return Ok(Self { path: name_of(path), bytes: None });
        }
        let found = fs::metadata(path).and_then(|found| Ok((found, std::path::absolute(path)?)));
        let (found, path) = found.map_err(|error| Stop::io("read", path, &error))?;
        Ok(Self { path: path.display().to_string(), bytes: found.is_file().then_some(found.len()) })
    }
}

impl Frozen {
    /// Refuses to go on with a run that is not the same, saying in what it differs.
    pub(crate) fn check(
        &self,
        place: &Place,
        settings: &[(String, String)],
        inputs: &[Input],
    ) -> Result<(), Stop> {
        let refused = |difference: String| {
            Stop::Failed(format!(
                "the checkpoint in {place} belongs to another run: {difference}. Give the same arguments, or another \
                 folder to start afresh"
            ))
        };
        for ((name, then), (_, now)) in self.settings.iter().zip(settings) {
            // A run that a bad row stopped may go on with a file for such rows.
            if then != now && (name.as_str(), then.as_str()) != ("errors", NOT_GIVEN) {
                return Err(refused(format!("--{name} was {then}, now it is {now}")));
            }
        }
        if self.inputs.len() != inputs.len() {
            return Err(refused(format!(
                "it read {} files, now there are {}",
                self.inputs.len(),
                inputs.len()
            )));
        }
        for (then, now) in self.inputs.iter().zip(inputs) {
            if then.path != now.path {
                return Err(refused(format!("it read {}, where now there is {}", then.path, now.path)));
            }
            if then.bytes != now.bytes {
                let size =
                    |bytes: Option<u64>| bytes.map_or_else(|| "a pipe".into(), |n| format!("{n} bytes"));
                let (path, then, now) = (&then.path, size(then.bytes), size(now.bytes));
                return Err(refused(format!("{path} was {then}, now it is {now}")));
            }
        }
        Ok(())
    }
}

/// Where checkpoints are: a folder, or `s3://BUCKET/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Folder(PathBuf),
    Bucket(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None => Ok(Self::Folder(text.into())),
            Some(("s3", _)) if cfg!(feature = "s3") => Ok(Self::Bucket(text.into())),
            Some(("s3", _)) => Err(String::from(
                "this floodmark was built without S3: install it with the feature `s3`, or give a folder",
            )),
            Some((scheme, _)) => {
                Err(format!("{scheme}:// is no place for checkpoints: give a folder or s3://BUCKET/PREFIX"))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket(url) => f.write_str(url),
        }
    }
}

impl Place {
    /// The store there; a folder is made if it is not there.
    pub(crate) fn open(&self) -> Result<Store, Stop> {
        let opened = match self {
            Self::Folder(path) => Store::folder(path),
            #[cfg(feature = "s3")]
            Self::Bucket(url) => Store::s3(url),
            #[cfg(not(feature = "s3"))]
            Self::Bucket(_) => return Err(Stop::Usage(String::from("this floodmark was built without S3"))),
        };
        Ok(opened.map_err(failed)?.changes(CHANGES).compressed())
    }

    /// Keeps other runs of this machine out until it is dropped, or the process ends in whatever way: a folder only. (Who stores a
    /// checkpoint second would be told anyway; but until then two would write to the same outputs.)
    pub(crate) fn lock(&self) -> Result<Option<File>, Stop> {
        let Self::Folder(folder) = self else { return Ok(None) };
        let path = folder.join("lock");
        let file = File::create(&path).map_err(|error| Stop::io("lock", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(Stop::Failed(format!(
                "another run is at work in {self}: wait for it, or give another folder"
            ))),
            Err(TryLockError::Error(error)) => Err(Stop::io("lock", &path, &error)),
        }
    }

    /// The store that must be there.
    pub(crate) fn existing(&self) -> Result<Store, Stop> {
        match self {
            Self::Folder(path) if !path.is_dir() => {
                Err(Stop::Failed(format!("there is no folder {}", path.display())))
            }
            _ => self.open(),
        }
    }
}

/// An error of the store as the end of the command.
pub(crate) fn failed(error: floodmark_checkpoint::Error) -> Stop {
    Stop::Failed(error.to_string())
}

/// A checkpoint, decoded but for the kernel.
pub(crate) struct Loaded {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) frozen: Frozen,
    pub(crate) written: Written,
}

/// Stores a run now and then.
#[derive(Debug)]
pub(crate) struct Saver {
    writer: Writer,
    quiet: bool,
    _lock: Option<File>,
}

impl Saver {
    /// The place that was given, and what is to be resumed from it, if `check` admits that.
    pub(crate) fn open(
        args: &RunArgs,
        place: &Place,
        check: impl Fn(&Frozen) -> Result<(), Stop>,
    ) -> Result<(Self, Option<Loaded>), Stop> {
        let store = place.open()?.keep(args.checkpoint_keep);
        let (lock, quiet) = (place.lock()?, args.input.quiet);
        if !args.resume {
            let writer = store.begin().map_err(|error| match error.is_not_empty() {
                true => Stop::Failed(format!(
                    "{place} already holds a checkpoint: go on from it with --resume, or give another folder"
                )),
                false => failed(error),
            })?;
            return Ok((Self { writer, quiet, _lock: lock }, None));
        }
        let Resumed { writer, checkpoint, damaged } = match &args.savepoint {
            Some(savepoint) => {
                let savepoint = find(&store, savepoint)?;
                // It becomes the newest checkpoint, so it must be the right one before.
                check(&Loaded::of(savepoint.clone(), place)?.frozen)?;
                store.resume_from(savepoint)
            }
            None => store.resume(),
        }
        .map_err(failed)?;
        for damaged in &damaged {
            say(format!("{damaged}; going on from a checkpoint before it"));
        }
        let loaded = checkpoint.map(|checkpoint| Loaded::of(checkpoint, place)).transpose()?;
        loaded.iter().try_for_each(|loaded| check(&loaded.frozen))?;
        Ok((Self { writer, quiet, _lock: lock }, loaded))
    }

    /// Stores the run as it is, if the storage answers; if it does not, and this is not the end of the run, there will be another time. What
    /// it says of files must be on the disk already.
    pub(crate) fn save(
        &mut self,
        kernel: &mut Kernel,
        (frozen, written): (&Frozen, &Written),
        is_last: bool,
    ) -> Result<(), Stop> {
        let mut snapshot = Vec::new();
        let begun = kernel.begin_snapshot(self.writer.since(0));
        begun.map_err(|error| Stop::Failed(error.to_string()))?;
        while kernel.write_snapshot(usize::MAX, &mut snapshot) == SnapshotProgress::More {}
        let encoded = |error| Stop::Failed(format!("cannot encode the checkpoint: {error}"));
        let source = postcard::to_allocvec(&(VERSION, frozen)).map_err(encoded)?;
        let sink = postcard::to_allocvec(written).map_err(encoded)?;
        let state = State { kernels: vec![snapshot], source, sink };
        match self.writer.save(state) {
            Ok(Saved { undeleted: Some(error), .. }) if !self.quiet => {
                say(format!("an old checkpoint stays for now: {error}"));
            }
            Ok(_) => {}
            Err(error) if error.is_storage() && !is_last => {
                say(format!("no checkpoint this time: {error}; going on, until the next one is due"));
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }
}

/// A savepoint by its label or, with a slash in it, the path of its file.
fn find(store: &Store, savepoint: &str) -> Result<Checkpoint, Stop> {
    if !savepoint.contains(std::path::is_separator) {
        return store.savepoint(savepoint).map_err(failed);
    }
    let bytes = fs::read(savepoint).map_err(|error| Stop::io("read", Path::new(savepoint), &error))?;
    Checkpoint::of_savepoint(&bytes).map_err(|error| Stop::Failed(format!("{savepoint}: {error}")))
}

impl Loaded {
    fn of(checkpoint: Checkpoint, place: &Place) -> Result<Self, Stop> {
        let refused = |why: String| {
            let number = checkpoint.number;
            Stop::Failed(format!("checkpoint {number} in {place} {why}: resume it with what wrote it"))
        };
        let decoded = |error| refused(format!("was not written by this command ({error})"));
        let (version, rest) = postcard::take_from_bytes::<u16>(&checkpoint.source).map_err(decoded)?;
        if checkpoint.kernels() != 1 {
            return Err(refused(format!("has {} kernels, and a run has one", checkpoint.kernels())));
        }
        if version != VERSION {
            return Err(refused(format!("is of version {version} of this command, not {VERSION}")));
        }
        let frozen = postcard::from_bytes(rest).map_err(decoded)?;
        let written = postcard::from_bytes(&checkpoint.sink).map_err(decoded)?;
        Ok(Self { checkpoint, frozen, written })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named() {
        let saved = Frozen {
            done: false,
            settings: vec![("window".into(), "tumbling:1h".into())],
            inputs: vec![Input { path: "a.csv".into(), bytes: Some(7) }],
            progress: Progress {
                position: Position { file: 1, rows: 300 },
                bad_rows: 2,
                unit: Unit::Ms,
                kinds: Some(vec![("a".into(), Kind::Number)]),
            },
            partitions: Vec::new(),
        };
        let place = Place::Folder("dir".into());
        let other = [("window".to_owned(), "tumbling:2h".to_owned())];
        let Err(Stop::Failed(message)) = saved.check(&place, &other, &saved.inputs) else {
            panic!("not refused")
        };
        assert!(message.contains("--window was tumbling:1h, now it is tumbling:2h"), "{message}");
        let longer = [Input { path: "a.csv".into(), bytes: Some(8) }];
        assert!(saved.check(&place, &saved.settings, &longer).is_err());
        assert!(saved.check(&place, &saved.settings, &saved.inputs).is_ok());
    }

    #[test]
    fn places_are_folders_and_buckets() {
        assert_eq!("a/b".parse(), Ok(Place::Folder("a/b".into())));
        assert!("ftp://x".parse::<Place>().unwrap_err().contains("ftp:// is no place"));
        let bucket = "s3://bucket/a/b".parse::<Place>();
        match cfg!(feature = "s3") {
            true => assert_eq!(bucket, Ok(Place::Bucket("s3://bucket/a/b".into()))),
            false => assert!(bucket.unwrap_err().contains("the feature `s3`")),
        }
    }
}

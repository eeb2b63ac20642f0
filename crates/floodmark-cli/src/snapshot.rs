//! Looking at snapshots of the kernel, and making others of them: of checkpoints and savepoints, this command's and any program's.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use floodmark::snapshot::{Chain, decompress};
use floodmark_checkpoint::{Checkpoint, Saved, Store};

use crate::args::{SavepointCommand, SnapshotCommand, SnapshotFiles};
use crate::checkpoint::{Place, failed};
use crate::error::{Stop, say};

/// `floodmark snapshot`.
pub(crate) fn run(command: &SnapshotCommand) -> Result<(), Stop> {
    match command {
        SnapshotCommand::Inspect(files) => {
            let read = Read::of(files)?;
            let summary = read.chain()?.summary().map_err(|error| read.refused(&error))?;
            print(&format!("{}{summary}", read.about))
        }
        SnapshotCommand::Verify(files) => match &files.files[..] {
            [place] if !is_file(place) => verify_all(place),
            _ => verify(&Read::of(files)?),
        },
        SnapshotCommand::Compact { files, output: Some(output) } => {
            let read = Read::of(files)?;
            write_new(output, &read.chain()?.compact())
        }
        SnapshotCommand::Compact { files, output: None } => match &files.files[..] {
            [place] if !is_file(place) => compact_in_place(place),
            _ => Err(Stop::Usage(String::from("--output says where the new snapshot goes: give it a file"))),
        },
        SnapshotCommand::Split { files, parts, output } => {
            let read = Read::of(files)?;
            let split = read.chain()?.split(*parts).map_err(|error| read.refused(&error))?;
            for (number, part) in split.iter().enumerate() {
                let mut path = output.as_os_str().to_owned();
                path.push(format!(".{number}"));
                write_new(Path::new(&path), part)?;
            }
            Ok(())
        }
        SnapshotCommand::Merge { files, output } => {
            let parts = files.files.iter().map(|place| Read::one(place, files.kernel));
            let parts = parts.collect::<Result<Vec<Read>, Stop>>()?;
            let chains = parts.iter().map(Read::chain).collect::<Result<Vec<Chain<'_>>, Stop>>()?;
            let merged = Chain::merge(&chains).map_err(|error| Stop::Failed(error.to_string()))?;
            write_new(output, &merged)
        }
    }
}

/// `floodmark savepoint`.
pub(crate) fn savepoint(command: &SavepointCommand) -> Result<(), Stop> {
    match command {
        SavepointCommand::Create { place, label } => {
            let store = place.existing()?;
            let checkpoint = newest(&store, place)?;
            store.create_savepoint(label, &checkpoint).map_err(failed)?;
            print(&format!("{label}: a copy of checkpoint {}", checkpoint.number))
        }
        SavepointCommand::List { place } => {
            let savepoints = place.existing()?.savepoints().map_err(failed)?;
            savepoints.iter().try_for_each(|(label, bytes)| print(&format!("{label}: {bytes} bytes")))
        }
        SavepointCommand::Delete { place, label } => {
            place.existing()?.delete_savepoint(label).map_err(failed)
        }
    }
}

/// The snapshots of a kernel, and where they were.
struct Read {
    name: String,
    snapshots: Vec<Vec<u8>>,
    /// What there is to say of them but what is in them.
    about: String,
}

impl Read {
    /// All in one chain.
    fn of(SnapshotFiles { files, kernel }: &SnapshotFiles) -> Result<Self, Stop> {
        let mut parts = files.iter().map(|place| Self::one(place, *kernel)).collect::<Result<Vec<_>, _>>()?;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        Ok(Self {
            name: parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", "),
            snapshots: parts.into_iter().flat_map(|part| part.snapshots).collect(),
            about: String::new(),
        })
    }

    /// A file, or the newest checkpoint of a place.
    fn one(place: &Place, kernel: Option<usize>) -> Result<Self, Stop> {
        let name = place.to_string();
        let checkpoint = match place {
            Place::Folder(path) if is_file(place) => {
                let bytes = fs::read(path).map_err(|error| Stop::io("read", path, &error))?;
                if !Checkpoint::has_magic(&bytes) {
                    let plain =
                        decompress(&bytes).map_err(|error| Stop::Failed(format!("{name}: {error}")))?;
                    return Ok(Self { name, snapshots: vec![plain.into_owned()], about: String::new() });
                }
                Checkpoint::of_savepoint(&bytes).map_err(|error| Stop::Failed(format!("{name}: {error}")))?
            }
            _ => newest(&place.existing()?, place)?,
        };
        let about = format!("{}\n", about(&checkpoint));
        let kernel = match (kernel, checkpoint.kernels()) {
            (Some(kernel), count) if kernel < count => kernel,
            (None, 1) => 0,
            (_, count) => {
                let why =
                    format!("{name} has snapshots of {count} kernels: choose one with --kernel, from 0 on");
                return Err(Stop::Usage(why));
            }
        };
        let snapshots = checkpoint.snapshots(kernel).into_iter().map(<[u8]>::to_vec).collect();
        Ok(Self { name, snapshots, about })
    }

    fn chain(&self) -> Result<Chain<'_>, Stop> {
        let bytes: Vec<&[u8]> = self.snapshots.iter().map(Vec::as_slice).collect();
        Chain::read(&bytes).map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &floodmark::RestoreError) -> Stop {
        Stop::Failed(format!("{}: {error}", self.name))
    }
}

/// Whether it is a file, or at least no folder.
fn is_file(place: &Place) -> bool {
    matches!(place, Place::Folder(path) if !path.is_dir())
}

fn newest(store: &Store, place: &Place) -> Result<Checkpoint, Stop> {
    let (checkpoint, damaged) = store.newest().map_err(failed)?;
    damaged.iter().for_each(say);
    checkpoint.ok_or_else(|| Stop::Failed(format!("there is no checkpoint in {place}")))
}

fn about(checkpoint: &Checkpoint) -> String {
    let Checkpoint { number, label, taken, source, sink, .. } = checkpoint;
    let what = match label {
        Some(label) => format!("savepoint {label} of checkpoint {number}"),
        None => format!("checkpoint {number}"),
    };
    let kernels = (0..checkpoint.kernels()).map(|kernel| checkpoint.snapshots(kernel));
    let (mut count, mut bytes) = (0, source.len() + sink.len());
    kernels.flatten().for_each(|snapshot| (count, bytes) = (count + 1, bytes + snapshot.len()));
    format!("{what} of {taken}: {}, {bytes} bytes", snapshots(count))
}

fn snapshots(count: usize) -> String {
    format!("{count} {}", if count == 1 { "snapshot" } else { "snapshots" })
}

/// Checks snapshots down to what is inside of their sections, which is read only when it is asked for.
fn verify(read: &Read) -> Result<(), Stop> {
    read.chain()?.summary().map_err(|error| read.refused(&error))?;
    let bytes: usize = read.snapshots.iter().map(Vec::len).sum();
    print(&format!("{bytes} bytes in {}: sound", snapshots(read.snapshots.len())))
}

/// Checks all checkpoints and savepoints of a place, and says so of each.
fn verify_all(place: &Place) -> Result<(), Stop> {
    let store = place.existing()?;
    let mut unsound = 0;
    let mut tell = |name: String, read: Result<Checkpoint, floodmark_checkpoint::Error>| {
        if read.as_ref().is_err_and(floodmark_checkpoint::Error::is_nothing) {
            // A run that is at work has deleted it meanwhile.
            return Ok(());
        }
        let read = read.map_err(|error| error.to_string()).and_then(|checkpoint| {
            let check = |kernel| checkpoint.chain(kernel)?.summary();
            (0..checkpoint.kernels())
                .try_for_each(|kernel| check(kernel).map(drop))
                .map_err(|error| error.to_string())?;
            Ok(about(&checkpoint))
        });
        match read {
            Ok(about) => print(&format!("{about}: sound")),
            Err(error) => {
                unsound += 1;
                print(&format!("{name}: {error}"))
            }
        }
    };
    for number in store.numbers().map_err(failed)? {
        tell(format!("checkpoint {number}"), store.checkpoint(number))?;
    }
    for (label, _) in store.savepoints().map_err(failed)? {
        tell(format!("savepoint {label}"), store.savepoint(&label))?;
    }
    match unsound {
        0 => Ok(()),
        _ => Err(Stop::Failed(format!("{unsound} of what is in {place} is not sound"))),
    }
}

fn compact_in_place(place: &Place) -> Result<(), Stop> {
    let store = place.existing()?;
    let _lock = place.lock()?;
    match store.compact().map_err(failed)? {
        Some(Saved { number, .. }) => print(&format!("compacted as checkpoint {number}")),
        None => print("there is nothing to compact"),
    }
}

/// Writes a file that is not there yet: a snapshot is not written over by mistake.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    let write = || {
        let mut file = fs::File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| Stop::io("write", path, &error))
}

fn print(text: &str) -> Result<(), Stop> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::OutputClosed),
        Err(error) => Err(Stop::Failed(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

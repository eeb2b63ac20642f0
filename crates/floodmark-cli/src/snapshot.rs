//! Looking at snapshots of the kernel, and making others of them: of this command's checkpoints and of any program's.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use floodmark::snapshot::Chain;

use crate::args::{SnapshotCommand, SnapshotFiles};
use crate::checkpoint::Folder;
use crate::error::Stop;

pub(crate) fn run(command: &SnapshotCommand) -> Result<(), Stop> {
    match command {
        SnapshotCommand::Inspect(files) => {
            let read = Read::of(files)?;
            let chain = read.chain()?;
            let summary = chain.summary().map_err(|error| read.refused(&error))?;
            print(&summary.to_string())
        }
        SnapshotCommand::Verify(files) => {
            let read = Read::of(files)?;
            // What is inside of a section is read only when it is asked for.
            read.chain()?.summary().map_err(|error| read.refused(&error))?;
            let bytes: usize = read.snapshots.iter().map(Vec::len).sum();
            print(&format!("{bytes} bytes in {} files: sound", read.snapshots.len()))
        }
        SnapshotCommand::Compact { files, output } => {
            let read = Read::of(files)?;
            write_new(output, &read.chain()?.compact())
        }
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
            let read = Read::of(files)?;
            let parts: Result<Vec<Chain<'_>>, Stop> = (read.snapshots.iter())
                .map(|bytes| Chain::read(&[bytes]).map_err(|error| read.refused(&error)))
                .collect();
            let merged = Chain::merge(&parts?).map_err(|error| read.refused(&error))?;
            write_new(output, &merged)
        }
    }
}

/// Snapshots, and where they were.
struct Read {
    names: String,
    snapshots: Vec<Vec<u8>>,
}

impl Read {
    fn of(SnapshotFiles { files }: &SnapshotFiles) -> Result<Self, Stop> {
        let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        let snapshots: Result<Vec<Vec<u8>>, Stop> = files.iter().map(|path| snapshot_in(path)).collect();
        Ok(Self { names: names.join(", "), snapshots: snapshots? })
    }

    fn chain(&self) -> Result<Chain<'_>, Stop> {
        let bytes: Vec<&[u8]> = self.snapshots.iter().map(Vec::as_slice).collect();
        Chain::read(&bytes).map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &floodmark::RestoreError) -> Stop {
        Stop::Failed(format!("{}: {error}", self.names))
    }
}

/// The snapshot that a file is, or that is in a folder of `run --checkpoint`.
fn snapshot_in(path: &Path) -> Result<Vec<u8>, Stop> {
    if !path.is_dir() {
        return fs::read(path).map_err(|error| Stop::io("read", path, &error));
    }
    let checkpoint = Folder::open(path)?.load()?;
    let none = || Stop::Failed(format!("there is no checkpoint in {}", path.display()));
    Ok(checkpoint.ok_or_else(none)?.kernel)
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

//! Everything a run needs to go on, in one file that is replaced as a whole.
//!
//! The file: 8 bytes of magic, a version (u32), the length of the rest (u64) and its CRC-32 (u32), all
//! little-endian, then [`Checkpoint`] as postcard. It is written beside the old one, synced, and renamed
//! over it; so whenever the process dies, the folder holds a complete checkpoint or none.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use floodmark::Partition;
use serde::{Deserialize, Serialize};

use crate::args::{InputArgs, NOT_GIVEN};
use crate::error::Stop;
use crate::input::{Kind, Position, name_of};
use crate::output::sync_folder;
use crate::row::PartitionName;
use crate::time::Unit;

const MAGIC: [u8; 8] = *b"FLOODCLI";
const VERSION: u32 = 1;
const FRAME_BYTES: usize = 8 + 4 + 8 + 4;
const FILE: &str = "checkpoint";

/// A run, frozen between two rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Whether the input had been read to its end.
    pub(crate) done: bool,
    /// [`crate::args::RunArgs::settings`], to be compared.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) progress: Progress,
    pub(crate) partitions: Vec<(PartitionName, Partition)>,
    /// Bytes of the results, the late rows and the bad rows.
    pub(crate) lengths: [u64; 3],
    /// The columns in the header of the late rows.
    pub(crate) late_columns: Option<Vec<String>>,
    /// The kernel's own snapshot, which checks itself.
    pub(crate) kernel: Vec<u8>,
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

impl Checkpoint {
    /// Refuses to go on with a run that is not the same, saying in what it differs.
    pub(crate) fn check(
        &self,
        folder: &Path,
        settings: &[(String, String)],
        inputs: &[Input],
    ) -> Result<(), Stop> {
        let refused = |difference: String| {
            Stop::Failed(format!(
                "the checkpoint in {} belongs to another run: {difference}. Give the same arguments, or another \
                 folder to start afresh",
                folder.display()
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

/// The folder that holds a checkpoint.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, Stop> {
        fs::create_dir_all(path).map_err(|error| Stop::io("make the folder", path, &error))?;
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint, if there is one.
    pub(crate) fn load(&self) -> Result<Option<Checkpoint>, Stop> {
        let path = self.path.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => decode(&bytes).map(Some).map_err(|problem| {
                Stop::Failed(format!(
                    "{} {problem}. Restore it, or remove it to start afresh",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Stop::io("read", &path, &error)),
        }
    }

    /// Replaces the checkpoint. What it says of other files must be on the disk already.
    pub(crate) fn save(&self, checkpoint: &Checkpoint) -> Result<(), Stop> {
        let (path, beside) = (self.path.join(FILE), self.path.join("checkpoint.new"));
        let bytes = encode(checkpoint)
            .map_err(|error| Stop::Failed(format!("cannot encode the checkpoint: {error}")))?;
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            sync_folder(&path)
        };
        write().map_err(|error| Stop::io("save", &path, &error))
    }
}

fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, postcard::Error> {
    let payload = postcard::to_allocvec(checkpoint)?;
    let mut bytes = Vec::with_capacity(FRAME_BYTES + payload.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Checkpoint, String> {
    let Some((frame, payload)) = bytes.split_at_checked(FRAME_BYTES) else {
        return Err(format!("is no checkpoint: it has only {} bytes", bytes.len()));
    };
    let number = |range: std::ops::Range<usize>| {
        frame[range].iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
    };
    if frame[..8] != MAGIC {
        return Err(String::from("is no checkpoint of floodmark"));
    }
    let (version, length, checksum) = (number(8..12), number(12..20), number(20..24));
    if version != u64::from(VERSION) {
        return Err(format!("has format version {version}; this floodmark reads version {VERSION}"));
    }
    if length != payload.len() as u64 {
        return Err(format!("is truncated: it should go on for {length} bytes and has {}", payload.len()));
    }
    if checksum != u64::from(crc32fast::hash(payload)) {
        return Err(String::from("is damaged: its checksum does not match"));
    }
    postcard::from_bytes(payload).map_err(|error| format!("cannot be decoded: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
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
            lengths: [1, 2, 3],
            late_columns: None,
            kernel: vec![1, 2, 3],
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let bytes = encode(&checkpoint()).unwrap();
        assert_eq!(decode(&bytes).unwrap().progress.position, Position { file: 1, rows: 300 });
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit} flipped");
        }
    }

    #[test]
    fn a_difference_is_named() {
        let saved = checkpoint();
        let other = [("window".to_owned(), "tumbling:2h".to_owned())];
        let Err(Stop::Failed(message)) = saved.check(Path::new("dir"), &other, &saved.inputs) else {
            panic!("not refused")
        };
        assert!(message.contains("--window was tumbling:1h, now it is tumbling:2h"), "{message}");
        let longer = [Input { path: "a.csv".into(), bytes: Some(8) }];
        assert!(saved.check(Path::new("dir"), &saved.settings, &longer).is_err());
        assert!(saved.check(Path::new("dir"), &saved.settings, &saved.inputs).is_ok());
    }
}

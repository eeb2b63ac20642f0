//! What makes objects a checkpoint: the format, and the names.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const DATA: &str = "data";
pub(crate) const SAVEPOINTS: &str = "savepoints";

pub(crate) const MAGIC: [u8; 8] = *b"FLOODCKP";
/// The newest version of the format, and the only one so far.
pub(crate) const VERSION: u16 = 1;
const FRAME_BYTES: usize = 8 + 2 + 8 + 4;

/// A checkpoint, or a savepoint, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    /// Of a savepoint.
    pub(crate) label: Option<String>,
    /// When it was written, in microseconds since 1970.
    pub(crate) taken: i64,
    /// What tells this attempt at writing it from all others.
    pub(crate) attempt: Attempt,
    /// The attempt that the checkpoint or savepoint was that it goes on from.
    pub(crate) before: Option<Attempt>,
    /// The snapshots of each kernel, in the order in which they were taken.
    pub(crate) kernels: Vec<Vec<Piece>>,
    #[serde(with = "serde_bytes")]
    pub(crate) source: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(crate) sink: Vec<u8>,
}

/// Who tried, and which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// A random number for each writer.
    pub(crate) writer: u64,
    pub(crate) count: u32,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piece {
    Stored(Stored),
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// A snapshot that is an object of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Among the data.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Damaged(String),
    Version(u16),
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let payload = postcard::to_allocvec(self).expect("nothing in it is refused, and a vector grows");
        let mut bytes = Vec::with_capacity(FRAME_BYTES + payload.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(checksum(&bytes, &payload).to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |why: Cow<'static, str>| Unreadable::Damaged(why.into_owned());
        let (frame, payload) = bytes
            .split_first_chunk::<FRAME_BYTES>()
            .ok_or_else(|| damaged(format!("it has only {} bytes", bytes.len()).into()))?;
        let [magic @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _] = frame;
        if *magic != MAGIC {
            return Err(damaged("it does not begin like one".into()));
        }
        let number = |from: usize, to: usize| {
            frame[from..to].iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let (version, length, stored) = (number(8, 10), number(10, 18), number(18, 22));
        if length != payload.len() as u64 {
            let why = format!("it should go on for {length} bytes and has {}", payload.len());
            return Err(damaged(why.into()));
        }
        if stored != u64::from(checksum(&frame[..18], payload)) {
            return Err(damaged("its checksum does not match".into()));
        }
        // (All versions have this frame, so a version is believed only after the checksum.)
        if version != u64::from(VERSION) {
            return Err(Unreadable::Version(version as u16));
        }
        match postcard::take_from_bytes(payload) {
            Ok((manifest, [])) => Self::check(manifest),
            Ok(_) => Err(damaged("something follows it".into())),
            Err(error) => Err(damaged(format!("it cannot be decoded: {error}").into())),
        }
    }

    /// That its names are those of data, and no data is read twice.
    fn check(self) -> Result<Self, Unreadable> {
        let mut names = BTreeSet::new();
        for name in self.data() {
            if number_of_data(name).is_none() || !names.insert(name) {
                return Err(Unreadable::Damaged(format!("{name:?} is no name of data, or comes twice")));
            }
        }
        Ok(self)
    }

    /// The names of the data that it needs.
    pub(crate) fn data(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().flatten().filter_map(|piece| match piece {
            Piece::Stored(stored) => Some(stored.name.as_str()),
            Piece::Inline(_) => None,
        })
    }
}

fn checksum(frame: &[u8], payload: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(frame);
    checksum.update(payload);
    checksum.finalize()
}

/// No checkpoint has a larger number.
pub(crate) const LAST: u64 = u64::MAX / 2;

/// The object that is checkpoint `number`. Names sort as numbers do.
pub(crate) fn checkpoint_name(number: u64) -> String {
    format!("{CHECKPOINTS}/{number:020}")
}

/// The number of a checkpoint by the last part of its name; None for what is no checkpoint.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let is_number = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|&number| is_number && number <= LAST)
}

/// The last part of the name of a snapshot, written for checkpoint `number`.
pub(crate) fn data_name(number: u64, attempt: Attempt, kernel: usize) -> String {
    let Attempt { writer, count } = attempt;
    format!("{number:020}-{writer:016x}-{count}-{kernel}")
}

/// The checkpoint that data was written for.
pub(crate) fn number_of_data(name: &str) -> Option<u64> {
    let (number, rest) = name.split_once('-')?;
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    number_of(number).filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(name: &str) -> Piece {
        Piece::Stored(Stored { name: name.into(), bytes: 300, checksum: 5 })
    }

    fn manifest() -> Manifest {
        Manifest {
            number: 7,
            label: Some("before the move".into()),
            taken: 1_700_000_000_000_000,
            attempt: Attempt { writer: 0xfeed, count: 2 },
            before: Some(Attempt { writer: 0xbeef, count: 1 }),
            kernels: vec![
                vec![
                    stored(&data_name(7, Attempt { writer: 0xfeed, count: 2 }, 0)),
                    Piece::Inline(vec![1, 2]),
                ],
                vec![],
            ],
            source: vec![9; 3],
            sink: vec![],
        }
    }

    #[test]
    fn every_truncation_every_flipped_bit_and_every_byte_more_is_noticed() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest());
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_err(), "bit {bit} flipped");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Manifest::decode(&longer).is_err());
    }

    #[test]
    fn names_that_lead_elsewhere_or_come_twice_are_damage() {
        let name = data_name(7, Attempt { writer: 1, count: 2 }, 0);
        let parent = format!("{:020}-/../../x", 7);
        for names in [&["a"][..], &["../x"], &[""], &[&parent], &[&format!("{name}#1")], &[&name, &name]] {
            let kernels = vec![names.iter().map(|name| stored(name)).collect()];
            let encoded = Manifest { kernels, ..manifest() }.encode();
            let Err(Unreadable::Damaged(why)) = Manifest::decode(&encoded) else { panic!("{names:?}") };
            assert!(why.contains("is no name of data"), "{why}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = manifest().encode();
        bytes[8] = 2;
        assert!(matches!(Manifest::decode(&bytes), Err(Unreadable::Damaged(_))));
        let checksum = checksum(&bytes[..18], &bytes[FRAME_BYTES..]);
        bytes[18..22].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Manifest::decode(&bytes), Err(Unreadable::Version(2)));
    }

    #[test]
    fn names_sort_like_numbers_and_give_them_back() {
        let attempt = Attempt { writer: 3, count: 1 };
        for number in [0, 9, 10, u64::MAX / 2] {
            let name = checkpoint_name(number);
            assert_eq!(number_of(name.strip_prefix("checkpoints/").unwrap()), Some(number));
            assert_eq!(number_of_data(&data_name(number, attempt, 0)), Some(number));
        }
        assert!(checkpoint_name(9) < checkpoint_name(10));
        for other in ["", "7", "0000000000000000000x", "00000000000000000007#1", "18446744073709551615"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }
}

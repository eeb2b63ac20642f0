//! Sections with a tag, a length and a checksum each.

use alloc::vec::Vec;

use super::VERSION;
use crate::error::{RestoreError, RestoreErrorKind};

const MAGIC: &[u8; 8] = b"FLOODMRK";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Configuration = 1,
    Progress = 2,
    Slice = 3,
    Firing = 4,
    Keyed = 5,
    Queue = 6,
    End = 0,
}

impl Section {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Progress => "progress",
            Self::Slice => "slice",
            Self::Firing => "firing",
            Self::Keyed => "keyed",
            Self::Queue => "queue",
            Self::End => "end",
        }
    }

    fn of(tag: u8) -> Option<Self> {
        use Section::{Configuration, End, Firing, Keyed, Progress, Queue, Slice};
        [Configuration, Progress, Slice, Firing, Keyed, Queue, End]
            .into_iter()
            .find(|section| *section as u8 == tag)
    }
}

pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        Self { bytes }
    }

    /// Appends a section whose payload `fill` appends.
    pub(super) fn section(&mut self, section: Section, fill: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let start = self.bytes.len();
        self.bytes.push(section as u8);
        self.bytes.extend_from_slice(&[0; 8]);
        let payload = self.bytes.len();
        self.bytes = fill(core::mem::take(&mut self.bytes));
        let length = (self.bytes.len() - payload) as u64;
        self.bytes[payload - 8..payload].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&self.bytes[start..]);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.section(Section::End, |bytes| bytes);
        self.bytes
    }
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, RestoreError> {
        let mut reader = Self { rest: bytes };
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) || bytes.is_empty() {
            return Err(RestoreErrorKind::NotASnapshot.into());
        }
        reader.take(MAGIC.len(), "header")?;
        let found = u16::from_le_bytes(reader.array("header")?);
        if found == 0 || found > VERSION {
            return Err(RestoreErrorKind::Version { found, newest: VERSION }.into());
        }
        Ok(reader)
    }

    /// The next section and its payload, checked.
    pub(super) fn section(&mut self) -> Result<(Section, &'a [u8]), RestoreError> {
        let whole = self.rest;
        let [tag] = self.array("tag")?;
        let section =
            Section::of(tag).ok_or_else(|| RestoreError::unreadable("tag", "no section has this tag"))?;
        let length = u64::from_le_bytes(self.array(section.name())?);
        let payload = match usize::try_from(length) {
            Ok(length) => self.take(length, section.name())?,
            Err(_) => return Err(truncated(section.name(), length, self.rest)),
        };
        let stored = u32::from_le_bytes(self.array(section.name())?);
        let computed = crc32fast::hash(&whole[..1 + 8 + payload.len()]);
        if stored != computed {
            return Err(RestoreErrorKind::Damaged { section: section.name(), stored, computed }.into());
        }
        Ok((section, payload))
    }

    /// The payload of the next section, which must be this one.
    pub(super) fn expect(&mut self, expected: Section) -> Result<&'a [u8], RestoreError> {
        match self.section()? {
            (section, payload) if section == expected => Ok(payload),
            (section, _) => {
                Err(RestoreError::unreadable(section.name(), "another section should stand here"))
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), RestoreError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(RestoreErrorKind::Trailing { bytes }.into()),
        }
    }

    fn take(&mut self, length: usize, section: &'static str) -> Result<&'a [u8], RestoreError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| truncated(section, length as u64, self.rest))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, section: &'static str) -> Result<[u8; N], RestoreError> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or_else(|| truncated(section, N as u64, self.rest))?;
        self.rest = rest;
        Ok(*taken)
    }
}

fn truncated(section: &'static str, needed: u64, rest: &[u8]) -> RestoreError {
    RestoreErrorKind::Truncated { section, needed, found: rest.len() as u64 }.into()
}

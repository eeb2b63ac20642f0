//! Sections with a tag, a length and a checksum each.

use alloc::vec::Vec;

use super::VERSION;
use crate::error::{RestoreError, RestoreErrorKind};

const MAGIC: &[u8; 8] = b"FLOODMRK";

/// Set in the tag of a section that is compressed.
pub(super) const COMPRESSED: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    End = 0,
    Configuration = 1,
    Cut = 2,
    Progress = 3,
    Slices = 4,
    Firing = 5,
    Keyed = 6,
    Queue = 7,
    Entries = 8,
    Cells = 9,
    Remaining = 10,
    Reissues = 11,
    Waiting = 12,
    Asides = 13,
}

impl Section {
    const ALL: [Self; 14] = [
        Self::End,
        Self::Configuration,
        Self::Cut,
        Self::Progress,
        Self::Slices,
        Self::Firing,
        Self::Keyed,
        Self::Queue,
        Self::Entries,
        Self::Cells,
        Self::Remaining,
        Self::Reissues,
        Self::Waiting,
        Self::Asides,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Configuration => "configuration",
            Self::Cut => "cut",
            Self::Progress => "progress",
            Self::Slices => "slices",
            Self::Firing => "firing",
            Self::Keyed => "keyed",
            Self::Queue => "queue",
            Self::Entries => "entries",
            Self::Cells => "cells",
            Self::Remaining => "remaining",
            Self::Reissues => "reissues",
            Self::Waiting => "waiting",
            Self::Asides => "asides",
        }
    }

    fn of(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|section| *section as u8 == tag)
    }
}

/// What tells one snapshot from all others: a digest of the checksums of its sections (FNV-1a, Fowler, Noll and Vo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, checksum: u32) {
        for byte in checksum.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

/// Writes a snapshot section by section, behind what is in a buffer.
#[derive(Debug)]
pub(super) struct Writer {
    digest: Digest,
}

impl Writer {
    pub(super) fn new(bytes: &mut Vec<u8>) -> Self {
        put_header(bytes);
        Self { digest: Digest::new() }
    }

    /// Appends a section whose payload `fill` appends.
    pub(super) fn section(
        &mut self,
        section: Section,
        bytes: &mut Vec<u8>,
        fill: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) {
        let start = bytes.len();
        bytes.push(section as u8);
        bytes.extend_from_slice(&[0; 8]);
        let payload = bytes.len();
        *bytes = fill(core::mem::take(bytes));
        let length = (bytes.len() - payload) as u64;
        bytes[payload - 8..payload].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[start..]);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        self.digest.add(checksum);
    }

    /// Appends a section whose payload is there already.
    pub(super) fn copy(&mut self, section: Section, payload: &[u8], bytes: &mut Vec<u8>) {
        self.section(section, bytes, |mut bytes| {
            bytes.extend_from_slice(payload);
            bytes
        });
    }

    /// Appends the end, and says what tells this snapshot from others.
    pub(super) fn finish(mut self, bytes: &mut Vec<u8>) -> u64 {
        let digest = self.digest.value();
        self.section(Section::End, bytes, |mut bytes| {
            bytes.extend_from_slice(&digest.to_le_bytes());
            bytes
        });
        digest
    }
}

/// Appends what a snapshot begins with.
pub(super) fn put_header(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
}

/// A section as it stands there.
pub(super) struct Raw<'a> {
    pub(super) tag: u8,
    pub(super) payload: &'a [u8],
    /// Of the section as it is when it is not compressed.
    pub(super) checksum: u32,
}

#[cfg(feature = "lz4")]
impl Raw<'_> {
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.tag);
        bytes.extend_from_slice(&(self.payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(self.payload);
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
    }
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
    digest: Digest,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, RestoreError> {
        let mut reader = Self { rest: bytes, digest: Digest::new() };
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
        let Raw { tag, payload, checksum: stored } = self.raw()?;
        let covered = &whole[..1 + 8 + payload.len()];
        let section = Section::of(tag & !COMPRESSED)
            .ok_or_else(|| RestoreError::unreadable("tag", "no section has this tag"))?;
        // (Unless that bit of the tag is all that is wrong.)
        if tag != section as u8 && checksum_of(section, covered) != stored {
            return Err(RestoreErrorKind::Compressed.into());
        }
        let computed = crc32fast::hash(covered);
        if stored != computed {
            return Err(RestoreErrorKind::Damaged { section: section.name(), stored, computed }.into());
        }
        if section != Section::End {
            self.digest.add(computed);
        }
        Ok((section, payload))
    }

    /// The next section as it stands there, unchecked.
    pub(super) fn raw(&mut self) -> Result<Raw<'a>, RestoreError> {
        let [tag] = self.array("tag")?;
        let name = Section::of(tag & !COMPRESSED).map_or("tag", Section::name);
        let length = u64::from_le_bytes(self.array(name)?);
        let payload = match usize::try_from(length) {
            Ok(length) => self.take(length, name)?,
            Err(_) => return Err(truncated(name, length, self.rest)),
        };
        let checksum = u32::from_le_bytes(self.array(name)?);
        Ok(Raw { tag, payload, checksum })
    }

    /// The next section as it stands there, until the end; that, and whatever follows it, is copied.
    #[cfg(feature = "lz4")]
    pub(super) fn next_raw(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Raw<'a>>, RestoreError> {
        if self.rest.first().is_none_or(|&tag| tag == Section::End as u8) {
            bytes.extend_from_slice(self.rest);
            return Ok(None);
        }
        self.raw().map(Some)
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

    /// After the end, with its payload: what tells the snapshot from others.
    pub(super) fn finish(self, end: &[u8]) -> Result<u64, RestoreError> {
        let digest = self.digest.value();
        if end != digest.to_le_bytes() {
            let why = "it is not the end of these sections";
            return Err(RestoreError::unreadable(Section::End.name(), why));
        }
        match self.rest.len() {
            0 => Ok(digest),
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

/// The checksum of a section with this tag, whatever the tag is that it has.
fn checksum_of(section: Section, covered: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&[section as u8]);
    checksum.update(&covered[1..]);
    checksum.finalize()
}

fn truncated(section: &'static str, needed: u64, rest: &[u8]) -> RestoreError {
    RestoreErrorKind::Truncated { section, needed, found: rest.len() as u64 }.into()
}

//! The frame of a snapshot as `src/snapshot/mod.rs` documents it, taken apart and put together again with
//! true lengths and checksums. Written from that page, not with the kernel's code.

pub(crate) const MAGIC: &[u8] = b"FLOODMRK";

pub(crate) const CONFIGURATION: u8 = 1;
pub(crate) const CUT: u8 = 2;
pub(crate) const PROGRESS: u8 = 3;
pub(crate) const SLICES: u8 = 4;
pub(crate) const FIRING: u8 = 5;
pub(crate) const KEYED: u8 = 6;
pub(crate) const QUEUE: u8 = 7;
pub(crate) const ENTRIES: u8 = 8;
pub(crate) const CELLS: u8 = 9;
pub(crate) const REMAINING: u8 = 10;
pub(crate) const REISSUES: u8 = 11;
pub(crate) const WAITING: u8 = 12;
pub(crate) const ASIDES: u8 = 13;
pub(crate) const END: u8 = 0;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) version: u16,
    pub(crate) sections: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) tag: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Takes a sound snapshot apart.
    pub(crate) fn parse(snapshot: &[u8]) -> Option<Self> {
        let rest = snapshot.strip_prefix(MAGIC)?;
        let (version, mut rest) = rest.split_first_chunk()?;
        let mut sections = Vec::new();
        while let Some((&tag, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (payload, after) = after.split_at_checked(length)?;
            let (checksum, after) = after.split_first_chunk()?;
            let covered = &rest[..1 + 8 + length];
            if u32::from_le_bytes(*checksum) != crc32fast::hash(covered) {
                return None;
            }
            sections.push(Section { tag, payload: payload.to_vec() });
            rest = after;
        }
        Some(Self { version: u16::from_le_bytes(*version), sections })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.version.to_le_bytes());
        // FNV-1a of the checksums, little-endian, of all sections so far.
        let mut digest = 0xcbf2_9ce4_8422_2325_u64;
        for Section { tag, payload } in &self.sections {
            let digested = digest.to_le_bytes();
            let payload = if *tag == END { &digested[..] } else { payload };
            let start = bytes.len();
            bytes.push(*tag);
            bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
            bytes.extend_from_slice(payload);
            let checksum = crc32fast::hash(&bytes[start..]).to_le_bytes();
            bytes.extend_from_slice(&checksum);
            digest = checksum
                .iter()
                .fold(digest, |digest, &byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        }
        bytes
    }

    /// The same with another payload in one section.
    pub(crate) fn with_payload(&self, section: usize, payload: Vec<u8>) -> Self {
        let mut changed = self.clone();
        changed.sections[section].payload = payload;
        changed
    }
}

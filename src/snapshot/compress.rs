//! Snapshots in fewer bytes (LZ4: Yann Collet, "LZ4 block format description").
//!
//! Section by section, so that whoever reads one needs no more memory than for that. What a section holds is found again to the
//! byte, and its checksum is that of the section as it was; so the snapshot keeps its name.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use super::frame::{COMPRESSED, Raw, Reader, put_header};
use crate::error::RestoreError;

/// No byte of a block stands for more than so many.
const MOST: usize = 255;

/// The same snapshot with those sections compressed that become smaller by it. O(size).
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Count, Timestamp, snapshot};
///
/// let config = Config::tumbling(TimeDelta::minutes(1)).ascending();
/// let mut windows = config.clone().build::<String, (), _>(Count)?;
/// let input = windows.add_partition();
/// for sensor in 0..500 {
///     windows.push(input, Timestamp::from_micros(0), format!("sensor number {sensor}"), ())?;
/// }
/// let plain = windows.snapshot();
/// let compressed = snapshot::compress(&plain)?;
/// assert!(compressed.len() < plain.len() / 2);
/// assert_eq!(snapshot::decompress(&compressed)?, plain);
/// // It is also restored as it is.
/// assert!(config.build::<String, (), _>(Count)?.restore(&compressed)?.snapshot().len() == plain.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// When the bytes are no snapshot, or are cut short.
pub fn compress(snapshot: &[u8]) -> Result<Vec<u8>, RestoreError> {
    let mut reader = Reader::new(snapshot)?;
    let mut bytes = Vec::new();
    put_header(&mut bytes);
    while let Some(raw) = reader.next_raw(&mut bytes)? {
        let mut packed = (raw.payload.len() as u64).to_le_bytes().to_vec();
        if raw.tag & COMPRESSED == 0 {
            packed.extend(lz4_flex::block::compress(raw.payload));
        }
        match raw.tag & COMPRESSED == 0 && packed.len() < raw.payload.len() {
            true => Raw { tag: raw.tag | COMPRESSED, payload: &packed, ..raw }.write(&mut bytes),
            false => raw.write(&mut bytes),
        }
    }
    Ok(bytes)
}

/// The snapshot as it was before it was [compressed](compress); the very bytes if it was not. O(size).
///
/// Takes as much memory as the snapshot had bytes, and at most 255 for each byte that is given, whatever they are.
///
/// # Errors
///
/// When the bytes are no snapshot, are cut short, or cannot be decompressed. Other damage is found when the snapshot is read.
pub fn decompress(snapshot: &[u8]) -> Result<Cow<'_, [u8]>, RestoreError> {
    if is_plain(snapshot)? {
        return Ok(Cow::Borrowed(snapshot));
    }
    let mut reader = Reader::new(snapshot)?;
    let mut bytes = Vec::new();
    put_header(&mut bytes);
    while let Some(raw) = reader.next_raw(&mut bytes)? {
        match raw.tag & COMPRESSED {
            0 => raw.write(&mut bytes),
            _ => Raw { tag: raw.tag & !COMPRESSED, payload: &unpack(raw.payload)?, ..raw }.write(&mut bytes),
        }
    }
    Ok(Cow::Owned(bytes))
}

/// Whether nothing is compressed, and so nothing has to be copied.
fn is_plain(snapshot: &[u8]) -> Result<bool, RestoreError> {
    let mut reader = Reader::new(snapshot)?;
    let mut is_plain = true;
    while let Some(raw) = reader.next_raw(&mut Vec::new())? {
        is_plain &= raw.tag & COMPRESSED == 0;
    }
    Ok(is_plain)
}

/// What a compressed section holds.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, RestoreError> {
    let unreadable = |why| RestoreError::unreadable("compressed", why);
    let (length, block) =
        packed.split_first_chunk().ok_or_else(|| unreadable("it does not say how long it was"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok();
    let length = length
        .filter(|&length| length / MOST <= block.len())
        .ok_or_else(|| unreadable("it was longer than can be"))?;
    let mut payload = vec![0; length];
    match lz4_flex::block::decompress_into(block, &mut payload) {
        Ok(found) if found == length => Ok(payload),
        Ok(_) => Err(unreadable("it was shorter than it says")),
        Err(_) => Err(unreadable("it is no LZ4 block")),
    }
}

//! Values within sections: as postcard has them, and where their types may not be known behind their length.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::Section;
use crate::error::RestoreError;

/// # Panics
///
/// When a value's own `Serialize` fails.
pub(super) fn put<T: Serialize + ?Sized>(value: &T, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("keys and accumulators must serialize")
}

/// Behind the number of its bytes, so that it can be copied and skipped by who does not know its type.
#[inline]
pub(super) fn put_blob<T: Serialize + ?Sized>(value: &T, mut bytes: Vec<u8>) -> Vec<u8> {
    // Almost all are small: written on the stack first, a vector need not be asked for room with each byte.
    let mut buffer = [0; SMALL + 1];
    if let Ok(small) = postcard::to_slice(value, &mut buffer[1..]) {
        let length = small.len();
        buffer[0] = length as u8;
        bytes.extend_from_slice(&buffer[..=length]);
        return bytes;
    }
    put_large(value, bytes)
}

/// The longest value that is written on the stack; the number of its bytes takes one.
const SMALL: usize = 63;

#[inline(never)]
fn put_large<T: Serialize + ?Sized>(value: &T, mut bytes: Vec<u8>) -> Vec<u8> {
    let start = bytes.len();
    bytes.push(0);
    bytes = put(value, bytes);
    let length = bytes.len() - start - 1;
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => bytes[start] = length,
        // It takes more than the byte that was left for it.
        _ => {
            let number = put(&length, Vec::new());
            bytes.splice(start..=start, number);
        }
    }
    bytes
}

/// As [`put_blob`] does, a value that is bytes already.
pub(super) fn put_bytes(value: &[u8], bytes: Vec<u8>) -> Vec<u8> {
    let mut bytes = put(&value.len(), bytes);
    bytes.extend_from_slice(value);
    bytes
}

/// The payload of a section, value by value.
#[derive(Clone, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
    section: Section,
}

impl<'a> Input<'a> {
    pub(super) fn new(rest: &'a [u8], section: Section) -> Self {
        Self { rest, section }
    }

    pub(super) fn get<T: serde::Deserialize<'a>>(&mut self) -> Result<T, RestoreError> {
        let (value, rest) =
            postcard::take_from_bytes(self.rest).map_err(|_| self.unreadable("a value cannot be decoded"))?;
        self.rest = rest;
        Ok(value)
    }

    /// The bytes of a value that stands behind its length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RestoreError> {
        self.get()
    }

    /// A value that stands behind its length.
    pub(super) fn blob<T: DeserializeOwned>(&mut self) -> Result<T, RestoreError> {
        let mut input = Self::new(self.bytes()?, self.section);
        let value = input.get()?;
        input.end()?;
        Ok(value)
    }

    /// A number of values and they, each behind its length. The number is not believed: it is reached or the bytes end.
    pub(super) fn blobs<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, RestoreError> {
        let length: usize = self.get()?;
        let mut values = Vec::new();
        for _ in 0..length {
            values.push(self.blob()?);
        }
        Ok(values)
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn unreadable(&self, why: &'static str) -> RestoreError {
        RestoreError::unreadable(self.section.name(), why)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn end(&self) -> Result<(), RestoreError> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(self.unreadable("bytes are left over")),
        }
    }
}

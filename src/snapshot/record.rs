//! Values within sections: as postcard has them, and where their types may not be known behind their length.

use alloc::vec::Vec;

use postcard::ser_flavors::Flavor;
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
pub(super) fn put_blob<T: Serialize + ?Sized>(value: &T, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut small = Small::new();
    match small.put_blob(value) {
        Ok(()) => small.append_to(&mut bytes),
        Err(_) => put_large(value, &mut bytes),
    }
    bytes
}

/// Two values, each as [`put_blob`] puts it.
#[inline]
pub(super) fn put_blobs<T: Serialize + ?Sized, U: Serialize + ?Sized>(
    first: &T,
    second: &U,
    bytes: &mut Vec<u8>,
) {
    let mut small = Small::new();
    let begun = small.put_blob(first).is_ok();
    if begun && small.put_blob(second).is_ok() {
        return small.append_to(bytes);
    }
    put_large(first, bytes);
    put_large(second, bytes);
}

/// Where values are written first, almost all of which are small: a vector need not be asked for room with each byte.
struct Small {
    buffer: [u8; Self::SIZE],
    len: usize,
}

impl Small {
    /// (So that the number of bytes of whatever fits is one byte.)
    const SIZE: usize = 128;
    /// What is not longer is copied as if it were as long as this, for which no function has to be called.
    const SHORT: usize = 32;

    const fn new() -> Self {
        Self { buffer: [0; Self::SIZE], len: 0 }
    }

    #[inline]
    fn put_blob<T: Serialize + ?Sized>(&mut self, value: &T) -> postcard::Result<()> {
        let start = self.len;
        self.try_push(0)?;
        postcard::serialize_with_flavor(value, &mut *self)?;
        self.buffer[start] = (self.len - start - 1) as u8;
        Ok(())
    }

    #[inline]
    fn append_to(&self, bytes: &mut Vec<u8>) {
        match self.len <= Self::SHORT {
            true => {
                let end = bytes.len() + self.len;
                bytes.extend_from_slice(&self.buffer[..Self::SHORT]);
                bytes.truncate(end);
            }
            false => bytes.extend_from_slice(&self.buffer[..self.len]),
        }
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        let place = self.buffer.get_mut(self.len).ok_or(postcard::Error::SerializeBufferFull)?;
        *place = byte;
        self.len += 1;
        Ok(())
    }
}

impl Flavor for &mut Small {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        Small::try_push(self, byte)
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // (Most are the few bytes of a number.)
        if bytes.len() <= 10 {
            return bytes.iter().try_for_each(|&byte| Small::try_push(self, byte));
        }
        let places = self.buffer.get_mut(self.len..self.len + bytes.len());
        places.ok_or(postcard::Error::SerializeBufferFull)?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[inline(never)]
fn put_large<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.push(0);
    *bytes = put(value, core::mem::take(bytes));
    let length = bytes.len() - start - 1;
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => bytes[start] = length,
        // It takes more than the byte that was left for it.
        _ => {
            let number = put(&length, Vec::new());
            bytes.splice(start..=start, number);
        }
    }
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

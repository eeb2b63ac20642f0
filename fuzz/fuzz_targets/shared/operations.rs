//! Bytes into a timeline, and that through the kernel and the model.

#[path = "../../../tests/harness/mod.rs"]
mod harness;

use floodmark_oracle::Case;
use harness::{MODES, run_in};

/// What the bytes stand for: after an even one aligned windows, after an odd one windows of any kind.
pub(crate) fn case_of(bytes: &[u8]) -> Case {
    match bytes.split_first() {
        Some((kind, rest)) if kind % 2 == 1 => Case::from_bytes_any(rest),
        Some((_, rest)) => Case::from_bytes(rest),
        None => Case::from_bytes(bytes),
    }
}

/// Panics where kernel and model differ, in so many of the modes. Which they are follows from the bytes: a
/// fuzzer gets further with one or two for each input than with all of them for a tenth of the inputs.
pub(crate) fn run(bytes: &[u8], modes: usize) {
    let case = case_of(bytes);
    let first = crc32fast::hash(bytes) as usize;
    for mode in MODES.iter().cycle().skip(first % MODES.len()).take(modes) {
        run_in(&case, &[*mode]).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// In every mode.
pub(crate) fn run_in_all_modes(bytes: &[u8]) {
    run(bytes, MODES.len());
}

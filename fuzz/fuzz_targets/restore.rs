//! Any bytes are a snapshot of some kernel, or nearly one.

#![no_main]

mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::restore::run(bytes));

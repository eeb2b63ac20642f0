//! Any bytes are a timeline: the kernel against the model.

#![no_main]

#[path = "shared/operations.rs"]
mod operations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| operations::run(bytes, 1));

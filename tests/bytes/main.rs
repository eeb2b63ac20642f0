//! Bytes that are not what they should be: snapshots that somebody has changed, and what the fuzz targets start from.
//!
//! (One program, because all kinds of kernel that the targets know are compiled into it.)

mod corpus;
mod hostile;
#[path = "../../fuzz/fuzz_targets/shared/operations.rs"]
mod operations;
#[path = "../../fuzz/fuzz_targets/shared/mod.rs"]
mod shared;

//! What the fuzz targets share with the tests that replay their corpora and try the same by hand
//! (`tests/bytes`, `tests/allocation.rs`).

#![allow(dead_code, reason = "each binary uses the part it needs")]

pub(crate) mod allocation;
pub(crate) mod frame;
pub(crate) mod restore;
pub(crate) mod worlds;

//! What is stored: one table of partials per slice of time, and how slices make up a window.

mod combine;
mod front;
mod ids;
mod sealed;
mod store;
mod table;

pub(crate) use combine::{Algebra, Combine, Content, Positions, Scan, Spot, Strategy};
pub(crate) use ids::Ids;
pub(crate) use sealed::{Column, Sealed};
pub(crate) use store::{Slice, Store, Tables};
pub(crate) use table::{Hashing, Table, spots_for, table_bytes};

/// Room for a few entries more, so that what grows slowly need not move each time.
fn with_slack(entries: usize) -> usize {
    entries + entries / 8
}

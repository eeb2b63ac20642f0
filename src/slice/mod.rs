//! What is stored: one table of partials per slice of time, and how slices make up a window.

mod combine;
mod front;
mod store;
mod table;

pub(crate) use combine::{Algebra, Combine, Content, Positions, Scan, Spot, Strategy};
pub(crate) use store::{Store, Tables};
pub(crate) use table::{Hashing, Table, spots_for, table_bytes};

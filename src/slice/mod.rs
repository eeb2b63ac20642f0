//! What is stored: the partials of each slice of time by key, and how slices make up a window.

mod column;
mod combine;
mod dense;
mod entries;
mod exit;
mod front;
mod growing;
mod hashing;
mod ids;
mod marks;
mod open;
mod paged;
mod pool;
mod sealed;
mod slide;
mod store;
mod table;

pub(crate) use column::Column;
pub(crate) use combine::{Algebra, Combine, Content, KeyScan, Positions, Scan, Spot, Strategy};
pub(crate) use dense::Dense;
pub(crate) use entries::Entries;
pub(crate) use exit::Exit;
pub(crate) use growing::{
    Growing, HashTable, empty_table, is_settled, margin, room_in, spots_for, table_bytes,
};
pub(crate) use hashing::{Hashing, Numbering};
pub(crate) use ids::Ids;
pub(crate) use marks::{Marks, PutEntry, Run};
pub(crate) use open::{OpenPair, Tables};
pub(crate) use paged::Paged;
pub(crate) use sealed::Sealed;
pub(crate) use slide::{Numbered, Slide};
pub(crate) use store::{CutSlice, Slice, Store};
pub(crate) use table::Table;

/// Room for a few entries more, so that what grows slowly need not move each time.
pub(crate) fn with_slack(entries: usize) -> usize {
    entries + entries / 8
}

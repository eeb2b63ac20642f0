//! Empty tables for slices to come.

use alloc::vec::Vec;

use super::{Entries, Exit};

/// Tables to keep: as one slice expires another begins, and with a little disorder two of each.
const POOLED: usize = 2;

/// Empty tables for slices to come, so that a steady stream allocates nothing.
#[derive(Debug)]
pub(super) struct Pool<K, T> {
    tables: Vec<Entries<K, T>>,
    /// Tables whose entries take long to drop, and how far that is: they go a few at a time.
    pub(super) retired: Vec<(Entries<K, T>, usize)>,
    /// How many keys slices have had lately: what a new one will probably have, too. A table that is much
    /// larger than that is not kept (E2).
    pub(super) expected: usize,
    pub(super) bytes: usize,
    /// Nothing was live when slices expired last.
    pub(super) unused: bool,
    pub(super) exit: Exit,
}

impl<K, T> Pool<K, T> {
    pub(super) const fn new() -> Self {
        Self {
            tables: Vec::new(),
            retired: Vec::new(),
            expected: 0,
            bytes: 0,
            unused: false,
            exit: Exit::new(),
        }
    }

    /// Which table a new slice gets: the smallest that is not too small.
    fn choose(&self) -> Option<usize> {
        let fitting = self.tables.iter().enumerate().filter(|(_, table)| self.suits(table));
        fitting.min_by_key(|(_, table)| table.spots()).map(|(place, _)| place)
    }

    pub(super) fn chosen(&self) -> Option<&Entries<K, T>> {
        self.choose().and_then(|place| self.tables.get(place))
    }

    pub(super) fn get(&mut self) -> Option<Entries<K, T>> {
        let table = self.tables.swap_remove(self.choose()?);
        self.bytes -= table.bytes();
        Some(table)
    }

    /// Learns how many keys a slice had.
    pub(super) fn expect(&mut self, keys: usize) {
        self.expected = keys.max(self.expected - self.expected.div_ceil(8));
    }

    pub(super) fn put(&mut self, table: Entries<K, T>) {
        match table.is_laborious() {
            true => {
                self.bytes += table.bytes();
                self.retired.push((table, 0));
            }
            false => self.keep(table),
        }
    }

    /// Keeps a table if it is of use.
    fn keep(&mut self, mut table: Entries<K, T>) {
        table.clear();
        if table.is_oversized(self.expected) {
            return table.leave(&mut self.exit);
        }
        if self.tables.len() == POOLED {
            // One that has become too small makes place.
            let Some(place) = self.tables.iter().position(|table| !self.suits(table)) else {
                return table.leave(&mut self.exit);
            };
            let small = self.tables.swap_remove(place);
            self.bytes -= small.bytes();
            small.leave(&mut self.exit);
        }
        self.bytes += table.bytes();
        self.tables.push(table);
    }

    /// Whether a table is large enough for what is expected.
    fn suits(&self, table: &Entries<K, T>) -> bool {
        !table.is_small(self.expected)
    }

    /// Drops a few entries of what is retired.
    #[inline(never)]
    pub(super) fn tidy(&mut self) {
        let Some((table, spot)) = self.retired.last_mut() else { return };
        let bytes = table.bytes();
        if table.clear_some(spot)
            && let Some((table, _)) = self.retired.pop()
        {
            self.bytes -= bytes;
            self.keep(table);
        }
    }

    pub(super) fn empty(&mut self) {
        let exit = core::mem::replace(&mut self.exit, Exit::new());
        let unused = core::mem::replace(self, Self { exit, ..Self::new() });
        let retired = unused.retired.into_iter().map(|(table, _)| table);
        unused.tables.into_iter().chain(retired).for_each(|table| table.leave(&mut self.exit));
    }
}

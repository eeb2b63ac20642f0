//! Which cells have a hash.

use alloc::boxed::Box;
use core::mem::size_of;

use crate::slice::{Growing, HashTable, empty_table, is_settled, margin, room_in, spots_for, table_bytes};

/// Spots from which on the table is renewed step by step.
const MANY: usize = 4096;
/// Spots of what was outgrown that are looked at with each cell that is added.
const STEP: usize = 32;

/// The numbers of cells by hash. Where there are many, a table that is full does not move them all at once, be it full of cells or
/// of what was removed: they move a few at a time as others are added.
#[derive(Debug)]
pub(super) struct Index {
    cells: HashTable<u32>,
    growing: Option<Box<Growing<u32>>>,
}

impl Index {
    pub(super) const fn new() -> Self {
        Self { cells: empty_table(), growing: None }
    }

    /// Those that have not moved yet.
    fn old(&self) -> Option<&HashTable<u32>> {
        self.growing.as_ref()?.old().map(|old| &old.entries)
    }

    fn len(&self) -> usize {
        self.cells.len() + self.old().map_or(0, HashTable::len)
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        self.cells.allocation_size() + self.growing.as_ref().map_or(0, |growing| growing.bytes())
    }

    /// Bytes by which so many cells more may make it grow.
    pub(super) fn growth(&self, more: usize) -> usize {
        let len = self.len() + more;
        if self.cells.len() + more + self.margin() <= self.cells.capacity() {
            return 0;
        }
        let table = table_bytes::<u32>(spots_for(self.room(len)));
        match self.is_large() {
            true => table + size_of::<Growing<u32>>(),
            false => table.saturating_sub(self.cells.allocation_size()),
        }
    }

    fn is_large(&self) -> bool {
        self.cells.num_buckets() >= MANY
    }

    /// How much room is left when the table is about to be renewed.
    fn margin(&self) -> usize {
        if is_settled(self.growing.as_deref()) { margin(&self.cells) } else { 0 }
    }

    /// Cells that there has to be room for when these are about to move: enough that they have before that is full, too.
    fn room(&self, len: usize) -> usize {
        (2 * len).max(self.cells.num_buckets() / 8)
    }

    /// A cell with this hash that is the one looked for.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let find = |table: &HashTable<u32>| table.find(hash, |&id| is(id)).copied();
        find(&self.cells).or_else(|| find(self.old()?))
    }

    /// Gives out all cells that may have this hash.
    #[inline]
    pub(super) fn each(&self, hash: u64, mut out: impl FnMut(u32)) {
        self.cells.iter_hash(hash).for_each(|&id| out(id));
        if let Some(old) = self.old() {
            old.iter_hash(hash).for_each(|&id| out(id));
        }
    }

    /// Adds a cell; `hash_of` are the hashes of those that are there.
    pub(super) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        let is_settled = is_settled(self.growing.as_deref());
        if is_settled && room_in(&self.cells) <= self.margin() && self.is_large() {
            // (All have moved: there is room for more than that takes.)
            self.growing = Some(Box::new(Growing::coming(&self.cells, self.room(self.len()))));
        }
        if let Some(growing) = &mut self.growing {
            growing.replace(&mut self.cells);
            if growing.leave() {
                self.growing = None;
            }
            self.move_some(&hash_of);
        }
        self.cells.insert_unique(hash, id, |&id| hash_of(id));
    }

    fn move_some(&mut self, hash_of: &impl Fn(u32) -> u64) {
        let Some(old) = self.growing.as_mut().and_then(|growing| growing.old_mut()) else { return };
        let next = old.beyond.saturating_sub(STEP);
        for spot in next..old.beyond {
            if let Ok(entry) = old.entries.get_bucket_entry(spot) {
                let id = entry.remove().0;
                self.cells.insert_unique(hash_of(id), id, |&id| hash_of(id));
            }
        }
        old.beyond = next;
    }

    pub(super) fn remove(&mut self, hash: u64, id: u32) {
        let old = self.growing.as_mut().and_then(|growing| growing.old_mut()).map(|old| &mut old.entries);
        for table in [Some(&mut self.cells), old] {
            if let Some(Ok(entry)) = table.map(|table| table.find_entry(hash, |&other| other == id)) {
                entry.remove();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use super::*;

    /// Two cells for each hash.
    fn hash_of(id: u32) -> u64 {
        u64::from(id / 2).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn check(index: &Index, expected: &BTreeSet<u32>, ids: u32) {
        assert_eq!(index.len(), expected.len());
        for id in 0..ids {
            assert_eq!(index.find(hash_of(id), |other| other == id).is_some(), expected.contains(&id));
            let mut of = Vec::new();
            index.each(hash_of(id), |other| of.extend((other / 2 == id / 2).then_some(other)));
            of.sort_unstable();
            let known = expected.range(id / 2 * 2..id / 2 * 2 + 2);
            assert_eq!(of, known.copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn cells_that_move_step_by_step_are_found() {
        let (mut index, mut expected) = (Index::new(), BTreeSet::new());
        let mut growths = 0;
        // It grows; then cells come and go; then few are left, and many come again.
        for (step, ids) in [(1, 0..20_000), (3, 20_000..60_000), (1, 60_000..62_000), (2, 62_000..90_000)] {
            for id in ids.clone() {
                let (bytes, most) = (index.bytes(), index.growth(1));
                let before = index.old().map_or(0, HashTable::len);
                index.insert(hash_of(id), id, hash_of);
                expected.insert(id);
                growths += u32::from(before == 0 && index.old().is_some());
                assert!(index.bytes() <= bytes + most, "{bytes} bytes grow by {most} at most");
                let after = index.old().map_or(0, HashTable::len);
                assert!(before <= after + STEP, "{before} were left to move, then {after}");
                let gone = if step == 1 { None } else { id.checked_sub(20_000 / step) };
                if let Some(gone) = gone.filter(|gone| expected.remove(gone)) {
                    index.remove(hash_of(gone), gone);
                }
            }
            check(&index, &expected, ids.end);
            if step == 3 {
                for gone in core::mem::take(&mut expected).into_iter().skip(10) {
                    index.remove(hash_of(gone), gone);
                }
                expected = (0..ids.end)
                    .filter(|&id| index.find(hash_of(id), |other| other == id).is_some())
                    .collect();
                assert_eq!(expected.len(), 10);
            }
        }
        assert!(growths > 1, "{growths} tables were outgrown");
    }
}

//! A snapshot of cells that is taken in steps: what a cell was is encoded before it changes.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::{Cell, Cells, Keyed, PutAside, Run};

/// Appends a cell, or that it is gone.
pub(super) type PutCell<K, T> = fn(u32, Option<&Cell<K, T>>, &mut Vec<u8>);

/// What a snapshot that is being taken still has to hold: what a cell was is encoded before the cell changes.
#[derive(Debug)]
pub(super) struct Cut<K, T> {
    put: PutCell<K, T>,
    /// A bit for each cell that is still to be held.
    cells: Vec<u64>,
    next: usize,
    /// It holds what has changed, and so what has gone.
    is_of_changes: bool,
    run: Run,
}

/// Bits in a word of them.
const WORD: usize = u64::BITS as usize;

impl<K, T> Keyed<K, T> {
    /// A cell is about to change.
    #[inline(always)]
    pub(super) fn change(&mut self, id: u32) {
        if self.changed.is_some() {
            self.note_change(id as usize);
        }
    }

    #[inline(never)]
    fn note_change(&mut self, id: usize) {
        let (word, bit) = (id / WORD, 1 << (id % WORD));
        if let Some(changed) = &mut self.changed {
            if changed.len() <= word {
                changed.resize(self.cells.beyond().div_ceil(WORD).max(word + 1), 0);
            }
            changed[word] |= bit;
        }
        if let Some(cut) = &mut self.cut
            && let Some(left) = cut.cells.get_mut(word)
            && *left & bit != 0
        {
            *left &= !bit;
            cut.hold(id, &self.cells);
        }
    }

    /// Begins to hold all cells or, with `only_changed`, those that have changed since the last snapshot began, if that is
    /// known; whether it is those.
    pub(crate) fn begin_cut(
        &mut self,
        (put, put_aside): (PutCell<K, T>, PutAside<K, T>),
        only_changed: bool,
    ) -> bool {
        self.asides.begin_cut(put_aside);
        let changed = self.changed.replace(Vec::new()).filter(|_| only_changed);
        let is_of_changes = changed.is_some();
        let all = || vec![u64::MAX; self.cells.beyond().div_ceil(WORD)];
        let cells = changed.unwrap_or_else(all);
        self.cut = Some(Box::new(Cut { put, cells, next: 0, is_of_changes, run: Run::new() }));
        is_of_changes
    }

    /// Holds some cells, and gives out what has been held, and how many it has looked at; none if all are held.
    pub(crate) fn hold_some(&mut self, most: usize) -> Option<(Run, usize)> {
        let cut = self.cut.as_mut()?;
        let mut looked = 0;
        while looked < most
            && let Some(word) = cut.cells.get_mut(cut.next)
        {
            looked += 1;
            match word.trailing_zeros() {
                u64::BITS => cut.next += 1,
                bit => {
                    *word &= *word - 1;
                    cut.hold(cut.next * WORD + bit as usize, &self.cells);
                }
            }
        }
        let run = cut.run.take();
        if looked == 0 && run.is_empty() {
            self.cut = None;
            return None;
        }
        Some((run, looked))
    }

    /// The same for panes that have been set aside.
    pub(crate) fn hold_asides(&mut self, most: usize) -> Option<(Run, usize)> {
        self.asides.hold_some(most)
    }

    pub(crate) fn end_cut(&mut self) {
        self.cut = None;
        self.asides.end_cut();
    }
}

impl<K, T> Cut<K, T> {
    fn hold(&mut self, id: usize, cells: &Cells<K, T>) {
        let cell = cells.get(id as u32).map(|slot| &slot.cell);
        if cell.is_some() || self.is_of_changes {
            self.run.put(|records| (self.put)(id as u32, cell, records));
        }
    }
}

//! The slices that most events go into, found by few compares.

use super::Entries;
use crate::grid::Ruler;

/// Two slices next to each other, found by two compares. While it is open it has their tables, and the ring
/// has empty ones in those slots.
#[derive(Debug)]
pub(super) struct Hot<K, T> {
    pub(super) from: i64,
    /// From `from` to the end of the second slice, or 0 while it is closed.
    pub(super) span: u64,
    /// Where the second slice starts.
    pub(super) edge: i64,
    pub(super) slices: [i64; 2],
    pub(super) tables: [Entries<K, T>; 2],
}

impl<K, T> Hot<K, T> {
    pub(super) const fn closed() -> Self {
        Self { from: 0, span: 0, edge: 0, slices: [0, 0], tables: [Entries::new(), Entries::new()] }
    }

    /// The slices whose tables are here.
    pub(super) fn slices(&self) -> &[i64] {
        if self.span > 0 { &self.slices } else { &[] }
    }

    /// A slice's table, if it is here.
    #[inline]
    pub(super) fn get(&self, slice: i64) -> Option<&Entries<K, T>> {
        self.slices().iter().position(|&hot| hot == slice).and_then(|place| self.tables.get(place))
    }

    /// Those of its slices that are there, in the order of time.
    pub(super) fn live(&self) -> impl DoubleEndedIterator<Item = i64> {
        let live = |&(_, table): &(&i64, &Entries<K, T>)| !table.is_empty();
        self.slices().iter().zip(&self.tables).filter(live).map(|(&slice, _)| slice)
    }

    #[inline(always)]
    pub(super) fn covers(&self, time: i64) -> bool {
        (time.wrapping_sub(self.from) as u64) < self.span
    }

    #[inline(always)]
    pub(super) fn table(&mut self, time: i64) -> &mut Entries<K, T> {
        // Not a branch: which of the two it is may well be random.
        let table = &mut self.tables[usize::from(time >= self.edge)];
        table.change();
        table
    }
}

/// The tables that are open, with what finds them: copied, so that it can stay in registers.
pub(crate) struct OpenTables<'a, K, T> {
    pub(super) hot: (i64, u64, i64),
    pub(super) tables: &'a mut [Entries<K, T>; 2],
    pub(super) ring: &'a mut [Entries<K, T>],
    pub(super) gate: i64,
    pub(super) base: i64,
    pub(super) base_start: i64,
    pub(super) span: u64,
    pub(super) ruler: Ruler,
}

/// A slice that is open, or as much of it as is.
pub(crate) struct OpenSlice<'a, K, T> {
    pub(super) from: i64,
    pub(super) span: u64,
    pub(crate) table: &'a mut Entries<K, T>,
}

impl<K, T> OpenSlice<'_, K, T> {
    #[inline(always)]
    pub(crate) fn covers(&self, time: i64) -> bool {
        (time.wrapping_sub(self.from) as u64) < self.span
    }
}

/// Two slices that are open from some instant on: one before an edge, one after it.
pub(crate) struct OpenPair<'a, K, T> {
    pub(crate) from: i64,
    pub(crate) edge: i64,
    pub(crate) until: i64,
    pub(crate) tables: &'a mut [Entries<K, T>; 2],
}

impl<K, T> OpenPair<'_, K, T> {
    /// How much a snapshot has still to hold of them, in groups of entries.
    pub(crate) fn left_to_hold(&self) -> usize {
        left_to_hold(self.tables)
    }

    /// Something changes in the one before the edge, in the one after it, or in both.
    pub(crate) fn change(&mut self, before: bool, after: bool) {
        for (table, changes) in self.tables.iter_mut().zip([before, after]) {
            if changes {
                table.change();
            }
        }
    }
}

pub(super) fn left_to_hold<K, T>(tables: &[Entries<K, T>; 2]) -> usize {
    tables.iter().map(Entries::left_to_hold).sum()
}

/// Where the tables of events are.
pub(crate) trait Tables<K, T> {
    /// The table of an event at `time`, if that is here.
    fn at(&mut self, time: i64) -> Option<&mut Entries<K, T>>;
}

/// For events that are known to go into it.
impl<K, T> Tables<K, T> for &mut Entries<K, T> {
    #[inline(always)]
    fn at(&mut self, _: i64) -> Option<&mut Entries<K, T>> {
        Some(self)
    }
}

/// For events that are known to go into one of them.
impl<K, T> Tables<K, T> for &mut OpenPair<'_, K, T> {
    #[inline(always)]
    fn at(&mut self, time: i64) -> Option<&mut Entries<K, T>> {
        // Which of the two it is may well be random.
        let [before, after] = &mut *self.tables;
        Some(core::hint::select_unpredictable(time >= self.edge, after, before))
    }
}

impl<K, T> Tables<K, T> for OpenSlice<'_, K, T> {
    #[inline(always)]
    fn at(&mut self, time: i64) -> Option<&mut Entries<K, T>> {
        self.covers(time).then_some(&mut *self.table)
    }
}

impl<K, T> Tables<K, T> for OpenTables<'_, K, T> {
    #[inline(always)]
    fn at(&mut self, time: i64) -> Option<&mut Entries<K, T>> {
        let (from, span, edge) = self.hot;
        if (time.wrapping_sub(from) as u64) < span {
            let [first, second] = self.tables;
            return Some(core::hint::select_unpredictable(time >= edge, second, first));
        }
        let distance = time.wrapping_sub(self.base_start) as u64;
        if time < self.gate || distance >= self.span {
            return None;
        }
        let slot = self.ruler.slices(distance) as usize;
        let mask = self.ring.len().wrapping_sub(1);
        let table = self.ring.get_mut((self.base as usize).wrapping_add(slot) & mask)?;
        table.change();
        Some(table)
    }
}

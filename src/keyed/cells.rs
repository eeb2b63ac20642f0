//! Where cells stand: at numbers, in pages that never move.

use alloc::vec::Vec;
use core::mem::{replace, size_of};

use super::Cell;
use crate::queue::growth;
use crate::slice::with_slack;

/// A cell with what finds it.
#[derive(Debug)]
pub(super) struct Slot<K, T> {
    pub(super) hash: u64,
    /// When its timer that counts goes off. Others of it are leftovers.
    pub(super) armed: i64,
    pub(super) cell: Cell<K, T>,
}

/// Numbers of a page.
const PAGE: usize = 1 << 12;
/// No place of a page.
const NONE: u16 = u16::MAX;
/// Of so many places at least one has a cell, or pages without any are given back.
const SPARSE: usize = 8;
/// Places that are not worth giving back.
const SMALL: usize = 64;

/// Cells by number. The first page grows as a vector does, others come as a whole; a new cell goes into the first that has room,
/// so that the later ones become empty where cells have become few. Those are given back, one with each cell that goes.
#[derive(Debug)]
pub(super) struct Cells<K, T> {
    pages: Vec<Page<K, T>>,
    live: usize,
    /// Places that there is memory for.
    room: usize,
    /// No page before this one has room.
    first: usize,
    /// Pages, but for the first, that have become empty; since then they may have got cells again.
    emptied: Vec<u32>,
}

/// What stands at a number.
#[derive(Debug)]
enum Place<K, T> {
    Taken(Slot<K, T>),
    /// With the place of the page that is vacant next.
    Vacant(u16),
}

#[derive(Debug)]
struct Page<K, T> {
    places: Vec<Place<K, T>>,
    live: u16,
    vacant: u16,
    is_listed: bool,
}

impl<K, T> Page<K, T> {
    const EMPTY: Self = Self { places: Vec::new(), live: 0, vacant: NONE, is_listed: false };

    fn has_room(&self) -> bool {
        self.vacant != NONE || self.places.len() < self.places.capacity().min(PAGE)
    }

    /// The place that the next cell has.
    fn next(&self) -> usize {
        if self.vacant == NONE { self.places.len() } else { self.vacant.into() }
    }

    fn insert(&mut self, slot: Slot<K, T>) {
        self.live += 1;
        match self.places.get_mut(usize::from(self.vacant)) {
            Some(place) => {
                if let Place::Vacant(next) = replace(place, Place::Taken(slot)) {
                    self.vacant = next;
                }
            }
            None => self.places.push(Place::Taken(slot)),
        }
    }

    fn remove(&mut self, at: usize) -> Option<Slot<K, T>> {
        let place = self.places.get_mut(at).filter(|place| matches!(place, Place::Taken(_)))?;
        let Place::Taken(slot) = replace(place, Place::Vacant(self.vacant)) else { return None };
        self.vacant = at as u16;
        self.live -= 1;
        Some(slot)
    }
}

impl<K, T> Cells<K, T> {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), live: 0, room: 0, first: 0, emptied: Vec::new() }
    }

    /// How many there are.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Whether hardly any place that there is memory for has a cell.
    pub(super) fn is_sparse(&self) -> bool {
        self.room >= SMALL && self.live < self.room / SPARSE
    }

    /// All numbers are below this.
    pub(super) fn beyond(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.places.len())
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        self.room * size_of::<Place<K, T>>()
            + self.pages.capacity() * size_of::<Page<K, T>>()
            + self.emptied.capacity() * size_of::<u32>()
    }

    /// Bytes by which so many more may make it grow.
    pub(super) fn growth(&self, more: usize) -> usize {
        let Some(more) = more.checked_sub(self.room - self.live).filter(|&more| more > 0) else { return 0 };
        let pages = self.pages.len().max(1);
        let first = self.pages.first().map_or(0, |first| first.places.capacity());
        let places = match (PAGE - first).checked_sub(more) {
            Some(_) => with_slack(first + more + 8).min(PAGE) - first,
            None => PAGE - first + (more - (PAGE - first)).next_multiple_of(PAGE),
        };
        let more_pages = pages - self.pages.len() + more.div_ceil(PAGE);
        let headers = growth::<Page<K, T>>(self.pages.len(), self.pages.capacity(), more_pages);
        let listed = headers / size_of::<Page<K, T>>() * size_of::<u32>();
        places * size_of::<Place<K, T>>() + headers + listed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot<K, T>> {
        self.pages.iter().flat_map(|page| &page.places).filter_map(|place| match place {
            Place::Taken(slot) => Some(slot),
            Place::Vacant(_) => None,
        })
    }

    pub(super) fn into_slots(self) -> impl Iterator<Item = Slot<K, T>> {
        self.pages.into_iter().flat_map(|page| page.places).filter_map(|place| match place {
            Place::Taken(slot) => Some(slot),
            Place::Vacant(_) => None,
        })
    }

    #[inline(always)]
    pub(super) fn get(&self, id: u32) -> Option<&Slot<K, T>> {
        match self.pages.get(id as usize / PAGE)?.places.get(id as usize % PAGE)? {
            Place::Taken(slot) => Some(slot),
            Place::Vacant(_) => None,
        }
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Slot<K, T>> {
        match self.pages.get_mut(id as usize / PAGE)?.places.get_mut(id as usize % PAGE)? {
            Place::Taken(slot) => Some(slot),
            Place::Vacant(_) => None,
        }
    }

    /// Sees to it that there is room for one more cell; its number.
    pub(super) fn next(&mut self) -> u32 {
        while self.pages.get(self.first).is_some_and(|page| !page.has_room()) {
            self.first += 1;
        }
        if self.first == self.pages.len() {
            self.grow();
        }
        let at = self.pages.get(self.first).map_or(0, Page::next);
        (self.first * PAGE + at) as u32
    }

    #[inline(never)]
    fn grow(&mut self) {
        // (One that was given back comes again; the first page is none of those.)
        let is_to_grow = |page: &Page<K, T>| page.places.capacity() < PAGE;
        self.first = self.pages.iter().position(is_to_grow).unwrap_or(self.pages.len());
        if self.first == self.pages.len() {
            self.pages.push(Page::EMPTY);
            self.emptied.reserve_exact(self.pages.capacity() - self.emptied.len());
        }
        if let Some(Page { places, .. }) = self.pages.get_mut(self.first) {
            let (len, before) = (places.len(), places.capacity());
            let room = if self.first > 0 { PAGE } else { with_slack(len + 8).min(PAGE) };
            places.reserve_exact(room - len);
            self.room += places.capacity() - before;
        }
    }

    /// Adds a cell, at the number that is [next](Self::next).
    pub(super) fn insert(&mut self, slot: Slot<K, T>) {
        if let Some(page) = self.pages.get_mut(self.first) {
            page.insert(slot);
            self.live += 1;
        }
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Slot<K, T>> {
        let number = id as usize / PAGE;
        let page = self.pages.get_mut(number)?;
        let slot = page.remove(id as usize % PAGE)?;
        self.live -= 1;
        self.first = self.first.min(number);
        if page.live == 0 && number > 0 && !replace(&mut page.is_listed, true) {
            self.emptied.push(number as u32);
        }
        if self.is_sparse() {
            self.give_back();
        }
        Some(slot)
    }

    /// Gives a page back that has become empty, if there is one.
    #[inline(never)]
    fn give_back(&mut self) {
        let Some(page) = self.emptied.pop().and_then(|number| self.pages.get_mut(number as usize)) else {
            return;
        };
        page.is_listed = false;
        if page.live == 0 {
            self.room -= page.places.capacity();
            *page = Page::EMPTY;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::State;
    use super::*;

    /// Cells, and a map that says what they should come to.
    struct Both {
        cells: Cells<u32, u64>,
        map: BTreeMap<u32, u32>,
        keys: u32,
    }

    impl Both {
        fn new() -> Self {
            Self { cells: Cells::new(), map: BTreeMap::new(), keys: 0 }
        }

        fn insert(&mut self) {
            self.keys += 1;
            let (bytes, most) = (self.cells.bytes(), self.cells.growth(1));
            let id = self.cells.next();
            let cell = Cell {
                key: self.keys,
                start: 0,
                end: 1,
                last: 0,
                reach: 1,
                partial: None,
                replaced: Box::default(),
                state: State::new(false),
            };
            self.cells.insert(Slot { hash: 0, armed: 0, cell });
            assert_eq!(self.map.insert(id, self.keys), None);
            assert!(self.cells.bytes() <= bytes + most, "{} after {bytes} and {most}", self.cells.bytes());
        }

        fn remove(&mut self, id: u32) {
            let bytes = self.cells.bytes();
            let removed = self.cells.remove(id).map(|slot| slot.cell.key);
            assert_eq!(removed, self.map.remove(&id));
            assert!(
                self.cells.bytes() + PAGE * size_of::<Place<u32, u64>>() >= bytes,
                "more than a page went"
            );
        }

        /// Removes all of those that are in a range of numbers but each one in so many.
        fn thin_out(&mut self, range: core::ops::Range<u32>, step: usize) {
            let ids: Vec<u32> = self.map.range(range).map(|(&id, _)| id).collect();
            ids.iter().enumerate().filter(|(n, _)| n % step > 0).for_each(|(_, &id)| self.remove(id));
        }

        fn check(&self) {
            let keys = |id: u32| self.cells.get(id).map(|slot| slot.cell.key);
            let beyond = self.cells.beyond() as u32;
            assert!(self.map.keys().all(|&id| id < beyond));
            (0..beyond + 2).for_each(|id| assert_eq!(keys(id), self.map.get(&id).copied()));
            assert!(self.cells.iter().map(|slot| &slot.cell.key).eq(self.map.values()));
            let room: usize = self.cells.pages.iter().map(|page| page.places.capacity()).sum();
            assert_eq!((self.cells.live(), self.cells.room), (self.map.len(), room));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn cells_are_a_map(
            rounds in prop::collection::vec((1..20_000u32, 0..30_000u32, 0..30_000u32, 2..4000usize), 1..6),
        ) {
            let mut both = Both::new();
            for (more, from, count, step) in rounds {
                (0..more).for_each(|_| both.insert());
                both.check();
                both.thin_out(from..from + count, step);
                both.remove(from);
                both.check();
            }
            assert!(both.cells.into_slots().map(|slot| slot.cell.key).eq(both.map.into_values()));
        }
    }

    #[test]
    fn pages_that_become_empty_are_given_back_one_by_one() {
        let mut both = Both::new();
        (0..100_000).for_each(|_| both.insert());
        let full = both.cells.bytes();
        // Two cells of the first page stay, and one of the last.
        both.thin_out(1..99_999, usize::MAX);
        both.check();
        assert!(both.map.keys().eq(&[0, 1, 99_999]));
        assert!(both.cells.bytes() < full / 10, "{} bytes of {full} are left", both.cells.bytes());
        // They come again.
        (0..100_000).for_each(|_| both.insert());
        both.check();
        assert!(both.cells.bytes() <= full, "{full} bytes have become {}", both.cells.bytes());
        // What comes while cells are few comes to the front, so that the rest becomes empty.
        for _ in 0..4 {
            let ids: Vec<u32> = both.map.keys().copied().take(99_000).collect();
            ids.into_iter().for_each(|id| both.remove(id));
            (0..1000).for_each(|_| both.insert());
        }
        both.check();
        assert!(both.cells.bytes() < full / 4, "{} bytes of {full} are left", both.cells.bytes());
    }

    #[test]
    fn a_place_takes_no_more_than_its_cell() {
        assert_eq!(size_of::<Place<u64, u64>>(), size_of::<Slot<u64, u64>>());
    }
}

//! A column that grows without moving.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::{Exit, with_slack};

/// Values by small numbers. While they are few they grow as a vector does; beyond that a page at a time, so that none of those
/// that are there has to move: of a million that takes milliseconds.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    pages: Vec<Vec<T>>,
    len: usize,
}

/// Values of a page.
const PAGE: usize = 1 << 12;

impl<T> Paged<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Nobody needs it any more.
    pub(super) fn leave(self, exit: &mut Exit) {
        exit.pages(self.pages);
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        let first = self.pages.first().map_or(0, Vec::capacity);
        let others = self.pages.len().saturating_sub(1) * PAGE;
        (first + others) * size_of::<T>() + self.pages.capacity() * size_of::<Vec<T>>()
    }

    /// Bytes that so many take at most.
    pub(crate) fn bytes_for(values: usize) -> usize {
        let room = if values > PAGE { values + PAGE } else { with_slack(values + 8) };
        room * size_of::<T>() + 2 * (values / PAGE + 4) * size_of::<Vec<T>>()
    }

    #[inline(always)]
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.pages.get(place / PAGE)?.get(place % PAGE)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.pages.get_mut(place / PAGE)?.get_mut(place % PAGE)
    }

    /// The page that is next, with room for one of so many more values.
    fn next_page(&mut self, more: usize) -> &mut Vec<T> {
        let number = self.len / PAGE;
        if number == self.pages.len() {
            self.pages.push(Vec::new());
        }
        let page = &mut self.pages[number];
        if page.len() == page.capacity() {
            let room = if number > 0 { PAGE } else { with_slack(page.len() + more.max(8)).min(PAGE) };
            page.reserve_exact(room - page.len());
        }
        page
    }

    pub(crate) fn push(&mut self, value: T) {
        self.next_page(1).push(value);
        self.len += 1;
    }

    /// Has a value for each number below `len`.
    pub(crate) fn reach(&mut self, len: usize, mut value: impl FnMut() -> T) {
        while self.len < len {
            let more = len - self.len;
            let page = self.next_page(more);
            let before = page.len();
            page.resize_with(page.capacity().min(before + more), &mut value);
            self.len += page.len() - before;
        }
    }

    /// Drops all values. (The room stays.)
    pub(crate) fn clear(&mut self) {
        self.pages.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }
}

impl<T> Index<usize> for Paged<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, place: usize) -> &T {
        &self.pages[place / PAGE][place % PAGE]
    }
}

impl<T> IndexMut<usize> for Paged<T> {
    #[inline(always)]
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.pages[place / PAGE][place % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_a_vector_that_does_not_move() {
        let mut paged = Paged::new();
        let mut expected: Vec<u32> = Vec::new();
        let mut places: Vec<*const u32> = Vec::new();
        for more in [1, 3, 100, 4000, 1, 5000, 9000, 0, 8192] {
            for _ in 0..more / 2 {
                paged.push(expected.len() as u32);
                expected.push(expected.len() as u32);
            }
            let len = paged.len() + more;
            paged.reach(len, || 7);
            expected.resize(len.max(expected.len()), 7);
            assert_eq!((0..paged.len()).map(|place| paged[place]).collect::<Vec<_>>(), expected);
            assert_eq!(paged.get(paged.len()), None);
            assert!(paged.bytes() <= Paged::<u32>::bytes_for(paged.len()), "{} of {more}", paged.bytes());
            if expected.len() > PAGE {
                let now: Vec<*const u32> = (0..paged.len()).map(|place| &raw const paged[place]).collect();
                assert!(now.starts_with(&places), "a value has moved");
                places = now;
            }
        }
        *paged.get_mut(4100).unwrap() = 1;
        assert_eq!(paged[4100], 1);
        let bytes = paged.bytes();
        paged.clear();
        assert_eq!((paged.len(), paged.get(0), paged.bytes()), (0, None, bytes));
        paged.push(1);
        assert_eq!((paged.len(), paged.get(0)), (1, Some(&1)));
    }
}

//! Memory on its way back to the system.

use alloc::vec::Vec;

use floodmark_memory::Gradual;

use super::growing::HashTable;

/// What nobody needs any more. What is large goes a little with each poll: as a whole, it would take longer than all else that one
/// does. It does not count as state.
#[derive(Debug)]
pub(crate) struct Exit {
    memory: Vec<Gradual>,
}

impl Exit {
    /// Bytes from which on memory is large: what is smaller is soon used again.
    pub(super) const LARGE: usize = 1 << 22;
    /// Bytes that go back at a time.
    const RELEASED: usize = 1 << 18;

    pub(super) const fn new() -> Self {
        Self { memory: Vec::new() }
    }

    pub(super) fn table<E>(&mut self, table: HashTable<E>) {
        if table.allocation_size() >= Self::LARGE {
            self.memory.push(table.allocator().keep());
        }
        drop(table);
    }

    pub(super) fn vec<E>(&mut self, vec: Vec<E>) {
        if vec.capacity() * size_of::<E>() >= Self::LARGE {
            self.memory.push(Gradual::of(vec));
        }
    }

    /// Vectors that are small, but many.
    pub(super) fn pages<E>(&mut self, pages: Vec<Vec<E>>) {
        let capacity: usize = pages.iter().map(Vec::capacity).sum();
        if capacity * size_of::<E>() >= Self::LARGE {
            self.memory.extend(pages.into_iter().map(Gradual::of));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Gives a little back.
    #[inline(never)]
    pub(super) fn go_on(&mut self) {
        if self.memory.last_mut().is_some_and(|memory| !memory.release(Self::RELEASED)) {
            self.memory.pop();
        }
    }
}

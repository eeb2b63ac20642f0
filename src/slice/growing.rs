//! How a table of many entries grows without a stall: its entries move to a larger one a few at a time, and the memory of
//! that is made ready before.
//!
//! All control bytes of a table are written when it is allocated, and memory that is touched for the first time is slow: two
//! megabytes of it, for a million entries, take a millisecond. So it is allocated before the table is full, and touched a page
//! with each entry that is added until it is. Giving memory back takes a quarter of that for each page, and what has been outgrown has many:
//! that goes step by step, too.

use core::alloc::Layout;

use floodmark_memory::Gradual;

use super::Exit;

/// A table whose memory may be made ready before it is allocated.
pub(crate) type HashTable<E> = hashbrown::HashTable<E, Gradual>;

/// Bytes that go back to the system at a time.
const RELEASED: usize = 1 << 16;

/// The spots that a table for so many entries has: a power of two, seven eighths of which are used.
pub(crate) fn spots_for(entries: usize) -> usize {
    match entries {
        0..=3 => 4,
        4..=7 => 8,
        _ => (entries.saturating_mul(8) / 7).next_power_of_two(),
    }
}

/// Bytes that so many spots take: the entries, a byte of control each, and what a group of those is read at once.
pub(crate) fn table_bytes<E>(spots: usize) -> usize {
    const GROUP: usize = 16;
    (spots * size_of::<E>()).next_multiple_of(GROUP) + spots + GROUP
}

pub(crate) const fn empty_table<E>() -> HashTable<E> {
    HashTable::new_in(Gradual::at_once())
}

/// What a table that grows step by step has besides its entries, one after the other.
#[derive(Debug)]
pub(crate) enum Growing<E> {
    /// It will soon be full: the memory of a larger one is made ready.
    Coming(Coming),
    /// The larger one has taken its place: what has been outgrown.
    Moving(Old<E>),
    /// All entries have moved: the memory that they were in.
    Leaving(Leaving),
}

/// The memory of a larger table.
#[derive(Debug)]
pub(crate) struct Coming {
    memory: Gradual,
    spots: usize,
    bytes: usize,
}

/// The entries that have not moved yet.
#[derive(Debug)]
pub(crate) struct Old<E> {
    pub(crate) entries: HashTable<E>,
    /// Spots from here on have none any more.
    pub(crate) beyond: usize,
}

/// The memory of a smaller table.
#[derive(Debug)]
pub(crate) struct Leaving {
    memory: Gradual,
    bytes: usize,
    is_left: bool,
}

impl<E> Growing<E> {
    /// For a table that is about to grow to so many entries.
    pub(crate) fn coming(table: &HashTable<E>, entries: usize) -> Self {
        Self::Coming(Coming::new(table, spots_for(entries)))
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        let table = match self {
            Self::Coming(coming) => coming.bytes,
            Self::Moving(old) => old.entries.allocation_size(),
            Self::Leaving(leaving) => leaving.bytes,
        };
        table + size_of::<Self>()
    }

    /// Whether one more entry neither makes the table larger nor frees anything.
    #[inline]
    pub(crate) fn is_steady(&self) -> bool {
        match self {
            Self::Coming(_) => false,
            Self::Moving(old) => old.beyond > 0,
            Self::Leaving(leaving) => !leaving.is_left,
        }
    }

    #[inline]
    pub(crate) fn old(&self) -> Option<&Old<E>> {
        match self {
            Self::Moving(old) => Some(old),
            Self::Coming(_) | Self::Leaving(_) => None,
        }
    }

    #[inline]
    pub(crate) fn old_mut(&mut self) -> Option<&mut Old<E>> {
        match self {
            Self::Moving(old) => Some(old),
            Self::Coming(_) | Self::Leaving(_) => None,
        }
    }

    /// Makes a little more of the memory ready; once all is, or `table` has no more room, the larger table takes the place of that.
    /// Whether it has.
    pub(crate) fn replace(&mut self, table: &mut HashTable<E>) -> bool {
        let Self::Coming(coming) = self else { return false };
        if coming.memory.touch(1) && room_in(table) > 0 {
            return false;
        }
        let entries = core::mem::replace(table, coming.take());
        *self = Self::Moving(Old { beyond: entries.num_buckets(), entries });
        true
    }

    /// Gives a little of the memory back that entries were in, once all have moved; whether nothing is left of it.
    pub(crate) fn leave(&mut self) -> bool {
        match self {
            Self::Moving(old) if old.beyond == 0 => {
                let (memory, bytes) = (old.entries.allocator().keep(), old.entries.allocation_size());
                *self = Self::Leaving(Leaving { memory, bytes, is_left: bytes < Exit::LARGE });
                false
            }
            Self::Leaving(leaving) if leaving.is_left => true,
            Self::Leaving(leaving) => {
                leaving.is_left = !leaving.memory.release(RELEASED);
                false
            }
            Self::Moving(_) | Self::Coming(_) => false,
        }
    }
}

impl Coming {
    fn new<E>(table: &HashTable<E>, spots: usize) -> Self {
        // (How many bytes of control there are beyond those of the spots depends on the processor.)
        let group = table.allocation_size() - table.num_buckets() * (size_of::<E>() + 1);
        let control = spots * size_of::<E>();
        let bytes = control + spots + group;
        let layout = Layout::from_size_align(bytes, group.max(align_of::<E>()));
        let memory = layout.map_or(Gradual::at_once(), |layout| Gradual::new(layout, control));
        Self { memory, spots, bytes }
    }

    /// Entries that there will be room for.
    pub(crate) fn capacity(&self) -> usize {
        self.spots / 8 * 7
    }

    fn take<E>(&mut self) -> HashTable<E> {
        let table = HashTable::with_capacity_in(self.capacity(), core::mem::take(&mut self.memory));
        debug_assert_eq!(table.allocation_size(), self.bytes, "the memory does not fit");
        table
    }
}

/// Whether a table may begin to grow: it does not yet, or the memory of what it has outgrown may go at once.
pub(crate) fn is_settled<E>(growing: Option<&Growing<E>>) -> bool {
    matches!(growing, None | Some(Growing::Leaving(_)))
}

/// How many entries there is room for.
#[inline(always)]
pub(crate) fn room_in<E>(table: &HashTable<E>) -> usize {
    table.capacity() - table.len()
}

/// How much room is left when a table begins to grow: so many entries that each touches a page of what comes, eight times as
/// large.
#[inline(always)]
pub(crate) fn margin<E>(table: &HashTable<E>) -> usize {
    (table.num_buckets() >> 13) << 4
}

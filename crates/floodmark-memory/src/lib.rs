//! Memory of a large table that comes and goes a few pages at a time.
//!
//! Memory that the system has just given is not there yet: each of its pages is found and cleared when it is touched for the
//! first time. A hash table touches all its control bytes when it is allocated, a megabyte of them for each million spots, and
//! its memory goes back to the system as a whole when it is dropped. Both take longer than anything else that a careful program
//! does in one call. [`Gradual`] is an allocator that has a block of memory for one table, allocated before that is needed; the
//! program [touches](Gradual::touch) a few of its pages with each of the calls until then, and [releases](Gradual::release) a few
//! with each after the table is gone.
//!
//! ```
//! use core::alloc::Layout;
//! use floodmark_memory::Gradual;
//! use hashbrown::HashTable;
//!
//! // A table for 7,168 numbers has 8,192 spots of four bytes, and a byte of control for each and for a group of them.
//! let full = HashTable::<u32>::with_capacity(7168).allocation_size();
//! let group = full - 5 * 8192;
//! let layout = Layout::from_size_align(full, group.max(align_of::<u32>()))?;
//! let mut memory = Gradual::new(layout, 4 * 8192);
//! while memory.touch(1) {
//!     // (What else there is to do.)
//! }
//! let table: HashTable<u32, Gradual> = HashTable::with_capacity_in(7168, memory);
//!
//! let mut memory = table.allocator().keep();
//! drop(table);
//! while memory.release(1 << 16) {
//!     // (What else there is to do.)
//! }
//! # Ok::<(), core::alloc::LayoutError>(())
//! ```
//!
//! All unsafe code of the kernel is here, because the trait for allocators is unsafe to implement. `DESIGN.md` has the figures that
//! justify it.

#![no_std]

extern crate alloc;

use alloc::alloc::{alloc, dealloc};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use allocator_api2::alloc::{AllocError, Allocator, Global};

/// Bytes of a page where it is touched: larger ones are touched more than once.
const PAGE: usize = 4096;
/// What is released begins and ends at multiples of the largest pages that systems have.
const LARGEST_PAGE: usize = 1 << 16;

/// The global allocator, but for one block that comes and goes gradually.
pub struct Gradual {
    shared: Option<Arc<Shared>>,
}

/// What an allocator shares with those that [keep](Gradual::keep) its memory.
struct Shared {
    /// A [`Block`] in a box, or null. Who swaps it out owns it.
    block: AtomicPtr<Block>,
    /// What is deallocated becomes the block.
    keeps: AtomicBool,
}

/// Memory that nothing is in.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
    /// Bytes before this are touched, or released.
    done: usize,
}

impl Gradual {
    /// No block: all of it comes and goes at once.
    #[must_use]
    pub const fn at_once() -> Self {
        Self { shared: None }
    }

    /// Allocates a block for the first allocation of this layout, of which the bytes from `from` on are to be touched. The same as
    /// [`at_once`](Self::at_once) if the layout has no bytes or the allocator has no memory: who needs it will ask again.
    #[must_use]
    pub fn new(layout: Layout, from: usize) -> Self {
        if layout.size() == 0 {
            return Self::at_once();
        }
        // SAFETY: the layout's size is not zero.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { return Self::at_once() };
        Self::with(Block { start, layout, done: from.min(layout.size()) })
    }

    /// Drops what is in a vector, and keeps its memory.
    #[must_use]
    pub fn of<T>(mut vec: Vec<T>) -> Self {
        vec.clear();
        // (A vector's memory is an array of as many values as it has room for, from the global allocator, and it is the block's from
        // here on.)
        let mut vec = ManuallyDrop::new(vec);
        match (Layout::array::<T>(vec.capacity()), NonNull::new(vec.as_mut_ptr())) {
            (Ok(layout), Some(start)) if layout.size() > 0 => {
                Self::with(Block { start: start.cast(), layout, done: 0 })
            }
            _ => Self::at_once(),
        }
    }

    fn with(block: Block) -> Self {
        let shared = Shared { block: AtomicPtr::new(null_mut()), keeps: AtomicBool::new(false) };
        shared.put(block);
        Self { shared: Some(Arc::new(shared)) }
    }

    /// Touches so many pages of the block; whether there are more. None, once it is allocated.
    pub fn touch(&mut self, pages: usize) -> bool {
        let Some(block) = self.block_mut() else { return false };
        for _ in 0..pages {
            if block.done < block.layout.size() {
                // SAFETY: the byte is within the block, which has no other owner and holds nothing.
                unsafe { block.start.add(block.done).write_volatile(0) };
                block.done += PAGE - block.address() % PAGE;
            }
        }
        block.done < block.layout.size()
    }

    /// Keeps the memory that the table with this allocator, dropped next, gives back.
    #[must_use]
    pub fn keep(&self) -> Self {
        if let Some(shared) = &self.shared {
            shared.keeps.store(true, Ordering::Relaxed);
        }
        Self { shared: self.shared.clone() }
    }

    /// Lets the system have about so many bytes of the block again, 64 KiB at least; whether there are more. On systems that have no
    /// way to do so, all of it goes when this is dropped.
    pub fn release(&mut self, bytes: usize) -> bool {
        let Some(block) = self.block_mut() else { return false };
        let from = block.address().next_multiple_of(LARGEST_PAGE);
        let end = block.start.addr().get() + block.layout.size();
        let to = (from + bytes.max(LARGEST_PAGE)).min(end) / LARGEST_PAGE * LARGEST_PAGE;
        if from >= to || !block.release(from..to) {
            return false;
        }
        block.done = to - block.start.addr().get();
        true
    }

    /// The block, while nobody else can take it.
    fn block_mut(&mut self) -> Option<&mut Block> {
        let shared = Arc::get_mut(self.shared.as_mut()?)?;
        // SAFETY: the pointer is null or comes from a box that nobody else has, and is borrowed for as long as `self` is.
        unsafe { shared.block.get_mut().as_mut() }
    }
}

impl Shared {
    fn put(&self, block: Block) {
        drop(self.swap(Box::into_raw(Box::new(block))));
    }

    fn take(&self) -> Option<Block> {
        self.swap(null_mut())
    }

    fn swap(&self, block: *mut Block) -> Option<Block> {
        let block = self.block.swap(block, Ordering::AcqRel);
        // SAFETY: a pointer that is not null comes from a box, and swapping it out makes it this one's.
        (!block.is_null()).then(|| unsafe { *Box::from_raw(block) })
    }
}

impl Block {
    /// Of the first byte that is not done.
    fn address(&self) -> usize {
        self.start.addr().get() + self.done
    }

    /// Lets the system have the pages with these addresses; whether it can.
    #[cfg(target_os = "linux")]
    fn release(&mut self, addresses: core::ops::Range<usize>) -> bool {
        let offset = addresses.start - self.start.addr().get();
        // SAFETY: the pages are within the block, which has no other owner and holds nothing: what they read as afterwards, and whether
        // the system takes them, is all the same.
        unsafe {
            let start = self.start.add(offset).as_ptr().cast();
            libc::madvise(start, addresses.len(), libc::MADV_DONTNEED) == 0
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn release(&mut self, _: core::ops::Range<usize>) -> bool {
        false
    }

    /// Its memory, which is no longer the block's to free.
    fn into_start(self) -> NonNull<u8> {
        let start = self.start;
        core::mem::forget(self);
        start
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was allocated by the global allocator with this layout, and has no other owner.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Default for Gradual {
    fn default() -> Self {
        Self::at_once()
    }
}

impl fmt::Debug for Gradual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_block =
            self.shared.as_ref().is_some_and(|shared| !shared.block.load(Ordering::Relaxed).is_null());
        f.debug_struct("Gradual").field("has_block", &has_block).finish()
    }
}

// SAFETY: what is given out comes from the global allocator with the very layout that was asked for, once, and stays valid until it
// is given back, whatever becomes of `self`.
unsafe impl Allocator for Gradual {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.shared.as_ref().and_then(|shared| shared.take()) {
            Some(block) if block.layout == layout => {
                Ok(NonNull::slice_from_raw_parts(block.into_start(), layout.size()))
            }
            // (A block that does not fit is of no use, and goes.)
            _ => Global.allocate(layout),
        }
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        match &self.shared {
            // (The caller says that it was allocated here: by the global allocator, with this layout. It is the block's now.)
            Some(shared) if shared.keeps.load(Ordering::Relaxed) && layout.size() > 0 => {
                shared.put(Block { start, layout, done: 0 });
            }
            // SAFETY: the same.
            _ => unsafe { Global.deallocate(start, layout) },
        }
    }
}

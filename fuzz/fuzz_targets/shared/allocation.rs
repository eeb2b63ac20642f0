//! An allocator that counts, per thread, so that tests may run side by side.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

/// What a thread has allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Calls that gave out memory, reallocations included.
    pub(crate) calls: u64,
    /// Bytes given out and not taken back.
    pub(crate) live: i64,
    /// The most that was live.
    pub(crate) peak: i64,
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { calls: 0, live: 0, peak: 0 }) };
}

/// The thread's tally so far.
pub(crate) fn tally() -> Tally {
    TALLY.get()
}

/// What `work` allocated: how often, what of it is left, and how much more than before it took at its worst.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, Tally) {
    let before = TALLY.get();
    TALLY.set(Tally { peak: before.live, ..before });
    let done = work();
    let after = TALLY.get();
    TALLY.set(Tally { peak: after.peak.max(before.peak), ..after });
    let Tally { calls, live, peak } = after;
    (done, Tally { calls: calls - before.calls, live: live - before.live, peak: peak - before.live })
}

fn note(calls: u64, given: usize, taken: usize) {
    // While a thread ends there is nothing to count any more.
    let _ = TALLY.try_with(|tally| {
        let mut now = tally.get();
        now.calls += calls;
        now.live += given as i64 - taken as i64;
        now.peak = now.peak.max(now.live);
        tally.set(now);
    });
}

// SAFETY: everything is the system allocator's; beside it only numbers change, in a cell that needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: as our caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves both are there.
        note(1, size, 0);
        note(0, 0, layout.size());
        // SAFETY: as our caller promises.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

//! Each block is allocated once and freed once, whoever has it in between.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use allocator_api2::alloc::Allocator;
use floodmark_memory::Gradual;
use hashbrown::HashTable;

/// The system's allocator, which counts what each thread has of it.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(blocks: isize, bytes: usize) {
    let (had, size) = ALLOCATED.get();
    ALLOCATED.set((had + blocks, size + blocks * bytes as isize));
}

// SAFETY: all that it does is ask the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let start = unsafe { System.alloc(layout) };
        if !start.is_null() {
            count(1, layout.size());
        }
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(-1, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What is allocated more after something is done than before.
fn left_by<R>(done: impl FnOnce() -> R) -> ((isize, isize), R) {
    let before = ALLOCATED.get();
    let result = done();
    let after = ALLOCATED.get();
    ((after.0 - before.0, after.1 - before.1), result)
}

/// The layout of a table with so many spots, and where its bytes of control begin.
fn layout_of(spots: usize) -> (Layout, usize) {
    let bytes = HashTable::<u64>::with_capacity(spots / 8 * 7).allocation_size();
    let group = bytes - spots * 9;
    (Layout::from_size_align(bytes, group.max(8)).unwrap(), spots * 8)
}

const SPOTS: usize = 1 << 17;

fn table_in(memory: Gradual) -> HashTable<u64, Gradual> {
    let mut table = HashTable::with_capacity_in(SPOTS / 8 * 7, memory);
    for number in 0..1000 {
        table.insert_unique(number << 20, number, |&number| number << 20);
    }
    table
}

fn check(table: &HashTable<u64, Gradual>) {
    assert!((0..1000).all(|number| table.find(number << 20, |&other| other == number).is_some()));
}

#[test]
fn a_block_is_touched_by_pages_and_becomes_the_table() {
    let (left, ()) = left_by(|| {
        let (layout, control) = layout_of(SPOTS);
        let (_, mut memory) = left_by(|| Gradual::new(layout, control));
        let mut pages = 1;
        while memory.touch(1) {
            pages += 1;
        }
        let whole = SPOTS / 4096;
        assert!((whole..=whole + 2).contains(&pages), "{pages} pages");
        // The block is there already: no more bytes than it has, and what said where it is has gone.
        let ((_, bytes), table) = left_by(|| table_in(memory));
        assert!(bytes <= 0, "{bytes} bytes were allocated");
        check(&table);
    });
    assert_eq!(left, (0, 0));
}

#[test]
fn a_block_that_nobody_asks_for_is_freed() {
    let (layout, control) = layout_of(SPOTS);
    let (left, ()) = left_by(|| {
        let mut memory = Gradual::new(layout, control);
        assert!(memory.touch(3));
        drop(memory);
        // Nor is one of another layout than what is asked for given out.
        let (_, larger) = (layout_of(SPOTS), layout_of(2 * SPOTS));
        check(&table_in(Gradual::new(larger.0, larger.1)));
    });
    assert_eq!(left, (0, 0));
}

#[test]
fn each_allocation_but_the_first_is_the_global_allocators() {
    let (left, ()) = left_by(|| {
        let layout = Layout::from_size_align(1 << 16, 64).unwrap();
        let memory = Gradual::new(layout, 0);
        let first = memory.allocate(layout).unwrap();
        let second = memory.allocate(layout).unwrap();
        assert_ne!(first, second);
        // SAFETY: both were allocated there with this layout, and are not used any more.
        unsafe {
            first.cast::<u8>().write_bytes(1, layout.size());
            second.cast::<u8>().write_bytes(2, layout.size());
            memory.deallocate(first.cast(), layout);
            memory.deallocate(second.cast(), layout);
        }
    });
    assert_eq!(left, (0, 0));
}

#[test]
fn what_is_kept_is_released_in_parts() {
    let (left, ()) = left_by(|| {
        let (layout, control) = layout_of(SPOTS);
        let table = table_in(Gradual::new(layout, control));
        let mut memory = table.allocator().keep();
        assert!(!memory.release(1), "the table has it still");
        let ((_, bytes), ()) = left_by(|| drop(table));
        assert!(bytes >= 0, "{bytes} bytes were freed");
        let mut parts = 1;
        while memory.release(1 << 16) {
            parts += 1;
        }
        let whole = layout.size() >> 16;
        let expected = if cfg!(target_os = "linux") { whole - 1..=whole + 1 } else { 1..=1 };
        assert!(expected.contains(&parts), "{parts} parts of {whole}");
    });
    assert_eq!(left, (0, 0));
}

#[test]
fn what_is_kept_may_be_dropped_before_the_table_or_after_it() {
    let (left, ()) = left_by(|| {
        let (layout, control) = layout_of(SPOTS);
        let table = table_in(Gradual::new(layout, control));
        drop(table.allocator().keep());
        check(&table);
        drop(table);
        let table = table_in(Gradual::new(layout, control));
        let memory = table.allocator().keep();
        drop(table);
        drop(memory);
        // One that grows gives back twice: the first goes when the second comes.
        let mut table = table_in(Gradual::new(layout, control));
        let memory = table.allocator().keep();
        table.reserve(2 * SPOTS, |&number| number << 20);
        check(&table);
        drop(table);
        drop(memory);
    });
    assert_eq!(left, (0, 0));
}

#[test]
fn the_memory_of_a_vector_is_kept_without_what_is_in_it() {
    let (left, ()) = left_by(|| {
        let mut vec = Vec::with_capacity(1 << 16);
        vec.extend((0..1000).map(|n: u64| n.to_string()));
        let ((blocks, _), mut memory) = left_by(|| Gradual::of(vec));
        // (Two boxes more.)
        assert_eq!(blocks, 2 - 1000);
        assert_eq!(memory.release(1 << 16), cfg!(target_os = "linux"));
        while memory.release(1 << 18) {}
        drop(memory);
        drop((Gradual::of(Vec::<u64>::new()), Gradual::of(vec![(); 9]), Gradual::of(vec![1_u8])));
    });
    assert_eq!(left, (0, 0));
}

#[test]
fn nothing_has_no_block() {
    let mut memory = Gradual::new(Layout::new::<()>(), 0);
    assert!(!memory.touch(1) && !memory.release(1));
    let mut memory = Gradual::at_once();
    assert!(!memory.touch(1) && !memory.release(1) && !memory.keep().release(1));
    check(&table_in(memory));
    // More than any allocator has.
    let layout = Layout::from_size_align(isize::MAX as usize - 4095, 4096).unwrap();
    check(&table_in(Gradual::new(layout, 0)));
    assert_eq!(format!("{:?}", Gradual::at_once()), "Gradual { has_block: false }");
}

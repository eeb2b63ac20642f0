//! Each block is allocated once and freed once, whoever has it in between.

use std::alloc::Layout;

#[path = "../../../fuzz/fuzz_targets/shared/allocation.rs"]
mod allocation;

use allocation::{measure, tally};
use allocator_api2::alloc::Allocator;
use floodmark_memory::Gradual;
use hashbrown::HashTable;

/// Does something after which no more memory is allocated than before.
#[track_caller]
fn leaves_nothing(done: impl FnOnce()) {
    let before = tally().live;
    done();
    assert_eq!(tally().live, before);
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
    leaves_nothing(|| {
        let (layout, control) = layout_of(SPOTS);
        let mut memory = Gradual::new(layout, control);
        let mut pages = 1;
        while memory.touch(1) {
            pages += 1;
        }
        let whole = SPOTS / 4096;
        assert!((whole..=whole + 2).contains(&pages), "{pages} pages");
        // The block is there already: no more bytes than it has, and what said where it is has gone.
        let (table, more) = measure(|| table_in(memory));
        assert!(more.live <= 0 && more.calls == 0, "{more:?} was allocated");
        check(&table);
    });
}

#[test]
fn a_block_that_nobody_asks_for_is_freed() {
    let (layout, control) = layout_of(SPOTS);
    leaves_nothing(|| {
        let mut memory = Gradual::new(layout, control);
        assert!(memory.touch(3));
        drop(memory);
        // Nor is one of another layout than what is asked for given out.
        let (layout, control) = layout_of(2 * SPOTS);
        check(&table_in(Gradual::new(layout, control)));
    });
}

#[test]
fn each_allocation_but_the_first_is_the_global_allocators() {
    leaves_nothing(|| {
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
}

#[test]
fn what_is_kept_is_released_in_parts() {
    leaves_nothing(|| {
        let (layout, control) = layout_of(SPOTS);
        let table = table_in(Gradual::new(layout, control));
        let mut memory = table.allocator().keep();
        assert!(!memory.release(1), "the table has it still");
        let ((), less) = measure(|| drop(table));
        assert!(less.live >= 0, "{less:?} was freed");
        let mut parts = 1;
        while memory.release(1 << 16) {
            parts += 1;
        }
        let whole = layout.size() >> 16;
        let expected = if cfg!(target_os = "linux") { whole - 1..=whole + 1 } else { 1..=1 };
        assert!(expected.contains(&parts), "{parts} parts of {whole}");
    });
}

#[test]
fn what_is_kept_may_be_dropped_before_the_table_or_after_it() {
    leaves_nothing(|| {
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
}

#[test]
fn the_memory_of_a_vector_is_kept_without_what_is_in_it() {
    leaves_nothing(|| {
        let mut vec = Vec::with_capacity(1 << 16);
        vec.extend((0..1000).map(|n: u64| n.to_string()));
        let strings: usize = vec.iter().map(String::capacity).sum();
        let (mut memory, change) = measure(|| Gradual::of(vec));
        // (Two small boxes more.)
        assert_eq!(change.calls, 2);
        assert!((1..200).contains(&(change.live + strings as i64)), "{change:?}, {strings} bytes of strings");
        assert_eq!(memory.release(1 << 16), cfg!(target_os = "linux"));
        while memory.release(1 << 18) {}
        drop(memory);
        drop((Gradual::of(Vec::<u64>::new()), Gradual::of(vec![(); 9]), Gradual::of(vec![1_u8])));
    });
}

#[test]
fn nothing_has_no_block() {
    let mut memory = Gradual::new(Layout::new::<()>(), 0);
    assert!(!memory.touch(1) && !memory.release(1));
    let mut memory = Gradual::at_once();
    assert!(!memory.touch(1) && !memory.release(1) && !memory.keep().release(1));
    check(&table_in(memory));
    // More than any allocator has.
    let layout = Layout::from_size_align(isize::MAX as usize / 2, 1).unwrap();
    check(&table_in(Gradual::new(layout, 0)));
    assert_eq!(format!("{:?}", Gradual::at_once()), "Gradual { has_block: false }");
}
